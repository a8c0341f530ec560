"""Candidates per second of the rule scorers on one core, each alone and all together, on texts of about 100 words.

    python benchmarks/scorers.py [--seconds 2]

CPU time is measured, not wall time, so that other work on the machine does not count. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from factory.prompts import render_text
from factory.scorers import Context
from factory.scorers.length import count_words
from factory.scoring import compile_scorers, score, select
from factory.types import Candidate, Prompt, Variation

COMMON = """
the of and to in a is that for it was on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many
then them these so some her would make like him into time has look two more write go see number no way could
people my than first water been call who oil its now find long down day did get come made may part marbles
shop
"""
WORDS = COMMON.split()
SCOPE = {"product": "kettle", "operation": "subtraction", "letter": "B", "answer": "Paris"}


@dataclass(frozen=True)
class Spec:
    name: str
    options: Mapping[str, Any]
    weight: float | None = None


@dataclass(frozen=True)
class Keep:
    min_score: float | None = None


SPECS = {
    "length": Spec("length", {"min_words": 20, "max_words": 400, "target_words": 100}, 1),
    "format": Spec("format", {"contains": "{{ product }}", "not_contains": ["lorem ipsum"]}),
    "repetition": Spec("repetition", {}, 1),
    "refusal": Spec("refusal", {}),
    "language": Spec("language", {"expect": "en"}),
    "arithmetic": Spec("arithmetic", {"operation": "{{ operation }}"}),
    "choice_answer": Spec("choice_answer", {"expect": "{{ answer }}", "letter": "{{ letter }}"}),
}


def make_text(kind: str, index: int) -> str:
    """A text of about 100 words that passes every scorer of its kind."""
    rng = random.Random(index)
    prose = " ".join(rng.choice(WORDS) for _ in range(60 if kind != "prose" else 96))
    if kind == "arithmetic":
        first, second, third = rng.randint(2, 40), rng.randint(2, 9), rng.randint(1, 60)
        made = first * second + 60
        return (
            f"Tom buys a kettle and {first} packs. {prose}. First he works out how many there are: "
            f"{first} × {second} = {first * second}. Then he adds the 60 in his bag: {first * second} + 60 = {made}. "
            f"He gives away {third}, so {made} - {third} = {made - third} are left.\n#### {made - third}"
        )
    if kind == "choice":
        return f"Question: {prose} kettle {prose[:160]}?\nA) Rome\nB) Paris\nC) Berlin\nD) Madrid\nAnswer: B"
    return f"The kettle {prose}."


def measure(names: list[str], kind: str, seconds: float) -> dict[str, float]:
    """Candidates per second of CPU time, best and median of five, over rows of 4 candidates."""
    scorers = compile_scorers([SPECS[name] for name in names])
    rows = [
        [
            Candidate(row, "main", k, text, "stop", k, "m", {"text": text})
            for k in range(4)
            for text in [make_text(kind, row * 4 + k)]
        ]
        for row in range(50)
    ]
    context = Context(Variation(0, SCOPE), Prompt((), ""), SCOPE, lambda text: render_text(text, SCOPE))

    async def work() -> int:
        passed = 0
        for candidates in rows:
            ranked, _ = select(await score(scorers, candidates, context), Keep())
            passed += len(ranked)
        return passed

    return time_it(work, sum(len(row) for row in rows), seconds)


def time_it(work: Callable[[], Any], candidates: int, seconds: float) -> dict[str, float]:
    async def repeat() -> tuple[list[float], int]:
        passed = await work()  # warm: patterns, templates and the language model are loaded
        rates: list[float] = []
        for _ in range(5):
            start, rounds = time.process_time(), 0
            while time.process_time() - start < seconds / 5:
                await work()
                rounds += 1
            rates.append(candidates * rounds / (time.process_time() - start))
        return rates, passed

    rates, passed = asyncio.run(repeat())
    return {
        "candidates_per_s": round(statistics.median(rates)),
        "best": round(max(rates)),
        "microseconds": round(1e6 / statistics.median(rates), 1),
        "passed_share": passed / candidates,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds for each measurement")
    seconds = parser.parse_args().seconds
    kinds = {"arithmetic": "arithmetic", "choice_answer": "choice"}
    results = {"none (scoring and selection alone)": measure([], "prose", seconds)}
    for name in SPECS:
        results[name] = measure([name], kinds.get(name, "prose"), seconds)
    general = ["length", "format", "repetition", "refusal"]
    results["length, format, repetition, refusal"] = measure(general, "prose", seconds)
    results["the same, language and arithmetic"] = measure([*general, "language", "arithmetic"], "arithmetic", seconds)
    results["the same, language and choice_answer"] = measure(
        [*general, "language", "choice_answer"], "choice", seconds
    )
    words = {kind: count_words(make_text(kind, 1)) for kind in ("prose", "arithmetic", "choice")}
    print(json.dumps({"python": platform.python_version(), "words": words, "results": results}, indent=2))


if __name__ == "__main__":
    main()
