"""The `models:` of a recipe: where a model is, what it costs, how it samples."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from factory.recipe.section import Float, Int, Section, fault
from factory.types import Sampling, canonical_json

IN_PROCESS = frozenset({"classifier", "echo", "embedded", "sentence-transformers", "transformers", "vllm"})
NEEDS_MODEL = frozenset({"azure", "openai"}) | IN_PROCESS - {"echo"}
ENGINE_SPEED = frozenset(
    {
        "attn_implementation", "batch_size", "device", "device_map", "disable_log_stats",
        "distributed_executor_backend", "enable_chunked_prefill", "enable_prefix_caching", "enforce_eager",
        "gpu_memory_utilization", "kv_cache_bytes", "max_batch_tokens", "max_memory", "max_num_batched_tokens",
        "max_num_seqs", "offload_folder", "pipeline_parallel_size", "swap_space", "tensor_parallel_size",
        "trust_remote_code",
    }
)  # fmt: skip
"""Keys of `engine:` that change how fast a model in process runs, and where, not what it is."""
RESERVED_BODY = frozenset({"messages", "model", "n", "seed", "stream", "logprobs", "top_logprobs", "response_format"})
SECRET_HEADERS = frozenset({"api-key", "authorization", "proxy-authorization", "x-api-key"})


class Price(Section):
    """USD per million tokens; or, for a model that runs in this process, USD per hour of each of its accelerators."""

    input: Float = Field(default=0.0, ge=0)
    output: Float = Field(default=0.0, ge=0)
    cached_input: Float | None = Field(default=None, ge=0, description="default: the input price")
    gpu_hour: Float | None = Field(default=None, ge=0, description="USD for an hour of one accelerator")

    @model_validator(mode="after")
    def _check_given(self) -> Price:
        given = self.model_fields_set
        for name in ("input", "output"):
            if "gpu_hour" not in given and name not in given:
                raise fault("is missing", "USD per million tokens; or give `gpu_hour` for a model in process", name)
        return self


def _check_stop(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _check_url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise fault(f"`{value[:60]}` is no URL", "write http://HOST:PORT/v1 or https://HOST/v1")
    if "@" in value.split("/")[2]:
        raise fault("holds a user name or password", "keys come from the environment: use `api_key_env`")
    return value.rstrip("/")


def _check_key_env(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise fault("is no name of an environment variable", "a key itself never stands in a recipe")
    return value


def _check_headers(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if name.lower() in SECRET_HEADERS:
            raise fault(f"the header `{name}` would hold a key", "keys come from the environment: `api_key_env`", name)
    return value


def _check_body(value: dict[str, Any]) -> dict[str, Any]:
    for name in value:
        if name in RESERVED_BODY:
            raise fault(f"`{name}` is set by the factory itself", "remove it from `extra_body`", name)
    return value


class ModelConfig(Section):
    """A model of a role: where it is, what it costs, how it samples."""

    backend: str = Field(min_length=1)
    model: str = ""
    base_url: Annotated[str, AfterValidator(_check_url)] | None = None
    api_key_env: Annotated[str, AfterValidator(_check_key_env)] | None = Field(
        default=None, description="environment variable that holds the key (default OPENAI_API_KEY)"
    )
    identity: str | None = Field(
        default=None, min_length=1, description="a name for this model that outlives its address"
    )
    headers: Annotated[dict[str, str], AfterValidator(_check_headers)] = Field(default_factory=dict)
    extra_body: Annotated[dict[str, Any], AfterValidator(_check_body)] = Field(default_factory=dict)
    timeout: Float = Field(default=120.0, gt=0, description="seconds for one attempt")
    concurrency: Int | None = Field(default=None, ge=1)
    requests_per_minute: Float | None = Field(default=None, gt=0)
    tokens_per_minute: Float | None = Field(default=None, gt=0)
    price: Price | None = None
    temperature: Float | None = Field(default=None, ge=0)
    top_p: Float | None = Field(default=None, gt=0, le=1)
    max_tokens: Int | None = Field(default=None, ge=1)
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_check_stop)] | None = None
    reasoning_effort: str | None = None
    presence_penalty: Float | None = None
    frequency_penalty: Float | None = None
    top_k: Int | None = None
    min_p: Float | None = Field(default=None, ge=0, le=1)
    logprobs: Int | None = Field(
        default=None, ge=0, le=20, description="log-probabilities of the answers' tokens, with so many alternatives"
    )
    structured: Literal["auto", "json_schema", "json_object", "prompt"] = Field(
        default="auto", description="how JSON is asked for (default: what a probe of the server shows)"
    )
    api: Literal["auto", "chat", "responses"] = Field(
        default="auto", description="chat completions, or the Responses API where a model needs it"
    )
    api_version: str | None = Field(default=None, min_length=1, description="Azure's `api-version`")
    batch: bool = Field(default=False, description="send requests as batch jobs: cheaper, within a day")
    engine: dict[str, Any] = Field(default_factory=dict, description="options of the engine of a model in process")
    license: str | None = Field(default=None, description="licence of the model's output; goes into the dataset card")

    @model_validator(mode="before")
    @classmethod
    def _read_short(cls, data: object) -> object:
        return split_model(data) if isinstance(data, str) else data

    @model_validator(mode="after")
    def _check_model(self) -> ModelConfig:
        if not self.model and self.backend in NEEDS_MODEL:
            example = "embedded/tiny" if self.backend == "embedded" else f"{self.backend}/MODEL"
            raise fault(f"the backend `{self.backend}` needs a `model`", f"for example {example}")
        return self

    @model_validator(mode="after")
    def _check_api(self) -> ModelConfig:
        if self.backend == "azure" and not self.base_url:
            hint = "the endpoint of the resource, for example https://NAME.openai.azure.com"
            raise fault("the backend `azure` needs a `base_url`", hint)
        if self.api_version is not None and self.backend in IN_PROCESS | {"openai"}:
            hint = "remove it, or use `backend: azure`"
            raise fault(f"the backend `{self.backend}` has no API versions", hint, "api_version")
        if self.api != "auto" and self.backend in IN_PROCESS:
            raise fault(f"the backend `{self.backend}` has no API to choose", "remove it", "api")
        return self

    @property
    def name(self) -> str:
        """`backend/model`; the backend alone where there is no model."""
        return f"{self.backend}/{self.model}" if self.model else self.backend

    @property
    def identity_key(self) -> str:
        """What a call's id knows of the model: `identity`, or `backend/model@base_url`."""
        if self.identity:
            return self.identity
        if self.backend in IN_PROCESS and not self.base_url:
            shaping = {name: value for name, value in self.engine.items() if name not in ENGINE_SPEED}
            return f"{self.name}#{canonical_json(shaping)}" if shaping else self.name
        return f"{self.backend}/{self.model}@{self.base_url or 'default'}"

    def sampling(self) -> Sampling:
        """The sampling parameters that are set."""
        named = ("reasoning_effort", "presence_penalty", "frequency_penalty", "top_k", "min_p")
        extra = {name: value for name in named if (value := getattr(self, name)) is not None}
        extra |= self.extra_body
        return Sampling(self.temperature, self.top_p, self.max_tokens, tuple(self.stop or ()), extra)


def split_model(text: str) -> dict[str, str]:
    """`BACKEND/MODEL`, split at the first slash, as a mapping."""
    backend, _, model = text.partition("/")
    return {"backend": backend, "model": model}
