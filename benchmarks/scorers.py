"""Candidates per second of the rule scorers on one core, each alone and all together, on texts of about 100 words.

    python benchmarks/scorers.py [--seconds 2] [--json FILE]

Rows of 4 candidates are scored and selected as in a run: the figures hold the framework's share. CPU time is measured,
not wall time, so that other work on the machine does not count. `rules_together` is the figure for every rule scorer
at once; verifiers are reported apart. Every text is new to the scorers' caches in each round, as in a run. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.prompts import render_text
from factory.registry import BUILT_IN
from factory.scorers import Context
from factory.scorers.length import count_words
from factory.scoring import compile_scorers, score, select
from factory.types import Candidate, Message, Prompt, Variation

SENTENCES = """
I bought this kettle three weeks ago, and it already feels like a part of the kitchen.
The handle stays cool even after the water has been boiling for a minute or two.
My only complaint is the lid, which needs both hands to open when it's wet.
Delivery took four days longer than promised, although the parcel arrived undamaged.
Compared with our previous model, this one is noticeably quieter and uses less electricity.
When I called customer service about the missing filter, a friendly woman sent one the same afternoon.
The brushed steel finish doesn't show fingerprints, unlike the glossy plastic of cheaper brands.
It switches itself off reliably, so I no longer worry about forgetting it in the morning.
Filling it through the spout works fine, but the water gauge is hard to read from above.
For a household of five, a capacity of 1.7 litres is just about enough.
The instructions were printed in such small letters that my father couldn't read them.
After cleaning it with vinegar twice, the limescale at the bottom disappeared completely.
I would have liked a longer cord, because our socket is behind the toaster.
Guests keep asking where they can get one, which says a lot about the design.
At 49.90 euros it isn't cheap, yet I think the quality justifies the price.
The base wobbles slightly on our uneven worktop; a folded napkin solved that.
Strangely, the blue light flickers whenever the dishwasher starts its drying programme.
Tea tastes better now, or perhaps I am simply taking more time to enjoy it.
"It sounds like a small aeroplane," my daughter said on the first evening.
We've compared five different kettles over the past few years, and none lasted longer than eighteen months.
The packaging contained far too much polystyrene for something this robust.
One reviewer claimed that the seal leaks; ours has shown no sign of it so far.
If you mostly make a single cup, choose the smaller version instead.
Heating half a litre takes roughly ninety seconds, as I measured with my phone.
Their warranty covers two years, but the receipt must be registered online within thirty days.
The switch has a satisfying click that tells you something is happening.
My neighbour ordered the same product in red and received a green one by mistake.
Overall, I'm happy with my decision and would recommend it to friends and relatives.
There was a faint smell of rubber during the first few uses, then it vanished.
Please note that the temperature cannot be adjusted, which matters for green tea.
Last Sunday it survived a fall from the table without so much as a dent.
The return process was refreshingly simple: print a label, hand over the box, done.
""".strip().splitlines()
PROMPT = """You are a customer who writes reviews for an online shop. Write one review of the product below.
Product: a cordless electric kettle made of brushed steel, 1.7 litres, with automatic switch-off and a removable filter.
Write between 80 and 120 words, in the first person, and mention one weakness. Do not use headings or lists.
Mood of the customer: mostly satisfied. Occasion: bought three weeks ago for a family of five.

An example of a good review of another product:
The toaster browns evenly and fits into our narrow shelf. I wish the crumb tray were easier to pull out, but at this
price I can live with it. My son uses it every morning before school, and so far nothing has stuck or burnt."""
SOURCE = """Cordless kettle, brushed stainless steel, capacity 1.7 litres, 2200 watts. Boils half a litre in ninety
seconds. Automatic switch-off when the water boils, and protection against boiling dry. Removable limescale filter that
can be washed under running water. The base turns freely, so the kettle can be put down from any side. Cord of 75 cm
with storage under the base. Water gauge on both sides, lit in blue while it heats. Two years of warranty. Weight 1.1
kilograms. Available in steel, black, red and green. Delivered with a cleaning cloth and printed instructions."""
SCOPE = {"product": "kettle", "operation": "subtraction", "letter": "B", "answer": "Paris", "source": SOURCE}


@dataclass(frozen=True)
class Spec:
    name: str
    options: Mapping[str, Any]
    weight: float | None = None


@dataclass(frozen=True)
class Keep:
    min_score: float | None = None


RULES = {
    "length": Spec("length", {"min_words": 20, "max_words": 400, "target_words": 100}, 1),
    "format": Spec("format", {"contains": "{{ product }}", "not_contains": ["lorem ipsum"]}),
    "repetition": Spec("repetition", {}, 1),
    "refusal": Spec("refusal", {}),
    "language": Spec("language", {"expect": "en"}),
    "readability": Spec("readability", {}, 1),
    "lexical_diversity": Spec("lexical_diversity", {}, 1),
    "novelty": Spec("novelty", {"source": "{{ source }}"}, 1),
    "prompt_copy": Spec("prompt_copy", {}, 1),
    "pii": Spec("pii", {}),
    "profanity": Spec("profanity", {}),
}
VERIFIERS = {
    "arithmetic": Spec("arithmetic", {"operation": "{{ operation }}"}),
    "choice_answer": Spec("choice_answer", {"expect": "{{ answer }}", "letter": "{{ letter }}"}),
}
KINDS = {"arithmetic": "arithmetic", "choice_answer": "choice"}
TEXTS = ("prose", "arithmetic", "choice")


def make_text(kind: str, number: int) -> str:
    """A text of about 100 words that passes every scorer of its kind; each number has its own."""
    rng = random.Random(number)
    wanted = {"prose": 98, "arithmetic": 60, "choice": 84}[kind]
    prose = f"Kettle no. {number}:"
    for sentence in rng.sample(SENTENCES, 12):
        room = wanted + 6 - count_words(prose)
        if count_words(prose) < wanted:
            prose += " " + " ".join(sentence.split()[:room])
    if kind == "arithmetic":
        first, second, third = rng.randint(2, 40), rng.randint(2, 9), rng.randint(1, 60)
        made = first * second + 60
        return (
            f"{prose} Tom buys {first} packs. First he works out how many there are: "
            f"{first} × {second} = {first * second}. Then he adds the 60 in his bag: {first * second} + 60 = {made}. "
            f"He gives away {third}, so {made} - {third} = {made - third} are left.\n#### {made - third}"
        )
    if kind == "choice":
        return f"Question: {prose}?\nA) Rome\nB) Paris\nC) Berlin\nD) Madrid\nAnswer: B"
    return prose


def make_rows(kind: str, rows: int, candidates: int = 4) -> list[list[Candidate]]:
    return [
        [
            Candidate(row, "main", k, text, "stop", k, "m", {"text": text})
            for k in range(candidates)
            for text in [make_text(kind, row * candidates + k)]
        ]
        for row in range(rows)
    ]


def make_context(row: int) -> Context:
    """What a row's scorers know: each row has a prompt and a source of its own."""
    scope = {**SCOPE, "source": f"Article {row}. {SOURCE}"}
    prompt = Prompt((Message("user", f"{PROMPT}\nNumber of the review: {row}"),), "")
    return Context(
        Variation(row, scope, {"text": scope["source"]}), prompt, scope, lambda text: render_text(text, scope)
    )


async def measure(specs: Sequence[Spec], kind: str, seconds: float, candidates: int = 4) -> dict[str, float]:
    """Candidates per second of CPU time, best and median of seven rounds."""
    scorers = compile_scorers(specs)
    rows = make_rows(kind, 1000 // candidates, candidates)  # more texts than any cache holds
    contexts = [make_context(row) for row in range(len(rows))]
    rates: list[float] = []
    passed = 0
    for turn in range(8):  # the first warms up: patterns, templates and the language model are loaded
        start, done = time.process_time(), 0
        while not done or time.process_time() - start < seconds / 7:
            passed = 0
            for row, context in zip(rows, contexts, strict=True):
                ranked, _ = select(await score(scorers, row, context), Keep())
                passed += len(ranked)
                done += len(row)
        if turn:
            rates.append(done / (time.process_time() - start))
    return {
        "candidates_per_s": round(statistics.median(rates)),
        "best": round(max(rates)),
        "microseconds": round(1e6 / statistics.median(rates), 1),
        "passed_share": passed / sum(map(len, rows)),
    }


async def run(seconds: float) -> dict[str, Any]:
    rules = {name: spec for name, spec in RULES.items() if name in BUILT_IN["scorer"]}
    results = {"none (scoring and selection alone)": await measure([], "prose", seconds)}
    for name, spec in rules.items():
        results[name] = await measure([spec], "prose", seconds)
    every = list(rules.values())
    together = await measure(every, "prose", seconds)
    by_size = {str(size): await measure(every, "prose", seconds, size) for size in (1, 2, 8, 16, 64)}
    verifiers = {name: await measure([spec], KINDS[name], seconds) for name, spec in VERIFIERS.items()}
    return {
        "python": platform.python_version(),
        "words": {kind: statistics.mean(count_words(make_text(kind, k)) for k in range(40)) for kind in TEXTS},
        "characters": round(statistics.mean(len(make_text("prose", k)) for k in range(40))),
        "rules": results,
        "rules_together": {"scorers": list(rules), **together},
        "rules_together_by_candidates_in_a_row": by_size,
        "verifiers": verifiers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds for each measurement")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    shown = json.dumps(asyncio.run(run(given.seconds)), indent=2)
    print(shown)
    if given.json:
        given.json.write_text(shown + "\n")


if __name__ == "__main__":
    main()
