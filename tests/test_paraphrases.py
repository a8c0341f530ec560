"""`by: characters` on paraphrases made by rule, and on texts that are none: what the default threshold finds."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from factory.duplicates import THRESHOLDS, Duplicates

TEXTS = [
    "When the shop opens in the morning, Maria buys 12 rolls for her friends, and she eats two of them on her way.",
    "Write a short email to your landlord, in which you ask politely whether the broken heating can be repaired soon.",
    "Explain to a child of ten years why the sky is blue at noon, and why it turns red when the sun goes down.",
    "A train leaves the station at 9 o'clock with 240 passengers, of whom a third get off at the first stop.",
    "How can I change the address of my bank account if I have moved abroad and no longer have the old phone?",
    "Give me three ideas for a birthday present that costs less than 30 euros, for somebody who likes to cook.",
    "Translate the following sentence into French, and keep the tone as friendly as it is in the original.",
    "Tom has 48 marbles in a jar, gives a quarter of them to his sister, and then loses six on the playground.",
    "My card was declined in a restaurant yesterday, although there was enough money on it; what went wrong?",
    "Summarise the main argument of the article in two sentences, without quoting any of the author's own words.",
    "Which vegetables can be planted in a small garden in early spring, when the nights are still rather cold?",
    "A farmer sells 35 boxes of apples at 8 dollars each, and pays 60 dollars for the truck that carries them.",
    "Describe the difference between a virus and a bacterium, and say which of them antibiotics can help against.",
    "I would like to cancel the transfer that I made by mistake last night; is that possible before Monday?",
    "Suggest a plan for a weekend in Lisbon for two people who love old trams, quiet museums, and good fish.",
    "If a tank loses 15 litres of water an hour and holds 900 litres now, after how many hours is it empty?",
]
_PAIRS = """
shop:store buys:purchases friends:pals write:compose short:brief ask:inquire repaired:fixed explain:clarify child:kid
change:alter ideas:suggestions somebody:someone sentence:phrase keep:retain gives:hands money:cash summarise:condense
main:central small:little sells:markets pays:spends describe:outline cancel:stop mistake:accident plan:schedule
quiet:calm holds:contains begin:start big:large total:sum gave:handed many:numerous
"""
SYNONYMS = dict(pair.split(":") for pair in _PAIRS.split())
FILLERS = ("please", "actually", "you know", "in fact", "just", "by the way")


def swap_words(text: str, draw: random.Random) -> str:
    return re.sub(r"[A-Za-z]+", lambda word: SYNONYMS.get(word.group().lower(), word.group()), text)


def change_numbers(text: str, draw: random.Random) -> str:
    return re.sub(r"\d+", lambda number: str(int(number.group()) + draw.randrange(1, 9)), text)


def add_fillers(text: str, draw: random.Random) -> str:
    words = text.split()
    for _ in range(1 + len(words) // 10):
        words.insert(draw.randrange(len(words)), draw.choice(FILLERS))
    return " ".join(words)


def turn_clauses(text: str, draw: random.Random) -> str:
    """The clauses in another order; the halves of a text that has but one."""
    clauses = [clause for clause in re.split(r"[,;.?!]\s*", text) if clause]
    if len(clauses) == 1:
        words = clauses[0].split()
        clauses = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])]
    turn = draw.randrange(1, len(clauses))
    return ", ".join(clauses[turn:] + clauses[:turn]) + "."


def all_at_once(text: str, draw: random.Random) -> str:
    return add_fillers(turn_clauses(swap_words(change_numbers(text, draw), draw), draw), draw)


WAYS: dict[str, Callable[[str, random.Random], str]] = {
    "synonyms": swap_words,
    "numbers": change_numbers,
    "fillers": add_fillers,
    "clauses": turn_clauses,
    "all": all_at_once,
}


def found_by(by: str, texts: list[str], *ways: str, threshold: float | None = None) -> list[float]:
    """For each way the share of the paraphrases that is found as such. The texts themselves are all kept."""
    known = Duplicates(threshold, by)  # type: ignore[arg-type]
    assert known.offer_many(texts).kept.all()
    shares = []
    for way in ways:
        changed = [(text, WAYS[way](text, random.Random(row))) for row, text in enumerate(texts)]
        changed = [one for one in changed if one[0] != one[1]]
        matches = known.match_prepared(known.prepare([paraphrase for _, paraphrase in changed]))
        shares.append(
            sum(one is not None and texts[one.row] == text for one, (text, _) in zip(matches, changed, strict=True))
            / len(changed)
        )
    return shares


def test_paraphrases_are_found() -> None:
    assert found_by("characters", TEXTS, "synonyms", "numbers", "fillers", "clauses") == [1, 1, 1, 1]
    assert found_by("characters", TEXTS, "all")[0] >= 0.6
    assert found_by("characters", TEXTS, "all", threshold=0.55)[0] >= 0.95


def test_shingles_do_not_find_them() -> None:
    assert found_by("shingles", TEXTS, "all") == [0]


def test_different_texts_are_no_paraphrases() -> None:
    assert not any(Duplicates(by="characters").offer_many(TEXTS))
    assert not any(Duplicates(0.45, "characters").offer_many(TEXTS))


def test_other_words_between_the_same_frame_are_no_paraphrase() -> None:
    frame = "Write a poem about {}, in which {} comes to {} and finds nothing but {}."
    filled = [("the sea", "a sailor", "an island", "sand"), ("old trains", "my aunt", "Vienna", "closed gates")]
    assert not any(Duplicates(by="characters").offer_many([frame.format(*one) for one in filled]))


def test_scripts_without_spaces() -> None:
    first = "明日の朝、駅の前で友達と会って、一緒に美術館へ行く予定です。"
    turned = "友達と会って、一緒に美術館へ行く予定です。明日の朝、駅の前で。"
    other = "この料理には、新鮮な野菜と少しの塩、それにレモンが必要です。"
    drops = Duplicates(by="characters").offer_many([first, turned, other])
    assert [one and one.row for one in drops] == [None, 0, None]


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the data sets that only developers' machines have")
def test_the_default_on_real_questions() -> None:
    """What the table of docs/duplicates.md says of the default, on a part of its data."""
    assert THRESHOLDS["characters"] == 0.7
    lines = (SHARED / "gsm8k" / "train.jsonl").read_text().splitlines()
    questions = [json.loads(line)["question"] for line in random.Random(1).sample(lines, 150)]
    for share in found_by("characters", questions, "synonyms", "numbers", "fillers", "clauses"):
        assert share >= 0.98
    assert found_by("characters", questions, "all")[0] >= 0.85
    with (SHARED / "banking77" / "train.csv").open() as file:
        intents = [row["text"] for row in random.Random(2).sample(list(csv.DictReader(file)), 300)]
    found = Duplicates(by="characters").offer_many(intents)
    assert 0 < sum(one is not None for one in found) <= 0.05 * len(intents)


def test_a_lower_threshold_finds_no_fewer() -> None:
    texts = [*TEXTS, *(all_at_once(text, random.Random(row)) for row, text in enumerate(TEXTS))]
    counts = [
        sum(one is not None for one in Duplicates(threshold, "characters").offer_many(texts))
        for threshold in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    ]
    assert all(more >= fewer for more, fewer in pairwise(counts)) and counts[-1] == 0 < counts[3]
