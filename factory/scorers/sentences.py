"""Sentences and syllables, counted by rule: what readability formulas are made of."""

from __future__ import annotations

import re
from itertools import pairwise

from factory.scorers.remembered import Remembered

FULL_STOPS = "。！？؟।۔"
QUOTES = "”’»“„«』」"
BREAK = re.compile(r"\n[ \t]*(?:\n\s*|(?:[-*•#]+|\d{1,3}[.)])[ \t]+)")
"""A blank line, or the next item of a list with its mark."""
QUOTED = frozenset("\"')]*_}")
CLOSING = QUOTED | frozenset(" \t\r\n")
ABBREVIATIONS = frozenset(
    ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr", "vs", "etc", "approx", "Nr", "bzw", "ca", "(Mr", "(Dr", "(ca")
)
LONGEST = 7
QUOTES_LOOKED_AT = 16


def count_sentences(text: str) -> int:
    """How many sentences a text has, at least 1. Linear in its length.

    One ends at `.`, `!`, `?` before white space (closing quotation marks and brackets may stand between), at the full
    stops of other scripts, at a blank line and before an item of a list. A full stop after a title (Dr.), after a
    single letter (J., e.g.) or before a decimal ends none, nor does a closed quotation that goes on in lower case.
    """
    if not text.isascii():
        for sign in FULL_STOPS:
            text = text.replace(sign, ". ")
        for sign in QUOTES:
            text = text.replace(sign, '"')
        text = text.replace("…", ".")
    if "\n" in text:
        text = BREAK.sub(". ", text)
    pieces = text.replace("!", ".").replace("?", ".").split(".")
    count, begun = 0, False
    for piece, after in pairwise(pieces):
        if not begun:
            bare = piece.strip()
            if not bare or bare.isdigit():
                continue
            begun = True
        if after:
            if after[0] not in CLOSING:
                continue
            word = piece[piece.rfind(" ") + 1 :]
            if len(word) < LONGEST and (word in ABBREVIATIONS or (len(word) == 1 and word.isalpha())):
                continue
            if after[0] in QUOTED and _goes_on(after):
                continue
        count, begun = count + 1, False
    return max(1, count + (begun or any(map(str.isalnum, pieces[-1]))))


def _goes_on(after: str) -> bool:
    """Whether a sentence goes on after a closed quotation."""
    following = after[:QUOTES_LOOKED_AT].lstrip("\"')]*_} ")[:1]
    return following.islower() or following in {",", ";", ":"}


GROUPS = re.compile("[aeiouyàâäæáãåèéêëìíîïòóôöõøùúûüœÿ]+")
APART = re.compile(
    r"(?<![cts])i(?:a(?!ge|r\b)|en(?!d))|scien|i(?:um|us|et\b|ets\b|ety)|io(?!n|us)|(?<![ctsgnlhx])ion|^lion"
    r"|(?<![ctgx])iou|(?<!g)eo(?![up])|eum|(?<![qg])u(?:a|ou)|[^gq]uel|luen|[lr]ui[dn]|oe[mt]|zoo|coop|rea(?:ct|tor)"
    r"|creat(?!u)|^(?:id|ar)ea|theat|(?:nucl|lin)ear|(?:kor|rop)ean|cereal|[aeou]ing|ying$|(?:sm|thm)s?$|oyee|ieu"
    r"|[^aeiouyr]n't$|ioneer|hierar"
)
"""Neighbouring vowels that are two sounds, and endings that are a syllable without a vowel."""
SILENT_INSIDE = re.compile(
    r"[^aeiouyl]e(?:ly|ment|less|ful|ness|liness)s?$"
    r"|^every(?=[bdt])|^(?:some|else|more|note|base|home|time|life|fire|name|there|where)(?=[bcfghmnptvw])"
)
FEWER_OR_MORE = {
    "every": 2,
    "evening": 2,
    "evenings": 2,
    "business": 2,
    "recipe": 3,
    "recipes": 3,
    "simile": 3,
    "liar": 2,
    "cafe": 2,
    "maybe": 2,
    "moreover": 3,
}


def count_word_syllables(word: str) -> int:
    """Syllables of an English word in lower case, by rule: groups of vowels, without a silent e; at least 1.

    Silent: the e of -e, -es, -ed at the end (not of -le after a consonant: ta-ble; of -ted, -ded; of -es after a hiss:
    bus-es), before -ly, -ment, -less, -ful, -ness and in compounds (some-thing). Vowels that are two sounds count
    twice (sci-ence, go-ing, vid-e-o), as does -sm. No rule knows them all.
    """
    if (known := FEWER_OR_MORE.get(word)) is not None:
        return known
    count = len(GROUPS.findall(word)) - _ends_silently(word) + len(APART.findall(word))
    return max(1, count - len(SILENT_INSIDE.findall(word)))


def _ends_silently(word: str) -> bool:
    if len(word) < 3:
        return False
    stem = word[:-1] if word.endswith("e") else word[:-2] if word.endswith(("es", "ed")) else ""
    if not stem or not GROUPS.search(stem):
        return False
    if stem.endswith(("qu", "gu")) and len(stem) > 3:
        return True
    if stem[-1] in "aeiouy" or (stem[-1] == "l" and stem[-2:-1] not in ("", "l", "r", *"aeiouy")):
        return False
    if word.endswith("ed"):
        return stem[-1] not in "td" and not stem.endswith(("dr", "cr", "tr"))
    return not (word.endswith("es") and stem.endswith(("s", "z", "x", "ch", "sh", "c", "g")))


SYLLABLES: Remembered[int] = Remembered(count_word_syllables)
LONG_WORDS: Remembered[int] = Remembered(lambda word: int(len(word) > 6))
