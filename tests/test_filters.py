"""Filters: what each drops and why, their faults, and functions as filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from factory import registry
from factory.errors import RecipeError, UsageError
from factory.filters import Columns, Drop, Filter, Item, as_columns, compile_filters, text_of
from factory.recipe import PluginConfig

COLUMNS = ("question", "answer", "id")


def spec(name: str, **options: Any) -> PluginConfig:
    return PluginConfig.model_validate({name: options})


def made(name: str, **options: Any) -> Filter:
    return compile_filters([spec(name, **options)], COLUMNS, output=COLUMNS[:2])[0]


def item(row: int, question: Any = "", answer: Any = "", index: int = 0, **scope: Any) -> Item:
    return Item(row, index, {"question": question, "answer": answer, "id": row}, {"row": row, **scope})


def offer(one: Filter, *items: Item) -> list[Drop | None]:
    """What curation does: check, and add what is accepted."""
    drops = []
    for given in items:
        drop = one.check(given)
        if drop is None:
            one.add(given)
        drops.append(drop)
    return drops


def fault(name: str, **options: Any) -> str:
    with pytest.raises(RecipeError) as raised:
        made(name, **options)
    assert len(raised.value.places) == 1
    return str(raised.value.places[0])


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def test_dedup_names_what_a_duplicate_matched() -> None:
    drops = offer(
        made("dedup"),
        item(12, LONG, "x"),
        item(13, "Something else entirely stands in this row of the table", "x"),
        item(14, LONG.upper().replace(" ", "\n"), "x"),
        item(15, LONG, "x y"),
        item(16, LONG + " seventeen eighteen", "x"),
    )
    assert drops[:2] == [None, None]
    assert drops[2] == Drop("dedup", "same text as row 12", "12")
    # 13 word 5-grams against 14; then 12 of 13 and 15 are shared
    assert drops[3] == Drop("dedup", "near-duplicate of row 12 (similarity 0.93)", "12")
    assert drops[4] is None  # 12 / 16 = 0.75


def test_dedup_of_two_candidates_of_one_row() -> None:
    drops = offer(made("dedup", on="question"), item(3, LONG, index=1), item(3, LONG, index=4))
    assert drops[1] == Drop("dedup", "same text as candidate 1 of this row", "3")


def test_dedup_looks_at_the_columns_it_is_given() -> None:
    rows = [item(0, LONG, "yes"), item(1, LONG, "a wholly different answer with many words of its own in it")]
    assert offer(made("dedup"), *rows) == [None, None]
    assert offer(made("dedup", on="question"), *rows)[1] is not None
    assert offer(made("dedup", on=["question", "answer"]), *rows) == [None, None]
    # `id` is a carried column: it differs in every row and must not count by default
    assert offer(made("dedup"), item(0, "a b", "c"), item(1, "a b", "c"))[1] is not None
    assert offer(made("dedup", on=["question", "id"]), item(0, "a b", "c"), item(1, "a b", "c")) == [None, None]


def test_dedup_threshold() -> None:
    rows = [item(0, LONG), item(1, LONG.replace("sixteen", "sixty"))]  # 11 of 13 word 5-grams alike: 11/13
    assert offer(made("dedup", on="question", threshold=0.84), *rows)[1] is not None
    assert offer(made("dedup", on="question", threshold=0.85), *rows)[1] is None


def test_empty_texts_are_duplicates_of_each_other_alone() -> None:
    drops = offer(made("dedup", on="question"), item(0, ""), item(1, "a"), item(2, " \n"), item(3, None))
    assert [drop and drop.matched for drop in drops] == [None, None, "0", "0"]


def test_dedup_keeps_nothing_of_what_was_only_checked() -> None:
    one = made("dedup")
    assert one.check(item(0, LONG)) is None
    assert one.check(item(1, LONG)) is None
    one.add(item(1, LONG))
    assert one.check(item(2, LONG)) == Drop("dedup", "same text as row 1", "1")


def test_dedup_of_lists_and_messages() -> None:
    assert text_of([{"role": "user", "content": "a"}, None, 3, True]) == "user\na\n\n3\ntrue"
    one = made("dedup", on="question")
    assert offer(one, item(0, ["a", "b"]), item(1, ["A", "b"]), item(2, ["b", "a"]))[1:] == [
        Drop("dedup", "same text as row 0", "0"),
        None,
    ]


def test_identical_rows_by_the_thousand() -> None:
    drops = offer(made("dedup"), *(item(row, LONG, "x") for row in range(10_000)))
    assert drops[0] is None
    assert {drop.matched for drop in drops[1:] if drop} == {"0"}
    assert drops.count(None) == 1


def test_unique_is_exact_but_for_case_and_space() -> None:
    drops = offer(
        made("unique", on=["question", "answer"]),
        item(0, "What?", "a"),
        item(1, "what? ", "A"),
        item(2, "What", "a"),
        item(3, "What?", "b"),
        item(4, "What? a", ""),
        item(5, ["a", {"k": "V"}], 1),
        item(6, ["A", {"k": "v"}], 1),
        item(7, ["a", {"k": "V"}], True),
    )
    assert drops[1] == Drop("dedup", "same `question`, `answer` as row 0", "0")
    assert [row for row, drop in enumerate(drops) if drop] == [1, 6]
    assert offer(made("unique"), item(0, "a", "b"), item(1, "a", "b"))[1] is not None


def test_where_keeps_what_is_true() -> None:
    one = made("where", expression="rating >= 4 and question")
    assert one.check(item(0, "a", rating=4)) is None
    assert one.check(item(0, "a", rating=3)) == Drop("filter", "`rating >= 4 and question` is false")
    assert one.check(item(0, "", rating=4)) is not None
    assert made("where", expression="source.id > 2").check(item(0, source={"id": 3})) is None
    assert made("where", expression="question == 'column'").check(item(0, "column", question_axis=1)) is None
    assert made("where", expression="{'a': {'b': row}}['a']['b'] == 7").check(item(7)) is None


def test_a_column_hides_an_axis() -> None:
    given = Item(0, 0, {"question": "column"}, {"question": "axis"})
    assert made("where", expression="question == 'column'").check(given) is None


def test_where_fails_clearly() -> None:
    one = made("where", expression="rating >= 4")
    with pytest.raises(UsageError, match=r"the filter `where` failed on row 5, candidate 2: `rating >= 4`:.*rating"):
        one.check(item(5, index=2, ratings=3))
    with pytest.raises(UsageError, match=r"`where` failed on row 5.*`rating >= 4`"):
        one.check(item(5, rating="good"))
    with pytest.raises(UsageError, match=r"`where` failed"):
        made("where", expression="question.__class__.__mro__").check(item(0, "a"))
    assert "is no expression" in fault("where", expression="rating >=")
    assert "is no expression" in fault("where", expression="rating }} {{ 1")
    assert "empty" in fault("where", expression=" ")


def test_where_is_checked_against_the_scope_when_that_is_known() -> None:
    with pytest.raises(RecipeError, match=r"names `raiting`, which is undefined.*did you mean `rating`"):
        compile_filters([spec("where", expression="raiting > 3")], COLUMNS, scope={"rating", "row"})
    compile_filters([spec("where", expression="rating > 3 and answer")], COLUMNS, scope={"rating", "row"})


def test_regex_drops_or_keeps() -> None:
    drop = made("regex", column="answer", pattern=r"(?i)as an ai")
    assert drop.check(item(0, answer="As an AI model")) == Drop("filter", "`answer` matches `(?i)as an ai`: 'As an AI'")
    assert drop.check(item(0, answer="fine")) is None
    keep = made("regex", column="answer", pattern=r"^\d+$", keep=True)
    assert keep.check(item(0, answer=12)) is None
    assert keep.check(item(0, answer="x")) == Drop("filter", r"`answer` lacks `^\d+$`")


def test_faults_name_the_option_and_the_nearest_column() -> None:
    assert "`question`" in fault("dedup", on="questions")
    assert "did you mean `answer`?" in fault("regex", column="anser", pattern="x")
    assert "names no column" in fault("unique", on=[])
    assert "is no regular expression" in fault("regex", column="answer", pattern="(a")
    assert "threshold" in fault("dedup", threshold=8.0)
    assert "thresold" in fault("dedup", thresold=0.8)
    assert "pattern" in fault("regex", column="answer")
    assert "did you mean `dedup`?" in fault("dedupe")
    with pytest.raises(UsageError) as raised:
        as_columns("on", "zzz", Columns(("a", "b"), ("a",)))
    assert raised.value.hint == "one of: a, b"


def test_all_faults_at_once_with_their_places() -> None:
    specs = [spec("dedup", on="nope"), spec("unique"), spec("regex", column="question", pattern="[")]
    with pytest.raises(RecipeError) as raised:
        compile_filters(specs, COLUMNS)
    assert [place.key for place in raised.value.places] == ["filter[0].dedup", "filter[2].regex"]


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registrations of one test, forgotten after it."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    yield
    registry._config_model.cache_clear()


@pytest.mark.usefixtures("plugins")
def test_a_function_is_a_filter() -> None:
    @registry.filter("short_enough")
    def short_enough(fields: Mapping[str, Any], scope: Mapping[str, Any], *, most: int = 3) -> str | None:
        return None if len(fields["question"]) <= most + scope.get("more", 0) else f"longer than {most}"

    one = made("short_enough")
    assert offer(one, item(0, "abc"), item(1, "abcd"), item(2, "abcd", more=1)) == [
        None,
        Drop("filter", "longer than 3"),
        None,
    ]
    assert made("short_enough", most=9).check(item(0, "abcd")) is None
    assert "most" in fault("short_enough", most="many")


@pytest.mark.usefixtures("plugins")
def test_what_a_plugin_does_wrong_is_told_with_filter_and_row() -> None:
    @registry.filter("wrong")
    def wrong(fields: Mapping[str, Any], scope: Mapping[str, Any], *, result: Any = None) -> Any:
        if result == "raise":
            raise KeyError("nope")
        return result

    for result, told in [(True, "returned True"), ("", "returned ''"), ("raise", "KeyError: 'nope'")]:
        with pytest.raises(UsageError, match=f"the filter `wrong` failed on row 4, candidate 1: .*{told}"):
            made("wrong", result=result).check(item(4, index=1))

    @registry.filter("late")
    async def late(fields: Mapping[str, Any], scope: Mapping[str, Any]) -> None: ...

    assert "async" in fault("late")

    @registry.filter("bare")
    class Bare:
        pass

    assert "check" in fault("bare")

    @registry.filter("loose")
    class Loose:
        def __init__(self, *, size: int = 1):
            if not size:
                raise ValueError("size is 0")

        def check(self, given: Item) -> Any:
            return Drop("filtered", "x")

        def add(self, given: Item) -> None: ...

    with pytest.raises(UsageError, match="drops at the stage `filtered`") as raised:
        made("loose").check(item(0))
    assert "`filter`" in raised.value.hint
    assert "ValueError: size is 0" in fault("loose", size=0)
