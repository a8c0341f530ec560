"""The page: what its template needs beside `audit.json`, and the whole of it as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any

from factory.auditing.report import AREAS
from factory.auditors import Data
from factory.reporting.facts import ReportFacts
from factory.reporting.plots import PlotError, draw_plot, is_cut
from factory.reporting.redacting import read_recipe, redact, redact_recipe
from factory.reporting.rejects import Rejects, read_rejects
from factory.reporting.showing import Excerpt, excerpt, one_line, show, visible
from factory.reporting.story import tell_story
from factory.reporting.told import Told
from factory.reporting.values import Table, as_table, given_tables, is_plain, lines_of, make_table, plot_values

MARKS = {"PASS": "✓", "FAIL": "✕", "INCONCLUSIVE": "?"}
MOST_PLOTS = 12
"""Plots that are drawn of one check."""
SHORT = 60
"""Characters of a value that stands in a line with others."""
OWN_KEYS = frozenset({"plots", "tables"})


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its title and the values it draws; `problem`: why there is no drawing; `cut`: not all is drawn."""

    title: str
    svg: Any
    values: Table | None
    problem: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class CheckView:
    """A check as told values, with its anchor and its plots."""

    told: Told
    anchor: str
    title: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    figures_problem: str = ""

    @property
    def verdict(self) -> str:
        return str(self.told.verdict.raw)

    @property
    def short(self) -> str:
        """The title without the area."""
        return self.title.partition(".")[2] or self.title

    @property
    def others(self) -> list[tuple[str, Told]]:
        """Figures of the check by name, without those that are drawn or stand in tables of their own."""
        return [(key, value) for key, value in self.told.details if key not in OWN_KEYS]


@dataclass(frozen=True, slots=True)
class Area:
    """The checks of one area."""

    name: str
    verdict: Told
    checks: tuple[CheckView, ...]

    @property
    def drawn(self) -> list[CheckView]:
        return [check for check in self.checks if check.figures or check.tables]

    @property
    def figured(self) -> list[CheckView]:
        return [check for check in self.checks if check.figures]


@dataclass(frozen=True, slots=True)
class RowView:
    """A row or a candidate: short values by name in a line, long ones each by itself; `facts` are its told figures."""

    facts: Told
    short: tuple[tuple[str, str], ...] = ()
    long: tuple[tuple[str, Excerpt], ...] = ()


class _Artist:
    """Draws plots with ids that no other plot of the page has."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def __call__(self, spec: Told) -> Figure:
        from markupsafe import Markup

        title = one_line(spec.title.raw or spec.kind.raw or "plot", 160)
        try:
            # The one place where text joins the page as it is: SVG that an XML writer has escaped.
            svg = Markup(draw_plot(spec.raw, f"p{next(self._numbers)}-"))
        except PlotError as error:
            return Figure(title, None, None, str(error))
        return Figure(title, svg, plot_values(spec), cut=is_cut(spec.raw))


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("factory.reporting", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "line": one_line,
        "amount": show,
        "prose": _prose,
        "mark": lambda word: MARKS.get(str(word), "·"),
        "css": Markup,
        "slug": _slug,
        "area": lambda name: _slug(str(name or "").partition(".")[0]),
        "allplain": lambda value: all(is_plain(one) for one in value.raw),
        "redacted": lambda value: Told(redact(value.raw), value.at),
    }
    made.tests |= {"plain": lambda value: is_plain(value.raw), "listed": lambda value: isinstance(value.raw, list)}
    return made


def make_page(facts: ReportFacts) -> str:
    """The report as HTML. Raises FactoryError (files of the run that cannot be read)."""
    audit = dict(facts.audit)
    audit["story"] = audit.get("story") or json.loads(json.dumps(tell_story(facts)))
    told, artist = Told(audit), _Artist()
    rejects = read_rejects(facts.run.rejects if facts.run is not None else None)
    views = _views(told.checks, artist)
    styles, _, _ = _environment().loader.get_source(_environment(), "report.css")
    return str(
        _environment().get_template("report.html.j2").render(
            title=one_line(facts.title, 120) or "Audit",
            styles=styles,
            audit=told,
            story=told.story,
            areas=_areas(told, views),
            checks=views,
            untold=_alike([view for view in views if view.verdict == "INCONCLUSIVE"]),
            draw=artist,
            as_table=as_table,
            lines_of=lines_of,
            run=_run_view(facts),
            data=_data_view(facts),
            examples=_accepted(told.story.examples.accepted, facts.dataset),
            fallen=_rejected(told.story.examples.rejected, rejects),
            clusters=_clusters(told.story.duplicates, facts.dataset, rejects),
            hits=_hits(told.story.contamination, facts.dataset, rejects),
        )
    )  # fmt: skip


def _views(checks: Told, artist: _Artist) -> list[CheckView]:
    seen: set[str] = set()
    return [_view(check, seen, artist) for check in checks]


def _view(check: Told, seen: set[str], artist: _Artist) -> CheckView:
    name, subject = str(check.name.raw or ""), str(check.subject.raw or "")
    stem = f"check-{_slug(f'{name} {subject}')}"
    anchor = next(one for one in _tries(stem) if one not in seen)
    seen.add(anchor)
    plots = check.details.plots
    given = list(plots) if isinstance(plots.raw, list) else []
    return CheckView(
        check,
        anchor,
        one_line(f"{name} · {subject}" if subject else name, 120),
        tuple(artist(spec) for spec in given[:MOST_PLOTS]),
        tuple(given_tables(check.details.tables)),
        "" if len(given) <= MOST_PLOTS else f"{len(given) - MOST_PLOTS} more plots are in audit.json.",
    )


def _prose(text: Told) -> Any:
    """A sentence, with what stands in backticks as code."""
    from markupsafe import Markup, escape

    told = re.sub(r"`([^`\n]{1,80})`", r"<code>\1</code>", str(escape(str(text))))
    return Markup("<bdi>{}</bdi>").format(Markup(told))


def _slug(text: str) -> str:
    """The text as an anchor."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:60] or "unnamed"


def _tries(stem: str) -> Iterator[str]:
    yield stem
    for number in count(2):
        yield f"{stem}-{number}"


def _alike(views: Sequence[CheckView]) -> list[list[CheckView]]:
    """Checks of which the same is said, together."""
    found: dict[str, list[CheckView]] = {}
    for view in views:
        found.setdefault(str(view.told.sentence.raw), []).append(view)
    return list(found.values())


def _areas(audit: Told, views: Sequence[CheckView]) -> list[Area]:
    by_area: dict[str, list[CheckView]] = {name: [] for name in AREAS}
    for view in views:
        by_area.setdefault(str(view.told.name.raw or "").partition(".")[0], []).append(view)
    return [Area(name, audit.areas[name], tuple(found)) for name, found in by_area.items() if found]


def _run_view(facts: ReportFacts) -> dict[str, Any] | None:
    """What the manifest and the recipe say, without addresses; None without a run."""
    if facts.run is None:
        return None
    manifest, recipe = facts.run.manifest, read_recipe(facts.run.recipe)
    return {
        "name": one_line(manifest.get("name") or recipe.get("name") or "", 120),
        "description": one_line(recipe.get("description") or "", 600),
        "status": one_line(manifest.get("status") or "", 40),
        "reason": one_line(redact(str(manifest.get("reason") or "")), 600),
        "anyway": one_line(manifest.get("published_anyway") or "", 600),
        "date": _date(manifest.get("finished_at")),
        "writers": list(dict.fromkeys(one_line(one.get("model", ""), 80) for one in manifest.get("models") or ())),
        "models": _models(manifest),
        "recipe": excerpt(redact_recipe(recipe), 100_000) if recipe else excerpt(""),
        "versions": sorted((manifest.get("packages") or {}).items()),
        "hashes": [("plan", manifest.get("plan_sha") or "")]
        + [(f"prompt {name}", sha) for name, sha in (manifest.get("prompts") or {}).items()],
        "filters": [_named(redact(one)) for one in manifest.get("filters") or ()],
        "scorers": [_named(redact(one)) for one in manifest.get("scorers") or ()],
        "notices": [one_line(redact(str(one)), 600) for one in manifest.get("notices") or ()],
    }


def _reference(facts: ReportFacts) -> str:
    """What the rows were compared with, "" for nothing."""
    if facts.reference is not None:
        return one_line(redact(facts.reference.name), 120)
    named = (facts.audit.get("facts") or {}).get("reference") or {}
    return one_line(redact(str(named.get("name", ""))), 120)


def _models(manifest: Mapping[str, Any]) -> Table:
    """The models as a dataset card tells them: no address."""
    lines = [
        [
            one_line(one.get("role", ""), 60),
            one_line(one.get("model", ""), 120),
            one_line(", ".join(map(str, one.get("served_as") or ())) or "–", 300),
            one_line(_as_json(redact(one.get("sampling") or {})), 600),
            one_line(one.get("license") or "–", 60),
        ]
        for one in manifest.get("models") or ()
    ]
    return make_table(["role", "model", "served as", "sampling", "licence"], lines, "models")


def _named(one: Mapping[str, Any]) -> tuple[str, str]:
    return one_line(one.get("name", "")), one_line(_as_json({k: v for k, v in one.items() if k != "name"}), 2000)


def _date(text: Any) -> str:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return ""
    return f"{found.day} {found:%B %Y, %H:%M} UTC"


def _data_view(facts: ReportFacts) -> dict[str, Any]:
    """Names of the data that was looked at, without its places."""
    return {
        "columns": [one_line(name, 60) for name in facts.dataset.columns],
        "label": one_line(facts.dataset.label or "", 60),
        "reference": _reference(facts),
    }


def _as_json(value: Any) -> str:
    return json.dumps(value.raw if isinstance(value, Told) else value, ensure_ascii=False, default=str)


def _accepted(chosen: Told, dataset: Data) -> list[RowView]:
    return [_row_view(one, dataset[one.place.raw]) for one in chosen if _inside(one.place.raw, dataset)]


def _inside(place: Any, dataset: Data) -> bool:
    return isinstance(place, int) and 0 <= place < len(dataset)


def _row_view(facts: Told, row: Mapping[str, Any]) -> RowView:
    short, long = [], []
    for name, value in row.items():
        if name == "meta" or value is None:
            continue
        text = value if isinstance(value, str) else _as_text(value)
        if len(text) <= SHORT and "\n" not in text:
            short.append((one_line(name, 60), one_line(text)))
        else:
            long.append((one_line(name, 60), excerpt(text)))
    return RowView(facts, tuple(short[:30]), tuple(long[:12]))


def _as_text(value: Any) -> str:
    """Messages as who says what, everything else as JSON."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) and "content" in one for one in value):
        return "\n\n".join(f"{one.get('role')}: {one['content']}" for one in value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _rejected(chosen: Told, rejects: Rejects) -> list[RowView]:
    lines = [one.line.raw for one in chosen]
    texts = rejects.at("text", lines)
    found = []
    for one in chosen:
        if (line := one.line.raw) in texts:
            reason = one_line(rejects.column("reason")[line] or "", 300)
            found.append(RowView(one, (), ((reason, excerpt(texts[line] or "")),)))
    return found


def _clusters(told: Told, dataset: Data, rejects: Rejects) -> list[RowView]:
    """The largest clusters: the row that stayed, then some of those that fell."""
    largest = list(told.largest)
    texts = rejects.at("text", [line.raw for one in largest for line in one.lines])
    found = []
    for one in largest:
        place = one.place.raw
        kept = [("kept", excerpt(dataset.take([place]).texts[0], 600))] if _inside(place, dataset) else []
        fell = [("fell", excerpt(texts.get(line.raw) or "", 600)) for line in one.lines]
        found.append(RowView(one, (), (*kept, *fell)))
    return found


def _hits(told: Told, dataset: Data, rejects: Rejects) -> list[RowView]:
    """Overlaps with test sets, each with the stretch that matches inside the text it was found in."""
    hits = list(told.hits)
    texts = rejects.at("text", [one.line.raw for one in hits if one.line.raw is not None])
    found = []
    for one in hits:
        if _inside(one.place.raw, dataset):
            text = dataset.take([one.place.raw]).texts[0]
        else:
            text = texts.get(one.line.raw) or ""
        found.append(RowView(one, (), tuple(_around(text, str(one.span.raw or "")))))
    return found


def _around(text: str, span: str) -> list[tuple[str, Excerpt]]:
    """The text in parts: before, the span (marked), after; the whole where the span is not in it."""
    at = text.find(span.rstrip("…")) if span else -1
    if at < 0:
        return [("", excerpt(text, 600))]
    end = at + len(span.rstrip("…"))
    before, after = text[max(0, at - 240) : at], text[end : end + 240]
    return [
        ("", Excerpt(visible(before))),
        ("span", Excerpt(visible(text[at:end][:600]))),
        ("", Excerpt(visible(after))),
    ]
