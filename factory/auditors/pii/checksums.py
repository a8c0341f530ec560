"""Numbers that carry their own proof: payment cards, bank accounts, addresses of wallets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from factory.auditors.pii.found import Finding
from factory.auditors.pii.plain import Plain
from factory.auditors.pii.reserved import EXAMPLE_IBANS, TEST_CARDS, dummy_digits
from factory.scorers.pii_finding import BRANDS, IBAN_LENGTHS, IBAN_ROOM, IBAN_START, iban_holds, luhn_holds

CARD = re.compile(
    r"(?<![\w.+])(?<!\d[ -])(?:(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?)|\d{4}([ -])\d{6}\2\d{4,5}|\d{12,19})"
    r"(?![\w]|[.,]\d|[ -]\d|\s*=)",
    re.ASCII,
)
CARD_SAID = re.compile(
    r"card|credit|debit|visa|master|amex|american express|discover|diners|jcb|\bpan\b|karte|kart[aey]|tarjeta|carte|"
    r"cart[ãa]o|卡|カード|카드|payment|\bpaid\b|\bpay\b|charge|cvv|cvc|expir",
    re.IGNORECASE,
)
OTHER_SAID = re.compile(
    r"(?:order|invoice|tracking|shipment|parcel|isbn|imei|iccid|serial|sku|ticket|transaction|ref(?:erence)?|\bupc|"
    r"\bean|barcode|gtin|timestamp|epoch|\bid|hash|batch|lot|bestellung|bestellnummer|rechnung|sendung|commande|pedido|"
    r"ordine|订单号?|注文番号)(?: ?(?:number|num|no\.?|nr\.?|id|code))?(?: is| was)?[\s:#(=.]{0,3}\Z",
    re.IGNORECASE,
)
MAESTRO = re.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]")
OLD_JCB = re.compile(r"2131|1800")


def find_cards(plain: Plain) -> Iterator[Finding]:
    """Payment cards: an issuer's prefix and length, and the Luhn checksum (ISO/IEC 7812).

    A bare run of 15 or 16 digits is none where the words before call it something else (an order, an IMEI); bare runs
    of other lengths, which timestamps and article numbers share, only where the words around speak of cards.
    """
    text = plain.folded
    for match in CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        known = any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in BRANDS)
        known = known or (MAESTRO.match(digits) is not None and 12 <= len(digits) <= 19)
        known = known or (OLD_JCB.match(digits) is not None and len(digits) == 15)
        if not known or not luhn_holds(digits):
            continue
        before = text[max(0, match.start() - 40) : match.start()]
        said = CARD_SAID.search(before) or CARD_SAID.search(text[match.end() : match.end() + 24])
        bare = len(digits) == len(match[0])
        other = OTHER_SAID.search(before) and not CARD_SAID.search(before[-16:])
        if other or (not said and bare and len(digits) not in (15, 16)):
            continue
        apart = digits in TEST_CARDS or len(set(digits)) < 4 or dummy_digits(digits)
        yield Finding("credit_card", match.start(), match.end(), "", "a published test card" if apart else "")


def find_ibans(plain: Plain) -> Iterator[Finding]:
    """International bank account numbers (ISO 13616): the country's length, and the checksum holds."""
    text = plain.folded
    for match in IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(match[1])
        if length is None:
            continue
        taken, end = "", match.start()
        for place in range(end, min(len(text), end + IBAN_ROOM)):
            sign = text[place]
            if sign.isascii() and sign.isalnum():
                taken += sign
            elif sign not in " -":
                break
            if len(taken) == length:
                end = place + 1
                break
        following = text[end : end + 1]
        if len(taken) == length and not (following.isascii() and following.isalnum()) and iban_holds(taken):
            apart = taken in EXAMPLE_IBANS or len(set(taken[4:])) < 3
            yield Finding("iban", match.start(), end, match[1], "a published example" if apart else "")


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VERSIONS = frozenset({0, 5, 0x1E, 0x30, 0x32})


def base58_holds(address: str) -> bool:
    """Base58Check: 25 bytes, a known version first, the first four bytes of the double SHA-256 last."""
    value = 0
    for sign in address:
        value = value * 58 + _BASE58.index(sign)
    if value >= 1 << 200:
        return False
    raw = value.to_bytes(25, "big")
    check = hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4]
    return raw[0] in _VERSIONS and raw[21:] == check


_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def bech32_holds(address: str) -> bool:
    """The checksum of Bech32 (BIP 173) or Bech32m (BIP 350)."""
    prefix, _, data = address.rpartition("1")
    values = [ord(sign) >> 5 for sign in prefix] + [0] + [ord(sign) & 31 for sign in prefix]
    values += [_BECH32.index(sign) for sign in data]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit in range(5):
            check ^= _GENERATOR[bit] if top >> bit & 1 else 0
    return check in (1, 0x2BC830A3)
