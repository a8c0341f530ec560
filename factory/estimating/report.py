"""An estimate as data: what `factory estimate --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.calling import OpenModel
from factory.estimating.amounts import Amounts, Estimate, Interval, usd
from factory.opening import Unopened
from factory.types import NANO


def as_json(
    estimate: Estimate, models: Mapping[str, OpenModel], *, paid: int, cap: float | None, run: str
) -> dict[str, Any]:
    """Counts are whole numbers rounded outwards, `usd` USD (null: a price is unknown), `seconds` seconds of generating
    (null: not to be told). Each has `low`, `expected`, `high`.

    `to_pay`: what of it the journal does not hold. `paid_usd`: what was spent already. `budget`: null without one.
    """
    total = estimate.total
    return {
        "run": run,
        "basis": estimate.basis,
        "pilot_rows": estimate.pilot_rows,
        "rows": estimate.rows,
        "planned": estimate.planned.counts(),
        "acceptance": estimate.acceptance.numbers(4),
        "target_at_risk": None if estimate.short is None else round(estimate.short, 4),
        **total.as_json(),
        "seconds": _seconds(estimate.seconds),
        "usd_per_row": None if total.nano is None else usd(total.nano.times(1 / max(estimate.rows, 1))),
        "paid_usd": paid / NANO,
        "to_pay": {**estimate.to_pay.as_json(), "seconds": _seconds(estimate.seconds_left)},
        "budget": _budget(estimate, cap),
        "by_model": [_model(estimate, role, model) for role, model in models.items()],
        "by_step": [
            {"step": step, "purpose": purpose, "role": role, **amounts.as_json()}
            for (step, purpose, role), amounts in estimate.parts.items()
        ],
        "rests_on": {**estimate.rests_on, "usd": f"{estimate.rests_on['usd']} ({_sources(models)})"},
        "notes": [*estimate.notes, *_notes(estimate, models, cap)],
    }


def _seconds(seconds: Interval | None) -> dict[str, float] | None:
    return None if seconds is None else seconds.numbers(1)


def _model(estimate: Estimate, role: str, model: OpenModel) -> dict[str, Any]:
    amounts = sum((part for key, part in estimate.parts.items() if key[2] == role), Amounts())
    return {
        "role": role,
        "model": model.config.name,
        **amounts.as_json(),
        "price_source": model.price.source,
        "batch": model.config.batch,
        "concurrency": model.concurrency,
    }


def _sources(models: Mapping[str, OpenModel]) -> str:
    """Where each price is from; what runs here has none unless the recipe gives one."""
    said = {"recipe": "by the recipe", "local": "runs here, free"}
    return "; ".join(f"{role}: {said.get(model.price.source, model.price.source)}" for role, model in models.items())


def _budget(estimate: Estimate, cap: float | None) -> dict[str, Any] | None:
    """Whether the cap suffices (null: perhaps), and the dataset rows at which the run would stop."""
    if cap is None:
        return None
    nano = estimate.total.nano
    if nano is None:
        return {"usd": cap, "suffices": None, "rows": None}
    suffices = True if nano.high <= cap * NANO else False if nano.low > cap * NANO else None
    stops = {
        name: min(estimate.rows, int(estimate.rows * cap * NANO / bound) if bound else estimate.rows)
        for name, bound in (("low", nano.high), ("expected", nano.expected), ("high", nano.low))
    }
    return {"usd": cap, "suffices": suffices, "rows": stops}


def _notes(estimate: Estimate, models: Mapping[str, OpenModel], cap: float | None) -> list[str]:
    """What a reader should know that is no number."""
    notes = []
    writing = {role for _, purpose, role in estimate.parts if purpose != "score"}
    for role, model in models.items():
        price, config = model.price, model.config
        if isinstance(model.backend, Unopened):
            notes.append(f"{role} cannot be opened here, which `run` needs: {model.backend.error.message}")
        if price.unknown:
            why = price.reason or f"no price is known for {config.name}"
            told = f"{role}: {why}; give it `price: {{input: …, output: …}}` (USD per million tokens)"
            notes.append(told + (": without it `run` refuses a budget" if cap is not None else ""))
        elif price.gpu_second and estimate.basis == "guess":
            notes.append(f"{role}: its price is by the hour, so only a pilot can tell what it costs")
        if config.batch:
            notes.append(f"{role}: batch jobs, each answered within 24 hours")
        if config.max_tokens is None and estimate.basis == "guess" and role in writing:
            notes.append(f"{role} has no `max_tokens`, so nothing bounds its answers: give it one")
    if estimate.short is not None and estimate.short > 0.02:
        notes.append(
            f"max_planned may not be enough for {estimate.rows} rows (a chance of {estimate.short:.0%}): raise it, or "
            "loosen what rejects most"
        )
    return notes
