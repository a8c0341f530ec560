"""Made-up rows for the tests of personal data: what must be found, in sentences, and what looks like it and is none.

Checksums are worked out here by their definitions, not by what is tested.
"""

# ruff: noqa: E501
from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

_TEXT = """
the box came late but we were glad to see that it was packed well and my sister liked the blue one more than the green
one because her kitchen is small and she wants to keep things simple while our neighbour said he would rather wait
until summer when prices fall again so nobody knows what will happen next week at school or work
"""
WORDS = _TEXT.split()


@dataclass(frozen=True)
class Row:
    text: str
    planted: tuple[tuple[str, str], ...] = ()
    """Kinds and values that must be found."""


def luhn(digits: str) -> str:
    """The check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def from_(rng: random.Random, signs: str, count: int) -> str:
    return "".join(rng.choice(signs) for _ in range(count))


def email(rng: random.Random) -> tuple[str, str]:
    name = rng.choice(["anna", "j.doe", "li_wei", "marie-claire", "k.o'neil", "bob+news", "x99", "MAX.MUSTER"])
    domain = rng.choice(
        ["gmail.com", "web.de", "mail.ru", "uni-bonn.de", "orange.fr", "co-op.co.uk", "qq.com", "acme.io"]
    )
    value = f"{name}{rng.randrange(1000)}@{domain}"
    return value, rng.choice(["write to {}", "my mail is {}.", "<{}>", "contact: {}, please", "({})", "E-Mail：{}"])


def phone(rng: random.Random) -> tuple[str, str]:
    import phonenumbers

    while True:
        area, exchange, line = rng.randrange(201, 990), rng.randrange(200, 999), digits(rng, 4)
        if exchange == 555:
            continue
        number = phonenumbers.parse(f"+1{area}{exchange}{line}", None)
        if phonenumbers.is_valid_number(number):
            break
    form = rng.choice(["({}) {}-{}", "{}-{}-{}", "+1 {} {} {}", "{}.{}.{}", "1-{}-{}-{}", "+1{}{}{}"])
    value = form.format(area, exchange, line)
    return value, rng.choice(["call {} now", "reach me at {}.", "tel. {}", "{} is my number", "my cell: {},"])


def foreign_phone(rng: random.Random) -> tuple[str, str]:
    import phonenumbers

    region = rng.choice(["DE", "FR", "GB", "ES", "IT", "NL", "IN", "CN", "BR", "JP", "AU", "PL"])
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert example is not None
    while True:
        national = str(example.national_number)
        number = phonenumbers.PhoneNumber(example.country_code, int(national[:-5] + digits(rng, 5)))
        if phonenumbers.is_valid_number(number) and "7700900" not in national:
            break
    form = rng.choice([phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164])
    return phonenumbers.format_number(number, form), rng.choice(
        ["call {} now", "ring me: {}.", "{} is mine", "WhatsApp {}"]
    )


def card(rng: random.Random) -> tuple[str, str]:
    start, length = rng.choice(
        [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16)]
    )
    body = start + digits(rng, length - len(start) - 1)
    value = body + luhn(body)
    if length == 16 and rng.random() < 0.6:
        sign = rng.choice(" -")
        value = sign.join(value[k : k + 4] for k in range(0, 16, 4))
    elif length == 15 and rng.random() < 0.5:
        value = f"{value[:4]} {value[4:10]} {value[10:]}"
    return value, rng.choice(["charge my card {} please", "card number: {}", "I paid with {}.", "Visa {} exp 09/27"])


def iban(rng: random.Random) -> tuple[str, str]:
    country, bban = rng.choice(
        [("DE", digits(rng, 18)), ("GB", from_(rng, string.ascii_uppercase, 4) + digits(rng, 14)), ("NL", "INGB" + digits(rng, 10)),
         ("FR", digits(rng, 10) + from_(rng, string.digits + string.ascii_uppercase, 11) + digits(rng, 2)), ("ES", digits(rng, 20))]
    )  # fmt: skip
    number = int("".join(str(int(sign, 36)) for sign in bban + country + "00"))
    value = f"{country}{98 - number % 97:02d}{bban}"
    if rng.random() < 0.5:
        value = " ".join(value[k : k + 4] for k in range(0, len(value), 4))
    return value, rng.choice(["transfer it to {}.", "IBAN: {}", "my account {} is new"])


def ssn(rng: random.Random) -> tuple[str, str]:
    area = rng.choice([area for area in range(100, 899) if area not in (666, 733, 734)])
    value = f"{area}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"
    return value, rng.choice(["SSN {}", "my social security number is {}.", "{} is on the form"])


def national(rng: random.Random) -> tuple[str, str]:
    kind = rng.choice(["nhs", "cpf", "pesel", "aadhaar", "bsn", "sin", "dni", "personnummer", "nino", "nir", "ric"])
    return {
        "nhs": nhs, "cpf": cpf, "pesel": pesel, "aadhaar": aadhaar, "bsn": bsn, "sin": sin, "dni": dni, "nino": nino,
        "personnummer": personnummer, "nir": nir, "ric": ric,
    }[kind](rng)  # fmt: skip


def nhs(rng: random.Random) -> tuple[str, str]:
    while True:
        body = digits(rng, 9)
        check = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(body)) % 11
        if check != 10:
            value = body + str(check % 11)
            return f"{value[:3]} {value[3:6]} {value[6:]}", rng.choice(["NHS number: {}", "my NHS no. is {}."])


def cpf(rng: random.Random) -> tuple[str, str]:
    body = digits(rng, 9)
    for _ in range(2):
        rest = sum(int(digit) * (len(body) + 1 - place) for place, digit in enumerate(body)) % 11
        body += str(0 if rest < 2 else 11 - rest)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}", rng.choice(["CPF {}", "{} é meu"])


def pesel(rng: random.Random) -> tuple[str, str]:
    body = f"{rng.randrange(40, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}{digits(rng, 4)}"
    check = -sum(int(digit) * weight for digit, weight in zip(body, (1, 3, 7, 9) * 3, strict=False)) % 10
    return body + str(check), rng.choice(["PESEL: {}", "mój PESEL to {}"])


_D = [
    [(a + b) % 5 if a < 5 and b < 5 else (a + b) % 5 + 5 if a < 5 <= b else (a - b) % 5 + 5 if b < 5 <= a else (a - b) % 5
     for b in range(10)] for a in range(10)
]  # fmt: skip


def aadhaar(rng: random.Random) -> tuple[str, str]:
    """With Verhoeff's check digit: multiplication in the dihedral group D5, permuted by place."""
    first = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    permuted = [list(range(10))]
    for _ in range(7):
        permuted.append([permuted[-1][first[k]] for k in range(10)])
    body = str(rng.randrange(2, 10)) + digits(rng, 10)
    check = 0
    for place, digit in enumerate(reversed(body)):
        check = _D[check][permuted[(place + 1) % 8][int(digit)]]
    last = next(digit for digit in range(10) if _D[check][digit] == 0)
    value = body + str(last)
    return f"{value[:4]} {value[4:8]} {value[8:]}", rng.choice(["Aadhaar {}", "my Aadhaar number is {}"])


def bsn(rng: random.Random) -> tuple[str, str]:
    while True:
        body = str(rng.randrange(1, 10)) + digits(rng, 7)
        check = sum(int(digit) * (9 - place) for place, digit in enumerate(body)) % 11
        if check < 10:
            return body + str(check), rng.choice(["BSN: {}", "burgerservicenummer {}"])


def sin(rng: random.Random) -> tuple[str, str]:
    body = str(rng.choice([1, 2, 4, 5, 6, 7])) + digits(rng, 7)
    value = body + luhn(body)
    return f"{value[:3]} {value[3:6]} {value[6:]}", rng.choice(["SIN: {}", "social insurance number {}"])


def dni(rng: random.Random) -> tuple[str, str]:
    number = rng.randrange(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}", rng.choice(["DNI {}", "mi DNI es {}."])


def nino(rng: random.Random) -> tuple[str, str]:
    body = f"{rng.choice(['AB', 'CE', 'JK', 'PW', 'YZ'])} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}"
    return f"{body} {rng.choice('ABCD')}", rng.choice(["NI number {}", "{} is my national insurance number"])


def personnummer(rng: random.Random) -> tuple[str, str]:
    body = f"{rng.randrange(40, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}{digits(rng, 3)}"
    return f"19{body[:6]}-{body[6:]}{luhn(body)}", rng.choice(["personnummer {}", "{} är mitt"])


def nir(rng: random.Random) -> tuple[str, str]:
    body = f"{rng.choice('12')}{rng.randrange(40, 99)}{rng.randrange(1, 13):02d}{rng.randrange(10, 95)}{digits(rng, 6)}"
    value = body + f"{97 - int(body) % 97:02d}"
    shown = " ".join((value[:1], value[1:3], value[3:5], value[5:7], value[7:10], value[10:13], value[13:]))
    return rng.choice([value, shown]), rng.choice(["numéro de sécurité sociale : {}", "NIR {}"])


def ric(rng: random.Random) -> tuple[str, str]:
    body = f"110105{rng.randrange(1950, 2005)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}{digits(rng, 3)}"
    check = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(body)) % 11
    return body + "10X98765432"[check], rng.choice(["身份证{}", "ID {}"])


def ip(rng: random.Random) -> tuple[str, str]:
    first = rng.choice([23, 34, 52, 81, 93, 104, 151, 185, 199, 212])
    value = f"{first}.{rng.randrange(20, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    return value, rng.choice(["came from {}", "IP {}", "login from {}:8080", "the host {} is down"])


def mac(rng: random.Random) -> tuple[str, str]:
    pairs = ["a4", "5e", *(from_(rng, "0123456789abcdef", 2) for _ in range(4))]
    value = rng.choice(":-").join(pairs)
    return rng.choice([value, value.upper()]), rng.choice(["device {} joined", "MAC address {}"])


def passport(rng: random.Random) -> tuple[str, str]:
    value = rng.choice(["", "C", "AB"]) + str(rng.randrange(4, 9)) + digits(rng, 7)
    return value, rng.choice(["passport number {}", "my passport no. is {}.", "Passport: {}", "Reisepassnummer {}"])


def licence(rng: random.Random) -> tuple[str, str]:
    value = rng.choice(
        [f"D{digits(rng, 7)}", f"{from_(rng, 'ABCDEFGH', 1)}{digits(rng, 3)}-{digits(rng, 4)}-{digits(rng, 4)}"]
    )
    return value, rng.choice(["driver's license number {}", "driving licence: {}", "Führerscheinnummer {}"])


def birth(rng: random.Random) -> tuple[str, str]:
    day, month, year = rng.randrange(1, 29), rng.randrange(1, 13), rng.randrange(1940, 2010)
    name = ["January", "March", "June", "October"][rng.randrange(4)]
    value = rng.choice(
        [
            f"{month:02d}/{day:02d}/{year}",
            f"{day}.{month}.{year}",
            f"{name} {day}, {year}",
            f"{year}-{month:02d}-{day:02d}",
        ]
    )
    return value, rng.choice(["DOB: {}", "my date of birth is {}.", "I was born on {}", "geboren am {}"])


def address(rng: random.Random) -> tuple[str, str]:
    street = rng.choice(["Willow Creek", "North Harbor", "Jefferson", "Cedar Hill"])
    way = rng.choice(["Street", "Ave", "Rd", "Boulevard", "Lane"])
    value = f"{rng.randrange(130, 9000)} {street} {way}, {rng.choice(['Portland, OR 97201', 'Austin, TX 78704', 'Salem, MA 01970'])}"
    german = f"{rng.choice(['Lindenstraße', 'Goethestr.', 'Am Alten Weg'])} {rng.randrange(2, 99)}, {rng.choice(['50667 Köln', '10115 Berlin'])}"
    return rng.choice([value, german]), rng.choice(["I live at {}", "ship it to {}", "{} is where we met"])


def credentials(rng: random.Random) -> tuple[str, str]:
    value = f"postgres://app:{from_(rng, string.ascii_letters + string.digits, 12)}@db{rng.randrange(9)}.acme.io"
    return value, rng.choice(["connect to {}/main", "DATABASE_URL={}/app"])


_58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def wallet(rng: random.Random) -> tuple[str, str]:
    raw = b"\0" + bytes(rng.randrange(256) for _ in range(20))
    raw += hashlib.sha256(hashlib.sha256(raw).digest()).digest()[:4]
    number, value = int.from_bytes(raw, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        value = _58[rest] + value
    value = rng.choice(["1" + value, "0x" + from_(rng, "0123456789abcdef", 40)])
    return value, rng.choice(["send it to {}", "wallet: {}"])


def secret(rng: random.Random) -> tuple[str, str]:
    many = string.ascii_letters + string.digits
    value = rng.choice(
        ["ghp_" + from_(rng, many, 36), "AKIA" + from_(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16), "AIza" + from_(rng, many, 35),
         "sk-proj-" + from_(rng, many, 40), "xoxb-" + digits(rng, 11) + "-" + from_(rng, many, 24), "hf_" + from_(rng, many, 34),
         "glpat-" + from_(rng, many, 20), "sk_live_" + from_(rng, many, 24), "SG." + from_(rng, many, 22) + "." + from_(rng, many, 43)]
    )  # fmt: skip
    return value, rng.choice(["use {} for it", 'key = "{}"', "export TOKEN={}", "my key is {}."])


def named_secret(rng: random.Random) -> tuple[str, str]:
    value = from_(rng, string.ascii_letters + string.digits, 32)
    value = value[:8] + "7" + value[9:20] + "3" + value[21:]
    return value, rng.choice(["api_key = '{}'", "client_secret: {}", "the access token is {}", 'API-Key="{}"'])


POSITIVES: dict[str, tuple[Callable[[random.Random], tuple[str, str]], ...]] = {
    "email": (email,), "phone": (phone, foreign_phone), "credit_card": (card,), "iban": (iban,), "national_id": (ssn, national),
    "ip": (ip,), "mac": (mac,), "passport": (passport,), "driver_license": (licence,), "date_of_birth": (birth,),
    "address": (address,), "url_credentials": (credentials,), "crypto_wallet": (wallet,), "secret": (secret, named_secret),
}  # fmt: skip


def isbn(rng: random.Random) -> str:
    body = "978" + digits(rng, 9)
    check = -sum(int(digit) * (1 if place % 2 == 0 else 3) for place, digit in enumerate(body)) % 10
    return f"ISBN {body[:3]}-{body[3]}-{body[4:8]}-{body[8:]}-{check}"


def imei(rng: random.Random) -> str:
    body = "35" + digits(rng, 12)
    return f"IMEI {body}{luhn(body)}"


NEGATIVES: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: f"order {digits(rng, rng.randrange(8, 17))} shipped",
    lambda rng: f"order number {digits(rng, 3)}-{digits(rng, 7)}-{digits(rng, 7)}",
    lambda rng: f"invoice 2024-{digits(rng, 6)}, ref. {digits(rng, 3)}-{digits(rng, 3)}-{digits(rng, 4)}",
    isbn,
    imei,
    lambda rng: f"tracking 1Z{from_(rng, string.ascii_uppercase + string.digits, 16)}",
    lambda rng: f"at 17{digits(rng, 8)} and 17{digits(rng, 11)} it was saved",
    lambda rng: f"2024-0{rng.randrange(1, 10)}-1{rng.randrange(10)}T1{rng.randrange(10)}:30:{rng.randrange(10, 60)}.{digits(rng, 6)}Z",
    lambda rng: f"from 0{rng.randrange(1, 10)}/1{rng.randrange(10)}/2023 to 12.0{rng.randrange(1, 10)}.2024",
    lambda rng: f"version {rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(200)}",
    lambda rng: f"v1.{rng.randrange(20)}.{rng.randrange(99)}.{rng.randrange(99)} and section {rng.randrange(1, 9)}.2.3.{rng.randrange(1, 9)}",
    lambda rng: f"commit {hashlib.sha1(digits(rng, 9).encode()).hexdigest()}",
    lambda rng: f"sha256 {hashlib.sha256(digits(rng, 9).encode()).hexdigest()}, md5 {hashlib.md5(digits(rng, 9).encode()).hexdigest()}",
    lambda rng: f"id {digits(rng, 8)}-{digits(rng, 4)}-4{digits(rng, 3)}-8{digits(rng, 3)}-{digits(rng, 12)}",
    lambda rng: f"{digits(rng, 3)} + {digits(rng, 3)} = {digits(rng, 4)}, {digits(rng, 3)}-{digits(rng, 3)}-{digits(rng, 4)}={digits(rng, 3)}",
    lambda rng: f"it costs $ {rng.randrange(200, 999)},{digits(rng, 3)}.{digits(rng, 2)} or €{digits(rng, 3)}.{digits(rng, 3)}.{digits(rng, 4)}",
    lambda rng: f"pay ${rng.randrange(200, 999)}-{rng.randrange(200, 999)}-{rng.randrange(1000, 9999)} in parts",
    lambda rng: f"{rng.randrange(10, 99)} 000 000 people, {rng.randrange(1, 9)} {digits(rng, 3)} {digits(rng, 3)} more",
    lambda rng: f"at {rng.randrange(10, 80)}.{digits(rng, 6)}, -{rng.randrange(10, 99)}.{digits(rng, 6)} on the map",
    lambda rng: f"scores {' '.join(str(rng.randrange(100)) for _ in range(12))}",
    lambda rng: f"part {from_(rng, string.ascii_uppercase, 2)}-{digits(rng, 4)}-{digits(rng, 3)}, EAN 400{digits(rng, 10)}",
    lambda rng: f"doi:10.1145/{digits(rng, 7)}.{digits(rng, 7)}, arXiv:2401.{digits(rng, 5)}",
    lambda rng: f"years {rng.randrange(1900, 1950)}-{rng.randrange(1950, 2000)}, zip {digits(rng, 5)}-{digits(rng, 4)}",
    lambda rng: f"follow @user{digits(rng, 3)}, see logo@2x.png and @app.route, git@github.com:acme/app.git",
    lambda rng: f"at 1{rng.randrange(10)}:{rng.randrange(10, 60)}:{rng.randrange(10, 60)} in lanes 10:20:30:40:50:60",
    lambda rng: f"{rng.randrange(2, 90)} Main tasks on {rng.randrange(2, 90)} Street signs",
    lambda rng: f"transaction {digits(rng, 16)}, batch {digits(rng, 13)}",
    lambda rng: f"Mozart was born in 1756; Ada Lovelace was born on 10 December 18{rng.randrange(10, 99)}",
    lambda rng: f"the passport costs {rng.randrange(60, 200)} dollars and takes {rng.randrange(2, 9)} weeks",
    lambda rng: f"the token count is {digits(rng, 6)}; the key is under the mat number {rng.randrange(99)}",
    lambda rng: f"pi is 3.14159265{digits(rng, 8)} and e-{digits(rng, 2)}",
    lambda rng: f"SKU {digits(rng, 4)}-{digits(rng, 4)}-{digits(rng, 4)}, lot {digits(rng, 3)}.{digits(rng, 3)}.{digits(rng, 4)}",
)  # fmt: skip
RESERVED = (
    "info@example.com", "a@mail.example.org", "(212) 555-0123", "+1 415 555 0199", "192.168.0.12", "203.0.113.9", "10.0.0.1",
    "4111 1111 1111 1111", "378282246310005", "DE89 3704 0044 0532 0130 00", "078-05-1120", "+44 20 7946 0958", "2001:db8::1",
    "key sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxx", "password: YourPassword1!", "AKIAIOSFODNN7EXAMPLE",
)  # fmt: skip


def around(rng: random.Random, middle: str, words: int = 75) -> str:
    """A row of about so many words with something in it."""
    before = rng.randrange(2, words - 4)
    return f"{' '.join(rng.choices(WORDS, k=before))} {middle} {' '.join(rng.choices(WORDS, k=words - before))}"


def make_rows(seed: int, count: int) -> list[Row]:
    """Rows of which two in five hold one finding of a kind, drawn evenly, and the others look-alikes or nothing."""
    rng = random.Random(seed)
    kinds = list(POSITIVES)
    rows = []
    for number in range(count):
        if number % 5 < 2:
            kind = kinds[number // 5 % len(kinds)] if number % 5 == 0 else rng.choice(kinds)
            value, template = rng.choice(POSITIVES[kind])(rng)
            rows.append(Row(around(rng, template.format(value)), ((kind, value),)))
        elif number % 5 < 4:
            rows.append(Row(around(rng, rng.choice(NEGATIVES)(rng))))
        else:
            rows.append(Row(around(rng, rng.choice(RESERVED) if rng.random() < 0.5 else "and")))
    return rows
