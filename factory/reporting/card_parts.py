"""What a dataset card shows of an audit: a summary in Markdown and two or three plots as files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from factory.reporting import canvas
from factory.reporting.canvas import BAD, GOOD, INK, MUTED, ONE, OPEN, PAPER, WIDTH, Sheet
from factory.reporting.facts import ReportFacts
from factory.reporting.plots import PlotError, draw_plot, fit
from factory.reporting.showing import one_line, show
from factory.reporting.story import tell_story

FOLDER = "plots"
_COLOURS = {"PASS": (GOOD, "✓"), "FAIL": (BAD, "✕"), "INCONCLUSIVE": (OPEN, "?")}


def card_plots(facts: ReportFacts) -> dict[str, bytes]:
    """Files for the directory of the dataset, by their path in it: verdicts, the funnel of a run, and the lengths or
    the scores of its rows. Raises FactoryError (unreadable files of the run).
    """
    story = facts.audit.get("story") or tell_story(facts)
    found: dict[str, str] = {}
    if facts.audit.get("checks"):
        found["verdicts.svg"] = _verdicts(facts.audit["checks"])
    if "funnel" in story:
        found["funnel.svg"] = _funnel(story["funnel"])
    for name, spec in (("lengths.svg", _lengths(facts.audit)), ("scores.svg", (story.get("scores") or {}).get("plot"))):
        if spec is not None and len(found) < 3:
            try:
                found[name] = draw_plot(spec, "c-", canvas.CARD)
            except PlotError:
                continue
    return {f"{FOLDER}/{name}": svg.encode() for name, svg in found.items()}


def _lengths(audit: Mapping[str, Any]) -> Any:
    """The plot of a check about lengths, where one brings it."""
    for check in audit.get("checks", ()):
        plots = (check.get("details") or {}).get("plots") or ()
        if "length" in check["name"] and plots:
            return plots[0]
    return None


def _verdicts(checks: list[Mapping[str, Any]]) -> str:
    """A square for each check, by area."""
    by_area: dict[str, list[str]] = {}
    for check in checks:
        by_area.setdefault(check["name"].partition(".")[0], []).append(check["verdict"])
    across = 14
    lines = [(area, words[at : at + across]) for area, words in by_area.items() for at in range(0, len(words), across)]

    def paint(sheet: Sheet) -> None:
        axes = _bare(sheet)
        before = ""
        for number, (area, words) in enumerate(lines):
            y = 12 + 26 * number
            axes.text(0, y, fit(area, 130) if area != before else "", va="center", color=INK)
            before = area
            for place, word in enumerate(words):
                _square(axes, 150 + 21 * place, y, word)
        for place, word in enumerate(_COLOURS):
            x, y = (0, 70, 140)[place], 20 + 26 * len(lines)
            _square(axes, x + 9, y, word)
            axes.text(x + 22, y, word, va="center", color=MUTED)

    told = "; ".join(f"{area}: {', '.join(words)}" for area, words in by_area.items())
    height = 34 + 26 * len(lines)
    return canvas.draw(paint, height, prefix="v-", title="Verdicts of the audit", told=told, colours=canvas.CARD)


def _bare(sheet: Sheet) -> Any:
    """The whole sheet in pixels from the left and the top."""
    axes = sheet.axes(0, 0, 0, 0)
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(sheet.height, 0)
    return axes


def _square(axes: Any, x: float, y: float, word: str) -> None:
    """A verdict as a mark on its colour."""
    colour, mark = _COLOURS.get(word, (OPEN, "?"))
    axes.plot([x], [y], "s", color=colour, markersize=17, markeredgewidth=0)
    axes.text(x, y, mark, va="center", ha="center", color=PAPER, fontsize=12)


def _funnel(funnel: Mapping[str, Any]) -> str:
    """How many candidates each stage let pass, as bars."""
    steps = funnel["steps"]
    most = max(1, *(step["left"] for step in steps))

    def paint(sheet: Sheet) -> None:
        axes = _bare(sheet)
        for number, step in enumerate(steps):
            y, width = 11 + 24 * number, 240 * step["left"] / most
            axes.text(0, y, fit(step["name"], 124), va="center", color=INK)
            last = number == len(steps) - 1
            axes.barh(y, max(width, 0.8), 14, left=124, color=GOOD if last else ONE)
            axes.text(130 + width, y, show(step["left"]), va="center", color=MUTED)

    told = "; ".join(f"{step['name']}: {show(step['left'])}" for step in steps)
    height = 20 + 24 * len(steps)
    return canvas.draw(
        paint, height, prefix="f-", title="Candidates left after each stage", told=told, colours=canvas.CARD
    )


def card_summary(facts: ReportFacts, plots: Mapping[str, bytes] | None = None) -> str:
    """The audit in Markdown: verdicts by area, the sentences of what failed, and the plots (`card_plots`) as images."""
    audit = facts.audit
    checks = audit.get("checks") or []
    lines = [
        f"**Verdict: {audit.get('verdict', '–')}**" + ("" if audit.get("gating", True) else " (told, gates nothing)"),
        "",
        f"{show(len(checks))} checks made {show(audit.get('tests') or 0)} hypothesis tests, corrected together (Holm), "
        f"so that the chance of any false FAIL is at most {show(audit.get('alpha', math.nan))}. PASS means that the "
        "effect a gate is about would have been seen; INCONCLUSIVE that it could not.",
        "",
        "| area | verdict | pass | fail | inconclusive |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for area, verdict in (audit.get("areas") or {}).items():
        words = [check["verdict"] for check in checks if check["name"].partition(".")[0] == area]
        counts = " | ".join(show(words.count(word)) for word in ("PASS", "FAIL", "INCONCLUSIVE"))
        lines.append(f"| {_markdown(area)} | {verdict} | {counts} |")
    if bad := [check for check in checks if check["verdict"] == "FAIL"]:
        lines += ["", "What failed:", ""]
        for check in bad:
            name = check["name"] + (f" ({check['subject']})" if check.get("subject") else "")
            lines.append(f"- **{_markdown(name)}**: {_markdown(check['sentence'])}")
            lines += [f"  - {_markdown(check['advice'])}"] if check.get("advice") else []
    for name in plots or ():
        lines += ["", f"![{_ALT.get(name.rpartition('/')[2], 'plot of the audit')}]({name})"]
    return "\n".join(lines)


_ALT = {
    "verdicts.svg": "verdicts of all checks by area",
    "funnel.svg": "candidates left after each stage",
    "lengths.svg": "lengths of the rows",
    "scores.svg": "total scores of accepted and rejected candidates",
}


def _markdown(text: str) -> str:
    """A text on one line that Markdown and HTML leave as it is."""
    told = one_line(text, 600).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", told)
