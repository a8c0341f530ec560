"""The utility audit on BANKING77: floors of real rows alone, and four datasets in the order of their worth.

    python benchmarks/utility_banking77.py [--data ../shared/data/banking77] [--draws 10] [--audit]

Few real rows of each class (2, 5, 10) are drawn `--draws` times. Floors: accuracy on the test set of real rows alone.
Order: at 10 rows a class, as many "synthetic" rows as real ones are added: other real rows; the same rows again; the
same rows with 10 % wrong labels; the same rows with random labels. Beside these: other real rows, 10 % wrong labels.
With `--audit` the whole area is run, half of the training set against the other half, and timed.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from factory.auditing import conclude
from factory.auditors import AuditContext, Data
from factory.auditors.utility import utility
from factory.auditors.utility.arms import first_of_each
from factory.auditors.utility.learners import WordLearner, predict
from factory.auditors.utility.pairing import estimate

FLOORS = {2: 0.379, 5: 0.569, 10: 0.690}
WITHIN = 0.02
SHOTS = 10
SEED = 77


def read(path: Path) -> tuple[list[str], list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


class Pool:
    """All rows, training ones first, as one learner sees them."""

    def __init__(self, folder: Path):
        self.train, self.test = read(folder / "train.csv"), read(folder / "test.csv")
        given = [*self.train[1], *self.test[1]]
        self.names = sorted(set(given))
        self.labels = np.array([self.names.index(label) for label in given])
        self.learner = WordLearner([*self.train[0], *self.test[0]])
        self.asked = np.arange(len(self.train[0]), len(given))

    def few(self, draw: int, shots: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """So many rows of each class, and the next as many."""
        order = np.random.default_rng([SEED, draw]).permutation(len(self.train[0]))
        labels = self.labels[order]
        one, two = first_of_each(labels, shots), first_of_each(labels, 2 * shots)
        return order[one], order[np.setdiff1d(two, one)]

    def right(self, rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
        """Of each test row, whether it gets its label by a model of these rows with these labels."""
        if labels is None:
            found = predict(self.learner, rows, self.labels, self.asked, len(self.names))
        else:
            found = _trained_on(self, rows, labels)
        return found == self.labels[self.asked]

    def spoil(self, labels: np.ndarray[Any, Any], share: float, draw: int) -> np.ndarray[Any, Any]:
        """This share of the labels replaced by others at random."""
        rng = np.random.default_rng([SEED, draw, int(1000 * share)])
        found = labels.copy()
        wrong = rng.permutation(len(labels))[: round(share * len(labels))]
        found[wrong] = (found[wrong] + rng.integers(1, len(self.names), len(wrong))) % len(self.names)
        return found


def _trained_on(pool: Pool, rows: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows may bear other labels than in the pool: it is widened by them."""
    texts = [*pool.train[0], *pool.test[0]]
    chosen = [texts[k] for k in rows]
    learner = WordLearner([*chosen, *pool.test[0]])
    known = np.concatenate([labels, pool.labels[pool.asked]])
    asked = np.arange(len(chosen), len(known))
    return predict(learner, np.arange(len(chosen)), known, asked, len(pool.names))


def floors(pool: Pool, draws: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for shots, expected in FLOORS.items():
        values = [float(pool.right(pool.few(draw, shots)[0]).mean()) for draw in range(draws)]
        mean = float(np.mean(values))
        found[f"{shots}-shot"] = {
            "accuracy": round(mean, 4),
            "sd_of_draws": round(float(np.std(values, ddof=1)), 4),
            "expected": expected,
            "within_2_points": abs(mean - expected) <= WITHIN,
        }
    found["all"] = {"accuracy": round(float(pool.right(np.arange(len(pool.train[0]))).mean()), 4)}
    return found


def arms(pool: Pool, draw: int) -> dict[str, np.ndarray[Any, Any]]:
    real, others = pool.few(draw, SHOTS)
    twice, both = np.concatenate([real, real]), np.concatenate([real, others])
    mine = pool.labels[real]
    rng = np.random.default_rng([SEED, draw, 1])
    random = rng.integers(0, len(pool.names), len(real))
    return {
        "real rows alone": pool.right(real, mine),
        "other real rows": pool.right(both, pool.labels[both]),
        "the same rows again": pool.right(twice, np.concatenate([mine, mine])),
        "the same rows, 10 % wrong labels": pool.right(twice, np.concatenate([mine, pool.spoil(mine, 0.1, draw)])),
        "the same rows, random labels": pool.right(twice, np.concatenate([mine, random])),
        "(other real rows, 10 % wrong labels)": pool.right(
            both, np.concatenate([mine, pool.spoil(pool.labels[others], 0.1, draw)])
        ),
    }


def order(pool: Pool, draws: int) -> dict[str, Any]:
    drawn = [arms(pool, draw) for draw in range(draws)]
    table = {name: np.stack([one[name] for one in drawn]).astype(np.float64) for name in drawn[0]}
    alone = table["real rows alone"]
    told: dict[str, Any] = {}
    for name, values in table.items():
        gain = estimate(values - alone, np.random.default_rng(SEED))
        told[name] = {
            "accuracy": round(float(values.mean()), 4),
            "gain": round(gain.value, 4),
            "interval": [round(one, 4) for one in gain.interval],
        }
    ranked = [name for name in table if name not in ("real rows alone",) and not name.startswith("(")]
    steps = []
    for above, below in pairwise(ranked):
        step = estimate(table[above] - table[below], np.random.default_rng(SEED))
        steps.append({
            "above": above, "below": below, "difference": round(step.value, 4),
            "interval": [round(one, 4) for one in step.interval],
        })  # fmt: skip
    return {"arms": told, "steps": steps, "in_order": all(step["difference"] > 0 for step in steps)}


def whole(pool: Pool) -> dict[str, Any]:
    """The area on half of the training set as the dataset, the other half as the reference."""
    texts, labels = pool.train
    places = np.random.default_rng(SEED).permutation(len(texts))
    parts = np.array_split(places, 2)
    dataset, reference = (_data(name, texts, labels, part) for name, part in zip(("one", "two"), parts, strict=True))
    holdout = _data("test", *pool.test, np.arange(len(pool.test[0])))
    began, cpu = time.perf_counter(), time.process_time()
    checks = conclude(asyncio.run(utility(dataset, reference, AuditContext(seed=SEED, holdout=holdout))))
    return {
        "wall_s": round(time.perf_counter() - began, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "checks": {
            check.name: {"verdict": check.verdict, "value": check.value, "sentence": check.sentence} for check in checks
        },
    }


def _data(name: str, texts: list[str], labels: list[str], places: np.ndarray[Any, Any]) -> Data:
    table = pa.table({"text": [texts[k] for k in places], "label": [labels[k] for k in places]})
    return Data(name, table, ("text",), "label")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/banking77"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--audit", action="store_true")
    options = parser.parse_args()
    pool = Pool(options.data)
    found = {"floors": floors(pool, options.draws), "order": order(pool, options.draws)}
    if options.audit:
        found["audit"] = whole(pool)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
