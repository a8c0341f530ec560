"""The Python entry points: `factory.load_recipe` and `factory.run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from factory.progress import Progress
from factory.recipe import Overrides, Recipe
from factory.recipe import load_recipe as load_recipe
from factory.results import Result
from factory.runner import execute
from factory.session import RunOptions, wants_report


def run(
    recipe: Recipe | Path | str,
    *,
    out: Path | str | None = None,
    runs_dir: Path | str = "runs",
    rows: int | Literal["all"] | None = None,
    seed: int | None = None,
    budget: float | None = None,
    models: Mapping[str, str] | None = None,
    reuse: Sequence[Path | str] = (),
    replay: bool = False,
    retry_failed: bool = False,
    publish_anyway: str = "",
    report: bool | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Result:
    """Run a recipe: a `Recipe`, a path, or the name of a shipped one. The same call again resumes or extends.

    `rows`, `seed`, `budget` (USD) and `models` (role → "backend/model") override the recipe's. `publish_anyway`: why a
    dataset is to be published though a gate fails; card and manifest tell it. `report` False: no
    report.html, and no audit but the recipe's. Raises RecipeError
    with every fault, UsageError, GateFailed, Incomplete (resumable), Interrupted, JournalDamaged; GateFailed,
    Incomplete and Interrupted carry the `Result` so far as `error.result` once the run had begun.
    """
    overrides = Overrides(rows=rows, seed=seed, budget=budget, models=tuple((models or {}).items()))
    if isinstance(recipe, Recipe):
        loaded = recipe.override(overrides) if overrides != Overrides() else recipe
    else:
        loaded = load_recipe(recipe, overrides=overrides)
    options = RunOptions(
        out=Path(out) if out is not None else None,
        runs_dir=Path(runs_dir),
        reuse=tuple(Path(path) for path in reuse),
        replay=replay,
        retry_failed=retry_failed,
        publish_anyway=publish_anyway,
        report=wants_report() if report is None else report,
        on_progress=on_progress,
        notice=notice,
    )
    return execute(loaded, options)
