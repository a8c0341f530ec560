"""Audits: how often they are wrong about data without a fault, and whether they find faults that were planted.

    python benchmarks/audits.py null [--trials 1000] [--rows 1000] [--data ../shared/data] [--json FILE]
    python benchmarks/audits.py defects [--repeats 20] [--rows 2000] [--only NAME] [--json FILE]
    python benchmarks/audits.py speed [--rows 100000] [--json FILE]

`null`: dataset, reference and holdout are disjoint draws from one source (real questions of BANKING77 and GSM8K, and a
made-up population with groups, labels, scores, columns and axes), so every FAIL is a false one. Told: audits with any
FAIL (bound .05), of the checks alone at their own level, and how many intervals hold the true difference, for checks
whose value has one (0 between draws of one source, or known of the population). `defects`: each planted defect in its
corpus; caught is when one of the right checks says FAIL; told too is what else failed. `speed`: every area but utility
on made-up rows of some 75 words: wall seconds and the peak of resident memory, in a process of its own.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import asyncio
import csv
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from audit_defects import DEFECTS, Defect, Scene
from audit_people import TOPICS, People

from factory import registry
from factory.auditing.concluding import conclude
from factory.auditors import AuditContext
from factory.measures import wilson
from factory.types import Check

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
AREAS = ("bias", "diversity", "fidelity", "requested", "privacy")
SOURCES = ("people", "banking", "gsm8k")


@cache
def read(source: str, folder: Path) -> list[dict[str, Any]]:
    """The rows of a real source."""
    if source == "banking":
        with (folder / "banking77" / "train.csv").open(newline="") as file:
            return [{"text": row["text"], "label": row["category"]} for row in csv.DictReader(file)]
    lines = (folder / "gsm8k" / "train.jsonl").read_text().splitlines()
    return [{"text": row["question"], "answer": row["answer"]} for row in map(json.loads, lines)]


def clean_scene(source: str, rows: int, seed: int, folder: Path) -> Scene:
    """Dataset, reference and holdout of one source, disjoint."""
    rng = np.random.default_rng([seed, SOURCES.index(source)])
    if source == "people":
        parts = [People().draw(rows, rng) for _ in range(3)]
        plans = {"topic": dict.fromkeys(TOPICS, 1 / len(TOPICS))}
        options = {"requested": {"axes": ["topic"]}}
        rejects = null_rejects(rows, rng)
        return Scene(*parts, rng, rejects=rejects, axes=plans, options=options, label="plan")
    every = read(source, folder)
    size = min(rows, len(every) // 3)
    order = rng.permutation(len(every))[: 3 * size].reshape(3, size)
    dataset, real, held = ([every[place] for place in part] for part in order)
    return Scene(dataset, real, held, rng, label="label" if source == "banking" else None)


def null_rejects(rows: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Candidates that fell whatever group they are about."""
    return [
        {
            "row": row["meta"]["row"], "step": "main", "candidate": 1, "stage": "select", "reason": "kept the best",
            "scores": "{}", "total": 0.5, "variation": row["meta"]["variation"], "text": row["answer"], "matched": None,
            "model": "made",
        }
        for row in People().draw(rows, rng)
    ]  # fmt: skip


async def audit(scene: Scene, areas: Sequence[str], seed: int) -> list[Check]:
    """Every check of some areas, with verdicts."""
    dataset, real, held = (
        scene.data(name, rows) for name, rows in (("dataset", scene.rows), ("real", scene.real), ("held", scene.held))
    )
    context = AuditContext(
        seed=seed,
        holdout=held,
        private=replace(scene, label=None).data("private", scene.private),
        rejects=replace(scene, label=None).data("rejects", scene.rejects),
        language="en",
        axes=scene.axes,
    )
    checks: list[Check] = []
    for area in areas:
        function = registry.lookup("auditor", area)
        found = function(dataset, real, context, **scene.options.get(area, {}))
        checks += await found if asyncio.iscoroutine(found) else found
    return conclude(checks)


# Data without a fault


def null_trial(job: tuple[int, int, str]) -> dict[str, Any]:
    seed, rows, folder = job
    source = SOURCES[seed % len(SOURCES)]
    scene = clean_scene(source, rows, seed, Path(folder))
    began = time.perf_counter()
    checks = asyncio.run(audit(scene, AREAS, seed))
    return {
        "source": source,
        "seconds": time.perf_counter() - began,
        "failed": [label(check) for check in checks if check.verdict == "FAIL"],
        "below": [label(check) for check in checks if check.p is not None and check.p <= 0.05],
        "checks": [label(check) for check in checks],
        "verdicts": Counter(check.verdict for check in checks),
        "inside": {
            label(check): bool(check.interval[0] <= truth <= check.interval[1])
            for check in checks
            if check.interval is not None and (truth := true_value(check)) is not None
        },
    }


def true_value(check: Check) -> float | None:
    """What the value of a check is between draws of one source; None where it is not known, or 0 at the bound.

    Shares of rare things (refusals, toxic words, copies) are left out: their intervals hold 0 nearly always.
    """
    told = label(check)
    if told.startswith("privacy.membership"):
        return 0.5 if "AUC" in told else 0.01
    within = ("length", "score", "bias.sentiment", "bias.parity", "bias.amplification", "bias.selection")
    known = check.area == "bias" and any(one in told for one in (*within, "bias.representation"))
    return 0.0 if known else None


def label(check: Check) -> str:
    return f"{check.name} [{check.subject}]" if check.subject else check.name


def run_null(trials: int, rows: int, folder: Path, workers: int) -> dict[str, Any]:
    jobs = [(seed, rows, str(folder)) for seed in range(trials)]
    results = []
    with ProcessPoolExecutor(workers) as pool:
        for number, result in enumerate(pool.map(null_trial, jobs, chunksize=4), 1):
            results.append(result)
            if number % 50 == 0:
                wrong = sum(bool(one["failed"]) for one in results)
                print(f"{number} audits, {wrong} with a false FAIL", file=sys.stderr, flush=True)
    told: dict[str, Any] = {"trials": trials, "rows": rows, "by_source": {}}
    for source in (*SOURCES, "all"):
        mine = [one for one in results if source in ("all", one["source"])]
        wrong = sum(bool(one["failed"]) for one in mine)
        told["by_source"][source] = {
            "audits": len(mine),
            "false_fail": wrong,
            "share": wrong / max(1, len(mine)),
            "interval": wilson(wrong, len(mine)),
            "seconds": float(np.mean([one["seconds"] for one in mine])) if mine else None,
            "verdicts": dict(sum((one["verdicts"] for one in mine), Counter())),
        }
    told["failed"] = Counter(name for one in results for name in one["failed"]).most_common(20)
    made = Counter(name for one in results for name in one["checks"])
    below = Counter(name for one in results for name in one["below"])
    told["beyond the gate at .05 alone"] = {name: [below[name], made[name]] for name in sorted(below)}
    inside: dict[str, list[int]] = {}
    for one in results:
        for name, value in one["inside"].items():
            inside.setdefault(name, [0, 0])
            inside[name][0] += value
            inside[name][1] += 1
    told["intervals"] = {name: [*pair, pair[0] / pair[1]] for name, pair in sorted(inside.items())}
    return told


# Planted defects


def defect_trial(job: tuple[str, int, int, str]) -> dict[str, Any]:
    name, seed, rows, folder = job
    chosen = next(one for one in DEFECTS if one.name == name)
    scene = chosen.plant(clean_scene(chosen.base, rows, seed, Path(folder)))
    checks = asyncio.run(audit(scene, areas_of(chosen), seed))
    failed = [check.name for check in checks if check.verdict == "FAIL"]
    return {"caught": any(one in chosen.right for one in failed), "failed": failed}


def areas_of(chosen: Defect) -> tuple[str, ...]:
    """All areas whose checks are quick, so that the correction is that of a whole audit; utility where it is meant."""
    return (*AREAS, "utility") if "utility" in chosen.areas else AREAS


def run_defects(repeats: int, rows: int, only: str | None, folder: Path, workers: int) -> dict[str, Any]:
    told: dict[str, Any] = {"rows": rows, "repeats": repeats, "defects": {}}
    wanted = [one for one in DEFECTS if only is None or only in one.name]
    with ProcessPoolExecutor(workers) as pool:
        for chosen in wanted:
            count = repeats if "utility" not in chosen.areas else max(2, repeats // 5)
            jobs = [(chosen.name, seed, rows, str(folder)) for seed in range(1000, 1000 + count)]
            results = list(pool.map(defect_trial, jobs))
            caught = sum(one["caught"] for one in results)
            others = Counter(name for one in results for name in set(one["failed"]) if name not in chosen.right)
            right = Counter(name for one in results for name in set(one["failed"]) if name in chosen.right)
            told["defects"][chosen.name] = {
                "caught": caught, "of": count, "right": dict(right), "other": dict(others.most_common(6)),
            }  # fmt: skip
            print(f"{caught:>3}/{count} {chosen.name}: {dict(right)}; also {dict(others.most_common(3))}", flush=True)
    caught = sum(one["caught"] for one in told["defects"].values())
    total = sum(one["of"] for one in told["defects"].values())
    always = sum(one["caught"] >= 0.95 * one["of"] for one in told["defects"].values())
    told |= {"caught": caught, "of": total, "found_95": always, "planted": len(told["defects"])}
    print(f"{always} of {len(told['defects'])} defects caught in 95 % of trials; {caught}/{total} trials in all")
    return told


# Speed


def run_speed(rows: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    people = People(sentences=6)
    scene = Scene(
        people.draw(rows, rng), people.draw(10_000, rng), people.draw(10_000, rng), rng, label="plan",
        options={"requested": {"axes": ["topic"]}}, axes={"topic": dict.fromkeys(TOPICS, 1 / len(TOPICS))},
    )  # fmt: skip
    words = float(np.mean([len((row["question"] + " " + row["answer"]).split()) for row in scene.rows[:1000]]))
    told: dict[str, Any] = {"rows": rows, "words": words, "seconds": {}, "cpu": {}}
    for area in AREAS:
        began, cpu = time.perf_counter(), time.process_time()
        checks = asyncio.run(audit(scene, (area,), 0))
        told["seconds"][area] = round(time.perf_counter() - began, 1)
        told["cpu"][area] = round(time.process_time() - cpu, 1)
        told["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        print(
            area,
            told["seconds"][area],
            "s,",
            told["cpu"][area],
            "s of CPU,",
            len(checks),
            "checks, peak",
            told["peak_mb"],
            "MB",
            flush=True,
        )
    told["all"] = round(sum(told["seconds"].values()), 1)
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("null", "defects", "speed"))
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--only")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found: Mapping[str, Any]
    if given.what == "null":
        found = run_null(given.trials, given.rows or 1000, given.data, given.workers)
        print(json.dumps(found, indent=1))
    elif given.what == "defects":
        found = run_defects(given.repeats, given.rows or 2000, given.only, given.data, given.workers)
    else:
        found = run_speed(given.rows or 100_000)
        print(json.dumps(found, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
