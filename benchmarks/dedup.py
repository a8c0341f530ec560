"""Near-duplicates: the factory against its peers on one planted corpus with exact truth, from text to kept rows.

    python benchmarks/dedup.py [--rows 100000] [--repeats 3] [--peers-python PYTHON] [--only NAME]… [--seed 1]
                               [--million] [--json]

The corpus is that of `dedup_corpus.py`. Every contender is a script of `peers/` in a process of its own, on one thread,
gets the same texts, and makes the same shingles where it takes tokens. Timed is all between the texts and the verdict
on every row: normalising, shingles, signatures, index, and whatever check the contender makes. The contenders take
turns, each turn gives a ratio, and the median ratio counts: a machine that is busy for a while is so for all. Ratios
are of processor time, which other programs disturb least; those of the wall are told too. Peak memory is that of the
process, texts included. A peer that PYTHON (default: this interpreter) has not got is told and left out.

What is measured against the truth, each with its 95% Wilson interval:
- recall: of the pairs at Jaccard ≥ 0.8 whose earlier row the contender keeps, the share whose later row it removes;
- precision: of the removed rows, the share that is at ≥ 0.8 to the row it fell to, or where the contender does not say
  which that is, to any earlier row;
- the same share of later rows by bucket of similarity; below 0.8 those count that are near no other earlier row;
- `first wins`: how many rows the verdict differs on from the definition (None where the contender does not name a row).
Peers with a check of their own are measured without it too (`raw`, once).

`--million` runs 1,000,000 rows of the factory alone, streamed, and `--rows` of them for comparison.
Leaves with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from dedup_corpus import BUCKETS, WIDTH, Pairs, Row, exact_pairs, hashed, make_rows, write
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
THRESHOLD = 0.8
FALLS = -2
KERNEL, NUMPY, DATASKETCH = "factory", "factory, NumPy", "datasketch"
FASTER, FASTER_THAN_BEST, FASTER_NUMPY = 25.0, 3.0, 5.0
PRECISION, RECALL = 1.0, 0.9995
MILLION, PEAK_MB, SLOWER = 1_000_000, 2048.0, 0.3
WIDTHS = {"cpu": 13, "wall": 9}
"""The clocks, and how wide a column of the table is."""
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "RAYON", "OPENBLAS", "MKL")}


@dataclass(frozen=True)
class Sample:
    """One process: seconds of wall and processor, MB at its peak, and the verdicts."""

    wall: float
    cpu: float
    peak_mb: float
    places: NDArray[np.int64]
    facts: dict[str, Any]


@dataclass
class Contender:
    """A script of `peers/` and the variants of its way. `fault`: why there are no samples."""

    name: str
    script: str
    variant: tuple[str, ...] = ()
    checks: bool = True
    kernel: str = ""
    samples: list[Sample] = field(default_factory=list)
    fault: str = ""

    @property
    def ours(self) -> bool:
        return self.script == "dedup_factory"

    def run(self, python: str, corpus: Path, rows: int) -> Sample:
        """One process to its end. Raises RuntimeError where it fails."""
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(HERE.parent) if self.ours else ""}
        environment.pop("FACTORY_KERNEL", None)
        if self.kernel:
            environment["FACTORY_KERNEL"] = self.kernel
        out = corpus.with_suffix(".verdicts")
        command = [sys.executable if self.ours else python, str(HERE / "peers" / f"{self.script}.py")]
        command += [str(corpus), str(out), *self.variant]
        done = subprocess.run(command, env=environment, cwd=corpus.parent, capture_output=True, text=True)
        last = done.stdout.strip().rpartition("\n")[2]
        if done.returncode or not last.startswith("{"):
            raise RuntimeError(reason_of(done.stderr) or f"it ended with {done.returncode}")
        facts = json.loads(last)
        places = np.fromfile(out, dtype=np.int64)
        out.unlink()
        if len(places) != rows:
            raise RuntimeError(f"it gave {len(places)} verdicts on {rows} rows")
        return Sample(facts["wall_s"], facts["cpu_s"], facts["peak_mb"], places, facts)

    def seconds(self, clock: str) -> list[float]:
        """Of the wall or the processor, by turn."""
        return [getattr(sample, clock) for sample in self.samples]


def reason_of(errors: str) -> str:
    """The last line of what a process said."""
    return errors.strip().rpartition("\n")[2][:300]


def contenders() -> list[Contender]:
    """Everybody, in the order of the table."""
    return [
        Contender(KERNEL, "dedup_factory", ("kernel",)),
        Contender(NUMPY, "dedup_factory", kernel="off"),
        Contender(DATASKETCH, "dedup_datasketch"),
        Contender("datasketch, xxh32, 25×5", "dedup_datasketch", ("xxh32",)),
        Contender("rensa, batch", "dedup_rensa"),
        Contender("rensa, streaming", "dedup_rensa", ("streaming",)),
        Contender("gaoya", "dedup_gaoya"),
        Contender("gaoya, its words", "dedup_gaoya", ("words",)),
        Contender("FastSketchLSH", "dedup_fastsketchlsh"),
        Contender("text-dedup", "dedup_text_dedup", checks=False),
    ]


def raw_variants(everybody: Iterable[Contender]) -> list[Contender]:
    """Those whose check can be left out, without it."""
    able = [one for one in everybody if not (one.ours or one.fault) and one.checks and "streaming" not in one.variant]
    return [replace(one, name=f"{one.name}, raw", variant=(*one.variant, "raw"), samples=[]) for one in able]


# The truth


@dataclass(frozen=True)
class Truth:
    """All pairs of the corpus at Jaccard ≥ 0.5, and what follows from them."""

    rows: int
    pairs: Pairs
    duplicates: Pairs
    expected: NDArray[np.int64]
    misplanted: int
    """Planted pairs of which the join found another similarity than they were made with: must be 0."""

    def quality(self, places: NDArray[np.int64]) -> dict[str, Any]:
        """The verdicts measured."""
        earlier, later = self.duplicates.earlier, self.duplicates.later
        removed = places != -1
        near = np.zeros(self.rows, dtype=bool)
        near[later] = True
        kept = ~removed[earlier]
        found = removed[later][kept]
        fell = np.flatnonzero(removed)
        known = {(one, other) for one, other in zip(earlier.tolist(), later.tolist(), strict=True)}
        named = places[fell] >= 0
        right = [
            (place, row) in known if place >= 0 else bool(near[row])
            for place, row in zip(places[fell].tolist(), fell.tolist(), strict=True)
        ]
        return {
            "kept": int((~removed).sum()),
            "recall": share(int(found.sum()), len(found)),
            "precision": share(sum(right), len(right)),
            "names": bool(named.all()),
            "first_wins_differs": int((places != self.expected).sum()) if named.all() else None,
            "buckets": {f"{bucket:.2f}": self._bucket(bucket, removed, near) for bucket in (*BUCKETS, 1.0)},
        }

    def _bucket(self, bucket: float, removed: NDArray[np.bool_], near: NDArray[np.bool_]) -> dict[str, float]:
        """Pairs from `bucket` on whose earlier row is kept: the share whose later row is removed."""
        pairs = self.pairs
        chosen = (pairs.similarity >= bucket) & (pairs.similarity < (bucket + WIDTH if bucket < 0.95 else 1.0))
        if bucket >= 1:
            chosen = pairs.similarity == 1
        chosen &= ~removed[pairs.earlier]
        if bucket < THRESHOLD:
            chosen &= ~near[pairs.later]
        return share(int(removed[pairs.later[chosen]].sum()), int(chosen.sum()))


def share(hits: int, of: int) -> dict[str, float]:
    """A share with its 95% Wilson interval."""
    if not of:
        return {"n": 0, "share": math.nan, "low": 0.0, "high": 1.0}
    z, p = 1.959964, hits / of
    middle, scale = p + z * z / (2 * of), 1 + z * z / of
    wide = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return {"n": of, "share": p, "low": max(0.0, (middle - wide) / scale), "high": min(1.0, (middle + wide) / scale)}


def plant(seed: int, rows: int, path: Path) -> tuple[dict[str, Any], Truth]:
    """Write the corpus, and find the truth about it."""
    planted: dict[tuple[int, int], float] = {}
    sets = []

    def seen() -> Iterator[Row]:
        for number, row in enumerate(make_rows(seed, rows)):
            sets.append(hashed(row.text))
            if row.similarity >= BUCKETS[0]:
                planted[row.of, number] = row.similarity
            yield row

    facts = write(seen(), path)
    pairs = exact_pairs(sets, BUCKETS[0])
    triples = zip(pairs.earlier.tolist(), pairs.later.tolist(), pairs.similarity.tolist(), strict=True)
    found = {(one, other): similarity for one, other, similarity in triples}
    misplanted = sum(found.get(pair) != similarity for pair, similarity in planted.items())
    duplicates = pairs.at_least(THRESHOLD)
    return facts, Truth(rows, pairs, duplicates, duplicates.first_wins(rows), misplanted)


# The runs


def take_turns(everybody: list[Contender], python: str, corpus: Path, rows: int, repeats: int) -> None:
    """Run everybody again and again. One that fails is out, with its fault."""
    for turn in range(repeats):
        for one in everybody:
            if one.fault:
                continue
            try:
                one.samples.append(one.run(python, corpus, rows))
            except (RuntimeError, OSError) as error:
                one.fault, one.samples = str(error), []
            else:
                spent = f"{one.samples[-1].cpu:.2f} s of processor, {one.samples[-1].wall:.2f} s in all"
                print(f"turn {turn + 1} of {repeats}: {one.name}: {spent}", file=sys.stderr)


def ratio(faster: Contender, slower: Contender, clock: str = "cpu") -> float:
    """How many times as fast the one is as the other: the median over the turns."""
    pairs = zip(faster.seconds(clock), slower.seconds(clock), strict=True)
    return statistics.median(other / one for one, other in pairs)


def run_million(seed: int, rows: int, folder: Path) -> dict[str, Any]:
    """The factory over a million rows and over `rows`, both streamed."""
    told: dict[str, Any] = {}
    for name, count in (("few", rows), ("many", MILLION)):
        corpus = folder / f"{count}.jsonl"
        write(make_rows(seed, count), corpus)
        sample = Contender(KERNEL, "dedup_factory", ("kernel", "stream")).run(sys.executable, corpus, count)
        corpus.unlink()
        kept = int((sample.places < 0).sum())
        rates = {"rows_per_s": count / sample.cpu, "wall_rows_per_s": count / sample.wall}
        told[name] = sample.facts | rates | {"kept": kept}
    return told


# What is told


@dataclass(frozen=True)
class Goal:
    """A figure and what it shall be at least, or at most."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def line(self) -> str:
        bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{'met   ' if self.met else 'MISSED'} {self.what}: {self.value:.6g} ({bound})"


def judge(everybody: list[Contender], quality: dict[str, dict[str, Any]]) -> list[Goal]:
    """The goals between contenders, as far as they ran."""
    ran = {one.name: one for one in everybody if not one.fault}
    peers = [one for one in ran.values() if not one.ours]
    goals = []
    for name, least in ((KERNEL, FASTER), (NUMPY, FASTER_NUMPY)):
        if name in ran and DATASKETCH in ran:
            goals.append(Goal(f"{name}: times datasketch's default", ratio(ran[name], ran[DATASKETCH]), least))
    if KERNEL in ran and peers:
        best = min(peers, key=lambda peer: ratio(ran[KERNEL], peer))
        goals.append(Goal(f"{KERNEL}: times the best peer ({best.name})", ratio(ran[KERNEL], best), FASTER_THAN_BEST))
    for name in (KERNEL, NUMPY):
        if name in ran:
            found = quality[name]
            precision, recall, differs = found["precision"], found["recall"], found["first_wins_differs"]
            goals.append(Goal(f"{name}: precision, n = {precision['n']}", precision["share"], PRECISION))
            goals.append(Goal(f"{name}: recall at ≥ {THRESHOLD}, n = {recall['n']}", recall["share"], RECALL))
            goals.append(Goal(f"{name}: rows not as the first wins", float(differs), most=recall["n"] * (1 - RECALL)))
    return goals


def judge_million(told: dict[str, Any]) -> list[Goal]:
    """The goals of a million rows."""
    rate = told["many"]["rows_per_s"] / told["few"]["rows_per_s"]
    return [
        Goal("a million rows: MB at the peak", told["many"]["peak_mb"], most=PEAK_MB),
        Goal(f"a million rows: rate, times that of {told['few']['rows']} rows", rate, 1 - SLOWER),
    ]


def table(everybody: list[Contender], quality: dict[str, dict[str, Any]], rows: int) -> str:
    """Rates, memory and quality, a line each."""
    lines = [
        f"{f'{rows} rows, text → kept':28} rows/s (CPU) by wall  factory is ×  by wall  peak MB   kept  "
        f"{'precision (95%)':24} {'recall ≥ 0.8 (95%)':24} not first wins"
    ]
    for one in everybody:
        if one.fault:
            lines.append(f"{one.name:28} left out: {one.fault}")
            continue
        cpu, wall = (rows / statistics.median(one.seconds(clock)) for clock in ("cpu", "wall"))
        found = quality[one.name]
        differs = found["first_wins_differs"]
        times = times_as_fast(everybody, one)
        compared = "".join(f"{times.get(clock, math.nan):{width}.2f}" for clock, width in WIDTHS.items())
        lines.append(
            f"{one.name:28} {cpu:12.0f} {wall:7.0f} {compared} {max(sample.peak_mb for sample in one.samples):8.0f}"
            f" {found['kept']:6d}  {interval(found['precision']):24} {interval(found['recall']):24}"
            f" {'–' if differs is None else differs}"
        )
    return "\n".join(lines)


def times_as_fast(everybody: list[Contender], one: Contender) -> dict[str, float]:
    """How many times as fast as this one the factory is, by processor and wall; {} where they did not run alike."""
    ours = next((other for other in everybody if other.name == KERNEL and not other.fault), None)
    if ours is None or len(ours.samples) != len(one.samples):
        return {}
    return {clock: ratio(ours, one, clock) for clock in WIDTHS}


def interval(found: dict[str, float]) -> str:
    return f"{found['share']:.4f} ({found['low']:.4f}–{found['high']:.4f})"


def bucket_table(everybody: list[Contender], quality: dict[str, dict[str, Any]]) -> str:
    """Of the pairs in a bucket, the share whose later row is removed."""
    there = [one for one in everybody if not one.fault]
    some = quality[there[0].name]["buckets"] if there else {}
    lines = [f"{'removed, by similarity':28}" + "".join(f"{bucket:>7}" for bucket in some)]
    lines.append(f"{'pairs':28}" + "".join(f"{found['n']:7.0f}" for found in some.values()))
    for one in there:
        shares = (found["share"] for found in quality[one.name]["buckets"].values())
        lines.append(f"{one.name:28}" + "".join(f"{value:7.3f}" for value in shares))
    return "\n".join(lines)


def as_json(everybody: list[Contender], quality: dict[str, dict[str, Any]], rows: int) -> dict[str, Any]:
    """The tables as data."""
    told: dict[str, Any] = {}
    for one in everybody:
        if one.fault:
            told[one.name] = {"left_out": one.fault}
            continue
        spent = {clock: one.seconds(clock) for clock in ("cpu", "wall")}
        rates = {f"rows_per_s_{clock}": rows / statistics.median(seconds) for clock, seconds in spent.items()}
        told[one.name] = rates | spent | {"peak_mb": max(sample.peak_mb for sample in one.samples)} | quality[one.name]
        told[one.name] |= {f"factory_times_{clock}": value for clock, value in times_as_fast(everybody, one).items()}
    return told


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers-python", default=sys.executable, metavar="PYTHON", help="one that has the peers")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="contenders whose name begins so")
    parser.add_argument("--million", action="store_true", help="1,000,000 rows of the factory alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.rows < 1000 or options.repeats < 1:
        parser.error("--rows takes 1000 or more, --repeats 1 or more")
    return options


def main() -> None:
    options = parse()
    everybody = [one for one in contenders() if not options.only or one.name.startswith(tuple(options.only))]
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dedup-") as name:
        folder = Path(name)
        if options.million:
            told["million"] = run_million(options.seed, options.rows, folder)
            goals = judge_million(told["million"])
            text = json.dumps(told["million"], indent=1)
        else:
            corpus = folder / "corpus.jsonl"
            facts, truth = plant(options.seed, options.rows, corpus)
            take_turns(everybody, options.peers_python, corpus, options.rows, options.repeats)
            raw = raw_variants(everybody)
            take_turns(raw, options.peers_python, corpus, options.rows, 1)
            quality = {one.name: truth.quality(one.samples[0].places) for one in everybody + raw if not one.fault}
            goals = [*judge(everybody, quality), Goal("planted pairs not as planted", truth.misplanted, most=0)]
            everybody += raw
            facts |= {"pairs": len(truth.pairs), "duplicate_pairs": len(truth.duplicates)}
            told |= {"corpus": facts, "contenders": as_json(everybody, quality, options.rows)}
            text = "\n\n".join([str(facts), table(everybody, quality, options.rows), bucket_table(everybody, quality)])
    told["goals"] = {goal.what: {"value": goal.value, "met": goal.met} for goal in goals}
    print(json.dumps(told) if options.json else "\n".join([text, "", *(goal.line() for goal in goals)]))
    sys.exit(0 if all(goal.met for goal in goals) else 1)


if __name__ == "__main__":
    main()
