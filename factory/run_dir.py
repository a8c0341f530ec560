"""A run's directory: where things lie, whose plan it holds, and its manifest (written last, in one step)."""

from __future__ import annotations

import difflib
import json
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from factory import files
from factory.errors import FactoryError, RunDirError, UsageError
from factory.planning import Plan
from factory.version import __version__

FORMAT = 1
PACKAGES = ("text-data-factory", "datasets", "datasketch", "jinja2", "numpy", "pyarrow", "pydantic", "tokenizers")


@dataclass(frozen=True, slots=True)
class RunDir:
    """The paths inside a run directory."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset"

    @property
    def rejected_dataset(self) -> Path:
        return self.path / "dataset.rejected"

    @property
    def building(self) -> Path:
        return self.path / ".dataset.tmp"

    @property
    def rejects(self) -> Path:
        return self.path / "rejects.parquet"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.parquet"

    @property
    def progress(self) -> Path:
        return self.path / "progress.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def audit(self) -> Path:
        return self.path / "audit.json"


def choose_run_dir(plan: Plan, out: Path | None, runs_dir: Path) -> RunDir:
    """`--out`, or `runs/<name>-<6 digits of plan_sha>`."""
    return RunDir(out if out is not None else runs_dir / f"{plan.recipe.name}-{plan.sha[:6]}")


def open_run_dir(path: Path | str) -> RunDir:
    """An existing run directory (or a `latest` pointer to one). Raises UsageError when it is none."""
    run = RunDir(Path(path))
    if not run.path.exists():
        raise UsageError(f"{path}: no such run directory", _near(run.path) or "`factory run` makes one")
    if not run.manifest.exists() and not run.journal.exists():
        raise UsageError(
            f"{path}: not a run directory (no manifest.json, no journal/)", "give what `factory run` printed"
        )
    return run


def _near(path: Path) -> str:
    """The run that may have been meant: beside `path`, else in `runs/`."""
    for folder in (path.parent, Path("runs")):
        found = {manifest.parent.name: str(manifest.parent) for manifest in folder.glob("*/manifest.json")}
        close = difflib.get_close_matches(path.name, found, n=1, cutoff=0.4)
        if close:
            return f"did you mean `{found[close[0]]}`?"
        if found:
            shown = list(found.values())
            return f"one of: {', '.join(sorted(shown)[:8])}" + (", …" if len(shown) > 8 else "")
    return ""


def read_manifest(run: RunDir) -> dict[str, Any] | None:
    """The manifest, or None when there is none yet. Raises FactoryError when it cannot be read."""
    try:
        found = json.loads(run.manifest.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise FactoryError(
            f"{run.manifest}: cannot be read ({error})",
            "remove it: the journal is the truth, the next run writes it anew",
        ) from error
    if not isinstance(found, dict):
        raise FactoryError(f"{run.manifest}: not a JSON object", "remove it: the next run writes it anew")
    return found


def check_plan(run: RunDir, plan: Plan) -> None:
    """Raise RunDirError when the directory holds another plan (naming what differs), or is not a run at all."""
    if run.path.exists() and not run.path.is_dir():
        raise RunDirError(f"{run.path}: a file is in the way", "choose another place with --out")
    manifest = read_manifest(run)
    if manifest is None:
        foreign = _foreign(_listing(run.path), SCORED if "score" in plan.parts else ())
        if foreign and not run.journal.exists():
            raise RunDirError(
                f"{run.path}: holds other files ({', '.join(sorted(foreign)[:3])}) and no run",
                "choose an empty or a new directory with --out",
            )
        return
    if manifest.get("plan_sha") == plan.sha:
        return
    before: Mapping[str, str] = manifest.get("plan", {})
    changed = sorted(key for key in {*before, *plan.parts} if before.get(key) != plan.parts.get(key))
    raise RunDirError(
        f"{run.path}: holds another plan; what differs: {', '.join(changed) or 'the plan'}",
        f"leave out --out (an edited recipe gets a directory of its own), or choose a new one and take over the "
        f"answers that still fit with --reuse {run.path}",
    )


SCORED = ("plot.svg", "report.json", "report.md", "scores.parquet")
"""What `factory score` leaves where no model was asked."""


def _foreign(names: Sequence[str], known: Sequence[str] = ()) -> list[str]:
    """Names in a directory without a manifest that no run put there. A crash may have left a run's first files."""
    first = {"lock", "journal", "progress.json", *known}
    if "lock" in names:
        first |= {"recipe.yaml", "prompts", ".recipe.yaml.tmp", ".manifest.json.tmp", ".progress.json.tmp"}
    return [name for name in names if name not in first]


def _listing(path: Path) -> list[str]:
    return os.listdir(path) if path.is_dir() else []


def start(run: RunDir, plan: Plan) -> None:
    """Repair what a crash left and, in a new directory, write the plan's inputs and a first manifest."""
    try:
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.storage_fault(error, run.path) from error
    for target in (run.dataset, run.rejected_dataset):
        files.repair_directory(target)
    files.write_atomic(run.path / "recipe.yaml", plan.recipe.effective_text)
    for name, text in sorted(_prompt_files(plan).items()):
        files.write_atomic(run.path / "prompts" / name, text)
    if not run.manifest.exists():
        write_manifest(run, {**plan_facts(plan), "status": "running"})


def _prompt_files(plan: Plan) -> dict[str, str]:
    """Every prompt file by its name; inline prompts are in the recipe already."""
    return {
        Path(name).name: text
        for template in plan.templates.values()
        for name, text in template.files.items()
        if name and not name.startswith("<")
    }


def plan_facts(plan: Plan) -> dict[str, Any]:
    """What the manifest says of the plan: its hashes, seed and packages."""
    recipe = plan.recipe
    return {
        "format": FORMAT,
        "name": recipe.name,
        "plan_sha": plan.sha,
        "plan": dict(plan.parts),
        "prompts": {name: template.sha for name, template in plan.templates.items()},
        "seed": recipe.seed,
        "packages": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a dataset's bytes."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found | {"text-data-factory": __version__}


def write_manifest(run: RunDir, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest in one step."""
    files.write_atomic(run.manifest, json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n")


def point_latest(run: RunDir) -> None:
    """`latest` beside the run points at it. Where links cannot be made there is none: it is a convenience."""
    link = run.path.parent / "latest"
    temporary = run.path.parent / ".latest.tmp"
    if link.exists() and not link.is_symlink():
        return
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(run.path.name)
        os.replace(temporary, link)
    except OSError as error:
        if error.errno is None:
            raise


def publish(run: RunDir, *, rejected: bool) -> Path:
    """Move the finished `.dataset.tmp` to `dataset/`, or to `dataset.rejected/` when a gate said no.

    Rows that were published go out of `dataset.rejected/`, where they may lie from before.
    """
    target = run.rejected_dataset if rejected else run.dataset
    try:
        files.swap_directory(run.building, target)
        if not rejected and run.rejected_dataset.exists():
            shutil.rmtree(run.rejected_dataset)
    except OSError as error:
        if files.is_storage_fault(error):
            raise files.storage_fault(error, target) from error
        raise
    return target


def model_facts(served: Mapping[str, Sequence[str]], plan: Plan) -> list[dict[str, Any]]:
    """The models of the recipe that were called, with the names their servers gave themselves."""
    found = []
    for role, config in plan.recipe.models.items():
        if role in served:
            fact: dict[str, Any] = {"role": role, "model": config.name, "identity": config.identity_key}
            fact |= {"served_as": sorted(served[role]), "sampling": config.sampling().body()}
            if config.license:
                fact["license"] = config.license
            found.append(fact)
    return found
