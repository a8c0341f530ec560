"""What goes with a group: the statistics against bootstraps and counts by hand, the gates against planted defects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.bias.amplification import amplification, measure
from factory.auditors.bias.association import association
from factory.auditors.bias.log_odds import PRIOR, compare_words
from factory.auditors.bias.pairs import compare, count_shares
from factory.auditors.bias.terms import load_categories, plural, term_rows
from factory.auditors.bias.views import View, look
from factory.auditors.groups import Grouping, groupings, same_groups
from factory.auditors.statistics import resampled_sums
from factory.errors import UsageError
from factory.types import Check

OCCUPATIONS = ["nurse", "engineer", "teacher", "lawyer", "plumber", "secretary", "librarian", "manager"]
MOODS = ["happy", "sad", "angry", "strong", "weak", "caring", "smart", "lazy"]
TERMS = {"female": frozenset({"she", "her", "lady doctor"}), "male": frozenset({"he", "his"})}


def make(rng: np.random.Generator, rows: int, female: Sequence[float], filler: int = 12) -> list[str]:
    """Texts of one occupation and one pronoun each; `female`: its share by occupation."""
    work = rng.integers(0, len(OCCUPATIONS), rows)
    she = rng.random(rows) < np.array(female)[work]
    mood = rng.integers(0, len(MOODS), rows)
    words = rng.integers(0, 300, (rows, filler))
    return [
        f"The {OCCUPATIONS[work[row]]} came in. {'She' if she[row] else 'He'} was {MOODS[mood[row]]}. "
        + " ".join(f"filler{number}" for number in words[row])
        for row in range(rows)
    ]


def told(texts: Sequence[str], rows: Sequence[int] | None = None) -> Data:
    columns: dict[str, Any] = {"text": list(texts)}
    if rows is not None:
        columns["meta"] = [{"row": row, "id": str(place)} for place, row in enumerate(rows)]
    return Data("made", pa.table(columns))


def gender(data: Data, language: str | None = "en") -> Grouping:
    members = np.array([["She" in text, "He " in text] for text in data.texts], dtype=np.bool_)
    return Grouping("gender", ("female", "male"), members, "lexicon en test", TERMS, len(data), language)


def audit(dataset: Data, reference: Data | None = None, **options: Any) -> list[Check]:
    there = None if reference is None else [gender(reference)]
    return conclude(association(dataset, reference, [gender(dataset)], there, AuditContext(), **options))


EVEN = [0.5] * len(OCCUPATIONS)
SKEWED = [0.9, *EVEN[1:]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_shares_are_those_of_a_count_by_hand(seed: int, clustered: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, terms, groups = 30, 4, 3
    present = (rng.random((rows, terms)) < 0.4).astype(float)
    only = rng.integers(-1, groups, rows)
    clusters = rng.integers(0, 6, rows) if clustered else None
    found = count_shares(csr_matrix(present), only, groups, clusters)
    for group in range(groups):
        assert found.sizes[group] == np.sum(only == group)
        for term in range(terms):
            with_term = [row for row in range(rows) if present[row, term] and only[row] >= 0]
            hits = sum(only[row] == group for row in with_term)
            assert found.hits[group, term] == hits
            share = hits / max(1, len(with_term))
            if clusters is None or not 0 < share < 1:
                assert found.spread[group, term] == 1
                continue
            sums = [sum((only[row] == group) - share for row in with_term if clusters[row] == one) for one in range(6)]
            expected = sum(one**2 for one in sums) / (len(with_term) * share * (1 - share))
            assert found.spread[group, term] == pytest.approx(max(1.0, expected))


def test_the_standard_error_is_that_of_a_bootstrap_by_row() -> None:
    rng = np.random.default_rng(3)
    rows, words = 600, 8
    counts = rng.poisson(rng.gamma(1.0, 1.0, (rows, 1)) * np.linspace(0.3, 2, words))  # words come in bursts
    sizes = counts.sum(axis=1) + rng.integers(5, 40, rows).astype(float)
    only = (rng.random(rows) < 0.4).astype(np.intp)
    found = compare_words(csr_matrix(counts), sizes, only, 2)[0]
    shares, total = counts.sum(axis=0) / sizes.sum(), sizes.sum()
    assert total > 0
    strength = PRIOR * min(sizes[only == 0].sum(), sizes[only == 1].sum())
    odds = []
    for group in (0, 1):
        features = np.column_stack([counts, sizes])[only == group]
        sums = resampled_sums(features, np.random.default_rng(group), resamples=2000)
        seen, whole = sums[:, :-1] + shares * strength, sums[:, -1:] + strength
        odds.append(np.log(seen / (whole - seen)))
    assert found.se == pytest.approx((odds[0] - odds[1]).std(axis=0), rel=0.12)
    analytic = np.sqrt(1 / (found.here + shares * strength) + 1 / (found.there + shares * strength))
    assert (found.se[-3:] > 1.15 * analytic[-3:]).all()


def test_words_of_one_group_alone_are_kept() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (2000, 50))
    only = np.arange(2000) % 2
    counts[only == 1, 7] = 0
    found = compare_words(csr_matrix(counts), np.full(2000, 40.0), only, 2)[0]
    assert np.argmax(found.z) == 7 and found.there[7] == 0 and found.z[7] > 6


def test_a_groups_own_words_are_never_told() -> None:
    texts = make(np.random.default_rng(1), 300, EVEN)
    data = told([f"{text} she's here, the doctor" if "She" in text else text for text in texts])
    terms, rows = term_rows(data, "en", frozenset({"she", "doctor", "doctors", "lady"}))
    assert {"nurse", "care work"} <= {term.name for term in terms}
    assert "doctor" not in {term.name for term in terms}
    assert rows.shape == (300, len(terms))
    big = told(make(np.random.default_rng(1), 10_000, EVEN, filler=3))
    check = association(big, None, [gender(big)], None, AuditContext())[0]
    assert not {"she", "he"} & {row[0] for table in check.details["tables"] for row in table["rows"]}


def test_the_lexicon_is_in_order() -> None:
    found = load_categories("en")
    assert found is not None and "categories en" in found.told
    assert all(form == form.casefold() for term in found.terms for form in term.forms)
    names = [term.name for term in found.terms if not term.pooled]
    assert len(names) == len(set(names)) > 400
    assert {"occupations", "traits", "emotions", "body", "life"} <= set(found.fields())
    assert [plural(noun) for noun in ("nurse", "secretary", "boss", "coach", "repairman", "boy")] == [
        "nurses", "secretaries", "bosses", "coaches", "repairmen", "boys",
    ]  # fmt: skip
    assert load_categories("xx") is None


def test_a_skewed_occupation_fails_against_real_rows() -> None:
    rng = np.random.default_rng(5)
    dataset, reference = told(make(rng, 4000, SKEWED)), told(make(rng, 4000, EVEN))
    [check] = audit(dataset, reference)
    assert check.verdict == "FAIL" and check.subject == "gender"
    assert "'nurse'" in check.sentence and check.value == pytest.approx(0.4, abs=0.06)
    assert check.interval is not None and check.interval[0] < 0.4 < check.interval[1]
    assert ["nurse", "female"] in check.details["beyond"]
    assert all(one.row is not None and "nurse" in dataset.texts[one.row] for one in check.evidence[:1])
    assert json.dumps(check.as_json()) == json.dumps(audit(dataset, reference)[0].as_json())
    assert {plot["kind"] for plot in check.details["plots"]} == {"forest"}


def test_a_whole_share_that_moves_is_not_a_tie() -> None:
    rng = np.random.default_rng(6)
    [check] = audit(told(make(rng, 4000, [0.8] * 8)), told(make(rng, 4000, EVEN)))
    assert check.verdict != "FAIL" and check.value is not None and abs(check.value) > 0.2


def test_without_real_rows_a_tie_is_told_and_neutral_terms_are_gated() -> None:
    rng = np.random.default_rng(7)
    dataset = told(make(rng, 3000, SKEWED))
    [check] = audit(dataset)
    assert check.verdict == "INCONCLUSIVE" and "--reference" in check.advice and "neutral" in check.advice
    assert "care work" in check.sentence and check.test is None
    [gated] = audit(dataset, neutral=["occupations"])
    assert gated.verdict == "FAIL" and "'nurse'" in gated.sentence and (gated.value or 0) > 5
    [others] = audit(dataset, neutral=["emotions", "joy"])
    assert others.verdict != "FAIL"
    with pytest.raises(UsageError, match="no category 'ocupations'"):
        audit(dataset, neutral=["ocupations"])
    with pytest.raises(UsageError, match="limit"):
        audit(dataset, limit=0.4, effect=0.3)


def test_a_twofold_skew_of_pronouns_is_found_at_a_thousand_rows_of_an_occupation() -> None:
    """From one to one to two to one, with even odds declared."""
    found = 0
    for seed in range(8):
        texts = make(np.random.default_rng(seed), 10_000, [2 / 3, *EVEN[1:]], filler=2)
        [check] = audit(told(texts), neutral=["occupations"])
        found += check.verdict == "FAIL" and "'nurse'" in check.sentence
    assert found >= 6


def test_real_against_real_fails_in_few_audits() -> None:
    rng = np.random.default_rng(8)
    shares = rng.uniform(0.2, 0.8, 8)
    pool = told(make(rng, 4000, shares.tolist(), filler=2))
    failed = 0
    for trial in range(20):
        order = np.random.default_rng(trial).permutation(len(pool))
        here, there = pool.take(order[:1000].tolist()), pool.take(order[1000:2000].tolist())
        checks = [
            *association(here, there, [gender(here)], [gender(there)], AuditContext(seed=trial)),
            *amplification(here, there, [gender(here)], [gender(there)], AuditContext(seed=trial)),
        ]
        failed += any(check.verdict == "FAIL" for check in conclude(checks))
    assert failed == 0


def test_rows_made_together_count_less() -> None:
    rng = np.random.default_rng(9)
    texts = make(rng, 400, [0.75, *EVEN[1:]])
    fourfold = [text for text in texts for _ in range(4)]
    apart, together = told(fourfold), told(fourfold, [row // 4 for row in range(1600)])
    views = [look(data, gender(data), "en")[0] for data in (apart, together)]
    at = views[0].names.index("nurse")
    assert views[0].shares().spread[0, at] == 1
    assert views[1].shares().spread[0, at] == pytest.approx(4)


def test_differences_are_nothing_where_there_are_too_few_rows() -> None:
    data = told(make(np.random.default_rng(0), 40, EVEN))
    [check] = audit(data, data)
    assert check.verdict == "INCONCLUSIVE" and "more rows" in check.advice
    for texts in (["She"], ["She was here"] * 50, [""] * 50):
        [check] = audit(told(texts), told(texts))
        assert check.verdict == "INCONCLUSIVE" and check.advice and check.value is None
    [check] = association(data, None, [], None, AuditContext())
    assert check.verdict == "INCONCLUSIVE" and check.advice


def test_a_language_without_categories_is_looked_at_by_words() -> None:
    rng = np.random.default_rng(2)
    dataset, reference = told(make(rng, 3000, SKEWED)), told(make(rng, 3000, EVEN))
    found = association(dataset, reference, [gender(dataset, "xx")], [gender(reference, "xx")], AuditContext())
    [check] = conclude(found)
    assert check.verdict == "FAIL" and "'nurse'" in check.sentence and "'xx'" in check.method


def test_groups_of_the_lexicon_go_in() -> None:
    rng = np.random.default_rng(4)
    dataset, reference = told(make(rng, 2500, SKEWED)), told(make(rng, 2500, EVEN))
    here, _ = groupings(dataset, "en", axis="gender")
    checks = conclude(
        association(dataset, reference, here, [same_groups(one, reference) for one in here], AuditContext())
    )
    assert [check.verdict for check in checks] == ["FAIL"] and "'nurse'" in checks[0].sentence


def view_of(rng: np.random.Generator, rows: int, shares: np.ndarray[Any, Any]) -> View:
    """Two terms a row out of len(shares)."""
    terms = rng.integers(0, len(shares), (rows, 2))
    odds = np.log(shares / (1 - shares))
    only = (rng.random(rows) > 1 / (1 + np.exp(-odds[terms].mean(axis=1)))).astype(np.intp)
    matrix = csr_matrix((np.ones(2 * rows), (np.repeat(np.arange(rows), 2), terms.ravel())), shape=(rows, len(shares)))
    data = told([""] * rows)
    members = np.stack([only == 0, only == 1], axis=1)
    grouping = Grouping("gender", ("female", "male"), members, "made", {}, rows, "en")
    names = tuple(f"t{number}" for number in range(len(shares)))
    kinds, fields = np.array(["term"] * len(shares)), np.array([""] * len(shares))
    return View(data, grouping, only, names, kinds, fields, matrix, None, "made", "en", kinds == "term")


def test_amplification_is_found_and_a_weaker_tie_is_not_a_stronger_one() -> None:
    rng = np.random.default_rng(1)
    shares = rng.uniform(0.25, 0.75, 8)
    reference = told(make(rng, 6000, shares.tolist()))
    for power, sign in ((2.2, 1), (0.0, -1)):
        odds = (shares / (1 - shares)) ** power
        dataset = told(make(rng, 6000, (odds / (1 + odds)).tolist()))
        [check] = conclude(amplification(dataset, reference, [gender(dataset)], [gender(reference)], AuditContext()))
        assert check.verdict == "FAIL" and check.value is not None and check.value * sign > 0.03
        assert ("more here" if sign > 0 else "less here") in check.sentence
        assert check.evidence and check.details["biasamp"] * sign > 0


def test_pairs_chosen_and_measured_on_the_same_rows_would_seem_weaker_here() -> None:
    """Regression to the mean: the naive mean lies below 0 for equal data, the cross-fitted one does not."""
    rng = np.random.default_rng(0)
    shares = np.full(40, 0.5)
    naive, crossed, covered = [], [], 0
    for _ in range(120):
        here, there = view_of(rng, 1500, shares), view_of(rng, 1500, shares)
        one, other = here.shares(), there.shares()
        over = other.share > other.of_all[:, None]
        naive.append((one.share - other.share)[over].mean())
        found = measure(here, there, rng)
        assert found is not None
        crossed.append(found.value)
        covered += abs(found.value) <= 1.96 * found.se
    assert np.mean(naive) < -0.03
    assert abs(np.mean(crossed)) < 3 * np.std(crossed) / np.sqrt(120)
    assert covered >= 107


def test_intervals_of_differences_cover() -> None:
    rng = np.random.default_rng(2)
    shares = rng.uniform(0.1, 0.9, 30)
    covered = [
        np.abs(found.difference) <= 1.96 * found.se
        for found in (
            compare(view_of(rng, 1500, shares).shares(), view_of(rng, 1500, shares).shares()) for _ in range(60)
        )
    ]
    assert 0.935 <= np.concatenate(covered).mean() <= 0.97


def test_amplification_says_what_to_give() -> None:
    data = told(make(np.random.default_rng(0), 60, EVEN))
    [check] = amplification(data, None, [gender(data)], None, AuditContext())
    assert check.verdict == "INCONCLUSIVE" and "--reference" in check.advice
    [check] = amplification(data, data, [gender(data)], [None], AuditContext())
    assert check.verdict == "INCONCLUSIVE" and "no gender" in check.sentence
    [check] = amplification(data, data, [gender(data)], [gender(data)], AuditContext())
    assert check.verdict == "INCONCLUSIVE" and check.advice
    with pytest.raises(UsageError, match="limit"):
        amplification(data, data, [gender(data)], [gender(data)], AuditContext(), limit=0.1, effect=0.05)
