"""Tournaments: which pairs are to be compared, and what the comparisons say of each player. Pure, no calls.

Round robin: everybody meets everybody. Swiss: a few rounds, each among players that stand alike and have not met.
Knock-out: who loses is out. What is found of a player is a share of wins, 0…1: in a round robin that of its own games,
else the share expected against all the others by a Bradley–Terry model of the games that were played.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Kind = Literal["round_robin", "swiss", "knockout"]
Tournament = Literal["auto", "round_robin", "swiss", "knockout"]
Pair = tuple[int, int]

ROUND_ROBIN_UP_TO = 6
"""`auto` is a round robin of so many players at most: 15 pairs."""
DECIMALS = 9
"""Shares are rounded to so many decimals: equal players are equal whatever the order of the sums was."""
PRECISION = 1e-12
MAX_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Game:
    """Two players that were compared. `share`: the first one's; 1 won, 0.5 a tie, 0 lost, None: no verdict."""

    first: int
    second: int
    share: float | None


Rounds = Sequence[Sequence[Game]]


def choose_kind(wanted: Tournament, n: int, rounds: int | None = None) -> Kind:
    """The tournament of n players. A Swiss one in which everybody would meet everybody is a round robin."""
    if wanted == "auto":
        wanted = "round_robin" if n <= ROUND_ROBIN_UP_TO else "swiss"
    return "round_robin" if wanted == "swiss" and swiss_rounds(n, rounds) >= n - 1 else wanted


def swiss_rounds(n: int, rounds: int | None = None) -> int:
    """Rounds of a Swiss tournament, ⌈log₂ n⌉ + 1 unless given: the best of n players then beats all it can meet."""
    return rounds if rounds is not None else max(0, n - 1).bit_length() + 1


def count_games(kind: Kind, n: int, rounds: int | None = None) -> int:
    """How many pairs of n players are compared, at most."""
    if n < 2:
        return 0
    if kind == "swiss":
        return swiss_rounds(n, rounds) * (n // 2)
    return n - 1 if kind == "knockout" else n * (n - 1) // 2


def next_round(kind: Kind, n: int, played: Rounds, rounds: int | None = None) -> list[Pair]:
    """The pairs to compare next, by the rounds that are over; none when the tournament is."""
    if kind == "knockout":
        return _next_ties(_survivors(n, played))[0]
    if kind == "swiss":
        return _swiss_round(n, played) if len(played) < swiss_rounds(n, rounds) else []
    return [] if played else list(combinations(range(n), 2))


def find_shares(kind: Kind, n: int, games: Sequence[Game]) -> list[float | None]:
    """Each player's share of wins, ties as halves; None for one without a comparison that has a verdict.

    Round robin: (wins + ties / 2) / games. Swiss and knock-out, where opponents differ: the mean, over all the others
    that have been compared, of the probability to win against them by `fit_strengths`. In a complete round robin the
    two agree, but for the prior: the shares of n players add up to n / 2.
    """
    known = [game for game in games if game.share is not None]
    met = sorted({player for game in known for player in (game.first, game.second)})
    shares: list[float | None] = [None] * n
    if kind == "round_robin":
        for player in met:
            won = [_share_of(player, game) for game in known if player in (game.first, game.second)]
            shares[player] = round(math.fsum(won) / len(won), DECIMALS)
        return shares
    strengths = fit_strengths(n, known)
    for player in met:
        own = strengths[player]
        expected = [own / (own + strengths[other]) for other in met if other != player]
        shares[player] = round(math.fsum(expected) / len(expected), DECIMALS)
    return shares


def fit_strengths(n: int, games: Sequence[Game]) -> list[float]:
    """Bradley–Terry strengths π, so that i beats j with probability π_i / (π_i + π_j); ties are half a win for each.

    Every player has one further game, a tie with an opponent of strength 1: without that prior, who won every game
    would be infinitely strong. Found by minorisation–maximisation, which rises to the one maximum.

    Bradley & Terry (1952), "Rank analysis of incomplete block designs"; Hunter (2004), "MM algorithms for generalized
    Bradley–Terry models"; the prior as in Caron & Doucet (2012), here on a game instead of a gamma density.
    """
    import numpy as np

    known = [game for game in games if game.share is not None]
    first = np.array([game.first for game in known], dtype=np.intp)
    second = np.array([game.second for game in known], dtype=np.intp)
    share = np.array([game.share for game in known], dtype=np.float64)
    won = 0.5 + np.bincount(first, share, n) + np.bincount(second, 1.0 - share, n)
    strengths = np.ones(n)
    for _ in range(MAX_STEPS):
        weight = 1.0 / (strengths[first] + strengths[second])
        below = 1.0 / (strengths + 1.0) + np.bincount(first, weight, n) + np.bincount(second, weight, n)
        after = won / below
        done = bool((np.abs(after - strengths) <= PRECISION * after).all())
        strengths = after
        if done:
            break
    return [float(one) for one in strengths]


def _share_of(player: int, game: Game) -> float:
    share = 0.5 if game.share is None else game.share
    return share if player == game.first else 1.0 - share


# Knock-out


def _next_ties(survivors: Sequence[int]) -> tuple[list[Pair], list[int]]:
    """The pairs of the next round, and who has none: the last of an odd number."""
    even = len(survivors) - len(survivors) % 2
    pairs = [(survivors[k], survivors[k + 1]) for k in range(0, even, 2)]
    return pairs, list(survivors[even:])


def _survivors(n: int, played: Rounds) -> list[int]:
    """Who is still in. Whoever sat out comes first, so that nobody sits out twice in a row.

    After a tie, or without a verdict, the player of the lower number goes on.
    """
    survivors = list(range(n))
    for games in played:
        _, resting = _next_ties(survivors)
        winners = [
            game.first if game.share == 1 else game.second if game.share == 0 else min(game.first, game.second)
            for game in games
        ]
        survivors = resting + winners
    return survivors


# Swiss


def _swiss_round(n: int, played: Rounds) -> list[Pair]:
    """Pairs of players that stand alike and have not met. Of an odd number one rests: the lowest that rested least."""
    met: list[set[int]] = [set() for _ in range(n)]
    for games in played:
        for game in games:
            met[game.first].add(game.second)
            met[game.second].add(game.first)
    order, rests = _standings(n, played, met)
    if n % 2 == 0:
        return _pair_up(order, met)
    lowest_first = list(reversed(order))
    best: list[Pair] = []
    for resting in sorted(lowest_first, key=lambda player: rests[player]):
        pairs = _pair_up([player for player in order if player != resting], met)
        if len(pairs) == n // 2:
            return pairs
        best = max(best, pairs, key=len)
    return best


def _standings(n: int, played: Rounds, met: Sequence[set[int]]) -> tuple[list[int], list[int]]:
    """The players from the best down, and how often each has rested.

    By points (two for a win and for a rest, one for a tie or no verdict), then by the opponents' points, then by
    number.
    """
    points, rests = [0] * n, [0] * n
    for games in played:
        active = {player for game in games for player in (game.first, game.second)}
        for game in games:
            for player in (game.first, game.second):
                points[player] += round(2 * _share_of(player, game))
        for player in set(range(n)) - active:
            points[player] += 2
            rests[player] += 1
    strength = [sum(points[other] for other in met[player]) for player in range(n)]
    return sorted(range(n), key=lambda player: (-points[player], -strength[player], player)), rests


def _pair_up(order: Sequence[int], met: Sequence[set[int]]) -> list[Pair]:
    """From the top down, each with the next one that it has not met; who is left over is fitted in by exchanges.

    While everybody has met fewer than half of the others, all find a partner; later some may be left without.
    """
    waiting, pairs, left = list(order), [], []
    while waiting:
        player = waiting.pop(0)
        partner = next((other for other in waiting if other not in met[player]), None)
        if partner is None:
            left.append(player)
        else:
            waiting.remove(partner)
            pairs.append((player, partner))
    while len(left) >= 2 and (exchanged := _exchange(pairs, left, met)) is not None:
        pairs, left = exchanged
    return pairs


def _exchange(
    pairs: Sequence[Pair], left: Sequence[int], met: Sequence[set[int]]
) -> tuple[list[Pair], list[int]] | None:
    """One pair, the lowest possible, taken apart so that two of those left over play with its members."""
    for one, other in combinations(left, 2):
        for place in range(len(pairs) - 1, -1, -1):
            for upper, lower in (pairs[place], pairs[place][::-1]):
                if one not in met[upper] and other not in met[lower]:
                    rest = [player for player in left if player not in (one, other)]
                    return [*pairs[:place], (upper, one), (lower, other), *pairs[place + 1 :]], rest
    return None
