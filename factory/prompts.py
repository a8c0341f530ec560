"""Prompts: Jinja2 templates, sandboxed, in which an undefined name is an error with a file and a line.

A prompt is a path, an inline text, or a list of messages. A text may start with front matter:

    ---
    system: You are terse.
    messages:
      - {role: user, content: "Name a fruit."}
      - {role: assistant, content: Pear}
    ---
    Name a {{ thing }}.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import jinja2
from jinja2 import meta, nodes

from factory.errors import Place, RecipeError, UsageError, nearest
from factory.recipe.document import read as read_document
from factory.recipe.files import find_file, is_path, missing_file, read_text, shipped, shown
from factory.templating import (
    SPECIAL,
    explain,
    guarded_names,
    line_of,
    make_environment,
    plain_environment,
    stored_names,
    unknown_filters,
    unknown_names,
)
from factory.types import Message, Prompt, Role, canonical_json

TEMPLATE_SUFFIXES = (".j2", ".jinja", ".md", ".txt")
_ROLES = ("system", "user", "assistant")


class PlaceMaker(Protocol):
    """Makes the place of a fault; further keys lead below the prompt (`0, "content"` in a list of messages)."""

    def __call__(self, *keys: str | int, message: str, hint: str = "") -> Place: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a template: its Jinja2 source, and the file and line where that starts."""

    role: Role
    source: str
    file: str
    line: int


@dataclass(frozen=True, eq=False)
class Template:
    """A prompt as read: its messages, the SHA-256 (hex) over them and everything they include, the included texts.

    `files` maps the name in an `include` to the included text, `paths` to where it was found.
    """

    parts: tuple[Part, ...]
    sha: str
    files: Mapping[str, str]
    paths: Mapping[str, str]


def load_template(value: str | Sequence[Any], base: Path, *, place: PlaceMaker) -> Template:
    """Read a prompt: a path (relative to `base`, then to the shipped prompts), a text, or messages.

    Raises RecipeError with every fault: a missing file or include, bad front matter, bad Jinja2.
    """
    if isinstance(value, str):
        parts, folder = _read_text_prompt(value, base, place)
    else:
        parts, folder = _read_messages(value, base, place)
    files, paths, faults = _read_includes(parts, [folder, base, shipped("prompts")])
    if faults:
        raise RecipeError(list(dict.fromkeys(faults)))
    content = {"parts": [[part.role, part.source] for part in parts], "files": files}
    template = Template(tuple(parts), hashlib.sha256(canonical_json(content).encode()).hexdigest(), files, paths)
    _compile(template)
    return template


def _read_part(value: str, base: Path, place: PlaceMaker, keys: tuple[str | int, ...]) -> tuple[str, str, int, Path]:
    """Text, file, first line and folder of one value that is a path or a text."""
    if not is_path(value, TEMPLATE_SUFFIXES):
        at = place(*keys, message="")
        # a text of several lines is a block: it starts on the line below its key
        return value, at.file, (at.line or 1) + ("\n" in value.strip("\n") and at.line is not None), base
    path = find_file(value, base)
    if path is None:
        message, hint = missing_file(value, base, "prompts")
        raise RecipeError([place(*keys, message=message, hint=hint)])
    try:
        return read_text(path), shown(path), 1, path.parent
    except UsageError as error:
        raise RecipeError([place(*keys, message=error.message, hint=error.hint)]) from error


def _read_text_prompt(value: str, base: Path, place: PlaceMaker) -> tuple[list[Part], Path]:
    text, file, line, folder = _read_part(value, base, place, ())
    front, body, body_line = _split_front_matter(text, file, line)
    parts = _read_front_matter(front, file, line + 1) if front is not None else []
    if body.strip() or not parts:
        parts.append(Part("user", body, file, body_line))
    if not any(part.source.strip() for part in parts):
        raise RecipeError([place(message="the prompt is empty", hint=f"write it into {file}" if file else "")])
    if parts[-1].role != "user":
        raise RecipeError([Place(file, body_line, "", "the prompt ends without a user message", "add the question")])
    return parts, folder


def _read_messages(value: Sequence[Any], base: Path, place: PlaceMaker) -> tuple[list[Part], Path]:
    parts: list[Part] = []
    faults: list[Place] = []
    folder = base
    for number, message in enumerate(value):
        role = message["role"] if isinstance(message, Mapping) else message.role
        content = message["content"] if isinstance(message, Mapping) else message.content
        try:
            text, file, line, folder = _read_part(content, base, place, (number, "content"))
        except RecipeError as error:
            faults += error.places
            continue
        parts.append(Part(role, text, file, line))
    if parts and not faults and parts[-1].role != "user":
        faults.append(place(len(parts) - 1, "role", message="the last message must be the user's"))
    if faults or not parts:
        raise RecipeError(faults or [place(message="the prompt is empty", hint="give it a message")])
    return parts, folder


def _split_front_matter(text: str, file: str, line: int) -> tuple[str | None, str, int]:
    """Front matter (None without one), body, and the line where the body starts."""
    if not text.startswith("---\n"):
        return None, text, line
    end = re.compile(r"^---[ \t]*(?:\n|\Z)", re.MULTILINE).search(text, 4)
    if end is None:
        raise RecipeError([Place(file, line, "", "the front matter is not closed", "end it with a line `---`")])
    return text[4 : end.start()], text[end.end() :], line + text.count("\n", 0, end.end())


def _read_front_matter(text: str, file: str, line: int) -> list[Part]:
    document = read_document(text, file, first_line=line)
    if document.faults:
        raise RecipeError(document.faults)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise RecipeError([Place(file, line, "", "front matter holds `system:` and `messages:`, nothing else")])
    faults: list[Place] = []
    parts: list[Part] = []

    def complain(*keys: str | int, message: str, hint: str = "") -> None:
        path = tuple(map(str, keys))
        at = next((document.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in document.lines), line)
        faults.append(Place(file, at, ".".join(path), message, hint))

    def add(role: Any, content: Any, *keys: str | int) -> None:
        if not isinstance(content, str):
            complain(*keys, message="must be text", hint="put it in quotes")
        elif role not in _ROLES:
            complain(*keys[:-1], "role", message=f"`{role}` is no role", hint=nearest(str(role), _ROLES))
        else:
            at = document.lines.get(tuple(map(str, keys)), line)
            parts.append(Part(role, content, file, at + ("\n" in content.strip("\n"))))

    for key in data:
        if key not in ("system", "messages"):
            complain(key, message=f"unknown key `{key}`", hint=nearest(str(key), ("system", "messages")))
    if "system" in data:
        add("system", data["system"], "system")
    messages = data.get("messages") or []
    if not isinstance(messages, list):
        complain("messages", message="must be a list", hint="write `- {role: user, content: …}` lines")
        messages = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            complain("messages", number, message="must be a mapping of `role` and `content`")
            continue
        add(message["role"], message["content"], "messages", number, "content")
    if faults:
        raise RecipeError(faults)
    return parts


# Includes


def _inclusions(tree: nodes.Template) -> list[tuple[nodes.Node, list[str] | None]]:
    """Every node that includes, imports or extends, with the names it gives; None where they are not plain text."""
    found: list[tuple[nodes.Node, list[str] | None]] = []
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        target = node.template  # type: ignore[attr-defined]
        items = target.items if isinstance(target, (nodes.List, nodes.Tuple)) else [target]
        values = [item.value if isinstance(item, nodes.Const) else None for item in items]
        names = [value for value in values if isinstance(value, str)]
        found.append((node, names if len(names) == len(values) else None))
    return found


def _choose(names: Sequence[str], folders: Sequence[Path], files: Collection[str]) -> tuple[str, Path | None]:
    """The first of the names that is there, with its path where it was not read yet; else the first and None."""
    for name in names:
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if name in files or path is not None:
            return name, None if name in files else path
    return names[0] if names else "", None


def _read_includes(
    parts: Sequence[Part], folders: Sequence[Path]
) -> tuple[dict[str, str], dict[str, str], list[Place]]:
    """Text and path of everything that the parts include, directly or not, by name; and what is wrong with them."""
    files: dict[str, str] = {}
    paths: dict[str, str] = {}
    faults: list[Place] = []
    waiting = [(part.source, part.file, part.line) for part in parts]
    while waiting:
        source, file, first_line = waiting.pop(0)
        try:
            tree = plain_environment().parse(source)
        except (jinja2.TemplateSyntaxError, RecursionError) as error:
            message, hint = explain(error, ())
            faults.append(Place(file, first_line + getattr(error, "lineno", 1) - 1, "", message, hint))
            continue
        unknown = unknown_filters(tree)
        faults += [Place(file, first_line + line - 1, "", message, hint) for line, message, hint in unknown]
        for node, names in _inclusions(tree):
            line = first_line + node.lineno - 1
            if names is None:
                hint = "write the file's name in quotes; choose with `{% if %}` around it"
                faults.append(Place(file, line, "", "an include must name its file plainly", hint))
                continue
            name, path = _choose(names, folders, files)
            if path is not None:
                try:
                    files[name], paths[name] = read_text(path), shown(path)
                except UsageError as error:
                    faults.append(Place(file, line, "", error.message, error.hint))
                    continue
                waiting.append((files[name], paths[name], 1))
            elif name not in files and not getattr(node, "ignore_missing", False):
                message, hint = missing_file(name, folders[0], "prompts")
                faults.append(Place(file, line, "", f"include: {message}", hint))
    return files, paths, faults


# Rendering


def _part_name(number: int) -> str:
    return f"<message {number}>"


@lru_cache(maxsize=512)
def _compile(template: Template) -> tuple[jinja2.Template, ...]:
    """One compiled template a part. Raises RecipeError for what only compiling finds (unknown filters)."""
    own = {_part_name(number): part.source for number, part in enumerate(template.parts)}

    def load(name: str) -> tuple[str, str] | None:
        if name in own:
            return own[name], name
        return (template.files[name], template.paths[name]) if name in template.files else None

    environment = make_environment(load)
    compiled, faults = {}, []
    for name in [*own, *template.files]:
        try:
            compiled[name] = environment.get_template(name)
        except jinja2.TemplateSyntaxError as error:
            faults.append(_place(template, error, ()))
    if faults:
        raise RecipeError(list(dict.fromkeys(faults)))
    return tuple(compiled[name] for name in own)


def _place(template: Template, error: Exception, names: Collection[str]) -> Place:
    """Where a template failed, in the user's file."""
    parts = {_part_name(number): part for number, part in enumerate(template.parts)}
    message, hint = explain(error, names)
    at = line_of(error, {*parts, *template.paths.values()})
    if at is None:
        return Place(template.parts[-1].file, template.parts[-1].line, "", message, hint)
    file, line = at
    part = parts.get(file)
    return Place(part.file, part.line + line - 1, "", message, hint) if part else Place(file, line, "", message, hint)


def render(template: Template, scope: Mapping[str, Any]) -> Prompt:
    """The messages for one row. Raises RecipeError with file, line and the nearest name in scope."""
    messages = []
    for part, compiled in zip(template.parts, _compile(template), strict=True):
        try:
            text = compiled.render(scope).strip()
        except Exception as error:  # whatever a template runs into is told with its line
            raise RecipeError([_place(template, error, scope.keys())]) from error
        if text or part.role != "system":
            messages.append(Message(part.role, text))
    return Prompt(tuple(messages), template.sha)


@lru_cache(maxsize=1024)
def _compile_text(text: str) -> jinja2.Template:
    return plain_environment().from_string(text)


@lru_cache(maxsize=1024)
def _compile_expression(expression: str) -> Any:
    return plain_environment().compile_expression(expression, undefined_to_none=False)


def _fault(error: Exception, text: str, scope: Mapping[str, Any]) -> RecipeError:
    message, hint = explain(error, scope.keys())
    at = line_of(error, {"<template>"}) if "\n" in text else None
    first = text.strip().partition("\n")[0]
    first = first if len(first) <= 60 else first[:59] + "…"
    return RecipeError([Place(f"`{first}`", at[1] if at else None, "", message, hint)])


def render_text(text: str, scope: Mapping[str, Any]) -> str:
    """An inline template, rendered and stripped. Raises RecipeError."""
    try:
        return _compile_text(text).render(scope).strip()
    except Exception as error:  # as in render
        raise _fault(error, text, scope) from error


def evaluate(expression: str, scope: Mapping[str, Any]) -> Any:
    """The value of a Jinja2 expression such as `rating > 3 and "x" in text`. Raises RecipeError."""
    try:
        value = _compile_expression(expression)(**scope)
        if isinstance(value, jinja2.Undefined):
            value._fail_with_undefined_error()
    except Exception as error:  # as in render
        raise _fault(error, expression, scope) from error
    return value


# Names


def names_in(text: str) -> set[str]:
    """The names that a text needs from its scope. Raises RecipeError for bad Jinja2."""
    environment = plain_environment()
    try:
        tree = environment.parse(text)
        needed = meta.find_undeclared_variables(tree)
    except jinja2.TemplateSyntaxError as error:
        raise _fault(error, text, {}) from error
    return needed - set(environment.globals) - SPECIAL - guarded_names(tree)


def check_names(template: Template, known: Collection[str]) -> list[Place]:
    """Every use of a name that is not in `known`, with its line, before anything is rendered.

    Where `known` is a mapping, a value that is a collection lists the fields of that name: `{{ source.titel }}` is
    found too. Names that a template binds itself, asks about (`is defined`) or gives a default are left alone.
    """
    fields = known if isinstance(known, Mapping) else {}
    faults: list[Place] = []
    done: set[tuple[str, frozenset[str]]] = set()
    waiting = [(part.source, part.file, part.line, frozenset(known)) for part in template.parts]
    while waiting:
        source, file, first_line, names = waiting.pop(0)
        tree = plain_environment().parse(source)
        for line, message, hint in unknown_names(tree, names, fields):
            faults.append(Place(file, first_line + line - 1, "", message, hint))
        for name, with_context in _include_targets(tree, template.files):
            below = names | stored_names(tree) if with_context else frozenset()
            if (name, below) not in done:
                done.add((name, below))
                waiting.append((template.files[name], template.paths[name], 1, below))
    return list(dict.fromkeys(faults))


def _include_targets(tree: nodes.Template, files: Collection[str]) -> list[tuple[str, bool]]:
    """(name, whether it sees the scope) of each file that a template includes, imports or extends."""
    found = []
    for node, names in _inclusions(tree):
        with_context = isinstance(node, nodes.Extends) or bool(getattr(node, "with_context", False))
        found += [(name, with_context) for name in names or () if name in files]
    return found
