"""How an audit asks models: its calls are journaled, paid and replayed like any other, under the purpose `audit`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factory import seeds
from factory.auditors import Answer
from factory.backends import tasks_of
from factory.calling import Calls, OpenModel, ReplayMiss
from factory.errors import BudgetSpent, UsageError, nearest
from factory.generating import Generation, make_row
from factory.journal import Stored
from factory.requesting import Form, StructuredMode, build_request, response_format
from factory.together import together
from factory.types import Message, Request, Task

STEP = "audit"
FORM = "answer"
AT_ONCE = 256
BATCH = "it is a batch model, which an audit cannot wait for"


@dataclass(slots=True)
class Asker:
    """Whom an audit may ask. `wake` allows calls, where the run itself has made none (None: journal only)."""

    calls: Calls
    name: str
    seed: int
    generation: Generation
    wake: Callable[[], Awaitable[Generation]] | None
    _waking: asyncio.Future[Generation] | None = None

    @property
    def roles(self) -> dict[str, frozenset[str]]:
        """What each open model can do. Batch models, which an audit cannot wait for, are left out."""
        models = self.calls.models.items()
        return {role: frozenset(tasks_of(model.backend)) for role, model in models if not model.keeps_intents}

    async def ask(
        self,
        role: str,
        messages: str | Sequence[Message],
        row: int | None = None,
        *,
        index: int = 0,
        schema: Mapping[str, Any] | None = None,
        task: Task = "generate",
    ) -> Answer:
        """One question. `index` tells questions about one row apart."""
        model = self._model(role)
        if model.keeps_intents:
            return Answer(None, BATCH)
        asked = (Message("user", messages),) if isinstance(messages, str) else tuple(messages)
        request = build_request(
            model.config,
            asked,
            seed=seeds.derive(self.name, self.seed, -1 if row is None else row, STEP, index),
            row=row,
            step=STEP,
            purpose="audit",
            index=index,
            response_format=None if schema is None else response_format(self._mode(role), Form(FORM, schema)),
            task=task,
        )
        return _answer(await self._call(role, request))

    async def embed(self, role: str, texts: Sequence[str]) -> Any:
        """The embeddings of texts, float32 [n, d]; zeros for an empty text. Raises UsageError where one is refused."""
        import numpy as np

        from factory.vectors import decode

        places = [place for place, text in enumerate(texts) if text.strip()]
        found: dict[int, Any] = {}
        for first in range(0, len(places), AT_ONCE):
            part = places[first : first + AT_ONCE]
            answers = await together([self.ask(role, texts[place], None, index=0, task="embed") for place in part])
            for place, answer in zip(part, answers, strict=True):
                if answer.text is None:
                    raise UsageError(f"`{role}` cannot embed row {place}: {answer.problem}", "leave the row out")
                found[place] = decode(answer.text)
        width = len(next(iter(found.values()))) if found else 1
        made = np.zeros((len(texts), width), dtype=np.float32)
        for place, vector in found.items():
            made[place] = vector
        return made

    async def regenerate(self, row: int, changes: Mapping[str, Any]) -> Answer:
        """What the recipe makes for a planned row with axes changed: candidate 0, parsed and scored, never selected."""
        if any(model.keeps_intents for model in self.calls.models.values()):
            return Answer(None, BATCH)
        try:
            return await self._make(row, changes)
        except ReplayMiss:
            await self._go_live()
            return await self._make(row, changes)
        except BudgetSpent as error:
            return Answer(None, error.message)

    async def _make(self, row: int, changes: Mapping[str, Any]) -> Answer:
        outcome = await make_row(self._single(), row, changes)
        if outcome.ranked:
            scored = outcome.ranked[0]
            fields = scored.candidate.fields or {}
            text = "\n".join(str(value) for value in fields.values()) or scored.candidate.text
            return Answer(text, score=scored.total)
        last = outcome.rejected[-1]
        if last.stage == "call":
            return Answer(None, last.reason)
        return Answer(last.scored.candidate.text, problem=last.reason, score=None)

    def _mode(self, role: str) -> StructuredMode | None:
        """How the model takes a form, where that is known: of its backend, or of what else it is asked for."""
        known: StructuredMode | None = getattr(self.calls.models[role].backend, "structured", None)
        return known or next((mode for (one, _), mode in self.generation.formats.items() if one == role), None)

    def _single(self) -> Generation:
        """The generation with one candidate a row, no filters, and calls that are the audit's."""
        steps = tuple(replace(step, config=replace(step.config, candidates=1)) for step in self.generation.steps)
        calls: Any = _AuditCalls(self.calls)
        return replace(self.generation, calls=calls, steps=steps, filters=())

    async def _call(self, role: str, request: Request) -> Stored | str:
        try:
            try:
                return await self.calls.call(role, request)
            except ReplayMiss:
                await self._go_live()
                return await self.calls.call(role, request)
        except BudgetSpent as error:
            return error.message

    async def _go_live(self) -> None:
        """Allow calls, where they may be made at all, once for all who ask: a second miss is the caller's."""
        if self.wake is None:
            return
        if self._waking is None:
            self._waking = asyncio.ensure_future(self.wake())
        self.generation = await asyncio.shield(self._waking)

    def _model(self, role: str) -> OpenModel:
        if role not in self.calls.models:
            hint = nearest(role, list(self.calls.models)) or f"open: {', '.join(self.calls.models) or 'none'}"
            raise UsageError(f"no model has the role `{role}`", hint)
        return self.calls.models[role]


class _AuditCalls:
    """Open calls whose requests are booked under the purpose `audit`, so that the ledger tells what an audit cost."""

    def __init__(self, calls: Calls):
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calls, name)

    async def call(self, role: str, request: Request, *, decided: bool = False) -> Stored:
        purpose = "audit" if request.purpose == "generate" else request.purpose
        return await self._calls.call(role, replace(request, purpose=purpose), decided=decided)


def _answer(stored: Stored | str) -> Answer:
    if isinstance(stored, str):
        return Answer(None, stored)
    if stored.response is None:
        return Answer(None, f"{stored.outcome}: {stored.message}")
    return Answer(stored.response.choices[0].text)
