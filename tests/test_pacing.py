"""The pace of attempts against a clock of our own: never more than the limit in any minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from factory.pacing import Pace


@given(st.lists(st.floats(0, 3), min_size=1, max_size=300), st.integers(6, 600))
def test_no_minute_holds_more_requests_than_allowed(gaps: list[float], limit: int) -> None:
    pace, now, starts = Pace(requests_per_minute=limit), 0.0, []
    for gap in gaps:
        now += gap
        starts.append(now + pace.reserve(now, 10))
    assert starts == sorted(starts)
    for position, start in enumerate(starts):
        inside = sum(start <= other < start + 60 - 1e-6 for other in starts[position:])
        assert inside <= limit + 1


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=100))
def test_tokens_are_spread_over_the_minute(sizes: list[int]) -> None:
    pace = Pace(tokens_per_minute=6000)
    waits = [pace.reserve(0.0, size) for size in sizes]
    for position, wait in enumerate(waits):
        assert abs(wait - sum(sizes[:position]) / 100) < 1e-6


def test_what_was_used_beyond_the_guess_delays_the_next() -> None:
    pace = Pace(tokens_per_minute=6000)
    assert pace.reserve(0.0, 100) == 0
    pace.correct(200)
    assert abs(pace.reserve(0.0, 100) - 3.0) < 1e-9


def test_without_limits_nothing_waits() -> None:
    pace = Pace()
    assert [pace.reserve(5.0, 10**6) for _ in range(3)] == [0, 0, 0]
