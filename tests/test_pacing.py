"""The pace of attempts against a clock of our own: never more than the limit in any minute, and hardly less."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.pacing import Pace, Turn

ARRIVALS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 3000)), min_size=1, max_size=300)


def largest_minute(turns: list[Turn]) -> tuple[int, int]:
    """The most requests, and the most tokens of more than one request, that any 60 seconds hold."""
    requests = tokens = 0
    for place, first in enumerate(turns):
        inside = [turn for turn in turns[place:] if turn.start < first.start + 60 - 1e-6]
        requests = max(requests, len(inside))
        if len(inside) > 1:
            tokens = max(tokens, sum(turn.tokens for turn in inside))
    return requests, tokens


@given(ARRIVALS, st.integers(1, 600), st.one_of(st.none(), st.integers(100, 10_000)))
def test_no_minute_holds_more_than_is_allowed(arrivals: list[tuple[float, int]], rpm: int, tpm: int | None) -> None:
    pace, now, turns = Pace(rpm, tpm), 1000.0, list[Turn]()
    for gap, tokens in arrivals:
        now += gap
        turns.append(pace.take(tokens, now))
        assert turns[-1].start >= now
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns), "in the order in which they asked"
    requests, used = largest_minute(turns)
    assert requests <= rpm and (tpm is None or used <= tpm)


@pytest.mark.parametrize("rpm", [6, 60, 600, 30_000])
def test_the_whole_allowance_is_used(rpm: int) -> None:
    """Everybody asks at once: after five minutes five times the limit has started, give or take a second's burst."""
    pace = Pace(requests_per_minute=rpm)
    turns = [pace.take(1, 0.0) for _ in range(5 * rpm)]
    assert 300 - 60 / rpm - 1.1 <= turns[-1].start <= 300
    at_once = sum(turn.start == 0 for turn in turns)
    assert abs(at_once - max(1, rpm // 60)) <= (rpm > 60), "a second's share goes out at once"


def test_tokens_are_spread_over_the_minute() -> None:
    pace, draw = Pace(tokens_per_minute=6000), random.Random(1)
    turns = [pace.take(draw.randrange(50, 800), 0.0) for _ in range(200)]
    for place in range(1, len(turns)):
        spread = sum(turn.tokens for turn in turns[:place]) / 100
        assert spread - 1.001 <= turns[place].start <= 1.15 * spread + 10  # a minute has no room for halves


def test_a_request_greater_than_the_limit_has_a_minute_to_itself() -> None:
    pace = Pace(tokens_per_minute=1000)
    starts = [pace.take(tokens, 0.0).start for tokens in (100, 5000, 100)]
    assert starts == [0.0, 60.0, 360.0]


def test_what_was_used_beyond_the_guess_delays_the_next_and_the_other_way_round() -> None:
    pace = Pace(tokens_per_minute=6000)
    turn = pace.take(100, 0.0)
    pace.correct(turn, 300)
    assert abs(pace.take(100, 0.0).start - 3.0) < 1e-9
    pace = Pace(tokens_per_minute=6000)
    turn = pace.take(3000, 0.0)
    pace.correct(turn, 100)
    assert abs(pace.take(100, 0.0).start - 1.0) < 1e-9


@given(ARRIVALS, st.integers(100, 10_000), st.floats(0, 1))
def test_minutes_hold_what_was_really_used_where_the_guess_was_too_high(
    arrivals: list[tuple[float, int]], tpm: int, share: float
) -> None:
    """Answers come back before the next attempt asks, with a part of what was reserved."""
    pace, now, turns = Pace(tokens_per_minute=tpm), 0.0, list[Turn]()
    for gap, tokens in arrivals:
        now = max(now + gap, turns[-1].start if turns else 0.0)
        turn = pace.take(tokens, now)
        pace.correct(turn, round(tokens * share))
        turns.append(turn)
    largest = max(tokens for _, tokens in arrivals)
    assert largest_minute(turns)[1] <= max(tpm, largest)


def test_after_a_pause_no_more_than_a_seconds_share_goes_out_at_once() -> None:
    pace = Pace(requests_per_minute=600)
    for _ in range(5):
        pace.take(1, 0.0)
    starts = [pace.take(1, 1000.0).start for _ in range(30)]
    assert starts[9] - 1000.0 < 1e-6 and starts[10] - 1000.0 > 0.09


def test_without_limits_nothing_waits() -> None:
    pace = Pace()
    assert pace.unlimited and [pace.take(10**6, 5.0).start for _ in range(3)] == [5.0, 5.0, 5.0]
