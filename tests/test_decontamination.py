"""The model-free cascade: every kind of copy is found, look-alikes are not, and nothing depends on the batch."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from factory.decontamination import (
    RATES,
    SCHEME,
    BenchmarkIndex,
    Cascade,
    Hit,
    TestRow,
    TestSet,
    build_index,
    is_index,
    open_index,
    save_index,
)
from factory.errors import UsageError

PROBLEMS = (
    (
        "A glassblower named Ottilie shapes 14 vases each morning and 9 bowls each evening. Kiln cracks ruin "
        "5 pieces a day. How many sound pieces does she finish in 6 days?",
        "14 + 9 = 23 pieces; 23 - 5 = 18; 18 * 6 = 108",
    ),
    (
        "Barnaby rents canoes by the lagoon for $12 an hour. On Saturday he rented 7 canoes for 3 hours each "
        "and repaired one paddle for $18. How much money was left over that evening?",
        "7 * 3 * 12 = 252; 252 - 18 = 234",
    ),
    (
        "A lighthouse keeper climbs 168 steps to trim the lamp. If Wendeline rests after every 24 steps for "
        "40 seconds, how long does she rest during one climb?",
        "168 / 24 = 7 rests, but the last is at the top, so 6 * 40 = 240 seconds",
    ),
    (
        "Three beekeepers pooled 45 jars of heather honey. Ignatz gave twice as many jars as Rosalind, and "
        "Rosalind gave 6 more than Thaddeus. How many jars did Thaddeus give?",
        "t + t + 6 + 2t + 12 = 45, so 4t = 27",
    ),
    (
        "The orchestra's librarian photocopies 38 pages of the overture for 26 violinists and 38 pages for 11"
        " cellists. Paper costs 4 cents a sheet. What does the copying cost?",
        "38 * 37 * 4 = 5624 cents",
    ),
    (
        "Philippa's tortoise eats 3 dandelions at noon and 5 at dusk, while her parrot cracks 17 sunflower "
        "seeds daily. How many dandelions does the tortoise eat in a fortnight?",
        "8 * 14 = 112 dandelions",
    ),
    (
        "A submarine descends 35 metres a minute until it reaches a ledge at 490 metres, then drifts for 22 "
        "minutes. How long after diving does Captain Moreau order the ascent?",
        "490 / 35 = 14; 14 + 22 = 36 minutes",
    ),
    (
        "Quentin embroidered 8 cushions with silver thread, using 13 metres for each, and wasted 6 metres on "
        "a botched swan. How many metres of thread did he use?",
        "8 * 13 + 6 = 110 metres",
    ),
)
CLEAN = (
    "A baker shapes 14 loaves each morning and 9 rolls each evening. How many pieces does he finish in 6 days?",
    "Sofia rents bicycles by the harbour for $12 an hour. On Sunday she rented 4 bicycles for 2 hours each. How much?",
    "How many seconds does she rest during one climb of the stairs if she rests after every floor?",
    "What is the capital of France?",
    "yes",
    "A",
    "Which of the following statements is true?",
    "Please write a short poem about the sea and the gulls above it, in a cheerful tone.",
    "The committee met on Tuesday to discuss the budget, and nobody could agree on the price of the new chairs.",
)


@cache
def problems() -> BenchmarkIndex:
    rows = [TestRow(100 + i, question, answer) for i, (question, answer) in enumerate(PROBLEMS)]
    return build_index(TestSet("problems", rows))


def check(text: str, *indexes: BenchmarkIndex, **options: object) -> list[Hit]:
    return Cascade(indexes or (problems(),), **options).check_many([{"text": text}])[0]  # type: ignore[arg-type]


VARIANTS = {
    "verbatim": lambda q: q,
    "small letters, no punctuation": lambda q: "".join(c for c in q.lower() if c.isalnum() or c == " "),
    "respaced": lambda q: q.replace(" ", "\n\u00a0").replace("'", "’"),
    "template": lambda q: f"### Instruction:\n{q}\n\n### Response:\nLet us see.",
    "Markdown": lambda q: f"> **Task.** _{q}_",
    "embedded": lambda q: f"{CLEAN[7]} {CLEAN[8]} {q} {CLEAN[5]} {CLEAN[8]}",
    "a 60 % stretch": lambda q: " ".join(q.split()[: int(0.6 * len(q.split()))]),
    "numbers changed": lambda q: "".join(str((int(c) + 3) % 9 + 1) if c.isdigit() else c for c in q),
    "sentences in another order": lambda q: " ".join(reversed(q.split(". "))),
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_every_kind_of_copy_is_found_and_names_its_row(kind: str) -> None:
    rows = [{"text": VARIANTS[kind](question)} for question, _ in PROBLEMS]
    hits = Cascade([problems()]).check_many(rows)
    assert [[hit.row for hit in found] for found in hits] == [[100 + i] for i in range(len(PROBLEMS))]
    assert all(0 < hit.score <= 1 and not hit.gray for found in hits for hit in found)


def test_a_rephrased_problem_is_found_by_its_numbers_names_and_words() -> None:
    text = (
        "Each morning the glass artist Ottilie makes 14 vases, and 9 bowls in the evening. Every day 5 pieces are "
        "ruined by kiln cracks. After 6 days, how many sound pieces has she completed?"
    )
    hits = check(text)
    assert [(hit.row, hit.part) for hit in hits] == [(100, "question")]
    assert check(text, layers=("ngram",)) == []


def test_clean_look_alikes_do_not_hit_at_any_rate() -> None:
    for rate in RATES:
        found = Cascade([problems()], fpr=rate).check_many([{"text": text} for text in CLEAN])
        assert found == [[] for _ in CLEAN]


def test_the_span_is_a_stretch_of_the_data() -> None:
    question = PROBLEMS[2][0]
    text = f"Voilà — “naïve” façade, ½ off. {question} Ça va; 日本語のテキスト。"
    (hit,) = check(text)
    assert (hit.layer, hit.part, hit.column, hit.row) == ("ngram", "question", "text", 102)
    assert hit.span == question
    cut = check(text.replace("168 steps", "1,168 steps"))[0]
    assert cut.span in text


def test_a_leaked_answer_alone_is_a_leak_but_a_short_one_is_not() -> None:
    (hit,) = check(PROBLEMS[2][1])
    assert (hit.part, hit.row) == ("answer", 102)
    assert check("8 * 14 = 112") == []


def test_columns_are_told_apart_and_looked_at_together() -> None:
    question, answer = PROBLEMS[3]
    rows = [
        {"instruction": CLEAN[0], "output": question},
        {"context": question.split(". ")[0], "task": question.split(". ")[1] + ".", "answer": answer},
    ]
    first, second = Cascade([problems()]).check_many(rows)
    assert [(hit.column, hit.row) for hit in first] == [("output", 103)]
    assert [hit.row for hit in second] == [103]


def test_several_benchmarks_give_a_hit_each() -> None:
    other = build_index(TestSet("others", [TestRow(7, PROBLEMS[0][0]), TestRow(8, CLEAN[8])]))
    hits = check(PROBLEMS[0][0], problems(), other)
    assert sorted((hit.benchmark, hit.row) for hit in hits) == [("others", 7), ("problems", 100)]


def test_choices_match_in_any_order_and_with_any_marks() -> None:
    rows = [
        TestRow(0, "Which nerve supplies the stapedius muscle of the middle ear?", "The facial nerve",
                ("The facial nerve", "The vagus nerve", "The hypoglossal nerve", "The optic nerve")),
        TestRow(1, "Which mineral scratches fluorite but is scratched by orthoclase feldspar?", "Apatite",
                ("Talc", "Apatite", "Corundum", "Gypsum")),
    ]  # fmt: skip
    index = build_index(TestSet("choices", rows))
    for row in rows:
        shuffled = (row.choices[2], row.choices[0], row.choices[3], row.choices[1])
        for marks in (("A. ", "B. ", "C. ", "D. "), ("(a) ", "(b) ", "(c) ", "(d) "), ("- ",) * 4):
            text = "\n".join([row.question, *(m + c for m, c in zip(marks, shuffled, strict=True))])
            assert [hit.row for hit in check(text, index)] == [row.row]
    assert check("The facial nerve", index) == []


def test_turns_are_compared_one_by_one() -> None:
    second = "Now retell your mountain diary from the viewpoint of the limping pack mule, without naming any weather."
    first = "Keep a fictional diary of five days on a mountain ridge, mentioning a broken compass and a stubborn mule."
    for turns in ((second,), (first, second)):
        index = build_index(TestSet("turns", [TestRow(0, first, turns=turns)]))
        (hit,) = check(f"User: {CLEAN[7]}\nAssistant: {CLEAN[8]}\nUser: {second}", index)
        assert (hit.part, hit.row) == ("turn 2", 0)
        assert check(first, index)[0].part == "question"


CODE = '''def rotate_ledger(entries, offset):
    """Rotate the ledger's entries to the left by offset places, skipping voided ones.

    >>> rotate_ledger([4, 8, 15], 1)
    [8, 15, 4]
    """
'''
SOLUTION = """    kept = [entry for entry in entries if entry != "void"]  # voided ones do not move
    shift = offset % max(len(kept), 1)
    rotated = kept[shift:] + kept[:shift]
    return rotated + ["void"] * (len(entries) - len(kept))
"""


def test_code_matches_reindented_requoted_and_without_comments() -> None:
    index = build_index(TestSet("code", [TestRow(0, CODE, SOLUTION)], code=True))
    bare = (
        "def rotate_ledger(entries, offset):\n" + SOLUTION.split("  #")[0] + "\n" + "\n".join(SOLUTION.split("\n")[1:])
    )
    for text in (CODE, SOLUTION, (CODE + SOLUTION).replace("    ", "\t").replace('"', "'"), bare):
        assert [hit.row for hit in check(text, index)] == [0]
    assert check("def add(a, b):\n    # the sum of both\n    return a + b\n", index) == []


def test_templates_of_the_benchmark_do_not_count_alone() -> None:
    lead = "Read the statement below with care, then decide if the claim follows from it, and answer yes or no. Claim: "
    claims = [question for question, _ in PROBLEMS]
    index = build_index(TestSet("templated", [TestRow(i, lead + claim) for i, claim in enumerate(claims)]))
    assert check(lead + "The harbour was busy, and so the ferry came late again.", index, layers=("ngram",)) == []
    assert check(lead + claims[4], index)[0].row == 4


def test_gray_hits_only_when_asked_for_and_marked() -> None:
    strict, loose = Cascade([problems()], fpr=0.0001), Cascade([problems()], fpr=0.01)
    words = PROBLEMS[6][0].split()
    rows = [{"text": " ".join(words[:k])} for k in range(4, len(words))]
    plain, gray, wide = strict.check_many(rows), strict.check_many(rows, gray=True), loose.check_many(rows)
    for some, all_of_them, at_loose in zip(plain, gray, wide, strict=True):
        assert not any(hit.gray for hit in some)
        assert bool(all_of_them) == bool(at_loose)
        assert [hit for hit in all_of_them if not hit.gray] == some


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "word", "?!…", "日本語の文章です。" * 40, "x" * 1_000_000, "lorem ipsum dolor " * 60_000,
     "\x1e\x00\ud800 a", "\u0301"],
    ids=["empty", "blank", "one word", "signs", "cjk", "1 MB word", "1 MB text", "control", "accent"],
)  # fmt: skip
def test_odd_rows_are_clean(text: str) -> None:
    assert check(text) == []


def test_a_question_in_a_megabyte_is_found() -> None:
    noise = f"{CLEAN[8]} {CLEAN[7]} " * 5_000
    (hit,) = check(noise + PROBLEMS[1][0] + noise)
    assert (hit.row, hit.span) == (101, PROBLEMS[1][0])


def test_cjk_questions_are_found() -> None:
    question = "小明在果園裡摘了四十二顆蘋果，分給三位鄰居之後，還剩下多少顆可以做果醬？"
    index = build_index(TestSet("cjk", [TestRow(0, question)]))
    assert check(f"請回答以下問題。{question}謝謝你。", index)[0].span == question.rstrip("？")
    assert check("小明今天去學校，跟同學一起打籃球，晚上回家吃飯。", index) == []


def test_rows_with_empty_fields_keep_their_numbers() -> None:
    rows = [TestRow(3, ""), TestRow(4, PROBLEMS[0][0]), TestRow(5, "", "", ("", "")), TestRow(9, PROBLEMS[1][0])]
    index = build_index(TestSet("gaps", rows))
    assert len(index) == 4
    assert [check(PROBLEMS[i][0], index)[0].row for i in (0, 1)] == [4, 9]


def test_bad_input_is_told() -> None:
    with pytest.raises(UsageError, match="no text: 2 rows"):
        build_index(TestSet("empty", [TestRow(0, ""), TestRow(1, " ")]))
    with pytest.raises(UsageError, match="row 4: a field is int"):
        build_index(TestSet("numbers", [TestRow(4, 12)]))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="row 1: `n` is int"):
        Cascade([problems()]).check_many([{"n": "a"}, {"n": 3}])  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="no layer `ngrams`") as caught:
        Cascade([problems()], layers=("ngrams",))
    assert "did you mean `ngram`?" in caught.value.hint
    with pytest.raises(UsageError, match="false-positive rate of 0"):
        Cascade([problems()], fpr=0)
    with pytest.raises(UsageError, match="no benchmark"):
        Cascade([])


def test_thresholds_grow_stricter_and_building_is_deterministic() -> None:
    rows = [TestRow(100 + i, question, answer) for i, (question, answer) in enumerate(PROBLEMS)]
    again = build_index(TestSet("problems", rows))
    assert again.thresholds == problems().thresholds
    assert all(np.array_equal(again.arrays[name], array) for name, array in problems().arrays.items())
    for by_rate in again.thresholds.values():
        strictest, *looser = [by_rate[str(rate)] for rate in RATES]
        assert sorted([strictest, *looser], reverse=True) == [strictest, *looser]


def test_a_saved_index_finds_the_same(tmp_path: Path) -> None:
    target = tmp_path / "indexes" / "problems"
    save_index(problems(), target)
    save_index(problems(), target)  # in the place of the first
    opened = open_index(target)
    assert is_index(target) and not is_index(tmp_path)
    assert isinstance(opened.arrays["gram_hashes"].base, np.memmap)  # mapped, not read
    assert (opened.rows, opened.thresholds, opened.facts) == (problems().rows, problems().thresholds, problems().facts)
    assert list(opened.questions) == list(problems().questions)
    rows = [{"text": make(question)} for make in VARIANTS.values() for question, _ in PROBLEMS]
    assert Cascade([opened]).check_many(rows) == Cascade([problems()]).check_many(rows)


def test_indexes_of_another_scheme_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "index"
    save_index(problems(), target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"scheme": "older"}))
    with pytest.raises(UsageError, match="scheme `older`") as caught:
        open_index(target)
    assert SCHEME in caught.value.message and "build the index again" in caught.value.hint
    (target / "manifest.json").write_text(json.dumps(manifest))
    np.save(target / "gram_hashes.npy", np.zeros(3, dtype=np.uint64))
    with pytest.raises(UsageError, match="holds 3 values"):
        open_index(target)
    (target / "gram_hashes.npy").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        open_index(target)
    with pytest.raises(UsageError, match="no benchmark index"):
        open_index(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="exists and is no benchmark index"):
        save_index(problems(), tmp_path / "mine")
