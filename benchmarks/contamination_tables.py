"""The report of `decontamination.py` as tables in Markdown, and its goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from contamination_variants import KINDS

UNSEEN = {kind.name for kind in KINDS if kind.group == "unseen"}
GROUPS = {kind.name: kind.group for kind in KINDS}
OURS = ("ngram", "coverage", "characters", "cascade")


def pool(report: Mapping[str, Any], detector: str, rate: str, group: str, benchmark: str = "all") -> tuple[int, int]:
    """(hits, total) of all variants of a group."""
    by_kind = report["detectors"][detector][rate]["recall"]["by_kind"]
    cells = [by_kind[kind][benchmark] for kind in by_kind if GROUPS[kind] == group and benchmark in by_kind[kind]]
    return sum(cell["hits"] for cell in cells), sum(cell["of"] for cell in cells)


def judge_goals(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Goal, what was measured, and whether it is met."""
    goals = []

    def add(goal: str, value: float, met: bool) -> None:
        goals.append({"goal": goal, "measured": round(value, 5), "met": bool(met)})

    for rate, least in (("0.001", 0.001), ("0.01", 0.01)):
        false = report["detectors"]["cascade"][rate]["false_positives"]
        add(
            f"false positives of the cascade set to {rate}, over benchmarks × clean rows",
            false["pairs"]["share"],
            false["pairs"]["share"] <= least,
        )
        worst = max((cells["all"]["share"], name) for name, cells in false["by_benchmark"].items())
        add(f"the same, worst benchmark ({worst[1]})", worst[0], worst[0] <= least)
        in_domain = (("GSM8K", "GSM8K train"), ("MMLU", "MMLU dev and validation"))
        for name, source in in_domain:
            cell = false["by_benchmark"].get(name, {}).get(source)
            if cell:
                add(f"the same, {name} on {source}", cell["share"], cell["share"] <= least)
    for benchmark in ("all", *report["variants"]):
        hits, total = pool(report, "cascade", "0.001", "copied", benchmark)
        add(
            f"copied, templated, partial, numbers changed, {benchmark}: recall ≥ .999 at .001",
            hits / total,
            hits / total >= 0.999,
        )
    for rate, least in (("0.001", 0.9), ("0.01", 0.98)):
        for benchmark in ("all", *report["variants"]):
            hits, total = pool(report, "cascade", rate, "rephrased", benchmark)
            if total:
                add(
                    f"rephrased, no model, {benchmark}: recall ≥ {least} at {rate}", hits / total, hits / total >= least
                )
    rates = report["rates"]
    add("ngram layer: ≥ 50,000 rows/s on one core", rates["ngram"], rates["ngram"] >= 50_000)
    add("whole cascade: ≥ 2,000 rows/s on one core", rates["cascade"], rates["cascade"] >= 2_000)
    return goals


def percent(cell: Mapping[str, Any] | None, *, digits: int = 1) -> str:
    """A share as a percentage, a dash where nothing was measured."""
    if not cell or cell["share"] is None:
        return "–"
    return f"{100 * cell['share']:.{digits}f}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"| {' | '.join(['---'] * len(names))} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def recall_table(report: Mapping[str, Any]) -> str:
    """Recall by kind of variant (all benchmarks together) for every detector, in percent."""
    detectors = report["detectors"]
    columns = [(name, rate) for rate in ("0.001", "0.01") for name in OURS if name in detectors]
    columns += [(name, "None") for name in detectors if name not in OURS]
    head = ["variant", "rows", *(f"{name} {'' if rate == 'None' else rate[1:]}".strip() for name, rate in columns)]
    rows = []
    for kind in GROUPS:
        cells = [detectors[name][rate]["recall"]["by_kind"].get(kind, {}).get("all") for name, rate in columns]
        if cells[0]:
            rows.append([f"{kind}*" if kind in UNSEEN else kind, str(cells[0]["of"]), *map(percent, cells)])
    for what in ("pairs", "rows"):
        cells = [detectors[name][rate]["false_positives"][what] for name, rate in columns]
        label = "clean pairs of row and benchmark" if what == "pairs" else "clean rows hit by any benchmark"
        rows.append([f"**false positives**: {label}", str(cells[0]["of"]), *(percent(c, digits=3) for c in cells)])
    return table(head, rows)


def benchmark_table(report: Mapping[str, Any], rate: str) -> str:
    """The cascade's recall by kind and benchmark, hits of rows."""
    by_kind = report["detectors"]["cascade"][rate]["recall"]["by_kind"]
    names = list(report["variants"])
    rows = []
    for kind in GROUPS:
        if kind in by_kind:
            cells = [by_kind[kind].get(name) for name in names]
            rows.append([kind, *(f"{percent(c)} ({c['hits']}/{c['of']})" if c else "–" for c in cells)])
    return table(["variant", *names], rows)


def false_table(report: Mapping[str, Any], detector: str, rate: str) -> str:
    """False positives by benchmark and source: hits of rows, and the interval over all of them."""
    false = report["detectors"][detector][rate]["false_positives"]["by_benchmark"]
    sources = list(report["clean"])
    rows = []
    for name, cells in false.items():
        total = cells["all"]
        low, high = (100 * end for end in total["interval"])
        counts = [f"{cells[s]['hits']}/{cells[s]['of']}" if s in cells else "–" for s in sources]
        rows.append([name, *counts, f"{percent(total, digits=3)} % ({low:.3f}–{high:.3f})"])
    return table(["benchmark", *sources, "all"], rows)


def print_report(report: Mapping[str, Any]) -> None:
    """All tables."""
    print(f"Half: {report['half']}; {report['rows']} rows in {report['seconds']} s\n")
    print("Recall in percent, by variant (*: kinds that nothing was tuned on)\n\n" + recall_table(report) + "\n")
    for rate in ("0.001", "0.01"):
        right = report["detectors"]["cascade"][rate]["recall"]["right_row"]
        print(f"The cascade at {rate}, by benchmark (right row named in {percent(right)} % of the hits)\n")
        print(benchmark_table(report, rate) + "\n")
        print(f"False positives of the cascade at {rate}: hits of clean rows\n")
        print(false_table(report, "cascade", rate) + "\n")
        copies = report["detectors"]["cascade"][rate]["false_positives"]["copies_found"]
        print(f"Copies among the clean rows (left out above): {copies['hits']} of {copies['of']} found\n")
    print("Copies left out, by the rule of contamination_data: " + str(report["copies"]) + "\n")
    facts = report["indexes"].items()
    print(table(["index", "rows", "seconds", "MB"], ([n, *map(str, f.values())] for n, f in facts)) + "\n")
    rates = report["rates"]
    print(
        f"Rows/s on one core ({rates['rows']} rows of {rates['words']} words, MMLU + GSM8K + BBH): "
        f"ngram {rates['ngram']:,}, cascade {rates['cascade']:,}\n"
    )
    goals = ([g["goal"], str(g["measured"]), "met" if g["met"] else "**missed**"] for g in report["goals"])
    print(table(["goal", "measured", ""], goals))
