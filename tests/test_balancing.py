"""`balance: true`: exact shares after every block, prefixes off by less than a block, random access."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factory.planning.axes import Axis, sort_axes
from factory.planning.axis_reading import compile_axis
from factory.planning.balancing import STRATA, Blocks, balanced_draws, whole_weights
from factory.recipe.axes import AxisConfig


def rows_of(entries: Mapping[str, Any], indices: Any, seed: int = 7, base: Path = Path()) -> list[dict[str, Any]]:
    axes: dict[str, Axis] = {
        name: compile_axis(AxisConfig.model_validate(entry), base)[0] for name, entry in entries.items()
    }
    order, cycles = sort_axes(axes)
    assert not cycles
    draws = balanced_draws({name: axes[name] for name in order}, seed)
    rows = []
    for index in indices:
        row: dict[str, Any] = {"row": index, "source": None}
        for name, draw in draws.items():
            row[name] = draw(index, row)
        rows.append(row)
    return rows


weights = st.lists(st.integers(1, 7), min_size=1, max_size=6)


@given(weights, st.integers(0, 5), st.integers(0, 2**31))
def test_whole_blocks_are_exactly_proportional_and_prefixes_nearly(parts: list[int], blocks: int, seed: int) -> None:
    sequence = Blocks((seed, "x"), [float(part) for part in parts])
    whole = whole_weights([float(part) for part in parts])
    assert whole is not None
    assert sequence.length == sum(whole)
    assert [Fraction(one, sum(whole)) for one in whole] == [Fraction(part, sum(parts)) for part in parts]
    drawn = [sequence.index(rank) for rank in range((blocks + 1) * sequence.length)]
    counts = Counter(drawn[: blocks * sequence.length])
    assert [counts[index] for index in range(len(parts))] == [blocks * one for one in whole]
    for length in range(len(drawn) + 1):
        prefix = Counter(drawn[:length])
        for index, one in enumerate(whole):
            assert abs(prefix[index] - Fraction(length * one, sum(whole))) < sequence.length


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=8), st.integers(0, 2**31), st.integers(0, 3 * STRATA))
def test_awkward_weights_are_within_one_a_block(parts: list[float], seed: int, cut: int) -> None:
    sequence = Blocks((seed, "x"), parts)
    drawn = [sequence.index(rank) for rank in range(3 * sequence.length)]
    for block in range(3):
        counts = Counter(drawn[block * sequence.length : (block + 1) * sequence.length])
        for index, part in enumerate(parts):
            assert abs(counts[index] - sequence.length * part / sum(parts)) <= 1 + 1e-6
    cut = min(cut, len(drawn))
    fresh = Blocks((seed, "x"), parts)
    assert [fresh.count(cut, index) for index in range(len(parts))] == [
        drawn[:cut].count(index) for index in range(len(parts))
    ]


def test_awkward_weights_are_exact_on_average() -> None:
    sequence = Blocks((5, "x"), [0.0011, 0.4123, 0.5866])
    assert sequence.length == STRATA
    total = 1200 * STRATA
    rare = sequence.count(total, 0)
    assert sum(sequence.count(total, index) for index in range(3)) == total
    assert abs(rare - 0.0011 * total) < 4 * (1200 * 0.2816 * 0.7184) ** 0.5


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30), st.integers(0, 2**31))
@settings(max_examples=30)
def test_random_access_equals_sequential(wanted: list[int], seed: int) -> None:
    entries = {
        "kind": {"choice": {"a": 2, "b": 1}},
        "odd": {"choice": {"a": 0.123456, "b": 0.3}},
        "n": {"integer": {"min": 1, "max": 100_000}},
        "x": {"normal": {"mean": 0, "sd": 1}},
        "sub": {"depends": {"on": "kind", "choices": {"a": ["p", "q", "r"], "b": {"s": 1, "t": 2}}}},
        "deep": {"depends": {"on": "sub", "choices": {"p": [1, 2]}, "default": [3, 4, 5]}},
        "of_odd": {"depends": {"on": "odd", "choices": {"a": [1, 2], "b": [3, 4, 5]}}},
        "text": {"template": "{{ kind }}{{ sub }}"},
    }
    alone = [rows_of(entries, [index], seed)[0] for index in wanted[:4]]
    assert rows_of(entries, wanted, seed)[:4] == alone
    assert rows_of(entries, sorted(wanted), seed) == sorted(rows_of(entries, wanted, seed), key=lambda row: row["row"])


def test_each_pass_over_a_file_uses_each_entry_once(tmp_path: Path) -> None:
    entries = [f"topic {number}" for number in range(700)]
    (tmp_path / "topics.txt").write_text("\n".join(entries))
    rows = rows_of({"topic": {"file": "topics.txt"}}, range(2100), base=tmp_path)
    orders = [[row["topic"] for row in rows[start : start + 700]] for start in (0, 700, 1400)]
    assert all(sorted(order) == sorted(entries) for order in orders)
    assert orders[0] != orders[1] != orders[2] != entries


def test_short_ranges_and_days_are_covered_exactly() -> None:
    entries = {"n": {"integer": {"min": 5, "max": 14}}, "day": {"date": {"start": "2024-01-01", "end": "2024-01-05"}}}
    rows = rows_of(entries, range(50))
    assert set(Counter(row["n"] for row in rows).values()) == {5}
    assert set(Counter(row["day"] for row in rows).values()) == {10}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numbers_fall_once_in_each_stratum(seed: int) -> None:
    entries = {
        "u": {"uniform": {"min": 10, "max": 20}},
        "z": {"normal": {"mean": 5, "sd": 2, "min": 4}},
        "n": {"integer": {"min": 0, "max": 25_599}},
    }
    rows = rows_of(entries, range(2 * STRATA), seed)
    for block in (rows[:STRATA], rows[STRATA:]):
        truncated = stats.truncnorm(-0.5, float("inf"), 5, 2)
        for points in (
            [(row["u"] - 10) / 10 for row in block],
            [truncated.cdf(row["z"]) for row in block],
            [row["n"] / 25_600 for row in block],
        ):
            assert sorted(int(point * STRATA) for point in points) == list(range(STRATA))


def test_depends_is_even_within_each_value_of_the_other_axis() -> None:
    cities = {"de": ["Ulm", "Bonn", "Kiel"], "fr": {"Paris": 3, "Lyon": 1}}
    entries = {
        "country": {"choice": {"de": 2, "fr": 1}},
        "city": {"depends": {"on": "country", "choices": cities}},
        "street": {"depends": {"on": "city", "choices": {"Ulm": ["A", "B"]}, "default": ["C", "D", "E"]}},
    }
    rows = rows_of(entries, range(3 * 4 * 3 * 6))
    for length in range(1, len(rows) + 1, 7):
        by_country = Counter(row["country"] for row in rows[:length])
        by_city = Counter(row["city"] for row in rows[:length])
        assert all(abs(by_city[city] - by_country["de"] / 3) < 1 for city in cities["de"])
        assert abs(by_city["Paris"] - by_country["fr"] * 3 / 4) < 1
        by_street = Counter((row["city"], row["street"]) for row in rows[:length])
        for city, count in by_city.items():
            streets = "AB" if city == "Ulm" else "CDE"
            assert all(abs(by_street[city, street] - count / len(streets)) < 1 for street in streets)


def test_depends_is_even_within_a_column_of_a_table_and_awkward_weights(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("city,country\nUlm,de\nBonn,de\nLyon,fr\n")
    entries = {
        "city": {"table": "c.csv"},
        "law": {"depends": {"on": "city.country", "choices": {"de": ["a", "b"], "fr": ["c", "d"]}}},
        "odd": {"choice": {"x": 0.123456, "y": 0.876544}},
        "sub": {"depends": {"on": "odd", "choices": {"x": [1, 2], "y": [3, 4, 5]}}},
    }
    rows = rows_of(entries, range(900), base=tmp_path)
    laws = Counter((row["city"]["country"], row["law"]) for row in rows)
    assert laws == {("de", "a"): 300, ("de", "b"): 300, ("fr", "c"): 150, ("fr", "d"): 150}
    subs = Counter(row["sub"] for row in rows)
    assert abs(subs[1] - subs[2]) <= 1
    assert max(subs[n] for n in (3, 4, 5)) - min(subs[n] for n in (3, 4, 5)) <= 1


def test_depends_on_what_cannot_be_counted_is_even_on_average() -> None:
    entries = {
        "n": {"integer": {"min": 1, "max": 1000}},
        "size": {"template": "{{ 'small' if n < 300 else 'big' }}"},
        "word": {"depends": {"on": "size", "choices": {"small": ["a", "b"], "big": ["c", "d"]}}},
    }
    words = Counter(row["word"] for row in rows_of(entries, range(4096)))
    assert stats.chisquare([words["a"], words["b"]]).pvalue > 1e-3
    assert stats.chisquare([words["c"], words["d"]]).pvalue > 1e-3


def test_axes_are_independent_of_one_another() -> None:
    names = ("a", "b", "c")
    rows = rows_of({name: {"choice": [0, 1, 2]} for name in names}, range(3000))
    for first, second in (("a", "b"), ("a", "c"), ("b", "c")):
        pairs = Counter((row[first], row[second]) for row in rows)
        # Within a block of three the pairs are a permutation, so the statistic has about 3/2 of its usual spread.
        statistic = sum((pairs[pair] - 3000 / 9) ** 2 / (3000 / 9) for pair in product(range(3), repeat=2))
        assert statistic < 25
    other = rows_of({name: {"choice": [0, 1, 2]} for name in names}, range(3000), seed=8)
    assert [row["a"] for row in rows] != [row["a"] for row in other]


def test_weights_without_a_small_common_denominator() -> None:
    assert whole_weights([0.7, 0.3]) == [7, 3]
    assert whole_weights([1, 1, 1]) == [1, 1, 1]
    assert whole_weights([2, 4]) == [1, 2]
    assert whole_weights([0.333, 0.667]) is None
    assert whole_weights([1e-9, 1]) is None
