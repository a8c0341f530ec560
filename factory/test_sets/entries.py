"""The registry of well-known test sets: where each is, which of its fields hold what, under which licence.

The facts stand in `registry.yaml` beside this module, which is read when it is first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib import resources
from typing import Any

from factory.errors import UsageError, nearest

ALL_CONFIGS = ("*",)
"""`configs` of a test set whose configurations are taken as the Hub lists them."""
MISSING = "unknown test set"


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a row hold what; paths as in `factory.test_sets.paths`.

    `question` paths are joined by a blank line. `choices` is a list's path, or one path for each choice. `labels` is
    the path of the choices' names, where an answer is one of those. `classes` names what an answer's number means
    where a row has no choices. `base` is the number of the first choice (None: it is found from the answers).
    `correct` is a flag of tables with one line for each choice.
    """

    question: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    turns: str = ""
    labels: str = ""
    classes: tuple[str, ...] = ()
    base: int | None = None
    id: str = ""
    correct: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A test set of the registry. `hub` is '' where it is not on the Hub: `page` then says where it is.

    `configs` empty: its only one; `parts` are further ones, each a part of these. `rows` is None where the number is
    not known. `licence` is what its source states, 'unknown' where that is not known. `checked` says where the facts
    come from: `lm-eval`, `lighteval`, `opencompass`, `inspect-evals`, `card` (its own page), or `memory`; and what of
    them is from memory all the same.
    """

    name: str
    title: str
    hub: str
    fields: Fields
    aliases: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("test",)
    files: tuple[str, ...] = ()
    page: str = ""
    rows: int | None = None
    code: bool = False
    language: str = "en"
    licence: str = "unknown"
    gated: bool = False
    suites: tuple[str, ...] = ()
    note: str = ""
    checked: str = "memory"

    @property
    def address(self) -> str:
        """The page of the test set."""
        return f"https://huggingface.co/datasets/{self.hub}" if self.hub else self.page

    def as_json(self) -> dict[str, Any]:
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "fields"}
        return {**told, "fields": fields_as_json(self.fields)}


def fields_as_json(shape: Fields) -> dict[str, Any]:
    """The fields that are set."""
    named = {item.name: getattr(shape, item.name) for item in fields(shape)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in named.items()
        if value not in ("", (), None)
    }


def entries() -> tuple[Entry, ...]:
    """All entries, in the order of their names."""
    return tuple(sorted(_registry().values(), key=lambda entry: entry.name))


def suites() -> dict[str, str]:
    """The suites that entries belong to: name → title."""
    return dict(_document()["suites"])


def of_suite(suite: str) -> tuple[Entry, ...]:
    """The entries of a suite. Raises UsageError for an unknown one, with the nearest names."""
    if suite not in suites():
        raise UsageError(f"no suite `{suite}` ({nearest(suite, suites())})", f"there are: {', '.join(suites())}")
    return tuple(entry for entry in entries() if suite in entry.suites)


def find(name: str) -> Entry:
    """The entry of this name, alias or Hub id, in any case; `NAME:CONFIG` is one of its configurations.

    Raises UsageError with the nearest names.
    """
    found = find_if_known(name)
    if found is None and name in suites():
        names = ", ".join(entry.name for entry in of_suite(name))
        raise UsageError(f"`{name}` is a suite, not a test set", f"name the sets that count: {names}"[:600])
    if found is None:
        close = nearest(plain(name), _names())
        known = close if close.startswith("did you") else "`factory benchmarks list` shows those that are known"
        raise UsageError(f"{MISSING} `{name}`: {known}", "or give a file, or a Hub name OWNER/NAME")
    return found


def find_if_known(name: str) -> Entry | None:
    """As `find`, None for what the registry does not know. Raises UsageError for a known one's unknown CONFIG."""
    head, _, config = name.partition(":")
    known = _names().get(plain(head))
    if known is None:
        return None
    entry = _registry()[known]
    if not config:
        return entry
    exact = {one.lower(): one for one in (*entry.configs, *entry.parts)}
    if entry.configs == ALL_CONFIGS:
        exact[config.lower()] = config
    if config.lower() not in exact:
        what = nearest(config, exact.values()) if exact else "it has only one"
        raise UsageError(f"`{entry.name}` has no configuration `{config}` ({what})", f"all of it: `{entry.name}`")
    chosen = exact[config.lower()]
    return replace(entry, name=f"{entry.name}:{chosen}", configs=(chosen,), parts=(), rows=None)


def plain(name: str) -> str:
    """A name as names are compared: lower case, its words joined by one sign."""
    return re.sub(r"[\s_-]+", "-", name.strip().lower())


def make_fields(given: Mapping[str, Any]) -> Fields:
    """Fields as written in the registry or by a user: a path or a list of paths each."""
    taken: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("question", "answer", "choices", "classes"):
            taken[name] = _listed(value)
        else:
            taken[name] = value
    return Fields(**taken)


def _listed(value: Any) -> tuple[str, ...]:
    return (
        tuple(str(item) for item in value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else (str(value),)
    )


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    import yaml

    text = resources.files("factory.test_sets").joinpath("registry.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


@lru_cache(maxsize=1)
def _registry() -> dict[str, Entry]:
    document = _document()
    shapes: dict[str, Any] = document["shapes"]
    made = (_entry(name, {**document["defaults"], **given}, shapes) for name, given in document["test_sets"].items())
    return {entry.name: entry for entry in made}


def _entry(name: str, given: dict[str, Any], shapes: Mapping[str, Any]) -> Entry:
    """An entry out of its lines; `fields` is a mapping, or a shape's name with what differs."""
    taken = dict(given)
    shape = taken.pop("fields")
    if isinstance(shape, str):
        shape = shapes[shape]
    elif "shape" in shape:
        shape = {**shapes[shape["shape"]], **{key: value for key, value in shape.items() if key != "shape"}}
    if "split" in taken:
        taken["splits"] = _listed(taken.pop("split"))
    for key in ("aliases", "configs", "parts", "suites", "files"):
        if key in taken:
            taken[key] = _listed(taken[key])
    return Entry(name=name, fields=make_fields(shape), **taken)


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Every name, alias and Hub id (of one entry only) → the entry's name."""
    found: dict[str, str] = {}
    hubs: dict[str, list[str]] = {}
    for entry in _registry().values():
        for name in (entry.name, *entry.aliases):
            found[plain(name)] = entry.name
        if entry.hub:
            hubs.setdefault(plain(entry.hub), []).append(entry.name)
    for hub, names in hubs.items():
        if len(names) == 1:
            found.setdefault(hub, names[0])
    return found
