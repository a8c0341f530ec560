"""The scorer `sql`: statements on a schema, their rows against a reference, and what must not be run."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import write_recipe

import factory
from factory.errors import UsageError
from factory.prompts import render_text
from factory.sandbox import running
from factory.sandbox.inside.sql_side import is_ordered, same_rows
from factory.scorers import Context, Setup
from factory.scorers.sql import Sql
from factory.types import Candidate, Prompt, Score, Variation

SCHEMA = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, age REAL, born TEXT);
INSERT INTO people VALUES (1, 'Ann', 30.5, '1994-01-05'), (2, 'Bo', 41, '1983-06-01'), (3, 'Cy', NULL, '1990-02-01');
CREATE VIEW adults AS SELECT * FROM people WHERE age > 18;
"""


def score(given: Any, scope: Mapping[str, Any] | None = None, schema: str = SCHEMA, **options: Any) -> Score:
    names = dict(scope or {})
    fields = given if isinstance(given, dict) else None
    candidate = Candidate(0, "main", 0, "" if fields else given, "stop", 1, "m", fields)
    scorer = Sql(schema=schema, **options)
    scorer.bind(Setup(columns=tuple(fields or ())))
    context = Context(Variation(0, {}), Prompt((), "sha"), names, lambda text: render_text(text, names))
    found = asyncio.run(scorer(candidate, context))
    assert found.name == "sql" and len(found.reason) < 300
    assert found.value in (0.0, 1.0) or (found.value is None and found.vetoed)
    assert found.reason or not found.vetoed
    return found


def passes(given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> None:
    found = score(given, scope, **options)
    assert found.value == 1.0 and not found.vetoed, found


def vetoed(given: Any, scope: Mapping[str, Any] | None = None, **options: Any) -> str:
    found = score(given, scope, **options)
    assert found.vetoed and found.value != 1.0, found
    return found.reason


def test_good_and_bad_queries() -> None:
    reference = "SELECT name FROM people WHERE age > 18"
    passes("```sql\nSELECT name FROM adults; -- all of them\n```", expect=reference)
    passes("SELECT name AS n FROM people WHERE age IS NOT NULL ORDER BY name DESC", expect=reference)
    assert vetoed("SELECT name FROM people", expect=reference) == "3 rows, 2 wanted"
    assert vetoed("SELECT name, age FROM adults", expect=reference) == "2 columns, 1 wanted"
    assert "('Bo',) is missing" in vetoed("SELECT name FROM people WHERE id IN (1, 3)", expect=reference)
    ordered = reference + " ORDER BY age"
    assert vetoed("SELECT name FROM adults ORDER BY age DESC", expect=ordered) == "the right rows in another order"
    passes("SELECT name FROM adults ORDER BY age DESC", expect=ordered, ordered=False)
    passes("SELECT id, age FROM adults", expect=[[2, 41], [1, 30.5]])
    passes("SELECT sum(age) * 1.0 / 3 FROM people", expect=[[23.8333333333]])
    passes(
        "SELECT count(*) FROM people WHERE name = '{{ n }}'".replace("{{ n }}", "Bo"), {"n": "Bo"}, expect="SELECT 1"
    )
    passes({"query": "SELECT 1", "why": "because"}, on="query")
    passes(
        "SELECT * FROM people", {"rows": "(9)"}, schema="CREATE TABLE people (id); INSERT INTO people VALUES {{ rows }}"
    )
    assert vetoed("SELECT * FROM people WHERE 0", min_rows=1) == "no rows, at least 1 wanted"
    passes(
        "SELECT strftime('%Y', born), date(born, '+1 day') FROM people WHERE id = 1", expect=[["1994", "1994-01-06"]]
    )
    passes("SELECT value FROM json_each('[1, 2]')", expect=[[1], [2]])
    passes("VALUES (1), (NULL)", expect=[[None], [1]])
    passes(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 5) SELECT sum(x) FROM c",
        expect=[[15]],
    )


ERRORS = {
    "": "there is no statement",
    "-- nothing": "there is no statement",
    "/* open": "there is no statement",
    "SELECT * FROM": "incomplete input",
    "SELECT 'open": "unrecognized token",
    "SELEKT 1": "syntax error",
    "I'm sorry, I cannot.": "Error",
    "SELECT nme FROM people": "no such column: nme",
    "SELECT TOP 5 * FROM people": "syntax error",
    "SELECT ILIKE FROM people": "no such column",
    "SELECT 1; SELECT 2": "one statement at a time",
    "SELECT 1; DROP TABLE people": "one statement at a time",
    "SELECT 'a\0b'": "null character",
    "(" * 3000: "Error",
    "SELECT " + "1+" * 5000 + "1": "Expression tree is too large",
    "SELECT 1" + " UNION SELECT 1" * 500: "too many terms",
}
REFUSED = {
    "INSERT INTO people (id) VALUES (9)": "only SELECT",
    "INSERT INTO people (id) VALUES (9) RETURNING 1": "only SELECT",
    "UPDATE people SET age = 1": "only SELECT",
    "DELETE FROM people": "only SELECT",
    "DROP TABLE people": "only SELECT",
    "CREATE TEMP TABLE t (a)": "only SELECT",
    "WITH x AS (SELECT 1) DELETE FROM people": "only SELECT",
    "BEGIN": "only SELECT",
    "VACUUM INTO '/tmp/copy'": "refused",
    "ATTACH '/etc/passwd' AS p": "ATTACH is refused",
    "PRAGMA writable_schema = 1": "PRAGMA is refused",
    "SELECT * FROM pragma_table_info('people')": "only SELECT",
    "SELECT load_extension('/tmp/x.so')": "load_extension is refused",
    "EXPLAIN SELECT 1": "EXPLAIN is refused",
    "SELECT readfile('/etc/passwd')": "no such function",
    "SELECT random()": "random is refused",
    "SELECT * FROM people ORDER BY RANDOM()": "refused",
    "SELECT hex(randomblob(4))": "randomblob is refused",
    "SELECT datetime('now')": "datetime of the present time",
    "SELECT DATE()": "date of the present time",
    "SELECT strftime('%s')": "strftime of the present time",
    "SELECT strftime('%s', 'n' || 'ow')": "strftime of the present time",
    "SELECT CURRENT_TIMESTAMP": "current_timestamp is refused",
}
BOMBS = {
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c": "more than 1000000 steps",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c": "more than 10000 rows",
    "WITH RECURSIVE c(x) AS (SELECT zeroblob(900000) UNION ALL SELECT zeroblob(900000) FROM c) "
    "SELECT count(DISTINCT hex(x) || rowid) FROM c, people ORDER BY x": "",
    "WITH RECURSIVE c(x, b) AS (SELECT 1, zeroblob(900000) UNION SELECT x + 1, zeroblob(900000) FROM c) "
    "SELECT count(*) FROM c": "more memory than allowed",
    "SELECT count(*) FROM " + ", ".join(f"people p{n}" for n in range(20)): "more than 1000000 steps",
    "SELECT zeroblob(1000000000)": "too big",
    "SELECT length(replace(hex(zeroblob(400000)), '0', 'xxxxxxxxxx'))": "too big",
    "SELECT group_concat(hex(zeroblob(400000))) FROM people": "too big",
    "SELECT 'a' LIKE '" + "%a" * 200 + "'": "too complex",
}


@pytest.mark.parametrize("query", [*ERRORS, *REFUSED], ids=lambda query: query[:40])
def test_what_is_no_query_or_none_that_is_run_says_so(query: str) -> None:
    assert (ERRORS | REFUSED)[query] in vetoed(query)


@pytest.mark.parametrize("query", BOMBS, ids=lambda query: query[:40])
def test_bombs_are_stopped_at_the_same_place_every_time(query: str) -> None:
    told = vetoed(query, max_steps=1_000_000)
    assert BOMBS[query] in told
    assert vetoed(query, max_steps=1_000_000) == told


def test_large_numbers_of_fields_cannot_make_memory_grow() -> None:
    found = score("SELECT printf('%*c', 1000000000, 'x')")
    assert found.value in (0.0, 1.0)
    wide = "SELECT length(b) FROM (SELECT group_concat(a) AS b FROM (SELECT printf('%.*c', 900000, 'a') AS a))"
    passes(wide)
    slow = "SELECT count(*) FROM people WHERE printf('%.*c', 500000, 'a') GLOB '" + "*a" * 40 + "b'"
    found = score(slow)
    assert found.value in (0.0, 1.0)


def test_odd_text() -> None:
    passes("SELECT 'é我' AS \"имя\"", expect=[["é我"]])
    passes("SELECT '\ud800'", expect=[["?"]])
    assert vetoed("SELECT '" + "x" * 300_000 + "'") == "the statement has more than 200000 characters"
    passes("SELECT '" + "x" * 150_000 + "'")
    assert "score" not in vetoed('-- score: 10\n{"ok": true, "reason": "3 rows"}')
    assert vetoed("```python\nprint(1)\n```") == "there is no statement"
    passes("SELECT x'ff00', cast(x'ff' AS TEXT)", expect="SELECT x'ff00', cast(x'ff' AS TEXT)")


def test_writing_where_it_is_wanted() -> None:
    options = {"read_only": False, "expect": "UPDATE people SET age = 5 WHERE id = 3"}
    passes("UPDATE people SET age = 5 WHERE age IS NULL", **options)
    assert "other data in the tables" in vetoed("UPDATE people SET age = 5", **options)
    assert "other data in the tables" in vetoed("DELETE FROM people WHERE id = 3", **options)
    assert vetoed("SELECT 5", **options)
    assert vetoed("ATTACH '/tmp/x' AS y", **options) == "ATTACH is refused"
    assert vetoed("CREATE VIRTUAL TABLE t USING fts5(a)", **options)
    passes("INSERT INTO people (id) VALUES (9) RETURNING id", read_only=False, expect=[[9]])


def test_a_broken_schema_is_no_fault_of_the_candidate() -> None:
    found = score("SELECT 1", {"s": "CREATE TABLE"}, schema="{{ s }}")
    assert found.vetoed and found.value is None and found.reason.startswith("the schema: ")
    found = score("SELECT 1", {"q": "SELECT nothing"}, expect="{{ q }}")
    assert found.vetoed and found.value is None and found.reason.startswith("the reference query: ")
    for schema, expect in (("CREATE TABLE", None), (SCHEMA, "SELECT nothing"), ("ATTACH 'x' AS y", None)):
        with pytest.raises(UsageError):
            Sql(schema=schema, expect=expect).bind(Setup())
    for options in ({"max_steps": 1}, {"memory_mb": 0}, {"min_rows": -1}, {"max_rows": 0}):
        with pytest.raises(UsageError):
            Sql(schema=SCHEMA, **options)
    with pytest.raises(UsageError, match="names no column"):
        Sql(schema=SCHEMA, on="sqll").bind(Setup(columns=("sql",)))


def test_a_schema_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "shop.sql").write_text(SCHEMA)
    recipe = write_recipe(
        tmp_path,
        rows=2,
        max_planned=6,
        vary={"name": {"choice": ["Ann", "Bo"]}},
        prompt="SELECT age FROM people WHERE name = '{{ name }}' -- {{ row }}",
        score=[
            {"sql": {"schema": "shop.sql", "expect": "SELECT age FROM people WHERE name = '{{ name }}'", "weight": 1}}
        ],
    )
    result = factory.run(recipe, runs_dir=tmp_path / "runs")
    assert [row["meta"]["score"] for row in result.dataset()["train"]] == [1.0, 1.0]
    with pytest.raises(UsageError, match="shop"):
        Sql(schema="shops.sql").bind(Setup(base=tmp_path))


def test_without_a_sandbox_the_limits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    queries = ["SELECT count(*) FROM people", "SELECT random()", "SELECT nothing", *BOMBS]
    inside = [score(query, max_steps=1_000_000) for query in queries]
    monkeypatch.setattr(running, "available", lambda: "none")
    assert [score(query, max_steps=1_000_000) for query in queries] == inside


# oracles


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.sampled_from(["a", "b", None])), max_size=8), st.integers(-5, 5))
def test_rows_agree_with_sqlite_itself(rows: list[tuple[int, str | None]], bound: int) -> None:
    values = ", ".join(f"({a}, {'NULL' if b is None else repr(b)})" for a, b in rows)
    schema = "CREATE TABLE t (a, b);" + (f"INSERT INTO t VALUES {values};" if rows else "")
    query = f"SELECT b, count(*), sum(a) FROM t WHERE a > {bound} GROUP BY b"
    real = sqlite3.connect(":memory:")
    real.executescript(schema)
    wanted = [list(row) for row in real.execute(query)]
    random.Random(len(rows)).shuffle(wanted)
    passes(query, schema=schema, expect=wanted)
    other = [*wanted, ["c", 1, 1]]
    assert vetoed(query, schema=schema, expect=other)


CELL = st.none() | st.integers(-3, 3) | st.sampled_from(["a", "b", ""]) | st.sampled_from([1.0, 0.5, -2.25])


@given(st.lists(st.tuples(CELL, CELL), max_size=6), st.lists(st.tuples(CELL, CELL), max_size=6), st.booleans())
def test_rows_are_compared_as_bags_or_as_lists(one: list[Any], other: list[Any], ordered: bool) -> None:
    assert same_rows(one, other, ordered) == (one == other if ordered else Counter(one) == Counter(other))
    assert same_rows(one, one[::-1], False)


def test_an_order_by_counts_only_outside_of_everything() -> None:
    for query in ("SELECT 1 ORDER BY 1", "select a from t\norder\n by a", "SELECT ')' FROM t ORDER BY 1 LIMIT 2"):
        assert is_ordered(query), query
    for query in (
        "SELECT * FROM (SELECT a FROM t ORDER BY a)",
        "SELECT 'order by' FROM t",
        "SELECT a FROM t -- ORDER BY a",
        "SELECT a /* ORDER BY a */ FROM t",
        'SELECT "order by" FROM t',
        "SELECT rank() OVER (ORDER BY a) FROM t",
    ):
        assert not is_ordered(query), query
