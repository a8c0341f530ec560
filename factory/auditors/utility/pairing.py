"""Differences between arms on the same test rows: estimate, interval and test, over test rows and draws of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.auditors.statistics import POWER, Z95, Floats, percentile_interval, resampled_sums
from factory.types import Test

RESAMPLES = 2000
ERRORS = "paired bootstrap over test rows, and the variance of {draws} draws of training rows"
FEW_KINDS = 64
KEPT = 0.8
"""Of training rows, where some are left out to see how much they matter."""
STEP = 1e-5
MOST_FRACTION = 0.9


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over `n` test rows and `draws` draws of training rows. `df`: of its error (Satterthwaite 1946)."""

    value: float
    se: float
    df: float
    interval: tuple[float, float]
    n: int
    draws: int

    def beyond(self, limit: float, effect: float) -> Test:
        """The one-sided test, by Student's t, that the figure is above `limit`."""
        from scipy.special import stdtr, stdtrit

        if self.se <= 0:
            return Test(0.0 if self.value > limit else 1.0, effect, lambda alpha: limit)

        def mde(alpha: float) -> float:
            return limit + float(stdtrit(self.df, 1 - alpha) + stdtrit(self.df, POWER)) * self.se

        return Test(float(stdtr(self.df, (limit - self.value) / self.se)), effect, mde)

    def told(self) -> dict[str, Any]:
        """The figures for `details`."""
        return {"value": self.value, "low": self.interval[0], "high": self.interval[1], "se": self.se}

    def flipped(self) -> Estimate:
        """The same with the other sign."""
        low, high = self.interval
        return Estimate(-self.value, self.se, self.df, (-high, -low), self.n, self.draws)


def estimate(
    parts: NDArray[Any],
    rng: np.random.Generator,
    of: Callable[[Floats], Floats] | None = None,
    *,
    fraction: float = 0.0,
    thinned: NDArray[Any] | None = None,
) -> Estimate:
    """A smooth function `of` the means of `parts` [draws, test rows, k], taken over draws and test rows.

    Without `of` it is the mean itself (`parts` [draws, test rows]). `of` maps [..., k] to [...]. Two things err: the
    test rows, which are resampled (bootstrap, draws averaged before), and the training rows. For these the variance of
    draws s² is taken from the linearised values, less what draws and test rows have in common (mean squares of a
    two-way table), and stands for s²·(1/draws + f/(1 − f)) where a draw is the share f, `fraction`, of what could be
    drawn: the delete-d jackknife (Shao and Wu 1989). Where `parts` is one training on everything, `thinned` holds
    the same measured on random four fifths of the training rows, and f is .8 without the first term. Test rows err by
    one row at least, so that arms that agree on a few rows are not taken for equal.
    """
    values = _with_parts(parts)
    function = of or (lambda means: means[..., 0])
    draws, n, _ = values.shape
    averaged = values.mean(axis=0)
    means = averaged.mean(axis=0)
    value = float(function(means))
    resampled = function(_resampled_means(averaged, rng))
    resampled = resampled[np.isfinite(resampled)]
    by_rows = float(np.var(resampled)) if len(resampled) else 0.0
    trained = values if thinned is None else _with_parts(thinned)
    repeats = len(trained)
    share = min(fraction, MOST_FRACTION)
    weight = 1 / draws + share / (1 - share) if thinned is None else KEPT / (1 - KEPT)
    gradient = _gradient(function, means)
    by_draws = weight * _variance_of_draws(trained @ gradient)
    unseen = max(0.0, float((np.abs(gradient).max() / n) ** 2) - by_rows)
    df = _freedom(by_rows, n - 1, by_draws, repeats - 1)
    noise = rng.standard_normal(len(resampled)) * math.sqrt(unseen)
    if by_draws > 0:
        noise = noise + rng.standard_t(repeats - 1, len(resampled)) * math.sqrt(by_draws)
    interval = percentile_interval(resampled + noise) if len(resampled) else (value, value)
    return Estimate(value, math.sqrt(by_rows + by_draws + unseen), df, interval, n, repeats)


def _resampled_means(values: Floats, rng: np.random.Generator) -> Floats:
    """Means over resampled rows [resamples, k]; where few different rows occur, by how often each is drawn."""
    kinds, counts = np.unique(values, axis=0, return_counts=True)
    n = len(values)
    if len(kinds) > FEW_KINDS:
        return resampled_sums(values, rng, resamples=RESAMPLES) / n
    found: Floats = rng.multinomial(n, counts / n, size=RESAMPLES) @ kinds / n
    return found


def _with_parts(values: NDArray[Any]) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    return found[:, :, None] if found.ndim == 2 else found


def _variance_of_draws(linear: Floats) -> float:
    """Of a single draw of [draws, n]: what it adds to the variance that test rows have."""
    draws, n = linear.shape
    if draws < 2 or n < 2:
        return 0.0
    by_draw, by_row = linear.mean(axis=1), linear.mean(axis=0)
    rest = linear - by_draw[:, None] - by_row[None, :] + linear.mean()
    shared: float = float((rest**2).sum() / ((draws - 1) * (n - 1))) / n
    return float(max(0.0, by_draw.var(ddof=1) - shared))


def _gradient(function: Callable[[Floats], Floats], means: Floats) -> Floats:
    steps = np.eye(len(means)) * STEP
    found: Floats = (function(means + steps) - function(means - steps)) / (2 * STEP)
    return np.where(np.isfinite(found), found, 0.0)


def _freedom(one: float, one_df: int, other: float, other_df: int) -> float:
    if one + other <= 0:
        return float(max(1, one_df))
    parts = one**2 / max(1, one_df) + (other**2 / other_df if other_df > 0 else 0.0)
    return float(max(1.0, (one + other) ** 2 / parts)) if parts > 0 else float(max(1, one_df))


def spread(values: NDArray[Any]) -> tuple[float, float, float]:
    """Mean of [draws, test rows] and a 95 % interval by the normal approximation, over rows and draws alike."""
    given = np.asarray(values, dtype=np.float64)
    n = given.shape[1]
    mean = float(given.mean())
    by_rows = float(given.mean(axis=0).var(ddof=1)) / n if n > 1 else 0.0
    half = Z95 * math.sqrt(by_rows + _variance_of_draws(given) / len(given))
    return mean, mean - half, mean + half
