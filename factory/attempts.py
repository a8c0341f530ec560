"""One attempt at a call: the model it goes to, what it may cost, what became of it, the words for what went wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from factory.adaptive import Outcome, outcome_of
from factory.admission import CallWindow
from factory.backends import Backend
from factory.backends.addresses import DEFAULT_KEY, base_url_of, server_name
from factory.errors import (
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    ContextTooLong,
    FactoryError,
    Incomplete,
    KeyRefused,
    NoChoices,
    Overloaded,
    Permanent,
    QuotaSpent,
    Refused,
    Unauthorized,
)
from factory.health import Health
from factory.journal import Lease, Stored
from factory.pacing import Pace
from factory.prices import PriceTable, cost, upper_bound
from factory.recipe import ModelConfig
from factory.recipe.models import IN_PROCESS
from factory.types import LedgerEntry, Request, Response, Usage, canonical_json


@dataclass(slots=True)
class OpenModel:
    """A model of the recipe, ready to be called. `window` bounds the attempts in flight, by `concurrency` at most.

    `unbounded`: its backend queues by itself, so there is nothing to bound. `keeps_intents`: its backend has a durable
    record of what was sent, so that no lease is needed. `probe_price`: of calls that are not made as the others are.
    """

    role: str
    config: ModelConfig
    backend: Backend
    price: PriceTable
    concurrency: int
    health: Health = field(default_factory=Health)
    probe_price: PriceTable | None = None
    pace: Pace = field(init=False)
    window: CallWindow = field(init=False)
    unbounded: bool = field(init=False)
    keeps_intents: bool = field(init=False)

    def __post_init__(self) -> None:
        self.unbounded = bool(getattr(self.backend, "unbounded", False))
        self.keeps_intents = bool(getattr(self.backend, "keeps_intents", False))
        self.pace = Pace(self.config.requests_per_minute, self.config.tokens_per_minute)
        in_process = self.config.backend in IN_PROCESS  # no server, so nothing to find out about one
        self.window = CallWindow(self.concurrency, fixed=in_process, watch=self.pace.unlimited)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one attempt. `stopped`: the cancellation, or the bug of a backend, that ended it."""

    response: Response | None
    fault: CallFault | None
    stopped: BaseException | None
    latency: float

    @property
    def outcome(self) -> Outcome:
        """What it says of the server."""
        return outcome_of(self.fault) if self.stopped is None else Outcome.UNCLEAR

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked to wait."""
        return self.fault.retry_after if isinstance(self.fault, Overloaded) else None


def keeps_intent(model: OpenModel, request: Request) -> bool:
    """Whether the backend's own durable record holds that this request was sent. Probes are always sent live."""
    return model.keeps_intents and request.purpose != "probe"


def price_of(model: OpenModel, purpose: str) -> PriceTable:
    """The price of a call: probes of a batch model are made live, at the standard price."""
    return model.probe_price if purpose == "probe" and model.probe_price is not None else model.price


def backend_notes(backend: Backend) -> tuple[str, ...]:
    """What a backend that has `notes()` says of its server; empty for one that has none."""
    notes = getattr(backend, "notes", None)
    return tuple(str(told) for told in notes()) if notes is not None else ()


def prompt_bytes(request: Request) -> int:
    """UTF-8 bytes of all messages, and of a schema: an upper bound of their tokens for byte-level vocabularies."""
    form = 0 if request.response_format is None else len(canonical_json(request.response_format).encode())
    return sum(len(message.content.encode()) for message in request.messages) + form


def completion_limit(request: Request) -> int | None:
    """Tokens that each answer has at most, None where nothing bounds them.

    A request that measures writes nothing; but a server may have to write a token to tell likelihoods.
    """
    if request.task == "generate":
        return request.sampling.max_tokens
    return 1 if request.task == "likelihood" else 0


def worst_case(price: PriceTable, request: Request) -> int | None:
    """Nano-USD that one attempt can cost at most; None when the price or `max_tokens` is unknown."""
    size = prompt_bytes(request)
    return upper_bound(price, size, len(request.messages), completion_limit(request), request.n)


def expected_tokens(request: Request) -> int:
    """What a request is taken to use before its answer tells."""
    return prompt_bytes(request) // 4 + request.n * (completion_limit(request) or 0)


def check_answer(answer: object) -> Response:
    """What a backend returned. Raises TypeError for what is no Response, NoChoices for one that has none."""
    if not isinstance(answer, Response):
        raise TypeError(f"it returned {type(answer).__name__}, not a factory.types.Response")
    if not answer.choices:
        raise NoChoices("the answer has no choices", usage=answer.usage)
    return answer


def name_bug(model: OpenModel, error: BaseException) -> BaseException:
    """What a backend raised that is no CallFault, as one clear error that says whose it is."""
    if isinstance(error, FactoryError) or not isinstance(error, Exception):
        return error
    named = FactoryError(
        f"the backend of {model.config.name} failed: {type(error).__name__}: {str(error)[:500]}",
        "a backend raises a factory.errors.CallFault when an attempt fails; FACTORY_TRACEBACK=1 shows where this began",
        code="backend",
    )
    named.__cause__ = error
    return named


def cut_short(error: BaseException, leased: bool) -> CallFault:
    """The fault of an attempt that ended before an answer came; one that was never sent costs nothing."""
    if leased:
        return ConnectionLost(f"{type(error).__name__} before an answer came")
    fault = ConnectionFailed("cancelled before it was sent")
    fault.outcome = "cancelled"
    return fault


def where(model: OpenModel) -> str:
    """The model, with the address of its server where the recipe gives one."""
    return model.config.name + (f" at {model.config.base_url}" if model.config.base_url else "")


def server_of(model: OpenModel) -> str:
    """The model and its server, `MODEL at HOST:PORT`; the model alone where it runs in this process."""
    name = model.config.name
    return name if model.config.backend in IN_PROCESS else f"{name} at {server_name(base_url_of(model.config))}"


_TOKENS = re.compile(r"\d[\d,.]* (\w+ ){0,2}tokens|tokens\W[^.]{0,40}?\d{2}", re.I)


def refused_text(fault: Permanent, request: Request) -> str:
    """Why a request was refused for good; where it is too long, with our estimate unless the server counted tokens."""
    if not isinstance(fault, ContextTooLong) or _TOKENS.search(fault.message):
        return fault.message
    wanted = request.sampling.max_tokens
    asked = f", max_tokens asks for {wanted}" if wanted else ""
    return f"{fault.message} (the prompt has about {max(1, prompt_bytes(request) // 4)} tokens{asked})"


def said(model: OpenModel, fault: CallFault) -> str:
    """A fault's message without the host and port that `where` has told already."""
    base_url = model.config.base_url
    return fault.message.removeprefix(f"{server_name(base_url)}: ") if base_url else fault.message


def refusal_of(model: OpenModel, fault: Refused) -> Incomplete:
    config = model.config
    if config.api_key_env or not config.base_url:
        key = f"check the key in ${config.api_key_env or DEFAULT_KEY}"
    else:
        key = "name the variable that holds its key with `api_key_env:`"
    hints = {Unauthorized: key, QuotaSpent: "add credit at the provider, or choose another model with --model"}
    hint = hints.get(type(fault), "check the model's name and base_url (`factory doctor RECIPE` asks what it has)")
    return KeyRefused(f"{where(model)}: {said(model, fault)[:600]}", f"{hint}; the same command goes on")


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def ledger_entry(model: OpenModel, lease: Lease, sent: Sent, stored: Stored | None) -> LedgerEntry:
    """The line in the ledger of an attempt that was sent live, and of the one after which its call was given up."""
    result = sent.response if sent.response is not None else sent.fault
    assert result is not None
    entry = entry_of(lease, result, price_of(model, lease.purpose), round(sent.latency, 6))
    return replace(entry, outcome="gave_up") if stored is not None and stored.outcome == "gave_up" else entry


def entry_of(lease: Lease, result: Response | CallFault, price: PriceTable, latency_s: float | None) -> LedgerEntry:
    """An attempt's line in the ledger: an answer at its usage, an HTTP error at 0, a lost one at its upper bound."""
    usage, fault = result.usage, result if isinstance(result, CallFault) else None
    lost = fault is not None and fault.cost_unknown
    tokens = usage if usage is not None else (None if lost else Usage())
    return LedgerEntry(
        call_id=lease.call_id,
        attempt=lease.attempt,
        row=lease.row,
        step=lease.step,
        purpose=lease.purpose,
        model=lease.model,
        prompt_tokens=tokens.prompt_tokens if tokens else None,
        cached_tokens=tokens.cached_tokens if tokens else None,
        completion_tokens=tokens.completion_tokens if tokens else None,
        reasoning_tokens=tokens.reasoning_tokens if tokens else None,
        nano_usd=None if lost else (cost(price, usage) if usage is not None else 0),
        upper_bound_nano_usd=lease.upper_bound_nano if lost else None,
        price_source=price.source,
        outcome="ok" if fault is None else fault.outcome,
        latency_s=latency_s,
        at=lease.at,
        gpu_seconds=tokens.gpu_seconds if tokens else None,
    )
