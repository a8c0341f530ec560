"""Answers that came in files, into the journal under their calls' ids, where no row waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.attempts import entry_of, now_text
from factory.batch_jobs.lines import read_answers, request_of, settle_line
from factory.batch_jobs.record import Asked, Record, Shard
from factory.errors import CallFault, Permanent
from factory.journal import Journal, Lease, Stored
from factory.prices import PriceTable, cost
from factory.types import Response


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
    content = call.content
    lease = Lease(
        call.call_id, call.attempt, content["row"], content["step"], content["purpose"], model, call.bound, now_text()
    )
    await journal.settle(entry_of(lease, outcome, price, None), None, stored)
