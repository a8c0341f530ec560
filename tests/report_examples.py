"""Facts of reports for tests: an audit of every kind of check, a made-up run, and texts that want to break a page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.auditing import Audit
from factory.auditors import Data
from factory.reporting import ReportFacts, RunFiles
from factory.types import Check, Evidence

HOSTILE = (
    "<script>document.title='struck';console.log('struck')</script>",
    "</title><script>alert(1)</script>",
    "</style><style>body{display:none}</style>",
    "</svg><img src=x onerror=alert(1)>",
    "]]> <!-- --> <![CDATA[ &amp; &lt; {{ 7*7 }} {% raw %}",
    "<a href=\"javascript:alert(1)\">here</a> ' onmouseover='alert(1)",
    "safe \u202egnp.exe\u202c and \u2067hidden\u2069 \x00 \x1b[31m \ud800 \ufeff end",
    "http://example.org/?a=1&b=2 $x^2$ \\(y\\) `code <b>bold</b>`",
)


def bell(middle: float) -> list[float]:
    return [math.exp(-(((at - middle) / 5) ** 2)) / 8.862 for at in range(24)]


def plots(label: str = "female · nurse") -> list[dict[str, Any]]:
    """A plot of each kind."""
    forest = [
        {"label": label, "value": 0.143, "low": 0.102, "high": 0.185, "mde": 0.09, "verdict": "FAIL"},
        {"label": "male · engineer", "value": 0.08, "low": 0.03, "high": 0.13, "mde": 0.12, "verdict": "INCONCLUSIVE"},
        {"label": "female · teacher", "value": -0.0432109, "low": None, "high": None, "verdict": "PASS"},
    ]
    curve = {"real and synthetic": {"y": [0.5, 0.6, 0.7], "low": [0.4, 0.5, 0.6], "high": [0.6, 0.7, 0.8]},
             "duplicated": {"y": [0.5, 0.51, 0.5]}}  # fmt: skip
    return [
        {"kind": "forest", "title": label, "rows": forest, "limit": [-0.1, 0.1], "x_label": "p_syn − p_real"},
        {"kind": "bars", "title": "Topics", "labels": [label, "short", "日本語 العربية"],
         "series": {"dataset": [0.2, 0.5, 0.3], "reference": [0.25, 0.35, 0.4]}, "y_label": "share of rows"},
        {"kind": "histogram", "title": "Words", "edges": [5 * at for at in range(25)],
         "series": {"dataset": bell(10), "reference": bell(12)}, "x_label": "words"},
        {"kind": "curve", "title": "Accuracy", "x": [0, 0.5, 1], "series": curve, "x_label": "mix", "y_label": label},
        {"kind": "points", "title": "Rows", "x": [0.01 * at for at in range(600)],
         "y": [(at * 7919 % 600) / 600 for at in range(600)], "x_label": "to training", "y_label": "to holdout"},
    ]  # fmt: skip


def checks(label: str = "female · nurse", copies: int = 1) -> tuple[Check, ...]:
    """One check for each verdict and plot, and one that holds nothing."""
    found = []
    for copy in range(copies):
        for number, plot in enumerate(plots(label)):
            area = ("bias", "fidelity", "diversity", "utility", "privacy")[number]
            verdict = ("FAIL", "PASS", "INCONCLUSIVE", "PASS", "FAIL")[number]
            found.append(
                Check(
                    f"{area}.example", 0.1234567 * (number + 1), (0.05, 0.3333333), 2000 + number, 0.0800001,
                    "at most .1", verdict, f"Of 2,000 rows 31 (1.6 %) hold {label}.", f"{label} {copy}",
                    (Evidence(3, f"row of {label}", "5379ce62c5f71e43", details={"z": 4.7125, "pair": label}),),
                    {"plots": [plot], "words": 41, "shares": {"a": 0.25, "b": {"c": [1, 2, 3]}}, "told": label,
                     "matrix": [[1, 2], [3, 4]], "pairs": [{"word": label, "z": 1.5}, {"word": "x", "z": -2.25}],
                     "tables": [{"title": label, "header": ["word", "z"], "rows": [[label, 4.71], ["y", None]]}]},
                    f"method {label}", f"balance `persona`, mind {label}", 3, None, 1.3e-9, 4.1e-7,
                )
            )  # fmt: skip
    unknown = {"plots": [{"kind": "violin", "title": "odd"}, {"kind": "bars", "labels": [], "series": {}}]}
    found.append(Check("privacy.membership", None, sentence="There is no holdout.", advice="give --holdout FILE"))
    found.append(Check("requested.sentiment", 0, n=60, verdict="PASS", sentence="Nothing odd.", details=unknown))
    return tuple(found)


def audit(label: str = "female · nurse", copies: int = 1) -> dict[str, Any]:
    """What audit.json holds, after a round through JSON."""
    facts = {"dataset": {"name": "/home/ann/secret/data.jsonl", "rows": 4}, "lexicons": {"groups en": "1.0"}}
    found: dict[str, Any] = json.loads(json.dumps(Audit(checks(label, copies), True, facts).as_json()))
    return found


def rows(texts: list[str], *, candidates: int = 3) -> pa.Table:
    """A dataset as a run writes it."""
    metas = [
        {
            "row": 2 * at, "id": f"{at:016x}", "source": "synthetic", "recipe": "made-up", "model": "echo", "seed": at,
            "variation": json.dumps({"topic": ["sea", "wood"][at % 2], "ticket": at}), "score": 0.5 + at / 100,
            "scores": json.dumps({"length": 0.5, "judge": 0.25 * (at % 4)}), "prompt_tokens": 5,
            "completion_tokens": 9, "cost_usd": 0.001, "prompt_sha": "00",
            "flags": json.dumps([{"stage": "decontaminate", "reason": "overlaps gsm8k", "matched": json.dumps(
                {"benchmark": "gsm8k", "benchmark_row": 17, "part": "question", "column": "text", "layer": "ngram",
                 "score": 0.91, "span": texts[at][:12]})}]) if at == 1 else None,
        }
        for at in range(len(texts))
    ]  # fmt: skip
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    return pa.table({"text": clean, "topic": [["sea", "wood"][at % 2] for at in range(len(texts))], "meta": metas})


REJECTED = (
    ("call", "refused: content filter", 0.0, None),
    ("parse", "no field `answer`", 0.0, None),
    ("score", "length: 3 words, at least 15", 0.1, None),
    ("score", "length: 4 words, at least 15", 0.2, None),
    ("select", "not among the best 1", 0.3, None),
    ("select", "not among the best 1", 0.4, None),
    ("dedup", "near-duplicate of row 0 (similarity 0.91)", 0.6, "0"),
    ("dedup", "near-duplicate of row 0 (similarity 0.88)", 0.7, "0"),
    ("decontaminate", "overlaps gsm8k: the question of row 3", 0.65, json.dumps(
        {"benchmark": "gsm8k", "benchmark_row": 3, "part": "question", "column": "text", "layer": "characters",
         "score": 0.83, "span": "Natalia sold clips"})),
    ("unused", "made past the target", 0.5, None),
)  # fmt: skip


def write_rejects(path: Path, text: str) -> None:
    """A line for each way to fall; rows 0, 1, 2, … in turn."""
    lines = [
        {
            "row": at // 2, "step": "main", "candidate": at % 2 + 1, "stage": stage, "reason": reason,
            "scores": json.dumps({"length": total}), "total": total,
            "variation": json.dumps({"topic": "sea", "ticket": 100 + at // 2}),
            "text": f"{text} Natalia sold clips to {at} friends".encode("utf-8", "replace").decode(),
            "matched": matched,
        }
        for at, (stage, reason, total, matched) in enumerate(REJECTED)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(lines), path, row_group_size=4)


def write_ledger(path: Path) -> None:
    lines = [
        {
            "call_id": f"{at // 2:032x}", "model": ["big", "small"][at % 2], "purpose": ["generate", "judge"][at % 2],
            "prompt_tokens": 10 + at, "completion_tokens": 20 + at, "cost_usd": None if at == 5 else 1e-9 * (at + 1),
            "upper_bound_usd": 0.25 if at == 5 else None,
        }
        for at in range(6)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(lines), path)


RECIPE = """
name: made-up
description: A made-up recipe.
models:
  writer:
    backend: openai
    model: Qwen/Qwen3-8B
    base_url: https://secret-host.internal:8443/v1
    identity: openai/q@https://secret-host.internal:8443/v1
    headers: {X-Team: top-secret-header}
from: {path: /home/ann/secret/tickets.jsonl}
vary:
  topic: {choice: {sea: 3, wood: 1}}
  ticket: {integer: {min: 1, max: 999}}
prompt: "Write about {{ topic }} </pre><script>alert(1)</script>"
"""


def manifest(rows: int) -> dict[str, Any]:
    return {
        "name": "made-up", "seed": 7, "plan_sha": "ab" * 32, "prompts": {"main": "cd" * 32}, "rows": rows,
        "rows_wanted": rows, "planned": 9, "status": "complete", "reason": "",
        "finished_at": "2026-05-04T03:02:01+00:00", "packages": {"python": "3.11.7", "numpy": "2.4.6"},
        "notices": ["a notice </script>"],
        "models": [{"role": "writer", "model": "openai/Qwen/Qwen3-8B", "served_as": ["q</title>"],
                    "identity": "openai/q@https://secret-host.internal:8443/v1", "sampling": {"temperature": 0.9}}],
        "filters": [{"name": "dedup", "threshold": 0.8}], "scorers": [{"step": "main", "name": "length"}],
        "ledger": {"calls": 3, "cost_usd": 0.5, "prompt_tokens": 75, "completion_tokens": 135},
    }  # fmt: skip


def run_facts(folder: Path, texts: list[str], label: str = "female · nurse", copies: int = 1) -> ReportFacts:
    """Facts of a run whose rows are these texts."""
    write_rejects(folder / "rejects.parquet", texts[0][:5000])
    write_ledger(folder / "ledger.parquet")
    files = RunFiles(manifest(len(texts)), RECIPE, folder / "rejects.parquet", folder / "ledger.parquet")
    return ReportFacts(audit(label, copies), f"made-up {label}", Data("made-up", rows(texts)), None, files)


def at(found: Any, pointer: str) -> Any:
    """What a JSON Pointer points at."""
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found
