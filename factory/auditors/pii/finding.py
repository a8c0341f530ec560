"""All finders together: what a text may hold is looked at first, the first finder that takes a place keeps it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from factory.auditors.pii.checksums import find_cards, find_ibans
from factory.auditors.pii.found import Finder, Finding
from factory.auditors.pii.national import find_national
from factory.auditors.pii.patterns import (
    find_emails,
    find_ips,
    find_macs,
    find_url_credentials,
    find_wallets,
    may_spell,
)
from factory.auditors.pii.personal import find_addresses, find_births, find_papers
from factory.auditors.pii.phones import DEFAULT, phone_finder
from factory.auditors.pii.plain import Plain, fold
from factory.auditors.pii.secrets import WORDS, find_secrets

KINDS = {
    "email": ("e-mail address", "e-mail addresses"),
    "phone": ("telephone number", "telephone numbers"),
    "credit_card": ("payment card", "payment cards"),
    "iban": ("bank account (IBAN)", "bank accounts (IBAN)"),
    "national_id": ("national identifier", "national identifiers"),
    "ip": ("IP address", "IP addresses"),
    "mac": ("MAC address", "MAC addresses"),
    "passport": ("passport number", "passport numbers"),
    "driver_license": ("driving licence", "driving licences"),
    "date_of_birth": ("date of birth", "dates of birth"),
    "address": ("street address", "street addresses"),
    "url_credentials": ("link with a password", "links with a password"),
    "crypto_wallet": ("crypto wallet", "crypto wallets"),
    "secret": ("key, token or password", "keys, tokens or passwords"),
}
"""Kinds of findings, and how one and several are told."""
MOST = 1000
"""Findings of one kind in one text, beyond which that text is not read on: it is found out already."""


def _has_secret(plain: Plain) -> bool:
    return plain.long_token or "-----" in plain.folded or any(word in plain.lower for word in WORDS)


def _has_at(plain: Plain) -> bool:
    return "@" in plain.folded or may_spell(plain.lower)


def _has_ip(plain: Plain) -> bool:
    shape = plain.shape
    dotted = b".d" in shape and (b".d." in shape or b".dd." in shape or b".ddd." in shape)
    return dotted or b"::" in shape or shape.count(b":") >= 7


def _has_mac(plain: Plain) -> bool:
    shape = plain.shape
    return shape.count(b":") >= 5 or shape.count(b"-") >= 5 or shape.count(b".") >= 2


Gate = Callable[[Plain], bool]


@functools.cache
def finders(regions: tuple[str, ...]) -> tuple[tuple[Gate, Finder], ...]:
    """Each finder with what must hold for it to find anything, in the order in which they take places."""
    return (
        (_has_secret, find_secrets),
        (_has_at, find_url_credentials),
        (_has_at, find_emails),
        (lambda plain: plain.long_token, find_wallets),
        (lambda plain: b"AAdd" in plain.shape, find_ibans),
        (lambda plain: plain.digits >= 12, find_cards),
        (lambda plain: plain.digits >= 4 or plain.long_token, find_national),
        (_has_mac, find_macs),
        (_has_ip, find_ips),
        (lambda plain: plain.digits >= 1, find_papers),
        (lambda plain: plain.digits >= 7, phone_finder(regions)),
        (lambda plain: plain.digits >= 4, find_births),
        (lambda plain: plain.digits >= 1, find_addresses),
    )


def find_all(
    text: str, kinds: Iterable[str] | None = None, regions: Sequence[str] = DEFAULT, *, gated: bool = True
) -> list[Finding]:
    """Everything found of these kinds (all by default), in order; of two that overlap the one found first.

    What stands reserved for examples is among it, with a reason. `gated` False looks for everything in every text.
    """
    wanted = KINDS.keys() if kinds is None else frozenset(kinds)
    plain = fold(text)
    found: list[Finding] = []
    taken = bytearray()
    for gate, find in finders(tuple(regions)):
        if gated and not gate(plain):
            continue
        counts: dict[str, int] = {}
        new = []
        for one in find(plain):
            taken = taken or bytearray(len(plain.folded))
            if 1 not in taken[one.start : one.end]:
                new.append(one)
                taken[one.start : one.end] = b"\1" * (one.end - one.start)
                counts[one.kind] = counts.get(one.kind, 0) + 1
                if counts[one.kind] >= MOST:
                    break
        found += new
    found = [_placed(plain, one) for one in found if one.kind in wanted]
    return sorted(found, key=lambda one: one.start)


def _placed(plain: Plain, one: Finding) -> Finding:
    start, end = plain.span(one.start, one.end)
    return Finding(one.kind, start, end, one.what, one.reserved)


def masked(value: str) -> str:
    """The first and the last sign (two of each in twelve and more), the others as dots."""
    shown = 2 if len(value) >= 12 else 1
    if len(value) < 5:
        return "•" * len(value)
    return value[:shown] + "•" * min(len(value) - 2 * shown, 12) + value[-shown:]


def mask_all(text: str, found: Sequence[Finding]) -> str:
    """The text with everything found masked; findings in order, none overlapping."""
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], masked(text[one.start : one.end])]
        at = one.end
    return "".join([*parts, text[at:]])
