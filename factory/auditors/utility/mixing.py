"""Real and synthetic rows together: the curve over mixes, and what adding brings beside controls of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from factory.auditors.statistics import worst_of
from factory.auditors.utility.arms import FULL, Arms, Bools, size_name, sizes_of
from factory.auditors.utility.learners import Ints, predict
from factory.auditors.utility.pairing import ERRORS, Estimate, estimate, spread
from factory.types import Check

GAIN, MIX = "utility.gain", "utility.mix"
SEEN = 0.04
"""A loss so far above the limit must not go unseen."""
SEEN_MIX = 0.1
"""The same at a fixed mix, where few real rows are drawn."""
FOLDS = 5
SIDE_MIX = 1.0
ARMS = ("real and synthetic", "real repeated to as many rows")


@dataclass(frozen=True, slots=True)
class Curve:
    """Of one size of the real part: the mixes (0 first) and, by arm, right or not [draws, test rows] at each mix."""

    size: int | str
    real: int
    mixes: tuple[float, ...]
    arms: dict[str, list[Bools]]


def measure_curves(arms: Arms, shots: Sequence[int], draws: int) -> list[Curve]:
    """One curve for each size of the real part."""
    return [_curve(arms, size, draws) for size in sizes_of(arms.bench, shots, arms.most)]


def _curve(arms: Arms, size: int | str, draws: int) -> Curve:
    parts = [arms.real(size, draw) for draw in range(draws)]
    count = len(parts[0])
    alone = np.stack([arms.correct(part, size_name(size)) for part in parts])
    found: dict[str, list[Bools]] = {name: [alone] for name in ARMS}
    mixes = arms.mixes(count)
    for mix in mixes:
        added = max(1, round(mix * count))
        what = f"{size_name(size)}, {mix:g} times as many synthetic"
        both = [np.concatenate([part, arms.synthetic(added, draw)]) for draw, part in enumerate(parts)]
        again = [np.concatenate([part, arms.repeated(part, added, draw)]) for draw, part in enumerate(parts)]
        found[ARMS[0]].append(np.stack([arms.correct(rows, what) for rows in both]))
        found[ARMS[1]].append(np.stack([arms.correct(rows, what) for rows in again]))
    return Curve(size, count, (0.0, *mixes), found)


def choose_mix(arms: Arms, mixes: Sequence[float]) -> tuple[float, dict[str, float]]:
    """The mix with the best accuracy in cross-validation on the real training rows, and the accuracy of each.

    Synthetic copies of a fold's rows are left out where it is held out. Test rows play no part. Of equals the smallest.
    """
    bench, real = arms.bench, arms.real(FULL, 0)
    folds = fold_of(bench.twins, arms.rng("utility.folds"), FOLDS)
    right = np.zeros(len(mixes))
    for fold in range(FOLDS):
        held, rest = real[folds[real] == fold], real[folds[real] != fold]
        if not len(held) or not len(rest):
            continue
        synthetic = arms.synthetic(len(bench.synthetic), 0)
        synthetic = synthetic[~np.isin(bench.twins[synthetic], bench.twins[held])]
        for place, mix in enumerate(mixes):
            arms.told("choose the mix by cross-validation")
            rows = np.sort(np.concatenate([rest, synthetic[: max(1, round(mix * len(rest)))]]))
            found = predict(arms.learner, rows, bench.labels, held, bench.classes)
            right[place] += np.count_nonzero(found == bench.labels[held])
    scores = right / len(real)
    return float(mixes[int(np.argmax(scores))]), {
        f"{mix:g}": float(one) for mix, one in zip(mixes, scores, strict=True)
    }


def fold_of(twins: Ints, rng: np.random.Generator, folds: int) -> Ints:
    """A fold for each row of the pool; copies of each other share one."""
    groups, numbers = np.unique(twins, return_inverse=True)
    found: Ints = (rng.permutation(len(groups)) % folds)[numbers]
    return found


def gain(arms: Arms, curves: Sequence[Curve], limit: float) -> Check:
    """What adding synthetic rows to all real ones brings, at the mix that cross-validation on real rows picks."""
    curve = curves[-1]
    best, scores = choose_mix(arms, curve.mixes[1:])
    place = curve.mixes.index(best)
    draws = len(curve.arms[ARMS[0]][0])
    both, alone, again = curve.arms[ARMS[0]][place], curve.arms[ARMS[0]][0], curve.arms[ARMS[1]][place]
    added = max(1, round(best * curve.real))
    won = _won(arms, curve, place)
    net = estimate(both.astype(np.float64) - again, arms.rng(GAIN, "repeated"))
    low, high = won.interval
    told = (
        f"With {added:,} synthetic rows added to {curve.real:,} real ones a model gives {both.mean():.1%} of "
        f"{won.n:,} real test rows their label, with the real ones alone {alone.mean():.1%}: {_points(won.value)} "
        f"({_points(low)} to {_points(high)}). Against the real rows repeated to as many: {_points(net.value)}."
    )
    return Check(
        GAIN,
        won.value,
        interval=won.interval,
        n=won.n,
        gate=f"adding synthetic rows costs at most {100 * limit:g} points of accuracy",
        sentence=f"{told} {arms.bench.told}",
        advice="add fewer synthetic rows, or none; look at utility.label_noise for rows whose label is wrong",
        method=_method(arms, draws) + f"; the mix ({best:g} synthetic a real row) by {FOLDS}-fold cross-validation",
        details={
            "mix": best,
            "by_mix_in_cross_validation": scores,
            "against_repeated": net.told(),
            "plots": [_gains(arms, curves, best)],
            "tables": [_controls(arms, curves, best)],
        },
        test=won.flipped().beyond(limit, limit + SEEN),
    )


def mix(arms: Arms, curves: Sequence[Curve], limit: float) -> Check:
    """The curves over mixes. Gated: the gain at as many synthetic rows as real ones, at each size of the real part.

    The value is the smallest of these gains; the sizes' tests are one by Bonferroni.
    """
    places = [_side(curve) for curve in curves]
    gains = [_won(arms, curve, place) for curve, place in zip(curves, places, strict=True)]
    least = int(np.argmin([one.value for one in gains]))
    each = "; ".join(f"{size_name(curve.size)} {_points(one.value)}" for curve, one in zip(curves, gains, strict=True))
    told = (
        f"Adding about as many synthetic rows as there are real ones changes the accuracy on real test rows by: {each}."
    )
    return Check(
        MIX,
        gains[least].value,
        interval=gains[least].interval,
        n=gains[least].n,
        gate=f"as many synthetic rows as real ones cost at most {100 * limit:g} points, few real rows or many",
        sentence=told,
        advice="add fewer synthetic rows to few real ones; look at utility.label_noise for rows whose label is wrong",
        method=_method(arms, gains[least].draws),
        details={"plots": [_plot(curve) for curve in curves], "curves": [_figures(curve) for curve in curves]},
        tests=len(curves),
        test=worst_of([one.flipped().beyond(limit, limit + SEEN_MIX) for one in gains]),
    )


def tell_beside(check: Check, arms: Arms, shots: Sequence[int], draws: int) -> Check:
    """The check with the curves of another learner beside, for the sizes below all real rows; they are told."""
    sizes = [size for size in sizes_of(arms.bench, shots, arms.most) if size != FULL]
    curves = [_curve(arms, size, draws) for size in sizes]
    plots = [_plot(curve) for curve in curves]
    for plot in plots:
        plot["title"] = f"{plot['title']} ({arms.learner.name})"
    beside = {"learner": arms.learner.name, "curves": [_figures(curve) for curve in curves]}
    details = {**check.details, "plots": [*check.details["plots"], *plots], "beside": beside}
    return replace(check, details=details, method=f"{check.method}; told beside: {arms.learner.name}")


def _won(arms: Arms, curve: Curve, place: int) -> Estimate:
    """The gain at a mix. With all real rows, leaving some of both kinds out says how much training rows matter."""
    alone, ratio = curve.arms[ARMS[0]][0].astype(np.float64), curve.mixes[place]
    rng, difference = arms.rng(MIX, str(curve.size), place), curve.arms[ARMS[0]][place] - alone
    added = max(1, round(ratio * curve.real))
    if curve.size != FULL:
        shares = curve.real / len(arms.bench.real), added / max(1, len(arms.bench.synthetic))
        return estimate(difference, rng, fraction=max(shares))
    thinned = []
    for draw in range(len(alone)):
        real = arms.thin(arms.real(FULL, 0), draw)
        both = np.concatenate([real, arms.thin(arms.synthetic(added, draw), draw)])
        thinned.append(arms.correct(both, "some rows left out") * 1.0 - arms.correct(real, "some rows left out"))
    return estimate(difference, rng, thinned=np.stack(thinned))


def _side(curve: Curve) -> int:
    """The place of the mix nearest to as many synthetic rows as real ones."""
    return 1 + int(np.argmin([abs(np.log(mix / SIDE_MIX)) for mix in curve.mixes[1:]]))


def _gains(arms: Arms, curves: Sequence[Curve], best: float) -> dict[str, Any]:
    rows = []
    for curve in curves:
        place = curve.mixes.index(best) if curve.size == FULL else _side(curve)
        won = _won(arms, curve, place)
        low, high = won.interval
        label = f"{size_name(curve.size)}, {curve.mixes[place]:g} synthetic each"
        rows.append({"label": label, "value": won.value, "low": low, "high": high})
    return {"kind": "forest", "title": "Gain in accuracy on real rows", "rows": rows, "x_label": "gain over real alone"}


def _controls(arms: Arms, curves: Sequence[Curve], best: float) -> dict[str, Any]:
    """Accuracies at one mix a size: real alone, with synthetic rows, repeated, and as many rows in all."""
    rows = []
    for curve in curves:
        place = curve.mixes.index(best) if curve.size == FULL else _side(curve)
        means = [float(curve.arms[name][place].mean()) for name in ARMS]
        alone, synthetic = float(curve.arms[ARMS[0]][0].mean()), _synthetic_alone(arms, curve)
        rows.append(
            [
                *(size_name(curve.size), curve.real, curve.mixes[place]),
                *_rounded([alone, *means, synthetic, _equal_rows(arms, curve, curve.mixes[place])]),
            ]
        )
    header = ["real part", "rows", "synthetic a real row", "real alone", *ARMS, "as many synthetic alone", "equal rows"]
    note = "equal rows: real rows in place of the synthetic ones; of all real rows, both cut to as many rows in all"
    return {"title": f"Accuracy on real test rows ({note})", "header": header, "rows": rows}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _synthetic_alone(arms: Arms, curve: Curve) -> float:
    draws = len(curve.arms[ARMS[0]][0])
    found = [arms.correct(arms.synthetic(curve.real, draw), "synthetic alone") for draw in range(draws)]
    return float(np.mean(found))


def _equal_rows(arms: Arms, curve: Curve, ratio: float) -> float:
    found = []
    for draw in range(len(curve.arms[ARMS[0]][0])):
        rows = arms.real(curve.size, draw)
        added = max(1, round(ratio * len(rows)))
        more = arms.more_real(rows, added, draw)
        if curve.size == FULL:
            kept = max(1, round(len(rows) / (1 + ratio)))
            rows = arms.some_real(kept, draw)
            more = arms.synthetic(curve.real - kept, draw)
        found.append(arms.correct(np.concatenate([rows, more]), "equal rows"))
    return float(np.mean(found))


def _plot(curve: Curve) -> dict[str, Any]:
    series = {}
    for name, values in curve.arms.items():
        points = [spread(one) for one in values]
        series[name] = {
            "y": [point[0] for point in points],
            "low": [point[1] for point in points],
            "high": [point[2] for point in points],
        }
    return {
        "kind": "curve",
        "title": f"{size_name(curve.size)}: accuracy by mix".capitalize(),
        "x": list(curve.mixes),
        "series": series,
        "x_label": "synthetic rows for each real one",
        "y_label": "accuracy on real rows",
    }


def _figures(curve: Curve) -> dict[str, Any]:
    return {
        "real_rows": curve.real,
        "size": curve.size,
        "mixes": list(curve.mixes),
        "accuracy": {name: [float(one.mean()) for one in values] for name, values in curve.arms.items()},
    }


def _method(arms: Arms, draws: int) -> str:
    return f"{arms.learner.name}; {ERRORS.format(draws=draws)}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"
