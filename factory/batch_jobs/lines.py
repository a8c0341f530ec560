"""The lines of batch files: requests as OpenAI's Batch API and vLLM's `run-batch` read them, answers as they write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from factory.backends import Backend, faults
from factory.backends.answers import read_answer
from factory.backends.openai import adapt, request_body
from factory.errors import BadBody, CallFault, Overloaded, ServerFault
from factory.types import Message, Request, Response, Sampling

ENDPOINT = "/v1/chat/completions"
_NOT_RUN = ("batch_expired", "batch_cancelled", "batch_canceled", "expired", "cancelled")


class NotServed(Overloaded):
    """The batch ended before this request was run: it cost nothing, and joins the next batch at once."""

    outcome = "not_served"

    def __init__(self, message: str):
        super().__init__(message, status=None, retry_after=0.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of an answer file. `call_id` is empty where the line names none; `value` None: no JSON object."""

    path: Path
    number: int
    offset: int
    length: int
    call_id: str
    value: Mapping[str, Any] | None


def request_line(call_id: str, body: Mapping[str, Any]) -> bytes:
    """A request as one line, without its newline."""
    return orjson.dumps({"custom_id": call_id, "method": "POST", "url": ENDPOINT, "body": body})


def request_of(content: Mapping[str, Any]) -> Request:
    """The Request whose `content()` this is, with the same call_id."""
    sampling = dict(content["sampling"])
    temperature, top_p, max_tokens = (sampling.pop(name, None) for name in ("temperature", "top_p", "max_tokens"))
    stop = tuple(sampling.pop("stop", ()))
    return Request(
        identity=content["identity"],
        model=content["model"],
        messages=tuple(Message(role, text) for role, text in content["messages"]),
        sampling=Sampling(temperature, top_p, max_tokens, stop, sampling),
        n=content["n"],
        seed=content["seed"],
        row=content["row"],
        step=content["step"],
        purpose=content["purpose"],
        index=content["index"],
        response_format=content["response_format"],
        logprobs=content.get("logprobs"),
    )


def read_answers(path: Path) -> Iterator[Answer]:
    """The lines of an answer file that are not empty, in order."""
    offset = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield _answer(path, number, offset, line)
            offset += len(line)


def read_again(answer: Answer) -> Answer:
    """A line whose value was let go of, read once more."""
    with answer.path.open("rb") as handle:
        handle.seek(answer.offset)
        return _answer(answer.path, answer.number, answer.offset, handle.read(answer.length))


def _answer(path: Path, number: int, offset: int, line: bytes) -> Answer:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = None
    found = value if isinstance(value, dict) else None
    named = found.get("custom_id") if found is not None else None
    return Answer(path, number, offset, len(line), named if isinstance(named, str) else "", found)


def refused_by(live: Backend) -> set[str]:
    """The parameters that a model's server is known to refuse. What a batch shows joins what live calls showed."""
    found: set[str] = getattr(live, "refused", set())
    return found


def body_of(live: Backend, request: Request) -> dict[str, Any]:
    """The body of a request, as far as its server takes its parameters."""
    return adapt(request_body(request), refused_by(live))


def settle_line(answer: Mapping[str, Any] | None, request: Request, refused: set[str] | None = None) -> Response:
    """What a line answers to its request. Raises the CallFault it tells of, by the same rules as a live answer.

    `refused`: parameters that the server refuses; one more joins them where that is what the line tells, and the
    request is to be sent without it.
    """
    if answer is None:
        raise BadBody("the line of the batch's answer is no JSON object")
    response, error = answer.get("response"), answer.get("error")
    if isinstance(response, Mapping):
        status, body = response.get("status_code", 200), response.get("body")
        if not isinstance(status, int) or not 200 <= status < 300:
            told = faults.error_of(body or error or {})  # vLLM tells the error beside a response without a body
            status = status if isinstance(status, int) else 500
            if refused is not None:
                _learn(status, told, request, refused)
            raise faults.fault_of_status(status, {}, told)
        if isinstance(body, Mapping) and body.get("error") and not body.get("choices"):
            raise _fault_of_error(body["error"])
        return read_answer(body, request)
    if error:
        raise _fault_of_error(error)
    raise BadBody("the line of the batch's answer holds no response and no error")


def _learn(status: int, told: faults.ErrorBody, request: Request, refused: set[str]) -> None:
    """Raise NotServed where a parameter is refused that can be sent otherwise; from now on it is."""
    name = faults.refused_parameter(status, told, request_body(request))
    if name is not None:
        refused.add(name)
        raise NotServed(f"the server refuses `{name}`: the next batch goes without it")


def _fault_of_error(error: object) -> CallFault:
    """The fault of an error that came without an HTTP status."""
    read = faults.error_of({"error": error})
    if read.code in _NOT_RUN:
        return NotServed(f"the batch ended before this request was run: {read.message}")
    if read.code.isdigit() and 400 <= int(read.code) < 600:
        return faults.fault_of_status(int(read.code), {}, read)
    return ServerFault(f"the batch could not run this request: {read.code} {read.message}".strip())
