"""Usefulness: what a model learns from the dataset, measured on real rows (train on synthetic, test on real)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from factory.auditors import AuditContext, Data
from factory.auditors.spaces import EMBEDDER, open_space
from factory.auditors.utility.ablation import NAME as ABLATION
from factory.auditors.utility.ablation import ablation, read_candidates
from factory.auditors.utility.arms import MIXES, Arms
from factory.auditors.utility.labels import MISSING, NOISE, label_noise, labels_missing
from factory.auditors.utility.language import language_model
from factory.auditors.utility.learners import Learner, VectorLearner, WordLearner
from factory.auditors.utility.mixing import GAIN, MIX, gain, measure_curves, mix, tell_beside
from factory.auditors.utility.rows import Bench, Labelled, Problem, prepare
from factory.auditors.utility.transfer import NAME as TRANSFER
from factory.auditors.utility.transfer import transfer
from factory.errors import UsageError
from factory.types import Check

__all__ = ["Limits", "utility"]
NAMES = (TRANSFER, GAIN, MIX, NOISE, MISSING, ABLATION)
MOST_DRAWS = 50
FEWEST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """What gates allow, and how much is trained."""

    transfer_loss: float
    loss: float
    mix_loss: float
    label_noise: float
    extra_bits: float
    missing_labels: bool
    shots: tuple[int, ...]
    draws: int
    rows: int


async def utility(
    dataset: Data,
    reference: Data | None,
    context: AuditContext,
    *,
    max_transfer_loss: float = 0.5,
    max_loss: float = 0.02,
    max_mix_loss: float = 0.05,
    max_label_noise: float = 0.05,
    max_extra_bits: float = 1.0,
    allow_missing_labels: bool = False,
    shots: list[int] | None = None,
    draws: int = 5,
    most_rows: int = 20_000,
    embedder: str | None = None,
) -> list[Check]:
    """The checks of the area `utility`. Real rows: `reference` to train on, the holdout (or a part of it) to test on.

    `max_transfer_loss`: of what real rows teach, the share that as many synthetic ones may fail to teach. `max_loss`:
    accuracy that adding synthetic rows, or selection, may cost. `max_mix_loss`: the same where as many synthetic rows
    are added as there are real ones, few or many. `max_label_noise`: share of wrong labels. `max_extra_bits`: a word of
    real text, of a model of synthetic text above one of as much real text.
    `shots`: sizes of the real part, in rows a class (2, 5, 10; all of them always). `draws`: of training rows.
    `most_rows`: of each kind so many are used at most. `embedder`: the role of a model whose vectors are learned from
    too, for the curves (`embedder` where there is one of this name). Raises UsageError for an option outside its range.
    """
    limits = Limits(
        _share("max_transfer_loss", max_transfer_loss), _share("max_loss", max_loss),
        _share("max_mix_loss", max_mix_loss),
        _share("max_label_noise", max_label_noise), _bits(max_extra_bits), allow_missing_labels,
        _shots(shots), _whole("draws", draws, 2, MOST_DRAWS), _whole("most_rows", most_rows, FEWEST_ROWS, 1_000_000),
    )  # fmt: skip
    candidates = read_candidates(dataset, context.rejects, reference)
    extra = None if isinstance(candidates, str) else candidates[0]
    context.progress("utility: read the rows", 0.0)
    language = language_model(dataset, reference, context, limits.draws, limits.extra_bits, limits.rows)
    bench = prepare(dataset, reference, context, extra, limits.rows)
    if isinstance(bench, Problem):
        return [*(_untold(name, bench.sentence, bench.advice, len(dataset)) for name in NAMES), language]
    arms = _arms(bench, WordLearner(bench.texts), context, limits)
    checks = [*_measure(arms, dataset, candidates, limits), language]
    vectors = await _vectors(bench, context, embedder)
    if vectors is None:
        return checks
    beside = _arms(bench, vectors, context, limits)
    return [tell_beside(one, beside, limits.shots, limits.draws) if one.name == MIX else one for one in checks]


def _measure(
    arms: Arms, dataset: Data, candidates: tuple[Labelled, list[str]] | str, limits: Limits
) -> Iterator[Check]:
    yield transfer(arms, limits.draws, limits.transfer_loss)
    curves = measure_curves(arms, limits.shots, limits.draws)
    yield gain(arms, curves, limits.loss)
    yield mix(arms, curves, limits.mix_loss)
    yield label_noise(arms, dataset, limits.label_noise)
    yield labels_missing(arms, gated=not limits.missing_labels)
    if isinstance(candidates, str):
        yield _untold(ABLATION, candidates, "audit a run whose recipe has the label as a field or an axis", 0)
    else:
        yield ablation(arms, candidates[1], limits.draws, limits.loss)


async def _vectors(bench: Bench, context: AuditContext, role: str | None) -> VectorLearner | None:
    """What learns on a model's vectors, where the audit has a model that embeds."""
    if role is None and "embed" not in context.models.get(EMBEDDER, ()):
        return None
    space = await open_space(context, bench.texts, role=role)
    return VectorLearner(await space.vectors(bench.texts), space.name)


def _arms(bench: Bench, learner: Learner, context: AuditContext, limits: Limits) -> Arms:
    expected = limits.draws * (len(limits.shots) + 1) * (1 + 3 * len(MIXES))
    done = 0

    def told(what: str) -> None:
        nonlocal done
        done += 1
        context.progress(f"utility: {what}", min(0.99, done / expected))

    return Arms(bench, learner, context.rng, told)


def _untold(name: str, sentence: str, advice: str, n: int) -> Check:
    return Check(name, None, n=n, sentence=sentence, advice=advice)


def _share(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise UsageError(f"utility: `{name}` is {value!r}", "a share from 0 to below 1, such as 0.05")
    return float(value)


def _bits(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 20:
        raise UsageError(f"utility: `max_extra_bits` is {value!r}", "bits a word, from 0 to 20, such as 1")
    return float(value)


def _whole(name: str, value: int, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"utility: `{name}` is {value!r}", f"a whole number from {least} to {most}")
    return value


def _shots(given: Sequence[int] | None) -> tuple[int, ...]:
    found = (2, 5, 10) if given is None else tuple(given)
    for one in found:
        _whole("shots", one, 1, 100_000)
    return tuple(sorted(set(found)))
