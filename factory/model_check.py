"""One model of a recipe, looked at: is it there, is the key good, what does its server do, how fast, for how much."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.backends import Backend, tasks_of
from factory.backends.addresses import key_variable, server_name
from factory.calling import backend_notes
from factory.errors import (
    BadBody,
    CallFault,
    ConnectionFailed,
    ConnectionLost,
    FactoryError,
    ModelMissing,
    QuotaSpent,
    Transient,
    Unauthorized,
    nearest,
)
from factory.model_questions import Finding, Interview, expected_cost, interview
from factory.opening import WHAT, open_backend
from factory.prices import PriceTable, price_for
from factory.recipe import ModelConfig, Recipe
from factory.requesting import build_request
from factory.types import NANO, Message, Task

PATIENCE_S = 15.0
"""How long a server may take to say what it has; an answer may take as long as the recipe's `timeout`."""
LISTING_ATTEMPTS = 3
CONTEXT_KEYS = ("max_model_len", "context_length", "context_window", "max_context_length", "n_ctx")
"""How servers tell the tokens of prompt and answer together: vLLM and SGLang, OpenRouter, Groq, Mistral, llama.cpp."""

Notice = Callable[[str], None]


@dataclass(slots=True)
class ModelFacts:
    """What was found of one model. True, False, or None where it cannot be told or was not asked.

    `told`: one line on the server; `hint`: what to do where `ok` is False. `asked_usd` None: the price is not known.
    """

    role: str
    name: str
    ok: bool = True
    told: str = ""
    hint: str = ""
    reachable: bool | None = None
    key: bool | None = None
    model: bool | None = None
    context: int | None = None
    price: PriceTable | None = None
    batches: bool | None = None
    said: str = ""
    asked: int = 0
    asked_usd: float | None = 0.0
    latency_s: float | None = None
    tokens_per_s: float | None = None
    findings: Mapping[str, Finding] = field(default_factory=dict)
    advice: str = ""
    notes: tuple[str, ...] = ()

    def fail(self, told: str, hint: str) -> None:
        """Say what is wrong, and what to do."""
        self.ok, self.told, self.hint = False, told[:600], hint

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        return {
            "name": self.name,
            "ok": self.ok,
            "reachable": self.reachable,
            "key": self.key,
            "model": self.model,
            "honours": {name: finding.honours for name, finding in self.findings.items()},
            "why": {name: finding.why for name, finding in self.findings.items() if finding.why},
            "latency_s": None if self.latency_s is None else round(self.latency_s, 4),
            "tokens_per_s": None if self.tokens_per_s is None else round(self.tokens_per_s, 1),
            "context": self.context,
            "price": None if self.price is None else price_json(self.price),
            "batches": self.batches,
            "asked": self.asked,
            "asked_usd": self.asked_usd,
        }


async def check_model(
    recipe: Recipe, role: str, ask: bool | None, notice: Notice, tasks: Collection[Task] = ()
) -> ModelFacts:
    """Open a model, look for it at its server and, if wanted, ask it what it honours.

    `ask` None: only a model that costs nothing. `notice` gets a sentence before a model is asked. `tasks`: what the
    recipe wants of the model; nothing else is tried (default: writing, or all that a model does that cannot write).
    """
    config = recipe.models[role]
    facts = ModelFacts(role, config.name)
    try:
        backend = open_backend(config)
    except FactoryError as error:
        variable = _variable(config)
        facts.key = False if variable is not None and not os.environ.get(variable, "").strip() else None
        facts.fail(error.message, error.hint)
        return facts
    try:
        facts.price = price_for(config, local=backend.local)
        listed = await _look(facts, config, backend)
        wanted = is_free(facts.price) if ask is None else ask
        if facts.ok and config.batch:
            await _look_for_batches(facts, backend)
        if facts.ok and wanted:
            notice(f"asking {role} ({config.name}) what it honours{_tell_cost(facts.price, recipe, role, config)}")
            await _ask_safely(facts, recipe, backend, listed, tasks)
        elif facts.ok and not listed:
            facts.fail(facts.told, facts.hint)
        elif facts.ok and ask is None:
            facts.advice = _advise(facts.price, recipe, role, config)
        facts.notes = backend_notes(backend)
        return facts
    finally:
        await backend.close()


def is_free(price: PriceTable) -> bool:
    """Whether calls surely cost nothing."""
    return not (price.unknown or price.gpu_second or price.request) and not any(
        level.input or level.output or level.cached_input or level.written_input for level in price.levels()
    )


def price_json(price: PriceTable) -> dict[str, Any]:
    """A price in USD per million tokens (and per hour of its accelerators); None where it is not known."""
    rates = {"input": price.input, "output": price.output, "cached_input": price.cached_input}
    told: dict[str, Any] = {name: None if rate is None else float(rate) / 1000 for name, rate in rates.items()}
    return {**told, "gpu_hour": float(price.gpu_second) * 3600 / NANO or None, "source": price.source}


def _variable(config: ModelConfig) -> str | None:
    """The environment variable whose key the model's server is sent, if any."""
    if config.backend == "openai":
        return key_variable(config)
    return config.api_key_env


async def _look(facts: ModelFacts, config: ModelConfig, backend: Backend) -> bool:
    """Ask the server for its models. False: its list lacks this one, which may be there all the same."""
    if getattr(backend, "get", None) is None and getattr(backend, "list_models", None) is None:
        facts.told, facts.model = "in process", True
        facts.context = _whole(getattr(backend, "context_length", None))
        return True
    facts.reachable = True
    try:
        entries = await _list_entries(backend)
    except ModelMissing:
        facts.told = "its server answers, but does not tell which models it has"
        return True
    except CallFault as fault:
        _explain(facts, fault, config)
        return True
    names = {name: entry for name, entry in entries.items() if name}
    entry = names.get(config.model, names.get(f"{config.model}:latest"))
    facts.key = await _is_key_looked_at(config, backend)
    facts.context = context_of(entry or {})
    if entry is not None or not names:
        facts.model = True if entry is not None else None
        facts.told = "its server has it" if names else "its server answers"
        return True
    facts.model = False
    facts.told, facts.hint = f"its server does not have `{config.model}`", nearest(config.model, names)
    return False


async def _list_entries(backend: Backend) -> dict[str, Mapping[str, Any]]:
    """What the server tells of each of its models, by name. Raises a CallFault."""
    fetch = getattr(backend, "get", None)
    for attempt in range(LISTING_ATTEMPTS):
        try:
            async with asyncio.timeout(PATIENCE_S):
                if fetch is None:
                    return {name: {} for name in await getattr(backend, "list_models")()}  # noqa: B009
                return read_entries(await fetch("/models"))
        except TimeoutError:
            raise ConnectionLost(f"it has not answered within {PATIENCE_S:.0f} s") from None
        except (ConnectionFailed, ConnectionLost):
            raise
        except Transient:
            if attempt + 1 == LISTING_ATTEMPTS:
                raise
            await asyncio.sleep(0.25 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def read_entries(body: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a list of models, by name, whichever server wrote it. Raises BadBody."""
    listed = body.get("data", body.get("models")) if isinstance(body, Mapping) else body
    if not isinstance(listed, list):
        raise BadBody("the list of models has another shape")
    entries = [entry if isinstance(entry, Mapping) else {"id": entry} for entry in listed]
    return {str(entry.get("id") or entry.get("name") or ""): entry for entry in entries}


def context_of(entry: Mapping[str, Any]) -> int | None:
    """The tokens that a model takes, prompt and answer together, where its entry in the list tells."""
    inner = [entry.get(name) for name in ("meta", "top_provider", "limits")]
    for part in (entry, *(found for found in inner if isinstance(found, Mapping))):
        for key in CONTEXT_KEYS:
            if (found := _whole(part.get(key))) is not None:
                return found
    return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


async def _is_key_looked_at(config: ModelConfig, backend: Backend) -> bool | None:
    """Whether the list of models, which the key got, is refused without one. None: it is open, or no key was sent."""
    from factory.backends.openai import ChatServer

    if not isinstance(backend, ChatServer) or _variable(config) is None:
        return None
    stranger = ChatServer(config, None)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await stranger.get("/models")
    except Unauthorized:
        return True
    except (CallFault, TimeoutError):
        return None
    finally:
        await stranger.close()
    return None


def _explain(facts: ModelFacts, fault: CallFault, config: ModelConfig) -> None:
    """What a fault says of the server, and what to do."""
    where = server_name(config.base_url) if config.base_url else "the server"
    message = " ".join(fault.message.split())
    told = message if where in message or not config.base_url else f"{where}: {message}"
    if isinstance(fault, Unauthorized):
        facts.key = False
        variable = _variable(config)
        hint = f"check the key in ${variable}" if variable else "name the variable of its key with `api_key_env:`"
    elif isinstance(fault, QuotaSpent):
        hint = "add credit at the provider, or choose another model with --model"
    elif isinstance(fault, ModelMissing):
        facts.model, hint = False, "check `model` and `base_url`"
    elif "certificate" in message:
        facts.reachable, hint = False, "export SSL_CERT_FILE=CA.pem, or mend the server's certificate"
    elif isinstance(fault, (ConnectionFailed, ConnectionLost)):
        facts.reachable, hint = False, "is the server running, and is base_url right?"
    elif isinstance(fault, BadBody):
        hint = "is base_url the address of an OpenAI-compatible API? most end in /v1"
    elif isinstance(fault, Transient):
        hint = "the server is there, but not well: try again in a while"
    else:
        hint = "a run would fail alike"
    facts.fail(told, hint)


async def _look_for_batches(facts: ModelFacts, backend: Backend) -> None:
    """Whether the server has batch jobs. Nothing is submitted."""
    fetch = getattr(backend, "get", None)
    if fetch is None:
        return
    try:
        async with asyncio.timeout(PATIENCE_S):
            await fetch("/batches?limit=1")
        facts.batches = True
    except (CallFault, TimeoutError) as fault:
        facts.batches = False
        said = " ".join(getattr(fault, "message", f"no answer within {PATIENCE_S:.0f} s").split())
        facts.fail(f"its server has no batch jobs: {said}", "remove `batch: true`, or choose a server that has them")


async def _ask_safely(
    facts: ModelFacts, recipe: Recipe, backend: Backend, listed: bool, tasks: Collection[Task]
) -> None:
    """Ask the model; whatever its backend raises is a finding, not the end of the checks."""
    able = tasks_of(backend)
    wanted = [task for task in WHAT if task in (tasks or (("generate",) if "generate" in able else able))]
    try:
        if lacking := [WHAT[task] for task in wanted if task not in able]:
            facts.fail(f"it cannot {lacking[0]}, which the recipe wants of it", "choose a model that can")
            return
        if "generate" in wanted:
            await _ask(facts, recipe, backend, listed)
        if facts.ok and (measured := [task for task in wanted if task != "generate"]):
            await _measure(facts, recipe, backend, measured)
    except FactoryError as error:
        facts.fail(error.message, error.hint)
    except Exception as error:
        facts.fail(f"its backend failed: {type(error).__name__}: {error}", "a backend raises a CallFault or answers")


async def _measure(facts: ModelFacts, recipe: Recipe, backend: Backend, tasks: Sequence[Task]) -> None:
    """Have one answer measured: whether the model can do that at all, and how long it takes once it is loaded."""
    config = recipe.models[facts.role]
    messages = (Message("user", "What is the sea?"), Message("assistant", "Salt water."))
    for task in tasks:
        request = build_request(config, messages, seed=0, row=None, step="doctor", purpose="probe", task=task)
        facts.asked += 2
        try:
            await backend.generate(request)  # the first one loads it
            began = time.monotonic()
            await backend.generate(request)
        except CallFault as fault:
            _explain(facts, fault, config)
            return
        facts.latency_s = time.monotonic() - began
    facts.told = f"{facts.told}: it can {', '.join(WHAT[task] for task in tasks)}"


async def _ask(facts: ModelFacts, recipe: Recipe, backend: Backend, listed: bool) -> None:
    """Ask the model, and take over what it showed. One that the server does not list may answer all the same."""
    config = recipe.models[facts.role]
    assert facts.price is not None
    found: Interview = await interview(recipe, facts.role, config, backend, facts.price)
    facts.asked, facts.said, facts.findings = found.asked, found.said, found.findings
    facts.asked_usd = None if found.nano_usd is None else found.nano_usd / NANO
    facts.latency_s, facts.tokens_per_s = found.latency_s, found.tokens_per_s
    if found.fault is not None and listed:
        _explain(facts, found.fault, config)
    elif found.fault is not None:
        facts.fail(facts.told, facts.hint)
    else:
        facts.model = True
        facts.key = True if _variable(config) is not None else None
        if not listed:
            facts.told, facts.hint = f"its server does not list `{config.model}`, but answers", ""


def _tell_cost(price: PriceTable, recipe: Recipe, role: str, config: ModelConfig) -> str:
    """What asking will cost, in words; nothing for a model that costs nothing."""
    if is_free(price):
        return ""
    expected = expected_cost(price, recipe, role, config)
    if expected is None:
        return ", at a price that is not known"
    return f", for about ${expected[0]:.2g} (at most ${expected[1]:.2g}, if it reasons at length)"


def _advise(price: PriceTable, recipe: Recipe, role: str, config: ModelConfig) -> str:
    expected = expected_cost(price, recipe, role, config)
    told = f"about ${expected[0]:.2g}" if expected is not None else "the price is not known"
    return f"what it honours was not asked: add --ask ({told})"
