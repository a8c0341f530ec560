"""Makes the neutral corpus that ships with the package: clean texts for calibrating decontamination.

    python scripts/make_neutral.py [--out factory/decontamination/neutral.jsonl.gz] [--check]

Short texts of many kinds, put together from the word lists and grammars in `scripts/neutral_corpus` and
`scripts/embedded_grammar`, none of them taken from elsewhere. They hold the phrases that questions share everywhere
("which of the following", "how many … in total", "write a function that"), so that such phrases count as common. The
same seed gives the same bytes. `--check` compares with the file instead of writing it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


from embedded_grammar import facts, messages, word_problems
from neutral_corpus import code, exams, prose

from factory.seeds import generator

SEED = 2024
OUT = Path(__file__).resolve().parent.parent / "factory" / "decontamination" / "neutral.jsonl.gz"


def write_problem(random: Random) -> str:
    """A word problem with or without its answer."""
    text = word_problems.write_problem(random, **word_problems.draw_variables(random))
    question, _, answer = text.removeprefix("Question: ").partition("\nAnswer: ")
    return random.choice((question, question, question, f"{question}\n{answer}", text))


def write_message(random: Random) -> str:
    """A customer's message."""
    text = messages.write_message(random, **messages.draw_variables(random))
    return text.removeprefix("Message: ").rpartition("\nRating: ")[0]


def write_fact(random: Random) -> str:
    """A multiple-choice question on general knowledge, or the question alone."""
    text = facts.write_question(random, **facts.draw_variables(random))
    question, *options, _ = text.removeprefix("Question: ").split("\n")
    if random.random() < 0.3:
        return question
    return exams.lay_out(random, question, [option[3:] for option in options])


KINDS: tuple[tuple[str, int, Callable[[Random], str]], ...] = (
    ("problem", 1000, write_problem),
    ("message", 250, write_message),
    ("fact", 300, write_fact),
    ("choice", 600, exams.write_choice),
    ("statements", 120, exams.write_statements),
    ("short answer", 300, exams.write_short_answer),
    ("clinic", 200, exams.write_clinic),
    ("case", 200, exams.write_case),
    ("instruction", 500, prose.write_instruction),
    ("story", 200, prose.write_story),
    ("paragraph", 200, prose.write_paragraph),
    ("conversation", 150, prose.write_conversation),
    ("small task", 200, prose.write_small_task),
    ("code", 350, code.write_code),
)


def make_texts(seed: int = SEED) -> list[str]:
    """All the texts, no two the same, in a mixed order."""
    found: dict[str, None] = {}
    for name, count, write in KINDS:
        made, place = 0, 0
        while made < count and place < 4 * count:
            text = write(generator(seed, place, name)).strip()
            place += 1
            if text not in found:
                found[text] = None
                made += 1
    texts = list(found)
    generator(seed, 0, "order").shuffle(texts)
    return texts


def pack(texts: list[str]) -> bytes:
    """JSON Lines, gzipped, without a time stamp."""
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as stream:
        stream.write(lines.encode())
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    given = parser.parse_args()
    texts = make_texts()
    if given.check:
        same = gzip.decompress(given.out.read_bytes()) == gzip.decompress(pack(texts))
        sys.exit(0 if same else f"{given.out} is not what this script makes; run it without --check")
    data = pack(texts)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_bytes(data)
    words = sum(len(text.split()) for text in texts)
    print(f"{len(texts)} texts, {words / len(texts):.0f} words each, {len(data) / 1000:.0f} KB → {given.out}")


if __name__ == "__main__":
    main()
