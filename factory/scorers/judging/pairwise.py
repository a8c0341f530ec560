"""The scorer `pairwise`: judges compare a row's candidates two at a time, each pair in both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from factory.errors import UsageError
from factory.scorers import Context, Setup, Traits, as_text, shorten
from factory.scorers.judging.pointwise import check_column, load_prompt, read_roles
from factory.scorers.judging.prompting import (
    JudgePrompt,
    answer_texts,
    fence,
    load_judge_prompt,
    render_judge_prompt,
    render_part,
    show_answer,
    show_task,
)
from factory.scorers.judging.tournament import (
    Game,
    Tournament,
    choose_kind,
    count_games,
    find_shares,
    next_round,
)
from factory.scorers.judging.verdicts import ASKS, OutOfForm, Verdict, ask_verdict
from factory.seeds import derive
from factory.together import together
from factory.types import Candidate, Message, Score, canonical_json

PROMPT = "judge-pairwise.j2"
"""The shipped prompt."""
AROUND = 1000
"""Bytes of marks and their like in a question, generously."""
FIRST, SECOND, TIE = "A", "B", "tie"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "better": {"type": "string", "enum": [FIRST, SECOND, TIE]}},
    "required": ["reason", "better"],
    "additionalProperties": False,
}
FORM = '{"reason": "…", "better": "A", "B" or "tie"}'
MOST_CANDIDATES = 1024
"""As many as a recipe may ask for: pairs are numbered by it."""
NO_OPPONENT = 0.5
"""The value where there is nothing to compare with: an answer ties with itself."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the judges made of a pair. `share`: the first one's, 1, 0.5 or 0; None without a verdict, `why` says why.

    `judged`: judges who gave a verdict; `inconsistent`: those whose two orders disagreed; `first`: those of them who
    chose what was shown first each time.
    """

    share: float | None
    judged: int = 0
    inconsistent: int = 0
    first: int = 0
    why: str = ""


class _Tally:
    """One player's pairs so far, and what its judges did in them: how orders agree, where both are asked."""

    def __init__(self, both_orders: bool):
        results, orders = ("wins", "losses", "ties", "missing"), ("comparisons", "inconsistent", "first")
        self.counts = dict.fromkeys((*results, *orders) if both_orders else results, 0.0)
        self.why = ""

    def add(self, share: float | None, found: Comparison) -> None:
        names = {1.0: "wins", 0.0: "losses", None: "missing"}
        self.counts[names.get(share, "ties")] += 1
        told = {"comparisons": found.judged, "inconsistent": found.inconsistent, "first": found.first}
        for name in told.keys() & self.counts.keys():
            self.counts[name] += told[name]
        self.why = found.why or self.why


class Pairwise:
    """Judges compare candidates in pairs, both orders asked; share of wins, ties as halves; 0…1, higher is better.

    `model` or a panel `models` decides; `rubric` and `reference` are files or texts, `prompt` a file. A judge whose two
    orders disagree has called a tie; the panel's verdict is what more than half of its judges say, else a tie. A pair
    without a verdict counts for nobody, and a candidate without any is missing. Judged by pairs, in both orders: Zheng
    et al. (2023), "Judging LLM-as-a-judge with MT-Bench and Chatbot Arena"; tournaments: see `tournament`.
    """

    traits = Traits(low=0, high=1, expense="judge")
    schema = SCHEMA
    answers = 2
    asks = ASKS

    def __init__(
        self,
        *,
        model: str | None = None,
        models: list[str] | None = None,
        rubric: str | None = None,
        reference: str | None = None,
        prompt: str | None = None,
        on: str | None = None,
        tournament: Tournament = "auto",
        rounds: Annotated[int, Field(ge=2)] | None = None,
        both_orders: bool = True,
    ):
        self.roles = read_roles(model, models)
        if rounds is not None and tournament != "swiss":
            raise UsageError("`rounds` are those of a Swiss tournament", "add `tournament: swiss`, or leave it out")
        self.tournament: Tournament = tournament
        self.rounds, self.both_orders, self.on = rounds, both_orders, on
        self._given = {"prompt": prompt, "rubric": rubric, "reference": reference}
        self._prompts: dict[str, JudgePrompt] = {}

    def bind(self, setup: Setup) -> None:
        """Read prompt, rubric and reference. Raises UsageError for what is not there, or where a row has one answer."""
        if setup.candidates < 2:
            raise UsageError(
                "`pairwise` compares the candidates of a row, and a row has one of them",
                "write `generate: {candidates: 4}`, or take the scorer `judge`",
            )
        check_column(self.on, setup)
        reference = self._given["reference"]
        if reference is not None and reference.strip().isidentifier():
            told = "is the same for both answers of a pair, and a column of theirs is not"
            raise UsageError(f"`reference: {reference}`: it {told}", "write `{{ … }}` for a value of the row")
        self._prompts = {"prompt": load_prompt(self._given["prompt"], PROMPT, setup, ("answer_a", "answer_b"))}
        for option in ("rubric", "reference"):
            if (text := self._given[option]) is not None:
                self._prompts[option] = load_judge_prompt(text, setup, option)

    def calls(self, n: int) -> int:
        """Pairs × orders × judges × 2, as an answer out of form is asked for once more."""
        pairs = count_games(choose_kind(self.tournament, n, self.rounds), n, self.rounds)
        return pairs * (2 if self.both_orders else 1) * len(self.roles) * ASKS

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes that prompt, rubric and reference add to a question at most, their values apart."""
        own = sum(self._prompt(option).size for option in {"prompt": 0, **self._prompts})
        return own + 2 * len(canonical_json(SCHEMA).encode()) + AROUND

    def facts(self) -> dict[str, Any]:
        """Who judges, by what: for the card. SHA-256 in hex."""
        prompt = self._prompt("prompt")
        told: dict[str, Any] = {"models": list(self.roles), "prompt": prompt.name, "sha": prompt.sha}
        if (rubric := self._prompts.get("rubric")) is not None:
            told |= {"rubric": rubric.name or self._given["rubric"], "rubric_sha": rubric.sha}
        return told | {"tournament": self.tournament, "both_orders": self.both_orders}

    async def __call__(self, candidates: list[Candidate], context: Context) -> list[Score]:
        if "reference" in self._prompts and not self._part("reference", context):
            return [Score("pairwise", None, "the reference is empty") for _ in candidates]
        groups: dict[Any, list[int]] = {}
        for place, candidate in enumerate(candidates):
            groups.setdefault(tuple(answer_texts(candidate, self.on).items()), []).append(place)
        players = [candidates[places[0]] for places in groups.values()]
        if len(players) < 2:
            told = "nothing to compare with" if len(candidates) < 2 else "all candidates are the same"
            return [Score("pairwise", NO_OPPONENT, told, parts=_Tally(self.both_orders).counts) for _ in candidates]
        shares, tallies = await self._hold(players, context)
        scores: list[Score] = [Score("pairwise", None)] * len(candidates)
        for places, share, tally in zip(groups.values(), shares, tallies, strict=True):
            for place in places:
                scores[place] = _score(share, tally)
        return scores

    async def _hold(self, players: Sequence[Candidate], context: Context) -> tuple[list[float | None], list[_Tally]]:
        """The tournament, round after round; a round's pairs are asked at once."""
        n = len(players)
        kind = choose_kind(self.tournament, n, self.rounds)
        tallies = [_Tally(self.both_orders) for _ in players]
        played: list[list[Game]] = []
        while pairs := next_round(kind, n, played, self.rounds):
            comparisons = [self._compare(players[one], players[other], context) for one, other in pairs]
            games = []
            for (one, other), found in zip(pairs, await together(comparisons), strict=True):
                games.append(Game(one, other, found.share))
                tallies[one].add(found.share, found)
                tallies[other].add(None if found.share is None else 1.0 - found.share, found)
            played.append(games)
        return find_shares(kind, n, [game for games in played for game in games]), tallies

    async def _compare(self, one: Candidate, other: Candidate, context: Context) -> Comparison:
        """All judges' verdicts on a pair, in both orders, at once."""
        orders = [(one, other), (other, one)]
        if not self.both_orders:  # which of the two is shown first is drawn, so that no index is favoured
            drawn = derive("pairwise", context.variation.row, min(one.index, other.index), max(one.index, other.index))
            orders = [orders[drawn % 2]]
        questions = [(role, order) for role in self.roles for order in orders]
        answers = await together([self._ask(role, *order, context) for role, order in questions])
        by_judge = [answers[k : k + len(orders)] for k in range(0, len(answers), len(orders))]
        if len(orders) == 2:
            found = [_join(first, second) for first, second in by_judge]
        else:
            found = [_single(verdict, turned=orders[0][0] is other) for [verdict] in by_judge]
        return _decide(found)

    async def _ask(self, role: str, shown_first: Candidate, shown_second: Candidate, context: Context) -> Verdict:
        """One judge on one pair in one order. Its `value` is A, B or tie."""
        shown = [message.content for message in context.prompt.messages]
        for candidate in (shown_first, shown_second):
            shown += answer_texts(candidate, self.on).values()
        reference = self._part("reference", context)
        index = (shown_first.index + 1) * MOST_CANDIDATES + shown_second.index
        return await ask_verdict(
            context,
            role,
            self._messages(shown_first, shown_second, reference, context),
            schema=SCHEMA,
            read=read_better,
            index=index,
            shown=[*shown, reference] if reference else shown,
        )

    def _messages(
        self, shown_first: Candidate, shown_second: Candidate, reference: str, context: Context
    ) -> tuple[Message, ...]:
        names = {
            "rubric": self._part("rubric", context),
            "reference": fence("REFERENCE", reference) if reference else "",
            "task": show_task(context.prompt),
            "answer_a": show_answer(shown_first, self.on, "ANSWER A"),
            "answer_b": show_answer(shown_second, self.on, "ANSWER B"),
            "form": FORM,
        }
        return render_judge_prompt(self._prompt("prompt"), context, names)

    def _part(self, option: str, context: Context) -> str:
        return render_part(self._prompt(option), context) if option in self._prompts else ""

    def _prompt(self, option: str) -> JudgePrompt:
        if option not in self._prompts:
            raise UsageError("`pairwise` has read no prompt yet", "call `bind(Setup(candidates=…))` first")
        return self._prompts[option]


def read_better(data: Mapping[str, Any]) -> str:
    """A, B or tie, from a verdict's `better`. Raises OutOfForm."""
    said = data.get("better")
    found = {"a": FIRST, "b": SECOND, "tie": TIE}.get(said.strip().casefold()) if isinstance(said, str) else None
    if found is None:
        raise OutOfForm(f"`better` must be A, B or tie, not {shorten(as_text(said), 40) or 'nothing'}")
    return found


def _join(verdict: Verdict, turned: Verdict) -> Comparison:
    """One judge's two verdicts on a pair; in the second the pair was turned round."""
    if verdict.value is None or turned.value is None:
        return Comparison(None, why=verdict.why or turned.why)
    shares = {FIRST: 1.0, TIE: 0.5, SECOND: 0.0}
    one, other = shares[verdict.value], 1.0 - shares[turned.value]
    if one == other:
        return Comparison(one, 1)
    return Comparison(0.5, 1, 1, first=int(verdict.value == turned.value == FIRST))


def _single(verdict: Verdict, turned: bool) -> Comparison:
    """One judge's verdict on a pair that was shown in one order only."""
    if verdict.value is None:
        return Comparison(None, why=verdict.why)
    share = {FIRST: 1.0, TIE: 0.5, SECOND: 0.0}[verdict.value]
    return Comparison(1.0 - share if turned else share, 1)


def _decide(found: Sequence[Comparison]) -> Comparison:
    """What more than half of the judges with a verdict say, else a tie."""
    valid = [one.share for one in found if one.share is not None]
    why = next((one.why for one in found if one.why), "")
    if not valid:
        return Comparison(None, why=why)
    share = next((share for share in (1.0, 0.0) if 2 * valid.count(share) > len(valid)), 0.5)
    turned, first = sum(one.inconsistent for one in found), sum(one.first for one in found)
    return Comparison(share, len(valid), turned, first, why)


def _score(share: float | None, tally: _Tally) -> Score:
    counts = tally.counts
    if share is None:
        return Score("pairwise", None, f"no comparison has a verdict ({shorten(tally.why, 120)})", parts=dict(counts))
    told = ", ".join(f"{counts[name]:.0f} {name}" for name in ("wins", "ties", "losses"))
    more = ", ".join(f"{counts[name]:.0f} {name}" for name in ("inconsistent", "missing") if counts.get(name))
    return Score("pairwise", share, f"{told} ({more})" if more else told, parts=dict(counts))
