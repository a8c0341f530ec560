"""Keys, tokens and passwords: the published formats of services, and what looks random beside words that say so."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator

from factory.auditors.pii.found import Finding
from factory.auditors.pii.plain import Plain
from factory.auditors.pii.reserved import placeholder

_A = "(?<![A-Za-z0-9])"
_N = "(?![A-Za-z0-9])"
FORMATS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("AWS access key", ("AKIA", "ASIA"), rf"{_A}A[KS]IA[0-9A-Z]{{16}}{_N}"),
    ("GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), rf"{_A}gh[pousr]_[A-Za-z0-9]{{36,255}}"),
    ("GitHub token", ("github_pat_",), r"github_pat_[A-Za-z0-9_]{40,255}"),
    ("GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_-]{20,64}"),
    ("Anthropic key", ("sk-ant-",), rf"{_A}sk-ant-[A-Za-z0-9_-]{{20,255}}"),
    ("OpenAI key", ("sk-",), rf"{_A}sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{{20,255}}"),
    ("Stripe key", ("k_live_", "k_test_"), rf"{_A}[rsp]k_(?:live|test)_[A-Za-z0-9]{{16,255}}"),
    ("Stripe webhook secret", ("whsec_",), rf"{_A}whsec_[A-Za-z0-9+/=]{{24,128}}"),
    ("Slack token", ("xox",), rf"{_A}xox[abeprs]-[A-Za-z0-9-]{{10,255}}"),
    (
        "Slack webhook",
        ("hooks.slack.com",),
        r"hooks\.slack\.com/services/T[A-Z0-9]{6,16}/B[A-Z0-9]{6,16}/[A-Za-z0-9]{20,40}",
    ),
    ("Discord webhook", ("api/webhooks/",), r"discord(?:app)?\.com/api/webhooks/\d{15,22}/[\w-]{50,90}"),
    ("Telegram bot token", (":AA",), rf"{_A}\d{{8,10}}:AA[A-Za-z0-9_-]{{32,34}}{_N}"),
    ("Google API key", ("AIza",), rf"{_A}AIza[0-9A-Za-z_-]{{35}}"),
    ("Google client secret", ("GOCSPX-",), r"GOCSPX-[A-Za-z0-9_-]{24,40}"),
    ("Google token", ("ya29.",), rf"{_A}ya29\.[A-Za-z0-9_-]{{30,512}}"),
    ("Hugging Face token", ("hf_",), rf"{_A}hf_[A-Za-z0-9]{{30,64}}"),
    ("npm token", ("npm_",), rf"{_A}npm_[A-Za-z0-9]{{36}}"),
    ("PyPI token", ("pypi-AgE",), r"pypi-AgE[A-Za-z0-9_-]{50,512}"),
    ("Docker token", ("dckr_pat_",), r"dckr_pat_[A-Za-z0-9_-]{20,64}"),
    ("DigitalOcean token", ("do",), rf"{_A}do[opr]_v1_[a-f0-9]{{64}}"),
    ("Shopify token", ("shp",), rf"{_A}shp(?:at|ca|pa|ss)_[a-fA-F0-9]{{32}}"),
    ("Square token", ("sq0",), rf"{_A}sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{{22,64}}"),
    ("SendGrid key", ("SG.",), rf"{_A}SG\.[A-Za-z0-9_-]{{16,64}}\.[A-Za-z0-9_-]{{16,64}}"),
    ("Mailgun key", ("key-",), rf"{_A}key-[a-f0-9]{{32}}{_N}"),
    ("Mailchimp key", ("-us",), rf"{_A}[a-f0-9]{{32}}-us\d{{1,2}}{_N}"),
    ("Groq key", ("gsk_",), rf"{_A}gsk_[A-Za-z0-9]{{40,64}}"),
    ("Databricks token", ("dapi",), rf"{_A}dapi[a-f0-9]{{32}}(?:-\d)?{_N}"),
    ("Notion token", ("ntn_", "secret_"), rf"{_A}(?:ntn_|secret_)[A-Za-z0-9]{{40,60}}{_N}"),
    ("Linear key", ("lin_api_",), r"lin_api_[A-Za-z0-9]{32,64}"),
    ("Azure storage key", ("AccountKey=",), r"AccountKey=[A-Za-z0-9+/]{86}=="),
    ("age secret key", ("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    ("private key", ("PRIVATE KEY",), r"-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----"),
)
_COMPILED = tuple((what, marks, re.compile(pattern)) for what, marks, pattern in FORMATS)
JWT = re.compile(rf"{_A}eyJ[A-Za-z0-9_-]{{8,4096}}\.eyJ[A-Za-z0-9_-]{{8,8192}}\.[A-Za-z0-9_-]{{8,1024}}")
MIN_DIFFERENT = 9
"""Fewer different signs are no key, but `sk-xxxxxxxx`."""
WORDS = ("key", "token", "secret", "passw", "pwd", "bearer", "auth", "credential", "passphrase", "kennwort", "contrase",
         "mot de passe", "密码", "密碼", "パスワード", "пароль", "senha")  # fmt: skip
NAMED = re.compile(
    r"(?:api[ _-]?key|access[ _-]?key(?:[ _-]?id)?|secret(?:[ _-]?(?:access[ _-]?)?key)?|private[ _-]?key|"
    r"(?:auth|access|refresh|bearer|session|api|bot)[ _-]?token|client[ _-]?secret|credentials?|\btoken|bearer)"
    r"[\"'`]{0,2}(?:\s{0,3}(?::=|=>|[:=]|\bis\b)\s{0,3}|\s)[\"'`]{0,2}([A-Za-z0-9+/_=.~-]{16,512})",
    re.IGNORECASE,
)
PASSWORD = re.compile(
    r"(?:pass(?:word|phrase|wd)|\bpwd|kennwort|passwort|mot de passe|contrase[ñn]a|senha|密码|密碼|パスワード|пароль)"
    r"[\"'`]{0,2}(?:\s{0,3}(?::=|=>|[:=：])\s{0,3}|\s{1,3}(?:is|ist|est|es)\s{1,3})[\"'`]{0,2}([^\s\"'`<>，。]{8,64})",
    re.IGNORECASE,
)
CODE = re.compile(r"[A-Za-z_][\w.]*\(|\w+\.\w+(?:\.\w+)*\Z|[\w-]+/[\w/-]+\Z|\$?\w*\[")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


def find_secrets(plain: Plain) -> Iterator[Finding]:
    """Keys and tokens; what is written to be replaced (`YOUR_KEY`, too few different signs) is told apart."""
    text = plain.folded
    for what, marks, pattern in _COMPILED:
        if any(mark in text for mark in marks):
            for match in pattern.finditer(text):
                if what == "private key":
                    yield Finding("secret", *match.span(), what)
                elif not _reads(match[0]):
                    yield Finding("secret", *match.span(), what, _apart(match[0]))
    if "eyJ" in text:
        for match in JWT.finditer(text):
            if _is_header(match[0].partition(".")[0]):
                yield Finding("secret", *match.span(), "JSON Web Token")
    if any(word in plain.lower for word in WORDS):
        yield from _named(text)


def _reads(value: str) -> bool:
    """Whether it is words joined by hyphens (`sk-` at the end of a word): long parts, all small letters, no digit."""
    rest = value.partition("-")[2]
    return bool(rest) and not any(sign.isdigit() or sign.isupper() for sign in rest) and "-" in rest


def _apart(value: str) -> str:
    return "a placeholder" if placeholder(value) or len(set(value)) < MIN_DIFFERENT else ""


def _is_header(part: str) -> bool:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return False
    return isinstance(found, dict) and ("alg" in found or "typ" in found)


def entropy(value: str) -> float:
    """Shannon's entropy of the signs, in bits a sign."""
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())


def _named(text: str) -> Iterator[Finding]:
    for match in NAMED.finditer(text):
        value = match[1].rstrip(".=-_~")
        if _looks_random(value):
            yield Finding("secret", match.start(1), match.start(1) + len(value), "key or token", _apart(value))
    for match in PASSWORD.finditer(text):
        value = match[1].rstrip(".,;:!?)]}")
        kinds = sum(any(test(sign) for sign in value) for test in (str.islower, str.isupper, str.isdigit, _is_sign))
        if len(value) >= 8 and (kinds >= 3 or (kinds == 2 and any(map(str.isdigit, value)) and entropy(value) >= 2.5)):
            if CODE.match(value) or "://" in value:  # code that asks for one, or the address of a page
                continue
            apart = "a placeholder" if placeholder(value) else ""
            yield Finding("secret", match.start(1), match.start(1) + len(value), "password", apart)


def _is_sign(sign: str) -> bool:
    return not sign.isalnum()


def _looks_random(value: str) -> bool:
    """Random enough for a key: letters and digits mixed, above 3 bits a sign (hexadecimal) or 3.5; no path, no name."""
    if len(value) < 16 or UUID.match(value) or value.count(".") > 2 or value.count("/") > 4:
        return False
    digits = sum(map(str.isdigit, value))
    if digits < 2 or digits == len(value) or not any(map(str.isalpha, value)):
        return False
    words = [part for part in re.split(r"[._/=+~-]", value) if len(part) > 3 and part.isalpha()]
    if sum(map(len, words)) > len(value) / 2:
        return False
    hexadecimal = re.fullmatch(r"[0-9a-fA-F]+", value) is not None
    return entropy(value) >= (3.0 if hexadecimal else 3.5)
