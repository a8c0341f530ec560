"""The one task of the contenders for near-duplicates: which rows fall to an earlier row at Jaccard ≥ 0.8.

    PYTHON dedup_<contender>.py CORPUS OUT [VARIANT…]

CORPUS holds a JSON string a line. A contender gets the texts as a list and gives, for each row, the number of the row
it falls to, KEPT, or FALLS where it does not say to which; OUT gets that as int64. Timed is all between texts and
verdicts. `grams` are the shingles of the factory's scheme, read from its description in plain Python: those who take
tokens take these. Standard library only, since every interpreter with a peer in it must be able to import this.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THRESHOLD = 0.8
PERMUTATIONS = 128
KEPT, FALLS = -1, -2

_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3040-\u312f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff]+"
)


@dataclass(frozen=True)
class Task:
    """`variant`: what the benchmark asks of this contender beyond its usual way."""

    corpus: Path
    out: Path
    variant: frozenset[str]

    def texts(self) -> Iterator[str]:
        """The rows in order."""
        with self.corpus.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def read_task() -> Task:
    """The task of the command line."""
    corpus, out, *variant = sys.argv[1:]
    return Task(Path(corpus), Path(out), frozenset(variant))


def normalise(text: str) -> str:
    """NFKC, casefold, NFKC, single spaces."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def grams(text: str) -> list[str]:
    """The shingles, not yet distinct: words in fives; characters in fives to eights of short and of unspaced texts.

    The two kinds cannot be equal: five words have nine characters or more.
    """
    text = normalise(text)
    words = text.split(" ")
    if len(words) >= 8 and (text.isascii() or not is_unspaced(text)):
        return list(map(" ".join, zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)))
    sizes = range(min(5, len(text)), min(8, len(text)) + 1) if text else ()
    return [text[i : i + size] for size in sizes for i in range(len(text) - size + 1)]


def is_unspaced(text: str) -> bool:
    """Whether a quarter of what is no space belongs to scripts written without spaces."""
    found = sum(map(len, _UNSPACED.findall(text)))
    return 4 * found >= len(text) - text.count(" ")


def first_wins(candidates: Sequence[Sequence[int]], agrees: Callable[[int, int], bool]) -> list[int]:
    """Verdicts in row order from each row's candidates, where only an earlier row that stays counts, if it `agrees`."""
    places: list[int] = []
    for row, found in enumerate(candidates):
        earlier = sorted(one for one in found if one < row)
        places.append(next((one for one in earlier if places[one] == KEPT and agrees(one, row)), KEPT))
    return places


def peak_mb() -> float:
    """The most memory this program has held, in MB. What its parent held before does not count, where Linux tells."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


def finish(places: Sequence[int], out: Path, **facts: Any) -> None:
    """Write the verdicts, and say the rest on the last line."""
    out.write_bytes(array("q", places).tobytes())
    print("\n" + json.dumps({"rows": len(places), "peak_mb": peak_mb(), **facts}), flush=True)


def run(remove: Callable[[list[str], frozenset[str]], Sequence[int]]) -> None:
    """The whole of a contender that takes all texts at once: read, time, write."""
    task = read_task()
    texts = list(task.texts())
    before = peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    places = remove(texts, task.variant)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    finish(places, task.out, texts_mb=before, **spent)
