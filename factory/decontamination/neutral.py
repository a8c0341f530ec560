"""The neutral corpus: some thousand clean texts, all made by our own code (`scripts/make_neutral.py`).

They look like instruction data, exam questions, stories and code, and hold the phrases that such texts share. A
test row
that resembles them resembles everything: they set what counts as common.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("neutral.jsonl.gz")


@cache
def texts() -> tuple[str, ...]:
    """The texts, in the file's order; read once."""
    lines = gzip.decompress(FILE.read_bytes()).decode().split("\n")
    return tuple(json.loads(line)["text"] for line in lines if line)
