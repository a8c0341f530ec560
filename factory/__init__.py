"""The text data factory: datasets made by language models, N candidates a row, the best K kept.

    import factory
    result = factory.run("word-problems", rows=200)
    result.dataset()["train"]

Everything is loaded when it is first used: `import factory` is fast and imports no heavy package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from factory.version import __version__ as __version__

if TYPE_CHECKING:
    from factory.api import load_recipe as load_recipe
    from factory.api import run as run
    from factory.errors import FactoryError as FactoryError
    from factory.registry import auditor as auditor
    from factory.registry import backend as backend
    from factory.registry import exporter as exporter
    from factory.registry import filter as filter
    from factory.registry import scorer as scorer
    from factory.results import Result as Result
    from factory.results import open_run as open_run
    from factory.types import Candidate as Candidate
    from factory.types import Check as Check
    from factory.types import Score as Score

_LAZY = {
    "load_recipe": "factory.api",
    "run": "factory.api",
    "open_run": "factory.results",
    "Result": "factory.results",
    "FactoryError": "factory.errors",
    "scorer": "factory.registry",
    "backend": "factory.registry",
    "filter": "factory.registry",
    "auditor": "factory.registry",
    "exporter": "factory.registry",
    "Candidate": "factory.types",
    "Check": "factory.types",
    "Score": "factory.types",
}

__all__ = [  # noqa: RUF022  (the order of use)
    "load_recipe", "run", "open_run", "Result", "scorer", "backend", "filter", "auditor", "exporter",
    "Candidate", "Check", "Score", "FactoryError", "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'factory' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
