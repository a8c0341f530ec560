"""JSON as a verifier: the text, or a column, parses as JSON and keeps to a schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factory.errors import UsageError
from factory.scorers import Context, Setup, column, shorten, traits, veto
from factory.scorers.json_reading import NotJson, find_json, read_json
from factory.scorers.json_schema_checks import Check, make_check
from factory.types import Candidate, Score

LONGEST = 300
GOOD = Score("json_schema", 1.0)


@traits(low=0, high=1)
class JsonSchema:
    """1 where the text is JSON that keeps to `schema`, 0 with a veto where it is not; 0…1, higher is better.

    `schema`: a JSON Schema, or the path of one; without it any JSON will do. `on`: a column that holds JSON as text,
    or nested data; without it the only column, or all columns as one object. `extract` takes the JSON out of a fenced
    block or out of prose: the first object or array that keeps to the schema. NaN, a key that stands twice, numbers
    beyond 400 digits and more than 100 levels are faults.
    """

    def __init__(
        self,
        *,
        schema: dict[str, Any] | str | None = None,
        extract: bool = False,
        on: str | None = None,
    ):
        self._schema, self._extract, self._on = schema, extract, on
        self._check: Check | None = make_check(schema) if isinstance(schema, dict) else None

    def bind(self, setup: Setup) -> None:
        """Read the schema's file. Raises UsageError where there is none, or it is no schema."""
        if isinstance(self._schema, str):
            self._check = make_check(_read_schema(setup.base / self._schema, self._schema))

    def __call__(self, candidate: Candidate, context: Context) -> Score:
        value = self._value(candidate)
        try:
            faults = []
            for data in self._read(value):
                fault = "" if self._check is None else self._check(data)
                if not fault:
                    return GOOD
                faults.append(fault)
        except NotJson as error:
            return veto("json_schema", _plain(str(error)))
        return veto("json_schema", _plain(faults[0]))

    def _value(self, candidate: Candidate) -> Any:
        if self._on is not None:
            return column(candidate, self._on)
        if candidate.fields is None:
            return candidate.text
        if len(candidate.fields) == 1:
            return next(iter(candidate.fields.values()))
        return dict(candidate.fields)

    def _read(self, value: Any) -> Any:
        """The data to check, likeliest first."""
        if not isinstance(value, str):
            return [value]
        return find_json(value) if self._extract else [read_json(value)]


def _plain(reason: str) -> str:
    """One line that any file can hold."""
    return shorten(reason.encode("utf-8", "replace").decode(), LONGEST)


def _read_schema(path: Path, written: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"`schema: {shorten(written)}` of `json_schema` cannot be read: {error.strerror or error}",
            "a path starts from the recipe's directory; or write the schema itself",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"`schema: {shorten(written)}` of `json_schema` is not JSON: {error}", "mend the file"
        ) from error
