"""The shape of the package: imports point downward, the heavy stays out, modules and functions stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "factory"

LAYERS: dict[int, set[str]] = {
    0: {"types", "errors", "seeds", "files", "together", "version"},
    1: {"registry", "recipe", "templating", "prompts", "planning", "sources"},
    2: {
        "arrow_columns", "auditors", "backends", "decontamination", "duplicates", "sandbox", "scorers", "filters",
        "parsing", "kernel", "minhash", "components", "measures", "postings", "test_sets", "prices", "pacing",
        "token_counts", "vectors",
    },
    3: {
        "journal", "budget", "ledger", "locking", "scoring", "asking", "requesting", "calling", "capabilities",
        "health", "attempts", "adaptive", "admission", "generating", "worst_case", "curation", "preference",
        "preference_files", "exporting", "columns", "card", "auditing", "outputs", "run_dir", "progress", "results",
        "batch_jobs", "opening", "compiling", "session", "finishing", "listed", "reporting", "whole_set",
    },
    4: {
        "window", "runner", "assessing", "reviewing", "cleaning", "previewing", "estimating", "explaining",
        "offline", "starters", "doctor", "model_check", "model_questions", "planting", "api",
    },
    5: {"cli", "__main__"},
}  # fmt: skip
HEAVY = {"torch", "transformers", "vllm", "datasets", "pandas", "scipy", "openai", "ray", "pyarrow", "tokenizers"}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def layer_of(module: str) -> int:
    part = module.split(".")[1] if "." in module else "__init__"
    if part == "__init__":
        return 4
    found = [layer for layer, names in LAYERS.items() if part in names]
    assert found, f"{module}: give `{part}` a layer"
    return found[0]


def imports(path: Path) -> list[str]:
    """Modules of the package that this one imports anywhere, also inside functions."""
    known = set(modules())
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("factory"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.append(inner if inner in known else node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("factory")]
    return found


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_downward(module: str) -> None:
    if module == "factory":
        return
    for imported in imports(modules()[module]):
        assert imported != "factory", f"{module} imports the package itself"
        assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}, which lies above it"


@pytest.mark.parametrize("module", sorted(modules()))
def test_modules_and_functions_stay_small(module: str) -> None:
    text = modules()[module].read_text()
    assert text.count("\n") <= 450, "a module holds one idea"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 70, f"{node.name}: {length} lines"


def test_no_import_cycle() -> None:
    graph = {module: set(imports(path)) - {module} for module, path in modules().items() if module != "factory"}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for imported in graph.get(module, ()):
                if not imported.startswith(module + ".") and not module.startswith(imported + "."):
                    visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return set(output.split())


def test_import_factory_is_light() -> None:
    loaded = loaded_by("import factory")
    assert not loaded & (HEAVY | {"pydantic", "numpy", "jinja2", "yaml", "aiohttp", "rich", "typer"})


def test_the_command_starts_without_the_heavy() -> None:
    assert not loaded_by("import factory.cli") & HEAVY


def test_loading_a_recipe_and_running_need_no_heavy_import_at_module_level() -> None:
    assert not loaded_by("import factory.runner, factory.previewing, factory.explaining") & HEAVY
