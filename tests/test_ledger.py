"""The ledger's sums against a plain count, and its Parquet file against the sums."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_calls import make_call

from factory import ledger
from factory.errors import StorageFull, UsageError
from factory.types import NANO, LedgerEntry

COLUMNS = [
    "call_id", "attempt", "row", "step", "purpose", "model", "prompt_tokens", "cached_tokens", "completion_tokens",
    "reasoning_tokens", "cost_usd", "upper_bound_usd", "price_source", "outcome", "latency_s",
    "gpu_seconds", "at",
]  # fmt: skip

tokens = st.none() | st.integers(0, 10**6)
money = st.none() | st.integers(0, 10**12)
entries = st.builds(
    LedgerEntry,
    call_id=st.integers(0, 5).map(lambda number: f"{number:032x}"),
    attempt=st.integers(1, 9),
    row=st.none() | st.integers(0, 10**6),
    step=st.sampled_from(["main", "ask", "answer"]),
    purpose=st.sampled_from(["generate", "judge", "probe"]),
    model=st.sampled_from(["openai/a", "embedded/tiny"]),
    prompt_tokens=tokens,
    cached_tokens=tokens,
    completion_tokens=tokens,
    reasoning_tokens=tokens,
    nano_usd=money,
    upper_bound_nano_usd=money,
    price_source=st.sampled_from(["recipe", "local", "unknown"]),
    outcome=st.sampled_from(["ok", "lost", "bad_body", "reused"]),
    latency_s=st.none() | st.floats(0, 100),
    at=st.just("2025-01-01T00:00:00+00:00"),
    gpu_seconds=st.none() | st.floats(0, 100),
)


def count(found: list[LedgerEntry]) -> dict[str, Any]:
    """The sums, the slow way."""
    known = [entry.nano_usd for entry in found if entry.nano_usd is not None]
    unknown = [entry for entry in found if entry.nano_usd is None]
    return {
        "calls": len({entry.call_id for entry in found}),
        "attempts": len(found),
        "prompt_tokens": sum(entry.prompt_tokens or 0 for entry in found),
        "cached_tokens": sum(entry.cached_tokens or 0 for entry in found),
        "completion_tokens": sum(entry.completion_tokens or 0 for entry in found),
        "reasoning_tokens": sum(entry.reasoning_tokens or 0 for entry in found),
        "gpu_seconds": round(sum(entry.gpu_seconds or 0.0 for entry in found), 6),
        "cost_usd": None if unknown and not known else sum(known) / NANO,
        "upper_bound_usd": sum(entry.upper_bound_nano_usd or 0 for entry in unknown) / NANO,
        "unknown_cost": len(unknown),
    }


@settings(max_examples=80, deadline=None)
@given(
    found=st.lists(entries, max_size=30), by=st.sampled_from([None, *ledger.GROUPS]), rows=st.none() | st.integers(0, 9)
)
def test_sums(found: list[LedgerEntry], by: str | None, rows: int | None) -> None:
    summary = ledger.summarise(iter(found), by=by, accepted_rows=rows)
    assert summary["total"] == count(found)
    cost = summary["total"]["cost_usd"]
    assert summary["per_accepted_row_usd"] == (cost / rows if rows and cost is not None else None)
    names = {getattr(entry, by) for entry in found} if by else set()
    assert summary["by"] == {
        name: count([entry for entry in found if getattr(entry, by or "") == name]) for name in names
    }
    costs = [group["cost_usd"] or 0 for group in summary["by"].values()]
    assert costs == sorted(costs, reverse=True)


@settings(max_examples=30, deadline=None)
@given(found=st.lists(entries, max_size=30))
def test_the_file_holds_every_attempt_and_its_sums_are_the_totals(
    found: list[LedgerEntry], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "run" / "ledger.parquet"
    assert ledger.write_ledger(iter(found), path) == len(found)
    table = pq.read_table(path)
    assert table.column_names == COLUMNS
    assert table.schema == ledger.ledger_schema()
    lines = table.to_pylist()
    total = ledger.summarise(found)["total"]
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"):
        assert sum(line[name] or 0 for line in lines) == total[name]
    for name in ("cost_usd", "upper_bound_usd"):
        assert math.isclose(math.fsum(line[name] or 0 for line in lines), total[name] or 0, abs_tol=1e-9)
    for line, entry in zip(lines, found, strict=True):
        for name in COLUMNS:
            if name not in ("cost_usd", "upper_bound_usd"):
                assert line[name] == getattr(entry, name)
        assert line["cost_usd"] == (None if entry.nano_usd is None else entry.nano_usd / NANO)
        if entry.nano_usd is not None:
            assert line["upper_bound_usd"] is None
    assert [found.name for found in path.parent.iterdir()] == ["ledger.parquet"]


def many(number: int) -> Iterator[LedgerEntry]:
    entry = make_call(0)[1]
    for index in range(number):
        yield replace(entry, attempt=index)


def test_a_large_ledger_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "ROW_GROUP", 100)
    taken = 0
    largest = 0

    def watched() -> Iterator[LedgerEntry]:
        nonlocal taken, largest
        for entry in many(1050):
            taken += 1
            largest = max(largest, taken - groups[-1])
            yield entry

    path, groups = tmp_path / "ledger.parquet", [0]
    original = pq.ParquetWriter.write_table

    def write_table(self: Any, table: Any, **options: Any) -> None:
        groups.append(groups[-1] + table.num_rows)
        original(self, table, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", write_table)
    assert ledger.write_ledger(watched(), path) == 1050
    assert largest <= 101, "it must not hold more than a row group"
    assert pq.read_metadata(path).num_row_groups == 11


def test_an_unknown_group(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ledger.summarise([], by="porpose")
    assert "purpose" in caught.value.hint


def test_a_disk_that_does_not_take_it_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.parquet"
    ledger.write_ledger(many(3), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(StorageFull) as caught:
            ledger.write_ledger(
                (replace(entry, call_id=f"{number * 2**90 + 7**30:032x}") for number, entry in enumerate(many(9000))),
                path,
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in caught.value.message
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["ledger.parquet"]
