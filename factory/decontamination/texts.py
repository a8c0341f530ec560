"""Texts as words: folded bytes, 64-bit hashes of words, and where each word stands. Whole batches in NumPy.

Every character is folded by itself, so that places can be traced back: NFKD, casefold, Latin, Greek and Cyrillic
accents and zero-width signs dropped, everything that is no letter, digit or mark a space; a character of a script
written without spaces is a word of its own. A comma inside a number is dropped ("80,000"), a point inside one kept
("2.5"). What is left between spaces is a word; the rests of contractions ("Janet's", "don't") and marks of options
("(A)", "2." where a line starts) are none. Punctuation and white space are so set aside: reindented code, other
quotes and Markdown give the same words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.decontamination.words import NAME_FREE, NUMBER_WORDS
from factory.minhash import mix, stream

U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BYTES = stream(101, 256)
_SPACE = 32
_BYTES[_SPACE] = 0
_BASE = int(stream(102, 1)[0]) & ~7 | 5
_INVERSE = pow(_BASE, -1, 1 << 64)
_BLOCK = 1 << 18
"""Bytes hashed at once, so that what is worked on stays in the processor's cache."""
_END = "\x1e"
_UNSPACED = (
    *((0x0E00, 0x10A0), (0x1780, 0x1800), (0x2E80, 0x3000), (0x3040, 0x3130), (0x31A0, 0x3200)),
    *((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x1B000, 0x1B170), (0x20000, 0x40000)),
)
"""Code points of scripts written without spaces: [from, to) pairs."""


def _byte_table() -> U8:
    table = np.full(256, _SPACE, dtype=np.uint8)
    for byte in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1), *range(128, 256)):
        table[byte] = byte
    for byte in range(ord("A"), ord("Z") + 1):
        table[byte] = byte + 32
    return table


_FOLDED = _byte_table()
_IS_DIGIT = np.zeros(256, dtype=bool)
_IS_DIGIT[ord("0") : ord("9") + 1] = True
_IS_UPPER = np.zeros(256, dtype=bool)
_IS_UPPER[ord("A") : ord("Z") + 1] = True
_STARTS_LINE = np.zeros(256, dtype=bool)
_STARTS_LINE[[ord("\n"), ord(_END)]] = True
_IS_REST = np.zeros(256, dtype=bool)
_IS_REST[[ord("s"), ord("t")]] = True
_ENDS_MARK = np.zeros(256, dtype=bool)
_ENDS_MARK[[ord("."), ord(")"), ord(":")]] = True


class _Folding(dict[int, str]):
    """What each code point becomes, worked out when it is first met. ASCII stays as it is: bytes are folded later."""

    def __missing__(self, point: int) -> str:
        folded = self[point] = _fold(chr(point))
        return folded


def _fold(char: str) -> str:
    if char.isascii():
        return " " if char == _END else char
    if char in "‘’ʼ′":
        return "'"
    category = unicodedata.category(char)
    if category == "Cf" or 0x300 <= ord(char) < 0x370:
        return ""
    parts = []
    for part in unicodedata.normalize("NFKD", char):
        kind = unicodedata.category(part)
        if part.isascii():
            parts.append(part)
        elif kind[0] == "M" and 0x300 <= ord(part) < 0x370:
            continue
        elif kind[0] in "LMN":
            parts.append(part.casefold())
        else:
            parts.append(" ")
    folded = "".join(parts)
    return f" {folded} " if any(low <= ord(char) < high for low, high in _UNSPACED) else folded


_FOLDING = _Folding()
_USUAL = (("’", "'"), ("‘", "'"), ("“", '"'), ("”", '"'), ("–", "-"), ("—", "-"), ("\u00a0", " "), ("…", "..."))


def prepare(text: str) -> str:
    """The text with every character that is not ASCII folded; ASCII is left to the bytes' table."""
    if _END in text:
        text = text.replace(_END, " ")
    if text.isascii():
        return text
    for sign, plain in _USUAL:
        text = text.replace(sign, plain)
    return text if text.isascii() else text.translate(_FOLDING)


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of n texts, one text after another.

    `hashes` uint64[words]; `ends` int64[n]: words up to the end of each text; `letters` the folded bytes; `starts`
    int64[words]: each word's first byte in `letters`; `sizes` its bytes; `raw` the bytes of the prepared texts and
    `places` int64[words] each word's first byte there, for spans and capitals.
    """

    hashes: U64
    ends: Ints
    letters: U8
    starts: Ints
    sizes: Ints
    raw: U8
    places: Ints

    def firsts(self) -> Ints:
        """int64[n]: each text's first word."""
        return np.concatenate([np.zeros(1, dtype=np.int64), self.ends[:-1]])

    def numbers(self) -> Bools:
        """bool[words]: words that start with a digit, and the words for small numbers."""
        return _IS_DIGIT[self.letters[self.starts]] | _among(self.hashes, _NUMBERS)[0]

    def names(self) -> Bools:
        """bool[words]: capitalised words that are none of the words sentences usually start with."""
        found: Bools = _IS_UPPER[self.raw[self.places]]
        at = np.flatnonzero(found)
        found[at] = ~_among(self.hashes[at], _NAME_FREE)[0] & ~(self.sizes[at] == 1)
        return found

    def values(self) -> U64:
        """The words' hashes, where "three" is 3."""
        hit, place = _among(self.hashes, _NUMBERS)
        values = self.hashes.copy()
        values[hit] = _VALUES[place[hit]]
        return values

    def stems(self) -> U64:
        """Hashes of the first five bytes of each word, its plural s dropped: "apples" and "apple" are one."""
        sizes = self.sizes
        last = self.letters[self.starts + sizes - 1]
        plural = (sizes > 3) & (last == ord("s")) & (self.letters[self.starts + np.maximum(sizes - 2, 0)] != ord("s"))
        cut = np.minimum(sizes - plural, 5)
        stems = np.zeros(len(sizes), dtype=np.uint64)
        for k in range(5):
            at = np.flatnonzero(cut > k)
            stems[at] += _BYTES[self.letters[self.starts[at] + k]] * _powers[0][k]
        return mix(stems)


def tokenise(texts: Sequence[str]) -> Tokens:
    """The words of every text. What a text gives does not depend on the others."""
    joined = _END.join([prepare(text) for text in texts]) + _END
    raw = np.frombuffer(joined.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    letters = _FOLDED.take(raw)
    dropped = _settle_marks(raw, letters)
    if len(dropped):
        letters = np.delete(letters, dropped)
    solid = np.empty(len(letters) + 1, dtype=bool)
    solid[0] = False
    np.not_equal(letters, _SPACE, out=solid[1:])
    flips = np.flatnonzero(solid[1:] != solid[:-1])  # the last byte is a space: starts and ends alternate
    starts, stops = flips[::2].copy(), flips[1::2]
    places = starts
    if len(dropped):
        places = starts + np.searchsorted(dropped - np.arange(len(dropped)), starts, side="right")
    marks = _option_marks(raw, letters, starts, stops, places)
    if len(marks):
        starts, stops = np.delete(starts, marks), np.delete(stops, marks)
        places = np.delete(places, marks)
    ends = np.searchsorted(places, np.flatnonzero(raw == ord(_END)))
    return Tokens(_hash_words(letters, starts, stops), ends, letters, starts, stops - starts, raw, places)


def _option_marks(raw: U8, letters: U8, starts: Ints, stops: Ints, places: Ints) -> Ints:
    """The words that only number an option: "(A)", "B." or "c)" and "1." where a line starts; and rests of words."""
    single = np.flatnonzero(stops - starts == 1)
    at = places[single]
    after = raw[np.minimum(at + 1, len(raw) - 1)]
    before = raw[np.maximum(at - 1, 0)]
    before2 = np.where(at > 1, raw[np.maximum(at - 2, 0)], ord(_END))
    before[at == 0] = ord(_END)
    letter = letters[starts[single]]
    opens = _STARTS_LINE[before] | ((before == ord("(")) & _STARTS_LINE[before2])
    capital = _IS_UPPER[raw[at]] & (opens | (before == ord(" ")) | (before == ord("(")))
    named = ((letter <= ord("j")) & (letter >= ord("a")) & (capital | opens)) | (_IS_DIGIT[letter] & opens)
    marks: Ints = single[(named & _ENDS_MARK[after]) | _IS_REST[letter]]
    return marks


def _settle_marks(raw: U8, folded: U8) -> Ints:
    """Commas and points by what stands beside them; where those are that go, in order."""
    dropped = [np.empty(0, dtype=np.int64)]
    commas = np.flatnonzero(raw == ord(","))
    commas = commas[(commas > 0) & (commas < len(raw) - 4)]
    if len(commas):
        inside = _IS_DIGIT[raw[commas - 1]] & ~_IS_DIGIT[raw[commas + 4]]
        for k in (1, 2, 3):
            inside &= _IS_DIGIT[raw[commas + k]]
        dropped.append(commas[inside])
    points = np.flatnonzero(raw == ord("."))
    points = points[(points > 0) & (points < len(raw) - 1)]
    if len(points):
        folded[points[_IS_DIGIT[raw[points - 1]] & _IS_DIGIT[raw[points + 1]]]] = ord(".")
    return np.sort(np.concatenate(dropped))


def _powers_of(base: int, count: int) -> U64:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


_powers = (_powers_of(_BASE, _BLOCK + 1), _powers_of(_INVERSE, _BLOCK + 1))


def _hash_words(letters: U8, starts: Ints, stops: Ints) -> U64:
    """mix(Σ BYTES[byte_i]·BASE**i) of each word, as a difference of running sums."""
    hashes = np.empty(len(starts), dtype=np.uint64)
    first = 0
    while first < len(starts):
        begin = int(starts[first])
        last = max(first + 1, int(np.searchsorted(stops, begin + _BLOCK, side="right")))
        size = int(stops[last - 1]) - begin
        powers, inverses = _powers if size <= _BLOCK else (_powers_of(_BASE, size + 1), _powers_of(_INVERSE, 1))
        sums = np.zeros(size + 1, dtype=np.uint64)
        terms = _BYTES.take(letters[begin : begin + size])
        terms *= powers[:size]
        np.cumsum(terms, out=sums[1:])
        at = starts[first:last] - begin
        hashes[first:last] = (sums[stops[first:last] - begin] - sums[at]) * inverses[at]
        first = last
    return mix(hashes)


def hash_words(words: Sequence[str]) -> U64:
    """The hashes of single words."""
    return tokenise([" ".join(words)]).hashes


def _among(values: U64, known: U64) -> tuple[Bools, Ints]:
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    hit: Bools = known[place] == values
    return hit, place


_NAME_FREE = np.unique(hash_words(NAME_FREE.split()))
_spelled = hash_words(list(NUMBER_WORDS))
_order = np.argsort(_spelled)
_NUMBERS = _spelled[_order]
_VALUES = hash_words([str(value) for value in NUMBER_WORDS.values()])[_order]


def char_places(text: str) -> Ints | None:
    """For each byte of the prepared text the character of `text` it comes from; None where they are the same."""
    if text.isascii():
        return None
    prepared = prepare(text)
    pieces = [_FOLDING[ord(char)] for char in text]
    usual = dict(_USUAL)
    if "".join(pieces) != prepared:
        pieces = [usual.get(char) or _FOLDING[ord(char)] for char in text.replace(_END, " ")]
        if prepared.isascii():
            pieces = [usual.get(char, char) for char in text.replace(_END, " ")]
    sizes = [len(piece.encode("utf-8", "surrogatepass")) for piece in pieces]
    return np.repeat(np.arange(len(text)), sizes)


_CODE = re.compile(
    r"""(?P<text>\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?''')|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?P<comment>\#[^\n]*)"""
)
_CODE_SIGNS = re.compile(r"#|\"\"\"|'''")


def strip_comments(code: str) -> str:
    """Source code without comments and without texts in triple quotes; the same object where it has none."""
    if not _CODE_SIGNS.search(code):
        return code
    return _CODE.sub(lambda found: " " if found["text"] or found["comment"] else found[0], code)
