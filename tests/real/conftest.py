"""Real engines and servers with the embedded checkpoint. `scripts/test-real` runs these; the usual tests do not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def named(variable: str, what: str) -> str:
    """The program that an environment variable names, or a skipped test that says how to set it."""
    path = os.environ.get(variable, "")
    if not Path(path).is_file() or not os.access(path, os.X_OK):
        pytest.skip(f"{variable} names no program: set it to {what}")
    return path


@pytest.fixture(scope="session")
def vllm_python() -> str:
    return named("FACTORY_VLLM_PYTHON", "the python of an environment made by scripts/vllm_environment")


@pytest.fixture(scope="session")
def llama_program() -> str:
    return named("FACTORY_LLAMA_SERVER", "llama.cpp's llama-server")
