"""What goes to which stream: results to stdout, everything else to stderr; one JSON object with `--json`.

Texts come from models, servers and files. Control characters in them could repaint a terminal or type into it, so
nothing is written that has not passed `clean`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from typing import Any, TextIO

import typer

from factory.errors import FactoryError
from factory.files import is_storage_fault, storage_fault

SCREEN = 2900
"""Characters of one screen: a longer message is cut."""
HINT = 700
BUG = "bug"

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""All but tab and newline: C0 and C1, signs that turn the direction of writing, halves of characters."""
_BEYOND_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Those of them that JSON lets stand in a string."""


def clean(text: object) -> str:
    """The text without control characters; markup and what is left of escape sequences stand as they are."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n"))


def one_line(text: object) -> str:
    """`clean`, with every run of white space as one space."""
    return " ".join(clean(text).split())


def print_json(value: Any) -> None:
    """The one JSON object of `--json`."""
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=ascii_only, indent=2, default=str)
    _write(sys.stdout, _BEYOND_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def tell(text: str) -> None:
    """A command's result for people, on stdout."""
    _write(sys.stdout, clean(text))


def say(text: str) -> None:
    """A line for people, on stderr."""
    _write(sys.stderr, clean(text))


def note(text: str) -> None:
    """Something a user should know that is no error."""
    say(f"note: {text}")


def _write(stream: TextIO, text: str) -> None:
    """A reader that went away (`factory recipes | head -1`) is no reason to stop what is being done."""
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        drop(stream)


def drop(stream: TextIO) -> None:
    """Send to nowhere what this stream still gets."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def colour(stream: TextIO) -> bool:
    """Whether a stream takes colours: a terminal, and no NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def fail(error: Exception, *, as_json: bool) -> int:
    """Tell what went wrong; the exit code."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return 130
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        say(str(getattr(error, "message", error)))
        return 2
    if os.environ.get("FACTORY_TRACEBACK"):
        traceback.print_exception(error)
    code, told = _explain(error)
    told = {**told, "message": _cut(told["message"], SCREEN - HINT), "hint": _cut(told["hint"], HINT)}
    if as_json:
        result = getattr(error, "result", None)
        print_json({**(result.summary if result is not None else {}), "error": told})
    else:
        head = "\x1b[1;31merror:\x1b[0m" if colour(sys.stderr) else "error:"
        hint = f"\n  → {told['hint']}" if told["hint"] else ""
        _write(sys.stderr, f"{head} {clean(told['message'] + hint)}")
    return code


def _explain(error: Exception) -> tuple[int, dict[str, str]]:
    """Exit code, and code, message and hint, of whatever a command raised."""
    if isinstance(error, OSError) and is_storage_fault(error):
        error = storage_fault(error, error.filename or "here")
    if isinstance(error, FactoryError):
        return error.exit_code, error.as_json()
    if isinstance(error, _usage_errors()):
        told = "no command given" if type(error).__name__ == "NoArgsIsHelpError" else error.format_message()
        return 2, {"code": "usage", "message": told.replace("Value error, ", ""), "hint": _usage_hint(error)}
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.filename}: {error.strerror or type(error).__name__}"
        return 1, {"code": "file", "message": message, "hint": "check the path"}
    return 1, _bug(error)


def _usage_errors() -> tuple[Any, ...]:
    """What typer raises for a wrong command line: a class of click, or of its own copy of click."""
    return tuple(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _cut(text: str, length: int) -> str:
    """At most `length` characters; a text of several lines is cut between two of them where that is possible."""
    if len(text) <= length:
        return text
    kept = text[: length - 2]
    whole = kept.rpartition("\n")[0]
    return f"{whole}\n…" if len(whole) > length // 2 else f"{kept} …"


def _usage_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"see `{context.command_path if context is not None else 'factory'} --help`"


def _bug(error: Exception) -> dict[str, str]:
    """A fault of ours: its place in one line, and how to see the rest."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if f"{os.sep}factory{os.sep}" in frame.filename
    ]
    where = f" in {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return {
        "code": BUG,
        "message": f"unexpected {type(error).__name__}{where}: {str(error)[:800]}",
        "hint": "this is a fault of the factory; set FACTORY_TRACEBACK=1 for the whole trace, and report it",
    }
