"""A dozen small questions to one model, and what its answers show of what its server really honours.

Servers drop what they do not know in silence, so an accepted request shows nothing: each question is put so that the
answer differs when the parameter is kept to. "Not honoured" may be the model's doing (`system`) or the server's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from factory import seeds
from factory.backends import Backend
from factory.capabilities import keeps_to, server_words
from factory.errors import CallFault, ConnectionLost, Overloaded, Permanent, Transient
from factory.generating import build_request
from factory.prices import PriceTable, cost, upper_bound
from factory.recipe import ModelConfig, Recipe
from factory.token_counts import count_bytes
from factory.types import NANO, Message, Request, Response, Sampling, Usage

FEATURES = ("n", "seed", "schema", "json_object", "logprobs", "system", "stop", "max_tokens", "usage")
"""What is looked at, in the order in which it is told."""
WORDS = ("word 1", "word 2", "word 3")
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"colour": {"type": "string"}, "depth": {"type": "integer"}},
    "required": ["colour", "depth"],
    "additionalProperties": False,
}
THINKING = 1024
"""Tokens that a model which reasons is given for each answer, beside those of the answer."""
CUT = 16
"""What `max_tokens` is tried with: the least that every API takes."""
AT_ONCE = 4
ATTEMPTS = 3
LONGEST_PAUSE_S = 5.0
LEAST_PATIENCE_S = 20.0
_SECRET_WORD = "banana"
_LETTER = "e"
_LONG = "Write about one hundred words on the sea, the wind and the harbour."
_FREE = "Write one sentence about a town, its weather and what people do there."
_PROSE = "Write one short sentence about the sea."


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a server honours something (None: it could not be told), and why that is said."""

    honours: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question, `seconds` after it was sent (its last attempt)."""

    response: Response | None
    fault: CallFault | None
    seconds: float

    @property
    def text(self) -> str:
        return "" if self.response is None else self.response.choices[0].text


@dataclass(slots=True)
class Interview:
    """What a model said. `fault`: why the first question had no answer, after which no other was asked.

    `latency_s`: median seconds for a word. `tokens_per_s`: of one long answer, as the server or, where it does not
    say, our own rule counts. `nano_usd` None: the price is not known.
    """

    asked: int = 0
    said: str = ""
    fault: CallFault | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    latency_s: float | None = None
    tokens_per_s: float | None = None
    nano_usd: int | None = 0


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked. `number`: which of the two seeds; `warm`: never at temperature 0."""

    text: str
    tokens: int
    number: int = 0
    warm: bool = False
    system: str = ""
    n: int = 1
    stop: tuple[str, ...] = ()
    form: Mapping[str, Any] | None = None
    logprobs: int | None = None
    thinks: bool = True


_READY = _Question("Answer with the one word: ready", 16)
_QUESTIONS: Mapping[str, _Question] = {
    **{name: replace(_READY, number=at) for at, name in enumerate(WORDS)},
    "long": _Question(_LONG, 160),
    "n": _Question(_PROSE, 24, n=2),
    "seed": _Question(_FREE, 32, warm=True),
    "seed again": _Question(_FREE, 32, warm=True),
    "seed other": _Question(_FREE, 32, warm=True, number=1),
    "schema": _Question(
        _PROSE,
        48,
        form={"type": "json_schema", "json_schema": {"name": "sea", "schema": SCHEMA, "strict": True}},
    ),
    "json_object": _Question(
        "Write one short sentence about the sea in plain words, not as JSON.", 48, form={"type": "json_object"}
    ),
    "logprobs": replace(_READY, logprobs=2),
    "system": _Question(
        "Which is the capital of France?",
        24,
        system=f"Whatever you are asked, answer with the one word: {_SECRET_WORD}",
    ),
    "stop": _Question(_LONG, 160, stop=(_LETTER,)),
    "max_tokens": _Question(_LONG, CUT, thinks=False),
}


def build_questions(recipe: Recipe, role: str, config: ModelConfig, *, thinking: int = 0) -> dict[str, Request]:
    """Every question by name. `thinking`: tokens for hidden reasoning, added to each answer's own."""
    built = {}
    for name, question in _QUESTIONS.items():
        messages = [Message("system", question.system)] if question.system else []
        messages.append(Message("user", question.text))
        seed = seeds.derive(recipe.name, recipe.seed, "doctor", role, question.number)
        temperature = 0.8 if question.warm and config.temperature == 0 else config.temperature
        room = question.tokens + (thinking if question.thinks else 0)
        request = build_request(config, messages, seed=seed, row=None, step=role, purpose="probe", n=question.n)
        built[name] = replace(
            request,
            sampling=Sampling(temperature, None, room, question.stop, config.sampling().extra),
            response_format=question.form,
            logprobs=question.logprobs,
        )
    return built


def expected_cost(price: PriceTable, recipe: Recipe, role: str, config: ModelConfig) -> tuple[float, float] | None:
    """USD that all questions will cost: about, and at most (with reasoning and a retry). None: nobody can tell."""
    about = most = 0
    for thinking in (0, THINKING):
        for request in build_questions(recipe, role, config, thinking=thinking).values():
            size = sum(len(message.content.encode()) for message in request.messages)
            if request.response_format is not None:
                size += len(json.dumps(request.response_format))
            bound = upper_bound(price, size, len(request.messages), request.sampling.max_tokens, request.n)
            if bound is None:
                return None
            if thinking:
                most += 2 * bound
            else:
                tokens = request.n * (request.sampling.max_tokens or 0)
                about += cost(price, Usage(size // 4 + 8, tokens)) or 0
    return about / NANO, most / NANO


async def interview(recipe: Recipe, role: str, config: ModelConfig, backend: Backend, price: PriceTable) -> Interview:
    """Ask a model: one word three times, one long answer, then the rest, a few at once."""
    found = Interview()
    desk = _Desk(backend, price, config, found)
    questions = build_questions(recipe, role, config)
    first = await desk.ask(questions[WORDS[0]])
    if first.response is not None and _thinks(first.response):
        questions = build_questions(recipe, role, config, thinking=THINKING)
        first = await desk.ask(questions[WORDS[0]])
    if first.response is None:
        found.fault = first.fault
        return found
    found.said = " ".join(first.text.split())[:60]
    words = [first, *[await desk.ask(questions[name]) for name in WORDS[1:]]]
    found.latency_s = median(word.seconds for word in words if word.response is not None)
    desk.patience = min(config.timeout, max(LEAST_PATIENCE_S, 50 * found.latency_s))
    answers = {"word": first, "long": await desk.ask(questions["long"])}
    found.tokens_per_s = _speed(answers["long"])
    rest = [name for name in questions if name not in WORDS and name != "long"]
    slots = asyncio.Semaphore(min(AT_ONCE, config.concurrency or AT_ONCE))

    async def one(name: str) -> Answer:
        async with slots:
            return await desk.ask(questions[name])

    answers |= dict(zip(rest, await asyncio.gather(*map(one, rest)), strict=True))
    found.findings = judge(answers)
    return found


class _Desk:
    """Sends questions, each again when a fault may pass, and keeps count of them and of their cost."""

    def __init__(self, backend: Backend, price: PriceTable, config: ModelConfig, found: Interview):
        self._backend = backend
        self._price = price
        self._found = found
        self.patience = config.timeout

    async def ask(self, request: Request) -> Answer:
        self._found.asked += 1
        for attempt in range(ATTEMPTS):
            answer = await self._send(request)
            fault, waited = answer.fault, answer.seconds >= 0.9 * self.patience
            if not isinstance(fault, Transient) or waited or attempt + 1 == ATTEMPTS:
                break
            wait = fault.retry_after if isinstance(fault, Overloaded) else None
            await asyncio.sleep(min(LONGEST_PAUSE_S, 0.25 * 2**attempt if wait is None else wait))
        return answer

    async def _send(self, request: Request) -> Answer:
        started = time.monotonic()
        response: Response | None = None
        fault: CallFault | None = None
        try:
            async with asyncio.timeout(self.patience):
                response = await self._backend.generate(request)
        except CallFault as error:
            fault = error
        except TimeoutError:
            fault = ConnectionLost(f"no answer within {self.patience:g} s")
        usage = response.usage if response is not None else (fault.usage if fault is not None else None)
        if usage is not None and self._found.nano_usd is not None:
            nano = cost(self._price, usage)
            self._found.nano_usd = None if nano is None else self._found.nano_usd + nano
        return Answer(response, fault, time.monotonic() - started)


def _thinks(response: Response) -> bool:
    """Whether a model reasons before it answers, so that it needs more tokens for a word."""
    choice = response.choices[0]
    return bool(
        choice.reasoning
        or response.usage.reasoning_tokens
        or choice.text.lstrip().startswith("<think")
        or (not choice.text.strip() and choice.finish_reason == "length")
    )


def _speed(answer: Answer) -> float | None:
    if answer.response is None or not answer.text:
        return None
    return answer.response.usage.completion_tokens / max(answer.seconds, 1e-6)


def judge(answers: Mapping[str, Answer]) -> dict[str, Finding]:
    """What the answers to all questions show, by feature. `word` is the plain question that was answered."""
    found = {
        "n": _judge_n(answers["n"]),
        "seed": _judge_seed(answers["seed"], answers["seed again"], answers["seed other"]),
        "schema": _judge_schema(answers["schema"]),
        "json_object": _judge_object(answers["json_object"]),
        "logprobs": _judge_logprobs(answers["logprobs"]),
        "system": _judge_system(answers["system"]),
        "stop": _judge_stop(answers["stop"], answers["long"]),
        "max_tokens": _judge_cut(answers["max_tokens"]),
    }
    response = answers["word"].response
    if response is not None:
        counted = not response.usage.estimated
        found["usage"] = Finding(counted, "" if counted else "tokens are not reported: they are estimated here")
    return {name: found[name] for name in FEATURES if name in found}


def _refusal(answer: Answer, *, needs_text: bool = True) -> Finding | None:
    """What is said of a question that was not answered."""
    if answer.fault is not None:
        told = server_words(answer.fault.message)
        return Finding(False, f"refused: {told}") if isinstance(answer.fault, Permanent) else Finding(None, told)
    return Finding(None, "the answer was empty") if needs_text and not answer.text.strip() else None


def _judge_n(answer: Answer) -> Finding:
    if (told := _refusal(answer, needs_text=False)) is not None:
        return told
    assert answer.response is not None
    count = len(answer.response.choices)
    return Finding(count >= 2, "" if count >= 2 else "one choice came for two")


def _judge_seed(first: Answer, again: Answer, other: Answer) -> Finding:
    for answer in (first, again, other):
        if (told := _refusal(answer)) is not None:
            return told
    if first.text != again.text:
        return Finding(False, "the same seed gave another text")
    same = other.text == first.text
    return Finding(not same, "another seed gave the same text" if same else "")


def _judge_schema(answer: Answer) -> Finding:
    if (told := _refusal(answer)) is not None:
        return told
    kept = keeps_to(SCHEMA, answer.text)
    other = "other JSON came" if answer.text.lstrip().startswith("{") else "prose came"
    return Finding(kept, "" if kept else f"taken, but {other}")


def _judge_object(answer: Answer) -> Finding:
    if (told := _refusal(answer)) is not None:
        return told
    kept = answer.text.lstrip().startswith("{")
    return Finding(kept, "" if kept else "taken, but prose came")


def _judge_logprobs(answer: Answer) -> Finding:
    if (told := _refusal(answer, needs_text=False)) is not None:
        return told
    assert answer.response is not None
    there = bool(answer.response.choices[0].logprobs)
    return Finding(there, "" if there else "taken, but none came")


def _judge_system(answer: Answer) -> Finding:
    if (told := _refusal(answer)) is not None:
        return told
    followed = _SECRET_WORD in answer.text.lower()
    return Finding(followed, "" if followed else "not followed (by the server, or by the model)")


def _judge_stop(answer: Answer, long: Answer) -> Finding:
    if (told := _refusal(answer, needs_text=False)) is not None:
        return told
    if _LETTER not in long.text:
        return Finding(None, "the answer gave no occasion")
    kept = _LETTER not in answer.text
    return Finding(kept, "" if kept else "the answer went on behind it")


def _judge_cut(answer: Answer) -> Finding:
    if (told := _refusal(answer, needs_text=False)) is not None:
        return told
    assert answer.response is not None
    usage, end = answer.response.usage, answer.response.choices[0].finish_reason
    tokens = count_bytes(answer.text) if usage.estimated else usage.completion_tokens
    if end == "length" and tokens <= 2 * CUT:
        return Finding(True)
    if tokens > (2 * CUT if usage.estimated else CUT):
        return Finding(False, f"{tokens} tokens came where {CUT} were allowed")
    return Finding(None, "the answer was shorter than the limit")
