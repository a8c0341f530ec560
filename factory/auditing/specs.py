"""The `audit:` of a recipe, checked before anything is paid: columns, files, roles of models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory import registry
from factory.errors import Place, RecipeError, UsageError, nearest

FRAME = ("on", "label", "reference", "holdout")
"""Options of every auditor, which are not its own."""
SHARED = ("label", "reference", "holdout")
"""Of these the first that is named counts for the auditors that name none."""
DEFAULT = ("bias", "diversity", "requested", "privacy")
"""Auditors that say something without a reference: what looks at a run whose recipe has no `audit:`."""
MODELS = ("model", "embedder")
"""Ends of the names of options that name a role of `models`."""
PlaceMaker = Callable[..., Place]


@dataclass(frozen=True, slots=True)
class AuditSpec:
    """One entry of `audit:`. `options` are the auditor's own; `reference` and `holdout` are what `read_data` takes.

    `roles`: the models that it asks, by the option that names them.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    on: tuple[str, ...] | None = None
    label: str | None = None
    reference: str | None = None
    holdout: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


def read_specs(entries: Sequence[Any], base: Path) -> list[AuditSpec]:
    """The entries of `audit:` (with `name` and `options`) as they count. Paths are relative to `base`.

    Raises UsageError for an unknown auditor or option.
    """
    shared: dict[str, Any] = {}
    given = [_options(entry) for entry in entries]
    for options in given:
        for key in SHARED:
            shared.setdefault(key, options.get(key))
            shared[key] = shared[key] if shared[key] is not None else options.get(key)
    return [_spec(entry.name, options, shared, base) for entry, options in zip(entries, given, strict=True)]


def default_specs(base: Path) -> list[AuditSpec]:
    """The auditors of a run whose recipe has no `audit:`."""
    return [_spec(name, registry.options("auditor", name, {}), {}, base) for name in DEFAULT]


def _options(entry: Any) -> dict[str, Any]:
    from pydantic import ValidationError

    try:
        return registry.options("auditor", entry.name, entry.options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = sorted(registry.config_model("auditor", entry.name).model_fields)
        hint = nearest(where, known) or f"options: {', '.join(known)}"
        raise UsageError(f"auditor `{entry.name}`, option `{where}`: {first['msg']}", hint) from error


def _spec(name: str, options: Mapping[str, Any], shared: Mapping[str, Any], base: Path) -> AuditSpec:
    declared = _own_parameters(name)
    own = {key: value for key, value in options.items() if key not in FRAME or key in declared}
    frame = {key: options.get(key) if options.get(key) is not None else shared.get(key) for key in FRAME}
    on = frame["on"]
    roles = {key: value for key, value in own.items() if key.endswith(MODELS) and isinstance(value, str)}
    return AuditSpec(
        name=name,
        options=own,
        on=None if on is None else (on,) if isinstance(on, str) else tuple(on),
        label=frame["label"],
        reference=_resolve(frame["reference"], base),
        holdout=_resolve(frame["holdout"], base),
        roles=roles,
    )


def _own_parameters(name: str) -> set[str]:
    """The keyword-only parameters of an auditor: one of them may be called `label`, say."""
    import inspect

    parameters = inspect.signature(registry.lookup("auditor", name)).parameters.values()
    return {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


def _resolve(entry: str | None, base: Path) -> str | None:
    """A path relative to the recipe where there is such a file, else the name as it stands (a Hub dataset)."""
    if entry is None:
        return None
    path = base / Path(entry).expanduser()
    return str(path) if path.exists() else entry


def compile_audits(
    entries: Sequence[Any],
    *,
    base: Path,
    columns: Collection[str],
    roles: Collection[str],
    place: PlaceMaker,
) -> list[AuditSpec]:
    """The auditors of a recipe.

    `columns`: the dataset's. Raises RecipeError with every fault: columns and roles that are not there, a reference
    that is neither a file nor might be the name of a Hub dataset.
    """
    try:
        specs = read_specs(entries, base)
    except UsageError as error:
        raise RecipeError([place("audit", message=error.message, hint=error.hint)]) from error
    faults: list[Place] = []
    for number, (entry, spec) in enumerate(zip(entries, specs, strict=True)):
        for key, message, hint in _faults(spec, columns, roles):
            below = (key,) if key in entry.options else ()
            faults.append(place("audit", number, spec.name, *below, message=message, hint=hint))
    if faults:
        raise RecipeError(faults)
    return specs


def _faults(spec: AuditSpec, columns: Collection[str], roles: Collection[str]) -> list[tuple[str, str, str]]:
    """Option, what is wrong with it, and what to do."""
    found = []
    known = [name for name in columns if name != "meta"]
    for name in spec.on or ():
        if name not in known:
            found.append(("on", f"no column `{name}` in the dataset", nearest(name, known)))
    if spec.label is not None and spec.label not in known:
        hint = nearest(spec.label, known)
        found.append(("label", f"no column `{spec.label}` in the dataset", hint))
    for key, role in spec.roles.items():
        if role not in roles:
            found.append((key, f"no model has the role `{role}`", nearest(role, list(roles)) or "add it to `models`"))
    for key, entry in (("reference", spec.reference), ("holdout", spec.holdout)):
        if entry is not None and not Path(entry).exists() and not _may_be_hub(entry):
            found.append((key, f"`{entry}` is not there", "a file, a folder, a run or a Hub dataset (OWNER/NAME)"))
    return found


def _may_be_hub(entry: str) -> bool:
    owner, slash, name = entry.partition("/")
    return bool(slash and owner and name) and "/" not in name and not Path(name).suffix and not owner.startswith(".")
