"""The gray band of `decontaminate`: a judge decides whether a text gives a row of a test set away."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from factory.decontamination import Hit, TestRow
from factory.scorers import Context, Setup
from factory.scorers.judging.prompting import JudgePrompt, fence, load_judge_prompt, render_judge_prompt
from factory.scorers.judging.verdicts import ASKS, OutOfForm, ask_verdict

PROMPT = "decontaminate-judge.j2"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "same": {"type": "boolean"}},
    "required": ["reason", "same"],
    "additionalProperties": False,
}
"""The form of a verdict."""

__all__ = ["ASKS", "SCHEMA", "Judged", "judge_hit", "prompt_bytes", "show_row"]


@functools.cache
def _prompt() -> JudgePrompt:
    return load_judge_prompt(PROMPT, Setup(), "judge")


def prompt_bytes() -> int:
    """UTF-8 bytes of the judge's own words."""
    return _prompt().size


def show_row(row: TestRow) -> str:
    """A row of a test set as a judge reads it."""
    parts = [row.question, *row.turns, *(f"- {choice}" for choice in row.choices)]
    return "\n".join([*(part for part in parts if part), *([f"Answer: {row.answer}"] if row.answer else [])])


@dataclass(frozen=True, slots=True)
class Judged:
    """A hit that nobody has cleared. `why`: why the judge gave no verdict on it."""

    hit: Hit
    why: str = ""


async def judge_hit(role: str, hit: Hit, row: TestRow, text: str, index: int, context: Context) -> Judged | None:
    """The hit as the judge's where it says that the text gives the row away; none where it says that it does not.

    Without a verdict the hit stays as it is: what nobody has cleared is not clean.
    """
    test_row = show_row(row)
    names = {"test_row": fence("TEST ROW", test_row), "text": fence("TEXT", text)}
    messages = render_judge_prompt(_prompt(), context, names)
    verdict = await ask_verdict(context, role, messages, schema=SCHEMA, read=_read, index=index, shown=(test_row, text))
    if verdict.value is None:
        return Judged(hit, verdict.why)
    return Judged(replace(hit, layer="judge", gray=False)) if verdict.value else None


def _read(data: Mapping[str, Any]) -> bool:
    same = data.get("same")
    if isinstance(same, str) and same.strip().lower() in ("true", "false"):
        return same.strip().lower() == "true"
    if not isinstance(same, bool):
        raise OutOfForm("`same` is missing" if "same" not in data else "`same` is neither true nor false")
    return same
