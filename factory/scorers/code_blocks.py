"""The code in an answer: its fenced blocks, or the whole text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Block = Literal["first", "last", "all", "none"]
FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)


def find_blocks(text: str) -> list[tuple[str, str]]:
    """Fenced blocks as (label, code), in order; one that is never closed lasts to the end."""
    found: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for match in FENCE.finditer(text):
        if opened is None:
            opened = match
        elif match[1].startswith(opened[1]) and not match[2]:
            found.append((opened[2].lower(), text[opened.end() + 1 : match.start()]))
            opened = None
    if opened is not None:
        found.append((opened[2].lower(), text[opened.end() + 1 :]))
    return found


def pick_code(text: str, block: Block, labels: Sequence[str]) -> str:
    """The code of an answer: blocks with one of the labels, else those without any; the text itself where there are
    no such blocks, or with `none`."""
    if block == "none":
        return text
    blocks = find_blocks(text)
    chosen = [code for label, code in blocks if label in labels] or [code for label, code in blocks if not label]
    if not chosen:
        return "" if blocks else text
    return "\n".join(chosen) if block == "all" else chosen[0 if block == "first" else -1]
