"""Plots: every kind is drawn, the same each time, hostile labels stay text, and what cannot be drawn is told."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_examples import HOSTILE, plots

from factory.reporting.canvas import CARD
from factory.reporting.plots import MOST_POINTS, PlotError, draw_plot, fit, is_cut, thin, width_of

KINDS = [plot["kind"] for plot in plots()]
SVG = "{http://www.w3.org/2000/svg}"


def inlined(svg: str) -> ElementTree.Element:
    """The plot as a parser of XML reads it."""
    return ElementTree.fromstring(svg)


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_a_plot_is_text_in_the_colours_of_the_page(number: int) -> None:
    svg = draw_plot(plots()[number], "p7-")
    root = inlined(svg)
    assert root.get("role") == "img"
    assert [root[0].tag, root[1].tag] == ["title", "desc"]
    assert root[0].text == plots()[number]["title"]
    assert root[1].text
    assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"
    assert not re.search(r"#[0-9a-fA-F]{6}\b", svg), "a colour that does not follow the scheme"
    assert "var(--" in svg
    assert [one for one in root.iter("text") if one.text], "labels are text"
    assert not list(root.iter("script")) and "DejaVu" not in svg and "matplotlib" not in svg and "<metadata" not in svg


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
def test_ids_are_prefixed_and_point_somewhere(number: int) -> None:
    svg = draw_plot(plots()[number], "p7-")
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) and all(one.startswith("p7-") for one in ids)
    pointed = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
    assert pointed <= set(ids)


def test_the_same_plot_is_the_same_bytes() -> None:
    for plot in plots():
        assert draw_plot(plot, "a-") == draw_plot(plot, "a-")


def test_a_file_of_its_own_has_plain_colours_and_paper() -> None:
    svg = draw_plot(plots()[0], "c-", CARD)
    assert "var(" not in svg
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg" and root.get("width") == "472"
    assert root[2].tag == f"{SVG}rect" and root[2].get("fill") == "#ffffff"


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_label_stays_text(label: str) -> None:
    for plot in plots(label):
        root = inlined(draw_plot(plot, "p1-"))
        tags = {one.tag for one in root.iter()}
        assert tags <= {"svg", "g", "path", "text", "title", "desc", "defs", "use", "clipPath", "rect", "tspan"}, tags
        for one in root.iter():
            assert not any(key.startswith("on") for key in one.attrib)
            assert one.get("href", "#").startswith("#")


def test_mathematics_in_labels_is_not_set() -> None:
    plot = {"kind": "bars", "title": "m", "labels": ["$x^2$", "$\\frac{"], "series": {"a": [1, 2]}}
    shown = [one.text for one in inlined(draw_plot(plot, "p-")).iter("text")]
    assert "$x^2$" in shown and "$\\frac{" in shown


def test_a_verdict_is_not_told_by_colour_alone() -> None:
    words = ("PASS", "FAIL", "INCONCLUSIVE")
    rows = [{"label": word, "value": 1, "low": 0, "high": 2, "verdict": word} for word in words]
    root = inlined(draw_plot({"kind": "forest", "title": "f", "rows": rows}, "p-"))
    shapes = {one.get("d") for one in root.iter("path") if "p-m" in one.get("id", "")}
    assert len(shapes) == 2, "a square for FAIL, a circle else"
    fills = {
        one.get("style", "").split(";")[0] for one in root.iter() if one.find("use") is not None or one.tag == "use"
    }
    assert {"fill: var(--pass)", "fill: var(--fail)", "fill: var(--paper)"} <= fills, "INCONCLUSIVE is hollow"


@pytest.mark.parametrize(
    "spec",
    [
        None, 7, {}, {"kind": "violin"}, {"kind": ["bars"]}, {"kind": "bars"}, {"kind": "forest", "rows": []},
        {"kind": "forest", "rows": [{"label": "a", "value": None}]},
        {"kind": "bars", "labels": ["a"], "series": {"x": []}},
        {"kind": "histogram", "edges": [0, 1], "series": {"a": [1, 2]}},
        {"kind": "histogram", "edges": [1, 0], "series": {"a": [1]}},
        {"kind": "histogram", "edges": [0, None], "series": {"a": [1]}},
        {"kind": "curve", "x": [1, 2], "series": {"a": {"y": [1]}}}, {"kind": "points", "x": [1], "y": []},
        {"kind": "points", "x": [], "y": []}, {"kind": "curve", "x": [1], "series": {"a": {"low": [1]}}},
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_says_why(spec: Any) -> None:
    with pytest.raises(PlotError, match=r"\w"):
        draw_plot(spec, "p-")


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "forest", "rows": [{"label": "a", "value": 1}]},
        {"kind": "forest", "rows": [{"value": 1, "low": None, "high": None, "mde": None, "verdict": "odd"}] * 300},
        {"kind": "bars", "labels": ["a"], "series": {"x": [None], "y": [-3]}},
        {"kind": "bars", "labels": [str(at) for at in range(900)], "series": {"x": list(range(900))}},
        {"kind": "bars", "labels": ["a"], "series": {str(at): [1] for at in range(9)}},
        {"kind": "histogram", "edges": [3, 3], "series": {"x": [0]}},
        {"kind": "curve", "x": [1], "series": {"a": {"y": [1], "low": [1], "high": [1]}}},
        {"kind": "curve", "x": [1, 2], "series": {"a": {"y": [1, None]}}},
        {"kind": "points", "x": [1e-300, 1e300], "y": [5, 5]},
    ],
)  # fmt: skip
def test_edges_of_what_can_be_drawn(spec: Any) -> None:
    inlined(draw_plot(spec, "p-"))


numbers = st.none() | st.floats() | st.integers(-(10**6), 10**6) | st.text(max_size=2)
lists = st.lists(numbers, max_size=4)


curves = st.dictionaries(st.sampled_from(["y", "low", "high"]), lists)
many = st.none() | lists | st.dictionaries(st.text(max_size=3), lists | curves)


@settings(max_examples=25)
@given(st.sampled_from(KINDS), lists, lists, st.text(max_size=5), many)
def test_any_specification_is_drawn_or_refused(kind: str, x: list[Any], y: list[Any], text: str, series: Any) -> None:
    rows = [{"label": text, "value": one, "low": one, "mde": text} for one in y]
    spec = {"kind": kind, "title": text, "x": x, "y": y, "labels": x, "edges": x, "series": series, "rows": rows,
            "limit": x, "x_label": text}  # fmt: skip
    try:
        inlined(draw_plot(spec, "p-"))
    except PlotError as error:
        assert str(error)


def test_points_are_thinned_evenly() -> None:
    assert thin(3) == [0, 1, 2]
    found = thin(2000)
    assert len(found) == MOST_POINTS and found == sorted(set(found)) and found[-1] > 1980
    svg = draw_plot({"kind": "points", "title": "p", "x": list(range(2000)), "y": list(range(2000))}, "p-")
    assert len(list(inlined(svg).iter("use"))) <= MOST_POINTS + 20
    assert len(svg) < 40_000


@given(st.text(max_size=60), st.integers(30, 200))
def test_labels_fit(text: str, most: int) -> None:
    assert width_of(fit(text, most)) <= most


def test_what_is_not_drawn_is_told() -> None:
    assert not any(is_cut(plot) for plot in plots() if plot["kind"] != "points")
    assert is_cut(plots()[-1])
    assert is_cut({"kind": "forest", "rows": [{}] * 31}) and not is_cut({"kind": "forest", "rows": [{}] * 30})
    assert is_cut({"kind": "bars", "labels": ["a"], "series": {name: [1] for name in "abcde"}})


def test_ratios_are_drawn_on_a_scale_of_their_own() -> None:
    rows = [
        {"label": "far", "value": 10.0, "low": 1e-9, "high": 1e9},
        {"label": "near", "value": 1.1, "low": 0.9, "high": 1.3},
    ]
    spec = {"kind": "forest", "title": "odds", "rows": rows, "limit": 1.0, "scale": "log", "x_label": "ratio"}
    drawn = draw_plot(spec, "p-")
    assert "<svg" in drawn and ">100<" in drawn and ">0.01<" in drawn
