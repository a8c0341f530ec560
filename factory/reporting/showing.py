"""How numbers and texts stand on a page: one way for all of them."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffc\ufffe\uffff"
    "\ud800-\udfff\ufdd0-\ufdef\U000e0000-\U000e007f]"
)
LONGEST = 2000
"""Characters of a text that models wrote, as far as a page shows it."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of `audit.json` and where in it the number stands, as a JSON Pointer."""

    value: float | int | None
    at: str

    @property
    def shown(self) -> str:
        return show(self.value)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a text, and how many characters were left off."""

    text: str
    left_off: int = 0

    def __str__(self) -> str:
        return f"{self.text} … {show(self.left_off)} more characters" if self.left_off else self.text


def show(value: float | int | None) -> str:
    """A number as every page, table and plot shows it: four digits that count, thousands apart; a dash for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    size = abs(value)
    if size >= 1e15:
        told = f"{Decimal(value):.3e}"
    elif isinstance(value, int) or value == int(value) or size >= 1e4:
        told = f"{value:,.0f}"
    elif size < 1e-4:
        told = re.sub(r"e([+-])0*(\d)", r"e\1\2", f"{value:.2g}")
    else:
        told = f"{value:,.4g}"
    return told.replace("-", "\u2212")


def visible(text: str) -> str:
    """The text with characters that hide, reorder or break others spelt out, as ⟨U+202E⟩. Line breaks and tabs stay."""
    told = text.replace("\r\n", "\n")
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", told)


def excerpt(text: str, most: int = LONGEST) -> Excerpt:
    """The first `most` characters, made visible; the rest is counted."""
    return Excerpt(visible(text[:most]), max(0, len(text) - most))


def one_line(text: Any, most: int = 200) -> str:
    """A label or a name on one line, with an ellipsis where it is longer than `most` characters."""
    told = " ".join(visible(str(text)[: 4 * most]).split())
    return told if len(told) <= most and len(str(text)) <= 4 * most else told[: most - 1].rstrip() + "…"


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number (true and false are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite(value: Any) -> float:
    """A JSON value as a float, NaN where it is no finite number."""
    if not is_number(value) or abs(value) > sys.float_info.max:
        return math.nan
    return float(value)
