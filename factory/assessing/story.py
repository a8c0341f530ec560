"""The report in words and tables, for the terminal and for `report.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tell_report(summary: Mapping[str, Any]) -> str:
    """`report.md`: tables in Markdown."""
    lines = [f"# Scorers on {summary['data']}", "", f"{summary['rows']:,} rows"]
    if summary.get("groups") is not None:
        lines[-1] += f" in {summary['groups']:,} groups"
    lines[-1] += f", {figure(summary['vetoed'], percent=True)} vetoed."
    if summary.get("labels"):
        lines.append(f"Labels: `{summary['labels']}`. Intervals are 95 %.")
    header, rows = scorer_table(summary)
    lines += ["", _row(header), _row(["---", *["---:"] * (len(header) - 1)]), *map(_row, rows)]
    for title, told in (("Vetoes against labels", veto_table(summary)), ("Judges", bias_table(summary))):
        if told[1]:
            lines += ["", f"## {title}", "", _row(told[0]), _row(["---"] * len(told[0])), *map(_row, told[1])]
    if summary.get("agreement"):
        lines += ["", "## Agreement between scorers", "", "| scorers | rank correlation |", "| --- | ---: |"]
        for one in summary["agreement"]:
            lines.append(_row([" and ".join(one["scorers"]), figure(one["spearman"])]))
    lines += _reasons(summary)
    for note in summary.get("notes", ()):
        lines += ["", f"> {note}"]
    return "\n".join(lines) + "\n"


def _reasons(summary: Mapping[str, Any]) -> list[str]:
    found = [(name, one["reasons"]) for name, one in summary["scorers"].items() if one["reasons"]]
    if not found:
        return []
    lines = ["", "## Most frequent reasons", "", "| scorer | reason | rows |", "| --- | --- | ---: |"]
    return lines + [_row([name, reason, f"{count:,}"]) for name, reasons in found for reason, count in reasons]


def scorer_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """One line a scorer, and one for the total."""
    labelled = bool(summary.get("labels"))
    header = ["scorer", "asked", "missing", "vetoed", "mean", "median"]
    header += ["AUC", "Spearman", "ECE"] if labelled else []
    rows = []
    for name, one in summary["scorers"].items():
        values = one["values"] or {}
        row = [name, f"{one['asked']:,}", f"{one['missing']:,}", figure(one["vetoed"], percent=True, short=True)]
        row += [_number(values.get("mean")), _number(values.get("median"))]
        rows.append(row + (_labelled(one) if labelled else []))
    if "total" in summary:
        total = summary["total"]
        values = total["values"] or {}
        row = ["total", "", "", "", _number(values.get("mean")), _number(values.get("median"))]
        rows.append(row + (_labelled(total) if labelled else []))
    return header, rows


def _labelled(one: Mapping[str, Any]) -> list[str]:
    return [figure(one.get("auc")), figure(one.get("spearman")), _number(one.get("calibration_error"))]


def veto_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What vetoes catch and what they cost, where labels say which rows are good."""
    header = ["scorer", "bad rows caught", "good rows lost", "kappa"]
    every = [
        (name, one.get("veto_against_labels")) for name, one in summary["scorers"].items() if one["vetoed"]["value"]
    ]
    every.append(("all together", summary.get("veto_against_labels")))
    rows = [
        [name, figure(one["bad_caught"], percent=True), figure(one["good_lost"], percent=True), figure(one["kappa"])]
        for name, one in every
        if one is not None
    ]
    return header, rows


def bias_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What moves judges and should not."""
    header = ["judge", "length", "length at equal label", "turned by the order"]
    rows = []
    for name, one in summary["scorers"].items():
        if "bias" in one:
            bias = one["bias"]
            cells = [figure(bias["length"]), figure(bias.get("length_at_equal_label"))]
            rows.append([name, *cells, figure(bias.get("position"), percent=True)])
    return header, rows


def figure(measured: Mapping[str, Any] | None, *, percent: bool = False, short: bool = False) -> str:
    """`0.91 (0.86 to 0.95)`, or `–` where there is no figure."""
    if measured is None or measured["value"] is None:
        return "–"
    form = _percent if percent else _number
    if measured["interval"] is None or short:
        return form(measured["value"])
    low, high = measured["interval"]
    return f"{form(measured['value'])} ({form(low)} to {form(high)})"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
