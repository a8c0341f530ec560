"""The page: every number is that of audit.json, nothing a model wrote acts, and nothing private is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from report_examples import HOSTILE, at, audit, run_facts

from factory.auditors import Data
from factory.reporting import ReportFacts, card_plots, card_summary, run_files, tell_story, write_report
from factory.reporting.page import make_page
from factory.reporting.showing import show, visible
from factory.run_dir import RunDir

TEXTS = ["one text", "another text", "a third text", "the fourth", "the fifth"]
LABEL = " ".join(HOSTILE)
VOID = {"meta", "link", "img", "br"}
OWN = ("95 % interval", "Holm 1979")
"""Figures that the page's own words hold."""


@dataclass
class Node:
    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    inner: list[Node | str] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        yield self
        for one in self.inner:
            if isinstance(one, Node):
                yield from one.walk()

    def text(self) -> str:
        return "".join(one if isinstance(one, str) else one.text() for one in self.inner)

    def find(self, **wanted: str) -> Node:
        return next(
            one for one in self.walk() if all(one.attributes.get(key) == value for key, value in wanted.items())
        )

    def words(self, skip: tuple[str, ...]) -> Iterator[str]:
        """The texts outside elements with these tags."""
        for one in self.inner:
            if isinstance(one, str):
                yield one
            elif one.tag not in skip:
                yield from one.words(skip)


class Reader(HTMLParser):
    """A page as a tree; an element that is closed by another's end tag is an error of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("root")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        made = Node(tag, dict(attrs))
        self.open[-1].inner.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].inner.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> inside <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].inner.append(data)


def read(page: str) -> Node:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root], "an element is not closed"
    return reader.root


def strings(value: Any) -> Iterator[str]:
    """All texts of a JSON value, its keys, and its lists as JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        yield json.dumps(value, ensure_ascii=False)
        for inner in value:
            yield from strings(inner)


def squeeze(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module", params=["female · nurse", LABEL], ids=["plain", "hostile"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportFacts, str, Node]:
    """Facts whose audit holds the story, as audit.json does, and their page."""
    facts = run_facts(tmp_path_factory.mktemp("run"), [*TEXTS, *HOSTILE], request.param)
    facts.audit["story"] = json.loads(json.dumps(tell_story(facts)))  # type: ignore[index]
    page = make_page(facts)
    return facts, page, read(page)


Made = tuple[ReportFacts, str, Node]


def test_every_number_is_that_of_the_audit(made: Made) -> None:
    facts, _, page = made
    told = [one for one in page.walk() if one.tag == "data"]
    assert len(told) > 300
    for one in told:
        exact = at(facts.audit, str(one.attributes["data-at"]))
        assert json.loads(str(one.attributes["value"])) == exact and type(exact) in (int, float)
        assert one.text() == show(exact)


def test_every_check_tells_all_its_numbers_and_sentences(made: Made) -> None:
    facts, _, page = made
    listed = page.find(id="checks")
    shown = {str(one.attributes["data-at"]) for one in listed.walk() if one.tag == "data"}
    text = squeeze(listed.text())
    for number, check in enumerate(facts.audit["checks"]):
        for key in ("value", "n", "mde", "p", "p_adjusted"):
            assert check[key] is None or f"/checks/{number}/{key}" in shown
        if check["interval"]:
            assert {f"/checks/{number}/interval/{place}" for place in (0, 1)} <= shown
        for key in ("sentence", "advice", "method", "gate"):
            assert squeeze(visible(check[key] or "")).replace("`", "") in text.replace("`", "")
        for place, evidence in enumerate(check["evidence"]):
            assert f"/checks/{number}/evidence/{place}/row" in shown
            assert squeeze(visible(evidence["text"])) in text
        assert page.find(id="checks").text().count(check["verdict"])


def test_no_number_is_invented(made: Made) -> None:
    facts, _, page = made
    known = [squeeze(visible(text)) for text in strings(facts.audit)]
    pieces = [part for text in known for part in (text, *text.split("`"))]
    sections = [one for one in page.walk() if re.match(r"checks$|verdicts$|area-", str(one.attributes.get("id")))]
    assert len(sections) >= 7
    for section in sections:
        for word in section.words(("data", "svg", "style")):
            told = squeeze(word)
            for own in OWN:
                told = told.replace(own, "")
            for part in told.rstrip("…").split(" · "):
                assert not re.search(r"\d", part) or any(part.strip("· ") in piece for piece in pieces), part


def test_plots_have_their_values_below(made: Made) -> None:
    facts, _, page = made
    shown = {str(one.attributes["data-at"]) for one in page.walk() if one.tag == "data"}
    for place in ("rows/0/value", "rows/0/low", "rows/0/high", "rows/0/mde"):
        assert f"/checks/0/details/plots/0/{place}" in shown
    for number, check in enumerate(facts.audit["checks"]):
        for plot in check["details"].get("plots", ()):
            for name in plot.get("series", {}) if plot["kind"] in ("bars", "histogram") else ():
                for value in range(len(plot["series"][name])):
                    assert f"/checks/{number}/details/plots/0/series/{name}/{value}" in shown
    drawn = [one for one in page.walk() if one.tag == "svg"]
    assert len(drawn) == 9, "five plots of checks, four of the story"
    assert page.text().count("This plot cannot be drawn") == 2, "and what cannot be drawn is told"


def test_nothing_acts_and_nothing_is_loaded(made: Made) -> None:
    _, text, page = made
    assert text.isprintable() or not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", text)
    allowed = {"#", "data:,"}
    for one in page.walk():
        assert one.tag not in {"script", "iframe", "object", "embed", "img", "form", "base", "input"}
        for key, value in one.attributes.items():
            assert not key.startswith("on") and key not in {"src", "srcset", "action", "formaction", "xlink:href"}
            if key == "href":
                assert str(value)[:1] in allowed or value in allowed
    assert [one.tag for one in page.walk()].count("title") == 1 + 9, "that of the page and one for each plot"
    assert [one.tag for one in page.walk()].count("style") == 1
    policy = next(one for one in page.walk() if one.attributes.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy.attributes["content"]) and "script" not in str(
        policy.attributes["content"]
    )


def test_ids_are_unique_and_links_lead_somewhere(made: Made) -> None:
    _, _, page = made
    ids = [one.attributes["id"] for one in page.walk() if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    links = {str(one.attributes["href"])[1:] for one in page.walk() if one.tag == "a"}
    assert links <= set(ids)
    assert {"verdicts", "funnel", "scores", "axes", "duplicates", "contamination", "costs", "examples", "checks",
            "configuration", "area-bias", "area-privacy"} <= links  # fmt: skip
    for one in page.walk():
        assert not {"aria-labelledby"} & one.attributes.keys() or set(
            str(one.attributes["aria-labelledby"]).split()
        ) <= set(ids)


def test_nothing_private_is_told(made: Made) -> None:
    _, text, _ = made
    for secret in ("secret", "8443", "/home/ann", "X-Team"):
        assert secret not in text
    assert "…/tickets.jsonl" in text and "Qwen/Qwen3-8B" in text and "…/data.jsonl" in text


def test_what_models_wrote_is_shown_as_text(made: Made) -> None:
    _, _, page = made
    text = squeeze(page.find(id="examples").text())
    for row in HOSTILE[-2:]:
        assert squeeze(visible(row.encode("utf-8", "replace").decode())) in text
    assert "4 May 2026, 03:02 UTC" in page.text()


def test_the_same_facts_are_the_same_page(made: Made) -> None:
    facts, text, _ = made
    assert make_page(facts) == text


def test_data_without_a_run_and_without_findings(tmp_path: Path) -> None:
    table = pa.table({"text": ["a row", "<script>alert(1)</script>"]})
    facts = ReportFacts(audit(), "data </title>", Data("data", table), Data("/home/ann/real.jsonl", table))
    write_report(tmp_path / "report.html", facts)
    page = read((tmp_path / "report.html").read_text())
    ids = {one.attributes.get("id") for one in page.walk()}
    assert not ids & {"funnel", "scores", "axes", "costs"} and {"verdicts", "checks", "examples"} <= ids
    assert "…/real.jsonl" in page.text() and "/home" not in page.text()
    empty = {"verdict": "INCONCLUSIVE", "areas": {}, "tests": 0, "alpha": 0.05, "facts": {}, "checks": []}
    for rows in (0, 1):
        page = read(make_page(ReportFacts(empty, "", Data("d", table.slice(0, rows)))))
        assert "No check was made." in page.text()


def test_odd_values_of_a_plugin_do_not_break_the_page() -> None:
    check = {
        "name": "custom.x", "subject": "", "verdict": "ODD", "value": None, "interval": None, "n": 0, "mde": None,
        "gate": None, "p": None, "p_adjusted": None, "tests": 0, "sentence": "", "advice": "", "method": "",
        "evidence": [],
        "details": {"plots": {"not": "a list"}, "tables": [{"rows": [[1], [1, 2]], "header": ["only"]}, 7],
                    "deep": {"a": [{"b": [1, {"c": None}]}]}, "long": list(range(500)), "yes": True, "": "", "n/~": 3,
                    "text": "x" * 10_000, "wide": [{str(key): key for key in range(40)}]},
    }  # fmt: skip
    twice = {"checks": [check, {**check, "details": {}}], "areas": {}, "verdict": "PASS", "facts": {"a/b": {"c~d": 1}}}
    page = read(make_page(ReportFacts(twice, "t", Data("d", pa.table({"text": ["a"]})))))
    ids = [one.attributes.get("id") for one in page.walk()]
    assert "check-custom.x" in ids and "check-custom.x-2" in ids
    for one in page.walk():
        if one.tag == "data" and not str(one.attributes["data-at"]).startswith("/story"):
            assert at(twice, str(one.attributes["data-at"])) == json.loads(str(one.attributes["value"]))


def test_sixty_checks_and_a_huge_row_stay_small(tmp_path: Path) -> None:
    facts = run_facts(tmp_path, ["x" * 30_000_000, *TEXTS], copies=12)
    page = make_page(facts)
    assert len(facts.audit["checks"]) > 60
    assert len(page.encode()) < 3_000_000
    assert "more characters" in page


def test_a_run_directory_is_read(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run_files(run).rejects is None and run_files(run).recipe == ""
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    run.manifest.write_text('{"name": "x", "rows": 3}')
    found = run_files(run)
    assert found.manifest["rows"] == 3 and found.recipe == "name: x\n"
    assert run_files(run, {"rows": 4}).manifest == {"rows": 4}


def test_plots_and_summary_of_the_card(made: Made) -> None:
    facts, _, _ = made
    found = card_plots(facts)
    assert list(found) == ["plots/verdicts.svg", "plots/funnel.svg", "plots/scores.svg"]
    for svg in found.values():
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg") and b"var(" not in svg and b"<script" not in svg and len(svg) < 30_000
    assert found == card_plots(facts)
    told = card_summary(facts, found)
    assert "| bias | FAIL | 0 | 1 | 0 |" in told and "![candidates left after each stage](plots/funnel.svg)" in told
    bad = [check for check in facts.audit["checks"] if check["verdict"] == "FAIL"]
    assert told.count("- **") == len(bad) == 2
    assert "<script" not in told and "<img" not in told and "\u202e" not in told
    assert "](javascript" not in told


def test_the_lengths_of_a_check_are_a_plot_of_the_card() -> None:
    found = audit()
    found["checks"][1]["name"] = "fidelity.length"
    facts = ReportFacts(found, "t", Data("d", pa.table({"text": ["a"]})))
    assert list(card_plots(facts)) == ["plots/verdicts.svg", "plots/lengths.svg"]
    found["checks"] = []
    assert card_plots(facts) == {}
