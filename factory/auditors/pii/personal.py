"""What is personal only by the words around it: dates of birth, papers, street addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.auditors.pii.found import Finding
from factory.auditors.pii.plain import Plain
from factory.auditors.pii.reserved import EXAMPLE_ADDRESSES, dummy_digits

_MONTH = (
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|januar|jänner|februar|märz|mai|juni|juli|okt|dez|janvier|"
    r"f[ée]vrier|mars|avril|juin|juillet|ao[uû]t|septembre|octobre|novembre|d[ée]cembre|enero|febrero|marzo|abril|mayo|"
    r"junio|julio|agosto|septiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|"
    r"ottobre|dicembre|janeiro|fevereiro|março|maio|junho|julho|setembro|outubro|dezembro)[a-zé]{0,7}\.?"
)
_YEAR = r"(?:19[1-9]\d|20[0-3]\d)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
DATE = (
    rf"(?:{_DAY}(?:st|nd|rd|th|er|\.|º)?(?: of| de)? ?{_MONTH},?(?: de| del)? {_YEAR}"
    rf"|{_MONTH} {_DAY}(?:st|nd|rd|th)?,? {_YEAR}"
    rf"|{_DAY} ?[./-] ?{_DAY} ?[./-] ?{_YEAR}|{_YEAR} ?[./-] ?(?:0?[1-9]|1[0-2]) ?[./-] ?{_DAY}"
    rf"|{_YEAR} ?年 ?\d{{1,2}} ?月 ?\d{{1,2}} ?日)(?!\d)"
)
BIRTH = re.compile(
    r"(?:date of birth|birth ?date|\bdob(?![a-z])|\bd\.o\.b\.?|birthday (?:is|was)(?: on)?|"
    r"\b(?:i|she|he|we|you|who|patient|client|customer|applicant|employee|student|member)"
    r"(?: was|'s| were| am| is|,)? born(?: on)?|"
    r"geburtsdatum|geburtstag|geboren am|\bgeb\. ?(?:am)?|date de naissance|\bnée? le|fecha de nacimiento|"
    r"nacid[oa] el|data di nascita|\bnat[oa] il|data de nascimento|nascid[oa] em|geboortedatum|geboren op|"
    r"data urodzenia|födelsedatum|"
    r"дата рождения|出生日期|生年月日|생년월일)"
    r"[\"'`)]{0,2}\s{0,2}(?:is|was|ist|est|es)?\s{0,2}[:：=,-]{0,2}[\s\"'`(]{0,4}(" + DATE + ")",
    re.IGNORECASE,
)
BIRTH_WORDS = ("birth", "born", "dob", "d.o.b", "geb", "naissance", "né", "nacimiento", "nacid", "nat", "nasc",
               "urodzenia", "födelse", "рождения", "出生", "生年", "생년")  # fmt: skip


def find_births(plain: Plain) -> Iterator[Finding]:
    """Days of birth: a full date right after words that say so. "X was born on …" of a named person is public lore."""
    if any(word in plain.lower for word in BIRTH_WORDS):
        for match in BIRTH.finditer(plain.folded):
            yield Finding("date_of_birth", match.start(1), match.end(1))


_IS = r"(?:\s?(?:number|num|no\.?|nr\.?|n[°º]\.?|#|id|nummer|numéro|número|numero|号码?|番号))?[\"'`)]{0,2}" \
      r"\s{0,2}(?:is|was|ist|est|es|è)?\s{0,2}[:：=#-]{0,2}[\s\"'`(]{0,3}"  # fmt: skip
PASSPORT = re.compile(
    r"(?:\bpassports?|reisepass(?:nummer)?|passeport|pasaporte|passaporto|passaporte|paspoort(?:nummer)?|paszport|"
    r"护照|護照|パスポート|여권)" + _IS + r"([A-Za-z]{0,3}[ -]?\d[A-Za-z0-9]{5,9})(?![A-Za-z0-9]|[.,-]\d)",
    re.IGNORECASE,
)
LICENCE = re.compile(
    r"(?:driv(?:er|ing)(?:'?s)?[ -]?licen[cs]e|driver'?s? lic\.?|\bdl(?=\s?(?:#|no|number))|führerschein(?:nummer)?|"
    r"permis de conduire|licencia de conducir|carnet de conducir|patente di guida|patente|rijbewijs(?:nummer)?|"
    r"carteira de motorista|驾驶证|運転免許証?)" + _IS + r"([A-Za-z0-9][A-Za-z0-9 -]{4,20})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_LICENCE_VALUE = re.compile(
    r"(?:[A-Za-z]{0,5}[ -]?\d[A-Za-z0-9]{0,15}(?:[ -]\d[A-Za-z0-9]{0,9}){0,4})\Z|[A-Za-z]{5}\d{6}[A-Za-z0-9]{5}\Z"
)
SUIT_WORDS = ("pass", "pasap", "paszp", "护照", "護照", "パス", "여권")
DRIVE_WORDS = ("driv", "dl", "führer", "permis", "conducir", "patente", "rijbewijs", "carteira", "驾驶", "免許")


def find_papers(plain: Plain) -> Iterator[Finding]:
    """Numbers of passports and driving licences, right after the words for them."""
    lower = plain.lower
    if any(word in lower for word in SUIT_WORDS):
        for match in PASSPORT.finditer(plain.folded):
            if sum(map(str.isdigit, match[1])) >= 5:
                apart = "counted up or all the same" if dummy_digits(match[1]) else ""
                yield Finding("passport", match.start(1), match.end(1), "", apart)
    if any(word in lower for word in DRIVE_WORDS):
        for match in LICENCE.finditer(plain.folded):
            value = _licence(match[1])
            if value:
                apart = "counted up or all the same" if dummy_digits(value) else ""
                yield Finding("driver_license", match.start(1), match.start(1) + len(value), "", apart)


def _licence(taken: str) -> str:
    """The longest beginning, by words, that has the form of a licence's number and at least five digits."""
    words = taken.split(" ")
    for count in range(len(words), 0, -1):
        value = " ".join(words[:count])
        letters = "".join(filter(str.isalpha, value))
        if letters == letters.upper() and sum(map(str.isdigit, value)) >= 5 and _LICENCE_VALUE.match(value):
            return value
    return ""


_WAY = (
    r"(?:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|circle|cir|place|pl|terrace|way|parkway|"
    r"pkwy|highway|hwy|trail|square|sq|crescent|close|gardens|mews|row)"
)
_NAME = r"[A-Z][\w.'’-]{0,20}(?: [A-Z][\w.'’-]{0,20}){0,3}"
_TOWN = r"(?![A-Z]{2}\b)[A-Z][A-Za-z.'’-]{1,20}(?: (?![A-Z]{2}\b)[A-Z][A-Za-z.'’-]{1,20}){0,2}"
_FLAT = r"(?:,? (?:Apt|Apartment|Unit|Suite|Ste|Flat|Room|Floor|#)\.? ?#?[\w-]{1,6})?"
_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]"
    r"|P[AR]|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])"
)
_POSTCODE = r"(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})"
ENGLISH = re.compile(
    r"(?<![\w.,$€£/-])(\d{1,5}[A-Za-z]?(?:-\d{1,4})?,? (?:(?:[NSEW]|North|South|East|West|[NS][EW])\.? )?"
    r"(?:(?:[A-Z][\w'’-]{1,20}|\d{1,3}(?:st|nd|rd|th)) ){1,3}(?i:" + _WAY + r")\b\.?)"
    r"(" + _FLAT + r"(?:[,\n]{1,2} ?" + _TOWN + r"){0,2}"
    r"(?:,? ?(?:[A-Z]{2},? \d{5}(?:-\d{4})?|\b" + _POSTCODE + r")\b)?)"
)
CODED = re.compile(
    r"(?<![\w.,$€£/-])\d{1,5}[A-Za-z]?,? " + _NAME + _FLAT + r"(?:[,\n]{1,2} ?" + _TOWN + r"){1,2}"
    r"(?:,? " + _STATE + r",? \d{5}(?:-\d{4})?|[,\n]{1,2} ?" + _POSTCODE + r")(?!\w)"
)
AMERICAN_CODE = re.compile(r"[A-Z]{2},? \d{5}(?:-\d{4})?\Z|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\Z")
LIVES = re.compile(
    r"(?:address(?: is| was)?|\blives?(?: at| on| in)?|\blived at|\bliving at|\bresid(?:es?|ing|ent) (?:at|of)|"
    r"\b(?:ship|send|deliver|mail)(?:ed|s|ing)? (?:it |them |this |the \w{1,20} )?to|"
    r"\bhome (?:is )?at|\bmoved to|\bstay(?:s|ing)? at)[\s:\"'(]{0,4}\Z",
    re.IGNORECASE,
)
_BIG = r"[A-ZÄÖÜÉÈÎÁÍÓÚ]"
GERMAN = re.compile(
    rf"\b(?:{_BIG}[\wß.-]{{0,30}} ){{0,2}}(?:{_BIG}[\wß.-]{{0,30}}(?:(?<=straße)|(?<=strasse)|(?<=str\.)|(?<=weg)|"
    r"(?<=platz)|(?<=allee)|(?<=gasse)|(?<=ring)|(?<=damm)|(?<=ufer))|Straße|Strasse|Str\.|Weg|Platz|Allee|Gasse|Ring|Damm|Ufer)"
    rf" \d{{1,4}}(?:[/-]\d{{1,4}})? ?[a-z]?,? ?\n?(?:D-|A-|CH-)?\d{{4,5}} {_BIG}[\wß-]{{1,30}}"
)
FRENCH = re.compile(
    r"\b\d{1,4}(?: ?(?:bis|ter))?,? (?i:rue|avenue|av\.|boulevard|bd|place|chemin|allée|impasse|quai|route)"
    rf" (?:[\w'’-]{{1,20}} ){{0,5}}[\w'’-]{{1,20}},? ?\n?\d{{5}} {_BIG}[\w'’-]{{1,30}}"
)
SOUTHERN = re.compile(
    r"\b(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Via|Viale|Corso|Piazza|Rua|Praça|Travessa|Borgo|Strada|Ronda) "
    r"(?:[\w'’.-]{1,20} ){0,4}[\w'’.-]{1,20},? (?:n[.°º] ?)?\d{1,4}[A-Za-z]?(?:, ?[\w.º ]{1,12})?,? ?\n?"
    rf"(?:\d{{4,5}}(?:-\d{{3}})?,? {_BIG}[\w'’-]{{1,30}}|{_BIG}[\w'’-]{{1,30}}, \d{{5}})"
)
WITH_NUMBER = (b"d A", b"d, A", b"da A", b"dA A", b"da, A", b"dA, A", b"d d", b"d, d")
WITH_CODE = (b"dddd A", b"dddd ?", b"-ddd A", b"-ddd ?", b"dddd, A", b"dddd, ?", b", ddddd")
LIVES_WORDS = ("address", "live", "living", "resid", "ship", "send", "deliver", "mail", "home", "moved", "stay")
CODES = (b"AA ddddd", b"AA, ddddd", b"d dAA", b"dA dAA", b"ddAA", b"dAdAA")


def find_addresses(plain: Plain) -> Iterator[Finding]:
    """Street addresses with house number: English ones with a postal code, or after words such as "lives at"; those of
    Germany, France, Spain, Italy and Portugal with postal code and town."""
    text, shape = plain.folded, plain.shape
    if any(form in shape for form in WITH_NUMBER) and (
        any(code in shape for code in CODES) or any(word in plain.lower for word in LIVES_WORDS)
    ):
        for match in ENGLISH.finditer(text):
            coded = AMERICAN_CODE.search(match[2])
            if coded or LIVES.search(text[max(0, match.start() - 40) : match.start()]):
                yield _address(match)
        if any(code in shape for code in CODES):
            for match in CODED.finditer(text):
                yield _address(match)
    if any(form in shape for form in WITH_CODE):
        for pattern in (GERMAN, FRENCH, SOUTHERN):
            for match in pattern.finditer(text):
                yield _address(match)


def _address(match: re.Match[str]) -> Finding:
    apart = "a made-up or famous address" if EXAMPLE_ADDRESSES.match(match[0]) else ""
    return Finding("address", match.start(), match.start() + len(match[0].rstrip(" ,\n")), "", apart)
