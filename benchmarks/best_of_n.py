"""Best of N: the share of planned rows that end as an accepted and truly right row, for N = 1, 2, 4, 8, 16.

    python benchmarks/best_of_n.py [--rows 300] [--candidates 1,2,4,8,16] [--svg FILE]

The shipped recipe `word-problems` is run by the model in the package, once for each N, and its dataset is read back:
what the recipe's scorers and their best of N let through. Truth comes from other code, the checks that the training of
the model was measured with (`scripts/embedded_grammar/verify.py`). Beside it, for the same runs: one candidate drawn at
random, whatever the scorers say; and what theory expects of a perfect verifier, from the candidates of the largest run:
1 − (1 − p)^N for rows that are all as hard, and the mean over rows of 1 − C(n−c, N) / C(n, N) (Chen et al. 2021), which
takes every row's own share of right candidates. Intervals are Wilson's, 95 %. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyarrow.parquet as pq
from embedded_grammar.verify import find_fault
from evaluate_embedded import wilson

from factory.api import run
from factory.errors import TargetNotReached
from factory.recipe import Overrides, load_recipe

Texts = dict[int, list[tuple[int, str, bool]]]
"""By planned row: (candidate, text, accepted)."""


def make(n: int, rows: int, runs: Path) -> tuple[Texts, dict[int, dict[str, Any]]]:
    """Every candidate of `rows` planned rows of a run with N candidates each, and every row's variation."""
    sets = {"generate.candidates": n, "max_planned": rows, "filter": "[]", "balance": "false"}
    overrides = Overrides(rows=rows, sets=tuple((key, str(value)) for key, value in sets.items()))
    recipe = load_recipe("word-problems", overrides=overrides)
    try:
        path = run(recipe, out=runs / str(n)).path
    except TargetNotReached as error:  # the target is one row for each planned row, which is seldom reached
        assert error.result is not None
        path = error.result.path
    texts: Texts = defaultdict(list)
    variations: dict[int, dict[str, Any]] = {}
    for file in sorted((path / "dataset" / "data").glob("*.parquet")):
        for row in pq.read_table(file).to_pylist():
            number = row["meta"]["row"]
            texts[number].append((-1, f"Question: {row['question']}\nAnswer: {row['answer']}", True))
            variations[number] = json.loads(row["meta"]["variation"])
    for reject in pq.read_table(path / "rejects.parquet").to_pylist():
        texts[reject["row"]].append((reject["candidate"], reject["text"], False))
        variations[reject["row"]] = json.loads(reject["variation"])
    return texts, variations


def is_right(variation: dict[str, Any], text: str) -> bool:
    return find_fault("word-problem", variation, text) is None


def pass_at(n: int, right: int, k: int) -> float:
    """The chance that k of n candidates hold at least one of the right ones (Chen et al. 2021, equation 1)."""
    return 1.0 if n - right < k else 1 - math.comb(n - right, k) / math.comb(n, k)


def share(hits: int, total: int) -> dict[str, Any]:
    return {"share": round(hits / total, 4), "interval": [round(end, 4) for end in wilson(hits, total)]}


def measure(counts: Sequence[int], rows: int) -> dict[str, Any]:
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for n in counts:
            print(f"N = {n} …", file=sys.stderr)
            made[n] = make(n, rows, Path(folder))
    most = max(counts)
    texts, variations = made[most]
    right = {row: sum(is_right(variations[row], text) for _, text, _ in texts[row]) for row in texts}
    p = sum(right.values()) / (most * rows)
    curve = []
    for n in counts:
        texts, variations = made[n]
        accepted = {row: text for row, group in texts.items() for _, text, kept in group if kept}
        good = sum(is_right(variations[row], text) for row, text in accepted.items())
        draw = random.Random(n)
        drawn = {row: draw.choice(sorted(texts[row]))[1] for row in sorted(texts)}
        blind = sum(is_right(variations[row], text) for row, text in drawn.items())
        curve.append(
            {
                "n": n,
                "accepted_and_right": share(good, rows),
                "accepted": round(len(accepted) / rows, 4),
                "right_of_accepted": share(good, max(1, len(accepted))),
                "random_choice": share(blind, rows),
                "theory_equal_rows": round(1 - (1 - p) ** n, 4),
                "theory_by_row": round(sum(pass_at(most, right.get(row, 0), n) for row in range(rows)) / rows, 4),
            }
        )
    return {"rows": rows, "p": round(p, 4), "curve": curve, "python": platform.python_version()}


def draw_svg(found: dict[str, Any]) -> str:
    """The curve as a picture: what was measured with its interval, theory, and the choice at random."""
    width, height, left, top, bottom = 640, 360, 56, 24, 48
    curve = found["curve"]
    lowest = min(min(point["random_choice"]["interval"][0], point["theory_equal_rows"]) for point in curve)
    floor = math.floor(lowest * 10) / 10

    def x(place: int) -> float:
        return left + 24 + place * (width - left - 64) / max(1, len(curve) - 1)

    def y(value: float) -> float:
        return top + (1 - value) / (1 - floor) * (height - top - bottom)

    def line(name: str, css: str) -> str:
        points = " ".join(
            f"{x(i):.1f},{y(point[name]['share'] if isinstance(point[name], dict) else point[name]):.1f}"
            for i, point in enumerate(curve)
        )
        return f'<polyline points="{points}" fill="none" {css}/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for tick in range(round(floor * 10), 11):
        value = tick / 10
        parts.append(f'<path d="M{left} {y(value):.1f}H{width - 16}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0%}</text>')
    for i, point in enumerate(curve):
        parts.append(f'<text x="{x(i):.1f}" y="{height - 26}" text-anchor="middle">{point["n"]}</text>')
        for name, colour in (("accepted_and_right", "#0b6bcb"), ("random_choice", "#b3541e")):
            low, high = point[name]["interval"]
            parts.append(f'<path d="M{x(i):.1f} {y(low):.1f}V{y(high):.1f}" stroke="{colour}" stroke-width="2"/>')
            parts.append(f'<circle cx="{x(i):.1f}" cy="{y(point[name]["share"]):.1f}" r="4" fill="{colour}"/>')
    parts += [
        line("theory_by_row", 'stroke="#666" stroke-dasharray="5 4"'),
        line("accepted_and_right", 'stroke="#0b6bcb" stroke-width="2"'),
        line("random_choice", 'stroke="#b3541e" stroke-width="2"'),
        f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">candidates of each row, N</text>',
    ]
    legend = (("#0b6bcb", "accepted and right"), ("#666", "theory, perfect verifier"), ("#b3541e", "one at random"))
    for i, (colour, name) in enumerate(legend):
        at = y(0.915) + 20 * i
        parts.append(f'<path d="M{width - 230} {at:.1f}h22" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{width - 200}" y="{at + 4:.1f}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--candidates", default="1,2,4,8,16", help="values of N, separated by commas")
    parser.add_argument("--svg", type=Path, help="draw the curve into this file")
    given = parser.parse_args()
    found = measure(sorted({int(n) for n in given.candidates.split(",")}), given.rows)
    if given.svg:
        given.svg.write_text(draw_svg(found), encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
