"""Tournaments: who meets whom, how many meetings there are at most, and whether the true order comes out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.scorers.judging.tournament import (
    Game,
    Kind,
    Tournament,
    choose_kind,
    count_games,
    find_shares,
    fit_strengths,
    next_round,
    swiss_rounds,
)

KINDS: tuple[Tournament, ...] = ("round_robin", "swiss", "knockout")
RESULTS = (0.0, 0.5, 1.0, None)


def play(
    wanted: Tournament, n: int, result: Callable[[int, int], float | None], rounds: int | None = None
) -> tuple[Kind, list[list[Game]]]:
    """A whole tournament: its kind, and its games by round."""
    kind = choose_kind(wanted, n, rounds)
    played: list[list[Game]] = []
    while pairs := next_round(kind, n, played, rounds):
        played.append([Game(one, other, result(one, other)) for one, other in pairs])
        assert len(played) <= count_games(kind, n, rounds)
    return kind, played


def shares_of(wanted: Tournament, ranks: list[int], rounds: int | None = None) -> list[float]:
    """The shares when the higher rank always wins."""
    kind, played = play(wanted, len(ranks), lambda one, other: float(ranks[one] > ranks[other]), rounds)
    found = find_shares(kind, len(ranks), [game for games in played for game in games])
    known = [share for share in found if share is not None]
    assert len(known) == len(ranks)
    return known


some_ranks = st.integers(2, 40).flatmap(lambda n: st.permutations(range(n)))


@given(some_ranks)
def test_a_round_robin_recovers_the_order_exactly(ranks: list[int]) -> None:
    n = len(ranks)
    shares = shares_of("round_robin", ranks)
    assert sorted(range(n), key=shares.__getitem__) == sorted(range(n), key=ranks.__getitem__)
    assert shares == pytest.approx([rank / (n - 1) for rank in ranks])


@given(some_ranks, st.sampled_from(KINDS))
def test_the_best_comes_first_in_every_tournament(ranks: list[int], wanted: Tournament) -> None:
    shares = shares_of(wanted, ranks)
    best = ranks.index(len(ranks) - 1)
    assert all(shares[best] > share for player, share in enumerate(shares) if player != best)


@pytest.mark.parametrize("n", range(2, 7))
def test_the_best_comes_first_for_every_order_of_few(n: int) -> None:
    for ranks in permutations(range(n)):
        for wanted in KINDS:
            shares = shares_of(wanted, list(ranks))
            assert max(range(n), key=shares.__getitem__) == ranks.index(n - 1)


def test_a_swiss_tournament_finds_most_of_the_order() -> None:
    """Kendall's tau over random orders: pairs in the right order less those in the wrong one, over all pairs."""
    draw, taus = random.Random(11), []
    for _ in range(60):
        ranks = list(range(draw.randint(12, 48)))
        draw.shuffle(ranks)
        shares = shares_of("swiss", ranks)
        signs = [(shares[one] - shares[other]) * (ranks[one] - ranks[other]) for one, other in combinations(ranks, 2)]
        taus.append(sum((sign > 0) - (sign < 0) for sign in signs) / len(signs))
    assert math.fsum(taus) / len(taus) > 0.8 and min(taus) > 0.6


@given(st.integers(2, 40), st.sampled_from(KINDS), st.none() | st.integers(2, 12), st.data())
def test_nobody_meets_twice_nor_plays_twice_in_a_round(
    n: int, wanted: Tournament, rounds: int | None, data: st.DataObject
) -> None:
    kind, played = play(wanted, n, lambda *_: data.draw(st.sampled_from(RESULTS)), rounds)
    games = [game for one in played for game in one]
    assert len(games) <= count_games(kind, n, rounds)
    pairs = [frozenset((game.first, game.second)) for game in games]
    assert all(len(pair) == 2 for pair in pairs) and len(set(pairs)) == len(pairs)
    if kind != "round_robin":
        for one in played:
            players = [player for game in one for player in (game.first, game.second)]
            assert len(set(players)) == len(players)
    if kind == "knockout":
        assert len(games) == n - 1
    assert {player for game in games for player in (game.first, game.second)} == set(range(n))


@given(st.integers(2, 24), st.sampled_from(KINDS), st.data())
def test_wins_are_conserved(n: int, wanted: Tournament, data: st.DataObject) -> None:
    kind, played = play(wanted, n, lambda *_: data.draw(st.sampled_from(RESULTS)))
    games = [game for one in played for game in one]
    shares = find_shares(kind, n, games)
    known = [game for game in games if game.share is not None]
    met = {player for game in known for player in (game.first, game.second)}
    assert [player for player, share in enumerate(shares) if share is not None] == sorted(met)
    assert all(0.0 <= share <= 1.0 for share in shares if share is not None)
    if kind != "round_robin" or len(known) == math.comb(n, 2):
        assert math.fsum(share for share in shares if share is not None) == pytest.approx(len(met) / 2)


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.tuples(
            st.lists(
                st.builds(Game, st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from(RESULTS)).filter(
                    lambda game: game.first != game.second
                ),
                max_size=30,
            ),
            st.permutations(range(n)),
        )
    ),
    st.sampled_from(["round_robin", "swiss", "knockout"]),
)
def test_shares_follow_the_players_whatever_their_numbers(case: tuple[list[Game], list[int]], kind: Kind) -> None:
    games, names = case
    shares = find_shares(kind, len(names), games)
    renamed = [Game(names[game.first], names[game.second], game.share) for game in reversed(games)]
    moved = find_shares(kind, len(names), renamed)
    turned = [Game(game.second, game.first, None if game.share is None else 1 - game.share) for game in games]
    assert find_shares(kind, len(names), turned) == shares
    for player, share in enumerate(shares):
        assert moved[names[player]] == share


def test_equal_players_have_equal_shares() -> None:
    ring = [Game(k, (k + 1) % 5, 1.0) for k in range(5)]
    assert find_shares("swiss", 5, ring) == [0.5] * 5
    assert find_shares("knockout", 3, [Game(0, 1, 0.5), Game(1, 2, 0.5)]) == [0.5] * 3


def test_who_was_never_compared_has_no_share() -> None:
    for kind in ("round_robin", "swiss", "knockout"):
        assert find_shares(kind, 3, [Game(0, 1, None), Game(1, 2, 1.0)])[0] is None
        assert find_shares(kind, 3, []) == [None] * 3


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 8).flatmap(
        lambda n: st.lists(
            st.builds(Game, st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from(RESULTS)).filter(
                lambda game: game.first != game.second
            ),
            min_size=1,
            max_size=25,
        ).map(lambda games: (n, games))
    )
)
def test_strengths_are_where_the_likelihood_is_greatest(case: tuple[int, list[Game]]) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="the oracle is scipy's minimiser")
    n, games = case

    def loss(logs: list[float]) -> float:
        total = 0.0
        for game in games:
            if game.share is not None:
                gap = logs[game.first] - logs[game.second]
                total += game.share * math.log1p(math.exp(-gap)) + (1 - game.share) * math.log1p(math.exp(gap))
        return total + sum(0.5 * math.log1p(math.exp(-one)) + 0.5 * math.log1p(math.exp(one)) for one in logs)

    found = optimize.minimize(loss, [0.0] * n, method="BFGS", options={"gtol": 1e-8}).x
    assert [math.log(one) for one in fit_strengths(n, games)] == pytest.approx(list(found), abs=1e-4)


@settings(max_examples=20)  # fitting thousands of games takes its time
@given(st.integers(2, 6), st.data())
def test_a_round_robins_share_is_what_strengths_without_a_prior_expect(n: int, data: st.DataObject) -> None:
    """The two measures agree: with each game repeated many times the prior fades, and the model gives the shares."""
    games = [
        Game(one, other, data.draw(st.sampled_from([0.25, 0.5, 0.75]))) for one, other in combinations(range(n), 2)
    ]
    plain = find_shares("round_robin", n, games)
    fitted = find_shares("swiss", n, games * 200)
    assert fitted == pytest.approx(plain, abs=0.01)


def test_the_number_of_games() -> None:
    assert [count_games(choose_kind("auto", n), n) for n in range(9)] == [0, 0, 1, 3, 6, 10, 15, 12, 16]
    assert [choose_kind("auto", n) for n in (1, 6, 7, 64)] == ["round_robin", "round_robin", "swiss", "swiss"]
    assert [swiss_rounds(n) for n in (7, 8, 9, 16, 17, 1024)] == [4, 4, 5, 5, 6, 11]
    assert count_games("swiss", 64) == 7 * 32 and count_games("knockout", 64) == 63
    assert choose_kind("swiss", 4) == "round_robin" and choose_kind("swiss", 5, rounds=2) == "swiss"
    assert count_games("swiss", 64, 2) == 64


@given(st.integers(4, 20).map(lambda half: 2 * half), st.data())
def test_an_even_swiss_tournament_leaves_nobody_out(n: int, data: st.DataObject) -> None:
    """In at most n / 2 rounds; see the docstring of `_pair_up`."""
    _, played = play("swiss", n, lambda *_: data.draw(st.sampled_from(RESULTS)), n // 2)
    assert all(len(games) == n // 2 for games in played) and len(played) == n // 2


def test_who_rests_is_not_the_same_twice() -> None:
    _, played = play("swiss", 9, lambda one, other: float(one < other))
    resting = [set(range(9)) - {player for game in games for player in (game.first, game.second)} for games in played]
    assert all(len(one) == 1 for one in resting) and len(set().union(*resting)) == len(resting)
    _, played = play("knockout", 5, lambda one, other: float(one < other))
    assert [[(game.first, game.second) for game in games] for games in played] == [[(0, 1), (2, 3)], [(4, 0)], [(2, 0)]]


def test_after_a_tie_or_without_a_verdict_the_lower_number_goes_on() -> None:
    for nothing in (0.5, None):
        _, played = play("knockout", 4, lambda *_, share=nothing: share)
        assert [(game.first, game.second) for games in played for game in games] == [(0, 1), (2, 3), (0, 2)]


@settings(deadline=None)
@given(st.integers(2, 32), st.randoms(use_true_random=False))
def test_the_winner_of_a_knockout_has_the_greatest_share(n: int, draw: random.Random) -> None:
    kind, played = play("knockout", n, lambda *_: draw.choice([0.0, 1.0]))
    [final] = played[-1]
    winner = final.first if final.share == 1 else final.second
    shares = find_shares(kind, n, [game for games in played for game in games])
    assert max(share for share in shares if share is not None) == shares[winner]


def test_a_thousand_players_are_fitted() -> None:
    shares = shares_of("swiss", [(k * 377) % 1024 for k in range(1024)])
    assert max(range(1024), key=shares.__getitem__) == next(k for k in range(1024) if (k * 377) % 1024 == 1023)
