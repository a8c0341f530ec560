"""The scorer `judge`: models grade an answer by a rubric, on a scale of whole numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from factory.errors import UsageError, nearest
from factory.prompts import names_in
from factory.recipe.files import shipped
from factory.scorers import Context, Setup, Traits, as_text, column
from factory.scorers.judging.expected import expected_scores
from factory.scorers.judging.grades import RESERVED, Scale, read_aspects
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
from factory.scorers.judging.verdicts import ASKS, Verdict, ask_verdict
from factory.together import together
from factory.types import Candidate, Message, Score, canonical_json

PROMPT = "judge.j2"
"""The shipped prompt."""
ALTERNATIVES = 20
"""Alternatives to a token that servers tell at most; twice the scale's size is enough."""
AROUND = 600
"""Bytes of marks and their like in a question, generously."""
Aggregate = Literal["mean", "median", "min"]
_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "median": statistics.median,
    "min": min,
}


@dataclass(frozen=True, slots=True)
class _Material:
    """What a judge's questions are made of, read once."""

    prompt: JudgePrompt
    rubric: JudgePrompt | None
    reference: JudgePrompt | None


@dataclass(frozen=True, slots=True)
class _Vote:
    """What one judge decided: a grade for each aspect, and as it stated them. `why`: why there is none."""

    grades: tuple[float, ...] | None
    stated: tuple[float, ...] = ()
    expected: bool = False
    said: str = ""
    why: str = ""


class Judge:
    """A model's grade, or a panel's, by a rubric; within `scale` (1…5), higher is better.

    A grade that cannot be had is missing, never 0. Parts: the aspects; of a panel each judge's value, `sd` (of the
    judges' values) and `votes`; `stated` (the grade as written) where the value is the expected one, and `expected`,
    the share of judges of whom it is. Raises UsageError for options that do not fit.
    """

    asks = ASKS

    def __init__(
        self,
        *,
        model: str | None = None,
        models: list[str] | None = None,
        rubric: str | None = None,
        scale: tuple[int, int] = (1, 5),
        aspects: dict[str, Any] | list[str] | None = None,
        reference: str | None = None,
        prompt: str | None = None,
        on: str | None = None,
        expected: bool | Literal["auto"] = "auto",
        aggregate: Aggregate = "mean",
        min_votes: int | None = None,
    ):
        self.roles = read_roles(model, models)
        self.scale = Scale(*scale, read_aspects(aspects))
        self.on = on
        self.expected = expected
        self.aggregate = _AGGREGATES[aggregate]
        self.min_votes = len(self.roles) // 2 + 1 if min_votes is None else min_votes
        if not 1 <= self.min_votes <= len(self.roles):
            raise UsageError(
                f"`min_votes: {min_votes}` does not fit {len(self.roles)} judges", "from 1 to their number"
            )
        self._given = {"rubric": rubric, "reference": reference, "prompt": prompt}
        self._reference_column: str | None = None
        self._material: _Material | None = None
        self.schema = self.scale.schema()
        self.traits = Traits(float(scale[0]), float(scale[1]), "higher", "judge")
        if clash := {aspect.name for aspect in self.scale.aspects} & set(self.roles):
            raise UsageError(f"`{min(clash)}` names an aspect and a model", "give the aspect another name")

    def bind(self, setup: Setup) -> None:
        """Read prompt, rubric and reference. Raises UsageError for what is not there."""
        check_column(self.on, setup)
        rubric, reference, prompt = (self._given[name] for name in ("rubric", "reference", "prompt"))
        if reference is not None and reference.strip() in setup.columns:
            self._reference_column, reference = reference.strip(), None
        elif reference is not None and reference.strip().isidentifier():
            hint = nearest(reference.strip(), setup.columns) or "write `{{ … }}` for a value of the row"
            raise UsageError(f"`reference: {reference}` names no output column", hint)
        self._material = _Material(
            load_prompt(prompt, PROMPT, setup, ("answer",)),
            None if rubric is None else load_judge_prompt(rubric, setup, "rubric"),
            None if reference is None else load_judge_prompt(reference, setup, "reference"),
        )

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        reference = self._reference(candidate, context)
        if reference is not None and not reference.strip():
            return Score("judge", None, "the reference is empty")
        messages = self._messages(candidate, context, reference)
        shown = [message.content for message in context.prompt.messages]
        shown += [*answer_texts(candidate, self.on).values(), *([reference] if reference else [])]
        votes = await together([self._ask(role, messages, shown, candidate.index, context) for role in self.roles])
        return self._settle(votes)

    def calls(self, n: int) -> int:
        """Every candidate goes to every judge, and once more where an answer is not in form."""
        return n * len(self.roles) * ASKS

    @property
    def prompt_bytes(self) -> int:
        """UTF-8 bytes that prompt, rubric and reference add to a question at most, their values apart."""
        return sum(part.size for part in self._parts()) + 2 * len(canonical_json(self.schema).encode()) + AROUND

    def facts(self) -> dict[str, Any]:
        """Who judges, by what: for the card. SHA-256 in hex."""
        material = self._ready()
        told: dict[str, Any] = {"models": list(self.roles), "scale": [self.scale.low, self.scale.high]}
        told |= {"prompt": material.prompt.name, "sha": material.prompt.sha}
        if material.rubric is not None:
            told |= {"rubric": material.rubric.name or self._given["rubric"], "rubric_sha": material.rubric.sha}
        if self.scale.aspects:
            told["aspects"] = {aspect.name: aspect.weight for aspect in self.scale.aspects}
        return told

    def _ready(self) -> _Material:
        if self._material is None:
            raise UsageError("this judge has read no prompt yet", "call `bind(Setup(…))` first")
        return self._material

    def _parts(self) -> list[JudgePrompt]:
        material = self._ready()
        return [part for part in (material.prompt, material.rubric, material.reference) if part is not None]

    def _reference(self, candidate: Candidate, context: Context) -> str | None:
        if self._reference_column is not None:
            return as_text(column(candidate, self._reference_column, "reference"))
        reference = self._ready().reference
        return None if reference is None else render_part(reference, context)

    def _messages(self, candidate: Candidate, context: Context, reference: str | None) -> tuple[Message, ...]:
        material, scale = self._ready(), self.scale
        names = {
            "rubric": "" if material.rubric is None else render_part(material.rubric, context),
            "aspects": [{"name": one.name, "description": one.description} for one in scale.aspects],
            "low": scale.low,
            "high": scale.high,
            "grades": scale.meanings(),
            "form": scale.form(),
            "task": show_task(context.prompt),
            "reference": "" if reference is None else fence("REFERENCE", reference),
            "answer": show_answer(candidate, self.on),
        }
        return render_judge_prompt(material.prompt, context, names)

    async def _ask(
        self, role: str, messages: Sequence[Message], shown: Sequence[str], index: int, context: Context
    ) -> _Vote:
        wanted = min(ALTERNATIVES, 2 * self.scale.size) if self.expected else None
        verdict = await ask_verdict(
            context,
            role,
            messages,
            schema=self.schema,
            read=self.scale.read,
            index=index,
            shown=shown,
            logprobs=wanted,
        )
        if verdict.value is None:
            return _Vote(None, why=verdict.why)
        return self._vote(verdict)

    def _vote(self, verdict: Verdict) -> _Vote:
        """The grades of a verdict: expected where they are wanted and probabilities came, else as they were stated."""
        stated = tuple(map(float, verdict.value))
        grades = self._expect(verdict) if self.expected else None
        if grades is None and self.expected is True:
            return _Vote(None, why="no probabilities of the grade came (`expected: auto` takes the stated one then)")
        return _Vote(grades or stated, stated, grades is not None, verdict.said)

    def _expect(self, verdict: Verdict) -> tuple[float, ...] | None:
        """The expected grades, in the order of the aspects: the judge may have written them in another one."""
        scale, by_name = self.scale, dict(zip([one.name for one in self.scale.aspects], verdict.value, strict=False))
        written = [name for name in verdict.stated or {} if name in by_name]
        stated = [by_name[name] for name in written] if scale.aspects else list(verdict.value)
        chances = expected_scores(verdict.logprobs, stated, scale.low, scale.high)
        if chances is None:
            return None
        if not scale.aspects:
            return (chances[0].value,)
        found = {name: chance.value for name, chance in zip(written, chances, strict=True)}
        return tuple(found[aspect.name] for aspect in scale.aspects)

    def _settle(self, votes: Sequence[_Vote]) -> Score:
        """The votes as one score."""
        given = [(role, vote) for role, vote in zip(self.roles, votes, strict=True) if vote.grades is not None]
        if len(given) < self.min_votes:
            whys = [
                f"{role}: {vote.why}" if len(votes) > 1 else vote.why
                for role, vote in zip(self.roles, votes, strict=True)
                if vote.grades is None
            ]
            few = (
                f"{len(given)} of {len(votes)} judges answered, {self.min_votes} are needed: " if len(votes) > 1 else ""
            )
            return Score("judge", None, few + "; ".join(whys))
        values = [self.scale.mean(vote.grades or ()) for _, vote in given]
        parts = self._told([vote for _, vote in given])
        if len(self.roles) > 1:
            parts |= {role: value for (role, _), value in zip(given, values, strict=True)}
            parts["sd"] = statistics.pstdev(values)
            parts["votes"] = float(len(values))
        said = "; ".join(
            f"{role}: {vote.said}" if len(self.roles) > 1 else vote.said for role, vote in given if vote.said
        )
        return Score("judge", float(self.aggregate(values)), said, parts=parts or None)

    def _told(self, votes: Sequence[_Vote]) -> dict[str, float]:
        """Parts: the aspects over all votes, and what the value would be of the stated grades."""
        parts: dict[str, float] = {}
        for place, aspect in enumerate(self.scale.aspects):
            parts[aspect.name] = float(self.aggregate([(vote.grades or ())[place] for vote in votes]))
        if self.expected:
            share = sum(vote.expected for vote in votes) / len(votes)
            parts["expected"] = share
            if share:
                parts["stated"] = float(self.aggregate([self.scale.mean(vote.stated) for vote in votes]))
        return parts


def read_roles(model: str | None, models: Sequence[str] | None) -> tuple[str, ...]:
    """The judges of the options `model` and `models`, of which one is to be given. Raises UsageError."""
    if (model is None) == (not models):
        raise UsageError("a judge needs `model: ROLE`, or `models: [ROLE, …]` for a panel", "one of the two")
    roles = (model,) if model is not None else tuple(models or ())
    if len(set(roles)) < len(roles):
        raise UsageError("`models` names the same model twice", "a panel is made of different ones")
    if clash := RESERVED & set(roles):
        raise UsageError(f"a judge of a panel cannot be called `{min(clash)}`", "its part has that name")
    return roles


def check_column(on: str | None, setup: Setup) -> None:
    """Whether `on` names an output column. Raises UsageError."""
    if on is not None and setup.columns and on not in setup.columns:
        raise UsageError(f"`on: {on}` names no output column", nearest(on, setup.columns))


def load_prompt(given: str | None, default: str, setup: Setup, needed: Sequence[str]) -> JudgePrompt:
    """The option `prompt`, or the shipped file `default`. Raises UsageError where it does not show what it must."""
    if given is None:
        folder = shipped("prompts")
        found = load_judge_prompt(default, Setup(base=folder), "prompt")
        return JudgePrompt(found.template, f"prompts/{default}")
    prompt = load_judge_prompt(given, setup, "prompt")
    sources = [part.source for part in prompt.template.parts] + list(prompt.template.files.values())
    shown = set[str]().union(*(names_in(source) for source in sources))
    if missing := [name for name in needed if name not in shown]:
        raise UsageError(f"`prompt`: the judge is never shown `{{{{ {missing[0]} }}}}`", "see prompts/" + default)
    return prompt
