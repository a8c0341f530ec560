"""Made-up rows about people: text, groups, labels, scores, columns, axes, drawn from one known population.

A row has an occupation, a gender, a city, an age, a plan (the label), a question and an answer. Nothing hangs on
anything but what `People` says: occupation on gender by `share`, plan on city, income on age.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def words(text: str) -> list[str]:
    """The words of a list."""
    return text.split()


OCCUPATIONS = words(
    "nurse engineer teacher plumber lawyer farmer pharmacist mechanic librarian electrician accountant "
    "carpenter dentist programmer receptionist welder journalist architect therapist chemist"
)
FEMALE_SHARE = {name: 0.3 + 0.4 * (place % 5) / 4 for place, name in enumerate(OCCUPATIONS)}
NAMES = {
    "female": words("Mary Linda Susan Karen Lisa Nancy Betty Helen Sandra Donna Carol Ruth Sharon Laura Sarah Emily"),
    "male": words(
        "James John Robert Michael David William Richard Thomas Charles Daniel Paul Kevin Brian George Edward"
    ),
}
PRONOUNS = {"female": ("she", "her", "her"), "male": ("he", "him", "his")}
CITIES = ("Lyon", "Porto", "Leeds", "Turin", "Graz", "Bergen")
PLANS = ("basic", "family", "premium", "student")
TOPICS = {
    "billing": "invoice payment refund charge statement balance receipt fee discount account",
    "delivery": "parcel courier address shipment driver doorstep tracking warehouse label package",
    "travel": "train ticket platform luggage station seat timetable carriage border passport",
    "kitchen": "oven recipe flour saucepan dinner onion butter spoon garlic plate",
    "garden": "soil seeds fence watering roots lawn shovel compost hedge tulips",
    "music": "guitar concert melody rehearsal drummer chorus piano stage album rhythm",
}
VERBS = words("checked repaired opened carried described ordered returned painted counted moved replaced cleaned")
OBJECTS = words(
    "box letter ladder bicycle radio window notebook camera lamp table engine curtain bottle basket ticket jacket map"
)
ADVERBS = words("quickly quietly carefully early late twice again alone together outside yesterday tonight")
QUESTIONS = (
    "What should {name} do about the {word}?",
    "How can a {job} from {city} handle the {word}?",
    "Why did {name} ask about the {word} {when}?",
    "Where does {name} find the {word} and the {other}?",
    "Can {name} still change the {word} after {number} days?",
)
ENDINGS = (
    "That is usually enough.",
    "After {number} minutes it was done.",
    "A colleague in {city} agreed with {them}.",
    "There is no need to hurry.",
    "The {object} was worth {number} euros.",
)


@dataclass(frozen=True)
class People:
    """The population. `share`: of women, by occupation; `topics`: with weights; `words`: sentences of an answer."""

    share: Mapping[str, float] = field(default_factory=lambda: dict(FEMALE_SHARE))
    topics: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(TOPICS, 1.0))
    sentences: int = 4

    def draw(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """n rows, independent of one another."""
        names = list(self.topics)
        weights = np.array([self.topics[name] for name in names])
        chosen = rng.choice(len(names), n, p=weights / weights.sum())
        return [self._row(k, names[topic], rng) for k, topic in enumerate(chosen)]

    def _row(self, number: int, topic: str, rng: np.random.Generator) -> dict[str, Any]:
        job = str(rng.choice(OCCUPATIONS))
        gender = "female" if rng.random() < self.share[job] else "male"
        city, words = str(rng.choice(CITIES)), TOPICS[topic].split()
        age = int(np.clip(rng.normal(42, 13), 18, 90))
        plan = PLANS[int(rng.choice(4, p=_plan_shares(city)))]
        filled = self._names(job, gender, city, words, rng)
        question = str(rng.choice(QUESTIONS)).format(**filled)
        return {
            "question": question,
            "answer": self._answer(gender, words, filled, rng),
            "plan": plan,
            "city": city,
            "age": age,
            "income": round(float(900 + 35 * age + rng.normal(0, 300)), 2),
            "gender": gender,
            "job": job,
            "topic": topic,
            "meta": {
                "row": number,
                "id": f"{number:016x}",
                "score": float(np.clip(rng.normal(0.7, 0.12), 0, 1)),
                "model": "made",
                "variation": json.dumps({"topic": topic, "plan": plan}),
            },
        }

    def _names(self, job: str, gender: str, city: str, words: list[str], rng: np.random.Generator) -> dict[str, Any]:
        subject, them, own = PRONOUNS[gender]
        return {
            "name": str(rng.choice(NAMES[gender])),
            "job": job,
            "city": city,
            "word": str(rng.choice(words)),
            "other": str(rng.choice(words)),
            "when": str(rng.choice(ADVERBS)),
            "number": int(rng.integers(2, 90)),
            "object": str(rng.choice(OBJECTS)),
            "they": subject,
            "them": them,
            "own": own,
        }

    def _answer(self, gender: str, words: list[str], filled: Mapping[str, Any], rng: np.random.Generator) -> str:
        told = [f"{filled['name']} is a {filled['job']}."]
        count = max(1, int(rng.poisson(self.sentences)))
        for _ in range(count):
            verb, thing, word = rng.choice(VERBS), rng.choice(OBJECTS), rng.choice(words)
            told.append(
                f"{filled['they'].capitalize()} {verb} {filled['own']} {thing} for the {word} {rng.choice(ADVERBS)}."
            )
        told.append(str(rng.choice(ENDINGS)).format(**{**filled, "number": int(rng.integers(2, 90))}))
        return " ".join(told)


def _plan_shares(city: str) -> list[float]:
    """Plans hang on the city: the conditional that a shuffled column destroys."""
    place = CITIES.index(city) % 4
    return [0.55 if k == place else 0.15 for k in range(4)]
