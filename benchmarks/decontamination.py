"""Decontamination: what each layer and the cascade find of rewritten test rows, and how often they are wrong.

    python benchmarks/decontamination.py [--data ../shared/data] [--rows 700] [--clean 0] [--half report] [--json]
    [--show N]

GSM8K, MMLU, BBH, HumanEval and MT-Bench are indexed whole. Variants of their rows (`contamination_variants`: copied,
reformatted, cut, changed, rephrased, code rewritten) must be found; clean rows must not: GSM8K train, MMLU dev and
validation, self-instruct, banking77, Winogender, and for each benchmark the rows of the other four. Clean rows that are
copies after all are left out by the rule of `contamination_data`, which no detector has a say in. Constants were fitted
on variants of the even rows of GSM8K and MMLU and on the even rows of the clean sources alone; the report is on odd
rows, and on all of BBH and HumanEval, to which no constant was fitted (early versions were looked at on them, and the
rule that whole copies always hit came from BBH). Kinds with a star came after the last change of the detectors. Every
rate comes with its Wilson interval (95 %) and counts. Beside our layers stand the n-gram rules of known tools. Speed is
of one core: processor time of one process with one thread.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from contamination_data import (
    COPIES,
    DATA,
    HELD_OUT,
    NOT_CLEAN,
    CleanRow,
    clean_of,
    find_copies,
    read_clean,
    read_copies,
    read_test_sets,
)
from contamination_rules import Rules
from contamination_tables import judge_goals, print_report
from contamination_variants import Variant, make_variants
from evaluate_embedded import wilson

from factory.decontamination import LAYERS, Cascade, TestSet, build_index, open_index, save_index
from factory.seeds import generator

DETECTORS = (*((layer,) for layer in LAYERS), LAYERS)
CHUNK = 4000
Row = Mapping[str, str]
Found = list[dict[str, tuple[int, bool]]]
"""For each data row, by benchmark: (row of the hit, whether it is gray: found at .01 alone)."""


@dataclass(frozen=True)
class Setup:
    """What is measured: the test sets, variants by benchmark, clean rows by source."""

    test_sets: Mapping[str, TestSet]
    variants: Mapping[str, Sequence[Variant]]
    clean: Mapping[str, Sequence[CleanRow]]
    copies: Mapping[str, Mapping[str, Mapping[str, Sequence[int]]]]

    def rows(self) -> list[Row]:
        """All data rows: the variants, benchmark after benchmark, then the clean rows."""
        found: list[Row] = [variant.fields for group in self.variants.values() for variant in group]
        return found + [row.fields for group in self.clean.values() for row in group]


def sample(places: Sequence[int], count: int, name: str) -> list[int]:
    """`count` of the places at random (all of them for 0), in order."""
    if not count or count >= len(places):
        return list(places)
    return sorted(generator(0, 0, f"sample {name}").sample(list(places), count))


def set_up(data: Path, rows: int, clean_rows: int, half: str) -> Setup:
    """Draws the rows. Development: even rows without the held-out benchmarks; report: odd rows, and those whole."""
    test_sets = read_test_sets(data)
    odd = int(half == "report")
    asked = {name: test for name, test in test_sets.items() if odd or name not in HELD_OUT}
    variants = {}
    for name, test_set in asked.items():
        whole = range(len(test_set.rows)) if name in HELD_OUT else range(odd, len(test_set.rows), 2)
        places = sample(whole, rows, name)
        variants[name] = make_variants(test_set.rows, code=test_set.code, places=places)
    clean = {}
    for name, source in clean_of(asked, read_clean(data)).items():
        kept = [row for row in source if name in HELD_OUT or row.row % 2 == odd]
        clean[name] = [kept[i] for i in sample(range(len(kept)), clean_rows, name)]
    return Setup(test_sets, variants, clean, read_copies())


_workers_cascades: dict[tuple[str, ...], Cascade] = {}


def _open_cascades(paths: Sequence[Path]) -> None:
    indexes = [open_index(path) for path in paths]
    for layers in DETECTORS:
        _workers_cascades[layers] = Cascade(indexes, layers=layers, fpr=0.001)


def _check(task: tuple[tuple[str, ...], Sequence[Row]]) -> Found:
    layers, rows = task
    found = _workers_cascades[layers].check_many(rows, gray=True)
    return [{hit.benchmark: (hit.row, hit.gray) for hit in hits} for hits in found]


def find(paths: Sequence[Path], rows: Sequence[Row], jobs: int) -> dict[str, Found]:
    """What every detector finds in all rows; "cascade" is all layers together."""
    spawn = multiprocessing.get_context("spawn")
    found: dict[str, Found] = {}
    with ProcessPoolExecutor(jobs, spawn, _open_cascades, (paths,)) as pool:
        for layers in DETECTORS:
            name = layers[0] if len(layers) == 1 else "cascade"
            print(f"{name}: {len(rows)} rows …", file=sys.stderr)
            tasks = [(layers, rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)]
            found[name] = [hits for part in pool.map(_check, tasks) for hits in part]
    return found


def find_by_rules(test_sets: Mapping[str, TestSet], rows: Sequence[Row]) -> dict[str, Found]:
    """What the rules of known tools find."""
    print(f"rules of known tools: {len(rows)} rows …", file=sys.stderr)
    rules = Rules(test_sets.values())
    found: dict[str, Found] = {name: [] for name in rules.names}
    for row in rows:
        for name, benchmarks in zip(rules.names, rules.check(row), strict=True):
            found[name].append(dict.fromkeys(benchmarks, (-1, False)))
    return found


def share(hits: int, total: int) -> dict[str, Any]:
    """A share with its counts and its interval."""
    interval = [round(end, 5) for end in wilson(hits, total)] if total else [0.0, 1.0]
    return {"hits": hits, "of": total, "share": round(hits / total, 5) if total else None, "interval": interval}


def count_recall(setup: Setup, found: Found, rate: float) -> dict[str, Any]:
    """Recall by kind of variant and benchmark; `right_row`: the share of hits that name the row it was made of."""
    hits: Counter[tuple[str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    right = named = place = 0
    for name, variants in setup.variants.items():
        for variant in variants:
            hit = found[place].get(name)
            place += 1
            totals[variant.kind, name] += 1
            if hit is not None and (rate == 0.01 or not hit[1]):
                hits[variant.kind, name] += 1
                named += hit[0] >= 0
                right += hit[0] == variant.row
    table: dict[str, Any] = defaultdict(dict)
    for (kind, name), total in totals.items():
        table[kind][name] = share(hits[kind, name], total)
    for kind in table:
        mine = [key for key in totals if key[0] == kind]
        table[kind]["all"] = share(sum(hits[key] for key in mine), sum(totals[key] for key in mine))
    return {"by_kind": dict(table), "right_row": share(right, named)}


def count_false(setup: Setup, found: Found, rate: float) -> dict[str, Any]:
    """False positives by benchmark and source, and over all pairs; copies and sources that are not clean left out."""
    place = sum(len(group) for group in setup.variants.values())
    hits: Counter[tuple[str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    copied = {
        (name, source, row)
        for name, sources in setup.copies.items()
        for source, reasons in sources.items()
        for rows in reasons.values()
        for row in rows
    }
    found_copies = Counter()
    rows_hit = rows_total = 0
    for source, rows in setup.clean.items():
        for row in rows:
            wrong = clean = False
            for name in setup.test_sets:
                hit = found[place].get(name)
                is_hit = hit is not None and (rate == 0.01 or not hit[1])
                if name == source or (name, source) in NOT_CLEAN:
                    continue
                if (name, source, row.row) in copied:
                    found_copies[is_hit] += 1
                    continue
                clean = True
                totals[name, source] += 1
                hits[name, source] += is_hit
                wrong = wrong or is_hit
            place += 1
            if source not in setup.test_sets and clean:
                rows_total += 1
                rows_hit += wrong
    table: dict[str, Any] = defaultdict(dict)
    for (name, source), total in totals.items():
        table[name][source] = share(hits[name, source], total)
    for name in table:
        mine = [key for key in totals if key[0] == name]
        table[name]["all"] = share(sum(hits[key] for key in mine), sum(totals[key] for key in mine))
    return {
        "by_benchmark": dict(table),
        "pairs": share(sum(hits.values()), sum(totals.values())),
        "rows": share(rows_hit, rows_total),
        "copies_found": share(found_copies[True], sum(found_copies.values())),
    }


def show(setup: Setup, found: Found, count: int) -> None:
    """Prints misses and false positives of the cascade, for reading."""
    place = 0
    left: Counter[tuple[str, str]] = Counter()
    for name, variants in setup.variants.items():
        for variant in variants:
            hit = found[place].get(name)
            place += 1
            if (hit is None or hit[1]) and left[name, variant.kind] < count:
                left[name, variant.kind] += 1
                print(f"MISS {name} {variant.row} [{variant.kind}]{' gray' if hit else ''}: {dict(variant.fields)}")
    for source, rows in setup.clean.items():
        for row in rows:
            for name, sources in setup.copies.items():
                whys = [why for why, numbers in sources.get(source, {}).items() if row.row in numbers]
                if whys and name not in found[place] and left[name, "copy"] < 10 * count:
                    left[name, "copy"] += 1
                    print(f"COPY not found {name} ~ {source} {row.row} ({whys[0]}): {dict(row.fields)}")
            for name, (number, gray) in found[place].items():
                reasons = setup.copies.get(name, {}).get(source, {})
                is_copy = any(row.row in numbers for numbers in reasons.values())
                if name == source or gray or is_copy or (name, source) in NOT_CLEAN or left[name, source] >= 10 * count:
                    continue
                left[name, source] += 1
                question = setup.test_sets[name].rows[number].question
                print(f"FALSE {name} {number} ~ {source} {row.row}: {dict(row.fields)}\n   TEST {question[:400]}")
            place += 1


def measure_rates(paths: Sequence[Path], clean: Sequence[CleanRow]) -> dict[str, Any]:
    """Rows per second of processor time against MMLU, GSM8K and BBH together, of rows of 60 to 90 words."""
    rows = [row.fields for row in clean if 60 <= sum(len(text.split()) for text in row.fields.values()) <= 90]
    indexes = [open_index(path) for path in paths if path.name in ("MMLU", "GSM8K", "BBH")]
    words = sum(len(text.split()) for row in rows for text in row.values()) / len(rows)
    found: dict[str, Any] = {"rows": len(rows), "words": round(words, 1)}
    for layers, name in ((("ngram",), "ngram"), (LAYERS, "cascade")):
        cascade = Cascade(indexes, layers=layers, fpr=0.001)
        cascade.check_many(rows[:200])
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            cascade.check_many(rows)
            best = min(best, time.process_time() - start)
        found[name] = round(len(rows) / best)
    return found


def build(test_sets: Mapping[str, TestSet], folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """Indexes every test set; returns their paths, and seconds and megabytes of each."""
    paths, facts = [], {}
    for name, test_set in test_sets.items():
        start = time.process_time()
        index = build_index(test_set)
        seconds = time.process_time() - start
        save_index(index, folder / name)
        size = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
        facts[name] = {"rows": len(test_set.rows), "seconds": round(seconds, 2), "megabytes": round(size / 1e6, 1)}
        paths.append(folder / name)
    return paths, facts


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Everything, as one object."""
    setup = set_up(given.data, given.rows, given.clean, given.half)
    rows = setup.rows()
    with tempfile.TemporaryDirectory() as folder:
        paths, facts = build(setup.test_sets, Path(folder))
        rates = measure_rates(paths, read_clean(given.data)["GSM8K train"])
        detectors = find(paths, rows, given.jobs) | find_by_rules(setup.test_sets, rows)
    if given.show:
        show(setup, detectors["cascade"], given.show)
    report: dict[str, Any] = {
        "half": given.half,
        "rows": len(rows),
        "variants": {name: len(variants) for name, variants in setup.variants.items()},
        "clean": {name: len(group) for name, group in setup.clean.items()},
        "copies": {
            name: {source: {why: len(found) for why, found in reasons.items()} for source, reasons in sources.items()}
            for name, sources in setup.copies.items()
        },
        "indexes": facts,
        "rates": rates,
        "python": platform.python_version(),
        "detectors": {},
    }
    for name, found in detectors.items():
        rates_of = (0.001, 0.01) if name == "cascade" or name in LAYERS else (None,)
        report["detectors"][name] = {
            str(rate): {
                "recall": count_recall(setup, found, rate or 0.01),
                "false_positives": count_false(setup, found, rate or 0.01),
            }
            for rate in rates_of
        }
    report["goals"] = judge_goals(report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with gsm8k, mmlu, bbh, … (../shared/data)")
    parser.add_argument("--rows", type=int, default=700, help="rows of each benchmark to make variants of (0: all)")
    parser.add_argument("--clean", type=int, default=0, help="clean rows of each source (0: all of the half)")
    parser.add_argument("--half", choices=("report", "development"), default="report")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--show", type=int, default=0, help="print so many misses of each kind, and false positives")
    parser.add_argument(
        "--find-copies", action="store_true", help="apply the rule of copies again, write its list, end"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    given = parser.parse_args()
    if not (given.data / "gsm8k" / "test.jsonl").is_file():
        sys.exit(f"no benchmarks at {given.data}: give the folder that holds gsm8k, mmlu, bbh, humaneval … with --data")
    if given.find_copies:
        COPIES.write_text(json.dumps(find_copies(given.data), separators=(",", ":")) + "\n", encoding="utf-8")
        return
    start = time.perf_counter()
    report = measure(given)
    report["seconds"] = round(time.perf_counter() - start, 1)
    if given.json:
        print(json.dumps(report, indent=1))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
