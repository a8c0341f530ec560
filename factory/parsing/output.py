"""A candidate's text becomes output columns: plain text, a JSON object, or labelled sections, validated by pydantic."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticSerializationError, ValidationError

from factory.errors import Place, RecipeError, UsageError, nearest
from factory.parsing.schema import (
    Faults,
    PlaceMaker,
    check_schema,
    column_kind,
    expand_refs,
    field_map_schema,
    is_json_schema,
)
from factory.parsing.sections import Labels, compile_labels, read_sections
from factory.parsing.validators import Builder
from factory.parsing.values import MAX_NESTING, read_list, too_deep
from factory.types import Message

if TYPE_CHECKING:
    from pydantic import BaseModel

PARSE = ("auto", "json", "sections")
SHOWN_ERRORS = 3
REPAIR_CHARS = 8000
OBJECT_START = re.compile(r"\{[ \t\r\n]{0,64}[\"}]")
BAD_CHARS = re.compile("[\x00\ud800-\udfff]")
WORK = 8
SPARE_WORK = 500_000
FAILED_DECODE, FAILED_FIT = 1_000, 5_000
"""What failed attempts at JSON may cost, in characters read: `WORK` times the text's length and some to spare, with a
fixed price for each object that does not decode or does not fit. So hostile text stays linear."""


@dataclass(frozen=True, slots=True)
class Column:
    """An output column. `kind`: `str int float bool`, `list[…]` of one of these, or `json` (nested data)."""

    name: str
    kind: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Parsed:
    """The columns of one candidate, or why there are none.

    `reason` is "empty", "truncated", "filtered" or "invalid: …".
    """

    fields: Mapping[str, Any] | None
    reason: str = ""


Validate = Callable[[Any], Mapping[str, Any]]
"""Data → columns; raises pydantic's ValidationError."""


@dataclass(frozen=True, slots=True)
class Output:
    """A compiled `output:`. `schema` is its JSON Schema; `plain` when the whole text is the one column."""

    columns: tuple[Column, ...]
    schema: Mapping[str, Any]
    mode: str = "auto"
    plain: bool = False
    _validate_json: Validate | None = field(default=None, repr=False, compare=False)
    _validate_text: Validate | None = field(default=None, repr=False, compare=False)
    _labels: Labels | None = field(default=None, repr=False, compare=False)

    def parse(self, text: str, finish_reason: str = "stop") -> Parsed:
        """The columns of one answer. Never raises on any text; linear in its length."""
        if finish_reason == "content_filter":
            return Parsed(None, "filtered")
        if finish_reason == "length":
            return Parsed(None, "truncated")
        text = text.removeprefix("\ufeff")
        if not text.strip():
            return Parsed(None, "empty")
        if bad := BAD_CHARS.search(text):
            return Parsed(None, f"invalid: {_bad_char(bad[0])}")
        if self.plain:
            return Parsed({self.columns[0].name: text.strip()})
        if self.mode == "json":
            return self._parse_json(text)[0]
        if self.mode == "sections":
            return self._parse_sections(text)[0]
        return self._parse_either(text)

    def _parse_either(self, text: str) -> Parsed:
        """JSON where the text opens with it; else whichever validates, the earlier one where both do."""
        opening = re.match(r"\s*(?:```\w*\s*)?\{", text)
        if opening:
            return self._parse_json(text)[0]
        sections, at = self._parse_sections(text)
        if "{" not in text:
            return sections
        found, json_at = self._parse_json(text)
        if found.fields is not None and (sections.fields is None or json_at < at):
            return found
        return found if sections.fields is None and at < 0 and json_at >= 0 else sections

    def _parse_json(self, text: str) -> tuple[Parsed, int]:
        """The first JSON object that validates, and where it starts (-1: there is none)."""
        first, first_at = "", -1
        for start, data, fault in _find_objects(text):
            if fault:
                return Parsed(None, f"invalid: {first or fault}"), max(first_at, start)
            parsed = self._check(self._validate_json, data)
            if parsed.fields is not None:
                return parsed, start
            if not first:
                first, first_at = parsed.reason.removeprefix("invalid: "), start
        return Parsed(None, f"invalid: {first or 'no JSON object found'}"), first_at

    def _parse_sections(self, text: str) -> tuple[Parsed, int]:
        """The labelled sections, and where the first one starts (-1: there is none)."""
        if self._labels is None:
            raise UsageError("this output has no labels", "use `parse: json`")
        found, fault, start = read_sections(text.replace("\r\n", "\n"), self._labels)
        if fault:
            return Parsed(None, f"invalid: {fault}"), start
        if not found:
            wanted = self.columns[0].name.replace("_", " ").capitalize()
            return Parsed(None, f"invalid: no labelled sections (such as `{wanted}: …`) found"), -1
        optional = {column.name for column in self.columns if column.optional}
        given = {name: value for name, value in found.items() if value or name not in optional}
        return self._check(self._validate_text, given), start

    def _check(self, validate: Validate | None, data: Any) -> Parsed:
        if validate is None:
            raise UsageError("this output has no validator", "make it with compile_output")
        try:
            fields = validate(data)
        except ValidationError as error:
            return Parsed(None, f"invalid: {_tell(error)}")
        except (PydanticSerializationError, RecursionError) as error:
            return Parsed(None, f"invalid: {type(error).__name__}")
        if fault := _bad_value(fields):
            return Parsed(None, f"invalid: {fault}")
        return Parsed(fields)


def compile_output(
    output: Mapping[str, Any] | type[BaseModel] | None,
    parse: str = "auto",
    *,
    text_column: str = "text",
    place: PlaceMaker | None = None,
) -> Output:
    """An output parser from a field map, a JSON Schema, a pydantic class, or None (plain text in `text_column`).

    `place(*keys, message=…, hint=…)` says where a fault stands. Raises RecipeError with every fault at once.
    """
    faults = Faults(place or _bare_place)
    if parse not in PARSE:
        faults.add(("parse",), f"unknown way to parse `{parse}`", nearest(parse, PARSE))
        raise RecipeError(faults.found)
    if output is None:
        schema = {"type": "object", "properties": {text_column: {"type": "string"}}, "required": [text_column]}
        return Output((Column(text_column, "str"),), schema, parse, plain=True)
    if isinstance(output, Mapping):
        return _compile_mapping(output, parse, faults)
    if hasattr(output, "model_validate") and hasattr(output, "model_json_schema"):
        return _compile_class(output, parse, faults)
    faults.add(("output",), f"must be a mapping or a pydantic class, not {output!r}", "such as `{answer: str}`")
    raise RecipeError(faults.found)


def _bare_place(*keys: str, message: str, hint: str = "") -> Place:
    return Place("<recipe>", None, ".".join(keys), message, hint)


def _compile_mapping(output: Mapping[str, Any], parse: str, faults: Faults) -> Output:
    from_schema = is_json_schema(output)
    if from_schema:
        schema = expand_refs(output, ("output",), faults)
        if not isinstance(output.get("properties"), Mapping) or not output["properties"]:
            faults.add(("output",), "a JSON Schema of an output needs `properties`", "they name the columns")
        elif not faults.found:
            check_schema(schema, ("output",), faults)
    else:
        schema = field_map_schema(output, ("output",), faults)
    labels = None if faults.found else _labels(schema["properties"], parse, faults)
    if faults.found:
        raise RecipeError(faults.found)
    columns = _columns(schema)
    text_model = Builder(lax=True).validator(schema)
    json_model = Builder(lax=False).validator(schema) if from_schema else text_model
    blank = () if from_schema else tuple(c.name for c in columns if c.kind == "str" and not c.optional)

    def validating(model: Any) -> Validate:
        def validate(data: Any) -> Mapping[str, Any]:
            fields = model.validate_python(data)
            for name in blank:
                if not fields[name].strip():
                    raise ValidationError.from_exception_data(
                        "output", [{"type": "string_too_short", "loc": (name,), "input": "", "ctx": {"min_length": 1}}]
                    )
            return {column.name: fields.get(column.name) for column in columns}

        return validate

    return Output(columns, schema, parse, False, validating(json_model), validating(text_model), labels)


def _compile_class(model: type[BaseModel], parse: str, faults: Faults) -> Output:
    """A pydantic class: its own validators run; columns are what `model_dump` gives, under their aliases."""
    shown = model.model_json_schema(mode="serialization", by_alias=True)
    expanded = expand_refs(shown, ("output",), faults)
    columns = _columns(expanded) if not faults.found else ()
    if not columns and not faults.found:
        faults.add(("output",), f"the class {model.__name__} has no fields", "give it at least one")
    if faults.found:
        raise RecipeError(faults.found)
    wanted = model.model_json_schema(by_alias=True)
    labels = _labels(wanted.get("properties", {}), parse, faults)
    if faults.found:
        raise RecipeError(faults.found)
    lists = {c.name for c in columns if c.kind.startswith("list[")}

    def validate_json(data: Any) -> Mapping[str, Any]:
        return _dump(model.model_validate_json(json.dumps(data)), columns)

    def validate_text(data: Any) -> Mapping[str, Any]:
        return _dump(
            model.model_validate({name: read_list(value) if name in lists else value for name, value in data.items()}),
            columns,
        )

    return Output(columns, wanted, parse, False, validate_json, validate_text, labels)


def _dump(instance: BaseModel, columns: Iterable[Column]) -> dict[str, Any]:
    data = instance.model_dump(mode="json", by_alias=True)
    return {column.name: data.get(column.name) for column in columns}


def _columns(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    required = set(schema.get("required") or ())
    columns = []
    for name, inner in schema.get("properties", {}).items():
        kind, optional = column_kind(inner)
        columns.append(Column(name, kind, optional or name not in required))
    return tuple(columns)


def _labels(names: Iterable[str], parse: str, faults: Faults) -> Labels | None:
    """The labels of the columns; two columns with one label are a fault where sections may be read."""
    labels = compile_labels(names)
    if len(labels.by_label) < len(labels.names) and parse != "json":
        clash = [name for name in labels.names if name not in labels.by_label.values()]
        faults.add(("output", clash[0]), "has the same label as another column", "rename it, or use `parse: json`")
    return labels


def _not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


# A raw newline or tab inside a JSON string is unambiguous, and models write it often: strict=False.
DECODER = json.JSONDecoder(strict=False, parse_constant=_not_json)


def _find_objects(text: str) -> Iterator[tuple[int, Any, str]]:
    """(start, object, '') for every JSON object in the text, in order; last (start, None, why) where reading stops."""
    at, work, broken = 0, WORK * len(text) + SPARE_WORK, ""
    broken_at = -1
    while opening := OBJECT_START.search(text, at):
        start = opening.start()
        try:
            data, at = DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            if not broken:
                broken, broken_at = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})", start
            if error.msg.startswith("Unterminated string") or not text[error.pos :].strip():
                break
            work -= FAILED_DECODE + error.pos - start + error.pos // 16  # the error counts the lines before it
            at = start + 1
        except RecursionError:
            broken, broken_at = f"JSON nested deeper than {MAX_NESTING} levels", start
            break
        except ValueError as error:
            broken, broken_at = broken or f"not JSON: {str(error)[:120]}", start
            work -= len(text) - start
            at = start + 1
        else:
            if text.count("{", start, at) + text.count("[", start, at) > MAX_NESTING and too_deep(data):
                yield start, None, f"JSON nested deeper than {MAX_NESTING} levels"
                return
            yield start, data, ""
            work -= FAILED_FIT + at - start
        if work < 0:
            broken, broken_at = "no JSON object found within a reasonable effort", start
            break
    if broken:
        yield broken_at, None, broken


def _bad_char(char: str) -> str:
    return "a NUL character" if char == "\x00" else "half a surrogate pair (not Unicode text)"


def _bad_value(value: Any, depth: int = 0) -> str:
    """What no dataset column can hold: NUL, half surrogates (JSON escapes can spell them), infinity; or ''."""
    if isinstance(value, str):
        bad = BAD_CHARS.search(value)
        return _bad_char(bad[0]) if bad else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number that is not finite"
    if isinstance(value, Mapping):
        pairs = [part for pair in value.items() for part in pair]
        return next((fault for part in pairs if (fault := _bad_value(part, depth + 1))), "")
    if isinstance(value, list | tuple):
        return next((fault for item in value if (fault := _bad_value(item, depth + 1))), "")
    return ""


def _tell(error: ValidationError) -> str:
    """The first faults of a validation in one line: `answer: Field required; rating: …`."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = []
    for fault in faults[:SHOWN_ERRORS]:
        where = ".".join(str(part) for part in fault["loc"])[:80]
        message = "empty" if fault["type"] == "string_too_short" and "at least 1 " in fault["msg"] else fault["msg"]
        told.append(f"{where}: {message[:160]}" if where else message[:160])
    if len(faults) > SHOWN_ERRORS:
        told.append(f"and {len(faults) - SHOWN_ERRORS} more")
    return BAD_CHARS.sub("\ufffd", "; ".join(told))


def repair_messages(
    messages: Sequence[Message], text: str, reason: str, output: Output | None = None
) -> tuple[Message, ...]:
    """The conversation for one repair call: what was asked, what came, what was wrong with it, and the wanted form."""
    came = text if len(text) <= REPAIR_CHARS else text[:REPAIR_CHARS] + " …"
    wrong = reason.removeprefix("invalid: ")
    form = f" {describe(output)}" if output is not None and not output.plain else ""
    ask = f"That answer could not be read ({wrong}). Give the same answer again in the form that was asked for.{form}"
    return (*messages, Message("assistant", came), Message("user", f"{ask} Write nothing else."))


def describe(output: Output) -> str:
    """The wanted form in one sentence, for a model."""
    if output.mode == "sections":
        labels = ", ".join(f"`{c.name.replace('_', ' ').capitalize()}:`" for c in output.columns)
        return f"Write these labelled sections, each once: {labels}."
    return f"Write one JSON object that fits this JSON Schema: {json.dumps(output.schema, ensure_ascii=False)}."
