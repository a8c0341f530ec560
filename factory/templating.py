"""The Jinja2 environment of the factory: sandboxed, strict about undefined names, and pure.

Pure: a template's text is a function of its scope alone. `random` and `lipsum` are refused, values in scope cannot be
changed, and a function is never printed (its address would be).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

from factory.errors import nearest

MAX_REPEAT = 1_000_000
"""The longest text or list, and the largest number of bits, that `*` and `**` may make in a template."""

SPECIAL = frozenset({"self", "super", "caller", "varargs", "kwargs", "loop"})
"""Names that Jinja2 itself binds inside loops, blocks and macros."""

_UNDEFINED = re.compile(r"`(\w+)` is undefined$")


class Missing(jinja2.StrictUndefined):
    """An undefined name: any use of it is an error that says what is missing, and where there is one, what is near."""

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return str(self._undefined_hint)
        owner = self._undefined_obj
        if owner is jinja2.utils.missing:
            return f"`{self._undefined_name}` is undefined"
        if isinstance(owner, Mapping):
            near = nearest(str(self._undefined_name), map(str, owner))
            return f"there is no `{self._undefined_name}` in it" + (f" ({near})" if near else "")
        kind = {"str": "a text", "int": "a number", "float": "a number", "list": "a list"}.get(type(owner).__name__)
        return f"{kind or 'a ' + type(owner).__name__} has no `{self._undefined_name}`"


class PureEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which a mapping's keys come before its methods: `{{ source.items }}` is the column `items`."""

    intercepted_binops = frozenset({"*", "**"})

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """A plain mapping: a context copies it for every rendering, and a chain of mappings is slow to copy."""
        return {**self.globals, **(d or {})}

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            sized, times = (left, right) if hasattr(left, "__len__") else (right, left)
            too_long = hasattr(sized, "__len__") and isinstance(times, int) and len(sized) * times > MAX_REPEAT
        else:
            too_long = isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > MAX_REPEAT
        if too_long:
            raise SecurityError(f"`{operator}` would make a value of more than {MAX_REPEAT:,} characters or bits")
        return super().call_binop(context, operator, left, right)


def _print(value: Any) -> Any:
    if callable(value) and not isinstance(value, (jinja2.Undefined, jinja2.runtime.Macro)):
        raise jinja2.TemplateRuntimeError("a function is no text: call it with ()")
    return value


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is read by people and models: no HTML escapes, keys in their order."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def make_environment(load: Callable[[str], tuple[str, str] | None] | None = None) -> PureEnvironment:
    """An environment whose includes come from `load(name)` → (text, file); None for a name that is not there."""

    def get_source(name: str) -> tuple[str, str, Callable[[], bool]]:
        found = load(name) if load else None
        if found is None:
            raise jinja2.TemplateNotFound(name)
        return found[0], found[1], lambda: True

    environment = PureEnvironment(
        undefined=Missing,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        autoescape=False,
        finalize=_print,
        auto_reload=False,
        loader=jinja2.FunctionLoader(get_source),
    )
    environment.globals.pop("lipsum", None)
    environment.filters.pop("random", None)
    environment.filters["tojson"] = _to_json
    return environment


@lru_cache(maxsize=1)
def plain_environment() -> PureEnvironment:
    """The one environment of inline texts and expressions, without includes."""
    return make_environment()


def explain(error: Exception, names: Collection[str]) -> tuple[str, str]:
    """Message and hint for what a template raised; `names` is what was in scope."""
    if isinstance(error, jinja2.UndefinedError):
        message = error.message or "a name is undefined"
        undefined = _UNDEFINED.match(message)
        if undefined and undefined[1] in names:
            return message, "import the file `with context`, so that it sees the recipe's names"
        return message, nearest(undefined[1], names) if undefined else ""
    if isinstance(error, SecurityError):
        message = str(error.message).removesuffix(".")
        return f"refused: {message}", "templates may not reach into Python" if "unsafe" in message else ""
    if isinstance(error, jinja2.TemplateNotFound):
        return f"`{error.name}` is not there", "include files by a plain name in quotes"
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"bad template: {error.message}", _syntax_hint(error.message or "")
    if isinstance(error, RecursionError):
        return "includes or calls itself without end", ""
    if isinstance(error, jinja2.TemplateRuntimeError):
        return str(error.message), ""
    return f"cannot be rendered: {type(error).__name__}: {str(error)[:120]}", ""


def _syntax_hint(message: str) -> str:
    if "end of print statement" in message or "Unexpected end of template" in message:
        return "a `}}` or an `{% end… %}` is missing"
    return ""


def unknown_filters(tree: nodes.Template) -> list[tuple[int, str, str]]:
    """(line, message, hint) of each filter and test that does not exist; Jinja2 finds some only while rendering."""
    environment = plain_environment()
    found = []
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        kind, known = ("filter", environment.filters) if isinstance(node, nodes.Filter) else ("test", environment.tests)
        name = node.name
        if name == "random":
            found.append((node.lineno, "`random` is refused", "prompts draw nothing: make an axis under `vary:`"))
        elif name not in known:
            found.append((node.lineno, f"there is no {kind} `{name}`", nearest(name, known)))
    return found


def line_of(error: BaseException, files: Collection[str]) -> tuple[str, int] | None:
    """The innermost (file, line) of one of the templates in an error's traceback."""
    if isinstance(error, jinja2.TemplateSyntaxError) and error.lineno:
        return error.filename or "", error.lineno
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in files:
            found = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return found


def stored_names(tree: nodes.Template) -> set[str]:
    """Names that a template itself binds somewhere: loops, `set`, macros and their arguments, imports."""
    bound = {name.name for name in tree.find_all(nodes.Name) if name.ctx in ("store", "param")}
    bound |= {macro.name for macro in tree.find_all(nodes.Macro)}
    bound |= {imported.target for imported in tree.find_all(nodes.Import)}
    for imported in tree.find_all(nodes.FromImport):
        bound |= {name if isinstance(name, str) else name[1] for name in imported.names}
    return bound


def guarded_names(tree: nodes.Template) -> set[str]:
    """Names that a template asks about (`is defined`) or gives a default: they may be undefined."""
    tests = (test for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined"))
    filters = (one for one in tree.find_all(nodes.Filter) if one.name in ("default", "d"))
    return {part.node.name for part in (*tests, *filters) if isinstance(part.node, nodes.Name)}


def unknown_names(
    tree: nodes.Template, known: Collection[str], fields: Mapping[str, Collection[str] | None]
) -> list[tuple[int, str, str]]:
    """(line, message, hint) of each name that a template needs and `known` lacks, and of each unknown field."""
    environment = plain_environment()
    free = meta.find_undeclared_variables(tree) - set(environment.globals) - SPECIAL
    missing = free - set(known) - guarded_names(tree)
    found = []
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name in missing:
            missing.discard(name.name)
            found.append((name.lineno, f"`{name.name}` is undefined", nearest(name.name, known)))
    bound = stored_names(tree)
    for use in tree.find_all((nodes.Getattr, nodes.Getitem)):
        owner, key = _field(use)  # type: ignore[arg-type]
        columns = fields.get(owner) if owner in free and owner not in bound else None
        if columns is not None and key is not None and key not in columns and key not in _guarded_fields(tree, owner):
            hint = nearest(key, columns) or f"`{owner}` has no fields"
            found.append((use.lineno, f"`{owner}` has no `{key}`", hint))
    return list(dict.fromkeys(found))


def _field(use: nodes.Getattr | nodes.Getitem) -> tuple[str, str | None]:
    """Owner and field of `owner.field` or `owner["field"]`; a method of a mapping is no field."""
    owner = use.node.name if isinstance(use.node, nodes.Name) else ""
    if isinstance(use, nodes.Getattr):
        return owner, None if hasattr(dict, use.attr) else use.attr
    return owner, use.arg.value if isinstance(use.arg, nodes.Const) and isinstance(use.arg.value, str) else None


def _guarded_fields(tree: nodes.Template, owner: str) -> set[str | None]:
    """Fields of `owner` that the template asks about or gives a default."""
    tests = (test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined"))
    filters = (one.node for one in tree.find_all(nodes.Filter) if one.name in ("default", "d"))
    uses = (_field(part) for part in (*tests, *filters) if isinstance(part, (nodes.Getattr, nodes.Getitem)))
    return {key for name, key in uses if name == owner}
