"""The configuration `preference` of a dataset: pairs in the columns that TRL's preference trainers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factory.curation import Committed
from factory.errors import Place, RecipeError, nearest
from factory.exporting import SplitFiles, row_id, scores_json
from factory.generating import Step
from factory.planning import Plan
from factory.preference import Pair, Pairing, response_text
from factory.prompts import names_in, render, render_text
from factory.recipe import Recipe
from factory.recipe.preference import PreferenceConfig
from factory.types import RowOutcome

CONFIG = "preference"
"""The configuration's name, and that of its folder."""
SCORES = (("score_chosen", "float"), ("score_rejected", "float"))
META = (
    ("row", "int"),
    ("id", "str"),
    ("recipe", "str"),
    ("model_chosen", "str"),
    ("model_rejected", "str"),
    ("scores_chosen", "str"),
    ("scores_rejected", "str"),
    ("margin", "float"),
    ("reason", "str"),
)


def check_preference(recipe: Recipe, steps: tuple[Step, ...]) -> None:
    """Whether pairs can be made as the recipe wants them. Raises RecipeError with every fault."""
    config = recipe.export.preference
    if config is None:
        return
    step, faults = steps[-1], list[Place]()

    def complain(key: str, message: str, hint: str) -> None:
        keys = ("export", "preference", key) if key else ("export", "preference")
        faults.append(recipe.place(*keys, message=message, hint=hint))

    if step.config.candidates < 2:
        complain("", "a pair needs two candidates, and a row has one", "raise `generate: candidates:`")
    columns = [column.name for column in step.output.columns]
    if config.response is not None and config.response not in columns:
        complain("response", f"no output column `{config.response}`", nearest(config.response, columns))
    if config.prompt is not None:
        known = {*recipe.vary, "row", *(["source"] if recipe.from_ else []), *(one.name for one in steps[:-1])}
        for name in sorted(_names(config.prompt) - known):
            if name in columns:
                hint = "all candidates of a row answer one prompt: use axes, `source` and earlier steps"
                complain("prompt", f"`{name}` is what the candidates write, so each would have its own prompt", hint)
            else:
                complain("prompt", f"`{name}` is not known here", nearest(name, known))
    if isinstance(config.vetoed, list):
        used = [scorer.name for scorer in step.config.score]
        for name in config.vetoed:
            if name not in used:
                complain("vetoed", f"the recipe has no scorer `{name}`", nearest(name, used))
    if faults:
        raise RecipeError(faults)


def _names(template: str) -> set[str]:
    return names_in(template) if "{" in template else set()


class PreferenceWriter:
    """`preference/<split>-<12 digits of its SHA-256>.parquet`: at most one pair a row, in row order.

    Columns `prompt`, `chosen`, `rejected` (lists of messages, or texts with `form: standard`), `score_chosen`,
    `score_rejected`, and `meta`.
    """

    def __init__(self, directory: Path, plan: Plan, config: PreferenceConfig):
        self.pairing = Pairing(config)
        self._plan = plan
        self._config = config
        kind = "messages" if config.form == "conversational" else "str"
        columns = [*((name, kind) for name in ("prompt", "chosen", "rejected")), *SCORES]
        self._any = False
        self._files = SplitFiles(directory, CONFIG, plan, columns, META)

    def make(self, outcome: RowOutcome, committed: Committed) -> Mapping[str, Any] | None:
        """The pair of a committed row as the dataset holds it; None where it has none."""
        pair = self.pairing.choose(committed)
        return None if pair is None else {**self._columns(outcome, pair), "meta": self._meta(pair)}

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a pair, in row order."""
        self._files.write(line)
        self._any = True

    def _columns(self, outcome: RowOutcome, pair: Pair) -> dict[str, Any]:
        answers = [response_text(one.candidate, self._config.response) for one in (pair.chosen, pair.rejected)]
        messages = self._prompt(outcome)
        scores = {"score_chosen": pair.chosen.total, "score_rejected": pair.rejected.total}
        if self._config.form == "standard":
            prompt = "\n\n".join(message["content"] for message in messages)
            return {"prompt": prompt, "chosen": answers[0], "rejected": answers[1], **scores}
        chosen, rejected = ([{"role": "assistant", "content": answer}] for answer in answers)
        return {"prompt": messages, "chosen": chosen, "rejected": rejected, **scores}

    def _prompt(self, outcome: RowOutcome) -> list[dict[str, str]]:
        """What was asked of the model, rendered again from the plan; or the recipe's own template."""
        scope = {**self._plan.scope(outcome.variation), **outcome.context}
        if self._config.prompt is not None:
            return [{"role": "user", "content": render_text(self._config.prompt, scope)}]
        prompt = render(self._plan.templates[self._plan.steps[-1].name], scope)
        return [{"role": message.role, "content": message.content} for message in prompt.messages]

    def _meta(self, pair: Pair) -> Mapping[str, Any]:
        recipe = self._plan.recipe
        return {
            "row": pair.row,
            "id": row_id(recipe.name, recipe.seed, pair.row, 0),
            "recipe": recipe.name,
            "model_chosen": pair.chosen.candidate.model,
            "model_rejected": pair.rejected.candidate.model,
            "scores_chosen": scores_json(pair.chosen),
            "scores_rejected": scores_json(pair.rejected),
            "margin": pair.margin,
            "reason": pair.reason,
        }

    def close(self) -> dict[str, int]:
        """Finish the files. Pairs by split."""
        return self._files.close()

    def paths(self) -> dict[str, str]:
        """The finished files by split, relative to the dataset's directory; none where there is no pair at all."""
        return self._files.paths() if self._any else {}
