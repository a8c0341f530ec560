"""Similarity of meaning: cosines between the embeddings of an answer and of what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from factory.errors import UsageError, nearest
from factory.prompts import render_text
from factory.recipe.files import find_file, is_path, missing_file
from factory.scorers import Context, Setup, as_text, text_of, traits
from factory.scorers.judging.prompting import load_judge_prompt, render_judge_prompt
from factory.sources.tables import read_lines, read_table
from factory.together import together
from factory.types import Candidate, Message, Score
from factory.vectors import cosine, decode

LISTS = (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet")
"""Files of exemplars: lines, or rows of a table with the text in `column`."""
TEMPLATES = (".j2", ".jinja", ".md")
MOST_EXEMPLARS = 64

Text = Annotated[str, Field(min_length=1)]


async def embed(context: Context, role: str, texts: Sequence[str]) -> dict[str, NDArray[Any] | str]:
    """The embedding of each different text, asked for once a row; or why there is none."""

    async def ask(text: str) -> NDArray[Any] | str:
        if not text.strip():
            return "the text is empty"
        stored = await context.ask(role, (Message("user", text),), task="embed")
        if stored.response is None:
            return f"{stored.outcome}: {stored.message}"
        try:
            return decode(stored.response.choices[0].text)
        except ValueError as error:
            return str(error)

    different = list(dict.fromkeys(texts))
    return dict(zip(different, await together([ask(text) for text in different]), strict=True))


@traits(low=-1, high=1, expense="model", task="embed")
class similarity:
    """Cosine of the embeddings of the answer and of another text; −1…1, higher is nearer in meaning.

    The other text is the row's prompt; with `to:` a template (`{{ source.text }}`), or exemplars: a list of texts or a
    file of them (`column:` of a table), of which the nearest counts, or with `over: mean` their mean. `between:` two
    templates compares these instead; they see the row's names and the candidate's output columns.
    """

    def __init__(
        self,
        *,
        model: str,
        to: Text | list[Text] | None = None,
        between: list[Text] | None = None,
        over: Literal["max", "mean"] = "max",
        column: str | None = None,
        on: str | None = None,
    ):
        if between is not None and len(between) != 2:
            raise UsageError(f"`similarity`: `between` has {len(between)} texts", "give it two templates")
        if between is not None and (to is not None or on is not None):
            raise UsageError("`similarity`: `between` excludes `to` and `on`", "name both texts in `between`")
        if column is not None and not (isinstance(to, str) and is_path(to, LISTS)):
            raise UsageError("`similarity`: `column` is that of a file of exemplars", "name the file with `to:`")
        self._model, self._to, self._between, self._on = model, to, between, on
        self._column, self._over = column, over
        self._template: Any = None
        self._exemplars: list[str] | None = None

    def bind(self, setup: Setup) -> None:
        """Read templates and exemplars. Raises UsageError for a file or a column that is not there."""
        if self._on is not None and setup.columns and self._on not in setup.columns:
            raise UsageError(f"`on: {self._on}` names no output column", nearest(self._on, setup.columns))
        if isinstance(self._to, str) and is_path(self._to, LISTS):
            self._exemplars = self._read(self._to, setup.base)
        elif isinstance(self._to, str):
            self._template = load_judge_prompt(self._to, setup, "to")
        elif self._to is not None:
            self._exemplars = list(self._to)
        if self._exemplars is not None and not 1 <= len(self._exemplars) <= MOST_EXEMPLARS:
            raise UsageError(
                f"`similarity`: {len(self._exemplars)} exemplars",
                f"give 1 to {MOST_EXEMPLARS}: calls are never shared between rows, so every row embeds each of them",
            )

    def calls(self, n: int) -> int:
        """One for each different text of a row, at most."""
        if self._between is not None:
            return 2 * n
        return n + (1 if self._exemplars is None else len(self._exemplars))

    async def __call__(self, candidates: list[Candidate], context: Context) -> list[Score]:
        pairs = [self._texts(candidate, context) for candidate in candidates]
        found = await embed(context, self._model, [text for one, others in pairs for text in (one, *others)])
        return [self._compare(found[one], [found[other] for other in others]) for one, others in pairs]

    def _texts(self, candidate: Candidate, context: Context) -> tuple[str, list[str]]:
        """The text that is compared, and what it is compared with."""
        scope = {**context.scope, **(candidate.fields or {})}
        if self._between is not None:
            one, other = (render_text(template, scope) for template in self._between)
            return one, [other]
        text = text_of(candidate, self._on)
        if self._exemplars is not None:
            return text, [
                render_text(given, scope) if isinstance(self._to, list) else given for given in self._exemplars
            ]
        if self._template is not None:
            messages = render_judge_prompt(self._template, context, candidate.fields or {})
        else:
            messages = context.prompt.messages[-1:]
        return text, ["\n\n".join(message.content for message in messages)]

    def _compare(self, one: NDArray[Any] | str, others: Sequence[NDArray[Any] | str]) -> Score:
        if isinstance(one, str):
            return Score("similarity", None, one)
        values: list[float] = []
        for other in others:
            if isinstance(other, str):
                return Score("similarity", None, f"what it is compared with: {other}")
            if one.shape != other.shape:
                return Score("similarity", None, f"embeddings of {len(one)} and {len(other)} numbers")
            values.append(cosine(one, other))
        if len(values) == 1:
            return Score("similarity", values[0])
        if self._over == "mean":
            return Score("similarity", math.fsum(values) / len(values), f"the mean of {len(values)} exemplars")
        best = max(range(len(values)), key=values.__getitem__)
        return Score("similarity", values[best], f"nearest to exemplar {best + 1} of {len(values)}")

    def _read(self, name: str, base: Path) -> list[str]:
        path = find_file(name, base)
        if path is None:
            message, hint = missing_file(name, base, "prompts")
            raise UsageError(f"`similarity`: `to`: {message}", hint)
        if path.name.endswith(".txt"):
            return read_lines(path)
        rows = read_table(path)
        columns = list(rows[0]) if rows else []
        if self._column is None and len(columns) == 1:
            [chosen] = columns
        elif self._column is None or self._column not in columns:
            told = "has several columns" if self._column is None else f"has no column `{self._column}`"
            hint = nearest(self._column or "text", columns) if columns else "the file is empty"
            raise UsageError(f"`similarity`: {name} {told}", f"name one with `column:`; {hint}")
        else:
            chosen = self._column
        return [text for row in rows if (text := as_text(row[chosen]).strip())]
