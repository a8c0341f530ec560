"""The one task of all contenders: so many chats of one turn, each with a prompt of its own.

    PYTHON with_<contender>.py URL ROWS CONCURRENCY DIRECTORY

A contender makes the calls as its documentation says, keeps the answers as it always does, and ends with a line of
JSON: how many texts it got, and whatever else it measured.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "mock"
TEMPERATURE = 0.8
MAX_TOKENS = 200


@dataclass(frozen=True)
class Task:
    """`directory` is empty, and for whatever the contender writes."""

    url: str
    rows: int
    concurrency: int
    directory: Path

    def prompts(self) -> list[str]:
        """A prompt for each row."""
        return [prompt(number) for number in range(self.rows)]


def prompt(number: int) -> str:
    """The prompt of a row."""
    return f"Write two sentences about the cat with the number {number}."


def read_task() -> Task:
    """The task of the command line."""
    url, rows, concurrency, directory = sys.argv[1:5]
    return Task(url, int(rows), int(concurrency), Path(directory))


def finish(texts: int, **facts: Any) -> None:
    """Say what came of it, on the last line."""
    print("\n" + json.dumps({"texts": texts, **facts}), flush=True)
