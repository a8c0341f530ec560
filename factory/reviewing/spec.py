"""What is to be audited: the auditors of a file (or named on the command line), their models, the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factory import registry
from factory.auditing.report import AREAS
from factory.auditing.specs import AuditSpec, read_specs
from factory.errors import UsageError, nearest
from factory.listed import read_listed
from factory.scorers import shorten


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `factory audit` was told. `audits`: a YAML file with `audit:` (a recipe is one), or names and YAML separated
    by commas; None: all areas. `columns`: those whose text is looked at. `models`: role and BACKEND/MODEL.
    """

    data: str
    reference: str | None = None
    holdout: str | None = None
    audits: str | None = None
    columns: tuple[str, ...] = ()
    label: str | None = None
    split: str = "train"
    limit: int | None = None
    models: tuple[tuple[str, str], ...] = ()
    budget: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Spec:
    """The auditors, the models of their file, and where its paths start."""

    audits: tuple[AuditSpec, ...]
    models: Mapping[str, Any]
    base: Path
    file: str


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    options: Mapping[str, Any]


def read_spec(wanted: Wanted) -> Spec:
    """The auditors with what the command line says of their data. Raises UsageError or RecipeError."""
    given, base, file = _given(wanted.audits)
    entries = [_entry(one, file) for one in given["audit"]]
    specs = [_with_options(spec, wanted) for spec in read_specs(entries, base)]
    models = given.get("models") or {}
    if not isinstance(models, dict):
        raise UsageError(f"{file}: `models` is no mapping", "write `models: {judge: openai/gpt-5-mini}`")
    told = dict(wanted.models)
    for spec in specs:
        for option, role in spec.roles.items():
            if role not in models and role not in told:
                hint = f"say --model {role}=BACKEND/MODEL, or write `models:` beside `audit:`"
                raise UsageError(f"no model has the role `{role}` (`{option}` of `{spec.name}`)", hint)
    asked = {role for spec in specs for role in spec.roles.values()}
    if unasked := sorted(told.keys() - asked - models.keys()):
        hint = (
            nearest(unasked[0], asked)
            if asked
            else "name it where an auditor asks it, e.g. `requested: {model: judge}`"
        )
        raise UsageError(f"--model {unasked[0]}={told[unasked[0]]}: no auditor asks `{unasked[0]}`", hint)
    chosen = {role: told.get(role, models.get(role)) for role in sorted(asked)}
    return Spec(tuple(specs), chosen, base, file)


def _with_options(spec: AuditSpec, wanted: Wanted) -> AuditSpec:
    return replace(
        spec,
        on=wanted.columns or spec.on,
        label=wanted.label or spec.label,
        reference=wanted.reference or spec.reference,
        holdout=wanted.holdout or spec.holdout,
    )


def _entry(raw: Any, file: str) -> _Entry:
    """A name, or a name with options."""
    if isinstance(raw, str):
        name, options = raw, None
    elif isinstance(raw, Mapping) and len(raw) == 1:
        name, options = next(iter(raw.items()))
    else:
        raise UsageError(
            f"{file}: {shorten(str(raw), 60)} is no auditor", "write `- bias` or `- bias: {axis: persona}`"
        )
    if options is not None and not isinstance(options, Mapping):
        raise UsageError(f"{file}: the options of `{name}` are no mapping", "for example `bias: {axis: persona}`")
    registry.lookup("auditor", str(name))
    return _Entry(str(name), dict(options or {}))


def _given(text: str | None) -> tuple[dict[str, Any], Path, str]:
    """What a file, or the command line, says of auditors; where its paths start; and its name."""
    if text is None:
        return {"audit": list(AREAS)}, Path(), "--checks"
    example = f"{', '.join(AREAS[:2])}: {{max_pii_rows: 0}}"
    listed = read_listed(text, option="--checks", key="audit", what="auditors", example=example)
    data = {"audit": listed.data} if isinstance(listed.data, list) else listed.data
    entries: Sequence[Any] | None = data.get("audit") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{listed.path or listed.name}: has no `audit:`", "write `audit:` and a list of auditors")
    return dict(data), listed.base, listed.name
