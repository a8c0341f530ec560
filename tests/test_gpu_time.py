"""The meter of accelerator time: equal shares, against an integration step by step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.backends.gpu_time import ShareMeter

TICKS = st.integers(0, 40)
SPANS = st.lists(st.tuples(TICKS, TICKS).map(sorted), min_size=1, max_size=12)


def metered(spans: list[list[int]], accelerators: int = 1) -> list[float]:
    """What the meter gives requests that run from tick to tick (a tick is 0.25 s)."""
    now = 0.0
    meter = ShareMeter(accelerators, clock=lambda: now)
    found: dict[int, float] = {}
    events = [(start, 0, k) for k, (start, _) in enumerate(spans)] + [(end, 1, k) for k, (_, end) in enumerate(spans)]
    for tick, ends, key in sorted(events):
        now = tick / 4
        if ends:
            found[key] = meter.stop(key)
        else:
            meter.start(key)
    assert not len(meter)
    return [found[k] for k in range(len(spans))]


def integrated(spans: list[list[int]], accelerators: int) -> list[float]:
    """The same by brute force: every tick is divided among the requests that run in it."""
    shares = [0.0] * len(spans)
    for tick in range(41):
        running = [k for k, (start, end) in enumerate(spans) if start <= tick < end]
        for k in running:
            shares[k] += 0.25 * accelerators / len(running)
    return shares


@given(SPANS, st.integers(1, 8))
def test_shares_are_the_integral_over_the_number_in_flight(spans: list[list[int]], accelerators: int) -> None:
    assert metered(spans, accelerators) == pytest.approx(integrated(spans, accelerators))


@given(SPANS, st.integers(1, 8))
def test_shares_sum_to_the_busy_time_of_all_accelerators(spans: list[list[int]], accelerators: int) -> None:
    busy = sum(any(start <= tick < end for start, end in spans) for tick in range(41)) * 0.25
    assert sum(metered(spans, accelerators)) == pytest.approx(busy * accelerators)


def test_a_request_that_runs_alone_gets_its_whole_time_and_idle_time_is_nobodys() -> None:
    assert metered([[0, 4], [20, 28]]) == [1.0, 2.0]


def test_the_wall_clock_of_the_machine_is_the_default() -> None:
    meter = ShareMeter()
    meter.start("a")
    assert meter.stop("a") >= 0


def test_keys_are_checked() -> None:
    meter = ShareMeter()
    meter.start("a")
    with pytest.raises(ValueError, match="in flight already"):
        meter.start("a")
    with pytest.raises(KeyError):
        meter.stop("b")
    with pytest.raises(ValueError, match="at least 1"):
        ShareMeter(0)
