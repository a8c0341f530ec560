"""A recipe made ready to run: everything that can be wrong with it is found here, before anything is opened."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from factory.auditing.specs import AuditSpec, compile_audits
from factory.columns import dataset_columns
from factory.filters import NamedFilter, compile_filters
from factory.generating import Step, compile_steps
from factory.planning import Plan, compile_plan
from factory.preference_files import check_preference
from factory.recipe import Recipe
from factory.whole_set import NamedPass, compile_passes


@dataclass(frozen=True, slots=True)
class Job:
    """The plan, its compiled steps, the dataset's columns (name, kind; without `meta`), filters and passes."""

    plan: Plan
    steps: tuple[Step, ...]
    columns: tuple[tuple[str, str], ...]
    filters: Sequence[NamedFilter]
    passes: Sequence[NamedPass] = ()
    audits: Sequence[AuditSpec] = ()

    @property
    def audited(self) -> frozenset[str]:
        """The roles that auditors ask."""
        return frozenset(role for spec in self.audits for role in spec.roles.values())

    @property
    def recipe(self) -> Recipe:
        return self.plan.recipe


def compile_job(recipe: Recipe, names: Collection[str] = ()) -> Job:
    """Compile a recipe. `names`: what templates of its scorers see beside its own names.

    Raises RecipeError with every fault of the stage that found some; MissingExtra.
    """
    plan = compile_plan(recipe)
    steps = compile_steps(plan, names)
    columns = tuple(dataset_columns(plan, steps))
    every = [name for name, _ in columns]
    output = [column.name for step in steps for column in step.output.columns]
    scope = {*recipe.vary, "row", *(["source"] if recipe.from_ else []), *(step.name for step in steps[:-1])}
    filters = compile_filters(
        recipe.filter,
        every,
        output=output,
        scope=scope,
        place=recipe.place,
        base=recipe.base,
        models={role: model.name for role, model in recipe.models.items()},
    )
    passes = compile_passes(recipe.whole_set, every, output=output, scope=scope, place=recipe.place)
    check_preference(recipe, steps)
    audits = compile_audits(
        recipe.audit or [], base=recipe.base, columns=every, roles=list(recipe.models), place=recipe.place
    )
    return Job(plan, steps, columns, filters, passes, audits)
