"""The area `privacy`: copies are found and told from chance, at the rates that are claimed."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factory import registry, seeds
from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.privacy import UNMEASURED, privacy
from factory.auditors.privacy.distances import compare, plain
from factory.auditors.privacy.exact import above_p, detectable, least_rejected, shares_p, signs_p
from factory.auditors.privacy.membership import membership
from factory.auditors.privacy.rare import rare
from factory.auditors.privacy.real import Real, open_real
from factory.auditors.privacy.tail import tail
from factory.errors import UsageError
from factory.types import Check

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "m", "lo", "ti", "ka")]


def made_up(count: int, *names: int | str, words: int = 14) -> list[str]:
    """Sentences of words that are as uneven as those of a language, about one of twelve things each."""
    draw = seeds.generator(0, *names)
    weights = [1 / (rank + 3) for rank in range(len(WORDS))]
    found = []
    for _ in range(count):
        topic = draw.randrange(12)
        theme = [WORDS[(topic * 31 + k * 7) % len(WORDS)] for k in range(8)]
        chosen = draw.choices(WORDS, weights, k=words - 4) + draw.choices(theme, k=4)
        draw.shuffle(chosen)
        found.append(" ".join(chosen).capitalize() + ".")
    return found


def paraphrase(text: str, draw: random.Random) -> str:
    """A third of the words others, or gone."""
    kept = []
    for word in text.split():
        luck = draw.random()
        if luck > 0.2:
            kept.append(word)
        elif luck > 0.1:
            kept.append(draw.choice(WORDS))
    return " ".join(kept)


def data(texts: Sequence[str], name: str = "rows", **columns: Sequence[Any]) -> Data:
    return Data(name, pa.table({"text": list(texts), **columns}), ["text"])


def real_of(rows: Sequence[str], members: Sequence[str], holdout: Sequence[str], seed: int = 0) -> Real:
    return open_real(data(rows), data(members), data(holdout), AuditContext(seed=seed))


def copied(rows: list[str], members: Sequence[str], count: int, change: Callable[[str], str] = str) -> list[str]:
    """The rows with the first of them replaced by copies of members."""
    return [change(text) for text in members[:count]] + rows[count:]


# exact tests against all that can happen


@given(
    st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([0.2, 0.5, 0.7]),
    st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_signs_p_is_the_chance_of_as_many(weighed: list[tuple[int, bool]], share: float, allowed: int) -> None:
    weights = np.array([weight for weight, _ in weighed])
    members = np.array([member for _, member in weighed])
    found = signs_p(weights, members, share, 0)
    chance = 0.0
    for sides in itertools.product([False, True], repeat=len(weights)):
        total = sum(w for w, side in zip(weights, sides, strict=True) if side)
        if total >= weights[members].sum():
            chance += math.prod(share if side else 1 - share for side in sides)
    assert found == pytest.approx(chance, abs=1e-12)
    assert signs_p(weights, members, share, allowed) >= found - 1e-12


@given(st.integers(1, 40), st.integers(1, 40), st.data())
@settings(max_examples=60, deadline=None)
def test_shares_p_is_fishers(n: int, m: int, drawn: st.DataObject) -> None:
    hits, others = drawn.draw(st.integers(0, n)), drawn.draw(st.integers(0, m))
    table = [[hits, n - hits], [others, m - others]]
    assert shares_p(hits, n, others, m) == pytest.approx(stats.fisher_exact(table, "greater").pvalue, abs=1e-9)


def test_above_p_counts_orders() -> None:
    n, m, rank = 4, 3, 2
    above = []
    for places in itertools.combinations(range(n + m), m):  # where the holdout stands, from the top
        bar = sorted(places)[rank - 1]
        above.append(bar - (rank - 1))
    for count in range(n + 2):
        share = sum(one >= count for one in above) / len(above)
        assert above_p(count, n, m, rank) == pytest.approx(share)


def test_what_is_allowed_is_no_evidence() -> None:
    weights, members = np.ones(20, dtype=np.int64), np.ones(20, dtype=bool)
    assert signs_p(weights, members, 0.5, 0) == pytest.approx(2**-20)
    assert signs_p(weights, members, 0.5, 4) == pytest.approx(2**-16)
    assert signs_p(weights, members, 0.5, 20) == 1
    assert shares_p(30, 100, 0, 100, 30) == 1


def test_one_real_row_copied_often_is_one_piece_of_evidence() -> None:
    assert signs_p(np.array([30]), np.array([True]), 0.5) == pytest.approx(0.5)


def test_detectable_is_where_power_reaches_four_fifths() -> None:
    background, allowed, alpha = 30, 3, 0.001
    copies = detectable(background, 0.5, allowed, alpha, 1000)
    chance = stats.binom(background, 0.5)
    for count, enough in ((copies, True), (copies - 1, False)):
        least = least_rejected(
            lambda hits, count=count: stats.binom.sf(hits - allowed - 1, background + count - allowed, 0.5),
            alpha, 0, background + count,
        )  # fmt: skip
        assert (chance.sf(least - count - 1) >= 0.8) == enough
    assert detectable(0, 0.5, 0, 0.001, 5) == 6  # five coins never say it


# distances


def cosines(rows: Sequence[str], pool: Sequence[str]) -> np.ndarray[Any, Any]:
    """Every cosine, from dictionaries."""

    def counted(text: str) -> Counter[Any]:
        words = plain(text).split()
        return Counter([*words, *itertools.pairwise(words)])

    frequency: Counter[Any] = Counter(feature for text in pool for feature in counted(text))
    weight = {f: math.log((1 + len(pool)) / (1 + k)) + 1 for f, k in frequency.items()}
    top = max(weight.values(), default=1)

    def vector(text: str) -> dict[Any, float]:
        raw = {f: weight.get(f, top) * (1 + math.log(k)) for f, k in counted(text).items()}
        length = math.sqrt(sum(value**2 for value in raw.values())) or 1
        return {f: value / length for f, value in raw.items()}

    vectors = [vector(text) for text in pool]
    return np.array([[sum(v * o.get(f, 0) for f, v in vector(t).items()) for o in vectors] for t in rows])


@given(
    st.lists(
        st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij", "kl"]), max_size=6).map(" ".join),
        min_size=2,
        max_size=9,
    )
)
@settings(max_examples=40, deadline=None)
def test_the_nearest_is_the_nearest(texts: list[str]) -> None:
    rows, pool = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    found, all_of = compare(rows, pool), cosines(rows, pool)
    ordered = np.sort(all_of, axis=1)[:, ::-1]
    np.testing.assert_allclose(found.rows.first, ordered[:, 0], atol=1e-5)
    if len(pool) > 1:
        np.testing.assert_allclose(found.rows.second, ordered[:, 1], atol=1e-5)
    np.testing.assert_allclose(found.back.first, all_of.max(axis=0), atol=1e-5)
    own = cosines(pool, pool)
    np.fill_diagonal(own, 0)
    np.testing.assert_allclose(found.own.first, own.max(axis=1), atol=1e-5)
    for row, place in enumerate(found.rows.places):
        assert (place < 0) == (ordered[row, 0] == 0)
        assert place < 0 or all_of[row, place] == pytest.approx(ordered[row, 0], abs=1e-5)


def test_common_words_propose_nothing_and_count_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, rows = made_up(300, "pool"), made_up(200, "rows")
    rows = copied(rows, pool, 40, lambda text: paraphrase(text, random.Random(text)))
    full = compare(rows, pool)
    monkeypatch.setattr("factory.auditors.privacy.distances.WORK", 3)
    some = compare(rows, pool)
    found = some.rows.places[:40] == np.arange(40)
    assert found.mean() > 0.8 and (some.rows.places != full.rows.places).any()
    np.testing.assert_allclose(some.rows.first[:40][found], full.rows.first[:40][found], atol=1e-6)


# the tail


def p_of(check: Check) -> float:
    assert check.test is not None
    return check.test.p


def test_copies_are_found() -> None:
    members, holdout, rows = made_up(1500, "m"), made_up(1500, "h"), made_up(3000, "s")
    nothing = tail(real_of(rows, members, holdout), limit=0.001)
    assert p_of(nothing) > 0.05
    exact = tail(real_of(copied(rows, members, 18), members, holdout), limit=0.001)
    assert p_of(exact) < 1e-3
    assert exact.value is not None and 0.002 < exact.value < 0.012
    assert exact.details["tails"]["word for word"]["nearest to a member"] == 18
    assert {one.row for one in exact.evidence[:18]} == set(range(18))
    assert exact.evidence[0].details["member"] == members[exact.evidence[0].row or 0]
    recased = tail(real_of(copied(rows, members, 18, lambda text: text.upper() + "!!"), members, holdout), limit=0.001)
    assert p_of(recased) < 1e-3
    changed = copied(rows, members, 45, lambda text: paraphrase(text, random.Random(text)))
    assert p_of(tail(real_of(changed, members, holdout), limit=0.001)) < 1e-3


def test_a_copy_of_any_member_is_found_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.auditors.privacy.real.MOST", 50)
    members, holdout, rows = made_up(600, "m"), made_up(600, "h"), made_up(300, "s")
    real = real_of(copied(rows, members[-20:], 20), members, holdout)
    assert real.sample.sizes == (50, 50) and real.pool.sizes == (600, 600)
    check = tail(real, limit=0)
    assert check.details["tails"]["word for word"]["nearest to a member"] == 20 and p_of(check) < 1e-4
    assert "compared in wording alone" in check.method
    assert {one.details["member_row"] for one in check.evidence[:20]} == set(range(580, 600))


def test_copies_of_the_holdout_are_none_of_members() -> None:
    members, holdout, rows = made_up(400, "m"), made_up(400, "h"), made_up(400, "s")
    check = tail(real_of(copied(rows, holdout, 40), members, holdout), limit=0)
    assert p_of(check) == 1 and check.value is not None and check.value <= 0


def test_one_member_over_and_over_does_not_look_like_many_copies() -> None:
    members, holdout, rows = made_up(400, "m"), made_up(400, "h"), made_up(800, "s")
    check = tail(real_of([members[0]] * 200 + rows[200:], members, holdout), limit=0)
    assert p_of(check) > 0.05
    conclusion = conclude([check])[0]
    assert conclusion.verdict != "FAIL" and check.details["tails"]["word for word"]["how many"] == 200


def test_sizes_that_differ_are_no_evidence() -> None:
    members, holdout, rows = made_up(900, "m"), made_up(300, "h"), made_up(600, "s")
    check = tail(real_of(rows, members, holdout), limit=0)
    assert check.details["expected_share"] == 0.75
    assert p_of(check) > 0.05


def test_nothing_depends_on_which_side_comes_first() -> None:
    """Rows that stand in both come from either, and the order of the files tells nothing."""
    shared = made_up(150, "both")
    members, holdout = shared + made_up(150, "m"), shared + made_up(150, "h")
    found = tail(real_of(shared, members, holdout), limit=0)
    one = found.details["tails"]["word for word"]
    assert one["how many"] == 150 and 50 < one["nearest to a member"] < 100


def null_trials(trials: int) -> tuple[list[float], list[bool], list[bool], list[float]]:
    """Real against real: p of the tail test without any allowance, whether its interval and that of the attack hold
    the truth, and p of the attack."""
    pool = made_up(4000, "null")
    tails, covered, recognised, attacks = [], [], [], []
    for trial in range(trials):
        order = seeds.generator(trial, "order").sample(range(len(pool)), 900)
        texts = [pool[k] for k in order]
        real = real_of(texts[:300], texts[300:600], texts[600:], trial)
        check = tail(real, limit=0)
        low, high = check.interval or (0, 0)
        tails.append(p_of(check))
        covered.append(low <= 0 <= high)
        attack = membership(real, np.random.default_rng(trial), limit=0, auc_limit=0.5)
        low, high = attack[0].interval or (0, 0)
        recognised.append(low <= 3 / 301 <= high)
        attacks.append(p_of(attack[1]))
    return tails, covered, recognised, attacks


def test_real_rows_against_real_rows_are_seldom_accused() -> None:
    trials = 60
    tails, covered, recognised, attacks = null_trials(trials)
    bound = stats.binom.ppf(0.999, trials, 0.05)
    assert sum(p <= 0.05 for p in tails) <= bound
    assert sum(p <= 0.05 for p in attacks) <= bound
    assert stats.binom.ppf(0.001, trials, 0.93) <= sum(covered)
    assert stats.binom.ppf(0.001, trials, 0.93) <= sum(recognised)


# membership inference


def test_members_are_recognised_by_their_copies() -> None:
    members, holdout, rows = made_up(1000, "m"), made_up(1000, "h"), made_up(1500, "s")
    rates, area = membership(real_of(rows, members, holdout), np.random.default_rng(0), limit=0.02, auc_limit=0.53)
    assert p_of(rates) > 0.05 and p_of(area) > 0.05
    leaking = real_of(copied(rows, members, 300), members, holdout)
    rates, area = membership(leaking, np.random.default_rng(0), limit=0.02, auc_limit=0.53)
    assert p_of(rates) < 1e-12 and p_of(area) < 1e-6
    assert rates.value == pytest.approx(0.3, abs=0.02)
    assert area.value == pytest.approx(0.65, abs=0.03)
    assert len(rates.evidence) == 20
    assert all(one.text == one.details["member"] for one in rates.evidence)
    curve = rates.details["plots"][0]["series"]["attack"]["y"]
    assert curve == sorted(curve) and curve[0] > 0.25


# rare words and combinations


def with_secrets(texts: list[str], side: str, count: int) -> list[str]:
    return [f"{text} Call {100_000_000 + 7919 * k + len(side)}." for k, text in enumerate(texts[:count])] + texts[
        count:
    ]


def test_rare_numbers_and_names_of_members_come_back() -> None:
    members = with_secrets(made_up(500, "m"), "members", 200)
    holdout = with_secrets(made_up(500, "h"), "held", 200)
    sides = data(members), data(holdout)
    rows = made_up(600, "s")
    quiet = rare(real_of(rows, members, holdout), sides, rows=3, limit=0.01)
    assert [check.subject for check in quiet] == ["words and numbers"] and p_of(quiet[0]) > 0.05
    numbers = [f"Ask for {text.rpartition('Call ')[2]}" for text in members[:60]]
    rows = numbers + rows[60:]
    (check,) = rare(real_of(rows, members, holdout), sides, rows=3, limit=0.01)
    assert check.value == pytest.approx(60 / 500, abs=0.01) and p_of(check) < 1e-9
    assert sum(str(one.details["rare"]).startswith("100") for one in check.evidence) >= 18
    named = made_up(40, "names")
    people = [f"{text} Signed Zebulon{chr(97 + k % 26)}x Quarry{chr(97 + k // 26)}{k}" for k, text in enumerate(named)]
    leaked = [f"Zebulon{chr(97 + k % 26)}x was here, said Quarry{chr(97 + k // 26)}{k}" for k in range(40)]
    members[200:240] = people
    (check,) = rare(real_of(leaked + rows[60:], members, holdout), sides, rows=3, limit=0.01)
    assert check.details["members_exposed"] >= 40 and check.details["holdout_exposed"] < 10


def test_rare_combinations_of_columns() -> None:
    draw = random.Random(3)

    def people(count: int, name: str) -> dict[str, list[Any]]:
        return {
            "town": [draw.choice(["north", "south", "east", "west"]) for _ in range(count)],
            "age": [draw.randrange(18, 90) for _ in range(count)],
            "job": [draw.choice([f"job {k}" for k in range(30)]) for _ in range(count)],
            "note": [draw.random() for _ in range(count)],
        }

    members = data(made_up(600, "m"), **people(600, "m"))
    holdout = data(made_up(600, "h"), **people(600, "h"))
    fresh = people(500, "s")
    rows = made_up(500, "s")

    def check_of(columns: dict[str, list[Any]]) -> Check:
        dataset = data(rows, **columns)
        real = open_real(dataset, members, holdout, AuditContext())
        return rare(real, (members, holdout), rows=2, limit=0.01)[1]

    quiet = check_of(fresh)
    assert quiet.subject == "columns town, age, job" and p_of(quiet) > 0.05
    taken = {name: members.values(name)[:150] + fresh[name][150:] for name in fresh}
    leak = check_of(taken)
    assert p_of(leak) < 1e-9 and leak.value is not None and leak.value > 0.15
    first = leak.evidence[0]
    assert first.row is not None and f"town={taken['town'][first.row]}" in first.details["rare"]


# the area


def run(dataset: Data, reference: Data | None, context: AuditContext | None = None, **options: Any) -> list[Check]:
    return asyncio.run(privacy(dataset, reference, context or AuditContext(), **options))


def by_name(checks: Sequence[Check]) -> dict[str, Check]:
    return {f"{check.name} {check.subject}".strip(): check for check in checks}


def test_without_real_rows_it_says_what_to_give() -> None:
    found = by_name(run(data(made_up(50, "s")), None))
    for name in (*UNMEASURED, "privacy.substring"):
        assert found[name].verdict == "INCONCLUSIVE" and found[name].value is None
        assert "--reference FILE" in found[name].advice, name
    assert found["privacy.pii"].verdict == "PASS"
    found = by_name(run(data(made_up(50, "s")), data(made_up(200, "m"))))
    for name in UNMEASURED:
        assert found[name].verdict == "INCONCLUSIVE" and "--holdout FILE" in found[name].advice


@pytest.mark.parametrize(
    ("members", "holdout", "told"),
    [
        (made_up(40, "m"), made_up(300, "h"), "too few"),
        (made_up(300, "m"), made_up(300, "m"), "not held out"),
    ],
)
def test_what_cannot_be_compared(members: list[str], holdout: list[str], told: str) -> None:
    context = AuditContext(holdout=data(holdout, "held"))
    found = by_name(run(data(made_up(50, "s")), data(members), context))
    for name in UNMEASURED:
        assert found[name].verdict == "INCONCLUSIVE" and told in found[name].sentence and found[name].advice


def test_private_sources_are_the_members_and_are_not_quoted() -> None:
    members, holdout = made_up(300, "m", words=30), made_up(300, "h", words=30)
    private = data(members, "private")
    context = AuditContext(private=private, holdout=data(holdout))
    rows = [f"{text} And so on." for text in members[:40]] + made_up(100, "s", words=30)
    found = by_name(run(data(rows), None, context))
    assert found["privacy.tail"].test is not None and p_of(found["privacy.tail"]) < 1e-4
    assert found["privacy.verbatim"].verdict == "FAIL"
    assert found["privacy.tail"].evidence and all("member" not in one.details for one in found["privacy.tail"].evidence)


@pytest.mark.parametrize(
    "rows",
    [
        ["one row"],
        ["all rows equal"] * 120,
        [""] * 120,
        ["", "  ", "?!", "日本語のテキストです。", "👍" * 50, "a" * 20_000] * 20,
        ["word " * 400_000, "short"],
    ],
    ids=["one", "equal", "empty", "odd", "long"],
)
def test_odd_rows_are_no_exception(rows: list[str]) -> None:
    context = AuditContext(holdout=data(["", *made_up(149, "h")]))
    found = conclude(run(data(rows), data(["", *made_up(149, "m")]), context))
    assert {check.area for check in found} == {"privacy"}
    assert all(check.sentence and check.verdict != "FAIL" for check in found)
    json.dumps([check.as_json() for check in found], allow_nan=False)


def test_the_same_again_byte_for_byte_and_all_is_told() -> None:
    members, holdout, rows = made_up(300, "m"), made_up(300, "h"), made_up(300, "s")
    found = []
    for _ in range(2):
        context = AuditContext(seed=5, holdout=data(holdout))
        checks = conclude(run(data(copied(rows, members, 30)), data(members), context))
        found.append(json.dumps([check.as_json() for check in checks], allow_nan=False))
    assert found[0] == found[1]
    names = [check.name for check in checks]
    assert {"privacy.tail", "privacy.membership", "privacy.rare", "privacy.substring", "privacy.pii"} <= set(names)
    assert by_name(checks)["privacy.tail"].verdict == "FAIL"
    for check in checks:
        assert check.gate and check.method and check.sentence, check.name


def test_a_recipe_gives_its_options() -> None:
    given = {"max_pii_rows": 3, "pii_kinds": ["email"], "max_copied": 0.01, "canaries": "c.json", "holdout": "h.jsonl"}
    found = registry.options("auditor", "privacy", given)
    assert found.items() >= given.items() and found["max_auc"] == 0.53
    with pytest.raises(ValueError, match="max_pii_rows"):
        registry.options("auditor", "privacy", {"max_pii_rows": "none"})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_copied": 1.5}, "max_copied"),
        ({"max_recognised": -0.1}, "max_recognised"),
        ({"max_auc": 0.4}, "below chance"),
        ({"rare_rows": 0}, "rare_rows"),
        ({"max_canaries": -1}, "max_canaries"),
        ({"canaries": "nowhere.json"}, "nowhere.json"),
    ],
)
def test_bad_options(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run(data(["a", "b"]), None, **options)
