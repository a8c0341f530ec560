"""A test set of own questions for the tests of decontamination, and a cache for its index."""

from __future__ import annotations

import json
from pathlib import Path

QUESTIONS = (
    "Mirela carries 14 crates of plums from the orchard to the ferry, and every crate holds 36 plums. When 57 plums "
    "spoil on the crossing, how many plums does she bring to the market on the island?",
    "A lighthouse keeper lights the lamp at 9 in the evening and puts it out at 5 in the morning. If the lamp burns 3 "
    "litres of oil an hour, how many litres does he need for a week of nights?",
    "Osvaldo tunes 4 pianos before lunch and twice as many after it. He is paid 65 dollars for each piano but spends "
    "80 dollars on strings. What does he earn on that day?",
    "The glass bridge in the botanical garden may bear 1,200 kilograms. A school class of 23 children weighs 38 "
    "kilograms each on average. How many more children of that weight could step on the bridge?",
    "Which of these rivers rises in the Harrow hills, turns twice around the old quarry of Dunmere and reaches the sea "
    "beside the salt works of Pell?",
    "Tadeusz knits a scarf with 180 rows. He knits 22 rows on each of the first five evenings and splits the rest "
    "evenly over two more evenings. How many rows does he knit on the last evening?",
)
ANSWERS = ("447", "168", "700", "8", "The Orlen, which the quarrymen of Dunmere called the turning brook.", "35")
CLEAN = (
    "Write a short poem about the first snow in a small village.",
    "A baker sells 12 rolls an hour. How many rolls does she sell in 6 hours?",
    "Explain the difference between a list and a tuple in Python.",
    "Summarise the following email in two sentences and name the sender's request.",
    "Which of the following statements about photosynthesis is correct?",
    "How do I reset the password of my account when I no longer have the old phone?",
)


def write_test_set(folder: Path, name: str = "ferry.jsonl") -> Path:
    """The test set as a file with the usual column names."""
    rows = [{"question": question, "answer": answer} for question, answer in zip(QUESTIONS, ANSWERS, strict=True)]
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
