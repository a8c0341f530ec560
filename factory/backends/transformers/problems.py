"""What went wrong with a model, in words that say what to do: loading, the hub, memory. Needs no torch."""

from __future__ import annotations

import os
import re

from factory.errors import FactoryError, KeyRefused, Permanent, ServerUnreachable, UsageError

_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
_LOWER = "choose `engine.dtype: bfloat16`, `engine.quantization: 4bit`, `engine.device_map: auto`, or a smaller model"
_LONGEST = 600
_DAMAGED = ("SafetensorError", "JSONDecodeError", "UnpicklingError", "UnicodeDecodeError")
_OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on whichever device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY)


def too_large(tokens: int, device: str) -> Permanent:
    """The fault of a sequence that does not fit even alone."""
    return Permanent(
        f"out of memory on {device} with one sequence of {tokens} tokens: lower `max_tokens` or "
        f"`engine.max_model_len`, or {_LOWER}"
    )


def not_finite(model: str) -> Permanent:
    """The fault of a sequence whose logits are no numbers."""
    return Permanent(
        f"{model} gave logits that are no numbers: its dtype overflows; choose `engine.dtype: bfloat16` or float32"
    )


def explain(
    error: BaseException,
    model: str,
    *,
    device: str = "",
    lora: str | None = None,
    kind: str = "causal language model",
) -> FactoryError:
    """The error that a failed loading of a model means. A FactoryError stays as it is."""
    if isinstance(error, FactoryError):
        return error
    chain = _chain(error)
    told = _told(error)
    if is_out_of_memory(error):
        where = f" of {device}" if device else ""
        return UsageError(f"{model} does not fit into the memory{where}", _LOWER)
    found = _of_hub(chain, f"{model} (or its adapter {lora})" if lora else model)
    if found is not None:
        return found
    words = " ".join(str(one) for one in chain)
    if "trust_remote_code" in words:
        return UsageError(
            f"{model} needs code of its own from its repository, which is not run unasked",
            "read that code; if you trust it, set `engine: {trust_remote_code: true}`, with a `revision` that pins it",
        )
    if "Unrecognized configuration class" in words or "for this kind of AutoModel" in words:
        hint = "choose a model that writes text" if kind.startswith("causal") else f"choose a {kind}"
        return UsageError(f"{model} is no {kind}: {told}", hint)
    if re.search(r"does not recognize this architecture|Unrecognized model|model type `.*` but", words):
        return UsageError(f"this version of transformers does not know {model}: {told}", "pip install -U transformers")
    if isinstance(error, ImportError):
        return UsageError(f"{model} needs a package that is not installed: {told}", "install what it names")
    if any(type(one).__name__ in _DAMAGED for one in chain) or "header" in words:
        return UsageError(f"the files of {model} are damaged: {told}", "download them again")
    if isinstance(error, (OSError, ValueError, KeyError)):
        return UsageError(f"{model} cannot be loaded: {told}", "check the checkpoint and the keys of `engine:`")
    return FactoryError(
        f"{model} cannot be loaded: {type(error).__name__}: {told}", "FACTORY_TRACEBACK=1 shows where this began"
    )


def _of_hub(chain: list[BaseException], model: str) -> FactoryError | None:
    """What the hub's own exceptions mean, by their names: they stand behind an OSError."""
    names = {type(one).__name__ for one in chain}
    words = " ".join(str(one) for one in chain)
    if "GatedRepoError" in names or "gated repo" in words:
        return KeyRefused(
            f"{model} is gated on the hub", "accept its conditions on its page, and set HF_TOKEN to a token that may"
        )
    if "RevisionNotFoundError" in names:
        return UsageError(f"{model} has no such revision on the hub", "correct `engine.revision`")
    switches = [name for name in _OFFLINE_SWITCHES if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")]
    offline = names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled"} or "couldn't connect to" in words
    if offline and switches:
        return ServerUnreachable(
            f"{model} is not in the local cache, and {switches[0]} forbids to fetch it",
            f"download it where there is a network (`hf download`), unset {switches[0]}, or name a local directory",
        )
    if offline or names & {"ConnectionError", "ConnectTimeout", "ConnectError", "ProxyError", "SSLError"}:
        return ServerUnreachable(
            f"the hub cannot be reached, and {model} is not in the local cache",
            "check the network and HF_ENDPOINT; or download the model elsewhere and name its directory",
        )
    if "RepositoryNotFoundError" in names or "is not a valid model identifier" in words:
        return UsageError(
            f"there is no model {model}: no directory here, and none on the hub that may be read",
            "check its name; a private one needs HF_TOKEN; a local one is written transformers//absolute/path",
        )
    if "EntryNotFoundError" in names or "does not appear to have" in words or "no file named" in words:
        return UsageError(f"{model} lacks a file: {_told(chain[0])}", "point at a whole checkpoint")
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and those behind it."""
    chain: list[BaseException] = []
    now: BaseException | None = error
    while now is not None and now not in chain:
        chain.append(now)
        now = now.__cause__ or now.__context__
    return chain


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
