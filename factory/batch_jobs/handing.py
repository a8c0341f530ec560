"""The order in which the outcomes of a batch are handed out.

The call layer judges a server by the order of its outcomes: twenty rows refused with no answer between them stop a
run, and so does a long time without an answer. A batch's files hold all answers in one place and all errors in
another, which says nothing; so refusals are spread among the answers, and what is to be asked again comes last.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from factory.errors import CallFault, Transient
from factory.journal import Journal
from factory.types import Response

Waits = asyncio.Future[Response]


class Handout:
    """Outcomes of one batch, on their way to those who wait. `answers`: about how many there will be."""

    def __init__(self, answers: int):
        self._left = max(1, answers)
        self._refusals: deque[tuple[Waits, CallFault]] = deque()
        self._owed = 0.0
        self._again: list[tuple[Waits, CallFault]] = []

    def give(self, future: Waits, outcome: Response | CallFault) -> None:
        """One outcome. Errors that are known should be given first."""
        if isinstance(outcome, Transient):
            self._again.append((future, outcome))
        elif isinstance(outcome, CallFault):
            self._refusals.append((future, outcome))
        else:
            if not future.done():
                future.set_result(outcome)
            self._owed += len(self._refusals) / self._left
            self._left = max(1, self._left - 1)
            while self._owed >= 1 and self._refusals:
                self._owed -= 1
                raise_in(*self._refusals.popleft())

    async def end(self, journal: Journal) -> None:
        """The refusals that are left; and, when the answers are in the journal, what is to be asked again."""
        while self._refusals:
            raise_in(*self._refusals.popleft())
        if self._again:
            await journal.flush()
            for _ in range(3):  # the journal's word to a call's task, and the task's own turn
                await asyncio.sleep(0)
        for future, fault in self._again:
            raise_in(future, fault)


def raise_in(future: asyncio.Future[Any], error: BaseException) -> None:
    """Let whoever waits hear an error, unless it has gone."""
    if not future.done():
        future.set_exception(error)
