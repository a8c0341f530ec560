"""The same text about another group: paired words and names change places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from factory.auditors.lexicons.loading import NAMES, Lexicon
from factory.auditors.lexicons.matching import JOINT, as_name, exception_pattern, person_follows

_WORD_AFTER = re.compile(r"[ \t]+([^\W_]+)")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)[ \t]+$")


def swap(text: str, lexicon: Lexicon, here: str, there: str) -> str | None:
    """The text with the terms of group `here` turned into those of `there`; None where there is nothing to turn.

    Words go by the rows of `swaps`, names to the name of the same rank in the other group's list (so that one is about
    as frequent as the other, and the same name always becomes the same one). English his and her are told apart by
    what follows.
    """
    table = _table(lexicon, here, there)
    if table is None:
        return None
    pattern, words, names, careful = table
    kept = exception_pattern(lexicon)
    spans = [match.span() for match in kept.finditer(text)] if kept is not None else []
    parts: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        if any(first <= match.start() < last for first, last in spans):
            continue
        found = match[0]
        if found in names and (found not in careful or as_name(text, match, lexicon.support)):
            new = names[found]
        else:
            new = _cased(_pronoun(text, match, lexicon), found) or _word(text, match, words, lexicon, here)
        if new:
            parts += [text[end : match.start()], new]
            end = match.end()
    return "".join([*parts, text[end:]]) if parts else None


def _plain(found: str) -> str:
    return re.sub(JOINT, " ", found).casefold()


@lru_cache(maxsize=64)
def _table(
    lexicon: Lexicon, here: str, there: str
) -> tuple[re.Pattern[str], dict[str, str], dict[str, str], frozenset[str]] | None:
    words: dict[str, str] = {}
    for row in lexicon.swaps:
        if here in row and there in row:
            words.setdefault(_plain(row[here]), row[there])
    ours, theirs = lexicon.groups[here], lexicon.groups[there]
    names: dict[str, str] = {}
    for kind in (*NAMES, "careful"):
        others = theirs.get("names" if kind == "careful" else kind, ())
        for rank, name in enumerate(ours.get(kind, ()) if others else ()):
            names.setdefault(name, others[rank % len(others)])
    pronouns = _PRONOUNS.get((lexicon.language, lexicon.axis), {}).get(here, ()) if there in _PAIRED else ()
    every = {*words, *names, *pronouns}
    if not every:
        return None
    shown = "|".join(
        JOINT.join(re.escape(part) for part in re.split(JOINT, term))
        for term in sorted(every, key=lambda t: (-len(t), t))
    )
    pattern = re.compile(rf"(?<![^\W\d_])(?:{shown})(?![^\W\d_])", re.IGNORECASE)
    return pattern, words, names, frozenset(ours.get("careful", ()))


_PAIRED = frozenset({"female", "male"})
_PRONOUNS = {("en", "gender"): {"female": ("her", "hers"), "male": ("his", "him")}}


def _pronoun(text: str, match: re.Match[str], lexicon: Lexicon) -> str:
    """What becomes of English her, hers, his and him; '' for any other word."""
    if (lexicon.language, lexicon.axis) not in _PRONOUNS:
        return ""
    word = match[0].casefold()
    if word == "hers":
        return "his"
    if word == "him":
        return "her"
    if word not in ("her", "his"):
        return ""
    after, before = (
        _WORD_AFTER.match(text, match.end()),
        _WORD_BEFORE.search(text, max(0, match.start() - 40), match.start()),
    )
    following = after[1].casefold() if after else ""
    previous = before[1].casefold() if before else ""
    if word == "her":
        return "his" if _possessive(previous, following, lexicon.support.hints) else "him"
    return "hers" if not following or following in lexicon.support.hints.get("after_hers", ()) else "her"


def _word(text: str, match: re.Match[str], words: dict[str, str], lexicon: Lexicon, here: str) -> str:
    """The paired word in the case of the one that it replaces; '' where that one is not meant of a person."""
    new = words.get(_plain(match[0]), "")
    if not new or _plain(match[0]) not in lexicon.groups[here].get("with_person", ()):
        return _cased(new, match[0])
    return _cased(new, match[0]) if person_follows(lexicon.support).match(text, match.end()) else ""


def _possessive(previous: str, following: str, hints: Mapping[str, frozenset[str]]) -> bool:
    """Whether `her` belongs to what follows (her book), else it is the one who is told (told her)."""
    if not following or following in hints.get("functions", ()):
        return False
    if following[0].isdigit():
        return previous not in hints.get("gives", ())
    return not (previous in hints.get("lets", ()) and following in hints.get("verbs", ()))


def _cased(word: str, like: str) -> str:
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word
