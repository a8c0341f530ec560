"""Answers that came in files, into the journal under their calls' ids, where no row waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from factory.batch_jobs.lines import read_answers, request_of, settle_line
from factory.batch_jobs.record import Asked, Record, Shard
from factory.errors import CallFault, Permanent
from factory.journal import Journal, Stored
from factory.prices import PriceTable, cost
from factory.types import LedgerEntry, Response, Usage


def is_settled(journal: Journal, call: Asked) -> bool:
    """Whether the journal knows what came of this attempt: the call is answered, or the attempt failed."""
    return journal.get(call.call_id) is not None or journal.next_attempt(call.call_id) > call.attempt


async def settle_shard(journal: Journal, record: Record, shard: Shard, price: PriceTable) -> int:
    """Journal what a collected shard answered and the journal does not know yet, then forget the shard.

    A request that has no line was not run: it costs nothing and is asked again when a row wants it. Returns the number
    of answers journaled. Doing it again after a kill changes nothing. Raises StorageFull, JournalDamaged.
    """
    calls = {call.call_id: call for call in record.calls(shard)}
    settled = 0
    for path in record.answers(shard):
        for answer in read_answers(path):
            call = calls.pop(answer.call_id, None)
            if call is not None and not is_settled(journal, call):
                await settle(journal, call, outcome_of(answer.value, call.content), shard.model, price)
                settled += 1
    record.drop(shard)
    return settled


def outcome_of(answer: Mapping[str, Any] | None, content: Mapping[str, Any]) -> Response | CallFault:
    """The response of a line, or the fault that it tells of."""
    try:
        return settle_line(answer, request_of(content))
    except CallFault as fault:
        return fault


async def settle(journal: Journal, call: Asked, outcome: Response | CallFault, model: str, price: PriceTable) -> None:
    """One attempt's end: its ledger entry and, where it decides the call, what the call came to."""
    stored: Stored | None = None
    if isinstance(outcome, Response):
        nano = cost(price, outcome.usage)
        stored = Stored(call.call_id, "ok", outcome, "", nano, price.source, call.content)
    elif isinstance(outcome, Permanent):
        stored = Stored(call.call_id, outcome.outcome, None, outcome.message, 0, price.source, call.content)
    await journal.settle(_entry(call, outcome, model, price), None, stored)


def _entry(call: Asked, outcome: Response | CallFault, model: str, price: PriceTable) -> LedgerEntry:
    usage: Usage | None = outcome.usage
    lost = isinstance(outcome, CallFault) and outcome.cost_unknown
    nano = None if lost else (cost(price, usage) if usage is not None else 0)
    tokens = usage if usage is not None else (None if lost else Usage())
    content = call.content
    return LedgerEntry(
        call_id=call.call_id,
        attempt=call.attempt,
        row=content["row"],
        step=content["step"],
        purpose=content["purpose"],
        model=model,
        prompt_tokens=tokens.prompt_tokens if tokens else None,
        cached_tokens=tokens.cached_tokens if tokens else None,
        completion_tokens=tokens.completion_tokens if tokens else None,
        reasoning_tokens=tokens.reasoning_tokens if tokens else None,
        nano_usd=nano,
        upper_bound_nano_usd=call.bound if lost else None,
        price_source=price.source,
        outcome="ok" if isinstance(outcome, Response) else outcome.outcome,
        latency_s=None,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        gpu_seconds=tokens.gpu_seconds if tokens else None,
    )
