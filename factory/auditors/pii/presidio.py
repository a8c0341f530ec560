"""Personal data as Presidio finds it: its own recognisers and models of language, named as the patterns are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factory.auditors.pii.found import Finding
from factory.auditors.pii.reserved import EXAMPLE_IBANS, TEST_CARDS, address_apart, dummy_digits, example_domain
from factory.errors import MissingExtra, UsageError

ENTITIES = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "credit_card", "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip", "MAC_ADDRESS": "mac", "CRYPTO": "crypto_wallet", "PERSON": "person", "US_SSN": "national_id",
    "US_ITIN": "national_id", "US_PASSPORT": "passport", "US_DRIVER_LICENSE": "driver_license", "UK_NHS": "national_id",
    "UK_NINO": "national_id", "ES_NIF": "national_id", "ES_NIE": "national_id", "IT_FISCAL_CODE": "national_id",
    "IT_DRIVER_LICENSE": "driver_license", "IT_PASSPORT": "passport", "IT_IDENTITY_CARD": "national_id",
    "PL_PESEL": "national_id", "SG_NRIC_FIN": "national_id", "AU_TFN": "national_id", "AU_MEDICARE": "national_id",
    "IN_PAN": "national_id", "IN_AADHAAR": "national_id", "IN_PASSPORT": "passport", "IN_VOTER": "national_id",
    "FI_PERSONAL_IDENTITY_CODE": "national_id", "KR_RRN": "national_id", "TH_TNIN": "national_id",
}  # fmt: skip
"""Presidio's entities and our kinds; others (dates, places, links) are no findings."""
LEAST = 0.5
LONGEST = 100_000
"""Characters given to Presidio at once: its models of language take no more than ten times as many."""
OVERLAP = 200


def open_presidio(language: str, kinds: frozenset[str]) -> Callable[[str], list[Finding]]:
    """A function that finds these kinds. Raises MissingExtra without Presidio, UsageError where it cannot start."""
    try:
        from presidio_analyzer import AnalyzerEngine
    except ImportError as error:
        raise MissingExtra("`pii_engine: presidio`", "presidio") from error
    code = language.partition("-")[0].lower()
    entities = sorted(name for name, kind in ENTITIES.items() if kind in kinds)
    if not entities:
        raise UsageError(
            "`pii_kinds` of privacy.pii: Presidio finds none of them",
            f"one of: {', '.join(sorted(set(ENTITIES.values())))}",
        )
    try:
        engine = AnalyzerEngine(supported_languages=[code])
        offered = set(engine.get_supported_entities(language=code))
    except Exception as error:  # whatever its models of language raise: the choice is the user's
        raise UsageError(f"Presidio cannot start for the language `{code}`: {error}", "pii_engine: patterns") from error
    chosen = [name for name in entities if name in offered]

    def find(text: str) -> list[Finding]:
        return _find(engine, text, code, chosen) if chosen else []

    return find


def _find(engine: Any, text: str, language: str, entities: list[str]) -> list[Finding]:
    found: list[Finding] = []
    for first in range(0, max(len(text), 1), LONGEST - OVERLAP):
        part = text[first : first + LONGEST]
        results = engine.analyze(text=part, language=language, entities=entities, score_threshold=LEAST)
        for one in results:
            kind = ENTITIES.get(one.entity_type)
            if kind is not None and one.score >= LEAST:
                value = part[one.start : one.end]
                found.append(Finding(kind, first + one.start, first + one.end, one.entity_type, _apart(kind, value)))
    kept: list[Finding] = []
    for one in sorted(found, key=lambda one: (one.start, -one.end, one.kind)):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _apart(kind: str, value: str) -> str:
    """Why what was found is nobody's, as the patterns tell it."""
    signs = "".join(filter(str.isalnum, value))
    if kind == "email":
        return "a domain for examples" if example_domain(value.rpartition("@")[2]) else ""
    if kind == "ip":
        return address_apart(value) or ""
    if kind in ("credit_card", "iban"):
        return "a published example" if signs in TEST_CARDS or signs in EXAMPLE_IBANS else ""
    return "a number for examples" if kind in ("phone", "national_id", "passport") and dummy_digits(value) else ""
