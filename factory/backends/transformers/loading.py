"""Loads a tokenizer and a model of the library, and says what they can hold. Runs on the engine's thread."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import torch

from factory.backends.gpu_time import ShareMeter
from factory.backends.transformers.batch import Batch, Limits
from factory.backends.transformers.chat import Chat
from factory.backends.transformers.engine import Runner
from factory.backends.transformers.likelihood import Likelihoods
from factory.backends.transformers.memory import bytes_of_place
from factory.backends.transformers.network import Network, batches_well
from factory.backends.transformers.options import EmbeddingOptions, EngineOptions, library, local_directory
from factory.backends.transformers.passes import Desk, Passes, PassLimits
from factory.backends.transformers.problems import explain
from factory.backends.transformers.solo import Solo
from factory.errors import UsageError

_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length")
_UNKNOWN_CONTEXT = 4096
_HUB_TIMEOUT_S = 3.0
_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_MEMORY_SHARE = {"cuda": 0.7, "cpu": 0.5}
_PREFILL = {"cuda": 16384, "cpu": 4096}
_PLACES = 65536
"""Places of the cache where the free memory is not known."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to write. `context`: tokens of prompt and answer. `defaults`: sampling that the checkpoint advises.

    `batched` False: it writes one candidate at a time.
    """

    runner: Runner[Any]
    chat: Chat
    context: int
    vocab: int
    ends: frozenset[int]
    defaults: Mapping[str, Any]
    batched: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model comes from (a directory, or a name on the hub), its device, and what every loading is told."""

    source: str
    device: str
    common: Mapping[str, Any]


@contextmanager
def find_place(
    name: str,
    options: EngineOptions | EmbeddingOptions,
    *,
    kind: str = "causal language model",
    files: Collection[str] = ("config.json", "adapter_config.json"),
) -> Iterator[Place]:
    """The place of a model that is loaded within. What fails is raised as a FactoryError that says what to do."""
    directory = local_directory(name, files)
    device = ""
    try:
        _check_version()
        device = _device(options.device)
        common: dict[str, Any] = {"trust_remote_code": options.trust_remote_code}
        if options.revision is not None:
            common["revision"] = options.revision
        if directory is None and not _hub_answers():
            common["local_files_only"] = True
        yield Place(str(directory) if directory is not None else name, device, common)
    except Exception as error:
        raise explain(error, name, device=device, lora=getattr(options, "lora", None), kind=kind) from error


def load_model(name: str, options: EngineOptions, stopped: Callable[[], bool]) -> LoadedModel:
    """Load `name`. Raises a FactoryError that says what is wrong and what to do."""
    with find_place(name, options) as place:
        with quiet():
            chat, model = _fetch(place, options)
        with torch.inference_mode():
            return _assemble(name, options, Network(model), chat, stopped)


def _fetch(place: Place, options: EngineOptions) -> tuple[Chat, Any]:
    transformers = library()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place.source, **place.common)
    chat = Chat(tokenizer, place.source, options.chat_template, options.chat_template_kwargs)
    return chat, fetch_weights(transformers.AutoModelForCausalLM, place, options, "causal language model")


def fetch_weights(auto: Any, place: Place, options: EngineOptions, kind: str) -> Any:
    """A model, in evaluation mode on its device. `auto`: the library's class for a `kind` of model.

    Raises UsageError where the checkpoint has not all of its weights.
    """
    settings: dict[str, Any] = {"dtype": choose_dtype(options.dtype, place.device, options.quantization)}
    for key in ("attn_implementation", "max_memory", "offload_folder"):
        if (value := getattr(options, key)) is not None:
            settings[key] = value
    if options.quantization is not None:
        settings["quantization_config"] = _quantization(options.quantization)
    if options.device_map is not None:
        settings["device_map"] = options.device_map
    elif options.quantization is not None:
        settings["device_map"] = {"": place.device}
    model, found = auto.from_pretrained(place.source, **place.common, **settings, output_loading_info=True)
    if missing := sorted(found["missing_keys"]):
        raise UsageError(
            f"{place.source} holds no weights for {', '.join(missing[:3])}{', …' if missing[3:] else ''}",
            f"they would be random: choose a checkpoint of a {kind}, whole",
        )
    if options.lora is not None:
        model = _adapt(model, options)
    if "device_map" not in settings:
        model = model.to(place.device)
    return model.eval()


def choose_dtype(wanted: str, device: str, quantization: object = None) -> Any:
    """The library's `dtype`: the checkpoint's own for "auto", but for float32 on processors."""
    if wanted == "auto" and device == "cpu" and quantization is None:
        wanted = "float32"  # half precision is slow on most processors
    return wanted if wanted == "auto" else getattr(torch, wanted)


def _assemble(
    name: str, options: EngineOptions, network: Network, chat: Chat, stopped: Callable[[], bool]
) -> LoadedModel:
    model = network.model
    context = _context(model.config.get_text_config(decoder=True), options, name)
    meter = meter_for(model)
    batched = batches_well(network)
    runner: Runner[Any]
    if batched:
        _, cache = network.read([[1, 2]])
        runner = Batch(network, chat.decode, _limits(options, network, bytes_of_place(cache), context), meter, name)
    generation = model.generation_config
    ends = _as_ids(getattr(generation, "eos_token_id", None)) | _as_ids(chat.end)
    advised = generation.to_diff_dict() if generation is not None else {}
    defaults = {key: advised[key] for key in _DEFAULTS if advised.get(key) is not None}
    if not batched:
        runner = Solo(network, chat.decode, meter, name, stopped)
    limits = PassLimits(options.batch_size if batched else 1, pass_tokens(options, network.device))
    reader = Passes(Likelihoods(network, name, batched=batched), limits, meter, str(network.device))
    return LoadedModel(Desk(runner, reader), chat, context, network.vocab, ends, defaults, batched)


def _check_version() -> None:
    transformers = library()
    if not hasattr(transformers.cache_utils, "DynamicLayer"):
        raise UsageError(
            f"transformers {transformers.__version__} is too old: its caches have no layers",
            'pip install -U "transformers>=4.56"',
        )


def _device(wanted: str | None) -> str:
    """The device a model goes to. Raises UsageError for one that is not there."""
    if wanted is None:
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except Exception as error:  # torch raises RuntimeError, AssertionError, NotImplementedError and its own
        told = str(error).strip().partition("\n")[0][:300]
        there = ["cpu", *(["mps"] if torch.backends.mps.is_available() else [])]
        there += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise UsageError(
            f"`engine.device` is {wanted!r}, which torch cannot use: {told}", f"there is {', '.join(there)}"
        ) from error
    return wanted


def _quantization(wanted: str | Mapping[str, Any]) -> Any:
    """The library's settings for bitsandbytes."""
    config = library().BitsAndBytesConfig
    if not isinstance(wanted, str):
        return config(**wanted)
    if wanted == "8bit":
        return config(load_in_8bit=True)
    return config(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16, bnb_4bit_quant_type="nf4")


def _adapt(model: Any, options: EngineOptions) -> Any:
    """The model with its adapter: merged into the weights, unless those are quantised."""
    assert options.lora is not None
    directory = local_directory(options.lora)
    adapted = library("peft").PeftModel.from_pretrained(
        model, str(directory) if directory is not None else options.lora
    )
    return adapted.get_base_model() if options.quantization is not None else adapted.merge_and_unload()


def _context(config: Any, options: EngineOptions, name: str) -> int:
    """Tokens of prompt and answer together. Raises UsageError when more are asked for than the model has."""
    known = next((int(value) for key in _CONTEXT_KEYS if (value := getattr(config, key, None))), None)
    wanted = options.max_model_len
    if known is not None and wanted is not None and wanted > known:
        raise UsageError(
            f"`engine.max_model_len` is {wanted}, and {name} has {known} positions", f"give at most {known}"
        )
    return wanted or known or _UNKNOWN_CONTEXT


def _limits(options: EngineOptions, network: Network, place_bytes: int, context: int) -> Limits:
    """How much may run at once."""
    places = options.max_batch_tokens
    if places is None:
        free = _free_bytes(network.device)
        places = _PLACES if free is None else int(free * _MEMORY_SHARE.get(network.device.type, 0.5)) // place_bytes
    kind = "cpu" if network.device.type == "cpu" else "cuda"
    return Limits(options.batch_size, max(places, 1), max(min(_PREFILL[kind], places), 1))


def meter_for(model: Any) -> ShareMeter | None:
    """A meter of the accelerators that a model lies on; None where it lies on none."""
    accelerators = {p.device for p in model.parameters() if p.device.type not in ("cpu", "meta")}
    return ShareMeter(len(accelerators)) if accelerators else None


def pass_tokens(options: EngineOptions | EmbeddingOptions, device: torch.device) -> int:
    """Tokens that are read in one pass, padding counted."""
    tokens = _PREFILL["cpu" if device.type == "cpu" else "cuda"]
    return tokens if options.max_batch_tokens is None else min(tokens, options.max_batch_tokens)


def _free_bytes(device: torch.device) -> int | None:
    """Memory that nobody uses, on the device of the model's first layer; None where that cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _as_ids(value: Any) -> frozenset[int]:
    if value is None:
        return frozenset()
    return frozenset(int(token) for token in value) if isinstance(value, (list, tuple)) else frozenset({int(value)})


def _hub_answers() -> bool:
    """Whether the hub can be reached at all. Without it the library would ask again and again, for every file."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")):
        return True
    place = urlsplit(constants.ENDPOINT)
    port = place.port or (80 if place.scheme == "http" else 443)
    try:
        socket.create_connection((place.hostname or "", port), timeout=_HUB_TIMEOUT_S).close()
    except OSError:
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar for the reading of weights: it would run through ours."""
    logging = library("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
