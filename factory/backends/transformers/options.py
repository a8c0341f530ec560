"""The `engine:` keys of a transformers model, read and checked before anything heavy is imported."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from factory.errors import MissingExtra, UsageError, nearest

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("4bit", "8bit")
EMBEDDING_FILES = ("modules.json", "config.json", "config_sentence_transformers.json")
"""One of these lies in the directory of an embedding model."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What `engine:` may hold. `device` None: the first of cuda, mps and cpu that there is.

    `batch_size`: sequences that run at once. `max_batch_tokens`: places in the key-value cache, padding counted;
    None: what the free memory holds. `max_model_len`: tokens of prompt and answer together; None: the checkpoint's.
    """

    device: str | None = None
    device_map: str | Mapping[str, Any] | None = None
    max_memory: Mapping[Any, Any] | None = None
    offload_folder: str | None = None
    dtype: str = "auto"
    quantization: str | Mapping[str, Any] | None = None
    attn_implementation: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_model_len: int | None = None
    batch_size: int = 64
    max_batch_tokens: int | None = None
    lora: str | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """What `engine:` may hold of a sentence-transformers model.

    `prompt`: words put before every text; `prompt_name`: those that the checkpoint knows by this name. `truncate_dim`:
    so many numbers of each embedding are kept. `max_model_len`: tokens of a text; None: the checkpoint's.
    """

    device: str | None = None
    dtype: str = "auto"
    attn_implementation: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    max_model_len: int | None = None
    batch_size: int = 64
    max_batch_tokens: int | None = None
    prompt: str | None = None
    prompt_name: str | None = None
    truncate_dim: int | None = None


def read_embedding_options(engine: Mapping[str, Any], model: str) -> EmbeddingOptions:
    """The options of `engine:` of a sentence-transformers model. Raises UsageError."""
    known = [option.name for option in fields(EmbeddingOptions)]
    options = EmbeddingOptions(**read_keys(engine, model, "sentence-transformers", known))
    if options.prompt and options.prompt_name:
        raise UsageError(f"{model}: `engine.prompt` and `engine.prompt_name` are both given", "keep one of the two")
    return options


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


_TEXT = ("a text", _is_text)
_COUNT = ("a whole number from 1 on", _is_count)
_MAPPING = ("a mapping", _is_mapping)
_SHAPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "device": _TEXT,
    "device_map": ("a text (`auto`) or a mapping", lambda value: _is_text(value) or _is_mapping(value)),
    "max_memory": _MAPPING,
    "offload_folder": _TEXT,
    "dtype": (f"one of {', '.join(DTYPES)}", lambda value: value in DTYPES),
    "quantization": (
        f"one of {', '.join(QUANTIZATIONS)}, or a mapping with the fields of BitsAndBytesConfig",
        lambda value: value in QUANTIZATIONS if isinstance(value, str) else _is_mapping(value),
    ),
    "attn_implementation": _TEXT,
    "revision": _TEXT,
    "trust_remote_code": ("true or false", lambda value: isinstance(value, bool)),
    "chat_template": _TEXT,
    "chat_template_kwargs": _MAPPING,
    "max_model_len": _COUNT,
    "batch_size": _COUNT,
    "max_batch_tokens": _COUNT,
    "lora": _TEXT,
    "prompt": _TEXT,
    "prompt_name": _TEXT,
    "truncate_dim": _COUNT,
}


def read_keys(engine: Mapping[str, Any], model: str, backend: str, known: Collection[str]) -> dict[str, Any]:
    """The keys of `engine:` that have a value. Raises UsageError that names the key and what it must be."""
    for name, value in engine.items():
        if name not in known:
            raise UsageError(f"{model}: `engine.{name}` is no option of the {backend} backend", nearest(name, known))
        wanted, fits = _SHAPES[name]
        if value is not None and not fits(value):
            hint = nearest(value, DTYPES) if name == "dtype" and isinstance(value, str) else ""
            raise UsageError(f"{model}: `engine.{name}` is {str(value)[:80]!r}: it must be {wanted}", hint)
    given = {name: value for name, value in engine.items() if value is not None}
    if given.get("device") == "auto":
        del given["device"]
    return given


def read_options(engine: Mapping[str, Any], model: str, backend: str = "transformers") -> EngineOptions:
    """The options of `engine:`. Raises UsageError that names the key, what it must be, and the nearest known one."""
    options = EngineOptions(**read_keys(engine, model, backend, [option.name for option in fields(EngineOptions)]))
    if options.device and options.device_map:
        raise UsageError(f"{model}: `engine.device` and `engine.device_map` are both given", "keep one of the two")
    if options.chat_template and "{" not in options.chat_template:
        raise UsageError(
            f"{model}: `engine.chat_template` holds no template: {options.chat_template[:80]!r}",
            "put the template's own text there (`chat_template: |`), so that a change of it makes new calls",
        )
    return options


def check_packages(options: EngineOptions, backend: str = "transformers") -> None:
    """Raise MissingExtra, or a UsageError with the pip line, for packages that the options need and that are absent."""
    if not installed("torch") or not installed("transformers"):
        raise MissingExtra(f"the {backend} backend", "transformers")
    needs = {
        "accelerate": ("device_map", options.device_map or options.max_memory or options.offload_folder),
        "bitsandbytes": ("quantization", options.quantization),
        "peft": ("lora", options.lora),
    }
    for package, (key, wanted) in needs.items():
        if wanted and not installed(package):
            raise UsageError(
                f"`engine.{key}` needs the package {package}, which is not installed", f"pip install {package}"
            )


def library(name: str = "transformers") -> Any:
    """A package of the model's, imported now. Untyped: whether types are there hangs on what is installed."""
    return importlib.import_module(name)


def installed(package: str) -> bool:
    """Whether a package is there, without importing it. A folder without code does not count."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None


def local_directory(model: str, files: Collection[str] = ("config.json", "adapter_config.json")) -> Path | None:
    """The directory that a model's name means, None for a name on the hub. Raises UsageError when it is not whole.

    A path is absolute, or starts with `./`, `../` or `~/`, from the current directory; a plain `a/b` that is a
    directory here counts as one too, as it does for the library. `files`: one of these must be in it.
    """
    path = Path(model).expanduser()
    is_path = path.is_absolute() or model.startswith(("./", "../", "~"))
    if not is_path and not path.is_dir():
        return None
    if not path.is_dir():
        raise UsageError(
            f"there is no directory {path}",
            "a local model is written transformers//absolute/path, or `model: ./path` from the current directory",
        )
    if not any((path / file).is_file() for file in files):
        raise UsageError(f"{path} holds no config.json", "point at a checkpoint that `save_pretrained` wrote")
    return path
