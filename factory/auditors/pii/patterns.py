"""What has a form of its own: addresses of mail and machines, links with passwords, wallets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.auditors.pii.checksums import base58_holds, bech32_holds
from factory.auditors.pii.found import Finding
from factory.auditors.pii.plain import Plain
from factory.auditors.pii.reserved import address_apart, example_domain, placeholder
from factory.scorers.pii_finding import ADDRESS_BEFORE, DOMAIN, FILE_ENDINGS, IPV4, IPV6, LOCAL_PART, VERSION_BEFORE

SIGN = re.compile(r"[\w.%+'-]@(?=[^\W_])")
SPELLED = re.compile(
    r"(?<![\w.%+-])([\w.%+-]{1,64}) ?[\[({] ?at ?[\])}] ?"
    r"((?:[\w-]{1,63} ?(?:\.|[\[({] ?dot ?[\])}]) ?){1,4}[a-z]{2,24})\b",
    re.IGNORECASE,
)
_DOT = re.compile(r" ?[\[({] ?dot ?[\])}] ?| ", re.IGNORECASE)


def find_emails(plain: Plain) -> Iterator[Finding]:
    """E-mail addresses; `git@host`, names of files and decorators are none. "anna [at] web [dot] de" is one."""
    text = plain.folded
    for match in SIGN.finditer(text):
        at = match.start() + 1
        local = LOCAL_PART.search(text[max(0, at - 64) : at])
        domain = DOMAIN.match(text, at + 1)
        if (
            local
            and domain
            and local[0].strip(".'-%+")
            and local[0].lower() != "git"
            and domain[1].lower() not in FILE_ENDINGS
        ):
            name = local[0].lstrip(".'-%+")
            yield Finding("email", at - len(name), domain.end(), "", _example(domain[0]))
    if may_spell(plain.lower):
        for match in SPELLED.finditer(text):
            yield Finding("email", *match.span(), "spelled out", _example(_DOT.sub(_dot, match[2])))


def _dot(match: re.Match[str]) -> str:
    return "." if len(match[0]) > 1 else ""


_AT = tuple(
    f"{opening}{inner}{closing}" for opening, closing in ("[]", "()", "{}") for inner in ("at", " at ", "at ", " at")
)


def may_spell(lower: str) -> bool:
    """Whether an address may be spelled out ("anna [at] web [dot] de")."""
    return any(mark in lower for mark in _AT)


def _example(domain: str) -> str:
    return "a domain for examples" if example_domain(domain) else ""


URL_CREDENTIALS = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://([^\s/@:\"'<>]{1,64}):([^\s/@\"'<>]{1,128})@([^\s/:\"'<>@?#]{1,253})", re.IGNORECASE
)


def find_url_credentials(plain: Plain) -> Iterator[Finding]:
    """Links that hold a user and a password."""
    text = plain.folded
    if "://" not in text or "@" not in text:
        return
    for match in URL_CREDENTIALS.finditer(text):
        host = match[3].lower()
        apart = placeholder(match[2]) or host in ("localhost", "host", "hostname", "127.0.0.1") or example_domain(host)
        yield Finding("url_credentials", match.start(), match.end(), "", "a placeholder" if apart else "")


NUMBERING_BEFORE = re.compile(
    r"(?:[a-z]/|\brv:|\bv|version|release|build|section|chapter|clause|§|figure|table|oid)[\s.:]{0,3}\Z", re.I
)


def find_ips(plain: Plain) -> Iterator[Finding]:
    """IP addresses. Four numbers below ten are a version or a section unless the words before say otherwise."""
    text = plain.folded
    for match in IPV4.finditer(text):
        before = text[max(0, match.start() - 32) : match.start()]
        small = all(len(part) == 1 for part in match[0].split("."))
        said = ADDRESS_BEFORE.search(before)
        if VERSION_BEFORE.search(before) or NUMBERING_BEFORE.search(before) or (small and not said):
            continue
        apart = address_apart(match[0])
        if apart is not None:
            yield Finding("ip", match.start(), match.end(), "IPv4", apart)
    if "::" in text or text.count(":") >= 7:
        for match in IPV6.finditer(text):
            if match[0][:1] in "23" and sum(map(str.isalnum, match[0])) > 4:  # 2000::/3 is all that is handed out
                apart = address_apart(match[0])
                if apart is not None:
                    yield Finding("ip", match.start(), match.end(), "IPv6", apart)


MAC = re.compile(r"(?<![\w:.-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![\w]|[:-]\w)", re.ASCII)
MAC_DOTTED = re.compile(r"(?<![\w:.-])[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}(?![\w]|[.]\w)", re.ASCII)
MAC_BEFORE = re.compile(r"\b(?:mac|bssid|hwaddr|ether|hardware address|physical address)\b[^\n]{0,24}\Z", re.I)


def find_macs(plain: Plain) -> Iterator[Finding]:
    """MAC addresses (IEEE 802); six two-digit numbers without a letter, and the dotted form, only after such a word."""
    text = plain.folded
    for pattern in (MAC, MAC_DOTTED):
        for match in pattern.finditer(text):
            signs = re.sub(r"[^0-9a-f]", "", match[0].lower())
            said = MAC_BEFORE.search(text[max(0, match.start() - 48) : match.start()])
            if not said and (pattern is MAC_DOTTED or signs.isdigit() or signs.isalpha()):
                continue
            apart = len(set(signs)) < 3 or signs.startswith("00005e0053") or signs in _MADE_UP
            yield Finding("mac", match.start(), match.end(), "", "for examples" if apart else "")


_MADE_UP = frozenset({"001122334455", "112233445566", "aabbccddeeff", "0123456789ab", "deadbeefcafe", "001a2b3c4d5e"})


WALLETS = (
    ("Bitcoin", re.compile(r"(?<![A-Za-z0-9])[13][1-9A-HJ-NP-Za-km-z]{25,34}(?![A-Za-z0-9])"), base58_holds),
    ("Litecoin", re.compile(r"(?<![A-Za-z0-9])[LM][1-9A-HJ-NP-Za-km-z]{26,33}(?![A-Za-z0-9])"), base58_holds),
    ("Dogecoin", re.compile(r"(?<![A-Za-z0-9])D[5-9A-HJ-NP-U][1-9A-HJ-NP-Za-km-z]{32}(?![A-Za-z0-9])"), base58_holds),
    ("Bitcoin", re.compile(r"(?<![A-Za-z0-9])bc1[02-9ac-hj-np-z]{11,71}(?![A-Za-z0-9])"), bech32_holds),
    ("Litecoin", re.compile(r"(?<![A-Za-z0-9])ltc1[02-9ac-hj-np-z]{11,71}(?![A-Za-z0-9])"), bech32_holds),
    ("Ethereum", re.compile(r"(?<![A-Za-z0-9])0x[0-9a-fA-F]{40}(?![A-Za-z0-9])"), lambda _: True),
    ("Monero", re.compile(r"(?<![A-Za-z0-9])[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}(?![A-Za-z0-9])"), lambda _: True),
)
FAMOUS_WALLETS = frozenset(
    {
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT",
        "1BitcoinEaterAddressDontSendf59kuE",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045", "0xdAC17F958D2ee523a2206206994597C13D831ec7",
    }
)  # fmt: skip


def find_wallets(plain: Plain) -> Iterator[Finding]:
    """Wallets of currencies whose addresses carry a checksum, and those of Ethereum and Monero by their form."""
    for name, pattern, holds in WALLETS:
        for match in pattern.finditer(plain.folded):
            if holds(match[0]):
                apart = match[0] in FAMOUS_WALLETS or len(set(match[0][2:].lower())) < 6
                yield Finding("crypto_wallet", match.start(), match.end(), name, "known to everybody" if apart else "")
