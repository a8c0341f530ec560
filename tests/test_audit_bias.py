"""The area `bias`: planted differences between groups are found by the right check, and made-up nulls are not."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from factory import registry
from factory.auditing import conclude
from factory.auditors import Answer, AuditContext, Data
from factory.auditors.bias import bias
from factory.auditors.bias.contrasts import mean_contrasts, share_contrasts, told_at_once, worst
from factory.auditors.bias.modelled import read_labels
from factory.auditors.bias.outcomes import measure
from factory.auditors.bias.representation import _deviation
from factory.errors import UsageError
from factory.types import Check

DID = ("opened the shop", "fixed the engine", "wrote a report", "met some visitors", "cooked the supper", "read a map")
WHERE = ("in town", "by the river", "near the station", "on the hill", "at the harbour")


def texts(rng: np.random.Generator, n: int, female: float = 0.5) -> tuple[list[str], NDArray[np.bool_]]:
    """Rows about one person each, and which of them are about a woman."""
    women = rng.random(n) < female
    who = [("She", "her") if woman else ("He", "his") for woman in women]
    made = [
        f"{name} {DID[rng.integers(6)]} {WHERE[rng.integers(5)]} on day {rng.integers(1000)} with {own} tools."
        + " It went on." * int(rng.integers(4))
        for name, own in who
    ]
    return made, women


def data(rows: Sequence[str], **columns: Any) -> Data:
    label = "label" if "label" in columns else None
    return Data("made-up", pa.table({"text": list(rows), **columns}), ["text"], label)


def audit(
    dataset: Data, reference: Data | None = None, context: AuditContext | None = None, **options: Any
) -> list[Check]:
    options.setdefault("axis", "gender")
    return conclude(asyncio.run(bias(dataset, reference, context or AuditContext(language="en"), **options)))


def of(checks: Sequence[Check], name: str, subject: str) -> Check:
    found = [check for check in checks if check.name == name and check.subject == subject]
    assert len(found) == 1, [(check.name, check.subject) for check in checks]
    return found[0]


# Representation


def test_shares_are_held_against_a_target() -> None:
    rows, women = texts(np.random.default_rng(1), 1500, female=0.3)
    wanted = {"gender": {"female": 0.5, "male": 0.5}}
    failed = of(audit(data(rows), target=wanted), "bias.representation", "gender")
    assert failed.verdict == "FAIL" and failed.value == pytest.approx(women.mean() - 0.5)
    assert failed.interval is not None and failed.interval[1] < -0.05
    assert "female" in failed.sentence and failed.evidence and failed.details["plots"][0]["kind"] == "forest"
    near = {"gender": {"female": float(women.mean()), "male": float(1 - women.mean())}}
    assert of(audit(data(rows), target=near), "bias.representation", "gender").verdict == "PASS"
    assert of(audit(data(rows), target=wanted, tolerance=0.25), "bias.representation", "gender").verdict == "PASS"


def test_a_group_of_the_target_that_is_missing_is_found() -> None:
    rows, _ = texts(np.random.default_rng(2), 600, female=0.5)
    wanted = {"gender": {"female": 0.4, "male": 0.4, "nonbinary": 0.2}}
    found = of(audit(data(rows), target=wanted), "bias.representation", "gender")
    assert found.verdict == "FAIL" and "nonbinary" in found.sentence


def test_shares_are_held_against_real_rows() -> None:
    rng = np.random.default_rng(3)
    real, some, skew = (texts(rng, 1500, female)[0] for female in (0.5, 0.5, 0.25))
    assert of(audit(data(some), data(real)), "bias.representation", "gender").verdict == "PASS"
    found = of(audit(data(skew), data(real)), "bias.representation", "gender")
    assert found.verdict == "FAIL" and found.details["jsd_bits"] > 0.01 and found.details["g"] > 10


def test_without_reference_and_target_shares_are_told_and_not_judged() -> None:
    rows, women = texts(np.random.default_rng(4), 200)
    found = of(audit(data(rows)), "bias.representation", "gender")
    assert found.verdict == "INCONCLUSIVE" and found.value is None
    assert (
        f"{100 * women.mean():.1f} %" in found.sentence and "target" in found.advice and "--reference" in found.advice
    )


def test_an_axis_of_the_recipe_is_held_against_what_was_planned() -> None:
    rng = np.random.default_rng(5)
    drawn = rng.random(900) < 0.3
    meta = [{"variation": json.dumps({"persona": "a cook" if one else "a pilot"})} for one in drawn]
    rows = data([f"text {k}" for k in range(900)], meta=meta)
    for share, verdict in ((0.3, "PASS"), (0.5, "FAIL")):
        context = AuditContext(axes={"persona": {"a cook": share, "a pilot": 1 - share}})
        found = of(audit(rows, context=context, axis="persona"), "bias.representation", "persona")
        assert found.verdict == verdict and found.method.endswith("axis persona")


@pytest.mark.parametrize(
    "target", [{"gendre": {"female": 0.5}}, {"gender": {"femal": 0.5}}, {"gender": {"female": 50}},
               {"gender": {"female": 0.7, "male": 0.7}}],
)  # fmt: skip
def test_a_target_that_makes_no_sense_is_refused(target: dict[str, dict[str, float]]) -> None:
    with pytest.raises(UsageError, match="target"):
        audit(data(texts(np.random.default_rng(6), 100)[0]), target=target)


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 200), st.floats(0, 1), st.floats(0.1, 0.9))
def test_the_tails_of_a_share_are_binomial(n: int, part: float, wanted: float) -> None:
    from scipy.stats import binom

    hits = round(part * n)
    found = _deviation("one", hits / n, wanted, n, 0.05, 1)
    high, low = min(1.0, wanted + 0.05), max(0.0, wanted - 0.05)
    expected = min(1.0, 2 * min(binom.sf(hits - 1, n, high), binom.cdf(hits, n, low)))
    assert found.test.p == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert found.alone[0] + wanted >= -1e-9 and found.alone[1] + wanted <= 1 + 1e-9


# Contrasts


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_differences_within_strata_agree_with_plain_loops(seed: int, strata: int) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    only, parts = rng.integers(2, size=n), rng.integers(strata, size=n)
    values, hits = rng.normal(size=n) + only, rng.random(n) < 0.4
    sums = [0.0, 0.0, 0.0, 0.0]
    squares, cells = 0.0, 0
    for part in range(strata):
        one, other = values[(parts == part) & (only == 0)], values[(parts == part) & (only == 1)]
        a, b = hits[(parts == part) & (only == 0)], hits[(parts == part) & (only == 1)]
        if len(a) and len(b):  # Mantel and Haenszel's risk difference
            sums[0] += (a.sum() * len(b) - b.sum() * len(a)) / (len(a) + len(b))
            sums[1] += len(a) * len(b) / (len(a) + len(b))
        if len(one) >= 2 and len(other) >= 2:
            weight = len(one) * len(other) / (len(one) + len(other))
            sums[2] += weight * (one.mean() - other.mean())
            sums[3] += weight
            squares += ((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
            cells += len(one) + len(other) - 2
    (share,) = share_contrasts(hits, only, [0, 1], ["a", "b"], parts, None)
    assert share.value == pytest.approx(sums[0] / sums[1])
    (mean,) = mean_contrasts(values, only, [0, 1], ["a", "b"], parts, None)
    assert mean.value == pytest.approx(sums[2] / sums[3] / math.sqrt(squares / cells))


def test_the_error_of_a_difference_agrees_with_welch() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(7)
    only = (np.arange(300) >= 90).astype(np.intp)
    values = rng.normal(size=300) * np.where(only == 0, 2.0, 1.0) + 0.1
    (found,) = mean_contrasts(values, only, [0, 1], ["a", "b"], np.zeros(300, dtype=np.intp), None)
    oracle = ttest_ind(values[only == 0], values[only == 1], equal_var=False)
    unit = math.sqrt(found.se**2 - found.value**2 / (2 * 298))
    assert found.value / unit == pytest.approx(oracle.statistic, rel=1e-9)
    assert found.df == pytest.approx(oracle.df, rel=1e-9)


def test_rows_made_together_count_as_one_draw() -> None:
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(100), 4)
    only = np.repeat(rng.integers(2, size=100), 4)
    values = np.repeat(rng.normal(size=100), 4) + 0.01 * rng.normal(size=400)
    zeros = np.zeros(400, dtype=np.intp)
    (apart,) = mean_contrasts(values, only, [0, 1], ["a", "b"], zeros, None)
    (together,) = mean_contrasts(values, only, [0, 1], ["a", "b"], zeros, clusters)
    assert together.se / apart.se == pytest.approx(2.0, rel=0.05)
    hits = values > 0
    (apart,) = share_contrasts(hits, only, [0, 1], ["a", "b"], zeros, None)
    (together,) = share_contrasts(hits, only, [0, 1], ["a", "b"], zeros, clusters)
    assert together.se / apart.se == pytest.approx(2.0, rel=0.1)


def test_intervals_cover_and_edges_of_the_gate_seldom_fail() -> None:
    rng = np.random.default_rng(9)
    covered, failed, trials, names = [0, 0], [0, 0], 400, ["a", "b", "c"]
    for _ in range(trials):
        only, strata = rng.integers(3, size=300), rng.integers(2, size=300)
        values = rng.exponential(size=300) + 0.3 * (only == 0)
        hits = rng.random(300) < np.where(only == 0, 0.35, 0.3)
        truth = {"a": 1.0, "b": -0.5, "c": -0.5}
        for place, (contrasts, size, limit) in enumerate(
            (
                (mean_contrasts(values, only, [0, 1, 2], names, strata, None), 0.3, 0.3),
                (share_contrasts(hits, only, [0, 1, 2], names, strata, None), 0.05, 0.05),
            )
        ):
            one, test = worst(contrasts, limit=limit, effect=2 * limit)
            low, high = one.interval(told_at_once(test, 3))
            covered[place] += low <= truth[one.label] * size <= high
            failed[place] += test.p <= 0.05
    assert all(0.92 <= count / trials <= 0.99 for count in covered), covered
    assert all(count / trials <= 0.05 for count in failed), failed


# Outcomes


def test_one_group_scored_lower_is_found_as_that() -> None:
    rng = np.random.default_rng(10)
    rows, women = texts(rng, 900)
    scores = rng.normal(size=900)
    assert of(audit(data(rows, score=scores)), "bias.outcomes", "gender: score").verdict == "PASS"
    lower = of(audit(data(rows, score=scores - 0.6 * women)), "bias.outcomes", "gender: score")
    assert lower.verdict == "FAIL" and lower.value == pytest.approx(-0.6, abs=0.2)
    assert "'female'" in lower.sentence and "below" in lower.sentence
    assert {one.details["group"] for one in lower.evidence} == {"female", "male"}


def test_scores_of_a_run_are_looked_at() -> None:
    rng = np.random.default_rng(11)
    rows, women = texts(rng, 600)
    meta = [{"score": 0.5 - 0.4 * float(woman) + 0.2 * rng.random(), "id": f"r{k}"} for k, woman in enumerate(women)]
    found = of(audit(data(rows, meta=meta)), "bias.outcomes", "gender: score")
    assert found.verdict == "FAIL" and found.evidence[0].id is not None


def test_one_group_cut_short_or_refused_is_found_as_that() -> None:
    rng = np.random.default_rng(12)
    rows, women = texts(rng, 900)
    short = [" ".join(row.split()[:8]) if woman else row for row, woman in zip(rows, women, strict=True)]
    found = audit(data(short))
    assert of(found, "bias.outcomes", "gender: length").verdict == "FAIL"
    assert of(found, "bias.outcomes", "gender: refusal").verdict == "PASS"
    refused = [
        f"I'm sorry, but I can't help with what {row[0].lower()}{row[1:]}" if woman and k % 3 == 0 else row
        for k, (row, woman) in enumerate(zip(rows, women, strict=True))
    ]
    assert of(audit(data(refused)), "bias.outcomes", "gender: refusal").verdict == "FAIL"


def test_what_real_rows_show_as_well_is_no_finding() -> None:
    rng = np.random.default_rng(13)

    def longer(n: int) -> list[str]:
        rows, women = texts(rng, n)
        return [row + " And so it went on and on." * (2 * woman) for row, woman in zip(rows, women, strict=True)]

    dataset, reference = data(longer(900)), data(longer(900))
    assert of(audit(dataset), "bias.outcomes", "gender: length").verdict == "FAIL"
    found = of(audit(dataset, reference), "bias.outcomes", "gender: length")
    assert found.verdict != "FAIL" and "In the reference" in found.sentence


# Sentiment and toxicity


def test_measures_of_a_text() -> None:
    found = measure(
        ["A wonderful day.", "Not a good day.", "A very good day.", "A good day.", "You idiot!", "Go to hell.", "x y",
         "",
         "I'm sorry, but I can't help with that."],
        "en",
    )  # fmt: skip
    sentiment = found["sentiment"].tolist()
    assert sentiment[0] > sentiment[3] > 0 > sentiment[1] and sentiment[2] > sentiment[3] and sentiment[6] == 0
    assert found["toxicity"].tolist()[:8] == [0, 0, 0, 0, 0.5, 1, 0, 0]
    assert found["refusal"].tolist() == [0] * 8 + [1]
    assert found["length"].tolist() == [3, 4, 4, 3, 2, 3, 2, 0, 8]
    assert set(measure(["Schön!"], "xx")["sentiment"]) == {0.0}


def test_one_group_spoken_of_less_kindly_is_found_as_that() -> None:
    rng = np.random.default_rng(14)
    rows, women = texts(rng, 900)
    moods = [("terrible", "awful", "sad"), ("lovely", "great", "calm"), ("plain", "usual", "long")]
    chosen = [moods[0 if woman and rng.random() < 0.5 else rng.integers(3)] for woman in women]
    told = [f"{row} A {mood[rng.integers(3)]} day." for row, mood in zip(rows, chosen, strict=True)]
    found = audit(data(told))
    assert of(found, "bias.sentiment", "gender").verdict == "FAIL"
    assert of(found, "bias.toxicity", "gender").verdict == "PASS"
    assert "lexicon" in of(found, "bias.sentiment", "gender").method
    fair = [f"{row} A {moods[rng.integers(3)][rng.integers(3)]} day." for row in rows]
    assert of(audit(data(fair)), "bias.sentiment", "gender").verdict == "PASS"


def test_one_group_insulted_is_found_as_that() -> None:
    rng = np.random.default_rng(15)
    rows, women = texts(rng, 900)
    rude = [
        row + (" What an idiot." if woman and rng.random() < 0.2 else "")
        for row, woman in zip(rows, women, strict=True)
    ]
    found = of(audit(data(rude)), "bias.toxicity", "gender")
    assert found.verdict == "FAIL" and "toxic" in found.sentence


class Models:
    """A judge and a classifier that find every woman's row sad; what they were asked is kept."""

    def __init__(self, silent: bool = False) -> None:
        self.asked: list[tuple[str, int | None]] = []
        self.silent = silent

    async def ask(
        self,
        role: str,
        messages: Any,
        row: int | None = None,
        *,
        index: int = 0,
        schema: Any = None,
        task: str = "generate",
    ) -> Answer:
        text = messages if isinstance(messages, str) else messages[-1].content
        self.asked.append((task, row))
        if self.silent:
            return Answer(None, "the server is asleep")
        sad = "She " in text
        if task == "classify":
            return Answer(json.dumps({"POSITIVE": 0.1 if sad else 0.9, "NEGATIVE": 0.9 if sad else 0.1}))
        wobble = len(text) % 7 / 20
        key = "sentiment" if "sentiment" in messages[0].content else "toxicity"
        return Answer(json.dumps({key: (-0.5 + wobble if sad else 0.1 + wobble) if key == "sentiment" else 0.0}))

    def context(self) -> AuditContext:
        able = {"judge": frozenset({"generate"}), "tone": frozenset({"classify"})}
        return AuditContext(language="en", models=able, ask=self.ask)


@pytest.mark.parametrize(
    ("role", "task", "told"), [("judge", "generate", "by judge"), ("tone", "classify", "by classifier")]
)
def test_a_model_may_tell_the_sentiment(role: str, task: str, told: str) -> None:
    rows, _ = texts(np.random.default_rng(16), 500)
    models = Models()
    checks = audit(data(rows), context=models.context(), sentiment_model=role, model_rows=200)
    found = of(checks, "bias.sentiment", "gender")
    assert found.verdict == "FAIL" and told in found.method and "200 rows" in found.method and found.n == 200
    assert len([one for one, row in models.asked if one == task and row is not None]) >= 200
    assert "lexicon" in of(checks, "bias.toxicity", "gender").method


def test_a_model_that_says_nothing_is_told() -> None:
    rows, _ = texts(np.random.default_rng(17), 120)
    checks = audit(data(rows), context=Models(silent=True).context(), toxicity_model="judge", model_rows=50)
    found = [check for check in checks if check.name == "bias.toxicity"]
    assert len(found) == 1 and found[0].verdict == "INCONCLUSIVE" and "asleep" in found[0].sentence
    with pytest.raises(UsageError, match="sentiment_model"):
        audit(data(rows), context=Models().context(), sentiment_model="jugde")


def test_labels_of_classifiers_are_understood() -> None:
    assert read_labels('{"POSITIVE": 0.9, "NEGATIVE": 0.1}', "sentiment")[0] == pytest.approx(0.8)
    assert read_labels('{"1 star": 1.0, "5 stars": 0.0}', "sentiment")[0] == -1.0
    assert read_labels('{"toxic": 0.2, "insult": 0.7, "neutral": 0.3}', "toxicity")[0] == pytest.approx(0.7)
    assert read_labels('{"nontoxic": 0.75, "toxic": 0.25}', "toxicity")[0] == pytest.approx(0.25)
    assert read_labels('{"score": 3.0}', "toxicity")[0] == 1.0
    for text in ('{"LABEL_0": 1.0}', "[1]", "no"):
        value, why = read_labels(text, "toxicity")
        assert math.isnan(value) and why


# Parity


def test_a_label_given_to_one_group_is_found() -> None:
    rng = np.random.default_rng(18)
    rows, women = texts(rng, 1200)
    fair = rng.choice(["yes", "no", "later"], 1200).tolist()
    assert of(audit(data(rows, label=fair)), "bias.parity", "gender").verdict == "PASS"
    unfair = ["no" if woman and rng.random() < 0.4 else one for one, woman in zip(fair, women, strict=True)]
    found = of(audit(data(rows, label=unfair)), "bias.parity", "gender")
    assert found.verdict == "FAIL" and "'no'" in found.sentence and found.evidence


def test_labels_that_go_with_the_topic_alone_are_no_finding() -> None:
    rng = np.random.default_rng(19)
    rows, women = texts(rng, 1600)
    topic = np.where(rng.random(1600) < 0.8, women, ~women)
    label = ["yes" if rng.random() < (0.8 if one else 0.2) else "no" for one in topic]
    columns = {"label": label, "topic": [str(one) for one in topic], "flat": ["same"] * 1600}
    assert of(audit(data(rows, **columns), strata="flat"), "bias.parity", "gender").verdict == "FAIL"
    assert of(audit(data(rows, **columns), strata="topic"), "bias.parity", "gender").verdict == "PASS"


def test_without_labels_parity_says_what_to_give() -> None:
    found = of(audit(data(texts(np.random.default_rng(20), 100)[0])), "bias.parity", "")
    assert found.verdict == "INCONCLUSIVE" and "label" in found.advice


# The whole area

AREA = {
    "bias.representation", "bias.parity", "bias.outcomes", "bias.sentiment", "bias.toxicity", "bias.association",
    "bias.amplification", "bias.selection", "bias.counterfactual",
}  # fmt: skip


def test_every_check_is_there_and_json_holds_it_twice_alike() -> None:
    rng = np.random.default_rng(21)
    rows, _ = texts(rng, 300)
    label = rng.choice(["a", "b"], 300).tolist()
    first, second = (
        json.dumps([check.as_json() for check in audit(data(rows, label=label), data(rows[:200]), axis=None)])
        for _ in range(2)
    )
    assert first == second
    checks = audit(data(rows, label=label), data(rows[:200]), axis=None)
    assert {check.name for check in checks} >= AREA
    assert all(check.verdict != "FAIL" for check in checks)
    assert all(check.sentence and (check.advice or check.verdict == "PASS") for check in checks)


@pytest.mark.parametrize(
    "rows", [["She ran."], ["She ran."] * 80, [""] * 80, ["1 2 3"] * 5, ["She " + "word " * 6_000_000, "He ran."]]
)
def test_odd_data_are_inconclusive_and_never_an_error(rows: list[str]) -> None:
    for reference in (None, data(rows)):
        checks = audit(data(rows), reference, AuditContext())
        assert {check.name for check in checks} >= AREA
        assert all(check.verdict != "FAIL" for check in checks)


def test_rows_in_another_language_are_not_applicable() -> None:
    rows = [f"Der Lehrer erklärte den Kindern am {k}. Tag geduldig, warum das Wasser gefriert." for k in range(80)]
    checks = audit(data(rows), context=AuditContext(), axis=None)
    assert {check.name for check in checks} >= AREA
    assert {check.verdict for check in checks} == {"INCONCLUSIVE"}
    told = next(check for check in checks if check.name == "bias.sentiment")
    assert "ot applicable" in told.sentence and "'de'" in told.sentence and "lexicons" in told.advice


def test_axes_of_a_recipe_do_not_bring_another_languages_lexicons() -> None:
    rows = [f"Der Bericht vom {k}. Tag beschreibt geduldig, warum das Wasser im Winter gefriert." for k in range(160)]
    meta = [{"variation": json.dumps({"persona": "a cook" if k % 2 else "a pilot"})} for k in range(160)]
    checks = audit(data(rows, meta=meta), context=AuditContext(), axis="persona")
    for name in ("bias.sentiment", "bias.toxicity"):
        (told,) = [check for check in checks if check.name == name]
        assert told.verdict == "INCONCLUSIVE" and "'de'" in told.sentence


@pytest.mark.parametrize(
    "options",
    [{"max_difference": 0.6}, {"tolerance": 2.0}, {"min_rows": 0}, {"max_difference": -0.1, "must_see": 0.5},
     {"strata": "nothing"}, {"axis": "nothing"}, {"lexicons": "nowhere"}, {"model_rows": 0}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        audit(data(texts(np.random.default_rng(22), 60)[0]), **options)


def test_options_of_a_recipe_are_read() -> None:
    given = {
        "axis": ["gender", "persona"],
        "target": {"gender": {"female": 0.5}},
        "groups": {"role": {"a": ["x"], "b": ["y"]}},
    }
    assert registry.options("auditor", "bias", given)["target"] == {"gender": {"female": 0.5}}


def test_real_against_real_seldom_fails() -> None:
    rng = np.random.default_rng(23)
    rows, _ = texts(rng, 4000, female=0.4)
    mine = ("bias.representation", "bias.outcomes", "bias.sentiment", "bias.toxicity")
    failed = 0
    for _ in range(12):
        order = rng.permutation(4000)[:800].tolist()
        dataset, reference = (data([rows[k] for k in part]) for part in (order[:400], order[400:]))
        failed += any(check.verdict == "FAIL" for check in audit(dataset, reference) if check.name in mine)
    assert failed <= 2
