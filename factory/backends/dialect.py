"""How one server wants to be asked: which API, which parameters under which name. Learned from its own refusals.

A refused API (a model that lives behind `/responses` alone) or parameter (`max_completion_tokens` for `max_tokens`; no
`temperature`) is sent as the server wants it from then on, and told by `notes()`. Such a refusal is an error answer
that costs nothing, so the request in the form that is wanted belongs to the same attempt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from factory.backends import faults
from factory.backends.advice import format_advice, limit_advice
from factory.backends.answers import decode, read_answer
from factory.backends.responses import LEFT_OUT, PATH, cut_at_stop, read_response, responses_body
from factory.errors import BadRequest, CallFault, ServerFault
from factory.types import Request, Response

Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers and body."""
Post = Callable[[str, dict[str, Any]], Awaitable[Answer]]
"""Sends a body to a path below the server's address."""
CHAT_PATH = "/chat/completions"
_TOLD = {"max_tokens": "sent as `max_completion_tokens`"}
_STOP = "`stop` is not sent: the Responses API does not know it; the text is cut here"
_SEED = "`seed` is not sent: the Responses API does not know it"


class Dialect:
    """What has been learned of a server, for as long as its backend is open. `refused`: parameters of `ADAPTABLE`."""

    def __init__(self, api: Literal["auto", "chat", "responses"]):
        self._responses = api == "responses"
        self._may_switch = api == "auto"
        self.refused: set[str] = set()
        self._told: dict[str, None] = {}

    def notes(self) -> tuple[str, ...]:
        """What this server is not sent as it was asked, in plain words; empty when everything is."""
        refused = [name for name in faults.ADAPTABLE if name in self.refused]
        adapted = [f"`{name}` is {_TOLD.get(name, 'not sent')}, since the server refuses it" for name in refused]
        return (*adapted, *self._told)

    async def ask(self, request: Request, post: Post) -> Response:
        """One attempt, in the form that the server takes. Raises a CallFault."""
        wanted = request_body(request)
        refusal: CallFault | None = None  # that of chat completions, while the other API is tried
        while True:
            responses = self._responses or refusal is not None
            asked = adapt(wanted, self.refused)
            status, headers, raw = await (
                post(PATH, responses_body(asked)) if responses else post(CHAT_PATH, asked)  # one body, two forms
            )
            if 200 <= status < 300:
                if refusal is not None:
                    self._responses = True
                    self._told["asked through the Responses API, since the model is not one of chat completions"] = None
                return self._read(decode(raw), request, asked, responses)
            error = faults.read_error(raw)
            name = faults.refused_parameter(status, error, asked)
            if name is not None:
                self.refused.add(name)
                continue
            fault = _fault_of(status, headers, error, asked)
            if responses:
                raise refusal if refusal is not None and faults.refuses_responses(fault) else fault
            if not faults.wants_responses(status, error):
                raise fault
            if not self._may_switch:
                raise type(fault)(
                    f"{fault.message} (`api: auto` or `api: responses` on the model asks there)", status=status
                )
            refusal = fault

    def _read(self, body: Any, request: Request, asked: Mapping[str, Any], responses: bool) -> Response:
        if responses:
            response = read_response(body, request)
            self._tell_left_out(asked)
            if "stop" in asked:
                cut = tuple(cut_at_stop(choice, request.sampling.stop) for choice in response.choices)
                response = Response(cut, response.usage, response.model)
        else:
            if isinstance(body, dict) and body.get("error") and not body.get("choices"):
                raise _fault_in_body(body)
            response = read_answer(body, request)
        if request.logprobs is not None and not self.refused & {"logprobs"}:
            first = response.choices[0]
            if first.logprobs is None and first.text:
                self._told["`logprobs` were asked for, but answers come without"] = None
        return response

    def _tell_left_out(self, asked: Mapping[str, Any]) -> None:
        for name, told in (("seed", _SEED), ("stop", _STOP)):
            if name in asked and name in LEFT_OUT:
                self._told[told] = None


def _fault_of(status: int, headers: Mapping[str, str], error: faults.ErrorBody, asked: Mapping[str, Any]) -> CallFault:
    """The fault of an error answer, with what helps against it where it is about the request's own form."""
    fault = faults.fault_of_status(status, headers, error)
    form = asked.get("response_format")
    if form is not None and type(fault) in (BadRequest, ServerFault) and faults.refuses_format(status, error):
        return BadRequest(format_advice(form.get("type"), fault.message), status=status)
    if type(fault) is BadRequest and "max_output_tokens" in error.words and "below minimum" in error.words:
        return BadRequest(limit_advice(fault.message), status=status)
    return fault


def _fault_in_body(body: dict[str, Any]) -> CallFault:
    """The fault of an error that came with a good status, as gateways send them."""
    error = faults.error_of(body)
    status = int(error.code) if error.code.isdecimal() and len(error.code) == 3 and int(error.code) >= 400 else 502
    return faults.fault_of_status(min(status, 599), {}, error)


def request_body(request: Request) -> dict[str, Any]:
    """The request as chat completions want it.

    A `max_completion_tokens` of the recipe's own never lifts `max_tokens`, by which a budget reckons.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "seed": request.seed,
        **request.sampling.body(),
    }
    if "max_completion_tokens" in body and "max_tokens" in body:
        body["max_completion_tokens"] = min(body["max_completion_tokens"], body.pop("max_tokens"))
    if request.n > 1:
        body["n"] = request.n
    if request.response_format is not None:
        body["response_format"] = request.response_format
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    return body


def adapt(body: Mapping[str, Any], refused: set[str]) -> dict[str, Any]:
    """The body without the parameters that the server refuses; `max_tokens` goes under its newer name."""
    if not refused:
        return dict(body)
    left_out = refused | {"top_logprobs"} if "logprobs" in refused else refused
    adapted = {name: value for name, value in body.items() if name not in left_out}
    if "max_tokens" in refused and "max_tokens" in body:
        adapted.setdefault("max_completion_tokens", body["max_tokens"])
    return adapted
