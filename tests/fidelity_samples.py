"""Made-up rows for the tests of fidelity: topics with words of their own, and structured columns that hang together."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pyarrow as pa

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.fidelity import fidelity
from factory.types import Check

WORDS = """
cooking: onion pan butter oven taste salt dish plate fry boil soup bread
sailing: boat wind harbour sail rope wave anchor coast tide deck storm island
money: bank loan card payment fee account transfer price debt cash interest rent
garden: rose soil seed water spade leaf tree grass bee flower root hedge
school: teacher lesson pupil exam book desk grade chalk class essay homework maths
any: the a of and to in is it was for on with as he she they at by from had
"""
TOPICS = {line.partition(": ")[0]: line.partition(": ")[2].split() for line in WORDS.strip().splitlines()}
COMMON = TOPICS.pop("any")
NAMES = list(TOPICS)


def texts(topics: list[str], rng: np.random.Generator, mean: float = 2.8) -> list[str]:
    """A text for each topic: common words and words of the topic, of log-normal length."""
    sizes = np.maximum(3, np.exp(rng.normal(mean, 0.4, len(topics)))).astype(int).tolist()
    made = []
    for topic, size in zip(topics, sizes, strict=True):
        own = rng.random(size) < 0.35
        words = np.where(own, rng.choice(TOPICS[topic], size), rng.choice(COMMON, size)).tolist()
        made.append(" ".join(words).capitalize() + ".")
    return made


def rows(n: int, seed: int, shares: list[float] | None = None) -> pa.Table:
    """Columns `question`, `answer` (of the same topic), `label` (the topic, mostly), `age`, `income`, `city`."""
    rng = np.random.default_rng(seed)
    topics = rng.choice(NAMES, n, p=shares).tolist()
    noise = rng.random(n) < 0.1
    label = np.where(noise, rng.choice(NAMES, n), topics).tolist()
    city = rng.choice(["Oslo", "Rome", "Bonn"], n, p=[0.5, 0.3, 0.2])
    age = rng.normal(40, 10, n).round() + 15 * (city == "Oslo")
    return pa.table(
        {
            "question": texts(topics, rng, 2.2),
            "answer": texts(topics, rng, 3.2),
            "label": label,
            "city": city,
            "age": age,
            "income": np.exp(rng.normal(10, 0.3, n) + 0.02 * age),
        }
    )


def replaced(table: pa.Table, column: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.names.index(column), column, pa.array(values))


def shuffled(table: pa.Table, column: str, seed: int = 5) -> pa.Table:
    order = np.random.default_rng(seed).permutation(table.num_rows)
    return replaced(table, column, table.column(column).take(order).to_pylist())


def cut(table: pa.Table, column: str, share: float) -> pa.Table:
    """The first words of each text, this share of them."""
    split = [text.split() for text in table.column(column).to_pylist()]
    return replaced(table, column, [" ".join(words[: max(1, round(share * len(words)))]) for words in split])


def audit(dataset: pa.Table, reference: pa.Table | None, seed: int = 0, **options: Any) -> list[Check]:
    """The checks of the area with verdicts."""
    other = None if reference is None else Data("real", reference)
    return conclude(asyncio.run(fidelity(Data("made", dataset), other, AuditContext(seed=seed), **options)))


def verdicts(checks: list[Check]) -> dict[str, str]:
    """Verdicts by `check` or `check subject`, without the area's name."""
    return {f"{check.name.partition('.')[2]} {check.subject}".strip(): check.verdict for check in checks}
