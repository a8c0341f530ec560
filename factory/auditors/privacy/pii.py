"""`privacy.pii`: rows that hold personal data or secrets, counted; found by patterns, or by Presidio."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from factory.auditors.context import AuditContext
from factory.auditors.data import Data
from factory.auditors.pii import KINDS, Finding, find_all, mask_all
from factory.auditors.pii.finding import MOST
from factory.auditors.pii.phones import choose_regions
from factory.errors import UsageError, nearest
from factory.scorers.pii_finding import at_domain
from factory.types import Check, Evidence

NAME = "privacy.pii"
ENGINES = ("patterns", "presidio")
PERSON = {"person": ("name of a person", "names of persons")}
SHOWN = 20
AROUND = 120
"""Characters told on each side of a finding."""
EXCERPT = 300
TOLD_EVERY = 500

Find = Callable[[str], list[Finding]]


def pii(
    dataset: Data,
    context: AuditContext,
    *,
    max_rows: int = 0,
    kinds: Sequence[str] | None = None,
    allow: Sequence[str] | None = None,
    region: str | None = None,
    engine: str = "patterns",
) -> list[Check]:
    """Rows with personal data or secrets; FAIL where there are more than `max_rows`. A count, every row read in full.

    `kinds`: of `KINDS` (with Presidio `person` too), all but `person` by default. `allow`: values, domains of e-mail
    addresses, or regular expressions for whole values that may stand. `region`: of national telephone numbers (`DE`, or
    `DE,AT`), by the language where it is not given. What is reserved for examples is told apart and counts for nothing.
    Raises UsageError for an option that makes no sense, MissingExtra for an engine that is not installed.
    """
    find, wanted = _engine(engine, kinds, context.language, region)
    if isinstance(max_rows, bool) or max_rows < 0:
        raise UsageError(f"`max_pii_rows` of {NAME} is {max_rows}", "a number of rows, 0 or more")
    if not dataset.columns:
        return [_without_text(dataset, max_rows)]
    allowed = _Allowed(allow or ())
    tally = _Tally()
    for row, text in enumerate(dataset.texts):
        if row % TOLD_EVERY == 0:
            context.progress("personal data", row / len(dataset))
        found = [one for one in find(text) if not allowed(one, text)]
        if found:
            tally.add(row, text, found)
    return [_check(dataset, tally, max_rows, _method(engine, wanted, context.language, region))]


def _engine(
    engine: str, kinds: Sequence[str] | None, language: str | None, region: str | None
) -> tuple[Find, tuple[str, ...]]:
    if engine not in ENGINES:
        raise UsageError(f"`pii_engine` of {NAME}: there is no `{engine}`", nearest(engine, ENGINES))
    known = {**KINDS, **(PERSON if engine == "presidio" else {})}
    if kinds is not None and not kinds:
        raise UsageError(
            f"`pii_kinds` of {NAME} is an empty list", f"leave it out, or name some of: {', '.join(known)}"
        )
    for kind in kinds or ():
        if kind == "person" and engine == "patterns":
            raise UsageError(
                f"`pii_kinds` of {NAME}: names of persons have no pattern", "`pii_engine: presidio` finds some"
            )
        if kind not in known:
            raise UsageError(f"`pii_kinds` of {NAME}: `{kind}` is no kind", nearest(kind, known))
    wanted = tuple(kind for kind in known if (kind in KINDS if kinds is None else kind in kinds))
    regions = choose_regions(language, region)
    if engine == "presidio":
        from factory.auditors.pii.presidio import open_presidio

        return open_presidio(language or "en", frozenset(wanted)), wanted
    chosen = frozenset(wanted)
    return lambda text: find_all(text, chosen, regions), wanted


class _Allowed:
    """Whether a finding may stand: its value, its domain, or a pattern for the whole of it is named."""

    def __init__(self, entries: Sequence[str]):
        for entry in entries:
            if not entry:
                raise UsageError(f"`pii_allow` of {NAME} has an empty entry", "name a value, a domain or a pattern")
        self._plain = tuple(entry.lower().lstrip("@") for entry in entries)
        self._patterns = [_compile(entry) for entry in entries]

    def __call__(self, one: Finding, text: str) -> bool:
        if not self._plain:
            return False
        value = text[one.start : one.end]
        folded = value.lower()
        if folded in self._plain or (one.kind == "email" and at_domain(folded.rpartition("@")[2], self._plain)):
            return True
        return any(pattern.fullmatch(value) for pattern in self._patterns)


def _compile(entry: str) -> re.Pattern[str]:
    try:
        return re.compile(entry, re.IGNORECASE)
    except re.error:  # a number such as `+49 …` is no pattern: it is compared as it stands
        return re.compile(re.escape(entry), re.IGNORECASE)


@dataclass
class _Tally:
    """What was found so far: counts, and rows to show, the first of each kind before more of the same."""

    rows: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    rows_with: Counter[str] = field(default_factory=Counter)
    what: Counter[tuple[str, str]] = field(default_factory=Counter)
    reserved: Counter[str] = field(default_factory=Counter)
    reserved_rows: int = 0
    firsts: list[tuple[int, str, list[Finding], Finding]] = field(default_factory=list)
    others: list[tuple[int, str, list[Finding], Finding]] = field(default_factory=list)

    def add(self, row: int, text: str, found: list[Finding]) -> None:
        real = [one for one in found if not one.reserved]
        self.reserved.update(one.kind for one in found if one.reserved)
        self.reserved_rows += any(one.reserved for one in found)
        if not real:
            return
        self.rows += 1
        self.findings.update(one.kind for one in real)
        self.what.update((one.kind, one.what) for one in real)
        new = [one for one in real if one.kind not in self.rows_with]
        self.rows_with.update({one.kind for one in real})
        if new:
            self.firsts.append((row, text, found, new[0]))
        elif len(self.others) < SHOWN:
            self.others.append((row, text, found, real[0]))

    def shown(self) -> list[tuple[int, str, list[Finding], Finding]]:
        return sorted((self.firsts + self.others)[:SHOWN], key=lambda one: one[0])


def _excerpt(text: str, found: list[Finding], one: Finding) -> str:
    """The words around a finding, everything found in them masked; what the cut would halve is left out."""
    first, last = max(0, one.start - AROUND), min(len(text), one.end + AROUND)
    near = [other for other in found if other.start < last and other.end > first]
    for other in near:
        if other.start < first < other.end:
            first = other.end
        if other.start < last < other.end:
            last = other.start if other is not one else last
    near = [
        Finding(other.kind, other.start - first, other.end - first)
        for other in near
        if other.start >= first and other.end <= last
    ]
    shown = ("…" if first else "") + mask_all(text[first:last], near) + ("…" if last < len(text) else "")
    return shown if len(shown) <= EXCERPT else shown[: EXCERPT - 1] + "…"


def _name(kind: str, count: int) -> str:
    return {**KINDS, **PERSON}[kind][count != 1]


def _check(dataset: Data, tally: _Tally, max_rows: int, method: str) -> Check:
    n = len(dataset)
    counted = ", ".join(f"{count:,} {_name(kind, count)}" for kind, count in tally.findings.most_common())
    rows = f"{tally.rows:,} of {n:,} rows"
    sentence = f"{rows} hold personal data or secrets: {counted}."
    if not tally.rows:
        sentence = f"No personal data and no secrets were found in {n:,} rows."
    if tally.reserved:
        sentence += f" {sum(tally.reserved.values()):,} more are reserved for examples and count for nothing."
    failed = tally.rows > max_rows
    return Check(
        NAME,
        float(tally.rows),
        n=n,
        gate=f"at most {max_rows:,} row{'' if max_rows == 1 else 's'} with personal data or secrets",
        verdict="FAIL" if failed else "PASS",
        sentence=sentence,
        evidence=tuple(
            Evidence(
                row,
                _excerpt(text, found, one),
                dataset.ids[row],
                details={"kind": one.kind, **({"what": one.what} if one.what else {}), "at": one.start},
            )
            for row, text, found, one in tally.shown()
        ),
        details=_details(tally),
        method=method,
        advice=ADVICE if failed else "",
    )


ADVICE = (
    "add `score: [pii: {}]` to the recipe, so that such candidates are rejected; take them out of the sources; "
    "name what may stand in `pii_allow`"
)


def _details(tally: _Tally) -> dict[str, Any]:
    kinds = [kind for kind in (*KINDS, *PERSON) if tally.findings[kind] or tally.reserved[kind]]
    table = {
        "title": "Personal data and secrets by kind",
        "header": ["kind", "findings", "rows", "reserved for examples"],
        "rows": [[_name(kind, 2), tally.findings[kind], tally.rows_with[kind], tally.reserved[kind]] for kind in kinds],
    }
    details: dict[str, Any] = {
        "findings": {kind: tally.findings[kind] for kind in kinds if tally.findings[kind]},
        "rows": {kind: tally.rows_with[kind] for kind in kinds if tally.rows_with[kind]},
        "reserved": {kind: tally.reserved[kind] for kind in kinds if tally.reserved[kind]},
        "reserved_rows": tally.reserved_rows,
        "what": {f"{kind}: {what}": count for (kind, what), count in sorted(tally.what.items()) if what},
    }
    if kinds:
        details["tables"] = [table]
        details["plots"] = [
            {
                "kind": "bars",
                "title": "Rows with personal data, by kind",
                "labels": [_name(kind, 2) for kind in kinds],
                "series": {"dataset": [tally.rows_with[kind] for kind in kinds]},
                "y_label": "rows",
            }
        ]
    return details


def _method(engine: str, wanted: Sequence[str], language: str | None, region: str | None) -> str:
    looked = ", ".join(_name(kind, 2) for kind in wanted)
    if engine == "presidio":
        return f"every row, whole, by Presidio (language {language or 'en'}): {looked}"
    import phonenumbers
    import stdnum

    regions = ", ".join(choose_regions(language, region))
    return (
        f"every row, whole, by patterns, checksums (python-stdnum {stdnum.__version__}), numbering plans (phonenumbers "
        f"{phonenumbers.__version__}; national numbers of {regions}) and the words around: {looked}. Names of persons "
        f"have no pattern and are not looked for. Of one text at most {MOST:,} findings of a kind are told"
    )


def _without_text(dataset: Data, max_rows: int) -> Check:
    return Check(
        NAME,
        None,
        n=len(dataset),
        gate=f"at most {max_rows:,} rows with personal data or secrets",
        sentence=f"{dataset.name} has no column of text to look at.",
        advice="name the columns that hold text: `on: [NAME, …]`",
    )
