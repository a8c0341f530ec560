"""The variants of `benchmarks/decontamination.py`: each changes what it says it changes, and nothing else."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import contamination_code as code_edits
import contamination_data as data
import contamination_rephrasing as words_edits
import contamination_rules as rules
import contamination_variants as variants
from contamination_words import NUMBER_WORDS, noun_forms, synonyms, verb_forms

from factory.decontamination.types import TestRow, TestSet

QUESTION = (
    "Mira bakes 24 rolls on Monday. If Mira sells 3 rolls to each of her 7 friends, she keeps the rest for Jonas. "
    "How many rolls does Jonas get in total?"
)
ROW = TestRow(0, QUESTION, "Mira sells 3 * 7 = 21 rolls, so Jonas gets 24 - 21 = 3 of them in the end.")
CHOICE = TestRow(
    1,
    "Which of the following rivers reaches the sea near the harbour of the old merchant city?",
    "the Elbe",
    ("the Elbe", "the Danube", "the Rhone", "the Vistula"),
)
TALK = TestRow(
    2,
    "Describe the daily work of a lighthouse keeper on a stormy coast.",
    turns=(
        "Describe the daily work of a lighthouse keeper on a stormy coast.",
        "Now turn the lighthouse keeper into a pirate and shorten the story to four lines.",
    ),
)
CODE = TestRow(
    3,
    "from typing import List\n\n\ndef running_best(scores: List[int], start: int = 0) -> List[int]:\n"
    '    """ Return for every place the best score so far, where start is the best before the first one.\n'
    '    >>> running_best([1, 3, 2])\n    [1, 3, 3]\n    """\n',
    "    best = start  # nothing better yet\n    found = []\n    for score in scores:\n"
    "        best = max(best, score)\n        label = 'x'\n        found.append(best)\n    return found\n",
)
ROWS = [ROW, CHOICE, TALK]


def made(rows: list[TestRow], **options: object) -> dict[tuple[int, str], str]:
    found = variants.make_variants(rows, **options)  # type: ignore[arg-type]
    return {(variant.row, variant.kind): "\n".join(variant.fields.values()) for variant in found}


def test_same_seed_same_variants() -> None:
    assert variants.make_variants(ROWS, seed=4) == variants.make_variants(ROWS, seed=4)
    assert variants.make_variants(ROWS, seed=4) != variants.make_variants(ROWS, seed=5)
    alone = variants.make_variants(ROWS, seed=4, places=[1])
    assert alone == [variant for variant in variants.make_variants(ROWS, seed=4) if variant.row == 1]


def test_kinds_apply_where_they_can() -> None:
    kinds = made(ROWS)
    assert (0, "numbers changed") in kinds and (0, "rephrased, strong") in kinds
    assert (1, "options shuffled") in kinds and (0, "options shuffled") not in kinds
    assert (2, "conversation") in kinds and (2, "second turn only") in kinds
    assert not any("code" in kind for _, kind in kinds)
    code = made([CODE], code=True)
    assert (0, "code: renamed") in code and (0, "numbers changed") not in code
    with pytest.raises(ValueError, match="no such kind"):
        variants.make_variants(ROWS, kinds=["translated"])


def test_copies_hold_the_words_of_the_row() -> None:
    words = re.findall(r"\w+", QUESTION.lower())
    for kind in ("verbatim", "case, punctuation", "white space, quotes", "template", "embedded in longer text"):
        text = made(ROWS)[0, kind]
        assert " ".join(words) in " ".join(re.findall(r"\w+", text.lower())), kind


def test_parts_are_three_fifths() -> None:
    for seed in range(20):
        text = made(ROWS, seed=seed, kinds=["60 %, one stretch"]).get((0, "60 %, one stretch"))
        if text is not None:
            assert text in QUESTION and len(text.split()) == round(0.6 * len(QUESTION.split()))


@given(st.integers(0, 10**6), st.lists(st.integers(2, 5000), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_numbers_change_alone_and_alike(seed: int, numbers: list[int]) -> None:
    text = " and ".join(f"{number} cups" for number in [*numbers, numbers[0]])
    changed = words_edits.change_numbers(text, Random(seed))
    assert changed is not None
    assert re.sub(r"\d+", "#", changed) == re.sub(r"\d+", "#", text)
    new = [int(number) for number in re.findall(r"\d+", changed)]
    assert all(old != other for old, other in zip([*numbers, numbers[0]], new, strict=True))
    assert new[0] == new[-1]


def test_names_change_alone_and_alike() -> None:
    changed = words_edits.change_names(QUESTION, {"Mira", "Jonas"}, Random(1))
    assert changed is not None and "Mira" not in changed and "Jonas" not in changed
    first = changed.split()[0]
    assert changed.count(first) == QUESTION.count("Mira") and "Monday" in changed
    assert words_edits.change_names("no names here", {"Mira"}, Random(1)) is None


def values(text: str) -> Counter[str]:
    """The numbers of a text, spelled ones as digits."""
    spelled = {word: str(i) for i, word in enumerate(NUMBER_WORDS) if i > 1}
    found = re.findall(r"\d+|[a-z]+", text.lower())
    return Counter(spelled.get(word, word) for word in found if word.isdigit() or word in spelled)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_rephrasing_keeps_numbers_and_names(strength: float) -> None:
    seen = set()
    for seed in range(40):
        text = words_edits.rephrase(QUESTION, {"Mira", "Jonas"}, Random(seed), strength=strength)
        assert text is not None
        assert values(text) == values(QUESTION), text
        assert text.count("Mira") == QUESTION.count("Mira") and text.count("Jonas") == QUESTION.count("Jonas")
        seen.add(text)
    assert len(seen) > 30


def test_rephrasing_leaves_no_long_run() -> None:
    """Strongly rephrased, hardly a run of 13 words stays: that is what makes the kind hard for n-grams."""
    words = QUESTION.lower().split()
    runs = {" ".join(words[i : i + 13]) for i in range(len(words) - 12)}
    texts = [words_edits.rephrase(QUESTION, {"Mira", "Jonas"}, Random(seed), strength=1.0) or "" for seed in range(40)]
    kept = sum(any(run in " ".join(text.lower().split()) for run in runs) for text in texts)
    assert kept == 0


def test_typos_telegrams_and_first_person() -> None:
    for seed in range(10):
        text = words_edits.make_typos(QUESTION, Random(seed), 0.5)
        assert text is not None and len(text.split()) == len(QUESTION.split()) and values(text)["24"] == 1
    short = words_edits.shorten(QUESTION)
    assert short is not None and not Counter(short.split()) - Counter(QUESTION.split()) and " the " not in short
    told = words_edits.take_first_person(QUESTION, {"Mira", "Jonas"})
    assert told is not None and "Mira" not in told and "my 7 friends, I keeps" in told and "Jonas" in told


def test_words_are_inflected() -> None:
    assert verb_forms("carry along") == ("carry along", "carries along", "carried along", "carrying along")
    assert verb_forms("buy")[2] == "bought" and verb_forms("stop")[3] == "stopping"
    assert noun_forms("person") == ("person", "people") and noun_forms("small city")[1] == "small cities"
    assert "purchased" in synonyms()["bought"]["v"] and "pals" in synonyms()["friends"]["n"]


def test_options_stay_the_same_options() -> None:
    kinds = made(ROWS)
    for kind in ("options shuffled", "options dropped"):
        lines = [re.sub(r"^(?:\w[.)]|\(\w\)|-) ", "", line) for line in kinds[1, kind].splitlines()[1:]]
        assert set(lines) <= set(CHOICE.choices)
        assert len(lines) == (4 if kind == "options shuffled" else 2)
    assert kinds[1, "options shuffled"].splitlines()[1:] != [
        f"{x}. {c}" for x, c in zip("ABCD", CHOICE.choices, strict=True)
    ]


@pytest.mark.parametrize(
    "edit",
    [code_edits.reindent, code_edits.restyle, code_edits.rename, code_edits.strip_comments, code_edits.rewrite],
)
def test_code_behaves_as_before(edit: object) -> None:
    for seed in range(15):
        text = edit(CODE.question + CODE.answer, Random(seed))  # type: ignore[operator]
        assert text != CODE.question + CODE.answer
        space: dict[str, object] = {}
        exec(compile(text, "variant", "exec"), space)
        function = [value for name, value in space.items() if callable(value) and name not in ("List", "__builtins__")][
            -1
        ]
        assert function([1, 3, 2]) == [1, 3, 3]  # type: ignore[operator]


def test_code_edits_do_what_they_say() -> None:
    code = CODE.question + CODE.answer
    assert "best" not in re.findall(
        r"\w+", code_edits.rename(CODE.answer.replace("    ", "", 1) and code, Random(2)).split('"""')[2]
    )
    assert '"""' not in code_edits.strip_comments(code, Random(0)) and "#" not in code_edits.strip_comments(
        code, Random(0)
    )
    assert "List" not in code_edits.restyle(code, Random(0)) and '"x"' in code_edits.restyle(code, Random(0))
    prose = code_edits.describe(CODE.question, Random(0))
    assert prose is not None and "best score so far" in prose and ">>>" not in prose


def test_too_little_text_is_left_out() -> None:
    context = variants.read_context([ROW])
    assert not variants.says_enough("Which of the following statements is true?", context)
    assert not variants.says_enough("What colour is a ruby?", context)
    assert not variants.says_enough("A. 12\nB. 24\nC. 36\nD. 48 or 52 and 60 and 70 and 80", context)
    assert variants.says_enough(
        "The harbour pilot guides heavy tankers through narrow channels every morning.", context
    )


def test_shared_sentences_do_not_count() -> None:
    preamble = "Read the following paragraph about seven birds that sit quietly on one long branch."
    endings = ("owl sleeps", "crow calls", "robin sings", "finch eats", "heron waits", "wren hides")
    rows = [TestRow(i, f"{preamble} The {end} now.") for i, end in enumerate(endings)]
    context = variants.read_context(rows)
    assert variants.says_enough(rows[0].question, context, whole=True)
    assert not variants.says_enough(rows[0].question, context)
    assert not variants.says_enough(preamble.removeprefix("Read the "), context)  # a piece of it
    kinds = {kind for _, kind in made(rows)}
    assert "verbatim" in kinds and "synonyms, strong" not in kinds


def test_names_are_words_that_stand_inside_sentences() -> None:
    context = variants.read_context(
        [TestRow(0, "Picture a lake. Then Anna met Boris there."), TestRow(1, "Describe it to Anna.")]
    )
    assert {"Anna", "Boris"} <= context.names and not {"Picture", "Describe", "Then"} & context.names


def test_copies_among_clean_rows_are_seen_without_a_detector() -> None:
    likeness = data.Likeness(TestSet("ours", [ROW, CHOICE]))
    changed = QUESTION.replace("24", "60").replace("7", "9").replace("bakes", "makes")
    assert likeness.find(changed, near=True) is not None
    assert likeness.find("How many boxes does a clerk fill in five hours at two boxes every hour?", near=True) is None
    assert likeness.find(f"Read this. {CHOICE.question} Then rest.") == "sentence"
    assert likeness.find("Which of the following rivers is the longest in the country?", near=True) is None
    other = CHOICE.question.replace("old merchant", "new capital")
    assert likeness.find(f"Before you rest, look at a map of the coast. {other}", paired=True) == "near sentence"


def test_fifteen_words_in_a_row_are_a_copy() -> None:
    words = "the harbour master told every captain that grain barges must wait until fresh timber arrives from upstream"
    likeness = data.Likeness(TestSet("ours", [TestRow(0, f"Yesterday it rained, {words} again.")]))
    assert likeness.find(f"Nobody knows why, {words} one day.") == "run"
    assert likeness.find(" ".join(words.split()[:14])) is None


def test_missing_data_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import decontamination

    monkeypatch.setattr(sys, "argv", ["decontamination.py", "--data", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match=r"no benchmarks at .*nowhere: give the folder"):
        decontamination.main()


def test_rules_of_known_tools_against_plain_sets() -> None:
    words = [f"w{i}" for i in range(40)]
    test_set = TestSet("ours", [TestRow(0, " ".join(words[:30])), TestRow(1, " ".join(words[20:]), "an answer")])
    known = rules.Rules([test_set])
    random = Random(3)
    for _ in range(60):
        first, length = random.randrange(30), random.randrange(1, 30)
        piece = words[first : first + length]
        text = " ".join(["some", *piece, "other"])
        runs = [{tuple(row[i : i + 8]) for i in range(len(row) - 7)} for row in (words[:30], words[20:])]
        mine = {tuple(piece[i : i + 8]) for i in range(len(piece) - 7)}
        long = any(
            set(piece[i : i + 13]) <= set(row) for row in (words[:30], words[20:]) for i in range(len(piece) - 12)
        )
        expected = (long, any(mine & run for run in runs), any(2 * len(mine & run) >= len(run) for run in runs))
        assert tuple(bool(found) for found in known.check({"text": text})) == expected
