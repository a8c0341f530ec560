"""`privacy.substring`: passages that rows share with members, more than held-out rows do; `privacy.verbatim`: passages
of sources that a recipe calls private."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.pii import find_all, mask_all
from factory.auditors.privacy.runs import MOST, Longest, Passages, Span, cut_words, longest_runs, read_side
from factory.errors import UsageError
from factory.types import Check, Evidence, Test

SUBSTRING, VERBATIM = "privacy.substring", "privacy.verbatim"
TAILS = (0.005, 0.001)
"""Shares of held-out rows that may lie beyond a threshold; each gives one, and one test."""
IDENTICAL = -1
"""In the place of a threshold: rows that are a member, sign for sign."""
POWER = 0.8
SHOWN = 20
EXCERPT = 300
LONGEST_EXCERPT = 2_000
"""Words of a passage that are cut out of a text before it is masked and shortened."""

Ints = NDArray[np.int64]


def substring(
    dataset: Data,
    reference: Data | None,
    holdout: Data | None,
    context: AuditContext,
    *,
    max_copied: float = 0.001,
    effect: float = 0.01,
) -> list[Check]:
    """Rows whose longest run of words in common with a member is longer than chance and common phrases make it.

    What chance makes is what held-out rows have in common with members: thresholds are the run lengths that 0.5 %
    and 0.1 % of them exceed; rows that equal a member sign for sign are a test of their own. `max_copied`: the share
    of rows that may exceed them beyond that; `effect`: the share that must not go unseen.
    Raises UsageError for shares that make no sense.
    """
    if not 0 <= max_copied < 1:
        raise UsageError(f"`max_copied` of {SUBSTRING} is {max_copied}", "a share of rows from 0 to below 1")
    if not max_copied < effect <= 1:
        raise UsageError(
            f"`effect` of {SUBSTRING} is {effect}", f"a share above `max_copied` ({max_copied}), at most 1"
        )
    gate = f"at most {_percent(max_copied)} of rows beyond what held-out rows share with members"
    for data, what, advice in (
        (dataset, "The dataset has", "name the columns that hold text: `on: [NAME, …]`"),
        (reference, "There are no members to compare with, or they have", "give the real rows: `--reference FILE`"),
    ):
        if data is None or not len(data) or not data.columns:
            return [Check(SUBSTRING, None, n=len(dataset), gate=gate, sentence=f"{what} no text.", advice=advice)]
    assert reference is not None
    context.progress("passages of members", 0.0)
    known = read_side(reference.texts)
    runs = longest_runs(dataset.texts, known)
    context.progress("passages of members", 0.6)
    if holdout is None or not len(holdout) or not holdout.columns:
        return [_without_holdout(dataset, reference, runs, gate)]
    held = longest_runs(holdout.texts, known)
    context.progress("passages of members", 1.0)
    found = [*tails(runs.words, held.words), identical(dataset, holdout, reference)]
    test = copied_test(
        found, len(dataset), len(holdout), longer=_longer(dataset, holdout), limit=max_copied, effect=effect
    )
    check = _compare(dataset, reference, runs, held, found)
    longer = _longer(dataset, holdout)
    told = (
        f" Rows are {longer:.1f} times as long as held-out ones, which is taken into account." if longer > 1.5 else ""
    )
    return [replace(check, gate=gate, test=test, sentence=check.sentence + told)]


def _longer(dataset: Data, holdout: Data) -> float:
    """How much longer rows are than held-out ones, at least 1: a row twice as long has twice the chance of a run."""
    own, held = (sum(map(len, data.texts)) / len(data) for data in (dataset, holdout))
    return max(1.0, own / max(held, 1.0))


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


@dataclass(frozen=True, slots=True)
class Tail:
    """Of m held-out rows `held`, of n rows `hits` share more than `words` words with a member."""

    words: int
    held: int
    hits: int


def identical(dataset: Data, holdout: Data, reference: Data) -> Tail:
    """Rows that equal a member sign for sign, white space around them apart."""
    members = {text.strip() for text in reference.texts} - {""}
    held, hits = (sum(text.strip() in members for text in data.texts) for data in (holdout, dataset))
    return Tail(IDENTICAL, held, hits)


def tails(runs: Ints, held: Ints) -> list[Tail]:
    """The thresholds that at most a share of `TAILS` of the held-out rows exceed, shortest first, none twice."""
    ordered = np.sort(held)
    words = sorted({int(ordered[len(held) - 1 - math.floor(share * len(held))]) for share in TAILS})
    return [Tail(one, int(np.count_nonzero(held > one)), int(np.count_nonzero(runs > one))) for one in words]


def exceedance(hits: int, n: int, held: int, m: int, limit: float) -> float:
    """P(at least `hits` of n rows lie beyond a threshold that `held` of m exchangeable rows exceed), where besides up
    to a share `limit` of the rows may.

    Beyond the (held + 1)-th largest of m values lies a share Beta(held + 1, m − held) of the population, so that the
    count of n others is beta-binomial (the exact distribution of exceedances: Gumbel and von Schelling 1950); the
    rows that may are binomial, and added.
    """
    from scipy.stats import betabinom, binom

    if hits <= 0:
        return 1.0
    chance = betabinom(n, held + 1, m - held)
    beyond = float(chance.sf(hits - 1))
    if limit > 0:
        below = np.arange(hits)
        beyond += float(chance.pmf(below) @ binom.sf(hits - below - 1, n, limit))
    return min(1.0, beyond)


def _smallest(n: int, held: int, m: int, limit: float, alpha: float) -> int:
    """The smallest count whose exceedance is at most `alpha`; n + 1 where none is."""
    low, high = 0, 8
    while high <= n and exceedance(high, n, held, m, limit) > alpha:
        low, high = high, 2 * high
    high = min(high, n + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if exceedance(middle, n, held, m, limit) <= alpha:
            high = middle
        else:
            low = middle
    return high


def copied_test(found: Sequence[Tail], n: int, m: int, *, longer: float, limit: float, effect: float) -> Test:
    """All thresholds as one test. The effect is that of the first: the share of rows beyond it, `effect` more than of
    held-out rows. The minimum detectable effect is the first one's too: a passage may be longer than that threshold
    and not than the next, and need not be a whole row."""
    from scipy.special import betaincinv

    scaled = max(n, round(n * longer))
    p = min(1.0, len(found) * min(exceedance(one.hits, scaled, one.held, m, limit) for one in found))
    base = found[0].held / m

    def mde_at(alpha: float) -> float:
        count = _smallest(scaled, found[0].held, m, limit, alpha / len(found))
        return 1.0 if count > n else max(base + limit, float(betaincinv(count, n - count + 1, POWER)))

    return Test(p, base + effect, mde_at)


def _compare(dataset: Data, reference: Data, runs: Longest, held: Longest, found: Sequence[Tail]) -> Check:
    from factory.measures import wilson

    n, m = len(runs.words), len(held.words)
    first, same = found[0], found[-1]
    low, high = wilson(first.hits, n)
    beyond = np.flatnonzero(runs.words > first.words)
    longest = int(runs.words.max())
    sentence = (
        f"Of {n:,} rows {first.hits:,} ({100 * first.hits / n:.2f} %, {100 * low:.2f} to {100 * high:.2f}) share more "
        f"than {first.words} words in a row with one of {len(reference):,} members; of {m:,} held-out rows "
        f"{first.held:,} ({100 * first.held / m:.2f} %) do. The longest passage has {_words(longest)}, of a held-out "
        f"row {_words(int(held.words.max()))}."
    )
    if same.hits or same.held:
        sentence += f" {same.hits:,} rows, and {same.held:,} held-out ones, are a member sign for sign."
    return Check(
        SUBSTRING,
        first.hits / n,
        (low, high),
        n=n,
        sentence=sentence,
        evidence=_evidence(dataset, reference, runs, beyond),
        details=_details(runs.words, held.words, found),
        method=_method(reference),
        advice="look at the passages: a prompt that shows members whole is copied from; show fewer, or ask for other "
        "words; `filter: [novelty: …]` rejects rows that repeat sources",
        tests=len(found),
    )


def _words(count: int) -> str:
    return f"{count:,} word{'' if count == 1 else 's'}{' or more' if count >= MOST else ''}"


def _method(reference: Data) -> str:
    return (
        f"every row, whole, against all {len(reference):,} members; words without case, accents and punctuation, a "
        "character of a script without spaces counts as one; exact test of exceedances"
    )


def _details(words: Ints, held: Ints | None, found: Sequence[Tail]) -> dict[str, Any]:
    most = int(max(words.max(), held.max() if held is not None else 0))
    edges = [*range(min(most, 40) + 2)] + ([most + 1] if most > 40 else [])
    series = {"dataset": _shares(words, edges)}
    if held is not None:
        series["holdout"] = _shares(held, edges)
    details: dict[str, Any] = {
        "longest": int(words.max()),
        "quantiles": {f"{share:g}": float(np.quantile(words, share)) for share in (0.5, 0.9, 0.99, 0.999)},
        "plots": [
            {
                "kind": "histogram",
                "title": "Longest run of words in common with a member",
                "edges": edges,
                "series": series,
                "x_label": "words",
            }
        ],
    }
    if held is not None:
        details["longest_of_holdout"] = int(held.max())
        details["thresholds"] = [
            {"words": one.words, "rows": one.hits, "held_out_rows": one.held} for one in found if one.words != IDENTICAL
        ]
        details["identical"] = {"rows": found[-1].hits, "held_out_rows": found[-1].held}
    return details


def _shares(values: Ints, edges: list[int]) -> list[float]:
    return [float(count) / len(values) for count in np.histogram(values, bins=edges)[0]]


def _without_holdout(dataset: Data, reference: Data, runs: Longest, gate: str) -> Check:
    order = np.argsort(-runs.words, kind="stable")[:SHOWN]
    return Check(
        SUBSTRING,
        None,
        n=len(dataset),
        gate=gate,
        sentence=(
            f"The longest passage that a row shares with one of {len(reference):,} members has "
            f"{_words(int(runs.words.max()))}; whether that is more than chance and common phrases make, only held-out "
            "rows tell."
        ),
        evidence=_evidence(dataset, reference, runs, np.sort(order[runs.words[order] > 0])),
        details=_details(runs.words, None, ()),
        method=_method(reference),
        advice="give real rows of the same kind that were not used: `--holdout FILE`",
    )


def _evidence(dataset: Data, reference: Data, runs: Longest, rows: Ints) -> tuple[Evidence, ...]:
    """The longest passages among `rows`, longest first, personal data in them masked."""
    order = rows[np.argsort(-runs.words[rows], kind="stable")][:SHOWN]
    shown = []
    for row in order.tolist():
        words, other = int(runs.words[row]), int(runs.other[row])
        text = show_passage(dataset.texts[row], int(runs.first[row]), words)
        details = {
            "words": words,
            "member": other,
            **({"member_id": reference.ids[other]} if reference.ids[other] else {}),
        }
        shown.append(Evidence(row, text, dataset.ids[row], details=details))
    return tuple(shown)


def show_passage(text: str, first: int, words: int) -> str:
    """A passage of a text, personal data in it masked, at most `EXCERPT` characters."""
    cut = cut_words(text, first, min(words, LONGEST_EXCERPT))[: EXCERPT * 10]
    told = mask_all(cut, find_all(cut))
    return told if len(told) <= EXCERPT else told[: EXCERPT - 1] + "…"


def verbatim(
    dataset: Data,
    private: Data | None,
    context: AuditContext,
    *,
    min_words: int = 8,
    boilerplate: int = 10,
    max_rows: int = 0,
) -> list[Check]:
    """Rows that repeat `min_words` words in a row of a private one; FAIL where there are more than `max_rows`.

    Exact, every row in full. Two characters of a script without spaces count as a word. Runs of words that
    `boilerplate` or more of the private rows hold are nobody's secret, nor are runs of fewer than four different words.
    Raises UsageError for numbers that make no sense.
    """
    for option, value, least in (
        ("private_words", min_words, 3),
        ("boilerplate", boilerplate, 2),
        ("max_private_rows", max_rows, 0),
    ):
        if isinstance(value, bool) or value < least:
            raise UsageError(f"`{option}` of {VERBATIM} is {value}", f"a whole number, {least} or more")
    gate = f"at most {max_rows:,} row{'' if max_rows == 1 else 's'} with {min_words} words in a row of a private source"
    if private is None or not len(private) or not private.columns or not dataset.columns:
        why = "No source is called private, so there is nothing to compare with."
        if private is not None:
            why = "The dataset, or the private source, has no text."
        advice = "say `private: true` of the source in `from:`"
        return [Check(VERBATIM, None, n=len(dataset), gate=gate, sentence=why, advice=advice)]
    context.progress("passages of private sources", 0.0)
    passages = Passages(private.texts, min_words, boilerplate)
    spans = [span for span, weight in passages.find(dataset.texts) if weight >= min_words]
    context.progress("passages of private sources", 1.0)
    return [_tell_verbatim(dataset, private, spans, (min_words, boilerplate, max_rows), gate)]


def _tell_verbatim(
    dataset: Data, private: Data, spans: Sequence[Span], options: tuple[int, int, int], gate: str
) -> Check:
    min_words, boilerplate, max_rows = options
    rows = len({span.row for span in spans})
    longest = max((span.words for span in spans), default=0)
    sentence = f"None of {len(dataset):,} rows repeats {min_words} words in a row of {len(private):,} private ones."
    if rows:
        sentence = (
            f"{rows:,} of {len(dataset):,} rows repeat{'s' if rows == 1 else ''} {min_words} words or more in a row of "
            f"{len(private):,} private ones; the longest passage has {_words(longest)}."
        )
    order = sorted(spans, key=lambda span: (-span.words, span.row, span.first))[:SHOWN]
    failed = rows > max_rows
    return Check(
        VERBATIM,
        float(rows),
        n=len(dataset),
        gate=gate,
        verdict="FAIL" if failed else "PASS",
        sentence=sentence,
        evidence=tuple(
            Evidence(
                span.row,
                show_passage(dataset.texts[span.row], span.first, span.words),
                dataset.ids[span.row],
                details={"words": span.words, "private_row": span.other},
            )
            for span in order
        ),
        details={
            "rows": rows,
            "passages": len(spans),
            "longest": longest,
            "private_rows": len({s.other for s in spans}),
        },
        method=(
            f"every row, whole, against every private row: all runs of {min_words} words, without case, accents and "
            f"punctuation (two characters of a script without spaces count as a word); runs that {boilerplate} or more "
            "private rows hold do not count"
        ),
        advice="ask for other words in the prompt, or show the model less of the source; `filter: [novelty: …]` "
        "rejects such rows; raise `private_words` only for phrases that are no secret"
        if failed
        else "",
    )
