"""Passages that rows share with real ones: the longest common runs of words, and passages of private sources."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.privacy.runs import MOST, Passages, cut_words, longest_runs, read_side
from factory.auditors.privacy.substring import exceedance, substring, tails, verbatim
from factory.errors import UsageError
from factory.types import Check

CONTEXT = AuditContext(seed=5)
VOCABULARY = np.array([f"word{number}x" for number in range(3000)])
ZIPF = 1 / np.arange(1, 3001)
ZIPF /= ZIPF.sum()


def data(texts: list[str] | list[str | None], name: str = "rows") -> Data:
    return Data(name, pa.table({"text": pa.array(texts, pa.string())}), ["text"])


def make(rng: np.random.Generator, count: int, words: int = 25) -> list[str]:
    """Rows of words as frequent as in a language."""
    return [" ".join(row) for row in VOCABULARY[rng.choice(3000, size=(count, words), p=ZIPF)]]


def longest_by_table(one: list[str], other: list[str]) -> int:
    """The longest common run, by dynamic programming."""
    best, before = 0, [0] * (len(other) + 1)
    for word in one:
        now = [0] * (len(other) + 1)
        for place, also in enumerate(other):
            if word == also:
                now[place + 1] = before[place] + 1
                best = max(best, now[place + 1])
        before = now
    return best


TEXTS = st.lists(st.lists(st.sampled_from(["red", "blue", "green", "up"]), max_size=24).map(" ".join), max_size=6)


@settings(max_examples=150)
@given(TEXTS, TEXTS)
def test_longest_runs_are_those_of_dynamic_programming(own: list[str], known: list[str]) -> None:
    found = longest_runs(own, read_side(known))
    assert len(found.words) == len(own)
    for row, text in enumerate(own):
        words = text.split()
        assert found.words[row] == max((longest_by_table(words, one.split()) for one in known), default=0)
        if found.words[row]:
            first, length, other = int(found.first[row]), int(found.words[row]), int(found.other[row])
            there = int(found.other_first[row])
            assert words[first : first + length] == known[other].split()[there : there + length]
            assert cut_words(text, first, length).split() == words[first : first + length]


@pytest.mark.parametrize("length", [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129])
def test_runs_of_every_length_are_measured_exactly(length: int) -> None:
    rng = np.random.default_rng(length)
    words = [f"a{number}q" for number in range(400)]
    own, known = rng.permutation(words).tolist(), [f"b{number}q" for number in range(300)]
    known[100 : 100 + length] = own[50 : 50 + length]
    found = longest_runs(["nothing here", " ".join(own)], read_side(["zero", " ".join(known)]))
    assert found.words.tolist() == [0, length]
    assert (found.first[1], found.other[1], found.other_first[1]) == (50, 1, 100)


def test_case_accents_punctuation_and_white_space_do_not_count_and_runs_end_with_rows() -> None:
    known = read_side(["The café was CLOSED, so we went home.", "and then", "slept well"])
    found = longest_runs(["the cafe — was closed so\nwe went", "and then slept well", "", "東京の空は青い"], known)
    assert found.words.tolist() == [7, 2, 0, 0]
    assert cut_words("Wir sagten: Der Café–Besuch, war schön!", 2, 4) == "Der Café–Besuch, war"
    chinese = longest_runs(["今天天气很好我们去公园"], read_side(["昨天天气很好我们在家"]))
    assert chinese.words.tolist() == [7] and cut_words("今天天气很好我们去公园", 1, 7) == "天天气很好我们"


def test_very_long_rows_are_read_to_the_end() -> None:
    rng = np.random.default_rng(1)
    long = " ".join(VOCABULARY[rng.choice(3000, size=30_000, p=ZIPF)])
    tail = " ".join(long.split()[-30:])
    found = longest_runs([long, tail], read_side([long]))
    assert found.words.tolist() == [MOST, 30]


def compare(own: list[str], members: list[str], held: list[str] | None, **options: Any) -> Check:
    holdout = None if held is None else data(held, "holdout")
    [found] = conclude(substring(data(own), data(members, "members"), holdout, CONTEXT, **options))
    json.dumps(found.as_json(), allow_nan=False)
    assert found.name == "privacy.substring"
    return found


def plant(rng: np.random.Generator, own: list[str], members: list[str], share: float, *, half: bool) -> list[str]:
    """The rows, a share of them replaced by members: whole, or half of one (12 words) inside a row."""
    planted = list(own)
    for row in range(round(share * len(own))):
        member = members[int(rng.integers(len(members)))].split()
        planted[row] = " ".join([*own[row].split()[:8], *member[5:17]]) if half else " ".join(member)
    return planted


@pytest.mark.parametrize(("half", "trials"), [(False, 4), (True, 10)])
def test_one_in_a_hundred_copied_is_found(half: bool, trials: int) -> None:
    """At a level that is left in an audit of fifty tests; power ≥ .9 over seeded trials."""
    found = 0
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        own, members, held = make(rng, 2000, 18), make(rng, 300, 18), make(rng, 2000, 18)
        check = compare(plant(rng, own, members, 0.01, half=half), members, held)
        assert check.p is not None and check.value is not None and check.interval is not None
        found += check.p <= 0.001
    assert found >= 0.9 * trials
    assert check.evidence[0].details["words"] >= 12 and len(check.evidence) <= 20
    assert {one.row for one in check.evidence} <= set(range(20))


def test_rows_alike_fail_no_more_often_than_the_level() -> None:
    values = []
    for trial in range(100):
        rng = np.random.default_rng(1000 + trial)
        template = "please tell me what I should do when my card"
        rows = [f"{template} {text}" if rng.random() < 0.05 else text for text in make(rng, 600, 12)]
        values.append(compare(rows[:200], rows[200:400], rows[400:]).p)
    assert np.mean([value <= 0.05 for value in values if value is not None]) <= 0.05


def test_phrases_that_held_out_rows_share_too_are_no_leak() -> None:
    rng = np.random.default_rng(2)
    notice = "this call may be recorded for quality and training purposes by the bank and its partners"
    rows = [f"{text} {notice}" for text in make(rng, 3000, 10)]
    check = compare(rows[:1000], rows[1000:2000], rows[2000:])
    assert check.verdict != "FAIL" and check.p is not None and check.p > 0.2


def test_a_large_clean_dataset_passes() -> None:
    rng = np.random.default_rng(3)
    check = compare(make(rng, 3000, 15), make(rng, 500, 15), make(rng, 3000, 15))
    assert check.verdict == "PASS" and check.mde is not None and check.mde <= 0.02
    assert check.details["plots"][0]["kind"] == "histogram" and "held-out rows" in check.sentence
    few = compare(make(rng, 40), make(rng, 100), make(rng, 40))
    assert few.verdict == "INCONCLUSIVE"


def test_without_a_holdout_the_longest_passages_are_shown_and_nothing_is_claimed() -> None:
    rng = np.random.default_rng(4)
    members = make(rng, 50)
    check = compare([*make(rng, 20), members[3]], members, None)
    assert check.verdict == "INCONCLUSIVE" and check.value is None and "--holdout" in check.advice
    assert check.evidence[0].row == 20 and check.evidence[0].details == {"words": 25, "member": 3}
    [none] = substring(data(["a b c"]), None, None, CONTEXT)
    assert none.verdict == "INCONCLUSIVE" and "--reference" in none.advice


def test_odd_data_give_a_check_and_no_error() -> None:
    for own, members, held in (
        (["a"], ["a"], ["a"]),
        (["", ""], ["", "x"], ["", ""]),
        (["same words here"] * 30, ["same words here"] * 30, ["same words here"] * 30),
    ):
        assert compare(own, members, held).verdict in ("INCONCLUSIVE", "PASS")
    [none] = substring(Data("n", pa.table({"n": [1]})), data(["a"]), data(["a"]), CONTEXT)
    assert none.verdict == "INCONCLUSIVE"
    for options in ({"max_copied": 1.5}, {"effect": 0.0005}):
        with pytest.raises(UsageError):
            substring(data(["a"]), data(["a"]), data(["a"]), CONTEXT, **options)


def test_the_exact_distribution_of_exceedances() -> None:
    """Against simulated ranks: of n + m values in random order, how many of n lie above the third largest of m."""
    rng = np.random.default_rng(6)
    n, m, held = 60, 40, 2
    values = rng.random((20_000, n + m))
    third = np.sort(values[:, :m], axis=1)[:, -held - 1]
    counts = (values[:, m:] > third[:, None]).sum(axis=1)
    for hits in (1, 4, 8, 14):
        assert exceedance(hits, n, held, m, 0.0) == pytest.approx((counts >= hits).mean(), abs=0.012)
    more = (counts + rng.binomial(n, 0.05, size=len(counts)) >= 8).mean()
    assert exceedance(8, n, held, m, 0.05) == pytest.approx(more, abs=0.012)
    assert exceedance(0, n, held, m, 0.0) == 1.0


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.lists(st.integers(0, 9), min_size=1, max_size=50))
def test_thresholds_are_exceeded_by_no_more_held_out_rows_than_said(held: list[int], own: list[int]) -> None:
    found = tails(np.array(own), np.array(held))
    assert found and [one.words for one in found] == sorted({one.words for one in found})
    for one in found:
        assert one.held == sum(value > one.words for value in held) <= 0.005 * len(held)
        assert one.hits == sum(value > one.words for value in own)


def verbatim_check(own: list[str | None], private: list[str] | None, **options: Any) -> Check:
    source = None if private is None else data(private, "tickets")
    [found] = verbatim(data(own), source, CONTEXT, **options)
    json.dumps(found.as_json(), allow_nan=False)
    assert found.name == "privacy.verbatim" and found.test is None
    return found


PRIVATE = ["My account was closed last week after I moved to Lyon and nobody called me back about it"]


def test_a_passage_of_a_private_source_is_a_finding() -> None:
    own = ["Nothing of it.", "They wrote: “after I MOVED to Lyon and, nobody called me back”!", None, "I moved to Lyon"]
    found = verbatim_check(own, PRIVATE)
    assert (found.verdict, found.value, found.n) == ("FAIL", 1.0, 4)
    [shown] = found.evidence
    assert shown.row == 1 and shown.text == "after I MOVED to Lyon and, nobody called me back"
    assert shown.details == {"words": 10, "private_row": 0}
    assert verbatim_check(own, PRIVATE, max_rows=1).verdict == "PASS"
    assert verbatim_check(own, PRIVATE, min_words=11).verdict == "PASS"
    assert verbatim_check(own, PRIVATE, min_words=4).value == 2


def test_what_many_private_rows_hold_is_nobodys() -> None:
    notice = "thank you for writing to us we will answer within two days"
    private = [f"case number {number}x {notice}" for number in range(10)]
    assert verbatim_check([notice], private).value == 0
    assert verbatim_check([notice], private[:9]).value == 1
    assert verbatim_check([notice], private, boilerplate=11).value == 1


def test_scripts_without_spaces_are_counted_in_pairs_of_characters() -> None:
    private = ["我上周搬到上海以后银行关闭了我的账户没有人给我回电话"]
    assert verbatim_check(["他说：" + private[0][:16]], private).value == 1
    assert verbatim_check(["他说：" + private[0][:14]], private).value == 0


def test_trivial_runs_and_missing_sources() -> None:
    assert verbatim_check(["0 0 0 0 0 0 0 0 0 0"], ["0 0 0 0 0 0 0 0 0 0"]).value == 0
    none = verbatim_check(["a b c"], None)
    assert none.verdict == "INCONCLUSIVE" and none.value is None and "private: true" in none.advice
    assert verbatim_check([], PRIVATE).verdict == "PASS" and verbatim_check([""], [""]).verdict == "PASS"
    for options in ({"min_words": 2}, {"boilerplate": 1}, {"max_rows": -1}):
        with pytest.raises(UsageError):
            verbatim_check(["a"], PRIVATE, **options)


def test_personal_data_in_a_passage_is_masked() -> None:
    private = ["please send the papers to anna.schmidt@web.de before the end of the month"]
    found = verbatim_check([private[0]], private)
    assert found.value == 1 and "anna.schmidt@web.de" not in json.dumps(found.as_json())


@settings(max_examples=80)
@given(TEXTS, TEXTS, st.integers(3, 6))
def test_passages_are_found_exactly(own: list[str], known: list[str], length: int) -> None:
    """Against every run of words of every row."""
    runs = {tuple(text.split()[k : k + length]) for text in known for k in range(len(text.split()) - length + 1)}
    covered: dict[int, set[int]] = {}
    for row, text in enumerate(own):
        words = text.split()
        at = [k for k in range(len(words) - length + 1) if tuple(words[k : k + length]) in runs]
        covered[row] = {place for k in at for place in range(k, k + length)}
    found: dict[int, set[int]] = {row: set() for row in covered}
    for span, weight in Passages(known, length, 100).find(own):
        found[span.row] |= set(range(span.first, span.first + span.words))
        assert weight == span.words >= length
    for row, text in enumerate(own):
        words = text.split()
        assert found[row] <= covered[row]
        rest = covered[row] - found[row]
        assert not rest or len({words[place] for place in rest}) < 4
