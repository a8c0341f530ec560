"""Plugins by name: backends, scorers, filters, auditors, exporters. A plugin is a function (or a class) registered
under a name; its keyword-only parameters are its options in a recipe. Passes over the whole set are built in alone.

    @factory.scorer("cites_source")
    def cites_source(candidate, context, *, at_least: int = 1) -> bool: ...

Built-in plugins are `"module:attribute"` strings, imported when they are asked for. Other packages register theirs
through the entry-point group `factory.plugins`: importing the entry point's module runs the decorators.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from factory.errors import FactoryError, UsageError, nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

KINDS = ("backend", "scorer", "filter", "pass", "auditor", "exporter")
GROUP = "factory.plugins"


def _scorer(name: str) -> str:
    return f"factory.scorers.{name}:{name}"


BUILT_IN: dict[str, dict[str, str]] = {
    "backend": {
        "openai": "factory.backends.openai:open_backend",
        "azure": "factory.backends.azure:open_backend",
        "embedded": "factory.backends.embedded:open_backend",
        "echo": "factory.backends.echo:open_backend",
        "transformers": "factory.backends.transformers:open_backend",
        "vllm": "factory.backends.vllm:open_backend",
        "classifier": "factory.backends.classifier:open_backend",
        "sentence-transformers": "factory.backends.sentence_transformers:open_backend",
    },
    "scorer": {
        "length": _scorer("length"),
        "format": _scorer("format"),
        "repetition": _scorer("repetition"),
        "refusal": _scorer("refusal"),
        "language": _scorer("language"),
        "readability": "factory.scorers.readability:Readability",
        "lexical_diversity": _scorer("lexical_diversity"),
        "novelty": "factory.scorers.novelty:Novelty",
        "prompt_copy": "factory.scorers.prompt_copy:PromptCopy",
        "pii": "factory.scorers.pii:Pii",
        "profanity": "factory.scorers.profanity:Profanity",
        "regex": "factory.scorers.regex:Regex",
        "json_schema": "factory.scorers.json_schema:JsonSchema",
        "learned": "factory.scorers.learned:Learned",
        "arithmetic": _scorer("arithmetic"),
        "choice_answer": _scorer("choice_answer"),
        "math": _scorer("math"),
        "multiple_choice": _scorer("multiple_choice"),
        "citation": _scorer("citation"),
        "grounded": _scorer("grounded"),
        "http": _scorer("http"),
        "python": "factory.scorers.python_code:PythonCode",
        "sql": "factory.scorers.sql:Sql",
        "judge": "factory.scorers.judging.pointwise:Judge",
        "pairwise": "factory.scorers.judging.pairwise:Pairwise",
        "self_consistency": "factory.scorers.self_consistency:SelfConsistency",
        "clusters": "factory.scorers.clusters:Clusters",
        "reward": _scorer("reward"),
        "perplexity": _scorer("perplexity"),
        "logprob": _scorer("logprob"),
        "ifd": _scorer("ifd"),
        "similarity": _scorer("similarity"),
    },
    "filter": {
        "dedup": "factory.filters.dedup:Dedup",
        "decontaminate": "factory.filters.decontaminate:Decontaminate",
        "unique": "factory.filters.unique:Unique",
        "where": "factory.filters.where:where",
        "regex": "factory.filters.regex:regex",
        "novelty": "factory.filters.novelty:Novelty",
        "quota": "factory.filters.quota:Quota",
    },
    "pass": {
        "best_per": "factory.whole_set:BestPer",
        "best_of_duplicates": "factory.whole_set:BestOfDuplicates",
    },
    "auditor": {
        "bias": "factory.auditors.bias:bias",
        "diversity": "factory.auditors.diversity:diversity",
        "fidelity": "factory.auditors.fidelity:fidelity",
        "requested": "factory.auditors.requested:requested",
        "utility": "factory.auditors.utility:utility",
        "privacy": "factory.auditors.privacy:privacy",
    },
    "exporter": {},
}

COMMON: dict[str, dict[str, Any]] = {
    "auditor": {
        "on": str | list[str] | None,
        "label": str | None,
        "reference": str | None,
        "holdout": str | None,
    },
}
"""Options that every plugin of a kind has, beside its own: what `factory.auditing` reads before it calls one."""

Plugin = TypeVar("Plugin", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `factory plugins`: `origin` is "built-in" or the module that registered it."""

    kind: str
    name: str
    origin: str
    summary: str


_registered: dict[tuple[str, str], Any] = {}
_broken: dict[str, str] = {}
_plugins_loaded = False


def _same(one: Any, other: Any) -> bool:
    """True when both are the same definition, as after a notebook cell was run again."""
    where = (getattr(one, "__module__", None), getattr(one, "__qualname__", None))
    return where[1] is not None and where == (getattr(other, "__module__", None), getattr(other, "__qualname__", None))


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"`{kind}` is not a kind of plugin", nearest(kind, KINDS))


def register(kind: str, name: str, obj: Any) -> None:
    """Make `obj` known as `name`. A name that is taken is a UsageError, save by the same module and qualified name."""
    _known_kind(kind)
    if not isinstance(name, str) or not name.replace("_", "a").replace("-", "a").isalnum():
        raise UsageError(f"{name!r} is no name for a {kind}", "use letters, digits, `_` and `-`")
    if not callable(obj):
        raise UsageError(f"the {kind} `{name}` is a {type(obj).__name__}", "register a function or a class")
    taken = _registered.get((kind, name))
    target = BUILT_IN[kind].get(name)
    if target is not None and f"{getattr(obj, '__module__', '')}:{getattr(obj, '__qualname__', '')}" != target:
        raise UsageError(f"the {kind} `{name}` is already registered (built-in)", "choose another name")
    if taken is not None and not _same(taken, obj):
        where = f"{taken.__module__}.{getattr(taken, '__qualname__', name)}"
        raise UsageError(f"the {kind} `{name}` is already registered by {where}", "choose another name")
    _registered[(kind, name)] = obj
    _config_model.cache_clear()


def load_plugins() -> None:
    """Import every entry point of `factory.plugins`, once. One that fails is told by `entries` and `lookup`."""
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            point.load()
        except Exception as error:  # a stranger's code: whatever it raises is told, and the others still load
            told = error.message if isinstance(error, FactoryError) else f"{type(error).__name__}: {error}"
            _broken[f"{point.name} ({point.value})"] = told


def names(kind: str) -> list[str]:
    """All names of a kind, sorted; loads the installed plugins."""
    _known_kind(kind)
    load_plugins()
    return sorted({*BUILT_IN[kind], *(name for of, name in _registered if of == kind)})


def _import(kind: str, name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except FactoryError:
        raise
    except (ImportError, AttributeError) as error:
        raise UsageError(f"the {kind} `{name}` cannot be loaded: {error}", "see `factory doctor`") from error


def lookup(kind: str, name: str) -> Any:
    """The function or class registered as `name`. Raises UsageError with the nearest name."""
    _known_kind(kind)
    if (kind, name) not in _registered and name not in BUILT_IN[kind]:
        load_plugins()
    if (kind, name) in _registered:
        return _registered[(kind, name)]
    if name in BUILT_IN[kind]:
        return _import(kind, name, BUILT_IN[kind][name])
    hint = nearest(name, names(kind)) or f"no {kind} is registered"
    if _broken:
        hint += "; not loaded: " + "; ".join(f"{point}: {told}"[:120] for point, told in sorted(_broken.items())[:3])
    raise UsageError(f"unknown {kind} `{name}`", hint)


def entries() -> list[Entry]:
    """Everything that is registered, by kind and name, with the first line of its docstring; broken plugins too."""
    found = []
    for kind in KINDS:
        for name in names(kind):
            built_in = name in BUILT_IN[kind]
            try:
                obj = lookup(kind, name)
            except UsageError as error:
                found.append(Entry(kind, name, "built-in", f"not available: {error.message}"))
                continue
            summary = (inspect.getdoc(obj) or "").partition("\n")[0]
            found.append(Entry(kind, name, "built-in" if built_in else str(obj.__module__), summary))
    found += [Entry("plugin", point, GROUP, f"failed to load: {told}") for point, told in sorted(_broken.items())]
    return found


def _strict(annotation: Any) -> Any:
    """The annotation with `int` and `float` strict at any depth, so that "3" and true are no numbers."""
    from pydantic import AllowInfNan, Strict

    if annotation is int:
        return typing.Annotated[int, Strict()]
    if annotation is float:
        return typing.Annotated[float, Strict(), AllowInfNan(False)]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None or not arguments or origin is typing.Literal:
        return annotation
    if origin is typing.Annotated:
        return typing.Annotated[(_strict(arguments[0]), *arguments[1:])]
    inner = tuple(_strict(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return functools.reduce(operator.or_, inner)
    return origin[inner] if origin in (list, tuple, dict, set, frozenset) else annotation


def _parameters(obj: Any) -> tuple[list[inspect.Parameter], dict[str, Any]]:
    """The parameters of a function, a class or a callable object, and their types."""
    if inspect.isclass(obj):
        function = obj.__init__
    else:
        function = obj if inspect.isroutine(obj) else type(obj).__call__
    hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    return list(inspect.signature(obj).parameters.values()), hints


@functools.cache
def _config_model(kind: str, name: str) -> type[BaseModel]:
    from pydantic import BaseModel, ConfigDict, Field, create_model

    parameters, hints = _parameters(lookup(kind, name))
    fields: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            default: Any = ... if parameter.default is parameter.empty else parameter.default
            own = hasattr(BaseModel, parameter.name)  # `schema`, say, is a name of pydantic's: the field takes another
            field = Field(default, alias=parameter.name) if own else default
            fields[f"{parameter.name}_" if own else parameter.name] = (_strict(hints.get(parameter.name, Any)), field)
    for option, annotation in COMMON.get(kind, {}).items():
        fields.setdefault(option, (annotation, None))
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    config = ConfigDict(extra="allow" if open_ended else "forbid", arbitrary_types_allowed=True)
    return create_model(f"{name.title().replace('_', '').replace('-', '')}Options", __config__=config, **fields)


def config_model(kind: str, name: str) -> type[BaseModel]:
    """A pydantic model of the plugin's options: its keyword-only parameters, unknown ones refused.

    Raises UsageError for an unknown name, and for annotations that cannot be resolved.
    """
    try:
        return _config_model(kind, name)
    except (NameError, TypeError, ValueError) as error:
        raise UsageError(
            f"the options of the {kind} `{name}` cannot be read: {error}", "annotate them plainly"
        ) from error


def options(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments for a plugin: `given`, validated, with the defaults filled in. Raises ValidationError."""
    model = config_model(kind, name).model_validate(dict(given))
    known = {field.alias or key: getattr(model, key) for key, field in type(model).model_fields.items()}
    return {**known, **(model.model_extra or {})}


def _decorator(kind: str, name: str) -> Callable[[Plugin], Plugin]:
    def mark(obj: Plugin) -> Plugin:
        register(kind, name, obj)
        return obj

    return mark


def backend(name: str) -> Callable[[Plugin], Plugin]:
    """Register `open_backend(model: ModelConfig) -> Backend`."""
    return _decorator("backend", name)


def scorer(name: str) -> Callable[[Plugin], Plugin]:
    """Register `f(candidate, context, *, options…)`; with a first parameter `candidates` it sees the whole list."""
    return _decorator("scorer", name)


def filter(name: str) -> Callable[[Plugin], Plugin]:
    """Register `f(fields, scope, *, options…) -> str | None`, or a class with `check` and `add`."""
    return _decorator("filter", name)


def auditor(name: str) -> Callable[[Plugin], Plugin]:
    """Register `f(dataset, reference, context, *, options…) -> list[Check]`; the third parameter may be left out."""
    return _decorator("auditor", name)


def exporter(name: str) -> Callable[[Plugin], Plugin]:
    """Register `f(rows, out, *, options…)`."""
    return _decorator("exporter", name)
