"""Does a text stand in another? Word for word, up to case, white space, quotation marks, dashes and Unicode forms."""

from __future__ import annotations

import bisect
import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff\u200e\u200f"), None)
_SIGNS = {
    **dict.fromkeys(map(ord, '‘’‚‛′`´“”„‟″«»‹›「」『』＂＇"'), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-"),
    **_INVISIBLE,
}
_SPACES = re.compile(r"\s+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def plain(text: str) -> str:
    """The text in one case, with one kind of quotation mark, dash and space, composed; zero-width signs dropped."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    elif '"' in text or "`" in text:
        text = text.translate(_SIGNS)
    return _SPACES.sub(" ", text.casefold())


def visible(text: str) -> str:
    """The text in the Unicode form in which words are looked up, without zero-width signs: they part no words."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_INVISIBLE)


@dataclass(frozen=True, slots=True)
class Source:
    """A text to look things up in. `plain`: as `plain` makes it."""

    text: str
    plain: str = field(repr=False)

    def find(self, words: str, start: int = 0) -> int:
        """Where plain `words` (not empty) stand in `plain` from `start` on, not in a longer word or number; or −1."""
        place = self.plain.find(words, start)
        while place >= 0:
            if not (_glued(self.plain, place) or _glued(self.plain, place + len(words))):
                return place
            place = self.plain.find(words, place + 1)
        return -1

    def holds(self, words: str) -> bool:
        """Whether a text (as it stands, not plain yet) is found; an empty one is not."""
        wanted = plain(words).strip()
        return bool(wanted) and self.find(wanted) >= 0

    def offset(self, words: str) -> int | None:
        """Where a text starts in the source as it stands, in characters; None where it is not found."""
        verbatim = self.text.find(words)
        if words and verbatim >= 0 and not (_glued(self.text, verbatim) or _glued(self.text, verbatim + len(words))):
            return verbatim
        wanted = plain(words).strip()
        place = self.find(wanted) if wanted else -1
        if place < 0:
            return None
        # The shortest beginning of the text whose plain form reaches past the place ends with the first character.
        return bisect.bisect_left(range(len(self.text)), place + 1, key=lambda end: len(plain(self.text[: end + 1])))


@lru_cache(maxsize=16)
def look_in(text: str) -> Source:
    """The source of a row, made ready once for all its candidates."""
    return Source(text, plain(text))


def _glued(text: str, place: int) -> bool:
    """Whether the characters on both sides of a place are of one word, or of one number (`1.5`)."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before.isalnum() and after.isalnum():
        return not (_UNSPACED.match(before) or _UNSPACED.match(after))
    if after in ".," and before.isdigit():
        return text[place + 1 : place + 2].isdigit()
    return before in ".," and after.isdigit() and text[max(0, place - 2) : place - 1].isdigit()
