"""Groups of people in texts: lexicons, ambiguous words, names, swaps, the user's own terms, languages."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditors import Data
from factory.auditors.groups import Grouping, group_texts, groupings, same_groups, swap_terms
from factory.auditors.lexicons.loading import KINDS, load_lexicons, read_measure
from factory.auditors.lexicons.matching import WORD
from factory.errors import UsageError

WINOGENDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "winogender" / "all_sentences.tsv"


def data(*texts: str, **columns: object) -> Data:
    return Data("made-up", pa.table({"text": list(texts), **columns}), ["text"])


def found_in(text: str, **options: object) -> set[tuple[str, str]]:
    """The groups that one English text mentions."""
    groups, _ = groupings(data(text), "en", **options)
    return {(one.axis, name) for one in groups for k, name in enumerate(one.names) if one.members[0, k]}


def grouping(texts: list[str], axis: str) -> Grouping:
    return groupings(data(*texts), "en", axis=axis)[0][0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("She told her brother.", {("gender", "female"), ("gender", "male")}),
        ("A black cat sat on a white chair by a black box.", set()),
        ("Two black women bought a car.", {("ethnicity", "black"), ("gender", "female")}),
        ("A white, middle-aged teacher spoke.", {("ethnicity", "white"), ("age", "middle")}),
        ("The poor performance of rich soil and a rich sauce.", set()),
        ("A poor family lives here.", {("socioeconomic", "low")}),
        ("The old car follows a straight line; a straight answer.", set()),
        ("An old farmer waved.", {("age", "old")}),
        ("They are ten years old, my old friend.", set()),
        ("Will you mark it? May is mild. Grace under pressure.", set()),
        ("We asked Mark.", {("gender", "male")}),
        ("Will's hat fell.", {("gender", "male")}),
        ("Dr. Grace Miller wrote.", {("gender", "female")}),
        ("How You Will Love The Mark Of Grace", set()),
        ("The china plate is by the turkey sandwich.", set()),
        ("Turkey with gravy is served.", set()),
        ("They flew to Turkey.", {("nationality", "turkish")}),
        ("Polish the shoes and polish the table.", set()),
        ("Those Polish workers and one Pole.", {("nationality", "polish")}),
        ("Michael lives near Jordan.", {("gender", "male")}),
        ("Translate the words into French.", set()),
        ("The French painter paints.", {("nationality", "french")}),
        ("French fries and a Danish pastry.", set()),
        ("She turned a blind eye to the blind spot.", {("gender", "female")}),
        ("A blind student reads Braille.", {("disability", "sensory")}),
        ("The feature is disabled by default.", set()),
        ("A Muslim baker and a rabbi.", {("religion", "muslim"), ("religion", "jewish")}),
        ("A database agnostic tool.", set()),
        ("A gay couple.", {("sexual_orientation", "homosexual")}),
        ("Man-made fibres fill the king-size bed.", set()),
        (
            "Mr. Patel met Lakisha.",
            {("gender", "male"), ("gender", "female"), ("ethnicity", "south_asian"), ("ethnicity", "black")},
        ),
        ("GIRL", {("gender", "female"), ("age", "child")}),
    ],
)  # fmt: skip
def test_ambiguous_words_count_only_where_they_are_meant_of_people(text: str, wanted: set[tuple[str, str]]) -> None:
    assert found_in(text) == wanted


def test_nothing_is_found_in_nothing() -> None:
    for text in ("", " ", "\n", "1234 !?", "…", "\u0000", "日本語の文章です。"):
        assert found_in(text) == set()


def test_letters_that_are_composed_otherwise_are_the_same() -> None:
    assert ("gender", "female") in found_in("the fiance\u0301e waits")
    assert ("gender", "female") in found_in("the fiancée waits")
    assert found_in("naïve café") == set()


WORDS = ["she", "he", "woman", "ran", "the", "Mary", "mary", "black", "people", "cat", "Woman", "shed", "her-o", "MAN"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), min_size=1, max_size=5))
def test_single_words_agree_with_looking_each_up(texts: list[str]) -> None:
    lexicon = load_lexicons("en")["gender"]
    found = grouping(texts, "gender")
    for row, text in enumerate(texts):
        words = WORD.findall(text)
        for place, kinds in enumerate(lexicon.groups.values()):
            plain = {term for term in kinds.get("words", ()) if WORD.fullmatch(term)}
            expected = any(word.lower() in plain or word in kinds.get("names", ()) for word in words)
            assert found.members[row, place] == expected, text


def test_a_row_belongs_to_a_group_alone_or_to_none() -> None:
    found = grouping(["she ran", "he ran", "he and she", "it ran"], "gender")
    assert found.only().tolist() == [found.names.index("female"), found.names.index("male"), -1, -1]


def test_versions_and_hashes_are_told() -> None:
    found = grouping(["she"], "gender")
    assert re.fullmatch(r"lexicon en 1\.0 \(sha256 [0-9a-f]{12}\)", found.source)
    assert "she" in found.terms["female"]


def test_every_lexicon_is_sound() -> None:
    lexicons = load_lexicons("en")
    assert set(lexicons) == {
        "age", "disability", "ethnicity", "gender", "nationality", "religion", "sexual_orientation", "socioeconomic",
    }  # fmt: skip
    for axis, lexicon in lexicons.items():
        assert lexicon.axis == axis and lexicon.version and lexicon.sources
        for row in lexicon.swaps:
            assert set(row) <= set(lexicon.groups)
        seen: dict[str, str] = {}
        for name, kinds in lexicon.groups.items():
            assert set(kinds) <= set(KINDS)
            for kind, terms in kinds.items():
                for term in terms:
                    assert seen.setdefault(f"{term}", name) == name, f"{axis}: '{term}' is in two groups"
                    if kind == "words":
                        assert term == term.lower(), f"{axis}: {term}"
                    if kind in ("names", "careful", "surnames", "proper"):
                        assert term != term.lower(), f"{axis}: {term}"


def test_words_of_sentiment_name_no_group() -> None:
    content, _ = read_measure("sentiment", "en") or ({}, "")
    kinds = ("strong_positive", "positive", "negative", "strong_negative")
    lists = {kind: str(content[kind]).split() for kind in kinds}
    every = [word for words in lists.values() for word in words]
    assert len(every) == len(set(every)) >= 600
    single = {
        term
        for lexicon in load_lexicons("en").values()
        for terms in lexicon.groups.values()
        for kind, words in terms.items()
        for term in words
        if kind in ("words", "with_person")
    }
    assert not single & set(every)


@pytest.mark.skipif(not WINOGENDER.exists(), reason="Winogender is not on this machine")
def test_winogender_sentences_are_told_apart_and_swapped() -> None:
    rows = {row["sentid"]: row["sentence"] for row in csv.DictReader(WINOGENDER.open(), delimiter="\t")}
    found = grouping(list(rows.values()), "gender")
    kinds = [name.split(".")[-2] for name in rows]
    for row, kind in enumerate(kinds):
        shown = {name for place, name in enumerate(found.names) if found.members[row, place]}
        assert shown == (set() if kind == "neutral" else {kind})
    for name, sentence in rows.items():
        if ".male." in name:
            other = rows[name.replace(".male.", ".female.")]
            assert swap_terms(sentence, "gender", "male", "female", "en") == other
            assert swap_terms(other, "gender", "female", "male", "en") == sentence


@pytest.mark.parametrize(
    ("text", "here", "there", "wanted"),
    [
        ("She gave her 5 apples.", "female", "male", "He gave him 5 apples."),
        ("Her mother told her to bring her book; it is hers.", "female", "male",
         "His father told him to bring his book; it is his."),
        ("It made her laugh. HER idea.", "female", "male", "It made him laugh. HIS idea."),
        ("The book is his. It is his book, he told him.", "male", "female",
         "The book is hers. It is her book, she told her."),
        ("Mary asked Patricia.", "female", "male", "James asked Robert."),
        ("I will ask Will.", "male", "female", "I will ask Patricia."),
        ("A man-made lake and a woman.", "female", "male", "A man-made lake and a man."),
        ("Nothing to see.", "female", "male", None),
    ],
)  # fmt: skip
def test_gender_changes_places(text: str, here: str, there: str, wanted: str | None) -> None:
    assert swap_terms(text, "gender", here, there, "en") == wanted


def test_other_axes_change_places_where_people_are_meant() -> None:
    swapped = swap_terms("Two black women drove a black car.", "ethnicity", "black", "white", "en")
    assert swapped == "Two white women drove a black car."
    assert swap_terms("German cars in Germany.", "nationality", "german", "turkish", "en") == "Turkish cars in Turkey."
    assert (
        swap_terms("The mosque and its imam.", "religion", "muslim", "christian", "en") == "The church and its pastor."
    )
    assert swap_terms("She", "gender", "female", "male", "de") is None
    assert swap_terms("She", "height", "tall", "short", "en") is None


def test_terms_of_ones_own() -> None:
    texts = ["The nurse slept.", "Two surgeons of MIT.", "from mit", "scrub-nurse at work"]
    own = {"role": {"nurse": ["nurse", "nurses", "scrub nurse"], "surgeon": ["surgeons", "MIT"]}}
    (found,), _ = groupings(data(*texts), "en", axis="role", groups=own)
    assert found.names == ("nurse", "surgeon")
    assert found.members.tolist() == [[True, False], [False, True], [False, False], [True, False]]
    assert found.source.startswith("own terms")
    assert {one.axis for one in groupings(data(*texts), "en", groups=own)[0]} >= {"role", "gender"}


def test_terms_of_ones_own_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("role: {nurse: [nurse], surgeon: [surgeon]}\n")
    (found,), _ = groupings(data("a nurse"), "en", axis="role", groups="own.yaml", base=tmp_path)
    assert found.members.tolist() == [[True, False]]
    with pytest.raises(UsageError, match="cannot be read"):
        groupings(data("a nurse"), "en", groups="none.yaml", base=tmp_path)


@pytest.mark.parametrize(
    "groups",
    [{"role": {"nurse": []}}, {"role": {"nurse": ["nurse"]}}, {"role": ["nurse"]}, {"role": {"a": "x", "b": "y"}}],
)
def test_terms_that_are_none_are_refused(groups: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        groupings(data("a nurse"), "en", groups=groups)  # type: ignore[arg-type]


def test_an_axis_that_is_nowhere_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        groupings(data("she"), "en", axis="gendr")
    assert "gender" in caught.value.hint


def test_axes_of_a_recipe_and_columns() -> None:
    meta = [{"variation": '{"persona": "a nurse"}'}, {"variation": '{"persona": "a cook"}'}, {"variation": "{}"}]
    rows = data("x", "y", "z", meta=meta, origin=["north", "south", "north"], number=[1, 2, 3])
    found, why = groupings(rows, None, axis=["persona", "origin"])
    assert [one.source for one in found] == ["axis persona", "column origin"]
    assert found[0].members.tolist() == [[False, True], [True, False], [False, False]]
    assert not why
    other = same_groups(found[1], data("w", origin=["south"]))
    assert other is not None and other.members.tolist() == [[False, True]]
    assert same_groups(found[1], data("w")) is None
    with pytest.raises(UsageError):
        group_texts(found[1], ["north"])


def test_an_axis_of_very_many_values_is_no_set_of_groups() -> None:
    found, why = groupings(data(*"x" * 60, number=list(range(60))), None, axis="number")
    assert not found and "60 different values" in why[0]


def test_the_same_groups_in_other_texts() -> None:
    first = grouping(["she"], "gender")
    other = same_groups(first, data("he", "she"))
    assert other is not None and other.only().tolist() == [1, 0]
    assert np.array_equal(group_texts(first, ["he", "she"]), other.members)


GERMAN = "Die Lehrerin erklärte den Kindern geduldig, warum das Wasser im Winter gefriert und im Sommer verdunstet."
ENGLISH = "She explained patiently to the children why water freezes in winter and why it evaporates in summer."


def test_another_language_is_not_applicable_and_says_what_to_do() -> None:
    found, why = groupings(data(*[GERMAN] * 30, *[ENGLISH] * 5), None)
    assert not found
    assert "not applicable" in why[0] and "'de'" in why[0] and "en" in why[0] and "LANGUAGE/AXIS.yaml" in why[0]
    found, why = groupings(data(GERMAN), "de")
    assert not found and "'de'" in why[0]


def test_of_mixed_rows_those_in_the_language_count() -> None:
    found, why = groupings(data(*[ENGLISH] * 30, *[f"{GERMAN} She."] * 10), None, axis="gender")
    assert not why
    assert found[0].rows == 30
    assert found[0].members[:, 0].tolist() == [True] * 30 + [False] * 10


def test_a_language_is_added_by_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "lexicons" / "de"
    folder.mkdir(parents=True)
    (folder / "gender.yaml").write_text(
        "axis: gender\nversion: '0.1'\nsources: [our own]\n"
        "groups:\n  female: {words: lehrerin sie}\n  male: {words: lehrer er}\n"
        "swaps:\n  - {female: lehrerin, male: lehrer}\n"
    )
    found, why = groupings(data(GERMAN), None, lexicons="lexicons", base=tmp_path)
    assert not why and [one.axis for one in found] == ["gender"]
    assert found[0].members.tolist() == [[True, False]] and found[0].language == "de"
    assert swap_terms("Lehrerin", "gender", "female", "male", "de", lexicons=tmp_path / "lexicons") == "Lehrer"


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", "groups: {a: {words: x}}", "groups: {a: {words: x}, b: {verbs: y}}", "group: {}", "a: [",
     "groups: {a: 1, b: 2}",
     "groups: {a: {words: x}, b: {words: y}}\nswaps: [{c: x}]", "groups: {a: {words: x}, b: {words: 3}}"],
)  # fmt: skip
def test_a_file_that_is_no_lexicon_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "gender.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"gender\.yaml"):
        groupings(data("she"), "en", lexicons=str(tmp_path))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        groupings(data("she"), "en", lexicons="nowhere", base=tmp_path)


def test_a_script_without_spaces(tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    (tmp_path / "zh" / "language.yaml").write_text("name: Chinese\nspaced: false\n")
    (tmp_path / "zh" / "gender.yaml").write_text("groups:\n  female: {words: 她 女人}\n  male: {words: 他 男人}\n")
    (found,), _ = groupings(data("一个女人走了", "他来了"), "zh", lexicons=str(tmp_path))
    assert found.members.tolist() == [[True, False], [False, True]]


def test_a_very_long_row_is_read_as_far_as_statistics_look() -> None:
    found = grouping(["she " + "word " * 6_000_000], "gender")
    assert found.members[0].tolist() == [True, False, False]
