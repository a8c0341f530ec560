"""A shard's way through the server: uploaded, submitted once, waited for, downloaded.

Before each remote act its intent is on the disk, and after it what came of it. So whoever finds an intent without an
outcome looks into the server's lists, by the shard's tag, before the act is repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from factory.backends import faults
from factory.backends.batch_api import BatchApi
from factory.batch_jobs.lines import ENDPOINT
from factory.batch_jobs.record import Record, Shard
from factory.batch_jobs.shards import Timing
from factory.errors import (
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    ModelMissing,
    Overloaded,
    Permanent,
    QuotaSpent,
    Refused,
    ServerUnreachable,
    Transient,
)

T = TypeVar("T")
METADATA = "factory_shard"
RUN = "factory_run"
TELL_AFTER_S = 60.0
"""Seconds of an outage after which it is told."""
AT_ONCE = 2
"""Files on their way at the same time."""
GROWTH = 1.5
GONE = "gone"
"""The status of a batch that its server no longer knows."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_TOO_MUCH = ("token_limit_exceeded", "enqueued token limit", "too many enqueued", "enqueued_tokens")
_HINT = "batches go on at the server: the same command collects them"


class ShardRefused(Exception):
    """The server will not run this shard, and nothing of it was paid. `too_much`: not while so much is enqueued."""

    def __init__(self, shard: Shard, fault: CallFault, *, too_much: bool = False):
        super().__init__(fault.message)
        self.shard = shard
        self.fault = fault
        self.too_much = too_much


@dataclass(slots=True)
class Carrier:
    """What the shards of one server share. `answered`: it has answered something in this process."""

    api: BatchApi
    record: Record
    timing: Timing
    notice: Callable[[str], None]
    answered: bool = False
    files: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


async def bring(carrier: Carrier, shard: Shard) -> Shard:
    """Take a shard from where it stands to `collected`.

    Raises ShardRefused where nothing was paid, Refused where the server tells nothing any more of what was,
    ServerUnreachable when patience runs out, StorageFull.
    """
    resumed = shard.state not in ("planned", "uploading")
    while shard.state != "collected":
        if shard.state in ("planned", "uploading"):
            async with carrier.files:
                shard = await _upload(carrier, shard)
        elif shard.state in ("uploaded", "submitting"):
            shard = await _submit(carrier, shard, may_upload_again=resumed)
            resumed = False
        elif shard.state == "submitted":
            shard = await _wait(carrier, shard)
        else:
            async with carrier.files:
                shard = await _collect(carrier, shard)
    return shard


async def _upload(carrier: Carrier, shard: Shard) -> Shard:
    """The file, uploaded. One that lies there twice costs nothing, so a look into the list is enough."""
    api, record, name = carrier.api, carrier.record, f"{shard.tag}.jsonl"
    found: list[str] = []
    if shard.state == "uploading":
        found = await _list_files(carrier, name)
    else:
        shard = record.move(shard, "uploading")
    path = record.folder(shard) / "requests.jsonl"
    try:
        file_id = found[0] if found else await _persist(carrier, lambda: api.upload(path, name))
    except (Permanent, Refused) as fault:
        raise ShardRefused(shard, fault) from None
    return record.move(shard, "uploaded", file_id=file_id)


async def _list_files(carrier: Carrier, name: str) -> list[str]:
    try:
        return await _persist(carrier, lambda: carrier.api.find_files(name))
    except (Permanent, ModelMissing):
        return []  # a server that keeps no such list: the file is uploaded again


async def _submit(carrier: Carrier, shard: Shard, *, may_upload_again: bool) -> Shard:
    """The batch of an uploaded file, made exactly once."""
    record = carrier.record
    batch = None
    if shard.state == "submitting":
        batch = await _look_for(carrier, shard)
    else:
        shard = record.move(shard, "submitting")
    began = time.monotonic()
    while batch is None:
        try:
            batch = await _persist(carrier, lambda: _send(carrier, shard), unsure=True)
        except Transient as fault:  # it may have been made
            batch = await _look_for(carrier, shard)
            if batch is None and time.monotonic() - began > carrier.timing.answered:
                raise _unreachable(carrier, fault) from None
        except (Permanent, Refused) as fault:
            if may_upload_again and fault.status in (400, 404) and "file" in fault.message.lower():
                return record.move(shard, "planned", file_id=None)
            raise ShardRefused(shard, fault) from None
    now = time.time()
    shard = record.move(shard, "submitted", batch_id=str(batch["id"]), status=_status(batch), submitted_at=now)
    record.drop_requests(shard)
    carrier.notice(f"{shard.model}: batch {shard.batch_id} holds {shard.requests:,} requests")
    return shard


async def _send(carrier: Carrier, shard: Shard) -> dict[str, Any]:
    metadata = {RUN: shard.tag.rpartition("-")[0], METADATA: shard.tag}
    assert shard.file_id is not None
    return await carrier.api.submit(shard.file_id, ENDPOINT, metadata, shard.tag)


async def _look_for(carrier: Carrier, shard: Shard) -> dict[str, Any] | None:
    """The batch of a shard that may have been submitted. Lists may lag, so it is looked for again for a while."""
    files = {shard.file_id} if shard.file_id else set()
    end = time.monotonic() + carrier.timing.lag
    while True:
        try:
            found = await _persist(
                carrier, lambda: carrier.api.find_batches(METADATA, shard.tag, files, shard.planned_at)
            )
        except Permanent as fault:
            raise Refused(f"whether batch {shard.tag} was submitted cannot be told: {fault.message}") from None
        if found:
            alive = [batch for batch in found if _status(batch) not in ("failed", "cancelled", "canceled")]
            return (alive or found)[0]
        left = end - time.monotonic()
        if left <= 0:
            return None
        await asyncio.sleep(min(left, carrier.timing.first))


async def _wait(carrier: Carrier, shard: Shard) -> Shard:
    """Poll until the batch has ended, as long as its window; an outage on the way is no matter."""
    record, timing = carrier.record, carrier.timing
    interval = timing.first
    while True:
        batch = await _ask(carrier, shard)
        status = _status(batch)
        if status in ENDED or status == GONE:
            shard = record.move(shard, "ended", **_told(batch))
            refuse_failed(shard, batch)
            return shard
        if (status, _counts(batch)) != (shard.status, shard.counts):
            shard = record.move(shard, "submitted", status=status, counts=_counts(batch))
        if time.time() > shard.submitted_at + timing.window:
            raise ServerUnreachable(f"batch {shard.batch_id} is still `{status}` after its window", _HINT)
        await asyncio.sleep(interval)
        interval = min(interval * GROWTH, timing.last)


async def _ask(carrier: Carrier, shard: Shard) -> Mapping[str, Any]:
    """The batch as it stands; one that its server does not know, and did not just get, is `gone`."""
    assert shard.batch_id is not None
    batch_id = shard.batch_id
    patience = max(carrier.timing.answered, shard.submitted_at + carrier.timing.window - time.time())
    while True:
        try:
            return await _persist(carrier, lambda: carrier.api.batch(batch_id), patience=patience)
        except ModelMissing as fault:
            if time.time() > shard.submitted_at + carrier.timing.lag:
                return {"status": GONE, "told": fault.message}
            await asyncio.sleep(carrier.timing.first)


def refuse_failed(shard: Shard, batch: Mapping[str, Any]) -> None:
    """Raise ShardRefused for a batch that failed its validation: none of it was run."""
    if shard.status != "failed" or shard.output_file or shard.error_file:
        return
    errors = batch.get("errors")
    entries = errors.get("data") if isinstance(errors, Mapping) else errors
    first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], Mapping) else {}
    read = faults.error_of({"error": dict(first)} if first else {"error": "no reason given"})
    line = f"line {first['line']}: " if first.get("line") is not None else ""
    message = f"the server refused batch {shard.batch_id} as a whole: {line}{read.message or read.code}"
    if any(word in read.words.lower() for word in _TOO_MUCH):
        raise ShardRefused(shard, Overloaded(message, status=None), too_much=True)
    fault: CallFault = Refused(message)
    if isinstance(faults.fault_of_status(400, {}, read), QuotaSpent) or "billing" in read.code:
        fault = QuotaSpent(message)
    elif "model" in read.code or read.param.endswith("model"):
        fault = ModelMissing(message)
    raise ShardRefused(shard, fault)


async def _collect(carrier: Carrier, shard: Shard) -> Shard:
    """The answer files, whole and on the disk. Downloading again changes nothing, so a kill here costs a download."""
    record = carrier.record
    told = shard.told
    for file_id, name in ((shard.output_file, "output.jsonl"), (shard.error_file, "errors.jsonl")):
        if file_id is None:
            continue
        path = record.folder(shard) / name
        try:
            await _persist(carrier, partial(carrier.api.download, file_id, path), patience=carrier.timing.window)
        except ModelMissing as fault:
            told = f"the answers are no longer there: {fault.message}"
            carrier.notice(f"batch {shard.batch_id}: {told}")
    return record.move(shard, "collected", told=told)


async def _persist(
    carrier: Carrier, act: Callable[[], Awaitable[T]], *, patience: float | None = None, unsure: bool = False
) -> T:
    """A remote act, again after transient faults until patience ends.

    `unsure`: a fault after which it may have been done is raised.
    """
    timing, began, interval, told = carrier.timing, time.monotonic(), carrier.timing.first, False
    while True:
        try:
            result = await act()
        except Transient as fault:
            if not isinstance(fault, ConnectionFailed | ConnectionLost):
                carrier.answered = True
            if unsure and not isinstance(fault, ConnectionFailed | Overloaded):
                raise
            waited = time.monotonic() - began
            if waited > (patience or (timing.answered if carrier.answered else timing.silent)):
                raise _unreachable(carrier, fault) from None
            if waited > TELL_AFTER_S and not told:
                told = True
                carrier.notice(f"{fault.message}; {_HINT.split(':')[0]}, and this run waits for its server")
            asked = fault.retry_after if isinstance(fault, Overloaded) else None
            await asyncio.sleep(min(max(interval, asked or 0.0), 10 * timing.last))
            interval = min(interval * GROWTH, timing.last)
        else:
            carrier.answered = True
            return result


def _unreachable(carrier: Carrier, fault: CallFault) -> ServerUnreachable:
    return ServerUnreachable(f"the batches of {carrier.api.where}: {fault.message[:500]}", f"check base_url; {_HINT}")


def _status(batch: Mapping[str, Any]) -> str:
    return str(batch.get("status") or "")


def _counts(batch: Mapping[str, Any]) -> tuple[int, int, int]:
    found = batch.get("request_counts")
    counts = found if isinstance(found, Mapping) else {}
    total, completed, failed = (int(counts.get(name) or 0) for name in ("total", "completed", "failed"))
    return total, completed, failed


def _told(batch: Mapping[str, Any]) -> dict[str, Any]:
    """What an ended batch says of itself, as fields of a Shard."""
    return {
        "status": _status(batch),
        "counts": _counts(batch),
        "output_file": batch.get("output_file_id") or None,
        "error_file": batch.get("error_file_id") or None,
        "told": str(batch.get("told") or ""),
    }
