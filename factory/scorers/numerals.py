"""Numbers in prose: digits of any script, grouped by language, percentages, fractions, scales, number words."""

from __future__ import annotations

import bisect
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache

from factory.scorers.number_words import SCALES, find_number_words

MAX_DIGITS = 400
"""Of a longer number the first ones count."""
_COMMA = """
af az be bg bs ca cs da de el es et eu fi fo fr gl hr hu hy id is it ka kk lt lv mk nb nl nn no pl pt ro ru sk sl sq sr
sv tr uk uz vi
"""
COMMA_LANGUAGES = frozenset(_COMMA.split())
"""Languages whose decimal mark is the comma (CLDR), so that `1.000` is a thousand."""
PERCENT = r"(?:%|per\s?cent\b|pct\b|Prozent\b|pour\s?cent\b|por\s?ci?ento\b|per\s?cento\b|procent\b|процент\w{0,3})"
_PERCENT_NEXT = re.compile(rf"\s?{PERCENT}", re.IGNORECASE)
_FIXED_GROUPS = "'’\u00a0\u202f\u2009"
TOKEN = re.compile(rf"\d+(?:[.,{_FIXED_GROUPS}]\d+)*")
AFTER = re.compile(rf"(?P<vulgar>[¼-¾⅐-⅞])?(?:[^\S\n]?(?P<percent>{PERCENT}))?", re.IGNORECASE)
SCALED = re.compile(r"[^\S\n]?(" + "|".join(sorted(SCALES, key=len, reverse=True)) + r")", re.IGNORECASE)
VULGAR = re.compile(r"(?<!\d)[¼-¾⅐-⅞]")
SLASH = re.compile(r"[/⁄](?=\d)")
_SIGN = re.compile(r"\A([-−–+])?[^\S\n]?[$€£¥₹]?[^\S\n]?(?=[\d¼-¾⅐-⅞.])")
_SCIENTIFIC = re.compile(r"(\d{1,40})(?:\.(\d{1,40}))?[eE]([-+]?\d{1,2})")
_UNIT = re.compile(
    r"(?!(?:and|or|plus|minus|times|over|to|of)\b)[^\W\d_]+\.?(?: (?!(?:and|or|half)\b)[^\W\d_]+){0,2}[²³]?"
    r"|[°℃℉$€£¥₹](?: ?[cf])?|[^\W\d_]{1,12}/[^\W\d_]{1,12}[²³]?"
)
_ALIASES = {"degree": "°", "dollar": "$", "usd": "$", "euro": "€", "eur": "€", "pound": "£", "gbp": "£", "rupee": "₹"}
_EXTRA = {
    "٫": ".",
    "٬": "'",
    "，": ",",
    "．": ".",
    "％": "%",
    "٪": "%",
    "﹪": "%",
    "－": "-",
    "＄": "$",
    "＋": "+",
    "／": "/",
}


@dataclass(frozen=True, slots=True)
class Mention:
    """A number as it stands at text[start:end], without its sign.

    `value` is what it says (a percentage's hundredth part); `parts`: numbers that say as much when all of them are
    meant, as 12 and 300 for `12 300`, or 3 and 4 for `3/4`. `places`: decimals shown. `word`: written in words.
    """

    text: str
    start: int
    end: int
    value: Fraction
    percent: bool = False
    parts: tuple[Fraction, ...] = ()
    places: int = 0
    word: bool = False


@dataclass(frozen=True, slots=True)
class Quantity:
    """A text that is one number, signed, with its unit in one case ('' without one)."""

    value: Fraction
    unit: str
    percent: bool = False
    places: int = 0


@cache
def _digit_table() -> dict[int, str]:
    table = {ord(sign): plain for sign, plain in _EXTRA.items()}
    for code in range(128, sys.maxunicode + 1):
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            table[code] = str(digit)
    return table


def plain_digits(text: str) -> str:
    """The text with the digits of every script as 0 to 9, and the signs around them as ASCII; as long as before."""
    return text if text.isascii() else text.translate(_digit_table())


def find_numbers(text: str, language: str = "en") -> list[Mention]:
    """The numbers of a text in order: digits, fractions, percentages, `3 million`; number words (see there) too."""
    plain = plain_digits(text)
    found = [*_joined(plain, list(_tokens(plain, uses_comma(language)))), *_vulgar(plain)]
    taken = sorted((mention.start, mention.end) for mention in found)
    for start, end, value in find_number_words(text, language):
        if not any(start < stop and begin < end for begin, stop in _near(taken, start)):
            percent = _PERCENT_NEXT.match(plain, end)
            found.append(
                Mention(text[start:end], start, end, value / 100 if percent else value, bool(percent), word=True)
            )
    return sorted(found, key=lambda mention: mention.start)


def uses_comma(language: str) -> bool:
    """Whether the decimal mark of a language is the comma."""
    return re.split(r"[-_]", language.lower())[0] in COMMA_LANGUAGES


def _near(spans: list[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    """The spans around a place; they are in order."""
    place = bisect.bisect(spans, (start, 0))
    return spans[max(0, place - 2) : place + 2]


def _vulgar(plain: str) -> Iterator[Mention]:
    for match in VULGAR.finditer(plain):
        yield Mention(match[0], match.start(), match.end(), _fraction(match[0]))


def _fraction(sign: str) -> Fraction:
    return Fraction(unicodedata.numeric(sign)).limit_denominator(10)


def _tokens(plain: str, comma: bool) -> Iterator[Mention]:
    for match in TOKEN.finditer(plain):
        start = match.start()
        for value, places, (first, last) in _readings(match[0], comma):
            yield _with_suffix(plain, (start + first, start + last), value, places)


def _with_suffix(plain: str, span: tuple[int, int], value: Fraction, places: int) -> Mention:
    """A number with a vulgar fraction, a percent sign or a scale (`million`, `万`) that follows."""
    start, end = span
    following = plain[end : end + 1]
    percent = False
    if following and following not in ",;.)\n":
        after = AFTER.match(plain, end)
        assert after is not None
        if after["vulgar"]:
            value, end = value + _fraction(after["vulgar"]), after.end("vulgar")
        if after["percent"]:
            value, end, percent = value / 100, after.end(), True
        elif (scale := SCALED.match(plain, end)) and not (
            scale[1].isascii() and plain[scale.end() : scale.end() + 1].isalpha()
        ):
            value, end, places = value * SCALES[scale[1].lower()], scale.end(), 0
    return Mention(plain[start:end], start, end, value, percent, places=places)


def _readings(token: str, comma: bool) -> list[tuple[Fraction, int, tuple[int, int]]]:
    """(value, decimals, span) of one run of digits and marks: one as a rule, several where marks part it (`1,2,3`)."""
    if token.isdigit() and len(token) <= MAX_DIGITS:
        return [(Fraction(int(token)), 0, (0, len(token)))]
    whole = _read(token, comma) if len(token) <= MAX_DIGITS else None
    if whole is not None:
        return [(*whole, (0, len(token)))]
    return [(Fraction(int(match[0][:MAX_DIGITS])), 0, match.span()) for match in re.finditer(r"\d+", token)]


@lru_cache(maxsize=4096)
def _read(token: str, comma: bool) -> tuple[Fraction, int] | None:
    """Value and decimals of a token by the language's marks, else by the other's where those alone make sense."""
    point, group = (",", ".") if comma else (".", ",")
    for decimal, grouping, sure in ((point, group, False), (group, point, True)):
        marks = re.escape(grouping + _FIXED_GROUPS)
        rest = rf"(?:{re.escape(decimal)}(?P<decimals>\d+))?"
        grouped = re.fullmatch(rf"(?P<whole>[1-9]\d{{0,2}}(?:[{marks}]\d{{3}})+){rest}", token)
        indian = re.fullmatch(
            rf"(?P<whole>[1-9]\d?(?:{re.escape(grouping)}\d{{2}})+{re.escape(grouping)}\d{{3}}){rest}", token
        )
        bare = re.fullmatch(rf"(?P<whole>\d+){rest}", token)
        match = grouped or indian or bare
        if match is None:
            continue
        if sure and bare and not comma:
            continue  # `3,5` in English is a list of two
        whole = re.sub(r"\D", "", match["whole"])
        decimals = match["decimals"] or ""
        return Fraction(int(whole + decimals), 10 ** len(decimals)), len(decimals)
    return None


def _joined(plain: str, mentions: list[Mention]) -> Iterator[Mention]:
    """Mentions that make one: `12 300` (one space), `3/4`, `3 1/2`."""
    place = 0
    while place < len(mentions):
        first = mentions[place]
        width, made = 1, first
        if place + 1 < len(mentions) and not first.percent:
            made, width = _with_next(plain, mentions[place : place + 8])
        yield made
        place += width


def _with_next(plain: str, mentions: list[Mention]) -> tuple[Mention, int]:
    first, second = mentions[:2]
    between = plain[first.end : second.start]
    if between in ("/", "⁄") and second.value and second.text.isdigit() and first.text.isdigit():
        value = first.value / second.value
        made = Mention(
            plain[first.start : second.end], first.start, second.end, value, parts=(first.value, second.value)
        )
        return made, 2
    if (
        between == " "
        and first.text.isdigit()
        and len(mentions) > 2
        and plain[second.end : mentions[2].start] in ("/", "⁄")
    ):
        below = mentions[2]
        if below.text.isdigit() and second.text.isdigit() and 0 < second.value < below.value:
            value = first.value + second.value / below.value
            mixed = (first.value, second.value, below.value)
            return Mention(plain[first.start : below.end], first.start, below.end, value, parts=mixed), 3
    if not first.text.isdigit() or len(first.text) > 3 or first.text.startswith("0"):
        return first, 1
    width = 1
    while width < len(mentions) and len(mentions[width].text) == 3 and mentions[width].text.isdigit():
        if plain[mentions[width - 1].end : mentions[width].start] != " ":
            break
        width += 1
    if width == 1:
        return first, 1
    digits = "".join(mention.text for mention in mentions[:width])
    end = mentions[width - 1].end
    parts = tuple(mention.value for mention in mentions[:width])
    return Mention(plain[first.start : end], first.start, end, Fraction(int(digits)), parts=parts), width


@lru_cache(maxsize=1024)
def read_quantity(text: str, language: str = "en") -> Quantity | None:
    """The number that a whole text is (`−3.5`, `$1,000`, `3 1/2`, `50%`, `12 cm`), or None. At most 80 characters."""
    stripped = plain_digits(text.strip().rstrip(".。"))
    if not stripped or len(stripped) > 80:
        return None
    sign = _SIGN.match(stripped)
    if sign is None:
        return None
    rest = stripped[sign.end() :]
    if rest.startswith("."):
        rest = "0" + rest
    negative = sign[1] in ("-", "−", "–")
    if scientific := _SCIENTIFIC.fullmatch(rest):
        whole, decimals, power = scientific[1], scientific[2] or "", int(scientific[3])
        size = Fraction(int(whole + decimals)) * Fraction(10) ** (power - len(decimals))
        return Quantity(-size if negative else size, "")
    mentions = [mention for mention in find_numbers(rest, language) if not mention.word]
    if not mentions or mentions[0].start != 0 or len(mentions) > 1:
        return None
    mention = mentions[0]
    value = mention.value
    unit = " ".join(rest[mention.end :].split()).casefold()
    if unit and not _UNIT.fullmatch(unit):
        return None
    if not unit and (money := re.search(r"[$€£¥₹]", stripped[: sign.end()])):
        unit = money[0]
    return Quantity(-value if negative else value, _unit(unit), mention.percent, mention.places)


def _unit(unit: str) -> str:
    """`apples` and `apple` alike, `degrees` and `°`."""
    unit = unit.rstrip(".")
    singular = unit[:-1] if len(unit) > 3 and unit.endswith("s") and not unit.endswith("ss") else unit
    return _ALIASES.get(singular, singular)


def same_quantity(one: Quantity, other: Quantity, *, strict_percent: bool = False) -> bool:
    """Equal values; units equal, or missing on one side. `50%` also equals `50`, unless `strict_percent`."""
    if one.unit and other.unit and one.unit != other.unit:
        return False
    if one.value == other.value:
        return True
    if one.percent == other.percent or strict_percent:
        return False
    return one.value * 100 == other.value if one.percent else other.value * 100 == one.value
