"""Telephone numbers: candidates by how numbers are written, proven by the numbering plans of `phonenumbers`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from factory.auditors.pii.found import Finder, Finding
from factory.auditors.pii.plain import Plain
from factory.auditors.pii.reserved import fictional_number
from factory.errors import UsageError, nearest
from factory.scorers.pii_finding import DATE, NATIONAL, POSTAL_CODE, SUM_BEFORE

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

BY_LANGUAGE = {
    "en": ("US", "GB"), "de": ("DE", "AT", "CH"), "fr": ("FR", "BE", "CH", "CA"), "es": ("ES", "MX", "AR", "CO"),
    "it": ("IT", "CH"), "pt": ("BR", "PT"), "nl": ("NL", "BE"), "pl": ("PL",), "ru": ("RU",), "uk": ("UA",),
    "zh": ("CN", "TW", "HK"), "ja": ("JP",), "ko": ("KR",), "tr": ("TR",), "sv": ("SE",), "no": ("NO",), "nb": ("NO",),
    "da": ("DK",), "fi": ("FI",), "cs": ("CZ",), "sk": ("SK",), "hu": ("HU",), "ro": ("RO",), "el": ("GR",),
    "he": ("IL",), "ar": ("EG", "SA", "AE"), "hi": ("IN",), "bn": ("BD", "IN"), "th": ("TH",), "vi": ("VN",),
    "id": ("ID",), "ms": ("MY",), "bg": ("BG",), "hr": ("HR",), "sr": ("RS",), "sl": ("SI",), "lt": ("LT",),
    "lv": ("LV",), "et": ("EE",), "fa": ("IR",), "ur": ("PK",), "ca": ("ES",),
}  # fmt: skip
"""Regions whose national numbers are looked for, by language; all other languages: `DEFAULT`."""
DEFAULT = ("US",)
ANYWHERE = ("US", "GB", "DE", "FR", "ES", "IT", "IN", "CN", "BR", "JP", "AU", "NL", "PL", "MX", "KR", "RU", "TR", "SE")
"""Regions tried in turn for a number that the words before call a telephone number."""
LANGUAGES = {"english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "chinese": "zh",
             "japanese": "ja", "portuguese": "pt", "dutch": "nl",
             "polish": "pl", "russian": "ru", "korean": "ko"}  # fmt: skip


def choose_regions(language: str | None, region: str | None) -> tuple[str, ...]:
    """The regions (ISO 3166) whose national numbers are looked for. Raises UsageError for one that is not known."""
    if region is not None:
        import phonenumbers

        asked = tuple(one.strip().upper() for one in region.split(","))
        for one in asked:
            if one not in phonenumbers.SUPPORTED_REGIONS:
                hint = nearest(one, phonenumbers.SUPPORTED_REGIONS)
                raise UsageError(
                    f"`pii_region` of privacy.pii: `{one}` is no region", f"two letters, as US or DE; {hint}"
                )
        return asked
    said = (language or "").lower().replace("_", "-")
    return BY_LANGUAGE.get(LANGUAGES.get(said, said.partition("-")[0]), DEFAULT)


INTERNATIONAL = re.compile(
    r"(?<![\w+])(?<!\d )(?:\+ ?[1-9]|00[1-9]\d?[ ./-])(?:[ .\-/()]{0,3}\d){6,16}"
    r"(?:,? ?(?:x|ext\.?|extension) ?\d{1,6})?(?!\w)",
    re.ASCII,
)
NORTH_AMERICAN = re.compile(
    r"(?<![\w.\-+/])(?:1[ .\-])?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[.\-])[2-9]\d\d[ .\-]\d{4}"
    r"(?:,? ?(?:x|ext\.?|extension|#) ?\d{1,6})?(?!\w|[.\-/]\d|\s*=)",
    re.ASCII | re.IGNORECASE,
)
CUED = re.compile(
    r"(?:(?<!i)phone|\bt[ée]l|mobile|\bmobil|\bcell|whatsapp|\bfax|\bhandy|telefon\w{0,8}|t[ée]l[ée]phone|"
    r"tel[ée]fon[oe]|cellulare|celular|portable|\bm[óo]vil|\b(?:call|text|reach|ring|contact|dial)"
    r"(?: (?:me|us|him|her|them))?|"
    r"电话|手机|電話|携帯|тел(?:ефон)?|전화)"
    r"\.?(?: ?(?:number|no\.?|nr\.?|nummer|#|号码|番号|번호))?\s{0,2}(?:is|ist|est|es|at|on|under|[:：=–-])?\s{0,2}"
    r"(\+?\(?\d(?:[ .\-/()]{0,2}\d){6,13})(?![\w%]|[.,]\d)",
    re.IGNORECASE | re.ASCII,
)
GROUPED = re.compile(
    r"(?<![\w.,+\-/:$€£¥₹#%])(?<!\d )\(?\d{1,5}\)?(?:(?:\) ?|[ .\-]{1,2})\d{2,5}){1,4}"
    r"(?!\w|[.\-/,:]\d| \d|\s?[=%€£$¥+*/×])",
    re.ASCII,
)
CHINESE = re.compile(r"(?<![\w.,+$¥-])1[3-9]\d{9}(?![\w%]|[.,-]\d)", re.ASCII)
ANY_DATE = re.compile(r"\(?\d{1,2}([./-])\d{1,2}\1[1-3]\d{3}(?!\d)", re.ASCII)
OTHER_BEFORE = re.compile(
    r"(?:order|invoice|isbn(?:-1[03])?|issn|sku|tracking|part|serial|ref(?:erence)?|case|ticket|model|item|"
    r"catalog(?:ue)?|lot|batch|version|\bid|account|acct|routing|policy|claim|patent|doi|zip|score|ratio|range|[$€£¥₹#×*=^])"
    r"(?: ?(?:number|num|no\.?|nr\.?|id|code|of))?[\s:#(=.]{0,3}\Z",
    re.IGNORECASE,
)


def phone_finder(regions: Sequence[str]) -> Finder:
    """The finder of telephone numbers for these regions' national forms (international ones: everywhere)."""
    chosen = tuple(regions)

    def find_phones(plain: Plain) -> Iterator[Finding]:
        text = plain.folded
        yield from _international(text)
        if "US" in chosen or "CA" in chosen:
            yield from _north_american(text)
        others = tuple(one for one in chosen if one not in ("US", "CA"))
        if others:
            yield from _national(text, others)
        for match in CUED.finditer(text):
            if not DATE.match(match[1]):
                number = _valid(match[1], tuple(dict.fromkeys((*chosen, *ANYWHERE))))
                if number:
                    yield _finding(match.start(1), match.end(1), number)

    return find_phones


def _finding(start: int, end: int, number: str) -> Finding:
    return Finding("phone", start, end, "", "a number for examples and films" if fictional_number(number) else "")


def _international(text: str) -> Iterator[Finding]:
    for match in INTERNATIONAL.finditer(text):
        before = text[max(0, match.start() - 24) : match.start()]
        if match[0][0] == "+" and SUM_BEFORE.search(before[-3:]):
            continue
        written = match[0]
        while sum(map(str.isdigit, written)) >= 8:
            number = _valid("+" + written[2:] if written.startswith("00") else written, ())
            if number:
                yield _finding(match.start(), match.start() + len(written), number)
                break
            shorter = written.rstrip("0123456789").rstrip(" .-/()")  # the last group may be another number
            if len(shorter) >= len(written):
                break
            written = shorter


def _north_american(text: str) -> Iterator[Finding]:
    for match in NORTH_AMERICAN.finditer(text):
        if not OTHER_BEFORE.search(text[max(0, match.start() - 24) : match.start()]):
            number = _valid(match[0], ("US",))
            if number:
                yield _finding(match.start(), match.end(), number)


def _national(text: str, regions: tuple[str, ...]) -> Iterator[Finding]:
    for match in NATIONAL.finditer(text):
        if _plausible(match[0]) and not OTHER_BEFORE.search(text[max(0, match.start() - 24) : match.start()]):
            number = _valid(match[0], regions)
            if number:
                yield _finding(match.start(), match.end(), number)
    for match in GROUPED.finditer(text):
        if sum(map(str.isdigit, match[0])) >= 8 and not ANY_DATE.match(match[0]) and not DATE.match(match[0]):
            number = _written_so(match[0], regions)
            if number and not OTHER_BEFORE.search(text[max(0, match.start() - 24) : match.start()]):
                yield _finding(match.start(), match.end(), number)
    if "CN" in regions:
        for match in CHINESE.finditer(text):
            if not OTHER_BEFORE.search(text[max(0, match.start() - 24) : match.start()]):
                number = _valid(match[0], ("CN",))
                if number:
                    yield _finding(match.start(), match.end(), number)


def _plausible(written: str) -> bool:
    """Whether digits with a leading 0 are grouped like a telephone number, and not like dates or a count."""
    groups = re.findall(r"\d+", written)
    lengths = [len(group) for group in groups]
    if (
        len("".join(groups)) < 7
        or DATE.match(written)
        or ANY_DATE.match(written)
        or POSTAL_CODE.match(written)
        or lengths == [4, 4, 4]
    ):
        return False
    pairs = set(lengths) == {2}
    counting = all(int(second) - int(first) == 1 for first, second in pairwise(groups))
    return ("." not in written or pairs) and (not pairs or (len(groups) == 5 and not counting))


@functools.lru_cache(maxsize=50_000)
def _valid(written: str, regions: tuple[str, ...]) -> str:
    """`+` and digits of a number that one of the regions has (none: that stands with its country code); else ""."""
    import phonenumbers
    from phonenumbers import NumberParseException, PhoneNumberFormat

    anywhere: tuple[str | None, ...] = (None,)
    for region in regions or anywhere:
        try:
            number = phonenumbers.parse(written, region)
        except NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) or _kept_apart(number):
            return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    return ""


def _kept_apart(number: PhoneNumber) -> bool:
    """Whether it is fictional: the plans call some of these valid, and some not."""
    import phonenumbers

    return fictional_number(str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)))


@functools.lru_cache(maxsize=50_000)
def _written_so(written: str, regions: tuple[str, ...]) -> str:
    """As `_valid`, where the digits are grouped the way the region groups them."""
    import phonenumbers
    from phonenumbers import NumberParseException, PhoneNumberFormat

    groups = re.findall(r"\d+", written)
    if len(groups) < 2 or (len(groups) == 2 and "." in written):
        return ""
    for region in regions:
        try:
            number = phonenumbers.parse(written, region)
        except NumberParseException:
            continue
        if not phonenumbers.is_valid_number(number):
            continue
        usual = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if re.findall(r"\d+", usual) == groups:
            return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    return ""
