"""The page in a real browser: on a wide and a narrow screen, light and dark, on paper; hostile rows do nothing."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, Visit, find_chromium
from report_examples import HOSTILE, at, run_facts

import factory
from factory.recipe import shipped
from factory.reporting import card_plots, write_report
from factory.reporting.showing import show

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
RECIPES = sorted(path.stem for path in shipped("recipes").glob("*.yaml"))
SIZES = [(1400, False), (1400, True), (390, False), (390, True)]
STATE = """JSON.stringify([document.title === 'struck', document.scripts.length,
  document.images.length, getComputedStyle(document.body).display, document.querySelectorAll('details').length > 9])"""
CLIPPED = """[...document.querySelectorAll('main *, header *')].filter(one => {
  const box = one.getBoundingClientRect();
  return box.width > 0 && box.right > document.documentElement.clientWidth + 1 && !one.closest('.scroll, .config, svg');
}).map(one => one.tagName + '.' + one.className).slice(0, 5)"""
UNSEEN = """[...document.querySelectorAll('main td, main dd, main li, main p')]
  .filter(one => one.getClientRects().length === 0).length"""
BOXED = """[...document.querySelectorAll('*')].filter(one => ['auto', 'scroll']
  .includes(getComputedStyle(one).overflowY)).length"""
TINY = """Math.min(...[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height)
  .filter(height => height > 0))"""
OVERLAP = """[...document.querySelectorAll('svg')].map(svg => {
  const boxes = [...svg.querySelectorAll('text')].map(one => one.getBoundingClientRect()).filter(box => box.width > 0);
  const edge = svg.getBoundingClientRect();
  return boxes.filter(box => box.left < edge.left - 2 || box.right > edge.right + 2).length;
}).reduce((sum, one) => sum + one, 0)"""
FIGURES = "[...document.querySelectorAll('data')].map(one => [one.dataset.at, one.value, one.textContent])"
COLOURS = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    assert program is not None
    started = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rows, labels, reasons and sentences all want to break the page; one row has 30 million characters."""
    folder = tmp_path_factory.mktemp("hostile")
    write_report(folder / "report.html", run_facts(folder, [*HOSTILE, "x" * 30_000_000], " ".join(HOSTILE)))
    return folder / "report.html"


def check(visit: Visit, width: int) -> None:
    assert visit.problems == []
    assert visit.requests == []
    assert visit.shown == width
    assert visit.width <= width, "the page is wider than the screen"


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_hostile_rows_do_nothing_and_nothing_overflows(browser: Chromium, page: Path, width: int, dark: bool) -> None:
    visit = browser.visit(page, width=width, dark=dark, scripts=(STATE, CLIPPED, OVERLAP, TINY))
    check(visit, width)
    state, clipped, outside, tiny = visit.values
    assert state == '[false,0,0,"block",true]'
    assert clipped == []
    assert outside == 0, "a text of a plot leaves its plot"
    assert tiny >= 9, "a text of a plot cannot be read"


def test_escaping_alone_is_enough(browser: Chromium, page: Path) -> None:
    """Even where the page's own policy forbids nothing."""
    visit = browser.visit(page, lawless=True, scripts=(STATE,))
    check(visit, 1400)
    assert visit.values == ['[false,0,0,"block",true]']


def test_the_browser_would_notice(browser: Chromium, tmp_path: Path) -> None:
    """What these tests look for is seen where it happens."""
    bad = "<p style='width:3000px'>wide<img src=x onerror=console.log(1)><script>no()</script>"
    (tmp_path / "bad.html").write_text(f"<!doctype html><title>t</title><main>{bad}</main>")
    visit = browser.visit(tmp_path / "bad.html", scripts=(STATE, CLIPPED))
    assert visit.width >= 3000 and visit.requests and visit.values[1]
    assert {told.split(":")[0] for told in visit.problems} >= {"console", "exception"}


def test_the_colours_follow_the_scheme(browser: Chromium, page: Path) -> None:
    light, dark = (browser.visit(page, dark=dark, scripts=(COLOURS,)).values[0] for dark in (False, True))
    assert light == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
    assert dark == ["rgb(20, 23, 27)", "rgb(230, 233, 237)"]


def test_sections_open_and_close_without_a_script(browser: Chromium, page: Path) -> None:
    shut = "(() => { const one = document.querySelector('#funnel'); one.firstElementChild.click(); return one.open })()"
    link = """(async () => { location.hash = 'check-privacy.membership'; await new Promise(requestAnimationFrame);
      return document.getElementById('check-privacy.membership').getBoundingClientRect().top < innerHeight })()"""
    assert browser.visit(page, scripts=(shut, link)).values == [False, True]


def test_paper_shows_all_of_it(browser: Chromium, page: Path) -> None:
    visit = browser.visit(page, width=760, dark=True, media="print", scripts=(UNSEEN, BOXED, COLOURS))
    check(visit, 760)
    assert visit.values == [0, 0, ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]]


def test_a_picture_can_be_taken(browser: Chromium, page: Path) -> None:
    taken = browser.visit(page, width=390, picture=True).picture
    width, height = struct.unpack(">II", taken[16:24])
    assert width == 390 and height > 5000


def test_the_plots_of_a_card_are_images(browser: Chromium, tmp_path: Path) -> None:
    found = card_plots(run_facts(tmp_path, list(HOSTILE), HOSTILE[0]))
    for name, svg in found.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(svg)
    images = "".join(f'<img src="{name}">' for name in found)
    (tmp_path / "card.html").write_text(f"<!doctype html><meta charset=utf-8><title>card</title>{images}")
    sizes = "Promise.all([...document.images].map(one => one.decode().then(() => one.naturalWidth)))"
    assert browser.visit(tmp_path / "card.html", scripts=(sizes,)).values == [[472, 472, 472]]


@pytest.mark.parametrize("name", RECIPES)
def test_the_report_of_a_shipped_recipe(
    browser: Chromium, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_REPORT", "on")
    result = factory.run(name, runs_dir=tmp_path, rows=12)
    audit = json.loads((result.path / "audit.json").read_text())
    for width, dark in SIZES:
        visit = browser.visit(result.path / "report.html", width=width, dark=dark, scripts=(CLIPPED, OVERLAP, FIGURES))
        check(visit, width)
        clipped, outside, figures = visit.values
        assert (clipped, outside) == ([], 0)
        assert len(figures) > 100
        for place, exact, shown in figures:
            assert at(audit, place) == json.loads(exact) and shown == show(json.loads(exact))
