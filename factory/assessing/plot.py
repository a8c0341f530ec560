"""The plot of `factory score`: for every scorer, the share of good rows at each score, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN = 250, 190, 42
ACROSS = 3


def draw_plot(summary: Mapping[str, Any]) -> str | None:
    """An SVG with one panel a scorer (and one for the total); None where no labels say what is good."""
    panels = [(name, one) for name, one in summary["scorers"].items() if one.get("calibration")]
    if summary.get("total", {}).get("calibration"):
        panels.append(("total", summary["total"]))
    if not panels:
        return None
    rows = -(-len(panels) // ACROSS)
    width, height = ACROSS * WIDTH, rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, (name, one) in enumerate(panels):
        left, top = number % ACROSS * WIDTH, number // ACROSS * HEIGHT
        parts.append(f'<g transform="translate({left} {top})">{_panel(name, one)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(name: str, one: Mapping[str, Any]) -> str:
    bins = one["calibration"]
    least, most = one.get("range", [None, None])
    low = float(bins[0]["score"] if least is None else least)
    high = float(bins[-1]["score"] if most is None else most)
    span = (high - low) or 1.0

    def x(score: float) -> float:
        return MARGIN + (score - low) / span * (WIDTH - MARGIN - 14)

    def y(share: float) -> float:
        return MARGIN + (1 - share) * (HEIGHT - 2 * MARGIN)

    right, bottom = WIDTH - 14, HEIGHT - MARGIN
    parts = [f'<text x="{MARGIN}" y="16" font-size="12" font-weight="bold">{escape(name)}</text>']
    auc = one.get("auc") or {}
    if auc.get("value") is not None:
        parts.append(f'<text x="{right}" y="16" text-anchor="end">AUC {auc["value"]:.2f}</text>')
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<path d="M{MARGIN} {y(share):.1f}H{right}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{MARGIN - 4}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    if (low, high) == (0, 1) and one.get("better") != "lower":
        parts.append(f'<path d="M{x(0):.1f} {y(0):.1f}L{x(1):.1f} {y(1):.1f}" stroke="#999" stroke-dasharray="4 3"/>')
    points = " ".join(f"{x(each['score']):.1f},{y(each['share_good']):.1f}" for each in bins)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#0b6bcb"/>')
    for each in bins:
        least, most = each["interval"]
        at = x(each["score"])
        parts.append(f'<path d="M{at:.1f} {y(least):.1f}V{y(most):.1f}" stroke="#0b6bcb"/>')
        parts.append(f'<circle cx="{at:.1f}" cy="{y(each["share_good"]):.1f}" r="3" fill="#0b6bcb"/>')
    ends = ((low, "start"), (high, "end")) if high > low else ((low, "start"),)
    for value, anchor in ends:
        at = x(value)
        parts.append(f'<text x="{at:.1f}" y="{bottom + 14}" text-anchor="{anchor}">{value:.3g}</text>')
    parts.append(f'<text x="{(MARGIN + right) / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">score</text>')
    return "".join(parts)
