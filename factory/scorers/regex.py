"""Regular expressions as verifiers, in engines of linear time: no pattern can hang, whatever the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pydantic_core import SchemaError, SchemaValidator, core_schema

from factory.errors import UsageError
from factory.scorers import Context, render_template, shorten, text_of, traits, veto
from factory.types import Candidate, Score

FLAGS = "ims"
TOKEN = re.compile(r"\\.|\[\^?\]?|\]|\(\?(?:P?<(?![=!])([A-Za-z_]\w*)>)?|.", re.DOTALL)
"""The pieces of a pattern that matter here: escapes, the edges of a class, the beginnings of groups."""
UNICODE = {
    r"\w": (r"[\p{L}\p{M}\p{N}_]", r"\p{L}\p{M}\p{N}_"),
    r"\d": (r"\p{Nd}", r"\p{Nd}"),
    r"\s": (r"[\s\p{Z}]", r"\s\p{Z}"),
    r"\W": (r"[^\p{L}\p{M}\p{N}_]", ""),
    r"\D": (r"\P{Nd}", r"\P{Nd}"),
    r"\S": (r"[^\s\p{Z}]", ""),
}
"""What stands for Python's classes in RE2, outside and inside of brackets."""
NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?")
CHARACTERS = 1_000_000
"""Longer texts are not searched."""


def _pieces(pattern: str) -> Iterator[tuple[str, str, bool]]:
    """(piece, name of a named group, whether in brackets) for the whole pattern."""
    inside = False
    for match in TOKEN.finditer(pattern):
        piece = match[0]
        if inside:
            if piece[0] in "([" and len(piece) > 1:  # an ordinary sign in brackets
                yield from ((sign, "", True) for sign in piece)
                continue
            inside = piece != "]"
            yield piece, "", True
        else:
            inside = piece[0] == "["
            yield piece, match[1] or "", False


def _linear(pattern: str, option: str, flags: str, whole: bool) -> Callable[[str], bool]:
    """Whether the pattern is found, by Rust's engine. Raises UsageError for what it cannot do."""
    plain = "".join(r"\z" if piece == r"\Z" else piece for piece, _, _ in _pieces(pattern))
    switched = f"(?{flags}:{plain})" if flags else f"(?:{plain})"
    try:
        return SchemaValidator(
            core_schema.str_schema(pattern=rf"\A{switched}\z" if whole else switched)
        ).isinstance_python
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UsageError(
            f"`{option}` of `regex` is not a regular expression that runs in linear time: {reason}",
            "look-around and back-references are not among them; `not_pattern` says what must not be found",
        ) from error


class _Capture:
    """What a group holds in the first or last match, by the RE2 engine of pyarrow."""

    def __init__(self, pattern: str, group: int | str, flags: str, whole: bool, last: bool):
        names: list[str] = []
        parts: list[str] = []
        for piece, name, inside in _pieces(pattern):
            if not inside and (piece == "(" or name):
                names.append(name or f"unnamed_{len(names) + 1}")
                parts.append(f"(?P<{names[-1]}>")
            elif piece in UNICODE:
                parts.append(UNICODE[piece][inside] or _refuse(piece))
            else:
                parts.append(r"\z" if piece == r"\Z" else piece)
        if isinstance(group, int):
            known = 0 <= group <= len(names)
            self._name = "whole_match" if group == 0 or not known else names[group - 1]
        else:
            known, self._name = group in names, group
        if not known:
            listed = ", ".join(str(number) for number in range(len(names) + 1)) + "".join(
                f", {name}" for name in names if not name.startswith("unnamed_")
            )
            raise UsageError(f"`group: {group}` of `regex` is not in the pattern", f"one of: {listed}")
        inner = f"(?P<whole_match>(?{flags}:{''.join(parts)}))" if flags else f"(?P<whole_match>{''.join(parts)})"
        self._pattern = rf"\A{inner}\z" if whole else rf"\A(?s:.*){inner}" if last else inner
        self("")

    def __call__(self, text: str) -> str | None:
        """The group's text; None where the pattern is not found."""
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            found = pc.extract_regex(pa.array([text], pa.string()), self._pattern)[0]
        except pa.ArrowInvalid as error:
            raise UsageError(
                f"`pattern` of `regex` cannot be used with `equals`: {str(error)[:200]}", "write it in RE2's syntax"
            ) from error
        return found[self._name].as_py() if found.is_valid else None


def _refuse(piece: str) -> str:
    raise UsageError(f"`pattern` of `regex`: {piece} in brackets cannot be used with `equals`", "write the class out")


@traits(low=0, high=1)
class Regex:
    """1 where the text is in form, 0 with a veto where it is not; 0…1, higher is better.

    `pattern` must be found (with `fullmatch`, be the whole text without the white space around it), `not_pattern`
    must not. `equals`: a template that the matched text, or its `group` (a number or a name), must equal, as text or
    as a number; the first match counts, with `last` the last. `flags`: of `i` (case), `m` (^ and $ at lines) and `s`
    (a dot is also a line's end).

    Patterns run in linear time: look-around and back-references are refused. Syntax and Unicode are those of Rust's
    regex; with `equals` those of RE2, where `\\b` knows ASCII letters only. A text of more than a million characters
    is vetoed unread.
    """

    def __init__(
        self,
        *,
        pattern: str | None = None,
        not_pattern: str | None = None,
        fullmatch: bool = False,
        flags: str = "",
        group: int | str = 0,
        equals: str | None = None,
        last: bool = False,
        on: str | None = None,
    ):
        if pattern is None and not_pattern is None:
            raise UsageError("`regex` needs a `pattern` or a `not_pattern`", "for example `regex: {pattern: '^Q:'}`")
        if set(flags) - set(FLAGS):
            raise UsageError(f"`flags: {flags}` of `regex`", "use letters of `ims`")
        if pattern is None and (fullmatch or equals is not None):
            raise UsageError("`fullmatch` and `equals` of `regex` speak of a `pattern`", "give one")
        if equals is None and (group != 0 or last):
            raise UsageError("`group` and `last` of `regex` say what is to equal something", "give `equals`")
        self._shown, self._not_shown = shorten(pattern or ""), shorten(not_pattern or "")
        self._find = None if pattern is None else _linear(pattern, "pattern", flags, fullmatch)
        self._find_not = None if not_pattern is None else _linear(not_pattern, "not_pattern", flags, False)
        self._capture = None
        if pattern is not None and equals is not None:
            self._capture = _Capture(pattern, group, flags, fullmatch, last)
        self._group, self._equals, self._fullmatch, self._on = group, equals, fullmatch, on

    def __call__(self, candidate: Candidate, context: Context) -> Score:
        text = text_of(candidate, self._on)
        if len(text) > CHARACTERS:
            return veto("regex", f"{len(text)} characters, more than are searched")
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # half surrogates are no text to these engines
        whole = text.strip() if self._fullmatch else text
        if self._find is not None and not self._find(whole):
            return veto("regex", f"{'is not' if self._fullmatch else 'does not hold'} {self._shown}")
        if self._find_not is not None and self._find_not(text):
            return veto("regex", f"holds {self._not_shown}")
        if self._capture is not None and self._equals is not None:
            found, wanted = self._capture(whole), render_template(context, self._equals)
            if found is None or not _same(found, wanted):
                which = f"group {self._group}" if self._group else "the match"
                return veto("regex", f"{which} is '{shorten(found or '')}', wanted '{shorten(wanted)}'")
        return GOOD


GOOD = Score("regex", 1.0)


def _same(found: str, wanted: str) -> bool:
    """Equal as text, apart from white space around it, or as plain numbers."""
    one, other = found.strip(), wanted.strip()
    if one == other:
        return True
    if not (NUMBER.fullmatch(one) and NUMBER.fullmatch(other)):
        return False
    return _number(one) == _number(other)


def _number(text: str) -> tuple[str, str, str]:
    """Sign, whole digits and decimals without idle zeros, as numbers of any length are compared exactly."""
    negative = text[0] in "-−"
    whole, _, decimals = text.lstrip("+-−").replace(",", "").partition(".")
    whole, decimals = whole.lstrip("0"), decimals.rstrip("0")
    return ("-" if negative and (whole or decimals) else "", whole, decimals)
