"""Numbers written in words: English cardinals (`twenty-five`, `three hundred and five`) and Han numerals (`二十五`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

CARDINALS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "dozen": 12,
}  # fmt: skip
_BIG = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SHARES = {"half": Fraction(1, 2), "halves": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)}
SCALES = {
    **_BIG,
    "millions": 10**6, "billions": 10**9, "thousands": 1000, "hundreds": 100, "bn": 10**9, "mio": 10**6, "mrd": 10**9,
    "tausend": 1000, "millionen": 10**6, "milliarden": 10**9, "milliarde": 10**9, "milliards": 10**9,
    "milliard": 10**9, "mille": 1000, "mil": 1000, "millones": 10**6, "millón": 10**6, "milhões": 10**6,
    "milhão": 10**6, "milioni": 10**6, "miliardi": 10**9, "миллион": 10**6, "миллиард": 10**9, "тысяч": 1000,
    "十": 10, "百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "億": 10**8, "亿": 10**8, "만": 10**4, "억": 10**8,
}  # fmt: skip
"""What multiplies the number before it."""

_WORD = "|".join(sorted([*CARDINALS, *_BIG], key=len, reverse=True))
ENGLISH = re.compile(rf"\b(?:an? )?(?:{_WORD})s?\b(?:(?:[ -]|,? and )(?:a )?(?:{_WORD})s?\b){{0,24}}")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
SHARE = re.compile(rf"\b(?:{'|'.join(_SHARES)})\b")
HAN = re.compile("[零〇一二两兩三四五六七八九十百千万萬亿億]{1,40}")
_HAN_DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_HAN_STARTS = {*_HAN_DIGITS, "十"}
"""`千万` and `百般` are words."""
_HAN_SMALL = {"十": 10, "百": 100, "千": 1000}
_HAN_BIG = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}


def find_number_words(text: str, language: str = "en") -> Iterator[tuple[int, int, Fraction]]:
    """(start, end, value) of numbers in words: English ones where that is the language, Han numerals anywhere."""
    if language.lower().startswith("en"):
        lower = text.lower()  # to ignore case in the pattern would be slow
        if len(lower) != len(text):
            lower = text.translate(_LOWER)
        for match in ENGLISH.finditer(lower):
            yield from _english(match)
        for match in SHARE.finditer(lower):
            yield match.start(), match.end(), _SHARES[match[0]]
    if not text.isascii():
        for match in HAN.finditer(text):
            value = read_han(match[0]) if match[0][0] in _HAN_STARTS else None
            if value is not None:
                yield match.start(), match.end(), Fraction(value)


def _english(match: re.Match[str]) -> Iterator[tuple[int, int, Fraction]]:
    """One number, or several where the words make no single one (`two three`, `two and three`)."""
    total = part = 0
    last = 0  # the value of the word before; 0 at a number's start
    start = end = -1
    for word in re.finditer(r"[a-z]+", match[0]):
        name = word[0] if word[0] in CARDINALS or word[0] in _BIG else word[0].removesuffix("s")
        if name in ("a", "an", "and"):
            continue
        value = _BIG.get(name) or CARDINALS[name]
        begins = value not in _BIG.values() and last and not (last >= 100 or (20 <= last < 100 and 0 < value < 10))
        begins = begins or (name == "dozen" and last >= 100)
        if name == "dozen" and 0 < last < 100:
            part, last, end = part * 12, 12, word.end()
            continue
        if begins:
            yield match.start() + start, match.start() + end, Fraction(total + part)
            total = part = 0
            start = -1
        start = word.start() if start < 0 else start
        end = word.end()
        if value == 100 and name == "hundred":
            part = (part or 1) * 100
        elif name in _BIG:
            total, part = total + (part or 1) * value, 0
        else:
            part += value
        last = value
    if start >= 0:
        yield match.start() + start, match.start() + end, Fraction(total + part)


def read_han(text: str) -> int | None:
    """The value of a Han numeral: `二十五` is 25, `一万二千` 12000, `二〇二四` 2024; None for what is none."""
    if not any(sign in _HAN_SMALL or sign in _HAN_BIG for sign in text):
        return int("".join(str(_HAN_DIGITS[sign]) for sign in text))
    total = middle = section = digit = 0
    for sign in text:
        if sign in _HAN_DIGITS:
            digit = _HAN_DIGITS[sign]
        elif sign in _HAN_SMALL:
            section += (digit or 1) * _HAN_SMALL[sign]
            digit = 0
        elif not (total or middle or section or digit):
            return None  # `万一` is a word
        elif _HAN_BIG[sign] == 10**4:
            middle += (section + digit) * 10**4
            section = digit = 0
        else:
            total = (total + middle + section + digit) * 10**8
            middle = section = digit = 0
    return total + middle + section + digit
