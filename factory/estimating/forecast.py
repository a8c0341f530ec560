"""From a sample of rows to the whole run: draws of what the rows that are still to be made may take.

Means by the Bayesian bootstrap (Rubin 1981), widened to Student's t; acceptance by the same weights with one row more,
accepted or rejected by the toss of a coin (for one candidate kept a row, an equal mixture of the two betas whose ends
make Clopper and Pearson's interval); rows to the target negative binomial. Rows of the sample are part of the run, so
their own sums are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory import seeds
from factory.estimating.amounts import Interval
from factory.estimating.sample import Sample

Floats = NDArray[np.float64]

DRAWS = 4000
LEVEL = 0.95
PAST = 1.5
"""Measured: rows made past the target exceed what chance alone gives by so much, since rows wait for their turn."""
UNSEEN = 0.005
"""Relative error of a mean at least, where what is counted can be any number: a few rows may all be alike by chance."""
MOST_BLOCKS = 500
"""Rows beyond this many are drawn in blocks of neighbours."""


@dataclass(frozen=True)
class Target:
    """What ends the run: `rows` accepted (None: every planned row), `limit` rows planned; `top_k` of a row at most,
    `in_flight` rows at a time."""

    rows: int | None
    limit: int
    top_k: int
    in_flight: int


@dataclass(frozen=True)
class Forecast:
    """Draws: `planned` rows that are committed, and `remaining` rows that are still started, past the target too.

    `acceptance`: dataset rows by planned row. `short`: the chance that the limit of planned rows is not enough.
    """

    rows: int
    planned: Floats
    remaining: Floats
    acceptance: Floats
    short: float
    _weights: Floats
    _widen: Floats
    _bounds: tuple[int, ...]
    _seed: tuple[int | str, ...]

    def mean(self, values: Floats, name: str, rare: float = 0.0) -> Floats:
        """Draws of the mean of a quantity per row. `rare`: what half an event more than was seen would add."""
        blocks = np.add.reduceat(values, self._bounds) / np.diff([*self._bounds, self.rows])
        drawn = self._weights @ blocks
        means = values.mean() + (drawn - values.mean()) * self._widen
        if not name.endswith("requests"):
            means = means * (1 + UNSEEN * self._generator(name, "unseen").standard_normal(len(means)))
        if rare:
            rng = self._generator(name, "rare")
            means = means + rng.integers(0, 2, len(means)) * rng.gamma(0.5, 1.0, len(means)) * rare / self.rows
        return np.asarray(np.maximum(means, 0.0), float)

    def total(self, values: Floats, name: str, rare: float = 0.0) -> Floats:
        """Draws of the sum of a quantity over the whole run."""
        noise = self._generator(name, "noise").standard_normal(len(self.remaining))
        spread = float(values.std(ddof=1)) * np.sqrt(self.remaining) * noise
        return float(values.sum()) + np.maximum(self.remaining * self.mean(values, name, rare) + spread, 0.0)

    def _generator(self, *name: str) -> np.random.Generator:
        return np.random.default_rng(seeds.derive(*self._seed, *name))


def forecast_rows(sample: Sample, target: Target, seed: tuple[int | str, ...]) -> Forecast:
    """Draw how many rows the run takes. The sample has two rows at least."""
    rows = sample.rows
    accepted = np.array(sample.accepted, float)
    bounds = tuple(int(at) for at in np.linspace(0, rows, min(rows, MOST_BLOCKS) + 1)[:-1])
    sizes = np.diff([*bounds, rows])
    rng = np.random.default_rng(seeds.derive(*seed, "weights"))
    raw = rng.standard_exponential((DRAWS, len(bounds))) * sizes
    one_more = rng.standard_exponential(DRAWS)
    sums = raw.sum(axis=1)
    taken = raw @ (np.add.reduceat(accepted, bounds) / sizes)
    acceptance = (taken + one_more * rng.integers(0, 2, DRAWS) * target.top_k) / (sums + one_more)
    widen = np.sqrt((len(bounds) + 1) / rng.chisquare(len(bounds) - 1, DRAWS))
    needed, started, short = _rows_needed(
        sample, target, acceptance, np.random.default_rng(seeds.derive(*seed, "rows"))
    )
    planned = _committed(accepted, target) if needed is None else rows + needed
    return Forecast(
        rows=rows,
        planned=np.broadcast_to(planned, (DRAWS,)).astype(float),
        remaining=np.zeros(DRAWS) if started is None else started,
        acceptance=acceptance,
        short=short,
        _weights=raw / sums[:, None],
        _widen=widen,
        _bounds=bounds,
        _seed=seed,
    )


def _committed(accepted: Floats, target: Target) -> float:
    """Rows of the sample that are committed until the target is met."""
    if target.rows is None:
        return float(min(len(accepted), target.limit))
    return float(np.searchsorted(np.cumsum(accepted), target.rows) + 1)


def _rows_needed(
    sample: Sample, target: Target, acceptance: Floats, rng: np.random.Generator
) -> tuple[Floats | None, Floats | None, float]:
    """Draws of the rows still to be committed and to be started; None where the sample has all. And how likely it is
    that the limit is too low."""
    left = target.limit - sample.rows
    if target.rows is None:
        every = np.full(DRAWS, float(left)) if left > 0 else None
        return every, every, 0.0
    wanted = target.rows - sum(sample.accepted)
    if wanted <= 0:
        return None, None, 0.0
    rate = np.clip(acceptance, 1e-9, target.top_k)
    expected = wanted / rate
    if sample.duplicates:
        expected = _with_duplicates(sample, target, rate, rng)
    rate = np.clip(wanted / expected, 1e-9, target.top_k)
    if target.top_k == 1:
        drawn = wanted + rng.negative_binomial(wanted, np.minimum(rate, 1.0)).astype(float)
    else:
        spread = float(np.std(sample.accepted)) * np.sqrt(wanted / rate**3)
        drawn = np.maximum(np.ceil(expected + spread * rng.standard_normal(DRAWS)), math.ceil(wanted / target.top_k))
    # rows start while those in flight are expected not to reach the target: what exceeds that is paid past it
    ahead = np.minimum(drawn, target.in_flight)
    miss = np.clip(1 - rate / target.top_k, 0, 1)
    past = (miss > 0) + PAST * np.maximum(rng.standard_normal(DRAWS), 0) * np.sqrt(ahead * miss / rate)
    short = float(np.mean(drawn > left))
    return np.minimum(drawn, left), np.minimum(drawn + np.floor(past), left), short


def _with_duplicates(sample: Sample, target: Target, rate: Floats, rng: np.random.Generator) -> Floats:
    """Rows needed where a candidate is a near-duplicate of each accepted row with a small chance q: the further the
    dataset grows, the more are dropped. q by a gamma posterior of the duplicates that were seen."""
    assert target.rows is not None
    q = np.maximum(rng.gamma(sample.duplicates + 0.5, size=DRAWS) / max(sample.exposure, 1.0), 1e-12)
    done = sum(sample.accepted)
    fresh = np.minimum(rate * np.exp(np.minimum(q * done / 2, 50.0)), target.top_k)
    growth = np.exp(np.minimum(q * target.rows, 50.0)) - np.exp(np.minimum(q * done, 50.0))
    return np.asarray(np.maximum(growth / (fresh * q), (target.rows - done) / fresh), float)


def interval(draws: Floats) -> Interval:
    """Median and the bounds of the middle 95 %."""
    low, middle, high = np.quantile(draws, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    return Interval(float(low), float(middle), float(high))
