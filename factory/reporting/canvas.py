"""Plots as SVG: drawn by matplotlib without any global state of its own, then made fit to stand inside a page.

Text stays text, nothing in the file depends on time or on the order of drawing, ids carry a prefix so that many plots
share a page, and colours are names: on a page CSS variables (light and dark), in a file of its own plain colours.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EDGE, HEAD = 16, 40
"""Pixels around a plot that is a file of its own, and above it, for its title."""
WIDTH = 440
"""Pixels: what a phone shows at nearly its own size."""
INK, MUTED, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
ONE, TWO, THREE, FOUR = "#050505", "#060606", "#070707", "#080808"
GOOD, BAD, OPEN = "#090909", "#0a0a0a", "#0b0b0b"
SERIES = (ONE, TWO, THREE, FOUR)
PAGE: Mapping[str, str] = {
    INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)", ONE: "var(--one)",
    TWO: "var(--two)", THREE: "var(--three)", FOUR: "var(--four)", GOOD: "var(--pass)", BAD: "var(--fail)",
    OPEN: "var(--open)",
}  # fmt: skip
CARD: Mapping[str, str] = {
    INK: "#1b1f24", MUTED: "#59626d", GRID: "#dde1e6", PAPER: "#ffffff", ONE: "#1f5fbf", TWO: "#b4560f",
    THREE: "#0b7a5b", FOUR: "#7a4aa8", GOOD: "#0b7a5b", BAD: "#b3261e", OPEN: "#6b7280",
}  # fmt: skip
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_FIGURE = re.compile(r"-?\d+\.\d+")
_SETTINGS: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "factory", "text.parse_math": False, "text.usetex": False,
    "font.family": "DejaVu Sans", "font.size": 12, "axes.unicode_minus": True, "path.simplify": True,
    "path.simplify_threshold": 0.3, "text.color": INK, "axes.labelcolor": MUTED, "xtick.color": MUTED,
    "ytick.color": MUTED, "axes.edgecolor": GRID, "grid.color": GRID, "axes.titlesize": 12, "legend.fontsize": 12,
    "axes.formatter.use_mathtext": False, "axes.formatter.limits": (-4, 5), "axes.formatter.useoffset": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sheet:
    """A figure of `WIDTH` × `height` pixels, and places on it in pixels from the left and the top."""

    figure: Figure
    height: float

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes between these margins, with light lines and no box."""
        width, height = (WIDTH - left - right) / WIDTH, (self.height - top - bottom) / self.height
        axes = self.figure.add_axes((left / WIDTH, bottom / self.height, width, height))
        axes.set_facecolor("none")
        axes.tick_params(length=0, pad=5)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        return axes


@contextmanager
def _quiet() -> Iterator[None]:
    """Glyphs that the measuring font lacks are the browser's to draw: no warning about them."""
    import matplotlib

    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), matplotlib.rc_context():
            warnings.simplefilter("ignore")
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_SETTINGS)
            yield
    finally:
        logger.setLevel(level)


def draw(
    paint: Callable[[Sheet], None],
    height: float,
    *,
    prefix: str,
    title: str,
    told: str,
    colours: Mapping[str, str] = PAGE,
) -> str:
    """An SVG of `WIDTH` × `height`. `paint` draws on the sheet; `prefix` goes before every id; `title` and `told` are
    what a screen reader says. With `PAGE` colours it is meant to be inlined, else it is a file of its own.
    """
    from matplotlib.figure import Figure

    with _quiet():
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        figure.patch.set_alpha(0)
        paint(Sheet(figure, height))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return _clean(buffer.getvalue(), prefix, title, told, colours)


def _clean(svg: bytes, prefix: str, title: str, told: str, colours: Mapping[str, str]) -> str:
    root = ElementTree.fromstring(svg)
    used = _references(root)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}defs" and child.find(f"{_SVG}style") is not None:
                child.remove(child.find(f"{_SVG}style"))  # type: ignore[arg-type]
            if "metadata" in str(child.tag) or (child.tag == f"{_SVG}defs" and not len(child)):
                parent.remove(child)
    for element in root.iter():
        _rewrite(element, prefix, used, colours)
    _simplify(root)
    inline = colours is PAGE
    box = root.get("viewBox", f"0 0 {WIDTH} 100")
    own: dict[str, str] = {}
    if not inline:
        width, height = (
            float(one) + extra for one, extra in zip(box.split()[2:], (2 * EDGE, HEAD + EDGE), strict=True)
        )
        box = f"{-EDGE} {-HEAD} {width:g} {height:g}"
        own = {"xmlns": "http://www.w3.org/2000/svg", "width": f"{width:g}", "height": f"{height:g}"}
    named = {"viewBox": box, "role": "img", "aria-labelledby": f"{prefix}t {prefix}d"}
    whole = ElementTree.Element("svg", own | named)
    for name, text in (("title", title), ("desc", told)):
        ElementTree.SubElement(whole, name, {"id": f"{prefix}{name[0]}"}).text = text
    if not inline:
        corner = {"x": f"{-EDGE}", "y": f"{-HEAD}"}
        ElementTree.SubElement(whole, "rect", {**corner, "width": "100%", "height": "100%", "fill": colours[PAPER]})
        head = {"x": "0", "y": "-16", "font-size": "14", "font-weight": "600", "fill": colours[INK]}
        ElementTree.SubElement(whole, "text", head).text = title
        whole.set("font-family", "system-ui, sans-serif")
    whole.extend(list(root))
    return ElementTree.tostring(whole, encoding="unicode")


def _references(root: Any) -> set[str]:
    """The ids that something points at."""
    found = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == _LINK:
                found.add(value.lstrip("#"))
            found.update(re.findall(r"url\(#([^)]+)\)", value))
    return found


def _rewrite(element: Any, prefix: str, used: set[str], colours: Mapping[str, str]) -> None:
    """One element without its namespace, with prefixed ids, short figures, named colours and the page's own font."""
    element.tag = str(element.tag).removeprefix(_SVG)
    element.tail = None
    if element.text is not None and not element.text.strip():
        element.text = None
    given = dict(element.attrib)
    element.attrib.clear()
    for key, value in given.items():
        if key == "id":
            if value in used:
                element.set("id", prefix + value)
        elif key == _LINK:
            element.set("href", "#" + prefix + value.lstrip("#"))
        elif key == "style":
            element.set("style", _restyle(value, colours))
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        elif "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{prefix}"))
        elif key in ("d", "x", "y", "width", "height", "transform"):
            element.set(key, " ".join(_FIGURE.sub(lambda found: f"{float(found[0]):.1f}", value).split()))
        else:
            element.set(key, value)


def _simplify(element: Any) -> None:
    """Without groups that hold nothing, paths that show nothing, and styles that all markers of a group repeat."""
    for child in list(element):
        _simplify(child)
        style = child.get("style", "")
        unseen = style == "fill: none" or style.startswith("fill: none; opacity: 0")
        if (child.tag == "g" and not len(child)) or (child.tag == "path" and unseen):
            element.remove(child)
    styles = {child.get("style") for child in element if child.tag == "use"}
    if len(styles) == 1 and all(child.tag in ("use", "defs") for child in element) and None not in styles:
        element.set("style", styles.pop())
        for child in element:
            if child.tag == "use":
                del child.attrib["style"]


def _restyle(style: str, colours: Mapping[str, str]) -> str:
    kept = []
    for one in style.split(";"):
        name, _, value = one.strip().partition(": ")
        if name == "font":
            size = re.search(r"([\d.]+)px", value)
            weight = "font-weight: 600; " if "bold" in value or value.startswith(("600", "700")) else ""
            kept.append(f"{weight}font-size: {size[1] if size else 12}px")
        elif name and name != "font-family":
            kept.append(f"{name}: {colours.get(value, value)}")
    return "; ".join(kept)
