"""The parts of batch jobs: shards, lines, the durable record, the queue, the order of outcomes, prices, waves."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from chat_helpers import OK_BODY
from chat_helpers import request_of as make_request
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.backends.answers import read_answer
from factory.batch_jobs.carrying import ShardRefused, refuse_failed
from factory.batch_jobs.courier import missing_fault
from factory.batch_jobs.handing import Handout
from factory.batch_jobs.lines import NotServed, read_again, read_answers, request_line, request_of, settle_line
from factory.batch_jobs.queueing import Queue, Queued
from factory.batch_jobs.record import Asked, Record, Shard, show_batches
from factory.batch_jobs.shards import Limits, Timing, cut, read_timing
from factory.budget import Budget
from factory.errors import (
    BadBody,
    BadRequest,
    BudgetSpent,
    CallFault,
    ConnectionLost,
    ContextTooLong,
    Filtered,
    JournalDamaged,
    ModelMissing,
    Overloaded,
    QuotaSpent,
    ServerFault,
    UsageError,
)
from factory.prices import price_for
from factory.recipe import ModelConfig
from factory.types import Choice, Message, Request, Response, Sampling, Usage
from factory.window import WAVE_Z, wave_margin

SHARD = Shard("run-00001", "writer", "openai/m", "identity", "http://h/v1", 2, 1000.0)
TEXT = st.text(max_size=30)


@given(
    sizes=st.lists(st.integers(1, 60), max_size=80),
    requests=st.integers(1, 20),
    limit=st.integers(1, 200),
)
def test_shards_are_whole_in_order_within_limits_and_as_few_as_can_be(
    sizes: list[int], requests: int, limit: int
) -> None:
    parts = [sizes[part] for part in cut(sizes, Limits(requests, limit))]
    assert [size for part in parts for size in part] == sizes and all(parts)
    for part in parts:
        assert len(part) <= requests
        assert sum(part) <= limit or len(part) == 1, "a line that is too large goes alone"
    for part, after in itertools.pairwise(parts):
        assert len(part) == requests or sum(part) + after[0] > limit, "the next line would not have fitted"


@given(
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), min_size=1, max_size=3),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1, 9),
    stop=st.lists(st.text(min_size=1, max_size=4), max_size=2),
    extra=st.dictionaries(st.sampled_from(["reasoning_effort", "top_k", "min_p"]), st.integers(0, 9)),
    numbers=st.tuples(st.integers(1, 5), st.integers(0, 2**31), st.none() | st.integers(0, 99), st.integers(0, 9)),
    form=st.none() | st.just({"type": "json_object"}),
    logprobs=st.none() | st.integers(0, 5),
)
def test_a_request_comes_back_from_its_record_with_its_call_id(
    messages: Any, temperature: Any, max_tokens: Any, stop: Any, extra: Any, numbers: Any, form: Any, logprobs: Any
) -> None:
    n, seed, row, index = numbers
    sampling = Sampling(temperature, None, max_tokens, tuple(stop), extra)
    told = tuple(Message(role, text) for role, text in messages)
    request = Request("id", "m", told, sampling, n, seed, row, "step", "judge", index, form, logprobs)
    again = request_of(orjson.loads(orjson.dumps(request.content())))
    assert again.call_id == request.call_id and again.sampling.body() == request.sampling.body()
    line = request_line(request.call_id, {"messages": [text for _, text in messages]})
    assert b"\n" not in line and orjson.loads(line)["custom_id"] == request.call_id


def response(status: int, body: Any) -> dict[str, Any]:
    return {"custom_id": "x", "response": {"status_code": status, "body": body}, "error": None}


def test_a_line_is_read_as_a_live_answer_would_be() -> None:
    request = make_request()
    assert settle_line(response(200, OK_BODY), request) == read_answer(OK_BODY, request)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (None, BadBody),
        ({"custom_id": "x"}, BadBody),
        (response(200, {"choices": "none"}), BadBody),
        (response(400, {"error": {"message": "no such thing"}}), BadRequest),
        (response(400, {"error": {"message": "", "code": "context_length_exceeded"}}), ContextTooLong),
        (response(400, {"error": {"message": "flagged", "code": "content_filter"}}), Filtered),
        ({**response(400, None), "error": {"message": "prompt is too long"}}, ContextTooLong),
        (response(429, {"error": {"message": "slow down"}}), Overloaded),
        (response(500, None), ServerFault),
        (response(404, {"error": {"message": "no such model"}}), ModelMissing),
        ({"custom_id": "x", "response": None, "error": {"code": "batch_expired", "message": "late"}}, NotServed),
        ({"custom_id": "x", "response": None, "error": {"code": "400", "message": "bad"}}, BadRequest),
        ({"custom_id": "x", "response": None, "error": {"code": "odd", "message": "strange"}}, ServerFault),
        (response(200, {"error": {"code": 429, "message": "busy"}}), Overloaded),
    ],
)
def test_lines_that_tell_of_a_fault(line: Any, kind: type[CallFault]) -> None:
    with pytest.raises(CallFault) as caught:
        settle_line(line, make_request())
    assert type(caught.value) is kind


def test_a_parameter_that_a_batch_refuses_is_learned_once() -> None:
    told = {"message": "Unsupported parameter: 'max_tokens'", "code": "unsupported_parameter", "param": "max_tokens"}
    refused: set[str] = set()
    for _ in range(2):
        with pytest.raises(NotServed, match="max_tokens"):
            settle_line(response(400, {"error": told}), make_request(), refused)
    assert refused == {"max_tokens"}


def test_answer_files_are_read_by_place(tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_bytes(b'{"custom_id": "a", "v": "\xc3\xa9"}\n\nnonsense\n[1]\n{"custom_id": 5}\n{"custom_id": "b"}')
    found = list(read_answers(path))
    assert [(answer.number, answer.call_id) for answer in found] == [(1, "a"), (3, ""), (4, ""), (5, ""), (6, "b")]
    assert [answer.value is None for answer in found] == [False, True, True, False, False]
    for answer in found:
        assert read_again(replace(answer, value=None)) == answer


def test_why_a_request_has_no_line() -> None:
    assert isinstance(missing_fault(replace(SHARD, status="expired", counts=(2, 1, 0)), 1), NotServed)
    assert isinstance(missing_fault(replace(SHARD, status="completed", counts=(2, 2, 0)), 1), BadBody)
    assert isinstance(missing_fault(replace(SHARD, status="gone", told="not there"), 0), ConnectionLost)


@pytest.mark.parametrize(
    ("fault", "kind", "too_much"),
    [
        ({"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}, Overloaded, True),
        ({"code": "model_not_found", "message": "no model"}, ModelMissing, False),
        ({"code": "billing_hard_limit_reached", "message": "Billing hard limit has been reached"}, QuotaSpent, False),
        ({"code": "invalid_json_line", "message": "bad", "line": 3}, CallFault, False),
    ],
)
def test_batches_that_fail_their_validation(fault: dict[str, Any], kind: type[CallFault], too_much: bool) -> None:
    with pytest.raises(ShardRefused) as caught:
        refuse_failed(replace(SHARD, status="failed"), {"errors": {"object": "list", "data": [fault]}})
    assert isinstance(caught.value.fault, kind) and caught.value.too_much == too_much
    assert "line" not in fault or "line 3: bad" in str(caught.value)
    refuse_failed(replace(SHARD, status="failed", output_file="file-1"), {})


def test_the_record_survives_what_a_kill_leaves(tmp_path: Path) -> None:
    record = Record(tmp_path)
    tags = [record.next_tag() for _ in range(3)]
    assert len(set(tags)) == 3 and Record(tmp_path).next_tag() not in tags
    assert Record(tmp_path / "other").next_tag().split("-")[0] != tags[0].split("-")[0]
    calls = [Asked(make_request(f"{n}").call_id, 1, 5, make_request(f"{n}").content()) for n in range(2)]
    shard = replace(SHARD, tag=tags[0])
    record.plan(shard, calls, [b"{}", b"{}"])
    assert Record(tmp_path).shards() == [shard] and list(record.calls(shard)) == calls
    moved = record.move(shard, "submitted", batch_id="batch_1", counts=(2, 1, 0), status="in_progress")
    assert Record(tmp_path).shards() == [moved]
    assert show_batches(tmp_path)[0]["completed"] == 1
    (record.directory / tags[1]).mkdir()
    (record.directory / tags[1] / "calls.jsonl").write_text("half")
    record.clean()
    assert not (record.directory / tags[1]).exists() and record.shards() == [moved]
    file = record.folder(shard) / "calls.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(JournalDamaged, match="line 2 is damaged"):
        list(record.calls(moved))
    record.drop(moved)
    assert not record.shards() and not record.folder(shard).exists()
    shutil.rmtree(record.directory)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    record = Record(tmp_path)
    record.plan(SHARD, [], [])
    (record.folder(SHARD) / "state.json").write_text("{")
    with pytest.raises(JournalDamaged, match=r"state\.json"):
        record.shards()


def queued(name: str, size: int = 10) -> Queued:
    request = make_request(name)
    future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
    return Queued(Asked(request.call_id, 1, None, {}), b"x" * size, request, future)


def test_when_a_wave_is_due() -> None:
    async def work() -> None:
        queue = Queue(Limits(3, 10_000), Timing(quiet=1, hold=100))
        assert queue.due_in(0, 0) is None
        first = queued("a")
        queue.put(first, 0)
        assert queue.due_in(0.4, 0) == pytest.approx(0.6), "others may join"
        assert queue.due_in(1.5, 0) == 0
        assert queue.due_in(1.5, busy=2) == 1, "a live call is under way, which may lead to another request"
        assert queue.due_in(100.5, busy=2) == 0, "but not for ever"
        queue.expect("some call", 2)
        assert queue.due_in(3, 0) == 1 and queue.due_in(99, 0) == 0, "a failed call will be back, or not"
        queue.put(queued("b"), 3)
        queue.put(queued("c"), 3)
        assert queue.due_in(3, busy=9) == 0, "it is full"
        queue.remove(first.asked.call_id, first.future)
        assert [[one.request.messages[0].content for one in part] for part in queue.take()] == [["b", "c"]]
        assert len(queue) == 0 and queue.due_in(9, 0) is None

    asyncio.run(work())


@settings(max_examples=60)
@given(answers=st.integers(1, 60), refusals=st.integers(0, 60), again=st.integers(0, 9))
def test_outcomes_are_spread(answers: int, refusals: int, again: int) -> None:
    """No more refusals follow each other than there are for each answer, rounded up, and repeats come last."""
    order: list[str] = []

    class Journal:
        async def flush(self) -> None:
            order.append("flush")

    async def work() -> None:
        def future(name: str) -> asyncio.Future[Response]:
            made: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
            made.add_done_callback(lambda done: order.append(name if done.exception() else "ok"))
            return made

        handout = Handout(answers)
        for _ in range(refusals):
            handout.give(future("refused"), BadRequest("no"))
        for _ in range(again):
            handout.give(future("again"), NotServed("late"))
        for _ in range(answers):
            handout.give(future("ok"), Response((Choice("", "stop"),), Usage(), "m"))
            await asyncio.sleep(0)
        await handout.end(Journal())  # type: ignore[arg-type]
        await asyncio.sleep(0)

    asyncio.run(work())
    told = [name for name in order if name != "flush"]
    assert told.count("ok") == answers and told.count("refused") == refusals and told.count("again") == again
    assert told[len(told) - again :] == ["again"] * again
    runs = "".join("r" if name == "refused" else "." for name in told).split(".")
    assert max(len(run) for run in runs) <= -(-refusals // answers)


def test_what_was_sent_is_set_aside_until_somebody_waits_for_it() -> None:
    async def work() -> None:
        budget = Budget(1000, 100)
        budget.set_aside(400)
        assert budget.free == 500 and not budget.can_admit(501)
        budget.admit(0, 500)
        reservation = budget.take_over(400)
        assert (budget.free, budget.sent) == (0, 0), "the row's own promise is untouched"
        budget.settle(reservation, 50)
        assert budget.free == 350
        budget.set_aside(350)
        budget.release(0)
        with pytest.raises(BudgetSpent):  # what nobody waits for is no reason to wait for money
            await asyncio.wait_for(budget.reserve(1, 501), 5)

    asyncio.run(work())


AT = datetime(2026, 1, 1, tzinfo=UTC)


def config(model: str, **changes: Any) -> ModelConfig:
    return ModelConfig(**{"backend": "openai", "model": model, "batch": True, **changes})


def test_batch_prices_are_the_tables_own_or_half_or_unknown() -> None:
    from genai_prices import data_snapshot

    openai = next(provider for provider in data_snapshot.get_snapshot().providers if provider.id == "openai")
    listed = halved = 0
    for info in openai.models:
        live, batch = (price_for(config(info.id, batch=asked), local=False, at=AT) for asked in (False, True))
        if live.unknown or batch.unknown:
            continue
        assert batch.source == "genai-prices (batch)" and live.source == "genai-prices"
        variants = [v for v in info.price_variants or () if v.when == {"processing": "batch"}]
        if variants:
            listed += 1
            assert batch.output is not None and live.output is not None and batch.output <= live.output
        else:
            halved += 1
            assert live.input is not None and live.output is not None
            assert (batch.input, batch.output) == (live.input / 2, live.output / 2)
    assert listed > 5
    assert price_for(config("m", price={"input": 1, "output": 2}), local=False).source == "recipe"
    assert price_for(config("m", base_url="http://127.0.0.1:1/v1"), local=True).source == "local"
    elsewhere = config("deepseek-chat", base_url="https://api.deepseek.com/v1", api_key_env="K")
    assert price_for(elsewhere.model_copy(update={"batch": False}), local=False).source == "genai-prices"
    assert "batch jobs" in price_for(elsewhere, local=False).reason


class _Counts:
    """What `wave_margin` reads of the curation."""

    def __init__(self, top_k: int = 1):
        self.top_k, self.accepted, self.committed = top_k, 0, 0

    @property
    def p_hat(self) -> float:
        return (self.accepted + 1) / (self.committed + 1)


def waves_of(target: int, share: float, draw: random.Random) -> tuple[int, int, int]:
    """Waves, rows paid, and rows that the target needed, of a simulated run by the window's rule."""
    counts: Any = _Counts()
    waves = paid = 0
    while counts.accepted < target:
        accepted, rows = counts.accepted, 0
        while accepted + counts.p_hat * rows - wave_margin(counts, rows, target - accepted) < target:
            rows += 1
        waves, paid = waves + 1, paid + rows
        for _ in range(rows):
            if counts.accepted < target:
                counts.committed += 1
                counts.accepted += draw.random() < share
    return waves, paid, counts.committed


@pytest.mark.parametrize(("share", "most", "past"), [(0.9, 2.2, 0.006), (0.5, 2.35, 0.03), (0.1, 2.6, 0.12)])
def test_waves_are_few_and_little_is_paid_past_the_target(share: float, most: float, past: float) -> None:
    draw = random.Random(7)
    found = [waves_of(1000, share, draw) for _ in range(60)]
    assert sum(waves for waves, _, _ in found) / 60 <= most
    assert sum(paid / needed - 1 for _, paid, needed in found) / 60 <= past


def test_the_margin_waits_for_knowledge_and_is_bounded() -> None:
    counts: Any = _Counts(top_k=2)
    assert wave_margin(counts, 1000, 1000) == 0, "nothing is known before the first wave"
    counts.accepted, counts.committed = 50, 100
    assert 0 < wave_margin(counts, 100, 1000) <= WAVE_Z * (0.51 * 1.5 * 200) ** 0.5
    assert wave_margin(counts, 10_000, 100) == 25


def test_timing_comes_from_the_environment() -> None:
    assert read_timing({}) == Timing()
    assert read_timing({"FACTORY_BATCH_TIMING": "first=0.5, last=3"}) == Timing(first=0.5, last=3)
    for wrong in ("frist=1", "first=soon", "first"):
        with pytest.raises(UsageError, match="FACTORY_BATCH_TIMING"):
            read_timing({"FACTORY_BATCH_TIMING": wrong})
