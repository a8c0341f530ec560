"""The story of a run in figures: what was planned, what fell where and why, what it cost, which rows to look at.

`tell_story` gives JSON values alone, so that `audit.json` may hold them and a report shows nothing else.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from factory.auditors import Data
from factory.reporting.facts import ReportFacts, RunFiles
from factory.reporting.redacting import read_recipe
from factory.reporting.rejects import Rejects, read_rejects
from factory.reporting.scored import meta, tell_axes, tell_gain, tell_scores
from factory.reporting.showing import finite
from factory.types import NANO, STAGES

FUNNEL = (
    ("call", "generated"),
    ("parse", "valid"),
    ("score", "scored"),
    ("select", "kept"),
    ("filter", "filtered"),
    ("dedup", "deduplicated"),
    ("decontaminate", "decontaminated"),
    ("unused", "accepted"),
)
"""A stage, and what those are called that it let pass."""
ALWAYS = frozenset({"call", "parse", "score", "select", "dedup", "decontaminate", "unused"})
REASONS = 6
CLUSTERS = 10
HITS = 40


def tell_story(facts: ReportFacts) -> dict[str, Any]:
    """The figures of a run (without one, of the rows alone): JSON values. Raises FactoryError (unreadable files)."""
    if facts.run is None:
        return {"rows": len(facts.dataset), "examples": {"accepted": _choose_rows(facts.dataset), "rejected": []}}
    run, rejects = facts.run, read_rejects(facts.run.rejects)
    recipe = read_recipe(run.recipe)
    told = {
        "rows": len(facts.dataset),
        "made": _tell_made(run, recipe),
        "funnel": tell_funnel(facts, rejects),
        "scores": tell_scores(facts.dataset, rejects, recipe),
        "gain": tell_gain(facts.dataset, rejects, recipe),
        "axes": tell_axes(facts.dataset, rejects, recipe),
        "duplicates": tell_clusters(facts.dataset, rejects),
        "contamination": tell_contamination(facts.dataset, rejects),
        "costs": tell_costs(run, len(facts.dataset)),
        "examples": {"accepted": _choose_rows(facts.dataset), "rejected": _choose_rejects(rejects)},
    }
    return {key: _plain(value) for key, value in told.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value as JSON holds it: numbers that are not finite are null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tell_made(run: RunFiles, recipe: Mapping[str, Any]) -> dict[str, Any]:
    manifest = run.manifest
    total = manifest.get("ledger") or {}
    cost, rows = total.get("cost_usd"), manifest.get("rows")
    return {
        "rows_wanted": manifest.get("rows_wanted"),
        "planned": manifest.get("planned"),
        "seed": manifest.get("seed"),
        "calls": total.get("calls"),
        "prompt_tokens": total.get("prompt_tokens"),
        "completion_tokens": total.get("completion_tokens"),
        "cost_usd": cost,
        "per_accepted_row_usd": cost / rows if cost is not None and rows else None,
        "candidates": (recipe.get("generate") or {}).get("candidates"),
    }


def tell_funnel(facts: ReportFacts, rejects: Rejects) -> dict[str, Any]:
    """Planned rows, then candidates that are left after each stage, with how many fell and why."""
    manifest = facts.run.manifest if facts.run is not None else {}
    rows = len(facts.dataset)
    fallen = Counter(rejects.column("stage"))
    fallen = fallen or Counter({key: int(count) for key, count in (manifest.get("rejected") or {}).items()})
    reasons = _reasons(rejects, manifest)
    left = rows + sum(fallen.values())
    steps: list[dict[str, Any]] = [{"name": "planned", "left": left, "lost": 0, "reasons": []}]
    known = [stage for stage, _ in FUNNEL]
    others = [(stage, f"after {stage}") for stage in sorted(map(str, fallen)) if stage not in known]
    for stage, name in [*FUNNEL[:-1], *others, FUNNEL[-1]]:
        lost = fallen.get(stage, 0)
        left -= lost
        if lost or stage in ALWAYS:
            steps.append({"name": name, "stage": stage, "left": left, "lost": lost, "reasons": reasons.get(stage, [])})
    return {"planned_rows": manifest.get("planned"), "steps": steps}


def _reasons(rejects: Rejects, manifest: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The most frequent reasons of each stage, numbers in them as #."""
    counted = Counter(zip(rejects.column("stage"), map(pattern, rejects.column("reason")), strict=True))
    if not counted:
        counted = Counter({(str(one[0]), str(one[1])): int(one[2]) for one in manifest.get("reasons", ())})
    found: dict[str, list[dict[str, Any]]] = {}
    for (stage, reason), count in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        of_stage = found.setdefault(stage, [])
        if len(of_stage) < REASONS:
            of_stage.append({"reason": reason, "count": count})
    return found


def pattern(reason: str | None) -> str:
    """A reason without its figures, so that like ones can be counted."""
    return re.sub(r"\d+(?:[.,]\d+)*", "#", (reason or "")[:160])


def tell_clusters(dataset: Data, rejects: Rejects) -> dict[str, Any] | None:
    """Near-duplicates that fell, by the row that they are like; the largest clusters first."""
    members: dict[str, list[int]] = {}
    for place, (stage, matched) in enumerate(zip(rejects.column("stage"), rejects.column("matched"), strict=True)):
        if stage == "dedup":
            members.setdefault(str(matched), []).append(place)
    if not members:
        return None
    places = _places(dataset)
    largest = sorted(members.items(), key=lambda item: (-len(item[1]), item[1][0]))
    return {
        "removed": sum(map(len, members.values())),
        "clusters": len(members),
        "largest": [
            {"like": like, "size": len(found) + 1, "place": places.get(like), "lines": found[:3]}
            for like, found in largest[:CLUSTERS]
        ],
    }


def _places(dataset: Data) -> dict[str, int]:
    """The first place in the dataset of each `meta.row`, as text."""
    found: dict[str, int] = {}
    for place, row in enumerate(meta(dataset, "row")):
        found.setdefault(str(row), place)
    return found


def tell_contamination(dataset: Data, rejects: Rejects) -> dict[str, Any] | None:
    """Overlaps with test sets: candidates that fell for one, and accepted rows that were flagged."""
    hits: list[dict[str, Any]] = []
    for place, stage in enumerate(rejects.column("stage")):
        if stage == "decontaminate":
            hit = _read_hit(rejects.column("matched")[place], rejects.column("reason")[place])
            hits.append({"row": rejects.column("row")[place], "flagged": False, "line": place, **hit})
    rows = meta(dataset, "row")
    for place, flags in enumerate(meta(dataset, "flags")):
        for flag in _read_json(flags, list):
            if isinstance(flag, Mapping) and flag.get("stage") == "decontaminate":
                hit = _read_hit(flag.get("matched"), flag.get("reason"))
                hits.append({"row": rows[place], "flagged": True, "place": place, **hit})
    if not hits:
        return None
    by_benchmark = Counter(str(hit.get("benchmark")) for hit in hits)
    return {
        "removed": sum(not hit["flagged"] for hit in hits),
        "flagged": sum(hit["flagged"] for hit in hits),
        "by_benchmark": [{"benchmark": name, "hits": count} for name, count in by_benchmark.most_common(30)],
        "hits": hits[:HITS],
    }


def _read_hit(matched: Any, reason: Any) -> dict[str, Any]:
    known = ("benchmark", "benchmark_row", "part", "column", "layer", "score", "span")
    found = _read_json(matched, dict)
    return {**{key: found.get(key) for key in known}, "reason": reason or ""}


def _read_json(text: Any, kind: type) -> Any:
    try:
        found = json.loads(text) if isinstance(text, str) else kind()
    except ValueError:
        return kind()
    return found if isinstance(found, kind) else kind()


def tell_costs(run: RunFiles, rows: int) -> dict[str, Any] | None:
    """Calls, tokens and money in all, by model and by purpose."""
    if run.ledger is None or not run.ledger.exists():
        return None
    import pyarrow.parquet as pq

    wanted = ("call_id", "model", "purpose", "prompt_tokens", "completion_tokens", "cost_usd", "upper_bound_usd")
    table = pq.read_table(run.ledger, columns=list(wanted))
    total = _sum_groups(table.append_column("all", [["all"] * len(table)]), "all") if len(table) else []
    if not total:
        return None
    cost = total[0]["cost_usd"]
    return {
        "total": {key: value for key, value in total[0].items() if key != "name"},
        "per_accepted_row_usd": cost / rows if cost is not None and rows else None,
        "by_model": _sum_groups(table, "model"),
        "by_purpose": _sum_groups(table, "purpose"),
    }


def _sum_groups(table: Any, by: str) -> list[dict[str, Any]]:
    """Sums of the ledger by one column, dearest first; `unknown_cost`: attempts whose cost is not known."""
    import pyarrow.compute as pc

    nano = pc.cast(pc.round(pc.multiply(table.column("cost_usd"), NANO)), "int64")
    bound = pc.cast(pc.round(pc.multiply(table.column("upper_bound_usd"), NANO)), "int64")
    unknown = pc.cast(pc.is_null(table.column("cost_usd")), "int64")
    table = table.append_column("nano", nano).append_column("bound", bound).append_column("unknown", unknown)
    found = table.group_by([by]).aggregate(
        [("call_id", "count_distinct"), ("call_id", "count")]
        + [(name, "sum") for name in ("prompt_tokens", "completion_tokens", "nano", "bound", "unknown")]
    )
    told = [
        {
            "name": one[by],
            "calls": one["call_id_count_distinct"],
            "attempts": one["call_id_count"],
            "prompt_tokens": one["prompt_tokens_sum"] or 0,
            "completion_tokens": one["completion_tokens_sum"] or 0,
            "cost_usd": None if one["nano_sum"] is None else one["nano_sum"] / NANO,
            "upper_bound_usd": (one["bound_sum"] or 0) / NANO,
            "unknown_cost": one["unknown_sum"],
        }
        for one in found.to_pylist()
    ]
    return sorted(told, key=lambda one: (-(one["cost_usd"] or 0), -one["calls"], str(one["name"])))


def _choose_rows(dataset: Data) -> list[dict[str, Any]]:
    """Places of the best, the middle and the worst rows by score; the first ones where they have none."""
    scores = [(s, place) for place, s in enumerate(meta(dataset, "score")) if math.isfinite(finite(s))]
    if len({score for score, _ in scores}) < 2:
        return [{"kind": "row", "place": place} for place in range(min(4, len(dataset)))]
    ranked = sorted(scores, key=lambda one: (-one[0], one[1]))
    half = len(ranked) // 2
    chosen = [("best", 0), ("best", 1), ("median", half), ("worst", len(ranked) - 2), ("worst", len(ranked) - 1)]
    found, seen = [], set[int]()
    for kind, at in chosen:
        score, place = ranked[max(0, min(at, len(ranked) - 1))]
        if place not in seen:
            seen.add(place)
            found.append({"kind": kind, "place": place, "score": score})
    return found


def _choose_rejects(rejects: Rejects, most: int = 18) -> list[dict[str, Any]]:
    """A candidate for each of the most frequent reasons, one at least of every stage, in the order of a row's walk."""
    first: dict[tuple[str, str], int] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for place, (stage, reason) in enumerate(zip(rejects.column("stage"), rejects.column("reason"), strict=True)):
        key = (stage, pattern(reason))
        counts[key] += 1
        first.setdefault(key, place)
    by_stage: dict[str, list[tuple[str, str]]] = {}
    for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        by_stage.setdefault(key[0], []).append(key)
    order = [*STAGES, *sorted(set(by_stage) - set(STAGES))]
    each = max(1, most // max(1, len(by_stage)))
    return [
        {
            "stage": key[0],
            "reason": key[1],
            "count": counts[key],
            "line": first[key],
            "row": rejects.column("row")[first[key]],
            "candidate": rejects.column("candidate")[first[key]],
            "total": rejects.column("total")[first[key]] if key[0] not in ("call", "parse") else None,
        }
        for stage in order
        for key in by_stage.get(stage, ())[:each]
    ]
