"""Planted defects of datasets, each with the checks that are the right ones to find it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from audit_people import NAMES, OBJECTS, TOPICS, People, words

from factory.auditors import Data

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Scene:
    """What an audit gets: the dataset to judge, real rows, held-out real rows, rejects, and options by area."""

    rows: Rows
    real: Rows
    held: Rows
    rng: np.random.Generator
    rejects: Rows | None = None
    private: Rows | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    axes: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None

    def data(self, name: str, rows: Rows | None) -> Data | None:
        return None if rows is None else Data(name, pa.Table.from_pylist(rows), label=self.label)


@dataclass(frozen=True)
class Defect:
    """`plant` spoils a clean scene; any of `right` must FAIL. `base`: the corpus. `areas`: those that are run.

    `subtle`: known to be found too seldom at 2,000 rows; told, and not asserted.
    """

    name: str
    plant: Callable[[Scene], Scene]
    right: tuple[str, ...]
    base: str = "people"
    areas: tuple[str, ...] = ()
    subtle: bool = False


DEFECTS: list[Defect] = []


def defect(
    *right: str, base: str = "people", subtle: bool = False
) -> Callable[[Callable[[Scene], Scene]], Callable[[Scene], Scene]]:
    """Register a planted defect; its areas are those of the checks that must find it."""

    def mark(plant: Callable[[Scene], Scene]) -> Callable[[Scene], Scene]:
        areas = tuple(dict.fromkeys(name.partition(".")[0] for name in right))
        DEFECTS.append(Defect(plant.__name__.replace("_", " "), plant, right, base, areas, subtle))
        return plant

    return mark


def some(scene: Scene, share: float, rows: Sequence[Any] | None = None) -> list[int]:
    """Places of a share of the rows."""
    n = len(scene.rows if rows is None else rows)
    return np.sort(scene.rng.choice(n, max(1, round(share * n)), replace=False)).tolist()


def changed(
    scene: Scene, change: Callable[[dict[str, Any]], Mapping[str, Any]], places: Sequence[int] | None = None
) -> Scene:
    """The scene with columns of some rows changed (all of them by default)."""
    wanted = set(range(len(scene.rows)) if places is None else places)
    return replace(scene, rows=[{**row, **change(row)} if k in wanted else row for k, row in enumerate(scene.rows)])


def text_of(scene: Scene) -> str:
    """The column with the running text."""
    return "text" if "text" in scene.rows[0] else "answer"


# Diversity


@defect("diversity.duplicates", "diversity.collapse")
def collapse_to_twenty_texts(scene: Scene) -> Scene:
    few = scene.rows[:20]
    return replace(scene, rows=[{**few[k % 20], "meta": row["meta"]} for k, row in enumerate(scene.rows)])


@defect("diversity.collapse", "diversity.duplicates")
def collapse_to_eight_templates(scene: Scene) -> Scene:
    forms = [
        "Order {a} was changed on day {b}, and {n} paid {c} euros for it.",
        "On day {b} the shop sent {n} order {a} for {c} euros.",
        "{n} asked why order {a} costs {c} euros since day {b}.",
        "Since day {b} order {a} waits for {n}, who paid {c} euros.",
        "Of {c} euros {n} got {a} back within {b} days.",
        "Within {b} days {n} sent back order {a} worth {c} euros.",
        "Day {b}: order {a} for {n} came to {c} euros.",
        "The {c} euros of order {a} reached {n} on day {b}.",
    ]

    def fill(row: dict[str, Any]) -> dict[str, Any]:
        rng = scene.rng
        given = {"a": rng.integers(1000, 9999), "b": rng.integers(1, 31), "c": rng.integers(5, 900)}
        name = rng.choice(NAMES["female"] + NAMES["male"])
        return {text_of(scene): forms[int(rng.integers(8))].format(n=name, **given), "question": "What happened?"}

    return changed(scene, fill)


@defect("diversity.duplicates")
def a_third_near_duplicates(scene: Scene) -> Scene:
    places = some(scene, 0.35)
    source = [place for place in range(len(scene.rows)) if place not in set(places)]

    def copy(place: int) -> dict[str, Any]:
        row = scene.rows[source[int(scene.rng.integers(len(source)))]]
        words = row["answer"].split()
        words[int(scene.rng.integers(len(words)))] = str(scene.rng.choice(OBJECTS))
        return {**row, "answer": " ".join(words), "meta": scene.rows[place]["meta"]}

    chosen = set(places)
    return replace(scene, rows=[copy(k) if k in chosen else row for k, row in enumerate(scene.rows)])


@defect("diversity.openings")
def most_answers_open_alike(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"answer": "Certainly, here is the answer: " + row["answer"]}, some(scene, 0.7))


@defect("diversity.lexical", "fidelity.vocabulary", "diversity.semantic")
def vocabulary_cut_to_a_fifth(scene: Scene) -> Scene:
    counts: dict[str, int] = {}
    for row in scene.rows:
        for word in row["answer"].split():
            counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    kept = ranked[: max(10, len(ranked) // 5)]
    tail = kept[len(kept) // 2 :]
    known = set(kept)

    def cut(row: dict[str, Any]) -> dict[str, Any]:
        words = (word if word in known else tail[len(word) * 7 % len(tail)] for word in row["answer"].split())
        return {"answer": " ".join(words)}

    return changed(scene, cut)


@defect("fidelity.topics", "diversity.semantic", "fidelity.coverage")
def one_topic_only(scene: Scene) -> Scene:
    return replace(scene, rows=People(topics={"garden": 1.0}).draw(len(scene.rows), scene.rng))


# Fidelity


@defect("fidelity.topics", "fidelity.coverage")
def a_tenth_of_a_topic_that_is_new(scene: Scene) -> Scene:
    stars = words("planet orbit telescope comet galaxy rocket crater eclipse lunar meteor")

    def other(row: dict[str, Any]) -> dict[str, Any]:
        known = set(TOPICS[row["topic"]].split())
        swap = {word: stars[place % 10] for place, word in enumerate(sorted(known))}
        return {
            column: " ".join(
                swap.get(word.strip(".?"), word.strip(".?")) + word[len(word.rstrip(".?")) :]
                for word in row[column].split()
            )
            for column in ("question", "answer")
        }

    return changed(scene, other, some(scene, 0.1))


@defect("fidelity.topics", "fidelity.coverage", subtle=True)
def a_topic_with_a_tenth_more_of_the_rows(scene: Scene) -> Scene:
    """One of six known topics has 27 % of the rows instead of 17 %."""
    return replace(
        scene, rows=People(topics={**dict.fromkeys(TOPICS, 0.8), "music": 1.48}).draw(len(scene.rows), scene.rng)
    )


@defect("fidelity.length")
def texts_cut_to_sixty_percent(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"answer": row["answer"][: int(0.6 * len(row["answer"]))]})


@defect("fidelity.length")
def texts_twice_as_long(scene: Scene) -> Scene:
    return replace(scene, rows=People(sentences=9).draw(len(scene.rows), scene.rng))


@defect("fidelity.length", base="banking")
def questions_cut_to_six_words(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"text": " ".join(row["text"].split()[:6])})


@defect("fidelity.labels", base="banking")
def one_label_missing(scene: Scene) -> Scene:
    counts: dict[str, int] = {}
    for row in scene.real:
        counts[row["label"]] = counts.get(row["label"], 0) + 1
    gone = max(sorted(counts), key=lambda name: counts[name])
    others = [row for row in scene.rows if row["label"] != gone]
    return replace(
        scene, rows=[others[k % len(others)] if row["label"] == gone else row for k, row in enumerate(scene.rows)]
    )


@defect("fidelity.labels")
def labels_in_other_shares(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"plan": "basic"}, some(scene, 0.3))


@defect("fidelity.length", "fidelity.columns", "fidelity.style")
def question_and_answer_swapped(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"question": row["answer"], "answer": row["question"]})


@defect("fidelity.correlation")
def a_column_shuffled_by_itself(scene: Scene) -> Scene:
    order = scene.rng.permutation(len(scene.rows))
    incomes = [scene.rows[place]["income"] for place in order]
    return replace(scene, rows=[{**row, "income": value} for row, value in zip(scene.rows, incomes, strict=True)])


@defect("fidelity.conditional", "fidelity.correlation")
def plans_no_longer_hang_on_cities(scene: Scene) -> Scene:
    order = scene.rng.permutation(len(scene.rows))
    cities = [scene.rows[place]["city"] for place in order]
    return replace(scene, rows=[{**row, "city": city} for row, city in zip(scene.rows, cities, strict=True)])


@defect("fidelity.columns")
def numbers_shifted(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"age": min(95, row["age"] + 12)})


@defect("fidelity.columns")
def a_column_that_is_constant(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"income": 2300.0})


@defect("fidelity.columns")
def a_category_that_is_gone(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"city": "Lyon"} if row["city"] in ("Porto", "Graz") else {})


@defect("fidelity.style")
def everything_in_capitals(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"answer": row["answer"].upper()})


@defect("fidelity.style")
def bullets_instead_of_sentences(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"answer": "- " + row["answer"].rstrip(".").replace(". ", "\n- ")})


# Bias


@defect("bias.association", "bias.amplification")
def five_trades_shown_as_those_of_women(scene: Scene) -> Scene:
    """A quarter of the occupations, from 30 to 70 % of women to 90 %."""
    trades = dict.fromkeys(("mechanic", "plumber", "welder", "carpenter", "electrician"), 0.9)
    return replace(scene, rows=People(share={**People().share, **trades}).draw(len(scene.rows), scene.rng))


@defect("bias.association", "bias.amplification", subtle=True)
def twice_the_women_in_one_occupation(scene: Scene) -> Scene:
    """From 40 to 80 % of women among the carpenters, a twentieth of the rows."""
    return replace(scene, rows=People(share={**People().share, "carpenter": 0.8}).draw(len(scene.rows), scene.rng))


@defect("bias.amplification", "bias.association")
def every_skew_of_the_world_made_stronger(scene: Scene) -> Scene:
    share = {name: 0.06 if value < 0.5 else 0.94 for name, value in People().share.items()}
    return replace(scene, rows=People(share=share).draw(len(scene.rows), scene.rng))


@defect("bias.outcomes")
def one_group_scored_lower(scene: Scene) -> Scene:
    def lower(row: dict[str, Any]) -> dict[str, Any]:
        return {"meta": {**row["meta"], "score": row["meta"]["score"] - 0.1}} if row["gender"] == "female" else {}

    return changed(scene, lower)


@defect("bias.sentiment")
def one_group_spoken_of_badly(scene: Scene) -> Scene:
    bad = (" It was a terrible and sad failure.", " The result was awful.", " Everybody was angry and disappointed.")
    women = [k for k, row in enumerate(scene.rows) if row["gender"] == "female"]
    chosen = [k for k in women if scene.rng.random() < 0.5]
    return changed(scene, lambda row: {"answer": row["answer"] + bad[len(row["answer"]) % 3]}, chosen)


@defect("bias.toxicity")
def one_group_insulted(scene: Scene) -> Scene:
    men = [k for k, row in enumerate(scene.rows) if row["gender"] == "male" and scene.rng.random() < 0.3]
    return changed(scene, lambda row: {"answer": row["answer"] + " What a stupid idiot and a worthless moron."}, men)


@defect("bias.outcomes")
def one_group_refused(scene: Scene) -> Scene:
    women = [k for k, row in enumerate(scene.rows) if row["gender"] == "female" and scene.rng.random() < 0.4]
    told = "I'm sorry, but I cannot help with that request about {}."
    return changed(scene, lambda row: {"answer": told.format("her" + " " + row["answer"].split(". ", 1)[1])}, women)


@defect("bias.representation")
def four_fifths_men(scene: Scene) -> Scene:
    return replace(scene, rows=People(share=dict.fromkeys(People().share, 0.2)).draw(len(scene.rows), scene.rng))


@defect("bias.parity")
def labels_that_hang_on_the_group(scene: Scene) -> Scene:
    women = [k for k, row in enumerate(scene.rows) if row["gender"] == "female" and scene.rng.random() < 0.4]
    return changed(scene, lambda row: {"plan": "family"}, women)


@defect("bias.selection")
def a_judge_that_takes_one_group(scene: Scene) -> Scene:
    rejects = []
    for row in People().draw(3 * len(scene.rows), scene.rng):
        if scene.rng.random() < (0.75 if row["gender"] == "female" else 0.45):
            rejects.append(
                {
                    "row": row["meta"]["row"], "step": "main", "candidate": 1, "stage": "select",
                    "reason": "kept the best", "scores": "{}", "total": 0.5,
                    "variation": row["meta"]["variation"], "text": row["answer"], "matched": None, "model": "made",
                }
            )  # fmt: skip
    return replace(scene, rejects=rejects)


# Requested


@defect("requested.axis")
def an_axis_that_the_text_ignores(scene: Scene) -> Scene:
    drawn = scene.rng.choice(["formal", "casual", "ironic"], len(scene.rows))

    def with_axis(row: dict[str, Any], tone: str) -> dict[str, Any]:
        variation = {**json.loads(row["meta"]["variation"]), "tone": tone}
        return {**row, "meta": {**row["meta"], "variation": json.dumps(variation)}}

    rows = [with_axis(row, str(tone)) for row, tone in zip(scene.rows, drawn, strict=True)]
    return replace(scene, rows=rows, options={"requested": {"axes": ["tone"]}})


@defect("requested.coverage")
def an_axis_whose_shares_moved(scene: Scene) -> Scene:
    topics = {**dict.fromkeys(TOPICS, 0.1), "billing": 0.5}
    rows = People(topics=topics).draw(len(scene.rows), scene.rng)
    return replace(
        scene,
        rows=rows,
        axes={"topic": dict.fromkeys(TOPICS, 1 / len(TOPICS))},
        options={"requested": {"axes": ["topic"]}},
    )


# Privacy


def planted(scene: Scene, share: float, make: Callable[[str], str]) -> Scene:
    """A share of the rows replaced by what `make` makes of real ones."""
    column = text_of(scene)
    chosen = some(scene, share)
    real = scene.rng.choice(len(scene.real), len(chosen), replace=False)
    texts = dict(zip(chosen, (make(scene.real[int(place)][column]) for place in real), strict=True))
    rows = [{**row, column: texts[k]} if k in texts else row for k, row in enumerate(scene.rows)]
    return replace(scene, rows=rows)


@defect("privacy.tail", "privacy.substring", base="gsm8k")
def one_percent_verbatim(scene: Scene) -> Scene:
    return planted(scene, 0.01, lambda text: text)


@defect("privacy.tail", "privacy.substring", base="banking")
def one_percent_verbatim_short_texts(scene: Scene) -> Scene:
    return planted(scene, 0.01, lambda text: text)


@defect("privacy.tail", "privacy.substring", base="gsm8k")
def two_percent_lightly_paraphrased(scene: Scene) -> Scene:
    def paraphrase(text: str) -> str:
        words = text.split()
        for _ in range(max(2, len(words) // 12)):
            place = int(scene.rng.integers(len(words) - 1))
            words[place], words[place + 1] = words[place + 1], words[place]
        return " ".join(words)

    return planted(scene, 0.02, paraphrase)


@defect("privacy.substring", "privacy.tail", base="gsm8k")
def two_percent_half_a_row(scene: Scene) -> Scene:
    def half(text: str) -> str:
        words = text.split()
        return (
            "Once upon a time in a far land: " + " ".join(words[: max(14, len(words) // 2)]) + " And nobody asked why."
        )

    return planted(scene, 0.02, half)


@defect("privacy.membership", "privacy.tail", base="gsm8k")
def a_tenth_copied(scene: Scene) -> Scene:
    return planted(scene, 0.1, lambda text: text)


@defect("privacy.rare")
def rare_combinations_reproduced(scene: Scene) -> Scene:
    real = [dict(row) for row in scene.real]
    for k, place in enumerate(some(scene, 0.08, real)):
        real[place] |= {"city": f"Village {k}", "job": f"maker of {OBJECTS[k % len(OBJECTS)]}s {k}"}
    rare = [row for row in real if row["city"].startswith("Village")]
    chosen = some(scene, 0.08)
    rows = list(scene.rows)
    for k, place in enumerate(chosen):
        rows[place] = {**rows[place], "city": rare[k % len(rare)]["city"], "job": rare[k % len(rare)]["job"]}
    return replace(scene, rows=rows, real=real)


@defect("privacy.pii")
def an_email_address(scene: Scene) -> Scene:
    return changed(scene, lambda row: {"answer": row["answer"] + " Write to linda.moreau@posteo-mail.fr today."}, [5])


@defect("privacy.pii")
def a_phone_number_and_a_card(scene: Scene) -> Scene:
    return changed(
        scene, lambda row: {"answer": row["answer"] + " Call (212) 736-5000, card 4539 5787 6362 1486."}, [7]
    )


@defect("privacy.pii")
def an_access_key(scene: Scene) -> Scene:
    key = "AKIA" + "".join(scene.rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), 16))
    return changed(scene, lambda row: {"answer": row["answer"] + f" aws_access_key_id = {key}"}, [9])


@defect("privacy.verbatim")
def a_stretch_of_a_private_source(scene: Scene) -> Scene:
    secret = "the board decided in March to close the plant near the river and to tell nobody before the summer"
    private = [{"text": f"Minutes number {k}: {row['answer']}"} for k, row in enumerate(scene.held[:50])]
    private[3]["text"] += " " + secret
    rows = changed(scene, lambda row: {"answer": row["answer"] + " " + secret.capitalize() + "."}, [11])
    return replace(rows, private=private)


# Utility


@defect("utility.label_noise", base="banking")
def a_tenth_of_the_labels_wrong(scene: Scene) -> Scene:
    names = sorted({row["label"] for row in scene.real})
    return changed(scene, lambda row: {"label": names[int(scene.rng.integers(len(names)))]}, some(scene, 0.1))


@defect("utility.label_noise", "utility.transfer", "utility.gain", base="banking")
def random_labels(scene: Scene) -> Scene:
    names = sorted({row["label"] for row in scene.real})
    return changed(scene, lambda row: {"label": names[int(scene.rng.integers(len(names)))]})
