"""What is installed, reachable and configured, said in lines. Keys are told as set or not set, never shown."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

from factory import registry
from factory.backends import Backend
from factory.backends.embedded import MODELS
from factory.calling import backend_notes
from factory.compiling import compile_job
from factory.errors import CallFault, FactoryError, ModelMissing, nearest
from factory.generating import build_request
from factory.opening import open_backend
from factory.prices import PriceTable, price_for
from factory.recipe import ModelConfig, Recipe, load_recipe
from factory.run_dir import versions
from factory.types import Message

BASE = (
    "aiohttp", "datasets", "datasketch", "genai-prices", "jinja2", "numpy", "openai", "orjson", "py3langid", "pyarrow",
    "pydantic", "pyyaml", "rich", "safetensors", "tiktoken", "tokenizers", "typer",
)  # fmt: skip
"""What the package needs whatever is done with it."""
EXTRAS = (
    ("vllm", "vllm", "models in process on a GPU"),
    ("transformers", "transformers", "models in process"),
    ("sentence_transformers", "embeddings", "embeddings"),
    ("faker", "faker", "the `faker` axis"),
)
LOW_DISK = 1 << 30
PATIENCE_S = 15.0
"""How long a server may take to say what it has; an answer may take as long as the recipe's `timeout`."""

Check = dict[str, Any]


def examine(recipe: str | None, *, ask: bool = False) -> list[Check]:
    """Checks of this environment and, with a recipe, of its models. `ok` None: absent, but not needed.

    `ask`: each model is asked one short question. Raises RecipeError or UsageError when the recipe has faults.
    """
    loaded = load_recipe(recipe) if recipe is not None else None
    checks = [
        _python(),
        _packages(),
        _conflict(),
        _plugins(),
        *(_extra(*extra) for extra in EXTRAS),
        _disk(),
        _key("OPENAI_API_KEY"),
        _embedded(),
    ]
    if loaded is not None:
        compile_job(loaded)
        checks.append(_check("recipe", True, f"{loaded.name}: its prompts, axes and sources are in order"))
        checks += [asyncio.run(_model(loaded, role, ask)) for role in loaded.models]
    return checks


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


def _extra(module: str, extra: str, use: str) -> Check:
    if util.find_spec(module) is not None:
        return _check(f"extra {extra}", True, "installed")
    return _check(f"extra {extra}", None, f"not installed ({use})", f'pip install "text-data-factory[{extra}]"')


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


async def _model(recipe: Recipe, role: str, ask: bool) -> Check:
    """Whether the model can be opened, what it costs, whether its server is there and has it."""
    config = recipe.models[role]
    name = f"model {role} ({config.name})"
    try:
        backend = open_backend(config)
    except FactoryError as error:
        return _check(name, False, error.message, error.hint)
    try:
        price = price_for(config, local=backend.local)
        found = await _reach(name, config, backend)
        if ask and found["ok"]:
            found = await _ask(found, recipe, role, backend)
        told = f"{found['told']}; {_price(price)}" if found["ok"] else found["told"]
        return {**found, "told": told, "notes": backend_notes(backend)}
    finally:
        await backend.close()


async def _reach(name: str, config: ModelConfig, backend: Backend) -> Check:
    """Ask a server for the names of its models."""
    list_models = _lister(config, backend)
    if list_models is None:
        return _check(name, True, "in process")
    try:
        served = await asyncio.wait_for(list_models(), PATIENCE_S)
    except ModelMissing:
        return _check(name, True, "its server answers, but does not tell which models it has")
    except TimeoutError:
        told = f"{config.base_url or 'the server'} has not answered within {PATIENCE_S:.0f} s"
        return _check(name, False, told, "is the server well? is base_url right?")
    except CallFault as fault:
        return _check(name, False, fault.message[:600], "is the server running, is base_url right, and the key?")
    if served and config.model not in served:
        return _check(name, False, f"its server does not have `{config.model}`", nearest(config.model, served))
    return _check(name, True, "its server has it" if served else "its server answers")


def _lister(config: ModelConfig, backend: Backend) -> Callable[[], Awaitable[tuple[str, ...]]] | None:
    """How to ask for the models: a backend's own `list_models()`, or the API that OpenAI's servers share."""
    if config.backend == "openai":
        from factory.backends.openai import list_models

        return lambda: list_models(config)
    found: Callable[[], Awaitable[tuple[str, ...]]] | None = getattr(backend, "list_models", None)
    return found


async def _ask(found: Check, recipe: Recipe, role: str, backend: Backend) -> Check:
    """One short question with the recipe's sampling parameters."""
    messages = (Message("user", "Answer with the one word: ready"),)
    request = build_request(recipe.models[role], messages, seed=recipe.seed, row=None, step=role, purpose="probe")
    try:
        response = await backend.generate(request)
    except CallFault as fault:
        return {**found, "ok": False, "told": fault.message[:600], "hint": "a run would fail alike"}
    text = " ".join(response.choices[0].text.split())
    return {**found, "told": f"{found['told']}; asked, it answered: {text[:60] or '(nothing)'}"}


def _price(price: PriceTable) -> str:
    if price.unknown or price.input is None or price.output is None:
        return f"price unknown ({price.reason}): a budget needs a `price:`" if price.reason else "price unknown"
    if price.source == "local":
        return "costs nothing"
    return f"${float(price.input) / 1000:g} in, ${float(price.output) / 1000:g} out per million tokens ({price.source})"
