"""National identifiers of persons: by their form and checksum (`python-stdnum`), and where that is not rare, by the
words around."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

from factory.auditors.pii.found import Finding
from factory.auditors.pii.plain import Plain
from factory.auditors.pii.reserved import MISUSED_SSNS, dummy_digits


@dataclass(frozen=True, slots=True)
class Identifier:
    """`form`: how it is written where it needs no words around it; `loose`: how after one of `words` (small letters).

    `marks`: what the text's shape holds wherever `form` matches (see `Plain.shape`).
    `module`: of stdnum, whose `is_valid` decides; "" where the form says all there is to say.
    """

    what: str
    module: str
    form: str = ""
    loose: str = ""
    words: tuple[str, ...] = ()
    marks: tuple[bytes, ...] = ()


_9, _11 = (rf"\d(?:[ .-]?\d){{{count - 1}}}" for count in (9, 11))
IDENTIFIERS = (
    Identifier(
        "US social security number", "us.ssn", r"\d{3}-\d{2}-\d{4}", r"\d{3}[ -]?\d{2}[ -]?\d{4}",
        words=("ssn", "social security"), marks=(b"ddd-dd-dddd",),
    ),
    Identifier(
        "US taxpayer number", "us.itin", loose=r"9\d\d[ -]?\d\d[ -]?\d{4}",
        words=("itin", "taxpayer identification", "taxpayer id"),
    ),
    Identifier("NHS number", "gb.nhs", loose=r"\d{3}[ -]?\d{3}[ -]?\d{4}", words=("nhs",)),
    Identifier(
        "UK national insurance number", "",
        r"(?![DFIQUV])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-Z](?![DFIOQUV])[A-Z] \d{2} \d{2} \d{2} [A-D]",
        r"(?![DFIQUV])(?!BG|GB|NK|KN|TN|NT|ZZ)[A-Z](?![DFIOQUV])[A-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
        words=("national insurance", "nino", "ni number", "ni no"), marks=(b"AA dd dd dd A",),
    ),
    Identifier("UK taxpayer reference", "gb.utr", loose=r"\d{5} ?\d{5}K?", words=("utr", "unique taxpayer")),
    Identifier(
        "Canadian social insurance number", "ca.sin", loose=r"\d{3}[ -]?\d{3}[ -]?\d{3}",
        words=("sin", "social insurance", "assurance sociale"),
    ),
    Identifier("Australian tax file number", "au.tfn", loose=r"\d{3} ?\d{3} ?\d{2,3}", words=("tfn", "tax file")),
    Identifier("New Zealand IRD number", "nz.ird", loose=r"\d{2,3}-?\d{3}-?\d{3}", words=("ird",)),
    Identifier(
        "Irish PPS number", "ie.pps", loose=r"\d{7}[A-W][A-IW]?", words=("pps", "ppsn", "personal public service"),
    ),
    Identifier(
        "Indian Aadhaar", "in_.aadhaar", loose=r"\d{4}[ -]?\d{4}[ -]?\d{4}",
        words=("aadhaar", "aadhar", "adhar", "uidai", "आधार"),
    ),
    Identifier(
        "Indian PAN", "in_.pan", loose=r"[A-Z]{3}[ABCFGHLJPTK][A-Z]\d{4}[A-Z]",
        words=("pan", "permanent account", "पैन"),
    ),
    Identifier(
        "German tax number", "de.idnr", loose=r"\d{2}[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}",
        words=(
            "steuer-id", "steuerid", "steuer-identifikationsnummer", "steueridentifikationsnummer",
            "identifikationsnummer", "idnr", "german tax", "tax id",
        ),
    ),
    Identifier(
        "Austrian insurance number", "at.vnr", loose=r"\d{4}[ -]?\d{6}",
        words=("svnr", "sozialversicherungsnummer", "versicherungsnummer", "sv-nummer", "austrian insurance"),
    ),
    Identifier(
        "Swiss insurance number", "ch.ssn", r"756\.\d{4}\.\d{4}\.\d{2}", r"756[ .]?\d{4}[ .]?\d{4}[ .]?\d{2}",
        words=("ahv", "ahv-nummer", "avs", "navs", "ahv-nr"), marks=(b"ddd.dddd.dddd.dd",),
    ),
    Identifier(
        "Dutch citizen number", "nl.bsn", loose=_9,
        words=("bsn", "burgerservicenummer", "sofinummer", "sofi-nummer", "citizen service"),
    ),
    Identifier(
        "Belgian national number", "be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", _11,
        words=(
            "rijksregister", "rijksregisternummer", "registre national", "national register", "insz", "niss",
            "belgian national",
        ),
        marks=(b"dd.dd.dd-ddd.dd",),
    ),
    Identifier(
        "French insurance number", "fr.nir", r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}",
        marks=(b"ddd ddd dd", b"ddddddd", b"dddddd dd"),
    ),
    Identifier(
        "Spanish DNI", "es.dni", loose=r"\d{2}\.?\d{3}\.?\d{3} ?-? ?[A-HJ-NP-TV-Z]",
        words=("dni", "nif", "documento nacional", "spanish id"),
    ),
    Identifier("Spanish NIE", "es.nie", loose=r"[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]", words=("nie", "nif", "extranjero")),
    Identifier(
        "Portuguese taxpayer number", "pt.nif", loose=r"[1-3]\d{2} ?\d{3} ?\d{3}",
        words=("nif", "contribuinte", "número fiscal"),
    ),
    Identifier(
        "Italian fiscal code", "it.codicefiscale", r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]",
        marks=(b"AAAAAAddAddAdddA",),
    ),
    Identifier("Polish PESEL", "pl.pesel", loose=r"\d{11}", words=("pesel",)),
    Identifier(
        "Swedish personal number", "se.personnummer", r"(?:19|20)\d{6}[-+]\d{4}", r"(?:19|20)?\d{6}[-+]?\d{4}",
        words=("personnummer", "personnr", "personal identity number", "personal number", "swedish id"),
        marks=(b"dddddddd-dddd", b"dddddddd+dddd"),
    ),
    Identifier(
        "Norwegian birth number", "no.fodselsnummer", loose=r"\d{6} ?\d{5}",
        words=("fødselsnummer", "fodselsnummer", "personnummer", "birth number", "fnr"),
    ),
    Identifier("Danish CPR number", "dk.cpr", loose=r"\d{6}-?\d{4}", words=("cpr", "cpr-nummer", "personnummer")),
    Identifier(
        "Finnish identity code", "fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]",
        marks=(b"dddddd-ddd", b"dddddd+ddd", b"ddddddAddd"),
    ),
    Identifier("Icelandic kennitala", "is_.kennitala", loose=r"\d{6}-?\d{4}", words=("kennitala", "kennitalan")),
    Identifier(
        "Czech birth number", "cz.rc", loose=r"\d{6}/?\d{3,4}",
        words=("rodné číslo", "rodne cislo", "rodného čísla", "rodné č", "birth number", "rč"),
    ),
    Identifier(
        "Slovak birth number", "sk.rc", loose=r"\d{6}/?\d{3,4}",
        words=("rodné číslo", "rodne cislo", "rodného čísla", "rodné č", "birth number"),
    ),
    Identifier("Romanian CNP", "ro.cnp", loose=r"[1-9]\d{12}", words=("cnp", "cod numeric personal")),
    Identifier("Bulgarian EGN", "bg.egn", loose=r"\d{10}", words=("егн", "egn", "единен граждански")),
    Identifier("Croatian OIB", "hr.oib", loose=r"\d{11}", words=("oib",)),
    Identifier("Slovenian EMŠO", "si.emso", loose=r"\d{13}", words=("emšo", "emso", "jmbg", "јмбг")),
    Identifier("Greek AMKA", "gr.amka", loose=r"\d{11}", words=("amka", "αμκα")),
    Identifier("Estonian personal code", "ee.ik", loose=r"[1-8]\d{10}", words=("isikukood", "personal code")),
    Identifier("Lithuanian personal code", "lt.asmens", loose=r"[1-8]\d{10}", words=("asmens kodas", "personal code")),
    Identifier("Latvian personal code", "lv.pvn", loose=r"\d{6}-\d{5}", words=("personas kods", "personal code")),
    Identifier(
        "Turkish identity number", "tr.tckimlik", loose=r"[1-9]\d{10}",
        words=("t.c. kimlik", "tc kimlik", "kimlik no", "kimlik numarası", "kimlik", "tckn", "turkish id"),
    ),
    Identifier("Russian taxpayer number", "ru.inn", loose=r"\d{12}", words=("инн", "inn")),
    Identifier("Ukrainian taxpayer number", "ua.rntrc", loose=r"\d{10}", words=("рнокпп", "іпн", "rntrc", "ипн")),
    Identifier(
        "Israeli identity number", "il.idnr", loose=r"\d{8}-?\d",
        words=("teudat zehut", "ת.ז", 'ת"ז', "israeli id", "מספר זהות"),
    ),
    Identifier(
        "South African identity number", "za.idnr", loose=r"\d{6} ?\d{4} ?\d{3}",
        words=("rsa id", "south african id", "sa id", "id number", "identity number", "id no"),
    ),
    Identifier(
        "Egyptian national number", "", loose=r"[23]\d{13}",
        words=("egyptian id", "egyptian national", "الرقم القومي"),
    ),
    Identifier(
        "Chinese identity number", "cn.ric", r"[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])\d{5}[0-9Xx]",
        marks=(b"d" * 17,),
    ),
    Identifier(
        "Korean registration number", "kr.rrn", r"\d{6}-[1-8]\d{6}", r"\d{6}-?[1-8]\d{6}",
        words=("주민등록번호", "rrn", "resident registration"), marks=(b"dddddd-ddddddd",),
    ),
    Identifier(
        "Japanese My Number", "jp.in_", loose=r"\d{4}[ -]?\d{4}[ -]?\d{4}",
        words=("マイナンバー", "個人番号", "my number", "mynumber"),
    ),
    Identifier(
        "Malaysian NRIC", "my.nric", r"\d{6}-\d{2}-\d{4}", r"\d{6}-?\d{2}-?\d{4}",
        words=("nric", "mykad", "kad pengenalan"), marks=(b"dddddd-dd-dddd",),
    ),
    Identifier("Singaporean NRIC", "sg.nric", loose=r"[STFGM]\d{7}[A-Z]", words=("nric", "fin")),
    Identifier(
        "Thai identity number", "th.pin", r"\d-\d{4}-\d{5}-\d{2}-\d", r"\d{13}",
        words=("เลขประจำตัวประชาชน", "บัตรประชาชน", "thai id"), marks=(b"d-dddd-ddddd-dd-d",),
    ),
    Identifier("Indonesian NIK", "id.nik", loose=r"\d{16}", words=("nik", "ktp")),
    Identifier(
        "Pakistani CNIC", "pk.cnic", r"\d{5}-\d{7}-\d", r"\d{13}", words=("cnic", "nadra"),
        marks=(b"ddddd-ddddddd-d",),
    ),
    Identifier(
        "Brazilian CPF", "br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", r"\d{3}\.?\d{3}\.?\d{3}-?\d{2}", words=("cpf",),
        marks=(b"ddd.ddd.ddd-dd",),
    ),
    Identifier(
        "Argentine CUIT", "ar.cuit", r"2[0347]-\d{8}-\d", r"2[0347]-?\d{8}-?\d", words=("cuit", "cuil"),
        marks=(b"dd-dddddddd-d",),
    ),
    Identifier(
        "Chilean RUT", "cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]", r"\d{1,2}\.?\d{3}\.?\d{3}-?[\dkK]",
        words=("rut", "run"), marks=(b"d.ddd.ddd-",),
    ),
    Identifier("Mexican CURP", "mx.curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d", marks=(b"AAAAddddddA",)),
    Identifier("Mexican RFC", "mx.rfc", loose=r"[A-ZÑ&]{4} ?\d{6} ?[A-Z\d]{3}", words=("rfc",)),
    Identifier("Ecuadorian identity number", "ec.ci", loose=r"\d{10}", words=("cédula", "cedula")),
    Identifier("Dominican cédula", "do.cedula", loose=r"\d{3}-?\d{7}-?\d", words=("cédula", "cedula")),
)  # fmt: skip

_LEFT, _RIGHT = r"(?<![A-Za-z0-9_.+$€£/-])(?<!\d )", r"(?![A-Za-z0-9_]|[.,/-]\d|-[A-Za-z])"


@functools.cache
def _forms() -> list[tuple[Identifier, re.Pattern[str]]]:
    return [(one, re.compile(_LEFT + f"(?:{one.form})" + _RIGHT)) for one in IDENTIFIERS if one.form]


@functools.cache
def _words() -> list[tuple[str, tuple[tuple[Identifier, re.Pattern[str]], ...]]]:
    """Each word with the identifiers that it announces and their loose forms."""
    loose = {one: re.compile(r"(?<![A-Za-z0-9_.])" + f"(?:{one.loose})" + _RIGHT) for one in IDENTIFIERS if one.loose}
    words = dict.fromkeys(word for one in IDENTIFIERS for word in one.words)
    return [(word, tuple((one, form) for one, form in loose.items() if word in one.words)) for word in words]


@functools.cache
def _validator(module: str) -> Callable[[str], bool]:
    if module == "sg.nric":
        return _singaporean
    if module == "cn.ric":
        return _chinese
    validate: Callable[[str], bool] = importlib.import_module(f"stdnum.{module}").is_valid
    return validate


_SINGAPORE = {"S": (0, "JZIHGFEDCBA"), "T": (4, "JZIHGFEDCBA"), "F": (0, "XWUTRQPNMLK"), "G": (4, "XWUTRQPNMLK"),
              "M": (3, "KLJNPQRTUWX")}  # fmt: skip


def _singaporean(value: str) -> bool:
    """The check letter of Singapore's NRIC and FIN: digits weighted 2, 7, 6, 5, 4, 3, 2, of 11 the rest."""
    offset, letters = _SINGAPORE[value[0]]
    total = offset + sum(int(digit) * weight for digit, weight in zip(value[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    place = total % 11 if value[0] != "M" else 10 - total % 11
    return letters[place] == value[8]


_PROVINCES = frozenset(
    [
        "11",
        "12",
        "13",
        "14",
        "15",
        "21",
        "22",
        "23",
        "31",
        "32",
        "33",
        "34",
        "35",
        "36",
        "37",
        "41",
        "42",
        "43",
        "44",
        "45",
        "46",
        "50",
        "51",
        "52",
        "53",
        "54",
        "61",
        "62",
        "63",
        "64",
        "65",
        "71",
        "81",
        "82",
        "83",
    ]
)


def _chinese(value: str) -> bool:
    """A province, a date that there was, and the check sign of GB 11643 (ISO 7064 MOD 11-2)."""
    try:
        date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(value[:17]))
    return value[:2] in _PROVINCES and "10X98765432"[total % 11] == value[17].upper()


def find_national(plain: Plain) -> Iterator[Finding]:
    """Identifiers whose form and checksum are rare by chance; others within 48 signs after (24 before) their words."""
    text, shape = plain.folded, plain.shape
    for one, form in _forms():
        if any(mark in shape for mark in one.marks):
            for match in form.finditer(text):
                if _valid(one, match[0]):
                    yield _finding(one, match.start(), match.end(), match[0])
    lower = plain.lower
    for word, announced in _words():
        at = lower.find(word)
        while at >= 0:
            end = at + len(word)
            if _stands_alone(lower, at, end):
                for one, form in announced:
                    near = form.search(text, end, end + 48) or _before(form, text, max(0, at - 24), at)
                    if near and _valid(one, near[0]):
                        yield _finding(one, near.start(), near.end(), near[0])
            at = lower.find(word, end)


def _stands_alone(lower: str, start: int, end: int) -> bool:
    """Whether a word is none inside another; scripts without spaces know no such bounds."""
    if not lower[start].isascii():
        return True
    before, after = lower[start - 1 : start], lower[end : end + 1]
    return not (before.isascii() and before.isalpha()) and not (after.isascii() and after.isalpha())


def _before(pattern: re.Pattern[str], text: str, first: int, last: int) -> re.Match[str] | None:
    """The last place before the words, in the same sentence: "85070998056 (PESEL)"."""
    found = None
    for match in pattern.finditer(text, first, last):
        found = match
    if found is None or re.search(r"[.;\n]", text[found.end() : last]):
        return None
    return found


def _valid(one: Identifier, value: str) -> bool:
    if one.module == "us.ssn" and re.sub(r"\D", "", value) in MISUSED_SSNS:
        return True  # told apart
    return not one.module or bool(_validator(one.module)(value))


def _finding(one: Identifier, start: int, end: int, value: str) -> Finding:
    digits = "".join(filter(str.isdigit, value))
    apart = dummy_digits(value) or (one.module == "us.ssn" and digits in MISUSED_SSNS)
    return Finding("national_id", start, end, one.what, "a number for examples" if apart else "")
