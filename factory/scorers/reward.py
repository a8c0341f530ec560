"""Reward models and classifiers: what a sequence classification model says of an answer."""

from __future__ import annotations

from typing import Literal

from factory.errors import UsageError, nearest
from factory.scorers import Context, Setup, Traits
from factory.scorers.measuring import Exchange, read_labels
from factory.types import Candidate, Message, Score


class reward:
    """A reward model's score (no range), or with `label:` a classifier's probability of it, 0…1; higher is better.

    The model sees the prompt (`prompt:` replaces the row's own) and the answer (the column `on`) as a chat.
    `better: lower` turns the direction, for a label such as `toxic`.
    """

    def __init__(
        self,
        *,
        model: str,
        label: str | None = None,
        better: Literal["higher", "lower"] = "higher",
        prompt: str | None = None,
        on: str | None = None,
    ):
        self._model, self._label, self._better = model, label, better
        self._exchange = Exchange(prompt, on)

    @property
    def traits(self) -> Traits:
        """A probability has a range, a raw score has none."""
        low, high = (None, None) if self._label is None else (0.0, 1.0)
        return Traits(low, high, self._better, "model", "classify")

    def bind(self, setup: Setup) -> None:
        self._exchange.bind(setup)

    def calls(self, n: int) -> int:
        """One for each candidate."""
        return n

    async def __call__(self, candidate: Candidate, context: Context) -> Score:
        before, answer = self._exchange.prompt(candidate, context), self._exchange.answer(candidate)
        messages = (*before, Message("assistant", answer))
        stored = await context.ask(self._model, messages, index=candidate.index, task="classify")
        if stored.response is None:
            return Score("reward", None, f"{stored.outcome}: {stored.message}")
        found = read_labels(stored.response.choices[0].text)
        if isinstance(found, str):
            return Score("reward", None, found)
        return self._read(found)

    def _read(self, found: dict[str, float]) -> Score:
        if self._label is not None:
            return self._read_label(found, self._label)
        if len(found) > 1:
            listed = ", ".join(f"`{label}`" for label in sorted(found)[:12])
            raise UsageError(
                f"`reward`: the model `{self._model}` is a classifier with {len(found)} labels, no reward model",
                f"name one with `label:`, out of {listed}",
            )
        [(label, value)] = found.items()
        return Score("reward", value, "" if label == "score" else label)

    def _read_label(self, found: dict[str, float], label: str) -> Score:
        if label not in found:
            if found.keys() == {"score"}:
                raise UsageError(
                    f"`reward`: the model `{self._model}` is a reward model: it has a score and no labels",
                    "remove `label:`",
                )
            raise UsageError(f"`reward`: the model `{self._model}` has no label `{label}`", nearest(label, found))
        value = found[label]
        if not 0 <= value <= 1:
            return Score("reward", None, f"{value:.4g} is no probability")
        parts = found if len(found) <= 16 else None
        return Score("reward", value, f"probability of {label}", parts=parts)
