"""What counts as a duplicate: equal texts, near ones, paraphrases, texts of one meaning; in scopes, against references.

`Duplicates` takes texts in order, `conversation_text` makes one of a conversation, `open_reference` opens other data.
"""

from __future__ import annotations

from factory.duplicates.conversations import conversation_text
from factory.duplicates.finding import NAMES, THRESHOLDS, By, Duplicate, Duplicates, DuplicatesFound, Kind
from factory.duplicates.references import Reference, ScopeOf, open_reference

__all__ = [
    "NAMES",
    "THRESHOLDS",
    "By",
    "Duplicate",
    "Duplicates",
    "DuplicatesFound",
    "Kind",
    "Reference",
    "ScopeOf",
    "conversation_text",
    "open_reference",
]
