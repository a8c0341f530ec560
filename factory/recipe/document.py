"""YAML as a recipe wants it: safe, with the line of every key, without YAML 1.1's surprises.

Scalars follow the YAML 1.2 core schema: `no`, `on` and `off` are text, `1:30` and `2024-05-01` are text, `1e-3` is a
number. A number with leading zeros (`007`) stays text, and `10_000` is a number. Merge keys (`<<`) work.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from factory.errors import Place

Path = tuple[str, ...]
MAX_NODES = 200_000
MAX_DEPTH = 100

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*|0o[0-7]+|0x[0-9a-fA-F]+)")
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_RESOLVERS = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(rf"(?:{_INT.pattern})\Z"), list("-+0123456789")),
    ("float", re.compile(rf"(?:{_FLOAT.pattern})\Z"), list("-+.0123456789")),
    ("merge", re.compile(r"<<"), ["<"]),
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would take for something other than text."""


for _name, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)
    _Dumper.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern.pattern})\Z"), _first)


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML text says: plain data, the line of every key and list item, and faults (then `data` is partial)."""

    data: Any
    lines: Mapping[Path, int]
    faults: tuple[Place, ...] = ()


def dump(data: Any) -> str:
    """The data as YAML that `read` gives back unchanged."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read(text: str, file: str, *, first_line: int = 1) -> Document:
    """Read one YAML document. Never raises for what stands in the text: faults are in the result.

    `first_line` is the line of `file` where the text starts.
    """
    try:
        if (deep := _find_too_deep(text)) is not None:
            place = Place(file, deep + first_line, "", "too deeply nested", f"at most {MAX_DEPTH} levels")
            return Document(None, {}, (place,))
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        return Document(None, {}, (_syntax_fault(error, text, file, first_line),))
    walk = _Walk(file, first_line)
    data = walk.value(node, (), 0) if node is not None else None
    if walk.endless is not None:
        return Document(None, walk.lines, (walk.endless,))
    return Document(data, walk.lines, tuple(walk.faults))


def read_scalar(text: str) -> Any:
    """The value behind `--set KEY=VALUE`. Raises ValueError when it is not YAML."""
    document = read(text, "")
    if document.faults:
        raise ValueError(document.faults[0].message)
    return document.data


def _find_too_deep(text: str) -> int | None:
    """The line (from 0) where nesting passes MAX_DEPTH: the C composer recurses without a bound of its own."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return int(event.start_mark.line) if event.start_mark else 0
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


def _syntax_fault(error: yaml.YAMLError, text: str, file: str, first_line: int) -> Place:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        reason = getattr(error, "reason", None) or str(error).partition("\n")[0]
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + first_line if isinstance(position, int) else None
        return Place(file, line, "", f"not YAML: {reason}", "save the file as plain UTF-8 text")
    problem = getattr(error, "problem", None) or "cannot be read"
    lines = text.split("\n")
    number = min(mark.line, max(0, len(lines) - (2 if text.endswith("\n") else 1)))
    return Place(file, number + first_line, "", f"not YAML: {problem}", _syntax_hint(problem, lines[number]))


def _syntax_hint(problem: str, line: str) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not tabs"
    if "mapping values are not allowed" in problem:
        return "a text that holds `: ` needs quotes, or the indentation is off"
    if "single document" in problem or "another document" in problem:
        return "a recipe is one document: remove the `---`"
    if "{{" in line:
        return "a text that starts with `{{` needs quotes"
    if "end of stream" in problem or "',' or '" in problem or not line.strip():
        return "a bracket or a quote is not closed"
    return f"near `{line.strip()[:60]}`"


class _Walk:
    """One pass over the nodes: data, lines, faults."""

    def __init__(self, file: str, first_line: int):
        self.file = file
        self.first_line = first_line
        self.lines: dict[Path, int] = {}
        self.faults: list[Place] = []
        self.visited = 0
        self.active: set[int] = set()
        self.endless: Place | None = None

    def line(self, node: yaml.Node) -> int:
        return int(node.start_mark.line) + self.first_line

    def fault(self, node: yaml.Node, path: Path, message: str, hint: str = "") -> None:
        self.faults.append(Place(self.file, self.line(node), ".".join(path), message, hint))

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self.visited += 1
        if self.visited > MAX_NODES or id(node) in self.active:
            at = self.lines.get(path[:1], self.line(node))
            hint = f"at most {MAX_NODES:,} values; long lists belong into files"
            self.endless = self.endless or Place(
                self.file, at, path[0] if path else "", "aliases repeat it too often", hint
            )
        if self.endless is not None:
            return None
        self.lines.setdefault(path, self.line(node))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.active.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, str(index)), depth + 1) for index, item in enumerate(node.value)]
            return self.mapping(node, path, depth) if isinstance(node, yaml.MappingNode) else None
        finally:
            self.active.discard(id(node))

    def mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        first: dict[Any, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                for key, value in self.merge(value_node, path, depth).items():
                    merged.setdefault(key, value)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.fault(
                    key_node, path, "a key must be plain text", "a text with `{{` or `[` at its start needs quotes"
                )
                continue
            key = self.scalar(key_node, path)
            below = (*path, str(key))
            if key in first:
                self.fault(key_node, below, f"the key `{key}` is there twice", f"first on line {first[key]}: keep one")
                continue
            first[key] = self.line(key_node)
            self.lines[below] = self.line(key_node)
            own[key] = self.value(value_node, below, depth + 1)
        return {**merged, **own}

    def merge(self, node: yaml.Node, path: Path, depth: int) -> dict[Any, Any]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[Any, Any] = {}
        for one in nodes:
            value = self.value(one, path, depth + 1)
            if not isinstance(value, dict):
                self.fault(one, path, "`<<` merges mappings only")
                continue
            for key, item in value.items():
                merged.setdefault(key, item)
        return merged

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        if tag == "str" or tag == "merge":
            return text
        if tag == "null":
            return None
        if tag == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if tag == "int" and _INT.fullmatch(text) and len(text) <= 100:
            return int(text.replace("_", ""), 0)
        if tag in ("int", "float") and _FLOAT.fullmatch(text):
            return self.number(node, path)
        if tag == "timestamp":
            return self.timestamp(node, path)
        self.fault(node, path, f"the tag `{node.tag.replace(_TAG, '!!')}` is not allowed here", "write a plain value")
        return None

    def number(self, node: yaml.ScalarNode, path: Path) -> float | None:
        text = node.value.replace("_", "").lower()
        value = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        if math.isfinite(value):
            return value
        self.fault(node, path, f"`{node.value}` is not a finite number", "quote it if it is text")
        return None

    def timestamp(self, node: yaml.ScalarNode, path: Path) -> str | None:
        try:
            return (
                datetime.datetime.fromisoformat(node.value).isoformat()
                if len(node.value) > 10
                else (datetime.date.fromisoformat(node.value).isoformat())
            )
        except ValueError:
            self.fault(node, path, f"`{node.value}` is no date", "write YYYY-MM-DD")
            return None


def plain(value: Any) -> Any:
    """Data from Python as JSON values: dates become ISO text, tuples lists. Raises ValueError for anything else."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        return value
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise ValueError(f"a {type(value).__name__} cannot stand in a recipe")
