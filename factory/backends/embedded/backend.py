"""`embedded/tiny`: a small Llama checkpoint that travels in the package, run in NumPy on a thread of its own.

It is deterministic: a candidate depends on (prompt, parameters, seed, index) alone, on one CPU family and NumPy build.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.backends.embedded.batching import Completion, Engine, Task
from factory.backends.embedded.llama import load_llama
from factory.backends.measuring import NOTHING_BEFORE, split_answer, told_likelihood
from factory.errors import BadRequest, UsageError, nearest
from factory.seeds import derive
from factory.types import Choice, Message, Request, Response, Sampling, TokenLogprob, Usage

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

MODELS = {"tiny": Path(__file__).parent.parent / "tiny"}
"""Models that travel in the package, by name."""

_WITHOUT_EFFECT = frozenset({"reasoning_effort"})
"""Taken and left alone: this model does not reason, whatever the effort."""

_LONG = 20_000
"""Characters of a text that is turned into tokens beside the event loop."""


class Chat:
    """A checkpoint's tokenizer and chat template: messages → token ids, token ids → text."""

    def __init__(self, directory: Path):
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        from tokenizers import Tokenizer

        for name in ("tokenizer.json", "tokenizer_config.json"):
            if not (directory / name).is_file():
                raise UsageError(f"{directory / name}: no such file", "a checkpoint needs a tokenizer and a template")
        try:
            self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
            settings = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
        except Exception as error:  # tokenizers raises bare Exception
            raise UsageError(f"{directory}: the tokenizer cannot be read ({error})") from error
        source = settings.get("chat_template")
        separate = directory / "chat_template.jinja"
        if source is None and separate.is_file():
            source = separate.read_text(encoding="utf-8")
        if not isinstance(source, str):
            raise UsageError(f"{directory / 'tokenizer_config.json'}: no chat_template", "add one, as a string")
        self._template_error = TemplateError
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["raise_exception"] = _refuse_messages
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise UsageError(f"{directory}: the chat template has a fault: {error}") from error
        self._names = {key: _token_text(settings.get(key)) for key in ("bos_token", "eos_token", "pad_token")}

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat, up to where the answer begins. Raises BadRequest where the template refuses."""
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = self._template.render(messages=plain, add_generation_prompt=True, **self._names)
        except self._template_error as error:
            raise BadRequest(f"the chat template refuses these messages: {error}") from error
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_answer(self, text: str) -> list[int]:
        """Token ids of an answer's own text, as they follow those of `encode`."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @property
    def begin(self) -> list[int]:
        """The token that begins every text; none where the tokenizer has none."""
        token = self._tokenizer.token_to_id(self._names["bos_token"])
        return [] if token is None else [token]

    def spell(self, token: int) -> str:
        """One token's own text."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def _token_text(value: Any) -> str:
    """A special token as `tokenizer_config.json` writes it: a string, or an object with `content`."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _refuse_messages(message: str) -> str:
    raise BadRequest(f"the chat template refuses these messages: {message}")


class EmbeddedBackend:
    """A checkpoint directory as a backend. Candidate k of a request is drawn with `derive(seed, index + k)`."""

    honours_n: bool | None = True
    local = True
    structured: str | None = "prompt"
    tasks = frozenset({"generate", "likelihood"})

    def __init__(self, directory: Path, *, name: str = "tiny", slots: int = 64):
        self._name = name
        self._chat = Chat(directory)
        self._engine = Engine(load_llama(directory), self._chat.decode, slots)

    async def generate(self, request: Request) -> Response:
        """All `n` candidates. Raises BadRequest on parameters it does not know, ContextTooLong on long prompts.

        `response_format` is not enforced: the output parser judges the text. A likelihood is that of the answer's own
        tokens after the chat before it, at temperature 1; after the token that begins a text where there is no chat.
        """
        if request.task == "likelihood":
            return await self._measure(request)
        task = self._task(request)
        completions: list[Completion] = await asyncio.wrap_future(self._engine.submit(task))
        usage = Usage(len(task.prompt), sum(len(done.tokens) for done in completions))
        choices = tuple(Choice(done.text, done.finish_reason) for done in completions)
        return Response(choices, usage, f"embedded/{self._name}")

    async def close(self) -> None:
        """Stop the thread. Requests under way fail with ConnectionFailed."""
        await asyncio.to_thread(self._engine.close)

    async def _measure(self, request: Request) -> Response:
        before, answer = split_answer(request)
        prompt = self._chat.encode(before) if before else self._chat.begin
        # A long text takes its time, and the event loop goes on meanwhile.
        encode = self._chat.encode_answer
        written = await asyncio.to_thread(encode, answer) if len(answer) > _LONG else encode(answer)
        skipped = 0 if prompt else 1  # what nothing stands before has no likelihood
        tokens = tuple(prompt + written)
        if len(tokens) < 2:
            raise BadRequest(NOTHING_BEFORE)
        values = await asyncio.wrap_future(self._engine.measure(tokens, len(prompt) + skipped))
        found = [
            TokenLogprob(self._chat.spell(token), value) for token, value in zip(written[skipped:], values, strict=True)
        ]
        return told_likelihood(answer, found, Usage(len(tokens), 0), f"embedded/{self._name}")

    def _task(self, request: Request) -> Task:
        sampling = request.sampling
        if unknown := _unknown_parameters(sampling):
            raise BadRequest(unknown)
        temperature = 1.0 if sampling.temperature is None else sampling.temperature
        top_p = 1.0 if sampling.top_p is None else sampling.top_p
        limits = {
            "n": (request.n, request.n >= 1, "at least 1"),
            "temperature": (temperature, 0 <= temperature <= 100, "between 0 and 100"),
            "top_p": (top_p, 0 < top_p <= 1, "above 0 and at most 1"),
            "max_tokens": (sampling.max_tokens, sampling.max_tokens is None or sampling.max_tokens >= 1, "at least 1"),
            "stop": (sampling.stop, all(sampling.stop), "without empty strings"),
        }
        for name, (value, fits, wanted) in limits.items():
            if not fits:
                raise BadRequest(f"{name} is {value!r}: it must be {wanted}")
        return Task(
            prompt=tuple(self._chat.encode(request.messages)),
            seeds=tuple(derive(request.seed, request.index + k) for k in range(request.n)),
            temperature=temperature,
            top_p=top_p,
            max_tokens=sampling.max_tokens,
            stop=tuple(sampling.stop),
        )


def _unknown_parameters(sampling: Sampling) -> str:
    """A complaint about the parameters that this model does not take, or an empty string."""
    unknown = sorted(set(sampling.extra) - _WITHOUT_EFFECT)
    if not unknown:
        return ""
    names = ", ".join(f"`{name}`" for name in unknown)
    return f"the embedded model does not know {names}: it takes temperature, top_p, max_tokens and stop"


def open_backend(model: ModelConfig) -> EmbeddedBackend:
    """The backend of a recipe's model. Raises UsageError on a model or a parameter that is not there."""
    directory = MODELS.get(model.model)
    if directory is None:
        raise UsageError(f"there is no embedded model `{model.model}`", nearest(model.model, MODELS))
    if unknown := _unknown_parameters(model.sampling()):
        raise UsageError(unknown, f"remove them from the model `{model.name}` of the recipe")
    return EmbeddedBackend(directory, name=model.model)
