"""JSON out of a model's text, read strictly: no NaN, no key twice, no endless numbers, no bottomless nesting."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from factory.parsing.values import MAX_NESTING, too_deep
from factory.scorers import shorten

MAX_DIGITS = 400
MAX_TRIES = 64
FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
START = re.compile(r"[{\[]")


class NotJson(ValueError):
    """Why a text is no JSON, in words for a reason."""


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotJson(f"the key '{shorten(twice)}' stands twice in an object")
    return found


def _read_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise NotJson(f"a number of {len(text)} digits")
    return int(text)


def _read_number(text: str) -> float:
    if len(text) > MAX_DIGITS or not math.isfinite(number := float(text)):
        raise NotJson(f"the number {shorten(text, 20)} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


DECODER = json.JSONDecoder(
    object_pairs_hook=_read_object,
    parse_int=_read_integer,
    parse_float=_read_number,
    parse_constant=_refuse_constant,
)


def read_json(text: str) -> Any:
    """The value that the whole text is. Raises NotJson."""
    return _decode(text.removeprefix("\ufeff").strip(), 0, whole=True)[0]


def find_json(text: str) -> Iterator[Any]:
    """Every JSON object or array in a text, fenced blocks first. Raises NotJson where there is none.

    At most 64 places are tried, so that hostile text ends.
    """
    fault: NotJson | None = None
    tries = count = 0
    for block in FENCE.finditer(text):
        tries += 1
        if tries > MAX_TRIES:
            break
        try:
            found = read_json(block[1])
        except NotJson as error:
            fault = fault or error
            continue
        if isinstance(found, dict | list):
            count += 1
            yield found
    place = START.search(text)
    while place and tries < MAX_TRIES:
        tries += 1
        try:
            found, end = _decode(text, place.start(), whole=False)
        except NotJson as error:
            fault, end = fault or error, place.start() + 1
        else:
            count += 1
            yield found
        place = START.search(text, end)
    if not count:
        raise fault or NotJson("no JSON object or array found")


def _decode(text: str, start: int, *, whole: bool) -> tuple[Any, int]:
    try:
        found, end = DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except NotJson:
        raise
    except RecursionError as error:
        raise NotJson(f"nested deeper than {MAX_NESTING} levels") from error
    if whole and end < len(text):
        line = text.count("\n", 0, end) + 1
        raise NotJson(f"not JSON: text after the value (line {line})")
    if too_deep(found):
        raise NotJson(f"nested deeper than {MAX_NESTING} levels")
    return found, end
