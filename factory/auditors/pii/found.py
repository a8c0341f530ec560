"""One finding: what, where, and whether it is nobody's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from factory.auditors.pii.plain import Plain


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind` at text[start:end]. `what`: more exactly ("US social security number"). `reserved`: why it is nobody's."""

    kind: str
    start: int
    end: int
    what: str = ""
    reserved: str = ""


Finder = Callable[[Plain], Iterator[Finding]]
"""Finds in `Plain.folded`; places are those of the folded text."""
