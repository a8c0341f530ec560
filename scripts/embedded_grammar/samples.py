"""The endless training stream: sample `index` of stream `seed` is a pure function of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from . import facts, messages, word_problems

PROMPTS = Path(__file__).parents[2] / "prompts"
JOBS = ("word-problem", "customer-message", "multiple-choice")
# Word problems are the hardest job: half of the stream, unless a run says otherwise.
SHARES = (0.5, 0.25, 0.25)

_DRAW: dict[str, Callable[[Random], dict[str, Any]]] = {
    "word-problem": word_problems.draw_variables,
    "customer-message": messages.draw_variables,
    "multiple-choice": facts.draw_variables,
}
_WRITE: dict[str, Callable[..., str]] = {
    "word-problem": word_problems.write_problem,
    "customer-message": messages.write_message,
    "multiple-choice": facts.write_question,
}


@dataclass(frozen=True)
class Sample:
    """A job's variables, the rendered prompt, and the completion the grammar wrote for them."""

    job: str
    variables: dict[str, Any]
    prompt: str
    completion: str


@cache
def _template(job: str) -> Template:
    env = Environment(loader=FileSystemLoader(PROMPTS), undefined=StrictUndefined, autoescape=False)
    return env.get_template(f"{job}.j2")


def draw_variables(job: str, rng: Random) -> dict[str, Any]:
    """Draw the variables of a job's prompt."""
    return _DRAW[job](rng)


def render_prompt(job: str, variables: dict[str, Any]) -> str:
    """Render the shipped prompt of a job."""
    return _template(job).render(variables).strip()


def make_sample(seed: int, index: int, job: str | None = None, *, shares: Sequence[float] = SHARES) -> Sample:
    """Make sample `index` of stream `seed`, of the given job or of one drawn by the jobs' shares."""
    rng = Random(f"{seed}/{index}")
    name = job or rng.choices(JOBS, shares)[0]
    variables = draw_variables(name, rng)
    return Sample(name, variables, render_prompt(name, variables), _WRITE[name](rng, **variables))
