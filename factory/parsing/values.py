"""Values from text: what a model wrote, read as the type that was wanted. All raise a pydantic error in plain words."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from pydantic_core import PydanticCustomError

from factory.types import canonical_json

NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?\.?")
TRUE = frozenset({"true", "yes", "y"})
FALSE = frozenset({"false", "no", "n"})
BULLET = re.compile(r"[ \t]{0,12}(?:[-*+•–]|\(?\d{1,3}[.)])[ \t]+(?=\S)")
MARKS = "*_` \t\n"
MAX_DIGITS = 400
MAX_NESTING = 100


def _fail(wanted: str, value: Any) -> NoReturn:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=True, default=str)
    shown = " ".join(shown[:200].split())
    if len(shown) > 60:
        shown = shown[:57] + "…"
    raise PydanticCustomError("unreadable", "'{shown}' is not {wanted}", {"shown": shown, "wanted": wanted})


def _number_text(text: str, wanted: str) -> str:
    bare = text.strip().strip(MARKS)
    if len(bare) > MAX_DIGITS or not any("0" <= char <= "9" for char in bare) or not NUMBER.fullmatch(bare):
        _fail(wanted, text)
    return bare.rstrip(".").replace(",", "").replace("−", "-")


def read_integer(value: Any) -> Any:
    """5, 5.0, "5", "1,200" → int. true is no number."""
    wanted = "a whole number"
    if isinstance(value, bool):
        _fail(wanted, value)
    if isinstance(value, str):
        text = _number_text(value, wanted)
        if not re.search(r"[.eE]", text):
            return int(text)
        value = float(text)
    if isinstance(value, float):
        if not value.is_integer():
            _fail(wanted, value)
        return int(value)
    return value


def read_number(value: Any) -> Any:
    """5, 5.5, "5.5", "1,200.5" → float."""
    wanted = "a number"
    if isinstance(value, bool):
        _fail(wanted, value)
    return float(_number_text(value, wanted)) if isinstance(value, str) else value


def read_bool(value: Any) -> Any:
    """true, "yes", "No." → bool."""
    if isinstance(value, str):
        word = value.strip().strip(MARKS).rstrip(".").casefold()
        if word in TRUE or word in FALSE:
            return word in TRUE
    if not isinstance(value, bool):
        _fail("true or false", value)
    return value


def read_string(value: Any) -> Any:
    """Text as it stands; a number as JSON writes it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value


def read_list(value: Any) -> Any:
    """A list from text: a JSON array, else bullets or numbered lines, else lines, else one line cut at commas."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            found = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, list):
            return found
    lines = [line for line in text.splitlines() if line.strip()]
    bullets = [BULLET.match(line) for line in lines]
    if any(bullets):
        items: list[str] = []
        for line, bullet in zip(lines, bullets, strict=True):
            if bullet:
                items.append(line[bullet.end() :].strip())
            elif items:
                items[-1] += "\n" + line.strip()
            else:
                items.append(line.strip())
        return items
    if len(lines) == 1:
        return [item.strip() for item in lines[0].split(",") if item.strip()]
    return [line.strip() for line in lines]


def read_object(value: Any) -> Any:
    """An object from text: JSON, with or without a code fence."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"\A\s*```\w*\s*|\s*```\s*\Z", "", value)
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        _fail("a JSON object", value)
    return found if isinstance(found, dict) else _fail("a JSON object", value)


def fold(value: Any) -> str:
    """A choice, whatever its case and markup."""
    if isinstance(value, str):
        return value.strip().strip(MARKS + "\"'").rstrip(".").casefold()
    return json_key(value)


def json_key(value: Any) -> str:
    """Equal for values that JSON holds equal: 2 and 2.0, but not 1 and true."""
    return canonical_json(_plain(value, 0))


def _plain(value: Any, depth: int) -> Any:
    if depth > MAX_NESTING:
        raise ValueError("nested too deeply")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    return value


def too_deep(value: Any) -> bool:
    """Whether JSON data nests deeper than `MAX_NESTING` levels. Iterative: the stack does not grow."""
    level = [value]
    for _ in range(MAX_NESTING):
        level = [
            inner
            for item in level
            if isinstance(item, list | dict)
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True
