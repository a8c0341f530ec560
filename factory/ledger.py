"""The ledger's sums and its Parquet file: where the tokens and the money went, one line an attempt.

A cost that is not known is null, never 0: then `upper_bound_usd` says what it may have been, and the attempt is counted
in `unknown_cost`. Sums are made in whole nano-USD.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.arrow_columns import make_table
from factory.errors import UsageError, nearest
from factory.files import is_storage_fault, storage_fault, sync_directory
from factory.types import NANO, LedgerEntry

if TYPE_CHECKING:
    import pyarrow as pa

GROUPS = ("model", "purpose", "step", "outcome")
ROW_GROUP = 5_000
"""Lines that are held in memory before they are written."""
_TOKENS = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")


@dataclass(slots=True)
class _Sum:
    """Running totals of one group."""

    calls: set[bytes] = field(default_factory=set)
    attempts: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_TOKENS, 0))
    nano: int = 0
    bound: int = 0
    unknown: int = 0
    gpu_seconds: float = 0.0

    def add(self, entry: LedgerEntry) -> None:
        self.calls.add(bytes.fromhex(entry.call_id))
        self.attempts += 1
        for name in _TOKENS:
            self.tokens[name] += getattr(entry, name) or 0
        self.gpu_seconds += entry.gpu_seconds or 0.0
        if entry.nano_usd is None:
            self.unknown += 1
            self.bound += entry.upper_bound_nano_usd or 0
        else:
            self.nano += entry.nano_usd

    def cost(self) -> float | None:
        """USD; None where there were attempts and the cost of none of them is known."""
        return None if self.attempts and self.unknown == self.attempts else self.nano / NANO

    def as_json(self) -> dict[str, Any]:
        return {
            "calls": len(self.calls),
            "attempts": self.attempts,
            **self.tokens,
            "gpu_seconds": round(self.gpu_seconds, 6),
            "cost_usd": self.cost(),
            "upper_bound_usd": self.bound / NANO,
            "unknown_cost": self.unknown,
        }


class Sums:
    """Totals of a ledger that is read once, for other purposes: `watch` passes its entries on."""

    def __init__(self, by: str | None = None):
        """`by`: one of GROUPS, or None for the total alone. Raises UsageError."""
        if by is not None and by not in GROUPS:
            raise UsageError(f"the ledger cannot be summed by `{by}`", nearest(by, GROUPS))
        self._by = by
        self._total = _Sum()
        self._groups: dict[str, _Sum] = {}

    def watch(self, entries: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
        """The entries as they come, each counted."""
        for entry in entries:
            self._total.add(entry)
            if self._by is not None:
                self._groups.setdefault(getattr(entry, self._by), _Sum()).add(entry)
            yield entry

    def as_json(self, accepted_rows: int | None = None) -> dict[str, Any]:
        """See `summarise`."""
        cost = self._total.cost()
        ordered = sorted(self._groups.items(), key=lambda item: (-item[1].nano, -item[1].bound, item[0]))
        return {
            "total": self._total.as_json(),
            "per_accepted_row_usd": cost / accepted_rows if accepted_rows and cost is not None else None,
            "by": {name: group.as_json() for name, group in ordered},
        }


def summarise(
    entries: Iterable[LedgerEntry], *, by: str | None = None, accepted_rows: int | None = None
) -> dict[str, Any]:
    """What `factory ledger --json` prints: `total`, `per_accepted_row_usd`, and `by`, dearest group first.

    `cost_usd` sums the costs that are known (null when none is), `upper_bound_usd` the bounds of the `unknown_cost`
    attempts whose cost is not. `per_accepted_row_usd` is null without accepted rows. Raises UsageError.
    """
    sums = Sums(by)
    for _ in sums.watch(entries):
        pass
    return sums.as_json(accepted_rows)


def ledger_schema() -> pa.Schema:
    """The columns of `ledger.parquet`. Costs are USD, `latency_s` and `gpu_seconds` seconds, `at` ISO 8601."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("call_id", pa.string(), nullable=False),
            pa.field("attempt", pa.int32(), nullable=False),
            pa.field("row", pa.int64()),
            pa.field("step", pa.string(), nullable=False),
            pa.field("purpose", pa.string(), nullable=False),
            pa.field("model", pa.string(), nullable=False),
            *(pa.field(name, pa.int64()) for name in _TOKENS),
            pa.field("cost_usd", pa.float64()),
            pa.field("upper_bound_usd", pa.float64()),
            pa.field("price_source", pa.string(), nullable=False),
            pa.field("outcome", pa.string(), nullable=False),
            pa.field("latency_s", pa.float64()),
            pa.field("gpu_seconds", pa.float64()),
            pa.field("at", pa.string(), nullable=False),
        ]
    )


def write_ledger(entries: Iterable[LedgerEntry], path: Path) -> int:
    """Write the entries to a Parquet file in the order given (the journal's: as they were committed).

    Streams, so that memory does not grow with the ledger, and replaces `path` in one step. Returns the number of lines.
    Raises StorageFull.
    """
    import pyarrow.parquet as pq

    schema = ledger_schema()
    temporary = path.with_name(f".{path.name}.tmp")
    lines = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            with pq.ParquetWriter(handle, schema, compression="zstd") as writer:
                for batch in _batches(entries):
                    writer.write_table(make_table(_columns(batch), schema), row_group_size=ROW_GROUP)
                    lines += len(batch)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        if is_storage_fault(error):
            raise storage_fault(error, path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return lines


def _batches(entries: Iterable[LedgerEntry]) -> Iterator[list[LedgerEntry]]:
    waiting = iter(entries)
    while batch := list(islice(waiting, ROW_GROUP)):
        yield batch


def _columns(entries: Sequence[LedgerEntry]) -> dict[str, list[Any]]:
    """The columns of the file. An upper bound stands only where the cost is not known, as in the sums."""
    plain = ("call_id", "attempt", "row", "step", "purpose", "model", "price_source", "outcome", "latency_s", "at")
    names = (*plain, "gpu_seconds", *_TOKENS)
    columns = {name: list(map(attrgetter(name), entries)) for name in names}
    bounds = [entry.upper_bound_nano_usd if entry.nano_usd is None else None for entry in entries]
    columns["cost_usd"] = [_usd(entry.nano_usd) for entry in entries]
    columns["upper_bound_usd"] = [_usd(nano) for nano in bounds]
    return columns


def _usd(nano: int | None) -> float | None:
    return None if nano is None else nano / NANO
