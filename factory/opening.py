"""The models of a recipe, opened: backends by name, prices, and what a budget needs to know before the first call."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from factory import registry
from factory.backends import Backend, tasks_of
from factory.batch_jobs import BATCH_ROWS, open_courier
from factory.calling import OpenModel
from factory.errors import FactoryError, Place, RecipeError, UsageError
from factory.filters import NamedFilter
from factory.generating import Step
from factory.planning import Plan
from factory.prices import price_for
from factory.recipe import ModelConfig, Recipe
from factory.types import Request, Response, Task

CONCURRENCY = {
    "azure": 32, "openai": 32, "embedded": 64, "echo": 64, "transformers": 64, "vllm": 256, "classifier": 64,
    "sentence-transformers": 64,
}  # fmt: skip
"""Attempts in flight where the recipe does not say."""


PROBED = frozenset({"azure", "openai"})
"""Backends whose servers are asked how they take JSON: so a run of theirs is replayed without a key, too."""


class Unopened:
    """A backend that could not be opened (no key, say). Enough to replay; the first call raises what was wrong."""

    honours_n: bool | None = None
    local = False

    def __init__(self, error: UsageError, *, probed: bool = False):
        self.error = error
        self.structured = None if probed else "prompt"

    async def generate(self, request: Request) -> Response:
        raise self.error

    async def close(self) -> None:
        return None


def used_roles(
    recipe: Recipe, steps: Sequence[Step], filters: Sequence[NamedFilter] = (), audited: Collection[str] = ()
) -> list[str]:
    """Roles that write, that a scorer, a filter or an auditor asks, or that embed what is kept, in recipe order."""
    roles = {role for step in steps for role, _ in step.config.models}
    roles |= {role for step in steps for spec in step.config.score for role in spec.roles}
    roles |= {role for step in steps if (role := embedding_role(step)) is not None}
    roles |= {role for one in filters for role in one.tasks}
    roles |= set(audited)
    return [role for role in recipe.models if role in roles]


def embedding_role(step: Step) -> str | None:
    """The model that tells how alike a step's candidates are; None without `keep: {diversity: {model: …}}`."""
    diversity = step.config.keep.diversity
    return None if diversity is None else diversity.model


def open_backend(config: ModelConfig) -> Backend:
    """A model's backend. Raises UsageError (no key, an absent extra), FactoryError where a plugin fails."""
    try:
        backend: Backend = registry.lookup("backend", config.backend)(config)
        if not isinstance(backend, Backend):
            raise TypeError("a backend has `honours_n`, `local`, `generate` and `close`")
    except FactoryError:
        raise
    except Exception as error:  # a plugin's code: whatever it raises is told as its own
        told = f"the backend of {config.name} cannot be opened: {type(error).__name__}: {str(error)[:500]}"
        raise FactoryError(told, "FACTORY_TRACEBACK=1 shows where this began", code="backend") from error
    return backend


def open_models(
    plan: Plan,
    steps: Sequence[Step],
    filters: Sequence[NamedFilter] = (),
    audited: Collection[str] = (),
    *,
    must_open: bool,
) -> dict[str, OpenModel]:
    """Open every model the run uses; `audited`: roles that auditors ask. `must_open` False: one that cannot be opened
    may still be replayed.

    Raises UsageError (no key in the environment, an absent extra).
    """
    opened: dict[str, OpenModel] = {}
    for role in used_roles(plan.recipe, steps, filters, audited):
        config = plan.recipe.models[role]
        try:
            backend = open_backend(config)
        except UsageError as error:
            if must_open:
                raise
            backend = Unopened(error, probed=config.backend in PROBED)
        price = price_for(config, local=backend.local)
        if config.batch and not isinstance(backend, Unopened):
            backend = open_courier(role, config, backend, price)
        concurrency = config.concurrency or (BATCH_ROWS if config.batch else CONCURRENCY.get(config.backend, 16))
        opened[role] = OpenModel(role, config, backend, price, concurrency)
        if config.batch:
            standard = price_for(config.model_copy(update={"batch": False}), local=backend.local)
            opened[role].probe_price = standard
    return opened


WHAT: dict[Task, str] = {
    "generate": "write text",
    "likelihood": "tell the log-probabilities of a given text",
    "classify": "give a text scores",
    "embed": "embed a text",
}


def wanted_tasks(role: str, steps: Sequence[Step], filters: Sequence[NamedFilter] = ()) -> dict[Task, str]:
    """What a model is there for, and who wants it first."""
    wanted: dict[Task, str] = {}
    for step in steps:
        if any(role == one for one, _ in step.config.models):
            wanted.setdefault("generate", f"the step {step.name}" if len(steps) > 1 else "the candidates")
        for scorer in step.scorers.scorers:
            if role in scorer.roles:
                wanted.setdefault(scorer.traits.task, f"the scorer `{scorer.name}`")
        if role == embedding_role(step):
            wanted.setdefault("embed", "`keep: diversity`")
    for one in filters:
        if role in one.tasks:
            wanted.setdefault(one.tasks[role], f"the filter `{one.name}`")
    return wanted


def check_tasks(
    recipe: Recipe, steps: Sequence[Step], models: dict[str, OpenModel], filters: Sequence[NamedFilter] = ()
) -> None:
    """Whether every model can do what it is there for: write, or measure what is written. Raises RecipeError."""
    faults: list[Place] = []
    for role, model in models.items():
        able = tasks_of(model.backend)
        for task, who in wanted_tasks(role, steps, filters).items():
            if task not in able and not isinstance(model.backend, Unopened):
                message = f"{model.config.name} cannot {WHAT[task]}, which {who} needs"
                hint = f"it can {', '.join(told for one, told in WHAT.items() if one in able) or 'do nothing known'}"
                if model.config.batch:
                    hint = "remove `batch: true`: batch jobs only write"
                faults.append(recipe.place("models", role, message=message, hint=hint))
    if faults:
        raise RecipeError(faults)


def check_open(models: dict[str, OpenModel]) -> None:
    """Raise what kept a model from being opened, now that calls are to be made."""
    for model in models.values():
        if isinstance(model.backend, Unopened):
            raise model.backend.error


def check_budget(
    recipe: Recipe, models: dict[str, OpenModel], steps: Sequence[Step], filters: Sequence[NamedFilter] = ()
) -> None:
    """With a budget every call needs a worst case: a known price, and `max_tokens` of a model that writes.

    Raises RecipeError.
    """
    if recipe.budget is None:
        return
    faults: list[Place] = []
    for role, model in models.items():
        if model.price.unknown:
            faults.append(
                recipe.place(
                    "models",
                    role,
                    message=f"the price of {model.config.name} is not known, so a budget cannot be kept",
                    hint="give it a `price: {input: …, output: …}` in USD per million tokens",
                )
            )
        if model.price.gpu_second:
            faults.append(
                recipe.place(
                    "models",
                    role,
                    message="a price by the hour gives a call no worst case, so a budget cannot be kept",
                    hint="give it a `price: {input: …, output: …}` in USD per million tokens",
                )
            )
        writes = wanted_tasks(role, steps, filters) or tasks_of(model.backend)  # none: only an auditor asks it
        if model.config.max_tokens is None and "generate" in writes:
            faults.append(
                recipe.place(
                    "models",
                    role,
                    message="a budget needs `max_tokens`: without it a call has no worst case",
                    hint="for example `max_tokens: 700`",
                )
            )
    if faults:
        raise RecipeError(faults)
