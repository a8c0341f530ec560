"""Personal data in finished rows: what is found, what is none of it, that nothing is shown in full, and how fast."""

# ruff: noqa: E501
from __future__ import annotations

import json
import sys
import types
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_rows import NEGATIVES, POSITIVES, RESERVED, Row, around, make_rows

from factory.auditors import AuditContext, Data
from factory.auditors.pii import KINDS, find_all, mask_all, masked
from factory.auditors.pii import personal as personal_patterns
from factory.auditors.pii import secrets as secret_patterns
from factory.auditors.pii.phones import choose_regions
from factory.auditors.pii.plain import fold
from factory.auditors.privacy.pii import pii
from factory.errors import MissingExtra, UsageError
from factory.types import Check

CONTEXT = AuditContext(seed=3)


def data(texts: Sequence[str | None], **more: list[Any]) -> Data:
    return Data("rows", pa.table({"text": pa.array(texts, pa.string()), **more}), ["text"])


def check(texts: Sequence[str | None], context: AuditContext = CONTEXT, **options: Any) -> Check:
    [found] = pii(data(texts), context, **options)
    assert found.name == "privacy.pii" and found.test is None
    json.dumps(found.as_json(), allow_nan=False)
    return found


def kinds(text: str, *regions: str) -> list[str]:
    return [one.kind for one in find_all(text, None, regions or ("US",)) if not one.reserved]


def apart(text: str) -> list[str]:
    return [one.kind for one in find_all(text) if one.reserved]


def score(rows: list[Row]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Hits, false alarms and misses by kind: a hit is of the kind and covers what was planted."""
    hits, false, missed = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        left = list(row.planted)
        for one in find_all(row.text):
            if one.reserved:
                continue
            shown = row.text[one.start : one.end]
            of_kind = [pair for pair in left if pair[0] == one.kind and (pair[1] in shown or shown in pair[1])]
            if of_kind:
                hits[one.kind] += 1
                left.remove(of_kind[0])
            else:
                false[one.kind] += 1
        missed.update(kind for kind, _ in left)
    return hits, false, missed


def f1(hits: int, false: int, missed: int) -> float:
    return 2 * hits / max(1, 2 * hits + false + missed)


def test_f1_on_seeded_rows_with_look_alikes() -> None:
    hits, false, missed = score(make_rows(11, 2800))
    assert f1(hits.total(), false.total(), missed.total()) >= 0.97
    for kind in POSITIVES:
        assert f1(hits[kind], false[kind], missed[kind]) >= 0.95, kind


FAKED = (
    ("en_US", "ssn", "SSN: {}", "national_id"), ("en_CA", "ssn", "my SIN is {}", "national_id"),
    ("nl_NL", "ssn", "BSN {}", "national_id"), ("pl_PL", "pesel", "PESEL {}", "national_id"),
    ("pt_BR", "cpf", "CPF: {}", "national_id"), ("it_IT", "ssn", "codice fiscale {}", "national_id"),
    ("es_ES", "nif", "NIF {}", "national_id"), ("sv_SE", "ssn", "personnummer {}", "national_id"),
    ("fi_FI", "ssn", "henkilötunnus {}", "national_id"), ("fr_FR", "ssn", "NIR {}", "national_id"),
    ("zh_CN", "ssn", "身份证号{}", "national_id"), ("tr_TR", "ssn", "TC Kimlik No: {}", "national_id"),
    ("hr_HR", "ssn", "OIB {}", "national_id"), ("de_CH", "ssn", "{}", "national_id"),
    ("en_US", "free_email", "{}", "email"), ("de_DE", "iban", "{}", "iban"), ("fr_FR", "iban", "{}", "iban"),
    ("en_US", "ipv4_public", "from {}", "ip"), ("en_US", "mac_address", "MAC {}", "mac"),
    ("en_US", "passport_number", "passport number {}", "passport"),
)  # fmt: skip
HARMLESS = (
    "sha1", "sha256", "uuid4", "isbn13", "isbn10", "ean13", "ean8", "iso8601", "unix_time", "latitude", "license_plate",
    "paragraph", "pricetag", "url", "hex_color", "file_path", "date", "port_number", "company", "swift", "user_agent",
)  # fmt: skip


@pytest.mark.parametrize(("locale", "method", "template", "kind"), FAKED)
def test_a_generator_of_others_is_found_out(locale: str, method: str, template: str, kind: str) -> None:
    faker = pytest.importorskip("faker").Faker(locale)
    faker.seed_instance(7)
    found = [
        kind in kinds(f"We wrote down {template.format(getattr(faker, method)())} and went on.") for _ in range(60)
    ]
    assert sum(found) >= 0.95 * len(found)


def test_faked_cards_with_words_around_them() -> None:
    faker = pytest.importorskip("faker").Faker()
    faker.seed_instance(7)
    for brand in ("visa16", "mastercard", "amex", "discover"):
        cards = [faker.credit_card_number(brand) for _ in range(40)]
        found = [bool([one for one in find_all(f"card {card}") if one.kind == "credit_card"]) for card in cards]
        assert sum(found) >= 0.95 * len(found), brand


@pytest.mark.parametrize("method", HARMLESS)
def test_what_others_make_that_is_harmless_is_not_found(method: str) -> None:
    faker = pytest.importorskip("faker").Faker("en_US")
    faker.seed_instance(5)
    found = [kinds(f"See {getattr(faker, method)()} for it.") for _ in range(60)]
    assert sum(map(bool, found)) <= 1


FOUND = {
    "email": ["anna [at] web [dot] de", "zhang.wei@qq.com，谢谢", "anna＠web.de", "an\u200bna@web\u200b.de", "<marie@université.fr>"],
    "phone": [
        "(415) 655-2671 x12", "+1-437-586-5797x543", "電話：+81 90-1234-5678", "call me on ０３０ １２３４５６７８", "tel: +49 (0)30 1234567",
        "Phone +4\u200b9 30 12\u200b34567", "WhatsApp +55 11 98765-4321",
    ],
    "national_id": [
        "NHS no. 943 476 5919", "85070998057 (PESEL)", "RSSMRA85T10A562S", "756.9217.0769.85", "131052-308T", "S8432157E is my NRIC",
        "SSN ５３６-９０-４３９９", "我的身份证号码是11010519491231002X。", "PPS number 8473625E",
    ],
    "credit_card": ["card 4539 1488 0343 6467", "Visa: 4539148803436467"],
    "passport": ["My passport number is 533380006.", "护照号码：G48295016"],
    "address": ["I live at 44 West Maple Street, Springfield, IL 62704", "Lindenstr. 12, 50667 Köln", "12 rue de la Paix, 75002 Paris",
                "Via Roma 12, 20121 Milano", "14 Tottenham Court Road, London W1T 1JY"],
    "date_of_birth": ["DOB 12/03/1987", "geboren am 3. März 1971", "生年月日：1990年1月2日", "I was born on 4 July 1988"],
    "secret": ["my password is Tr0ub4dor&3x", "-----BEGIN OPENSSH PRIVATE KEY-----", "aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYzzQ9kLm2Vt4s",
               "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2huIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r"],
    "url_credentials": ["https://admin:s3cr3tPa55@db.acme.io/x"],
    "ip": ["IP 93.184.216.34:8080", "2a00:1450:4001:81b::200e"],
    "mac": ["a4:5e:60:c2:11:9f"],
    "iban": ["GB94 BARC 1020 1530 0934 59"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts])
def test_found(kind: str, text: str) -> None:
    assert kinds(f"{text}") == [kind]
    assert kinds(f"Some words before.\n{text}\nAnd more.") == [kind]


@pytest.mark.parametrize(
    ("text", "region", "kind"),
    [("Ruf an: 030 12345678", "DE", ["phone"]), ("06 12 34 56 78", "FR", ["phone"]), ("612 34 56 78", "ES", ["phone"]),
     ("13812345678", "CN", ["phone"]), ("06 12 34 56 78", "US", []), ("(415) 655-2671", "DE", []), ("09/08/1820", "DE", [])],
)  # fmt: skip
def test_national_numbers_are_those_of_the_region(text: str, region: str, kind: list[str]) -> None:
    assert kinds(text, region) == kind


def test_regions_come_from_the_language_or_are_named() -> None:
    assert choose_regions(None, None) == ("US",) == choose_regions("xx", None)
    assert choose_regions("de-AT", None)[0] == choose_regions("German", None)[0] == "DE"
    assert choose_regions("de", "gb, ie") == ("GB", "IE")
    with pytest.raises(UsageError, match="pii_region"):
        choose_regions(None, "XX")


@pytest.mark.parametrize("text", RESERVED)
def test_reserved_examples_are_told_apart(text: str) -> None:
    assert kinds(text) == [] and len(apart(text)) == 1
    assert check([text]).verdict == "PASS" and "reserved for examples" in check([text]).sentence


CLEAN = [
    "Tom has 12 + 7 = 19 apples. 3 × 4 = 12, 16 - 3 - 4 = 9; 900-300-2000=-1400",
    "A series: 2, 4, 8, 16, 32, 64, 128, 256; 200 300 4000; 10 20 30 40 50 60 70 80",
    "ISBN 978-3-16-148410-0, 9783161484100; order 415-655-2671; $415-655-2671; DOI 10.1145/3292500.3330701",
    "Version 10.2.33.4, rv:1.9.2.20, Chrome/4.0.4.12, section 1.2.3.4",
    "git@github.com:a/b.git, logo@2x.png, @anna, a@b, std::vector<int>, 12:34:56:78",
    "Write the password: then press enter. password = getpass.getpass()  The secret is simple: practice",
    "The token is 12 characters long; api_key = os.environ['API_KEY']; key: value; passport control",
    "Mozart was born on 27 January 1756. Her dress: 12 blue streets. He lives in 3 worlds. 5 Apples Drive prices",
    "550e8400-e29b-41d4-a716-446655440000 d41d8cd98f00b204e9800998ecf8427e",
    "4111 1111 1111 1112 and 1234 5678 9012 3456 are no cards, nor is order 4539148803436467",
    "The IBAN DE89 3704 0044 0532 0130 01 has a wrong checksum; PESEL 85070998056 too; 943 476 5919 says nothing",
    "desk-top-and-task-list-of-things, risk-free-and-easy-going-people-of-the-world",
    "价格是１２３４５元，２０２４年１月１５日",
]


@pytest.mark.parametrize("text", CLEAN)
def test_everyday_numbers_are_no_personal_data(text: str) -> None:
    assert kinds(text) == []


def test_the_check_counts_rows_and_gives_its_own_verdict() -> None:
    texts = ["mail anna@web.de, or 536-90-4399", "nothing", "a@example.org", None, "", "from 93.184.216.34"]
    found = check(texts)
    assert (found.verdict, found.value, found.n, found.interval) == ("FAIL", 2.0, 6, None)
    assert found.details["findings"] == {"email": 1, "national_id": 1, "ip": 1} and found.details["reserved"] == {
        "email": 1
    }
    assert found.advice and "Names of persons" in found.method and "phonenumbers" in found.method
    assert [one.row for one in found.evidence] == [0, 5]
    assert check(texts, max_rows=2).verdict == "PASS"
    assert check(texts, kinds=["iban"]).value == 0
    assert check(texts, allow=["web.de", "93.184.216.34", r"536-\d\d-\d{4}"]).verdict == "PASS"
    assert check([]).verdict == "PASS" and check(["x"]).sentence.startswith("No personal data")


def test_data_without_text_are_inconclusive() -> None:
    [found] = pii(Data("numbers", pa.table({"n": [1, 2]})), CONTEXT)
    assert found.verdict == "INCONCLUSIVE" and found.value is None and "on:" in found.advice


@pytest.mark.parametrize(
    ("options", "named"),
    [({"kinds": ["emial"]}, "email"), ({"kinds": []}, "pii_kinds"), ({"kinds": ["person"]}, "presidio"), ({"engine": "regex"}, "patterns"),
     ({"max_rows": -1}, "max_pii_rows"), ({"allow": [""]}, "pii_allow"), ({"region": "Germany"}, "pii_region")],
)  # fmt: skip
def test_bad_options_name_the_option(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(["x"], **options)
    assert named in caught.value.message + caught.value.hint


@settings(max_examples=60)
@given(st.data())
def test_no_value_is_ever_shown_in_full(drawn: st.DataObject) -> None:
    seed = drawn.draw(st.integers(0, 10_000))
    rows = [row for row in make_rows(seed, 40) if row.planted]
    texts = [" ".join(row.text for row in rows[k : k + 3]) for k in range(0, len(rows), 3)]
    told = json.dumps(check(texts).as_json(), ensure_ascii=False)
    assert "•" in told
    for row in rows:
        assert row.planted[0][1] not in told


def test_masks() -> None:
    assert masked("536-90-4399") == "5•••••••••9" and masked("abcd") == "••••"
    assert masked("4539148803436467") == "45••••••••••••67"
    text = "a anna@web.de b"
    assert mask_all(text, find_all(text)) == "a a•••••••••e b"
    assert len(check(["x" * 5000 + " anna@web.de " + "y" * 5000]).evidence[0].text) <= 300


PIECES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["@", "+49 ", "DOB ", "SSN", " 12/03/1987", "passport number ", ".", "-", ":", " ", "\u200b", "１２３", "::", "key=", "0x"]),
    st.text("0123456789 .-/()", max_size=16),
    st.text("0123456789ABCDEFabcdef:.-", max_size=24),
    st.integers(0, 2000).map(lambda seed: make_rows(seed, 1)[0].text[-60:]),
    st.integers(0, 500).map(lambda seed: next(row.text for row in make_rows(seed, 6) if row.planted)),
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(PIECES, max_size=6).map("".join))
def test_the_first_look_loses_nothing(text: str) -> None:
    for regions in (("US",), ("DE", "CN")):
        assert find_all(text, None, regions) == find_all(text, None, regions, gated=False)


@settings(max_examples=100)
@given(st.lists(PIECES, max_size=5).map("".join))
def test_words_that_are_looked_for_first_lose_nothing(text: str) -> None:
    plain = fold(text)
    for pattern, words in (
        (personal_patterns.BIRTH, personal_patterns.BIRTH_WORDS),
        (personal_patterns.PASSPORT, personal_patterns.SUIT_WORDS),
        (personal_patterns.LICENCE, personal_patterns.DRIVE_WORDS),
        (secret_patterns.NAMED, secret_patterns.WORDS),
        (secret_patterns.PASSWORD, secret_patterns.WORDS),
    ):
        if pattern.search(plain.folded):
            assert any(word in plain.lower for word in words)
    for one in find_all(text):
        assert 0 <= one.start < one.end <= len(text) and one.kind in KINDS
    spans = [(one.start, one.end) for one in find_all(text)]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@pytest.mark.parametrize("negative", range(len(NEGATIVES)))
def test_look_alikes_alone(negative: int) -> None:
    import random

    rng = random.Random(negative)
    assert sum(bool(kinds(around(rng, NEGATIVES[negative](rng)))) for _ in range(40)) == 0


def test_what_stands_behind_signs_without_width_is_placed_in_the_text() -> None:
    text = "x\u200b\u200b y an\u200bna@web.de z"
    [one] = find_all(text)
    assert text[one.start : one.end] == "an\u200bna@web.de"


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "A", "Aa ", "1 Aa ", "a@", "@", "a.", "1-", "(1", "+1", "::", "1.", "eyJ", "token ", "password: ", "born on ",
     "http://a:b", "415-655-2671 ", "12 Aa St, Apt 1, Aa Aa, ", "Calle a ", "1 rue de ", "A1straße ", "\u200b1", "１", "a (at) b (dot) "],
)  # fmt: skip
def test_hostile_texts_take_no_longer_than_their_length(piece: str) -> None:
    """A backtracking pattern would not come to an end on these."""
    text = (piece * (60_000 // len(piece) + 1))[:60_000] + " anna@web.de"
    assert len(find_all(text, ["email"])) >= 1


def test_a_row_of_thirty_million_characters() -> None:
    text = "the quick brown fox, 12 of 400 times; " * 790_000 + " anna@web.de"
    found = check([text])
    assert found.value == 1.0 and found.details["findings"] == {"email": 1} and len(found.evidence[0].text) <= 300


def presidio(monkeypatch: pytest.MonkeyPatch, results: dict[str, list[tuple[str, int, int, float]]]) -> None:
    class AnalyzerEngine:
        def __init__(self, supported_languages: list[str]):
            if supported_languages != ["en"]:
                raise OSError("no model")

        def get_supported_entities(self, language: str) -> list[str]:
            return ["EMAIL_ADDRESS", "PERSON", "DATE_TIME"]

        def analyze(self, *, text: str, language: str, entities: list[str], score_threshold: float) -> list[Any]:
            every = [one for mark, found in results.items() if mark in text for one in found]
            return [
                SimpleNamespace(entity_type=kind, start=start, end=end, score=score)
                for kind, start, end, score in every
                if kind in entities
            ]

    module = types.ModuleType("presidio_analyzer")
    module.AnalyzerEngine = AnalyzerEngine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "presidio_analyzer", module)


def test_presidio_takes_the_place_of_the_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    presidio(
        monkeypatch,
        {
            "Anna": [("EMAIL_ADDRESS", 0, 11, 0.9), ("PERSON", 0, 4, 0.85), ("DATE_TIME", 0, 4, 0.9)],
            "info": [("EMAIL_ADDRESS", 0, 16, 1.0)],
        },
    )
    texts: list[str | None] = ["Anna@web.de is hers", "info@example.com", "SSN 536-90-4399"]
    found = check(texts, engine="presidio")
    assert found.value == 1 and found.details["reserved"] == {"email": 1} and "Presidio" in found.method
    assert "Anna@web.de" not in found.evidence[0].text
    assert check(texts, engine="presidio", kinds=["person"]).details["findings"] == {"person": 1}
    with pytest.raises(UsageError, match="cannot start"):
        check(texts, AuditContext(language="de"), engine="presidio")


def test_presidio_that_is_not_there_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtra) as caught:
        check(["x"], engine="presidio")
    assert "presidio" in caught.value.hint
