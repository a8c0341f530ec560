"""A stand-in for the package `vllm`: its names and shapes, and answers that are a function of seed and prompt.

Only what the backend touches. `install(monkeypatch)` puts it where `import vllm` finds it; the real one is asked in
tests/real.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

WORDS = ["", "<think>", "</think>", "yes", " no", "maybe", " perhaps", "so", " it", " is"]
END = 0


class VLLMClientError(Exception):
    """The request's fault; older versions raise a ValueError."""


class EngineDeadError(Exception):
    """The engine's processes are gone."""


class EngineGenerateError(Exception):
    """One request failed, the engine lives."""


@dataclass
class StructuredOutputsParams:
    json: Any = None
    regex: str | None = None
    json_object: bool | None = None


@dataclass
class GuidedDecodingParams:
    json: Any = None
    json_object: bool | None = None


@dataclass
class SamplingParams:
    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: list[str] | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    output_kind: str = ""
    logit_bias: dict[int, float] | None = None
    structured_outputs: StructuredOutputsParams | None = None

    def __post_init__(self) -> None:
        if self.repetition_penalty <= 0:
            raise ValueError("repetition_penalty must be greater than zero")


@dataclass
class OldSamplingParams:
    n: int = 1
    temperature: float = 1.0
    seed: int | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None
    output_kind: str = ""
    guided_decoding: GuidedDecodingParams | None = None


@dataclass
class AsyncEngineArgs:
    model: str
    max_model_len: int = 64
    enable_prefix_caching: bool | None = None
    enable_chunked_prefill: bool | None = None
    tensor_parallel_size: int = 1
    trust_remote_code: bool = False
    dtype: str = "auto"
    enable_lora: bool = False
    max_lora_rank: int = 16
    disable_log_stats: bool = False


@dataclass
class Tokenizer:
    """Words are tokens; the template puts the last message's length in front and may open the reasoning."""

    chat_template: str | None = "a template"
    opens: bool = False
    bos_token_id: int | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)

    def apply_chat_template(self, messages: list[dict[str, str]], **words: Any) -> Mapping[str, list[int]]:
        self.seen.append(words)
        if messages[-1]["content"] == "refuse":
            raise ValueError("roles must alternate")
        ids = [3 + len(word) % 6 for word in messages[-1]["content"].split()]
        return {"input_ids": [*ids, 1] if self.opens else ids}

    def decode(self, ids: list[int]) -> str:
        return "".join(WORDS[place] for place in ids)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [3] * max(1, len(text.split()))


class AsyncLLM:
    """An engine that takes its orders from `plan`: what starting does, what a request does, how it answers."""

    plan = SimpleNamespace()

    @classmethod
    def from_engine_args(cls, arguments: AsyncEngineArgs) -> AsyncLLM:
        cls.plan.started.append(arguments)
        if cls.plan.start_error is not None:
            raise cls.plan.start_error
        return cls(arguments)

    def __init__(self, arguments: AsyncEngineArgs):
        self.model_config = SimpleNamespace(
            max_model_len=arguments.max_model_len, get_diff_sampling_param=lambda: dict(self.plan.defaults)
        )
        parallel = SimpleNamespace(world_size=arguments.tensor_parallel_size, data_parallel_size=1)
        self.vllm_config = SimpleNamespace(parallel_config=parallel)

    def get_tokenizer(self) -> Any:
        """A coroutine's result, as in older versions."""
        tokenizer = self.plan.tokenizer

        async def found() -> Tokenizer:
            return tokenizer

        return found()

    async def generate(
        self, prompt: dict[str, Any], params: Any, request_id: str, lora_request: Any = None
    ) -> AsyncIterator[Any]:
        self.plan.asked.append((prompt, params, request_id, lora_request))
        await asyncio.sleep(0)
        if self.plan.request_error is not None:
            raise self.plan.request_error
        ids = prompt["prompt_token_ids"]
        outputs = [self._answer(ids, params, k) for k in range(params.n)]
        told = None
        if getattr(params, "prompt_logprobs", None) is not None and self.plan.tells_prompts:
            told = [None, *(self._expect(ids, place) for place in range(1, len(ids)))]
        yield SimpleNamespace(
            outputs=outputs, prompt_token_ids=ids, num_cached_tokens=self.plan.cached, prompt_logprobs=told
        )

    @staticmethod
    def _expect(ids: list[int], place: int) -> dict[int, Any]:
        """What is expected at a place of a prompt: its own token's value tells which token and which place it is."""
        token = ids[place]
        value = float("-inf") if WORDS[token] == "</think>" else -(place + token / 100)
        return {token: SimpleNamespace(logprob=value, rank=3, decoded_token=WORDS[token])}

    def _answer(self, ids: list[int], params: Any, k: int) -> Any:
        drawn = self.plan.answer or [5 + ((params.seed or 0) + k + len(ids)) % 5, 4, END]
        given = None
        if params.logprobs is not None:
            given = [
                {
                    token: SimpleNamespace(
                        logprob=-0.5 if token else float("-inf"), rank=2, decoded_token=WORDS[token]
                    ),
                    9: SimpleNamespace(logprob=-0.25, rank=1, decoded_token=WORDS[9]),
                }
                for token in drawn
            ]
        return SimpleNamespace(
            index=k,
            text="".join(WORDS[token] for token in drawn),
            token_ids=drawn,
            logprobs=given,
            finish_reason=self.plan.finish,
            stop_reason=None,
        )

    def shutdown(self) -> None:
        self.plan.closed += 1


def install(monkeypatch: pytest.MonkeyPatch, *, old: bool = False) -> SimpleNamespace:
    """Make the stand-in importable; returns its plan, which a test may change before and during requests."""
    plan = SimpleNamespace(
        started=[], asked=[], closed=0, start_error=None, request_error=None, defaults={}, answer=None, finish="stop",
        cached=2, tokenizer=Tokenizer(), on_cpu=False, tells_prompts=True,
    )  # fmt: skip
    params: dict[str, Any] = {"RequestOutputKind": SimpleNamespace(FINAL_ONLY="final")}
    params |= {"SamplingParams": OldSamplingParams, "GuidedDecodingParams": GuidedDecodingParams} if old else {
        "SamplingParams": SamplingParams, "StructuredOutputsParams": StructuredOutputsParams
    }  # fmt: skip
    platform = SimpleNamespace(is_cpu=lambda: plan.on_cpu)
    lora = dataclasses.make_dataclass("LoRARequest", ["lora_name", "lora_int_id", "lora_path"])
    names: dict[str, dict[str, Any]] = {
        "vllm": {},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": AsyncEngineArgs},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": type("AsyncLLM", (AsyncLLM,), {"plan": plan})},
        "vllm.sampling_params": params,
        "vllm.platforms": {"current_platform": platform},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": lora},
    }
    for name, members in names.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return plan
