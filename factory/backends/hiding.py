"""Keys and other secrets, taken out of whatever a server says before it is shown."""

from __future__ import annotations

from collections.abc import Mapping

_HIDDEN = "[key]"
_SHORTEST = 6
_SURELY_SECRET = 12
"""Characters from which on a secret is taken out of whole answers, before a message is cut out of them."""
_WORDS = ("authorization", "key", "token", "secret", "cookie")


class Secrets:
    """A model's key, and the values of headers that sound like one."""

    def __init__(self, keys: tuple[str | None, ...], headers: Mapping[str, str]):
        named = [value for name, value in headers.items() if any(word in name.lower() for word in _WORDS)]
        held = [secret for secret in (*keys, *named) if secret is not None and len(secret) >= _SHORTEST]
        self._texts = tuple(held)
        self._bytes = tuple(secret.encode() for secret in held if len(secret) >= _SURELY_SECRET)

    def __repr__(self) -> str:
        return f"Secrets({len(self._texts)})"

    def hide(self, raw: bytes) -> bytes:
        """A body without the secrets that are long enough to be no chance hit."""
        for secret in self._bytes:
            if secret in raw:
                raw = raw.replace(secret, _HIDDEN.encode())
        return raw

    def hide_in(self, text: str) -> str:
        """A message without any of the secrets."""
        for secret in self._texts:
            text = text.replace(secret, _HIDDEN)
        return text
