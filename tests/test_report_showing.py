"""Numbers and texts of a page: one form for numbers, no hidden characters, no private places."""

from __future__ import annotations

import json
import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.reporting.redacting import read_recipe, redact, redact_recipe, shorten
from factory.reporting.showing import excerpt, one_line, show, visible
from factory.reporting.told import Told


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (0, "0"), (12345, "12,345"), (-3, "\u22123"), (0.1, "0.1"), (0.123456, "0.1235"), (2.0, "2"),
        (1234.56, "1,235"), (98765.4321, "98,765"), (1e-7, "1e\u22127"), (4.1e-6, "4.1e\u22126"),
        (0.00010001, "0.0001"), (-0.00001, "\u22121e\u22125"), (float("nan"), "–"), (float("inf"), "–"),
        (1.5e18, "1.500e+18"), (10**400, "1.000e+400"),
    ],
)  # fmt: skip
def test_a_number_has_one_form(value: float | None, shown: str) -> None:
    assert show(value) == shown


@given(st.floats(-1e300, 1e300) | st.integers(-(10**14), 10**14))
def test_what_is_shown_is_the_number_to_four_digits(value: float) -> None:
    read = float(show(value).replace("\u2212", "-").replace(",", ""))
    assert math.isclose(read, value, rel_tol=0.06 if abs(value) < 1e-4 else 6e-4, abs_tol=0 if value else 1)


@given(st.text(st.characters(categories=("Cc", "Cf", "Cs", "Ll", "Zs")), max_size=40))
def test_nothing_hides(text: str) -> None:
    told = visible(text)
    allowed = {"\n", "\t", "\u200c", "\u200d", "\u00ad"}
    bad = {one for one in told if unicodedata.category(one) in ("Cc", "Cs") or unicodedata.bidirectional(one) in (
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")}  # fmt: skip
    assert bad <= allowed
    told.encode("utf-8")


def test_controls_are_spelt_out() -> None:
    assert visible("a\u202eb\x00\r\nc\ud800") == "a⟨U+202E⟩b⟨U+0000⟩\nc⟨U+D800⟩"


def test_a_long_text_is_cut_and_the_rest_counted() -> None:
    found = excerpt("x" * 30_000_000)
    assert len(found.text) == 2000
    assert found.left_off == 29_998_000
    assert str(found).endswith("… 29,998,000 more characters")
    assert one_line("a\n  b\tc" + "d" * 1000, 10) == "a b cdddd…"


def test_a_told_number_says_where_it_stands() -> None:
    told = Told({"checks": [{"value": 0.123456, "n": 7, "sentence": "<b>"}]})
    check = next(iter(told.checks))
    assert check.value.__html__() == '<data value="0.123456" data-at="/checks/0/value">0.1235</data>'
    assert check.sentence.__html__() == "&lt;b&gt;"
    assert (check.nothing.raw, str(check.nothing), check.nothing.inner.raw) == (None, "–", None)
    assert [(key, value.at) for key, value in check][:2] == [("value", "/checks/0/value"), ("n", "/checks/0/n")]


def test_a_recipe_is_shown_without_what_is_private() -> None:
    text = """
models:
  writer: {backend: openai, model: m, base_url: "https://h.internal/v1", identity: "x@https://h.internal",
           temperature: 1, headers: {X-Team: hush}, extra_body: {user: ann}}
score:
- http: {url: "http://10.0.0.7:9/check", weight: 1}
from: {path: /home/ann/tickets.jsonl}
vary: {a: {file: 'C:\\data\\a.txt'}, b: {file: data/b.txt},
       c: {choice: ["see https://ann:pw@example.org/x", "/and so on"]}}
"""
    shown = redact_recipe(read_recipe(text))
    for secret in ("internal", "hush", "user: ann", "10.0.0.7", "/home/ann", "C:\\data", "pw"):
        assert secret not in shown
    for kept in ("temperature: 1", "…/tickets.jsonl", "…/a.txt", "data/b.txt", "https://example.org/x", "weight: 1"):
        assert kept in shown


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "\x00", "just text"])
def test_what_is_no_recipe_is_empty(text: str) -> None:
    assert read_recipe(text) == {}


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=30)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_redacting_keeps_the_shape(value: object) -> None:
    assert type(redact(value)) is type(value)
    json.dumps(redact(value))


def test_only_whole_paths_are_shortened() -> None:
    assert shorten("/a/b/c.json") == "…/c.json"
    assert shorten("~/x/y/") == "…/y"
    assert shorten("and/or") == "and/or"
    assert shorten("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert shorten("write 3/4 of it\nplease") == "write 3/4 of it\nplease"
