"""From a recipe's words to vLLM's: the engine's arguments, and the sampling parameters of one request.

Names are checked against the installed version, whichever it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from factory.errors import UsageError, nearest
from factory.types import Request, Sampling

GREEDY_BELOW = 1e-5
"""Temperatures under this are greedy to vLLM, which then refuses n > 1: all candidates are the same text."""

_OWN = ("lora", "chat_template", "chat_template_kwargs")
_TAKEN = {"model": "it is the recipe's `model`", "enable_lora": "give the adapter as `lora`"}
_QUIET = {"disable_log_stats": True, "disable_log_requests": True, "use_tqdm_on_load": False}
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_SET_BY_US = frozenset(
    {"n", "seed", "logprobs", "output_kind", "detokenize", "skip_clone", "output_text_buffer_length", "prompt_logprobs"}
)
_FOR_TEMPLATE = ("chat_template_kwargs", "reasoning_effort")
_FORMS = ("structured_outputs", "guided_decoding")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The `engine:` of a model. `chat_template` is the template's text; `arguments` are vLLM's own."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    lora: str | None = None
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)


def read_options(engine: Mapping[str, Any]) -> EngineOptions:
    """Our own keys apart from vLLM's. Raises UsageError for a key that is set elsewhere, a wrong type, no such file."""
    for name in sorted(_TAKEN.keys() & engine.keys()):
        raise UsageError(f"`engine:` cannot have `{name}`", _TAKEN[name])
    lora, template = engine.get("lora"), engine.get("chat_template")
    for name, value in (("lora", lora), ("chat_template", template)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise UsageError(
                f"`engine.{name}` is {value!r}", "a folder or a Hub name" if name == "lora" else "a template's text"
            )
    words = engine.get("chat_template_kwargs") or {}
    if not isinstance(words, Mapping):
        raise UsageError(f"`engine.chat_template_kwargs` is {words!r}", "it maps the template's variables to values")
    arguments = {name: value for name, value in engine.items() if name not in _OWN}
    return EngineOptions(arguments, lora, None if template is None else _check_template(template), words)


def find_model(model: str) -> str:
    """A model's name for vLLM. Raises UsageError for a path (`/…`, `./…`, `~/…`) where there is nothing."""
    if not model.startswith(("/", "./", "../", "~")):
        return model
    path = Path(model).expanduser()
    if not path.exists():
        hint = "`model` is a checkpoint's folder (relative to the current directory) or a Hub name"
        raise UsageError(f"there is no model at {path}", hint)
    return str(path)


def _check_template(given: str) -> str:
    """A chat template's own text: with a path, a change of the file would not be a change of the calls."""
    if "{%" in given or "{{" in given:
        return given
    raise UsageError(
        f"`engine.chat_template` holds no template: {given[:80]!r}",
        "put the template's own text there (`chat_template: |`), so that a change of it makes new calls",
    )


def engine_arguments(model: str, options: EngineOptions, known: Collection[str], *, on_cpu: bool) -> dict[str, Any]:
    """What AsyncEngineArgs is given. Raises UsageError for a key that neither it nor we know, with the nearest.

    On a CPU prompts are read whole: where vLLM reads one in parts it rewinds the request's random generator, which
    torch's generator for CPUs cannot do, and the engine dies of it.
    """
    for name in sorted(set(options.arguments) - set(known)):
        hint = nearest(name, {*known, *_OWN})
        raise UsageError(f"`engine.{name}` is no option of the installed vllm", hint)
    arguments: dict[str, Any] = {"model": model, "enable_prefix_caching": True}
    arguments |= {name: value for name, value in _QUIET.items() if name in known}
    if on_cpu and "enable_chunked_prefill" in known:
        arguments["enable_chunked_prefill"] = False
    if options.lora is not None:
        arguments["enable_lora"] = True
        if (rank := lora_rank(options.lora)) is not None:
            arguments["max_lora_rank"] = rank
    return arguments | dict(options.arguments)


def lora_rank(lora: str) -> int | None:
    """The `max_lora_rank` that an adapter on this machine needs; None where its config is not here to tell."""
    config = Path(lora).expanduser() / "adapter_config.json"
    try:
        rank = json.loads(config.read_text(encoding="utf-8")).get("r")
    except (OSError, ValueError, AttributeError):
        return None  # a Hub name, or no adapter at all: vLLM says so
    return next((size for size in _LORA_RANKS if isinstance(rank, int) and rank <= size), None)


def template_words(options: EngineOptions, sampling: Sampling) -> dict[str, Any]:
    """Variables for the chat template: the engine's, the request's `chat_template_kwargs`, `reasoning_effort`."""
    given = sampling.extra.get("chat_template_kwargs") or {}
    if not isinstance(given, Mapping):
        raise UsageError(
            f"`extra_body.chat_template_kwargs` is {given!r}", "it maps the template's variables to values"
        )
    words = {**options.chat_template_kwargs, **given}
    if "reasoning_effort" in sampling.extra:
        words["reasoning_effort"] = sampling.extra["reasoning_effort"]
    return words


def sampling_fields(sampling: Sampling, defaults: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Fields of SamplingParams: the model's own `defaults` (as `vllm serve` takes them), and over them the recipe's.

    Without a `max_tokens` of either the answer may fill the context. Raises UsageError for a field that SamplingParams
    does not have, or that we set ourselves.
    """
    given = {name: value for name, value in sampling.body().items() if name not in _FOR_TEMPLATE}
    for name in sorted(given):
        if name in _SET_BY_US:
            raise UsageError(f"`{name}` is set by the factory itself", "remove it from `extra_body`")
        if name not in known or name.startswith("_"):
            free = [other for other in known if not other.startswith("_") and other not in _SET_BY_US]
            raise UsageError(f"vllm has no sampling parameter `{name}`", nearest(name, [*free, *_FOR_TEMPLATE]))
    fields = {"max_tokens": None, **{name: value for name, value in defaults.items() if name in known}, **given}
    if isinstance(bias := fields.get("logit_bias"), Mapping):
        fields["logit_bias"] = {_token_id(token): value for token, value in bias.items()}
    return fields


def _token_id(token: Any) -> int:
    try:
        return int(token)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"`logit_bias` maps token ids to numbers, and {token!r} is none", "write {1234: -5}"
        ) from error


def constraint(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The grammar that a `response_format` asks for, in vLLM's words; None for free text."""
    if response_format is None or response_format.get("type") == "text":
        return None
    if response_format.get("type") == "json_schema":
        return {"json": response_format["json_schema"]["schema"]}
    return {"json_object": True}


def build_params(request: Request, defaults: Mapping[str, Any], module: ModuleType) -> Any:
    """The SamplingParams of a request. `module` is `vllm.sampling_params`.

    Candidate k of a request has the seed `request.seed + k`, by vLLM's own rule, so it hangs on no other candidate.
    Raises UsageError for what the installed version refuses: all of it stands in the recipe.
    """
    known = field_names(module.SamplingParams)
    fields = sampling_fields(request.sampling, defaults, known)
    form = next((name for name in _FORMS if name in known), None)
    wanted, own = constraint(request.response_format), fields.get(form) if form else None
    if wanted is not None and own is not None:
        raise UsageError(f"`extra_body.{form}` and the recipe's own JSON form contradict", "set `structured: prompt`")
    try:
        asked = wanted if wanted is not None else own
        if form and isinstance(asked, Mapping):
            fields[form] = _form_type(module)(**asked)
        temperature = fields.get("temperature")
        greedy = temperature is not None and temperature < GREEDY_BELOW
        return module.SamplingParams(
            n=1 if greedy else request.n,
            seed=request.seed,
            logprobs=request.logprobs,
            output_kind=module.RequestOutputKind.FINAL_ONLY,
            **fields,
        )
    except UsageError:
        raise
    except Exception as error:  # ValueError, TypeError, or a class of vLLM's own, by version
        told = " ".join(str(error).split())[:500]
        raise UsageError(
            f"vllm refuses the sampling parameters: {told}", "mend them at the model of the recipe"
        ) from error


def build_reading_params(module: ModuleType) -> Any:
    """The SamplingParams that tell the log-probabilities of a given prompt's own tokens, and write as good as nothing.

    Raises UsageError where the installed version cannot do that.
    """
    if "prompt_logprobs" not in field_names(module.SamplingParams):
        raise UsageError("the installed vllm tells no log-probabilities of prompts", "pip install -U vllm")
    return module.SamplingParams(
        max_tokens=1, temperature=0.0, prompt_logprobs=0, output_kind=module.RequestOutputKind.FINAL_ONLY
    )


def field_names(struct: Any) -> tuple[str, ...]:
    """Names that a class of vLLM's (a msgspec struct or a dataclass) takes."""
    import inspect

    return tuple(inspect.signature(struct).parameters)


def _form_type(module: ModuleType) -> Any:
    """StructuredOutputsParams, or GuidedDecodingParams in versions before it."""
    return getattr(module, "StructuredOutputsParams", None) or module.GuidedDecodingParams


def finite(value: float, floor: float) -> float:
    """A log-probability that JSON can hold: at least `floor`, at most 0."""
    return floor if math.isnan(value) else max(floor, min(0.0, value))
