"""Test sets and clean rows from `../shared/data`, and which of the clean rows are copies after all.

A row of a clean source is taken for a copy, and counts neither as clean nor as a leak, by one rule that no detector has
a say in (`find_copies`):

1. it is as near to a test row as a 60 % part of it is: with names and numbers masked and without the sentences that
five
   or more test rows share, the words that match in order are at least 2·0.6 / 1.6 = 75 % of the mean length
   (difflib); or
2. it holds a sentence of a test row word for word (names and numbers masked) that says enough by the rule of
   `contamination_context.says_enough` and that fewer than five test rows share; or
3. for MMLU, whose moral scenarios and law cases come in pairs that differ in a word or an ending: it holds a sentence
   of 12 words or more that says enough and is 75 % like a sentence of a test row, measured as in 1; or
4. it has 15 words in a row in common with a test row (names and numbers masked), outside sentences that many share; or
5. it was read and listed in READ.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contamination_rephrasing import split_sentences
from contamination_variants import FEWEST_CONTENT, Context, read_context, says_enough, skeleton, whole_text
from contamination_words import FUNCTION_WORDS

from factory.decontamination import TestRow, TestSet

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
HELD_OUT = ("BBH", "HumanEval")
"""Benchmarks that nothing was tuned on."""
RUN = 15
SENTENCE = 12
NEAR = 2 * 0.6 / 1.6
ALIKE = {
    ("GSM8K", "GSM8K train"),
    ("GSM8K", "MT-Bench"),
    ("MT-Bench", "GSM8K"),
    ("MMLU", "MMLU dev and validation"),
}
"""(benchmark, source) for which rule 1 is worth its time: a search of all pairs found no row by it in any other
pair."""
PAIRED = ("MMLU", "MMLU dev and validation")
"""Where rule 3 counts: by reading, nearly all of what it finds there are such pairs, and in GSM8K hardly one is."""
COPIES = Path(__file__).with_name("contamination_copies.json")
NOT_CLEAN = {("BBH", "Winogender"): "BBH's pronoun task is made of Winogender's sentences"}
"""(benchmark, source) that cannot serve as clean at all."""
READ = {
    ("GSM8K", "GSM8K train", 1781): "a case of 48 sneakers for $576, 17 of them sold: backpacks in train",
    ("GSM8K", "GSM8K train", 2600): "a dictionary, a dinosaur book and a children's cookbook to save for",
}
"""(benchmark, source, row): clean rows that are copies to the eye although the rules leave them out, and why."""


@dataclass(frozen=True, slots=True)
class CleanRow:
    """A data row of a source that is no test set, or of another test set."""

    source: str
    row: int
    fields: Mapping[str, str]


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    yield from map(json.loads, filter(None, text.split("\n")))


def _read_mmlu(data: Path, *splits: str) -> list[TestRow]:
    """The decon bundle holds one line an option; options of one question share split and number."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for split in splits:
        for path in sorted((data / "mmlu").glob(f"mmlu_{split}-*.jsonl.gz")):
            for line in _lines(path):
                groups[split, line["eval_instance_index"]].append(line)
    rows = []
    for place, lines in enumerate(groups.values()):
        right = next(line["answer"] for line in lines if line["is_correct"])
        rows.append(TestRow(place, lines[0]["question"], right, tuple(line["answer"] for line in lines)))
    return rows


def _read_bbh(data: Path) -> list[TestRow]:
    rows: list[TestRow] = []
    for path in sorted((data / "bbh").glob("*.json")):
        for example in json.loads(path.read_text(encoding="utf-8"))["examples"]:
            rows.append(TestRow(len(rows), example["input"], example["target"], id=path.stem))
    return rows


def read_test_sets(data: Path = DATA) -> dict[str, TestSet]:
    """The five benchmarks by name."""
    gsm8k = [TestRow(i, r["question"], r["answer"]) for i, r in enumerate(_lines(data / "gsm8k" / "test.jsonl"))]
    code = _lines(data / "humaneval" / "HumanEval.jsonl.gz")
    human = [TestRow(i, r["prompt"], r["canonical_solution"], id=r["task_id"]) for i, r in enumerate(code)]
    talks = enumerate(_lines(data / "mt_bench" / "question.jsonl"))
    turns = [TestRow(i, r["turns"][0], turns=tuple(r["turns"]), id=str(r["question_id"])) for i, r in talks]
    return {
        "GSM8K": TestSet("GSM8K", gsm8k),
        "MMLU": TestSet("MMLU", _read_mmlu(data, "test")),
        "BBH": TestSet("BBH", _read_bbh(data)),
        "HumanEval": TestSet("HumanEval", human, code=True),
        "MT-Bench": TestSet("MT-Bench", turns),
    }


def data_row(row: TestRow) -> dict[str, str]:
    """A test row as a row of training data: what is asked, and the answer."""
    return {"instruction": whole_text(row), **({"output": row.answer} if row.answer else {})}


def read_clean(data: Path = DATA) -> dict[str, list[CleanRow]]:
    """The sources that are no test sets, by name."""
    found: dict[str, list[Mapping[str, str]]] = {
        "GSM8K train": [
            {"question": line["question"], "answer": line["answer"]} for line in _lines(data / "gsm8k" / "train.jsonl")
        ],
        "MMLU dev and validation": [data_row(row) for row in _read_mmlu(data, "dev", "validation")],
        "self-instruct": [],
        "banking77": [],
        "Winogender": [],
    }
    for name in ("seed_tasks", "user_oriented_instructions"):
        for line in _lines(data / "self_instruct" / f"{name}.jsonl"):
            for instance in line["instances"][:1]:
                fields = {"instruction": line["instruction"], "input": instance["input"], "output": instance["output"]}
                found["self-instruct"].append({name: text for name, text in fields.items() if text})
    for name in ("train.csv", "test.csv"):
        with (data / "banking77" / name).open(encoding="utf-8", newline="") as stream:
            found["banking77"] += [{"text": line["text"]} for line in csv.DictReader(stream)]
    with (data / "winogender" / "all_sentences.tsv").open(encoding="utf-8", newline="") as stream:
        found["Winogender"] = [{"text": line["sentence"]} for line in csv.DictReader(stream, delimiter="\t")]
    return {name: [CleanRow(name, i, fields) for i, fields in enumerate(rows)] for name, rows in found.items()}


def own_words(text: str, context: Context) -> list[str]:
    """The words of a text, names and numbers masked, without the sentences that many test rows share."""
    kept = [skeleton(sentence, context) for sentence in split_sentences(text)]
    return " ".join(sentence for sentence in kept if sentence not in context.shared).split()


def runs(words: Sequence[str]) -> set[str]:
    """Every stretch of RUN words with 5 different words of content, numbers and names not counted."""
    stretches = (words[i : i + RUN] for i in range(len(words) - RUN + 1))
    return {" ".join(part) for part in stretches if len(_content(part)) >= FEWEST_CONTENT}


def _content(words: Sequence[str]) -> set[str]:
    return {word for word in words if len(word) > 2 and not word[0].isdigit()} - FUNCTION_WORDS


def asked(fields: Mapping[str, str]) -> str:
    """What a data row asks, without its answer."""
    return "\n".join(text for name, text in fields.items() if name not in ("answer", "output"))


class Nearest:
    """Lists of words, and which of them is nearest to another list: the share of words that match in order."""

    def __init__(self, rows: Sequence[Sequence[str]]):
        self.rows = rows
        self._bags = [frozenset(words) for words in rows]
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for place, bag in enumerate(self._bags):
            for word in bag:
                self._by_word[word].append(place)

    def find(self, words: Sequence[str], at_least: float = NEAR) -> tuple[float, int]:
        """(likeness, place) of the nearest list; (0, -1) where none comes to `at_least`."""
        best = (0.0, -1)
        for place in self._candidates(frozenset(words), at_least):
            row = self.rows[place]
            if min(len(words), len(row)) < at_least / (2 - at_least) * max(len(words), len(row)):
                continue
            matcher = difflib.SequenceMatcher(None, row, words, autojunk=False)
            if matcher.quick_ratio() >= max(at_least, best[0]) and (ratio := matcher.ratio()) >= at_least:
                best = max(best, (ratio, place))
        return best

    def _candidates(self, bag: frozenset[str], at_least: float) -> list[int]:
        """Lists that share enough different words; the likeness of words in order is hardly ever higher than that."""
        known = [word for word in bag if word in self._by_word]
        needed = 0.8 * at_least * len(bag) / (2 - at_least)
        if len(known) < needed:
            return []
        known.sort(key=lambda word: (len(self._by_word[word]), word))
        # A list that shares `needed` of them shares one of the rarest len(known) - needed + 1.
        found = {p for word in known[: max(1, len(known) - int(needed) + 1)] for p in self._by_word[word]}
        low = at_least * 0.8
        return sorted(p for p in found if 2 * len(bag & self._bags[p]) >= low * (len(bag) + len(self._bags[p])))


class Likeness:
    """How near a text is to a test set, by the five rules."""

    def __init__(self, test_set: TestSet):
        self.context = read_context(test_set.rows, code=test_set.code)
        texts = [whole_text(row) for row in test_set.rows]
        self._rows = Nearest([own_words(text, self.context) for text in texts])
        self._runs = {run for words in self._rows.rows for run in runs(words)}
        self._sentences = {key: None for text in texts for key in self._own_sentences(text)}
        self._long = Nearest([words for key in self._sentences if len(words := key.split()) >= SENTENCE])

    def _own_sentences(self, text: str) -> list[str]:
        """The sentences that say enough and that few rows share, names and numbers masked."""
        sentences = ((skeleton(sentence, self.context), sentence) for sentence in split_sentences(text))
        return [
            key
            for key, sentence in sentences
            if key not in self.context.shared and says_enough(sentence, self.context, masks="names numbers")
        ]

    def find(self, text: str, *, near: bool = False, paired: bool = False) -> str | None:
        """The name of the first rule that makes the text a copy; `near` and `paired`: rules 1 and 3 are tried too."""
        sentences = self._own_sentences(text)
        if any(sentence in self._sentences for sentence in sentences):
            return "sentence"
        words = own_words(text, self.context)
        if not self._runs.isdisjoint(runs(words)):
            return "run"
        if near and len(words) >= 8 and self._rows.find(words)[1] >= 0:
            return "near"
        long = (part for sentence in sentences if len(part := sentence.split()) >= SENTENCE)
        return "near sentence" if paired and any(self._long.find(part)[1] >= 0 for part in long) else None


def find_copies(data: Path = DATA) -> dict[str, dict[str, dict[str, list[int]]]]:
    """By benchmark, source and reason: the clean rows that are copies."""
    test_sets = read_test_sets(data)
    sources = clean_of(test_sets, read_clean(data))
    found: dict[str, dict[str, dict[str, list[int]]]] = {}
    for name, test_set in test_sets.items():
        likeness = Likeness(test_set)
        for source, rows in sources.items():
            if source == name:
                continue
            reasons: dict[str, list[int]] = defaultdict(list)
            for row in rows:
                pair = (name, source)
                why = likeness.find(asked(row.fields), near=pair in ALIKE, paired=pair == PAIRED)
                if (name, source, row.row) in READ:
                    why = "read"
                if why:
                    reasons[why].append(row.row)
            if reasons:
                found.setdefault(name, {})[source] = dict(reasons)
    return found


def read_copies() -> dict[str, dict[str, dict[str, list[int]]]]:
    """What `find_copies` found, from the file beside this module."""
    found: dict[str, dict[str, dict[str, list[int]]]] = json.loads(COPIES.read_text(encoding="utf-8"))
    return found


def clean_of(
    test_sets: Mapping[str, TestSet], clean: Mapping[str, Sequence[CleanRow]]
) -> dict[str, Sequence[CleanRow]]:
    """The clean sources, and each benchmark as a source for the others."""
    others = {
        name: [CleanRow(name, row.row, data_row(row)) for row in test_set.rows] for name, test_set in test_sets.items()
    }
    return {**clean, **others}
