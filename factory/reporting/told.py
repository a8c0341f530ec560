"""Values of `audit.json` on their way into a page: each knows where it stands, and how it is shown safely."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from factory.reporting.showing import Number, excerpt, is_number, show


class Told:
    """A JSON value with its place (`at`: a JSON Pointer). Keys of a mapping are attributes; an absent one is null.

    In a template a number becomes a `<data>` element that holds the exact value and its place, a text is escaped, made
    visible and cut: nothing that a model wrote reaches a page in another way.
    """

    __slots__ = ("at", "raw")

    def __init__(self, raw: Any, at: str = ""):
        self.raw = raw
        self.at = at

    def __getattr__(self, name: str) -> Told:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: str | int) -> Told:
        at = f"{self.at}/{str(key).replace('~', '~0').replace('/', '~1')}"
        if isinstance(self.raw, Mapping):
            return Told(self.raw.get(key), at)
        inside = isinstance(self.raw, list) and isinstance(key, int) and -len(self.raw) <= key < len(self.raw)
        return Told(self.raw[key] if inside else None, at)

    def __iter__(self) -> Iterator[Any]:
        """The items of a list; of a mapping its keys with their values."""
        if isinstance(self.raw, Mapping):
            return iter([(key, self[key]) for key in self.raw])
        return iter([self[place] for place in range(len(self.raw))] if isinstance(self.raw, list) else [])

    def __len__(self) -> int:
        return len(self.raw) if isinstance(self.raw, list | Mapping | str) else 0

    def __bool__(self) -> bool:
        return bool(self.raw)

    def __str__(self) -> str:
        if is_number(self.raw) or self.raw is None:
            return show(self.raw)
        if isinstance(self.raw, bool):
            return "yes" if self.raw else "no"
        return str(excerpt(self.raw if isinstance(self.raw, str) else json.dumps(self.raw, ensure_ascii=False)))

    def __html__(self) -> str:
        from markupsafe import escape

        if is_number(self.raw):
            return str(number_html(Number(self.raw, self.at)))
        return str(escape(str(self)))


def number_html(number: Number) -> Any:
    """The number as an element that says which one of `audit.json` it is."""
    from markupsafe import Markup

    return Markup('<data value="{}" data-at="{}">{}</data>').format(json.dumps(number.value), number.at, number.shown)
