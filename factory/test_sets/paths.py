"""Fields of nested rows by their paths. Pure.

`question.stem` goes into an object, `choices.0` into a list, `paragraphs[].qas[].question` into every item of the lists
on its way, and `prompt|text` takes the first of several that holds something. A column whose own name has a dot in it
is found by its whole name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Scope = tuple[tuple[str, Any], ...]
"""(path prefix, item there), the innermost first; the last is ('', the whole row)."""


def read_path(value: Any, path: str) -> Any:
    """What stands at `path`; None when there is nothing. Paths with `[]` give a list."""
    for alternative in path.split("|"):
        found = _walk(value, alternative.strip())
        if found is not None:
            return found
    return None


def read_in(scope: Scope, path: str) -> Any:
    """As `read_path`, each alternative seen from the innermost list item that it goes through."""
    for alternative in path.split("|"):
        name = alternative.strip()
        found = None
        for prefix, item in scope:
            if not prefix:
                found = _walk(item, name)
            elif name.startswith(prefix + "."):
                found = _walk(item, name[len(prefix) + 1 :])
                break
            elif name == prefix:
                found = item
                break
        if found is not None:
            return found
    return None


def open_scopes(row: Any, path: str) -> list[Scope]:
    """One scope for each item of the lists on the way of `path`; one for the row when there are none."""
    for alternative in path.split("|"):
        name = alternative.strip()
        if "[]" in name and _walk(row, name) is not None:
            return _scopes(row, name)
        if "[]" not in name and _walk(row, name) is not None:
            break
    return [(("", row),)]


def _scopes(row: Any, path: str) -> list[Scope]:
    scopes: list[Scope] = [(("", row),)]
    parts = path.split("[]")[:-1]
    for depth in range(len(parts)):
        prefix = "[]".join(parts[: depth + 1]) + "[]"
        inner: list[Scope] = []
        for scope in scopes:
            before, item = scope[0]
            rest = prefix[len(before) :].lstrip(".").removesuffix("[]")
            found = _walk(item, rest)
            inner += [((prefix, one), *scope) for one in (found if isinstance(found, list) else [found])]
        scopes = inner
    return scopes


def _walk(value: Any, path: str) -> Any:
    """The value at one path without alternatives; None when it is not there."""
    if not path:
        return value
    if isinstance(value, Mapping) and path in value:
        return value[path]
    name, _, rest = path.partition(".")
    key = name.removesuffix("[]")
    if isinstance(value, list) and key.isdigit():
        return _walk(value[int(key)], rest) if int(key) < len(value) else None
    if not isinstance(value, Mapping) or key not in value:
        return None
    inner = value[key]
    if not name.endswith("[]"):
        return _walk(inner, rest)
    if inner is None:
        return None
    found = [_walk(item, rest) for item in (inner if isinstance(inner, list) else [inner])]
    if "[]" in rest:
        found = [item for part in found if isinstance(part, list) for item in part]
    return [item for item in found if item is not None]
