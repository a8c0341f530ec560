"""`quota`: so many rows, or such a share of them, of each value; the first rows win and an extension keeps them."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import write_recipe

import factory
from factory.errors import RecipeError, UsageError
from factory.filters import Drop, Filter, Item, compile_filters
from factory.recipe import PluginConfig

COLUMNS = ("text", "letter")
SCOPE = {"topic", "level", "row"}


def made(scope: set[str] | None = SCOPE, **options: Any) -> Filter:
    return compile_filters([PluginConfig.model_validate({"quota": options})], COLUMNS, scope=scope)[0]


def item(row: int, letter: Any = "A", **scope: Any) -> Item:
    return Item(row, 0, {"text": "t", "letter": letter}, {"row": row, "topic": "t", "level": 1, **scope})


def offer(one: Filter, *items: Item) -> list[Drop | None]:
    drops = []
    for given_item in items:
        drop = one.check(given_item)
        if drop is None:
            one.add(given_item)
        drops.append(drop)
    return drops


def test_most_rows_of_each_value() -> None:
    drops = offer(made(on="letter", most=2), *[item(row, letter) for row, letter in enumerate("AABAB")])
    assert [drop is None for drop in drops] == [True, True, True, False, True]
    assert drops[3] == Drop("filter", "`letter` is `A` in 2 rows already, of at most 2")


def test_a_share_of_the_rows_of_each_value() -> None:
    drops = offer(made(on="letter", share=0.5), *[item(row, letter) for row, letter in enumerate("AABAAB")])
    # Of 1 row at most 1, of 2 at most 1, of 3 at most 2, of 4 at most 2.
    assert [drop is None for drop in drops] == [True, False, True, True, False, True]
    assert drops[1] == Drop("filter", "`letter` is `A` in 1 of 1 rows: of 2 at most 1 may be")


def test_axes_templates_and_nested_values() -> None:
    rows = [item(0, topic="cats", level=1), item(1, topic="cats", level=2), item(2, topic="cats", level=1)]
    assert [drop is None for drop in offer(made(on="topic", most=1), *rows)] == [True, False, False]
    assert [drop is None for drop in offer(made(on="{{ topic }}-{{ level }}", most=1), *rows)] == [True, True, False]
    nested = [item(0, {"a": 1, "b": 2}), item(1, {"b": 2, "a": 1}), item(2, {"a": 1})]
    assert [drop is None for drop in offer(made(on="letter", most=1), *nested)] == [True, False, True]
    hidden = [Item(row, 0, {"letter": letter}, {"letter": "x"}) for row, letter in enumerate("AB")]
    assert offer(made(on="letter", most=1), *hidden) == [None, None]  # a column hides an axis


def test_what_was_only_checked_does_not_count() -> None:
    one = made(on="letter", most=1)
    assert one.check(item(0)) is None and one.check(item(1)) is None


def test_a_long_value_is_told_on_one_line() -> None:
    drops = offer(made(on="letter", most=1), *[item(row, "word\n" * 100_000) for row in range(2)])
    assert drops[1] is not None and len(drops[1].reason) < 150 and "\n" not in drops[1].reason


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from("ABCD"), max_size=60),
    st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0]),
    st.integers(0, 3),
    st.none() | st.integers(1, 6),
    st.integers(0, 60),
)
def test_the_rule_holds_at_every_row_and_an_extension_keeps_the_first(
    letters: list[str], share: float, slack: int, most: int | None, cut: int
) -> None:
    options: dict[str, Any] = {"on": "letter", "share": share, "slack": slack}
    options |= {} if most is None else {"most": most}
    rows = [item(row, letter) for row, letter in enumerate(letters)]
    drops = offer(made(**options), *rows)
    counts: Counter[str] = Counter()
    for row, drop in zip(rows, drops, strict=True):
        letter = row.fields["letter"]
        n = counts.total() + 1
        allowed = ceil(Decimal(str(share)) * n) + slack
        fits = counts[letter] + 1 <= allowed and (most is None or counts[letter] < most)
        assert (drop is None) == fits
        counts[letter] += drop is None
    assert offer(made(**options), *rows[:cut]) == drops[:cut]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"on": "letter"}, "neither `most` nor `share` is given (for example `most: 50`, or `share: 0.3`)"),
        ({"on": "letter", "most": 0}, "`most` is 0"),
        ({"on": "letter", "share": 0.0}, "`share` is 0, outside 0 … 1"),
        ({"on": "letter", "share": 1.5}, "`share` is 1.5, outside 0 … 1"),
        ({"on": "letter", "share": 0.5, "slack": -1}, "`slack` is -1"),
        ({"on": "letter", "most": 5, "slack": 1}, "`slack` loosens a `share`"),
        ({"most": 1}, "on"),
        ({"on": " ", "most": 1}, "`on` is empty"),
        ({"on": "lettre", "most": 1}, "`on` names `lettre`, which is neither a column nor an axis (did you mean `let"),
        ({"on": "{{ topik }}", "most": 1}, "`on` names `topik`, which is undefined (did you mean `topic`?)"),
        ({"on": "{{ topic", "most": 1}, "is no template"),
    ],
)
def test_faults(options: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as raised:
        made(**options)
    assert told in str(raised.value.places[0])


def test_a_name_that_only_the_rows_can_lack_is_told_with_the_row() -> None:
    with pytest.raises(UsageError, match=r"`quota` failed on row 4, .*`colour`, which is neither"):
        made(None, on="colour", most=1).check(item(4))
    with pytest.raises(UsageError, match=r"`quota` failed on row 4, .*topic.title"):
        made(None, on="{{ topic.title }}", most=1).check(item(4))


def test_a_run_with_quotas_is_extended_and_keeps_its_first_rows(tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path, carry=["animal"], filter=[{"quota": {"on": "animal", "share": 0.2, "most": 6}}], rows=12
    )
    first = factory.run(path, runs_dir=tmp_path / "runs").dataset()["train"].to_list()
    more = factory.run(path, runs_dir=tmp_path / "runs", rows=30, seed=None)
    rows = more.dataset()["train"].to_list()
    assert rows[:12] == first
    assert max(Counter(row["animal"] for row in rows).values()) <= 6
    for n in range(1, len(rows) + 1):
        assert max(Counter(row["animal"] for row in rows[:n]).values()) <= ceil(Decimal("0.2") * n)
    rejects = more.rejects()
    assert set(rejects["stage"]) <= {"filter", "unused"} and any("rows" in reason for reason in rejects["reason"])
