"""Every error the factory raises, in one tree.

FactoryError                  code, message, hint, exit_code; what a user sees, never as a traceback
├── UsageError           (2)  the command or the arguments are wrong
│   ├── RecipeError      (2)  every fault of a recipe at once, each with its place
│   ├── RunDirError      (2)  a run directory of another plan, or in use
│   └── MissingExtra     (2)  an optional dependency is absent: one pip line
├── JournalDamaged       (1)  a stored response does not match its digest
├── GateFailed           (3)  an audit's gate said no
├── Incomplete           (4)  resumable: the same command goes on
│   ├── BudgetSpent           the cap is reached
│   ├── TargetNotReached      max_planned rows were not enough
│   ├── ServerUnreachable     nothing answers, or everything is refused
│   ├── KeyRefused            401, 403, quota
│   └── StorageFull           the disk is full or not writable
└── Interrupted        (130)  Ctrl-C, resumable

CallFault                     one attempt of one call failed; raised by backends, handled by the call layer
├── Transient                 worth another attempt
│   ├── Overloaded            429, with Retry-After where given
│   ├── ServerFault           5xx, 408, 409
│   ├── ConnectionFailed      nothing was sent: costs nothing
│   ├── ConnectionLost        sent, no whole answer: cost unknown, settled at its upper bound
│   ├── BadBody               a truncated or garbage body: like ConnectionLost
│   └── NoChoices             a valid answer without choices: billed at its usage
├── Permanent                 another attempt would fail alike: the candidate is a reject
│   ├── BadRequest            400, 422: the server refuses this request
│   ├── ContextTooLong        the prompt does not fit
│   └── Filtered              a content filter refused
└── Refused                   no call to this model can succeed: the run stops, resumable
    ├── Unauthorized          401, 403
    ├── ModelMissing          404
    └── QuotaSpent            insufficient quota

CallBarred                    no attempt was made: the row is left as it is, to be taken up later
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from factory.types import Usage


class FactoryError(Exception):
    """An error with a code for scripts, a message for people, and a hint that says what to do."""

    code = "failed"
    exit_code = 1
    result: Any = None
    """What was made so far, where a run had begun: a `factory.Result`."""

    def __init__(self, message: str, hint: str = "", *, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def as_json(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(FactoryError):
    code = "usage"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Place:
    """One fault of a recipe or prompt: `file:line: key: message`, with the nearest valid choice in `hint`."""

    file: str
    line: int | None
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{key} {self.message}{hint}"


class RecipeError(UsageError):
    """All faults of a recipe. `places` is never empty."""

    code = "recipe"

    def __init__(self, places: Sequence[Place], hint: str = ""):
        self.places = tuple(places)
        shown = [str(place) for place in self.places[:12]]
        if len(self.places) > 12:
            shown.append(f"… and {len(self.places) - 12} more")
        count = "1 fault" if len(self.places) == 1 else f"{len(self.places)} faults"
        super().__init__(f"the recipe has {count}\n" + "\n".join(shown), hint)


class RunDirError(UsageError):
    code = "run_dir"


class MissingExtra(UsageError):
    """An optional dependency is absent."""

    code = "missing_extra"

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs an extra that is not installed", f'pip install "text-data-factory[{extra}]"')


class JournalDamaged(FactoryError):
    code = "journal_damaged"


class GateFailed(FactoryError):
    code = "gate"
    exit_code = 3


class Incomplete(FactoryError):
    code = "incomplete"
    exit_code = 4


class BudgetSpent(Incomplete):
    code = "budget"


class TargetNotReached(Incomplete):
    code = "target"


class ServerUnreachable(Incomplete):
    code = "unreachable"


class KeyRefused(Incomplete):
    code = "key_refused"


class StorageFull(Incomplete):
    code = "storage"


class Interrupted(FactoryError):
    code = "interrupted"
    exit_code = 130


class CallFault(Exception):
    """One attempt failed. `outcome` is the word in the ledger.

    `usage` is what the server billed where it said so. `cost_unknown`: the attempt may have been billed, so it is
    settled at its upper bound.
    """

    outcome = "failed"
    cost_unknown = False

    def __init__(self, message: str, *, status: int | None = None, usage: Usage | None = None):
        super().__init__(message)
        self.message = message
        self.status = status
        self.usage = usage


class Transient(CallFault):
    outcome = "transient"


class Overloaded(Transient):
    outcome = "overloaded"

    def __init__(self, message: str, *, status: int | None = 429, retry_after: float | None = None):
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ServerFault(Transient):
    outcome = "server_error"


class ConnectionFailed(Transient):
    outcome = "unreachable"


class ConnectionLost(Transient):
    outcome = "lost"
    cost_unknown = True


class BadBody(Transient):
    outcome = "bad_body"
    cost_unknown = True


class NoChoices(Transient):
    outcome = "no_choices"


class Permanent(CallFault):
    outcome = "refused"


class BadRequest(Permanent):
    outcome = "bad_request"


class ContextTooLong(Permanent):
    outcome = "context_too_long"


class Filtered(Permanent):
    outcome = "filtered"


class Refused(CallFault):
    outcome = "denied"


class Unauthorized(Refused):
    outcome = "unauthorized"


class ModelMissing(Refused):
    outcome = "model_missing"


class QuotaSpent(Refused):
    outcome = "quota"


class CallBarred(Exception):
    """A call that is not in the journal, and may not be made now. Nothing that runs inside a row may swallow it."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """'did you mean `x`?', or the list of choices when none is near; empty when there are no choices."""
    known = sorted({str(choice) for choice in choices})
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.55)
    if close:
        return f"did you mean `{close[0]}`?"
    if not known:
        return ""
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return f"one of: {listed}"
