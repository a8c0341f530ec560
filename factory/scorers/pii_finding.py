"""Personal data in a text: e-mail addresses, numbers that reach or bill a person, addresses of machines, secrets.

Each finder yields places. What a checksum or a published numbering plan can rule out is ruled out; what is reserved
for examples (RFC 2606 domains, RFC 5737 and 3849 addresses, 555-01xx telephone numbers) is nobody's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]

RESERVED_DOMAINS = (
    "example", "test", "invalid", "localhost", "local", "example.com", "example.org", "example.net", "example.edu",
)  # fmt: skip
FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "json", "py", "md"})
LOCAL_PART = re.compile(r"[\w.%+'-]{1,64}\Z")
DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}([^\W\d_]{2,24})(?![\w(-])")


def find_emails(text: str) -> Iterator[Span]:
    """E-mail addresses at domains that may exist; `git@host` and names of files are none."""
    at = text.find("@")
    while at >= 0:
        local = LOCAL_PART.search(text[max(0, at - 64) : at])
        domain = DOMAIN.match(text, at + 1)
        if (
            local
            and domain
            and local[0].strip(".'-")
            and local[0].lower() != "git"
            and domain[1].lower() not in FILE_ENDINGS
            and not at_domain(domain[0], RESERVED_DOMAINS)
        ):
            yield at - len(local[0]), domain.end()
        at = text.find("@", at + 1)


def at_domain(domain: str, known: tuple[str, ...]) -> bool:
    """Whether a domain is one of those known, or below one."""
    folded = domain.lower()
    return any(folded == name or folded.endswith("." + name) for name in known)


INTERNATIONAL = re.compile(
    r"(?<![\w+])(?<!\d )(?:\+ ?[1-9]|00[1-9]\d?[ ./-])(?:[ .\-/()]{0,3}\d){6,14}(?![\w])", re.ASCII
)
NORTH_AMERICAN = re.compile(
    r"(?<![\w.\-+/])(?:1[ .\-])?(?:\([2-9]\d\d\)[ .\-]?|[2-9]\d\d[.\-])[2-9]\d\d[ .\-]\d{4}(?!\w|[.\-/]\d|\s*=)",
    re.ASCII,
)
NATIONAL = re.compile(
    r"(?<![\w.,+\-/:])(?<!\d )\(?0[1-9]\d{0,4}\)?(?:[ \-/.]{1,3}\d{2,8}){1,5}(?!\w|[.\-/,]\d|\s*=)", re.ASCII
)
CUED = re.compile(
    r"(?:(?<!i)phone|\btel|mobile|\bcell|whatsapp|\bfax|\bhandy|telefon\w{0,8}|t[ée]l[ée]phone|"
    r"tel[ée]fon[oe]|cellulare|celular|portable|\b(?:call|text|reach|ring|contact|dial)(?: (?:me|us|him|her|them))?|"
    r"电话|手机|電話|携帯|тел(?:ефон)?|전화)"
    r"\.?(?: ?(?:number|no\.?|nr\.?|nummer|#|号码|番号|번호))?\s{0,2}(?:is|ist|est|es|at|on|under|[:：=–-])?\s{0,2}"
    r"(\+?\(?\d(?:[ .\-/()]{0,2}\d){6,13})(?![\w%]|[.,]\d)",
    re.IGNORECASE | re.ASCII,
)
FICTIONAL = re.compile(r"555\D{0,2}01\d\d\Z", re.ASCII)
DATE = re.compile(r"\(?\d{1,2}[ ./-]+\d{1,2}[ ./-]+(?:19|20)\d\d(?!\d)", re.ASCII)
POSTAL_CODE = re.compile(r"\d{5}-\d{4}\Z", re.ASCII)
SUM_BEFORE = re.compile(r"[\d=)*/×÷]\s{0,2}\Z")


def find_phones(text: str) -> Iterator[Span]:
    """Telephone numbers: with `+` or `00`, as North America writes them, with a leading 0, after words like `call`.

    Bare runs of digits without such words are none, nor are dates, postal codes, and 555-01xx numbers.
    """
    for match in INTERNATIONAL.finditer(text):
        digits = sum(map(str.isdigit, match[0]))
        sum_before = match[0][0] == "+" and SUM_BEFORE.search(text[max(0, match.start() - 3) : match.start()])
        if 8 <= digits <= 15 and not sum_before and not FICTIONAL.search(match[0]):
            yield match.span()
    for match in NORTH_AMERICAN.finditer(text):
        if not FICTIONAL.search(match[0]):
            yield match.span()
    for match in NATIONAL.finditer(text):
        if _is_national(match[0]):
            yield match.span()
    for match in CUED.finditer(text):
        if not FICTIONAL.search(match[1]) and not DATE.match(match[1]):
            yield match.span(1)


def _is_national(found: str) -> bool:
    """Whether digits with a leading 0 are grouped like a telephone number."""
    groups = re.findall(r"\d+", found)
    lengths = [len(group) for group in groups]
    if not 9 <= sum(lengths) <= 12 or DATE.match(found) or POSTAL_CODE.match(found) or lengths == [4, 4, 4]:
        return False
    pairs = set(lengths) == {2}
    if "." in found and not pairs:
        return False
    counting = all(int(second) - int(first) == 1 for first, second in pairwise(groups))
    return not pairs or (len(groups) == 5 and not counting)


IBAN_LENGTHS: Mapping[str, int] = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20,
    "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
IBAN_START = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})\d{2}(?=[ -]?[A-Z0-9])")
IBAN_ROOM = 50


def find_ibans(text: str) -> Iterator[Span]:
    """International bank account numbers (ISO 13616): the country's length, and the checksum holds."""
    for match in IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(match[1])
        if length is None:
            continue
        start, taken, end = match.start(), "", match.start()
        for place in range(start, min(len(text), start + IBAN_ROOM)):
            sign = text[place]
            if sign.isascii() and sign.isalnum():
                taken += sign
            elif sign not in " -":
                break
            if len(taken) == length:
                end = place + 1
                break
        if len(taken) == length and not text[end : end + 1].isalnum() and iban_holds(taken):
            yield start, end


def iban_holds(iban: str) -> bool:
    """ISO 7064 MOD 97-10: letters are 10 to 35, the first four signs go to the end, the rest of 97 is 1."""
    moved = (iban[4:] + iban[:4]).upper()
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


CARD = re.compile(
    r"(?<![\w.\-])(?:(?:\d{4}[ -]){3}\d{4}(?:[ -]?\d{3})?|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{13,19})(?!\w|[.-]\d|\s*=)",
    re.ASCII,
)
BRANDS = (
    (re.compile("4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720"), (16,)),
    (re.compile("3[47]"), (15,)),
    (re.compile(r"6011|65|64[4-9]"), (16, 19)),
    (re.compile(r"35(?:2[89]|[3-8]\d)"), (16,)),
    (re.compile(r"30[0-5]|36|38|39"), (14, 16)),
    (re.compile("62"), (16, 17, 18, 19)),
)


def find_cards(text: str) -> Iterator[Span]:
    """Payment cards: an issuer's prefix and length, and the Luhn checksum (ISO/IEC 7812) holds."""
    for match in CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        known = any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in BRANDS)
        if known and luhn_holds(digits):
            yield match.span()


def luhn_holds(digits: str) -> bool:
    """Every second digit from the right is doubled, its own digits are added: the sum divides by ten."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(int(digit) for digit in digits[::-2]) + doubled) % 10 == 0


SSN = re.compile(r"(?<![\w.\-+])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?!\w|-\d|\s*=)", re.ASCII)
SSN_CUED = re.compile(
    r"(?:\bssn|social security(?: number| no\.?)?)(?: is)?[:#\s]{0,3}"
    r"((?!000|666|9)\d{3}[ -]?(?!00)\d{2}[ -]?(?!0000)\d{4})"
    r"(?!\w|-\d)",
    re.IGNORECASE | re.ASCII,
)


def find_ssns(text: str) -> Iterator[Span]:
    """US social security numbers with hyphens; with blanks or bare only after words that say what they are."""
    yield from (match.span() for match in SSN.finditer(text))
    yield from (match.span(1) for match in SSN_CUED.finditer(text))


IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", re.ASCII)
IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])", re.ASCII)
VERSION_BEFORE = re.compile(
    r"(?:\bv|version|release|build|section|chapter|§|firmware|driver)[\s.:]{0,3}\Z", re.IGNORECASE
)
ADDRESS_BEFORE = re.compile(r"\b(?:ip|ipv4|address|adresse|host|server|dns|gateway)\b[^.\n]{0,20}\Z", re.IGNORECASE)


def find_ips(text: str) -> Iterator[Span]:
    """IP addresses that the public Internet routes; four numbers below ten are a version or a section unless said."""
    for match in IPV4.finditer(text):
        before = text[max(0, match.start() - 32) : match.start()]
        small = all(len(part) == 1 for part in match[0].split("."))
        if VERSION_BEFORE.search(before) or (small and not ADDRESS_BEFORE.search(before)):
            continue
        if _is_public(match[0]):
            yield match.span()
    if "::" in text or text.count(":") >= 7:
        for match in IPV6.finditer(text):
            if match[0][:1] in ("2", "3") and _is_public(match[0]):  # 2000::/3 is all that is handed out
                yield match.span()


def _is_public(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return found.is_global and not found.is_multicast


SECRETS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    sign: {mark: re.compile(pattern) for mark, pattern in patterns.items()}
    for sign, patterns in {
        "_": {
            **{f"gh{kind}_": rf"(?<![A-Za-z0-9])gh{kind}_[A-Za-z0-9]{{36,255}}" for kind in "pousr"},
            "github_pat_": r"github_pat_[A-Za-z0-9_]{40,255}",
            "k_live_": r"(?<![A-Za-z0-9])[rs]k_live_[A-Za-z0-9]{16,255}",
            "hf_": r"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,64}",
            "npm_": r"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}",
        },
        "-": {
            "sk-": r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,255}",
            "xox": r"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9-]{10,255}",
            "glpat-": r"glpat-[A-Za-z0-9_-]{20,64}",
            "PRIVATE KEY-----": r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
        },
        "": {
            "AKIA": r"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])",
            "ASIA": r"(?<![A-Za-z0-9])ASIA[0-9A-Z]{16}(?![A-Za-z0-9])",
            "AIza": r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}",
            "SG.": r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}",
            "eyJ": r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,1024}",
        },
    }.items()
}
"""By a sign that a text must hold for any of them, then by what each of them must hold."""
PLACEHOLDER = re.compile("example|your|xxxx|placeholder|0{6}|1234567890", re.IGNORECASE)
MIN_DIFFERENT = 9
"""Fewer different signs are no key, but `sk-xxxxxxxx`."""


def find_secrets(text: str) -> Iterator[Span]:
    """Keys and tokens in the published formats of common services, JSON Web Tokens, private keys; no placeholders."""
    for sign, patterns in SECRETS.items():
        if sign not in text:
            continue
        for mark, pattern in patterns.items():
            if mark in text:
                for match in pattern.finditer(text):
                    different = len(set(match[0]))
                    if mark.endswith("-----") or (different >= MIN_DIFFERENT and not PLACEHOLDER.search(match[0])):
                        yield match.span()


DIGITS = "0123456789"
FOREIGN = re.compile(
    "[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\uff10-\uff19\uff20\uff0b\u00a0\u2007\u202f\u2010-\u2013]"
)
PLAIN = str.maketrans(
    {
        **{chr(first + digit): DIGITS[digit] for first in (0x660, 0x6F0, 0x966, 0xFF10) for digit in range(10)},
        **dict.fromkeys("\u00a0\u2007\u202f", " "),
        **dict.fromkeys("\u2010\u2011\u2012\u2013", "-"),
        "\uff20": "@",
        "\uff0b": "+",
    }
)
_TOKEN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
SHAPE = bytes(
    ord("d" if char in DIGITS else char if char in ".:@" else "w" if char in _TOKEN else " " if char in " /()" else "x")
    for char in map(chr, range(256))
)
ONE_KIND = bytes(ord("d" if char in "dw" else char) for char in map(chr, range(256)))
LONG_NUMBER, LONG_TOKEN = b"d" * 7, b"d" * 16


def may_hold_any(text: str) -> bool:
    """Whether anything may be found; where it cannot, nor can it in any part of the text."""
    return any(_likely(_plain(text)).values())


def _plain(text: str) -> str:
    """Foreign digits, blanks and hyphens as ASCII has them: sign for sign, so places stay."""
    return text.translate(PLAIN) if not text.isascii() and FOREIGN.search(text) else text


def _likely(text: str) -> dict[str, bool]:
    """What a text may hold by its shape: long numbers, long tokens, numbers with dots around them, colons."""
    encoded = text.encode("ascii", "replace")
    shape = encoded.translate(SHAPE)
    return {
        "number": LONG_NUMBER in encoded.translate(SHAPE, b" .-/()"),
        "secret": b"-----" in encoded or LONG_TOKEN in shape.translate(ONE_KIND),
        "email": b"@" in encoded,
        "ip": b".d." in shape
        or b".dd." in shape
        or b".ddd." in shape
        or (shape.count(b":") > 1 and (b"::" in shape or b":" * 7 in shape.translate(None, b"dw"))),
    }


def find_all(text: str, kinds: frozenset[str]) -> list[tuple[str, int, int]]:
    """(kind, start, end) of everything found of these kinds, in order; of two that overlap the first of `FINDERS`.

    What a text cannot hold is not looked for: first its shape is looked at (long numbers, long tokens, dots, colons).
    """
    text = _plain(text)
    likely = _likely(text)
    if not any(likely.values()):
        return []
    found: list[tuple[str, int, int]] = []
    taken = bytearray()
    for kind, finder in FINDERS.items():
        if not likely.get(kind, likely["number"]):
            continue
        for start, end in finder(text):
            taken = taken or bytearray(len(text))
            if 1 not in taken[start:end]:
                taken[start:end] = b"\1" * (end - start)
                if kind in kinds:
                    found.append((kind, start, end))
    return sorted(found, key=lambda one: one[1])


FINDERS: Mapping[str, Finder] = {
    "secret": find_secrets,
    "email": find_emails,
    "iban": find_ibans,
    "credit_card": find_cards,
    "ssn": find_ssns,
    "ip": find_ips,
    "phone": find_phones,
}
