"""SQL that SQLite runs on a given schema, with the rows that are wanted."""

from __future__ import annotations

import json
from typing import Any

from factory.errors import FactoryError, UsageError, nearest
from factory.recipe.files import find_file, is_path, missing_file, read_text
from factory.sandbox import Limits
from factory.sandbox.inside.sql_side import Database, Refused
from factory.sandbox.running import run_query
from factory.scorers import Context, Setup, render_template, shorten, text_of, traits, veto
from factory.scorers.code_blocks import Block, pick_code
from factory.types import Candidate, Score

LABELS = ("sql", "sqlite", "sqlite3")
VALUE_BYTES = 1_000_000
MARKS = ("{{", "{%", "{#")
MOST_CHARACTERS = 200_000
CPU_SECONDS = 10.0
"""A backstop for single steps that take long; the step limit, which is the same everywhere, comes first."""


@traits(low=0, high=1, expense="check")
class Sql:
    """SQL that runs in SQLite on `schema` and gives the rows wanted; 0 or 1, higher is better.

    `schema` (a template, or the path of a .sql file): CREATE and INSERT statements. `expect`: a reference query
    (a template), whose rows are compared in order if it says ORDER BY (`ordered` overrules that), or a list of rows.
    With `read_only` only one SELECT is run; without, the tables are compared as well. Bounds: `max_steps` of SQLite's
    machine, `max_rows`, `memory_mb`; `min_rows` is the least that must come. Whatever fails vetoes. What gives another
    result every time (random(), the present time) is refused.
    """

    def __init__(
        self,
        *,
        schema: str,
        expect: str | list[list[Any]] | None = None,
        ordered: bool | None = None,
        on: str | None = None,
        block: Block = "first",
        read_only: bool = True,
        min_rows: int = 0,
        max_rows: int = 10_000,
        max_steps: int = 10_000_000,
        memory_mb: int = 64,
    ) -> None:
        for name, value, least in (
            ("min_rows", min_rows, 0),
            ("max_rows", max_rows, 1),
            ("max_steps", max_steps, 1000),
            ("memory_mb", memory_mb, 4),
        ):
            if value < least:
                raise UsageError(f"`{name}: {value}` of `sql`", f"use {least} or more")
        self._text, self._expect, self._ordered = schema, expect, ordered
        self._on, self._block, self._read_only = on, block, read_only
        self._bounds = {"max_steps": max_steps, "max_rows": max_rows, "max_value": VALUE_BYTES}
        self._min_rows, self._heap = min_rows, memory_mb << 20
        self._limits = Limits(
            cpu_seconds=CPU_SECONDS, wall_seconds=6 * CPU_SECONDS, memory_mb=memory_mb + 256, output_bytes=1 << 16
        )

    def bind(self, setup: Setup) -> None:
        """Check the column, and run a schema that is no template. Raises UsageError."""
        if self._on is not None and setup.columns and self._on not in setup.columns:
            raise UsageError(f"`on: {self._on}` of `sql` names no column", nearest(self._on, setup.columns))
        if is_path(self._text, (".sql",)):
            path = find_file(self._text, setup.base)
            if path is None:
                raise UsageError(*missing_file(self._text, setup.base, "recipes"))
            self._text = read_text(path)
        if any(mark in self._text for mark in MARKS):
            return
        try:
            database = Database(self._text, **self._bounds)
            if isinstance(self._expect, str) and not any(mark in self._expect for mark in MARKS):
                database.run(self._expect, read_only=self._read_only)
        except Refused as refused:
            raise UsageError(f"`schema` or `expect` of `sql`: {refused}", "SQLite must be able to run them") from None

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        """Run one candidate's statement. Raises UsageError for a column that is missing."""
        query = pick_code(text_of(candidate, self._on), self._block, LABELS)
        if not query.strip():
            return veto("sql", "there is no statement")
        if len(query) > MOST_CHARACTERS:
            return veto("sql", f"the statement has more than {MOST_CHARACTERS} characters")
        expect: Any = self._expect
        if isinstance(expect, str):
            expect = _plain(render_template(context, expect))
        elif expect is not None:
            expect = [[_cell(value) for value in row] for row in expect]
        job = {
            **self._bounds,
            "schema": _plain(render_template(context, self._text)),
            "query": _plain(query),
            "expect": expect,
            "ordered": self._ordered,
            "read_only": self._read_only,
            "min_rows": self._min_rows,
            "heap": self._heap,
        }
        finished = await run_query(job, limits=self._limits)
        if finished.status != "ok":
            return veto("sql", finished.reason)
        return _read(finished.stdout)


def _cell(value: Any) -> Any:
    """What SQLite could give: YAML's dates and the like as text."""
    return value if isinstance(value, int | float | str | bytes | type(None)) else str(value)


def _plain(text: str) -> str:
    """Text that SQLite can take: lone surrogates, which UTF-8 has not, become question marks."""
    return text.encode("utf-8", "replace").decode()


def _read(told: bytes) -> Score:
    try:
        verdict = json.loads(told)
    except ValueError as error:
        raise FactoryError(f"SQLite's process gave no verdict: {told[:100]!r}", "tell the developers") from error
    reason = shorten(str(verdict["reason"]), 250)
    if verdict["ok"]:
        return Score("sql", 1.0, reason)
    if verdict["at"] == "query":
        return veto("sql", reason)
    part = {"schema": "the schema", "expect": "the reference query"}[verdict["at"]]
    return veto("sql", f"{part}: {reason}", None)
