"""Personal data and secrets: found by rule, told by kind and place, never repeated in a reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from factory.errors import UsageError
from factory.scorers import Context, text_of, traits
from factory.scorers.pii_finding import FINDERS, at_domain, find_all, may_hold_any
from factory.types import Candidate, Score

Kind = Literal["email", "phone", "iban", "credit_card", "ssn", "ip", "secret"]
SHOWN = {
    "email": ("e-mail address", "e-mail addresses"),
    "phone": ("telephone number", "telephone numbers"),
    "iban": ("bank account (IBAN)", "bank accounts (IBAN)"),
    "credit_card": ("payment card", "payment cards"),
    "ssn": ("US social security number", "US social security numbers"),
    "ip": ("IP address", "IP addresses"),
    "secret": ("key or token", "keys or tokens"),
}


CLEAN = Score("pii", 1.0)


@traits(low=0, high=1)
class Pii:
    """1 without personal data, 0 with any, which vetoes; 0…1, higher is better.

    `kinds`: which to look for; all by default. `allow`: what may stand in a text: the value itself, the domain of an
    e-mail address (those below it too), or a regular expression for the whole value. What is reserved for examples
    (example.com, 192.0.2.0/24, 555-01xx), and private addresses, always may. `veto: false` only lowers the value.
    """

    def __init__(
        self,
        *,
        kinds: list[Kind] | None = None,
        allow: list[str] | None = None,
        veto: bool = True,
        on: str | None = None,
    ):
        if kinds == []:
            raise UsageError(
                "`kinds` of `pii` is an empty list", f"leave it out, or name some of: {', '.join(FINDERS)}"
            )
        self._kinds = frozenset[str](kinds or FINDERS)
        self._plain = tuple(entry.lower().lstrip("@") for entry in allow or ())
        self._patterns = [_compile(entry) for entry in allow or ()]
        self._veto, self._on = veto, on

    def __call__(self, candidates: Sequence[Candidate], context: Context) -> list[Score]:
        texts = [text_of(candidate, self._on) for candidate in candidates]
        if not may_hold_any("\n".join(texts)):
            return [CLEAN] * len(texts)
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> Score:
        found = find_all(text, self._kinds)
        if found and self._plain:
            found = [(kind, start, end) for kind, start, end in found if not self._allowed(kind, text[start:end])]
        if not found:
            return CLEAN
        counts = Counter(kind for kind, _, _ in found)
        told = ", ".join(f"{count} {SHOWN[kind][count > 1]}" for kind, count in counts.items())
        return Score("pii", 0.0, f"{told} (the first at character {found[0][1]})", self._veto)

    def _allowed(self, kind: str, value: str) -> bool:
        folded = value.lower()
        if folded in self._plain or (kind == "email" and at_domain(folded.rpartition("@")[2], self._plain)):
            return True
        return any(pattern.fullmatch(value) for pattern in self._patterns)


def _compile(entry: str) -> re.Pattern[str]:
    if not entry:
        raise UsageError("`allow` of `pii` has an empty entry", "name a value, a domain or a regular expression")
    try:
        return re.compile(entry, re.IGNORECASE)
    except re.error:  # an address such as `+49 …` is no pattern: it is compared as it stands
        return re.compile(re.escape(entry), re.IGNORECASE)
