"""The grammar behind the embedded model: its texts are right, reproducible and checked by verifiers that do fail."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from embedded_grammar import drills, facts, messages, samples, word_problems  # noqa: E402
from embedded_grammar.arithmetic import Step, split_places, work_equations  # noqa: E402
from embedded_grammar.lexicon import count_feelings  # noqa: E402
from embedded_grammar.products import PRODUCT_KINDS  # noqa: E402
from embedded_grammar.topics import TOPICS, singular  # noqa: E402
from embedded_grammar.verify import find_fault  # noqa: E402
from evaluate_embedded import evaluate, hash_text, rebuild_training_hashes, wilson  # noqa: E402

CHECKPOINT = ROOT / "factory" / "backends" / "tiny"
DATA = ROOT / "recipes" / "data"
_SPLIT = "Question: 347 and 28.\nAnswer: 20 + 8 = 28. 347 + 20 = 367, 367 + 8 = 375."


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), index=st.integers(0, 2**40), job=st.sampled_from(samples.JOBS))
def test_every_sample_is_right_and_reproducible(seed: int, index: int, job: str) -> None:
    sample = samples.make_sample(seed, index, job)
    assert find_fault(job, sample.variables, sample.completion) is None
    assert sample.completion == sample.completion.strip()
    assert samples.make_sample(seed, index, job) == sample


def test_texts_differ_from_sample_to_sample_and_every_variable_is_used() -> None:
    drawn = [samples.make_sample(3, i) for i in range(1500)]
    assert len({s.completion for s in drawn}) >= 0.99 * len(drawn)
    assert {s.job for s in drawn} == set(samples.JOBS)
    problems = [s.variables for s in drawn if s.job == "word-problem"]
    assert {v["operation"] for v in problems} == set(word_problems.OPERATIONS)
    assert {v["difficulty"] for v in problems} == set(word_problems.DIFFICULTIES)
    for sample in drawn:
        plain = {k: v for k, v in sample.variables.items() if isinstance(v, str)}
        assert all(value in sample.prompt for value in plain.values())
        assert len(sample.prompt.split()) <= 60


@pytest.mark.parametrize(
    ("operation", "text", "fault"),
    [
        ("addition", "Question: Ann has 3 pens and gets 4.\nAnswer: 3 + 4 = 7.\n#### 7", None),
        ("addition", "Question: Ann has 3 pens and gets 4.\nAnswer: 3 + 4 = 8.\n#### 8", "wrong equation"),
        ("addition", "Question: Ann has 3 pens and gets 4.\nAnswer: 3 + 4 = 7.\n#### 8", "final number"),
        ("addition", "Question: Ann has 3 pens and gets 4.\nAnswer: 3 + 5 = 8.\n#### 8", "number from nowhere"),
        ("addition", "Question: Ann has 3 pens and gets 4.\nAnswer: 3 × 4 = 12.\n#### 12", "another operation"),
        ("addition", "Question: Ann has 3 pens and gets 4.\nAnswer: seven\n#### 7", "no equation"),
        ("addition", "Question: Ann has 3 pens.\n#### 7", "form"),
        ("division", "Question: 7 pens for 2.\nAnswer: 7 ÷ 2 = 3.\n#### 3", "wrong equation"),
        ("division", "Question: 7 pens for 0.\nAnswer: 7 ÷ 0 = 0.\n#### 0", "wrong equation"),
        ("two steps", "Question: 3 and 4 and 5.\nAnswer: 3 + 4 = 7.\n#### 7", "fewer than two"),
        ("two steps", "Question: 3 and 4 and 5.\nAnswer: 3 + 4 = 7. Then 7 - 5 = 2.\n#### 2", None),
        ("addition", _SPLIT + " 347 + 28 = 375.\n#### 375", None),
        ("addition", _SPLIT + "\n#### 375", "last equation"),
    ],
)  # fmt: skip
def test_problem_verifier(operation: str, text: str, fault: str | None) -> None:
    found = find_fault("word-problem", {"operation": operation}, text)
    assert found is None if fault is None else found is not None and found.startswith(fault)


def test_message_verifier_wants_product_rating_length_and_feeling() -> None:
    wanted = {"product": "desk lamp", "sentiment": "negative", "rating": "2"}
    text = "Message: The desk lamp broke after a week. I am disappointed.\nRating: 2"
    assert find_fault("customer-message", wanted, text) is None
    assert find_fault("customer-message", {**wanted, "product": "kettle"}, text) == "product not named"
    assert find_fault("customer-message", {**wanted, "rating": "1"}, text) == "another rating"
    for sentiment in ("positive", "neutral", "mixed"):
        assert "sentiment" in str(find_fault("customer-message", {**wanted, "sentiment": sentiment}, text))
    assert find_fault("customer-message", wanted, text.replace("week. I am", "week and I am")) == "1 sentences"
    assert find_fault("customer-message", wanted, "Message: fine") == "form"
    assert count_feelings("It is not good, never again") == (0, 2)
    assert count_feelings("I could not be happier! Best regards, Ann") == (1, 0)


def test_choice_verifier_wants_the_answer_at_the_letter_once() -> None:
    fact = {"subject": "geography", "relation": "the capital of", "item": "France", "answer": "Paris", "also": "Paname"}
    wanted = {"fact": fact, "letter": "B"}
    text = "Question: What is the capital of France?\nA) Rome\nB) Paris\nC) Oslo\nD) Bern\nAnswer: B"
    assert find_fault("multiple-choice", wanted, text) is None
    assert find_fault("multiple-choice", {**wanted, "letter": "C"}, text) == "another letter"
    assert find_fault("multiple-choice", wanted, text.replace("Oslo", "Rome")) == "options repeat"
    assert find_fault("multiple-choice", wanted, text.replace("Oslo", "Paname")) == "a second right option"
    assert find_fault("multiple-choice", wanted, text.replace("France", "Spain")) == "question does not name the item"
    swapped = text.replace("A) Rome\nB) Paris", "A) Paris\nB) Rome")
    assert find_fault("multiple-choice", wanted, swapped) == "the option at the letter is not the answer"


@given(seed=st.integers(0, 2**32))
def test_drills_copy_their_list_or_hold_only_true_equations(seed: int) -> None:
    prompt, text = drills.make_drill(Random(seed))
    assert drills.make_drill(Random(seed)) == (prompt, text)
    if prompt != "Do some sums.":
        assert prompt == f"Say again: {text}" and text.count("; ") >= 3
        return
    for equation in text.removesuffix(".").split(". "):
        left, _, right = equation.replace("×", "*").replace("÷", "/").partition(" = ")
        assert eval(left) == int(right)


@given(left=st.integers(1, 999), right=st.integers(1, 999), op=st.sampled_from("+-×÷"))
def test_worked_equations_are_true_and_lead_to_the_result(left: int, right: int, op: str) -> None:
    if op == "-":
        left += right
    if op == "×":
        right = right % 9 + 1
    if op == "÷":
        right = right % 9 + 1
        left *= right
    step = Step(op, left, right)
    for equation in [*work_equations(step), step.equation]:
        expression, _, result = equation.replace("×", "*").replace("÷", "//").partition(" = ")
        assert eval(expression) == int(result)
    assert sum(split_places(left)) == left


def test_facts_are_wide_unique_and_their_wrong_options_are_wrong() -> None:
    with (DATA / "facts.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["subject", "relation", "item", "answer", "also"]
    assert len(rows) >= 600 and len({row["relation"] for row in rows}) >= 15
    assert max(Counter((row["relation"], row["item"]) for row in rows).values()) == 1
    for number, row in enumerate(rows):
        assert all(row[key] and row[key] == row[key].strip() for key in ("subject", "relation", "item", "answer"))
        wrong = facts.draw_distractors(Random(number), row)
        assert len(set(wrong)) == 3
        assert not {row["answer"], *row["also"].split("|")} & set(wrong)


def test_facts_that_can_be_computed_are_true() -> None:
    by_relation: dict[str, dict[str, str]] = {}
    for fact in facts.load_facts():
        by_relation.setdefault(fact.relation, {})[fact.item] = fact.answer
    for before, after in (("the month before", "the month after"), ("the day before", "the day after")):
        assert {answer: item for item, answer in by_relation[before].items()} == by_relation[after]
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
    for item, numeral in by_relation["the Roman numeral for"].items():
        digits = [values[letter] for letter in numeral] + [0]
        assert sum(-d if d < after else d for d, after in pairwise(digits)) == int(item)
    opposites = by_relation["the opposite of"]
    assert all(opposites[answer] == item for item, answer in opposites.items() if answer in opposites)


def test_shipped_lists_are_the_grammars_own() -> None:
    assert (DATA / "topics.txt").read_text(encoding="utf-8").split("\n")[:-1] == list(TOPICS)
    assert (DATA / "products.txt").read_text(encoding="utf-8").split("\n")[:-1] == list(PRODUCT_KINDS)
    assert len(TOPICS) >= 40 and len(PRODUCT_KINDS) >= 40
    assert [singular(word) for word in ("boxes", "puppies", "picture books", "vases")] == [
        "box",
        "puppy",
        "picture book",
        "vase",
    ]
    assert all(sum(weight for _, weight in pairs) for pairs in messages.RATINGS.values())


def test_evaluation_counts_right_wrong_known_and_distinct_texts() -> None:
    def write(prompts: list[str], n: int, temperature: float, max_tokens: int, seed: int) -> list[list[str]]:
        answers = {}
        for i in range(400):
            rng = Random(f"evaluation/0/multiple-choice/{i}")
            variables: dict[str, Any] = facts.draw_variables(rng)
            answers[samples.render_prompt("multiple-choice", variables)] = facts.write_question(rng, **variables)
        return [[answers[p], "nonsense", "nonsense", "nonsense"][:n] for p in prompts]

    record = {"chunk": 10, "stretches": [{"seed": 1, "first_chunk": 2, "chunks": 1, "shares": [0, 0, 1]}]}
    known = rebuild_training_hashes(record)
    read = [samples.make_sample(1, index, shares=(0, 0, 1)) for index in range(20, 30)]
    assert {sample.job for sample in read} == {"multiple-choice"}
    assert known == {hash_text(sample.completion) for sample in read} and len(known) == 10
    known.add(hash_text("nonsense"))
    report = evaluate(write, prompts=40, known=known, jobs=["multiple-choice"])["multiple-choice"]
    assert report["single"]["share"] == 1 and report["best_of_4"]["share"] == 1
    assert report["all_candidates"]["share"] == 0.25 and report["verbatim"]["share"] == 0.75
    assert report["distinct"] <= 41 / 160 and report["faults"] == {"form": 120}
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)


def test_checkpoint_is_small_whole_and_a_standard_llama() -> None:
    files = {path.name: path.stat().st_size for path in CHECKPOINT.iterdir()}
    assert sum(files.values()) <= 12 * 2**20
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "README.md",
    } <= set(files)
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    assert (
        config["architectures"] == ["LlamaForCausalLM"]
        and config["tie_word_embeddings"]
        and config["head_dim"] % 8 == 0
    )
    from safetensors.numpy import load_file

    weights = load_file(CHECKPOINT / "model.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"float16"}
    assert 1_200_000 <= sum(value.size for value in weights.values()) <= 1_800_000
    assert weights["model.embed_tokens.weight"].shape == (config["vocab_size"], config["hidden_size"])


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80))
def test_tokenizer_round_trips_any_text_and_keeps_digits_single(text: str) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text
    number = tokenizer.encode("It has 4071 + 9 = 4080 pens").tokens
    assert [token for token in number if any(c.isdigit() for c in token)] == list("407194080")


def test_chat_template_is_the_same_in_transformers_and_jinja() -> None:
    transformers = pytest.importorskip("transformers", reason="an optional extra")
    tokenizer = transformers.AutoTokenizer.from_pretrained(CHECKPOINT)
    source = json.loads((CHECKPOINT / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    chat = [
        {"role": "system", "content": "Be short.\n"},
        {"role": "user", "content": samples.make_sample(1, 1).prompt + "\n"},
        {"role": "assistant", "content": "Well: 3 × 4 = 12"},
        {"role": "user", "content": " again "},
    ]
    for messages_, more in ((chat, True), (chat[1:2], True), (chat[:3], False)):
        plain = jinja2.Environment().from_string(source).render(messages=messages_, add_generation_prompt=more)
        assert plain == tokenizer.apply_chat_template(messages_, tokenize=False, add_generation_prompt=more)
        ids = tokenizer.apply_chat_template(messages_, add_generation_prompt=more, return_dict=False)
        assert tokenizer.decode(ids) == plain
    assert plain.startswith("<|begin|><|system|>Be short.<|end|><|user|>Write")
    assert (
        tokenizer.eos_token_id == json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
    )
