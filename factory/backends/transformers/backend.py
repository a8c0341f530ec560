"""`transformers/MODEL` as a backend: checks a request, hands it to the engine, turns completions into choices.

A candidate hangs on (prompt, parameters, seed, index) and never on who else is asked for. What is left of its
neighbours is rounding: matrix products of other shapes differ in their last bits, which changes a few tokens
in a million in float32, and many more in coarser numbers. `engine.batch_size: 1` takes that away too.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from factory.backends.measuring import NOTHING_BEFORE, split_answer, told_likelihood
from factory.backends.thoughts import split_thought
from factory.backends.transformers.connection import Connection
from factory.backends.transformers.options import EngineOptions, check_packages, local_directory, read_options
from factory.backends.transformers.passes import Measurement
from factory.errors import BadRequest, ContextTooLong, UsageError, nearest
from factory.seeds import derive
from factory.types import Choice, Request, Response, Sampling, TokenLogprob, Usage

if TYPE_CHECKING:
    from concurrent.futures import Future

    from factory.backends.transformers.chat import Chat
    from factory.backends.transformers.engine import Work
    from factory.backends.transformers.likelihood import Reading
    from factory.backends.transformers.loading import LoadedModel
    from factory.backends.transformers.sequences import Completion, Task
    from factory.recipe.models import ModelConfig

_EXTRA = (
    "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "reasoning_effort",
    "chat_template_kwargs",
)  # fmt: skip
"""Sampling parameters beside temperature, top_p, max_tokens and stop. The last two go to the chat template."""

_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "temperature": (lambda value: 0 <= value <= 100, "between 0 and 100"),
    "top_p": (lambda value: 0 < value <= 1, "above 0 and at most 1"),
    "top_k": (lambda value: value >= -1 and int(value) == value, "a whole number; 0 or -1 for no cut"),
    "min_p": (lambda value: 0 <= value <= 1, "between 0 and 1"),
    "presence_penalty": (lambda value: -2 <= value <= 2, "between -2 and 2"),
    "frequency_penalty": (lambda value: -2 <= value <= 2, "between -2 and 2"),
    "repetition_penalty": (lambda value: 0 < value <= 100, "above 0"),
    "max_tokens": (lambda value: value >= 1, "at least 1"),
}


class TransformersBackend:
    """A model of the library in this process. It is loaded with the first request, on a thread of its own."""

    honours_n: bool | None = True
    structured = "prompt"
    local = True
    unbounded = True
    tasks = frozenset({"generate", "likelihood"})

    def __init__(self, model: str, options: EngineOptions | None = None):
        self._model, self._options = model, options or EngineOptions()
        self._connection: Connection[LoadedModel] = Connection(
            f"{model} {self._options}", f"transformers/{model}", self._load
        )
        self._notes: tuple[str, ...] = ()

    async def generate(self, request: Request) -> Response:
        """All `n` candidates.

        Raises BadRequest on parameters out of range or unknown, ContextTooLong with token counts, Permanent when one
        sequence alone does not fit into memory; a FactoryError when the model cannot be loaded. `response_format` is
        not enforced: the output parser judges the text. Log-probabilities are the model's own, before temperature,
        penalties and cuts; a likelihood is that of the answer's own tokens after the chat before it.
        """
        if complaint := complain(request):
            raise BadRequest(complaint)
        measured = request.task == "likelihood"
        return await self._connection.ask(partial(self._measure if measured else self._prepare, request))

    async def close(self) -> None:
        """End what is under way, with ConnectionFailed; the thread stops unless another role uses the same model."""
        self._notes = self.notes()
        await self._connection.close()

    def notes(self) -> tuple[str, ...]:
        """What this model made the engine do otherwise than asked."""
        if (loaded := self._connection.model) is not None and not loaded.batched:
            return (f"transformers/{self._model} does not bear batches: its candidates ran one by one",)
        return self._notes

    def _load(self, stopped: Callable[[], bool]) -> LoadedModel:
        from factory.backends.transformers import loading  # torch: seconds, on the engine's thread

        loaded: LoadedModel = loading.load_model(self._model, self._options, stopped)
        return loaded

    def _prepare(self, request: Request, loaded: LoadedModel, future: Future[Response]) -> Work:
        from factory.backends.transformers.sequences import Job

        task = make_task(request, loaded, self._model)

        def finish(completions: Sequence[Completion], gpu_seconds: float | None) -> Response:
            read = [read_choice(completion, loaded.chat) for completion in completions]
            usage = Usage(
                prompt_tokens=len(task.prompt),
                completion_tokens=sum(len(completion.tokens) for completion in completions),
                reasoning_tokens=sum(thought for _, thought in read),
                gpu_seconds=gpu_seconds,
            )
            return Response(tuple(choice for choice, _ in read), usage, f"transformers/{self._model}")

        return Job(task, finish, future)

    def _measure(self, request: Request, loaded: LoadedModel, future: Future[Response]) -> Work:
        reading, text = make_reading(request, loaded, self._model)

        def finish(logprobs: Sequence[float], gpu_seconds: float | None) -> Response:
            spelt = [loaded.chat.spell(token) for token in reading.tokens[reading.first :]]
            found = [TokenLogprob(*pair) for pair in zip(spelt, logprobs, strict=True)]
            usage = Usage(len(reading.tokens), 0, gpu_seconds=gpu_seconds)
            return told_likelihood(text, found, usage, f"transformers/{self._model}")

        return Measurement(reading, len(reading.tokens), finish, future)


def complain(request: Request) -> str:
    """What is wrong with a request, or an empty string."""
    if request.n < 1:
        return f"n is {request.n}: it must be at least 1"
    if not all(request.sampling.stop):
        return f"stop is {request.sampling.stop!r}: it must be without empty strings"
    return complain_of_sampling(request.sampling)


def complain_of_sampling(sampling: Sampling) -> str:
    """What is wrong with sampling parameters: unknown, no number, out of range; or an empty string."""
    for name in sampling.extra:
        if name not in _EXTRA:
            choices = [*_EXTRA, "temperature", "top_p", "max_tokens", "stop"]
            return f"the transformers backend does not know `{name}`: {nearest(name, choices)}"
    for name, (fits, wanted) in _RANGES.items():
        value = getattr(sampling, name) if hasattr(sampling, name) else sampling.extra.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return f"{name} is {value!r}: it must be a number"
        if not fits(value):
            return f"{name} is {value!r}: it must be {wanted}"
    if not isinstance(sampling.extra.get("chat_template_kwargs", {}), Mapping):
        return "chat_template_kwargs is no mapping"
    return ""


def make_task(request: Request, loaded: LoadedModel, model: str) -> Task:
    """A request as tokens. What it leaves open comes from the checkpoint's generation_config, as vLLM does it.

    Raises BadRequest where the chat template refuses, ContextTooLong with the counts.
    """
    from factory.backends.transformers.sampling import Settings
    from factory.backends.transformers.sequences import Task

    sampling = request.sampling
    extra, variables = split_extra(sampling)
    asked = {**loaded.defaults, **{name: value for name, value in extra.items() if value is not None}}
    for name in ("temperature", "top_p"):
        if (value := getattr(sampling, name)) is not None:
            asked[name] = value
    asked["top_k"] = max(int(asked.get("top_k", 0)), 0)
    prompt = loaded.chat.encode(request.messages, variables)
    room = loaded.context - len(prompt)
    if room < 1:
        raise ContextTooLong(
            f"the prompt has {len(prompt)} tokens, and the context of {model}, {loaded.context} tokens, leaves no room "
            f"for an answer: shorten the prompt to {loaded.context - 1} tokens or fewer"
        )
    if not prompt:
        raise BadRequest("the chat template makes no token of these messages")
    check_tokens(prompt, loaded, model)
    special = {stop: loaded.chat.special(stop) for stop in sampling.stop}
    return Task(
        prompt=tuple(prompt),
        seeds=tuple(derive(request.seed, request.index + k) for k in range(request.n)),
        limit=room if sampling.max_tokens is None else min(sampling.max_tokens, room),
        ends=loaded.ends | {token for token in special.values() if token is not None},
        settings=Settings(**asked),
        stop=tuple(stop for stop, token in special.items() if token is None),
        logprobs=request.logprobs,
    )


def make_reading(request: Request, loaded: LoadedModel, model: str) -> tuple[Reading, str]:
    """A likelihood request as tokens, and the answer's text.

    An answer alone follows the token that begins every text; where there is none, its first token is left out. Raises
    BadRequest where there is nothing to measure, ContextTooLong with the counts.
    """
    from factory.backends.transformers.likelihood import Reading

    before, answer = split_answer(request)
    prompt = loaded.chat.encode(before, split_extra(request.sampling)[1]) if before else loaded.chat.begin
    written = loaded.chat.encode_answer(answer)
    first = max(1, len(prompt))
    tokens = (*prompt, *written)
    if len(tokens) <= first:
        raise BadRequest(NOTHING_BEFORE)
    if len(tokens) > loaded.context:
        raise ContextTooLong(
            f"prompt and answer have {len(tokens)} tokens, and the context of {model} is {loaded.context} tokens"
        )
    check_tokens(tokens, loaded, model)
    return Reading(tokens, first), answer


def split_extra(sampling: Sampling) -> tuple[dict[str, Any], dict[str, Any]]:
    """Further sampling parameters, and the variables for the chat template among them."""
    extra = dict(sampling.extra)
    variables = dict(extra.pop("chat_template_kwargs", None) or {})
    if (effort := extra.pop("reasoning_effort", None)) is not None:
        variables["reasoning_effort"] = effort
    return extra, variables


def check_tokens(tokens: Sequence[int], loaded: LoadedModel, model: str) -> None:
    """Raise UsageError for tokens that the model does not know."""
    if max(tokens) >= loaded.vocab:
        raise UsageError(
            f"the tokenizer of {model} gives token {max(tokens)}, and the model knows {loaded.vocab}",
            "they do not belong together: take both from one checkpoint",
        )


def read_choice(completion: Completion, chat: Chat) -> tuple[Choice, int]:
    """A completion as an answer with its reasoning apart, and how many of its tokens are reasoning.

    Log-probabilities are those of the answer's tokens: not of reasoning, a stop string or an end token.
    """
    text, reasoning = split_thought(completion.text)
    begin = len(completion.text) - len(text) if completion.text.endswith(text) else 0
    thought = _tokens_up_to(completion, chat, begin) if begin else 0
    logprobs: tuple[TokenLogprob, ...] | None = None
    if completion.logprobs is not None:
        last = _tokens_up_to(completion, chat, len(completion.text))
        logprobs = tuple(
            TokenLogprob(
                chat.spell(one.token), one.logprob, tuple((chat.spell(token), value) for token, value in one.top)
            )
            for one in completion.logprobs[thought:last]
        )
    return Choice(text, completion.finish_reason, reasoning, logprobs), thought if reasoning is not None else 0


def _tokens_up_to(completion: Completion, chat: Chat, length: int) -> int:
    """How many tokens it takes to write so many characters of the text."""
    tokens = completion.tokens
    return bisect_left(range(len(tokens)), length, key=lambda count: len(chat.decode(tokens[:count])))


def open_backend(model: ModelConfig) -> TransformersBackend:
    """The backend of a recipe's model; nothing is loaded before the first call.

    Raises MissingExtra without torch or transformers, UsageError on an option, a parameter or a directory that does
    not fit.
    """
    options = read_options(model.engine, model.name)
    if complaint := complain_of_sampling(model.sampling()):
        raise UsageError(complaint, f"correct the model `{model.name}` of the recipe")
    check_packages(options)
    local_directory(model.model)
    if options.lora is not None:
        local_directory(options.lora)
    return TransformersBackend(model.model, options)
