"""Runs one SQL statement in SQLite, in memory, within bounds, and compares its rows with those that are wanted.

SQLite's own means do the bounding: an authorizer, a step counter, limits on sizes, and a hard limit on its heap (which
holds for a whole process; hence a process for each statement). None of it hangs on time.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

EVERY_STEPS = 1000
READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
NEVER = {
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_CREATE_VTABLE: "CREATE VIRTUAL TABLE",
    sqlite3.SQLITE_DROP_VTABLE: "DROP of a virtual table",
}
UNSTEADY = ("random", "randomblob", "current_date", "current_time", "current_timestamp")
TIMES = {"date": (0,), "time": (0,), "datetime": (0,), "julianday": (0,), "unixepoch": (0,), "strftime": (1,)}
"""Functions of time, and which argument is the time: 'now', or none at all, is not the same tomorrow."""

LIMITS = {
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 200_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 64,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 20,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
Rows = list[tuple[Any, ...]]


class Refused(Exception):
    """The statement is not run, or was stopped; the message says why."""


class Database:
    """A database in memory, made by a schema."""

    def __init__(self, schema: str, *, max_steps: int, max_rows: int, max_value: int) -> None:
        self._max_steps, self._max_rows = max_steps, max_rows
        self._steps = 0
        self._denied = ""
        self._clock = sqlite3.connect(":memory:")
        self._open = sqlite3.connect(":memory:", isolation_level=None)
        self._open.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        for name, places in TIMES.items():
            self._open.create_function(name, -1, self._steady(name, places), deterministic=True)
        for limit, value in LIMITS.items():
            self._open.setlimit(limit, value)
        self._open.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_value)
        self._open.execute("PRAGMA temp_store = MEMORY")
        with suppress(sqlite3.Error):  # where JSON is compiled in, its tables are made known before anything is denied
            self._open.execute("SELECT count(*) FROM json_each('[]'), json_tree('[]')")
        self._open.set_progress_handler(self._count, EVERY_STEPS)
        self._open.set_authorizer(self._allow(read_only=False, schema=True))
        self._guard(lambda: self._open.executescript(schema))

    def _steady(self, name: str, places: tuple[int, ...]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            for place in places:
                given = arguments[place] if place < len(arguments) else "now"
                if isinstance(given, str) and given.strip().lower() == "now":
                    self._denied = f"{name} of the present time is refused: it gives another result every time"
                    raise Refused(self._denied)
            marks = ",".join("?" * len(arguments))
            return self._clock.execute(f"SELECT {name}({marks})", arguments).fetchone()[0]

        return call

    def _count(self) -> int:
        self._steps += EVERY_STEPS
        return int(self._steps > self._max_steps)

    def _allow(self, *, read_only: bool, schema: bool = False) -> Callable[..., int]:
        def decide(action: int, first: str | None, second: str | None, *_: Any) -> int:
            if action in NEVER:
                self._denied = f"{NEVER[action]} is refused"
            elif action == sqlite3.SQLITE_FUNCTION and str(second).lower() == "load_extension":
                self._denied = "load_extension is refused"
            elif action == sqlite3.SQLITE_FUNCTION and not schema and str(second).lower() in UNSTEADY:
                self._denied = f"the function {second} is refused: it gives another result every time"
            elif read_only and action not in READING:
                self._denied = "only SELECT is allowed (`read_only: true`)"
            else:
                return sqlite3.SQLITE_OK
            return sqlite3.SQLITE_DENY

        return decide

    def _guard(self, work: Callable[[], Any]) -> Any:
        self._steps, self._denied = 0, ""
        try:
            return work()
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            if self._denied:
                raise Refused(self._denied) from error
            if self._steps > self._max_steps:
                raise Refused(f"it takes more than {self._max_steps} steps") from error
            raise Refused(f"{type(error).__name__}: {error}"[:300]) from error
        except MemoryError as error:
            raise Refused("it wants more memory than allowed") from error

    def run(self, statement: str, *, read_only: bool) -> Rows | None:
        """The rows of one statement; None where it gives none by its kind. Raises Refused."""
        words = _bare(statement).strip(" \t\r\n;").split(None, 1)
        if not words:
            raise Refused("there is no statement")
        if words[0].lower() == "explain":
            raise Refused("EXPLAIN is refused: the query itself is wanted")
        self._open.set_authorizer(self._allow(read_only=read_only))

        def work() -> Rows | None:
            cursor = self._open.execute(statement)
            if cursor.description is None:
                return None
            rows: Rows = []
            for row in cursor:
                rows.append(row)
                if len(rows) > self._max_rows:
                    raise Refused(f"it gives more than {self._max_rows} rows")
            return rows

        return self._guard(work)  # type: ignore[no-any-return]

    def tables(self) -> dict[str, Rows]:
        """What every table holds."""
        self._open.set_authorizer(None)
        names = self._guard(
            lambda: self._open.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        )
        quoted = [(str(name), str(name).replace('"', '""')) for (name,) in names]
        return {name: self._guard(self._open.execute(f'SELECT * FROM "{inner}"').fetchall) for name, inner in quoted}


_BARE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)""", re.DOTALL)


def _bare(statement: str) -> str:
    """A statement without comments; literals and quoted names are left as a mark."""
    return _BARE.sub(lambda match: " " if match[0][:2] in ("--", "/*") else " x ", statement)


def is_ordered(statement: str) -> bool:
    """Whether a query says in which order its rows come: an ORDER BY outside of all parentheses."""
    text, depth, outer = _bare(statement), 0, []
    for part in re.split(r"([()])", text):
        depth += {"(": 1, ")": -1}.get(part, 0)
        outer.append(part if depth == 0 else " ")
    return re.search(r"\border\s+by\b", "".join(outer), re.IGNORECASE) is not None


def same_rows(found: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]], ordered: bool) -> bool:
    """Whether two results are the same: numbers up to 9 digits, the columns in order, the rows in order if asked."""
    one, other = [_key(row) for row in found], [_key(row) for row in wanted]
    return one == other if ordered else Counter(one) == Counter(other)


def _key(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_cell(value) for value in row)


def _cell(value: Any) -> tuple[str, Any]:
    if isinstance(value, bool | int | float):
        number = int(value) if not isinstance(value, float) or value.is_integer() else float(f"{value:.9g}")
        return ("number", number)
    return (type(value).__name__, value)


def run(job: dict[str, Any]) -> None:
    """Judge the statement; the verdict goes to standard output as JSON."""
    limiter = sqlite3.connect(":memory:")
    limiter.execute(f"PRAGMA hard_heap_limit = {int(job['heap'])}")
    sys.stdout.write(json.dumps(judge(job)))
    sys.stdout.flush()


def judge(job: dict[str, Any]) -> dict[str, Any]:
    """`{"ok", "reason", "at"}`: `at` says which part is at fault, the schema, the query or the expectation."""
    bounds = {name: job[name] for name in ("max_steps", "max_rows", "max_value")}
    part, read_only = "schema", bool(job["read_only"])
    try:
        database = Database(job["schema"], **bounds)
        part = "query"
        found = database.run(job["query"], read_only=read_only)
        if found is not None and len(found) < job["min_rows"]:
            return {"ok": False, "at": "query", "reason": f"{_rows(found)}, at least {job['min_rows']} wanted"}
        if job["expect"] is None:
            return {"ok": True, "at": "", "reason": _rows(found)}
        part = "expect"
        wanted, ordered = job["expect"], bool(job["ordered"])
        if isinstance(wanted, str):
            other = Database(job["schema"], **bounds)
            wanted = other.run(job["expect"], read_only=read_only)
            ordered = is_ordered(job["expect"]) if job["ordered"] is None else ordered
            if not read_only and not _same_tables(database.tables(), other.tables()):
                return {"ok": False, "at": "query", "reason": "it leaves other data in the tables than wanted"}
    except Refused as refused:
        return {"ok": False, "at": part, "reason": str(refused)}
    return _compare(found, wanted, ordered)


def _same_tables(found: dict[str, Rows], wanted: dict[str, Rows]) -> bool:
    return found.keys() == wanted.keys() and all(same_rows(found[name], wanted[name], False) for name in found)


def _compare(found: Rows | None, wanted: Sequence[Sequence[Any]] | None, ordered: bool) -> dict[str, Any]:
    if found is None or wanted is None:
        ok = found is None and wanted is None
        return {"ok": ok, "at": "query", "reason": "" if ok else "one of the two gives rows, the other does not"}
    if same_rows(found, wanted, ordered):
        return {"ok": True, "at": "", "reason": _rows(found)}
    width = {len(row) for row in wanted} | {len(row) for row in found}
    if len(found) != len(wanted):
        reason = f"{_rows(found)}, {len(wanted)} wanted"
    elif len(width) > 1:
        reason = f"{len(found[0])} columns, {len(wanted[0])} wanted"
    elif ordered and same_rows(found, wanted, False):
        reason = "the right rows in another order"
    else:
        lacking = Counter(map(_key, wanted)) - Counter(map(_key, found))
        missing = next((row for row in wanted if _key(row) in lacking), wanted[0])
        reason = f"other rows than wanted: {_shown(missing)} is missing"
    return {"ok": False, "at": "query", "reason": reason}


def _shown(row: Sequence[Any]) -> str:
    return repr(tuple(row))[:120]


def _rows(found: Rows | None) -> str:
    return "no rows" if not found else "1 row" if len(found) == 1 else f"{len(found)} rows"
