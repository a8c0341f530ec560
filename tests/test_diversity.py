"""Selection within a row: `keep: all`, and the order by maximal marginal relevance."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fault_server import FaultServer, Settings
from hypothesis import given, settings
from hypothesis import strategies as st
from support import factory_json, parquet_hashes, server_model, write_recipe

import factory
from factory import registry
from factory.curation import Curation
from factory.errors import FactoryError, RecipeError
from factory.recipe import Overrides, json_schema, parse_recipe
from factory.recipe.keeping import DiversityConfig
from factory.scorers import Context, text_of, traits
from factory.scoring import diversify
from factory.scoring.diversity import compare, relevance, spread_out
from factory.types import (
    Candidate,
    Choice,
    Cost,
    Message,
    Prompt,
    Request,
    Response,
    RowOutcome,
    Scored,
    Usage,
    Variation,
)
from factory.vectors import encode

VARIATION = Variation(7, {})


def scored(texts: Sequence[str], totals: Sequence[float]) -> list[Scored]:
    """Candidates in the order that `select` gives them: best first."""
    made = [
        Scored(Candidate(7, "main", index, text, "stop", 1, "m", {"text": text, "id": index}), (), total)
        for index, (text, total) in enumerate(zip(texts, totals, strict=True))
    ]
    return sorted(made, key=lambda one: (-one.total, one.candidate.index))


def order(texts: Sequence[str], totals: Sequence[float], context: Context | None = None, **options: Any) -> list[int]:
    given_context = context or Context(VARIATION, Prompt((), "sha"), {}, str)
    config = DiversityConfig(**{"on": "text", **options})
    ranked, verdicts = asyncio.run(diversify(scored(texts, totals), config, given_context))
    assert not verdicts
    return [one.candidate.index for one in ranked]


# Maximal marginal relevance


def brute_force(totals: Sequence[float], alike: Sequence[Sequence[float]], weight: float) -> list[int]:
    """The rule as it is said, each value worked out anew."""
    low, high = min(totals), max(totals)
    chosen: list[int] = []
    while len(chosen) < len(totals):
        best = None
        for k in range(len(totals)):
            if k in chosen:
                continue
            worth = 1.0 if high == low else (totals[k] - low) / (high - low)
            closest = max([alike[k][j] for j in chosen], default=0.0)
            key = (-round((1 - weight) * worth - weight * closest, 12), -totals[k], k)
            best = key if best is None else min(best, key)
        assert best is not None
        chosen.append(best[2])
    return chosen


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mmr_is_the_greedy_rule(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 7))
    grid = st.integers(0, 8).map(lambda k: k / 8)  # exact in binary, so that ties are real
    totals = data.draw(st.lists(grid, min_size=n, max_size=n))
    pairs = data.draw(st.lists(grid, min_size=n * n, max_size=n * n))
    alike = [[pairs[max(i, j) * n + min(i, j)] for j in range(n)] for i in range(n)]
    weight = data.draw(st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]))
    found = spread_out(totals, alike, weight)
    assert found == brute_force(totals, alike, weight)
    assert sorted(found) == list(range(n))
    assert found[0] == max(range(n), key=lambda k: (totals[k], -k))


def test_without_weight_it_is_the_order_by_total() -> None:
    totals = [0.2, 0.9, 0.9, 0.1]
    alike = [[1.0] * 4 for _ in totals]
    assert spread_out(totals, alike, 0.0) == [1, 2, 0, 3]
    assert spread_out(totals, alike, 1.0) == [1, 2, 0, 3]  # all are alike: the total decides


def test_float_noise_does_not_decide() -> None:
    # 0.1 + 0.2 and 0.3 are one value: the index decides, whichever way a total was reached.
    for one, other in itertools.permutations([0.1 + 0.2, 0.3]):
        assert spread_out([1.0, 0.0, 0.5, 0.5], [[0, 0, one, other], [0] * 4, [one, 0, 1, 0], [other, 0, 0, 1]], 0.5)[
            :2
        ] == [0, 2]


def test_relevance_is_scaled_within_the_row() -> None:
    assert relevance([3.0, 5.0, 4.0]) == [0.0, 1.0, 0.5]
    assert relevance([2.0, 2.0]) == [1.0, 1.0]
    assert relevance([]) == []
    assert relevance([-1.7e308, 1.7e308, 0.0]) == [0.0, 1.0, 0.5]


# What is alike


def test_similarity_of_words_and_of_characters() -> None:
    words = compare(["The cat sat", "the CAT ran", "a dog", "", "!?"], "tokens")
    assert words[0][1] == 0.5 and words[0][2] == 0.0
    assert words[3][4] == 1.0 and words[0][3] == 0.0  # neither has a word
    characters = compare(["abcde", "abcdf", "ABCDE", "abc", "", " "], "characters")
    assert characters[0][1] == pytest.approx(1 / 3)
    assert characters[0][2] == 1.0 and characters[0][3] == 0.0 and characters[4][5] == 1.0
    assert compare(["猫が好き", "猫が嫌い"], "tokens")[0][1] == pytest.approx(2 / 6)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.sampled_from(["tokens", "characters"]))
def test_similarity_is_symmetric_and_in_range(texts: list[str], by: str) -> None:
    found = compare(texts, by)
    for i, j in itertools.product(range(len(texts)), repeat=2):
        assert found[i][j] == found[j][i] and 0 <= found[i][j] <= 1
    assert all(found[i][i] == 1 for i in range(len(texts)))


def test_a_copy_waits_behind_what_is_different() -> None:
    texts = ["red green blue", "red green blue too", "one two three"]
    assert order(texts, [1.0, 0.9, 0.5], weight=0.0) == [0, 1, 2]
    assert order(texts, [1.0, 0.9, 0.5], weight=0.6) == [0, 2, 1]
    assert order(texts, [1.0, 0.9, 0.5], weight=0.6, similarity="characters") == [0, 2, 1]
    assert order(texts, [1.0, 0.9, 0.5], weight=0.6, on="id") == [0, 1, 2]  # their numbers are all different


def test_huge_texts_are_compared() -> None:
    texts = [f"word{k} " * 150_000 + "x" * 100_000 for k in range(3)]
    assert order(texts, [1.0, 1.0, 1.0]) == [0, 1, 2]


# Embeddings


@dataclass
class Answer:
    """What the journal gives."""

    response: Response | None
    outcome: str = "ok"
    message: str = ""


def embedding_context(vectors: Mapping[str, Sequence[float] | None], asked: list[tuple[str, int]]) -> Context:
    async def ask(role: str, messages: Sequence[Message], *, index: int, task: str) -> Answer:
        assert (role, task) == ("embedder", "embed")
        asked.append((messages[0].content, index))
        await asyncio.sleep(0)
        vector = vectors[messages[0].content]
        if vector is None:
            return Answer(None, "context_too_long", "too long")
        return Answer(Response((Choice(encode(vector), "stop"),), Usage(), "m"))

    return Context(VARIATION, Prompt((), "sha"), {}, str, ask)


def test_cosines_of_embeddings_order_the_row() -> None:
    vectors = {"a": [1.0, 0.0], "b": [0.9, 0.1], "c": [0.0, 1.0]}
    asked: list[tuple[str, int]] = []
    context = embedding_context(vectors, asked)
    assert order(list("abc"), [1.0, 0.9, 0.5], context, weight=0.6, model="embedder") == [0, 2, 1]
    assert sorted(asked) == [("a", 0), ("b", 1), ("c", 2)]


def test_opposite_embeddings_count_as_unlike_and_no_more() -> None:
    vectors = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [-1.0, 0.0]}
    context = embedding_context(vectors, [])
    assert order(list("abc"), [1.0, 0.6, 0.5], context, weight=0.5, model="embedder") == [0, 1, 2]


def test_a_text_that_cannot_be_embedded_is_a_reject_and_never_a_zero() -> None:
    context = embedding_context({"a": [1.0, 0.0], "b": None, "c": [0.0, 1.0]}, [])
    config = DiversityConfig(model="embedder", on="text")
    ranked, verdicts = asyncio.run(diversify(scored("abc", [1.0, 0.9, 0.5]), config, context))
    assert [one.candidate.text for one in ranked] == ["a", "c"]
    [verdict] = verdicts
    assert (verdict.stage, verdict.scored.candidate.text, verdict.scored.total) == ("select", "b", 0.9)
    assert verdict.reason == "no embedding for `keep: diversity` (context_too_long: too long)"


def test_vectors_of_different_lengths_are_told() -> None:
    context = embedding_context({"a": [1.0], "b": [1.0, 0.0], "c": [1.0]}, [])
    with pytest.raises(FactoryError, match=r"row 7: the embeddings of `embedder` cannot be compared: .*lengths"):
        order(list("abc"), [1.0, 0.9, 0.5], context, model="embedder")


def test_of_fewer_than_three_nothing_is_asked() -> None:
    assert order(["a", "b"], [0.1, 0.2], model="embedder") == [1, 0]


def test_curation_offers_in_the_order_of_diversity() -> None:
    ranked, _ = asyncio.run(
        diversify(
            scored(["red green", "red green blue", "one"], [1.0, 0.9, 0.1]),
            DiversityConfig(weight=0.8, on="text"),
            Context(VARIATION, Prompt((), "sha"), {}, str),
        )
    )
    outcome = RowOutcome(Variation(0, {}), ranked, (), Cost(), "sha")
    committed = Curation([], None, False, 2).commit(outcome)
    assert [(rank, one.candidate.text, one.total) for rank, one in committed.accepted] == [
        (0, "red green", 1.0),
        (1, "one", 0.1),
    ]
    assert committed.verdicts[-1].reason == "not among the best 2: too much like them"


# Recipes

BASE = "name: x\nprompt: hi\nmodels: {writer: echo, judge: echo}\ngenerate: {candidates: 4}\n"


def faults(text: str) -> list[str]:
    with pytest.raises(RecipeError) as raised:
        parse_recipe(text, base=Path(), file="r.yaml")
    return [str(place) for place in raised.value.places]


def test_keep_all_stands_for_the_number_of_candidates() -> None:
    for text in ("keep: all\n", "keep: {top_k: all}\n"):
        [step] = parse_recipe(BASE + text, base=Path()).step_list()
        assert (step.keep.top_k, step.keep.everything) == (4, True)
    [step] = parse_recipe(BASE + "keep: {top_k: 2, min_score: 3}\n", base=Path()).step_list()
    assert (step.keep.top_k, step.keep.everything, step.keep.min_score) == (2, False, 3)


def test_keep_all_can_give_a_row_for_each_candidate() -> None:
    assert parse_recipe(BASE + "keep: all\nrows: 40\nmax_planned: 10\n", base=Path()).rows == 40
    [told] = faults(BASE + "keep: all\nrows: 41\nmax_planned: 10\n")
    assert told == "r.yaml:7: max_planned: 10 planned rows cannot give 41 rows (at least 11, or leave it out)"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("keep: every", "r.yaml:5: keep: must be `all`, or a mapping such as {top_k: 2}, not the text `every`"),
        ("keep: {top_k: many}", "r.yaml:5: keep.top_k: must be a whole number, or `all`, not the text `many`"),
        ("keep: {top_k: 0}", "r.yaml:5: keep.top_k: must be at least 1, not 0"),
        ("keep: {top_k: 2, diversity: {weigth: 1}}", "r.yaml:5: keep.diversity.weigth: unknown key `weigth` (did you"),
        ("keep: {top_k: 2, diversity: {weight: 2}}", "r.yaml:5: keep.diversity.weight: must be at most 1, not 2"),
        ("keep: {top_k: 2, diversity: {on: texx}}", "r.yaml:5: keep.diversity.on: no output column `texx` (did you"),
        (
            "keep: {top_k: 2, diversity: {model: jugde}}",
            "r.yaml:5: keep.diversity.model: no model has the role `jugde` (did you mean `judge`?)",
        ),
        (
            "keep: {top_k: 2, diversity: {model: judge, similarity: tokens}}",
            "r.yaml:5: keep.diversity: `model` and `similarity` exclude each other",
        ),
        (
            "keep: {diversity: {}}",
            "r.yaml:5: keep.diversity: `top_k: 1` keeps the best candidate alone, so no order follows",
        ),
    ],
)
def test_faults_of_keep(more: str, expected: str) -> None:
    told = faults(BASE + more + "\n")
    assert any(one.startswith(expected) for one in told), told


def test_diversity_belongs_to_the_last_step() -> None:
    steps = (
        "name: x\nmodels: {writer: echo}\ngenerate: {candidates: 3}\nsteps:\n"
        "  - {name: a, prompt: b, keep: {top_k: 2, diversity: {}}}\n  - {name: c, prompt: d}\n"
    )
    [told] = faults(steps)
    assert told.startswith("r.yaml:5: steps.0.keep.diversity: a step before the last one keeps its best")


def test_a_fallback_gives_the_order_a_use() -> None:
    [step] = parse_recipe(BASE + "keep: {fallback: true, diversity: {weight: 0.5}}\n", base=Path()).step_list()
    assert step.keep.diversity is not None and step.keep.diversity.by == "tokens"


def test_keep_all_is_expanded_where_a_key_below_it_is_set() -> None:
    overrides = Overrides(sets=(("keep.min_score", "3"), ("keep.diversity.weight", "0.5")))
    [step] = parse_recipe(BASE + "keep: all\n", base=Path(), overrides=overrides).step_list()
    assert (step.keep.top_k, step.keep.min_score) == (4, 3)
    assert step.keep.diversity == DiversityConfig(weight=0.5)


@pytest.mark.parametrize(
    ("keep", "valid"),
    [
        ("all", True),
        ("every", False),
        ({"top_k": "all", "diversity": {"model": "judge"}}, True),
        ({"top_k": 2, "diversity": {"similarity": "characters", "weight": 1}}, True),
        ({"top_k": "most"}, False),
        ({"diversity": {"weight": 2}}, False),
    ],
)
def test_the_schema_knows_keep(keep: Any, valid: bool) -> None:
    recipe = {"name": "x", "prompt": "hi", "models": {"writer": "echo"}, "keep": keep}
    assert (not list(jsonschema.Draft202012Validator(json_schema()).iter_errors(recipe))) == valid


# Whole runs


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    yield


class Embedder:
    """Embeds a text by its length alone: even and odd ones are at right angles."""

    honours_n = False
    local = True
    structured = "prompt"
    tasks = frozenset({"embed"})
    requests: list[Request] = []  # noqa: RUF012

    def __init__(self, config: Any):
        Embedder.requests = []

    async def generate(self, request: Request) -> Response:
        assert request.task == "embed" and request.purpose == "score"
        Embedder.requests.append(request)
        odd = len(request.messages[0].content) % 2
        vector = [1.0 - odd, float(odd)]
        return Response((Choice(encode(vector), "stop"),), Usage(prompt_tokens=5), "parity")

    async def close(self) -> None: ...


def test_keep_all_keeps_every_valid_candidate(tmp_path: Path) -> None:
    with FaultServer(Settings()) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url)},
            generate={"model": "writer", "candidates": 4},
            score=[{"length": {"min_words": 20, "target_words": 30, "weight": 1}}],
            keep="all",
            rows=24,
        )
        result = factory.run(path, runs_dir=tmp_path / "runs")
    rows = result.dataset()["train"]
    rejects = result.rejects()
    assert len(rows) == 24
    assert not [one for one in rejects["reason"] if "not among the best" in one]
    by_row: dict[int, list[float]] = {}
    for row in rows:
        by_row.setdefault(row["meta"]["row"], []).append(row["meta"]["score"])
    assert any(len(scores) > 1 for scores in by_row.values())
    assert all(scores == sorted(scores, reverse=True) for scores in by_row.values())
    for index, scores in by_row.items():
        assert len(scores) + sum(one == index for one in rejects["row"]) == 4
    assert "every valid one" in (result.path / "dataset" / "README.md").read_text()
    told = factory_json("explain", result.path, min(by_row))
    assert len(told["accepted"]) == len(by_row[min(by_row)])


def test_diversity_by_a_model_is_journaled_and_replayed(tmp_path: Path, registered: None) -> None:
    registry.backend("parity")(Embedder)
    with FaultServer(Settings()) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url), "embedder": {"backend": "parity", "model": "l"}},
            generate={"model": "writer", "candidates": 5},
            score=[{"length": {"target_words": 30, "weight": 1}}],
            keep={"top_k": 2, "diversity": {"weight": 0.9, "model": "embedder"}},
            rows=8,
        )
        first = factory.run(path, runs_dir=tmp_path / "runs")
        before, asked = parquet_hashes(first.path), len(Embedder.requests)
        assert asked and all(count <= 5 for count in Counter(one.row for one in Embedder.requests).values())
        again = factory.run(path, runs_dir=tmp_path / "runs")
        plain = factory.run(
            write_recipe(
                tmp_path,
                "plain.yaml",
                models={"writer": server_model(server.url)},
                generate={"model": "writer", "candidates": 5},
                score=[{"length": {"target_words": 30, "weight": 1}}],
                keep={"top_k": 2},
                rows=8,
            ),
            runs_dir=tmp_path / "plain",
        )
    assert again.summary["calls"] == 0
    assert parquet_hashes(again.path) == before
    ledger = first.ledger().to_list()
    assert sum(line["purpose"] == "score" for line in ledger) == asked
    ranked = [(row["meta"]["row"], row["text"]) for row in first.dataset()["train"]]
    by_total = [(row["meta"]["row"], row["text"]) for row in plain.dataset()["train"]]
    assert ranked[::2] == by_total[::2]  # the best comes first either way
    assert ranked != by_total
    assert "maximal marginal relevance over embeddings" in (first.path / "dataset" / "README.md").read_text()


def test_an_embedding_that_a_scorer_asked_for_is_asked_and_counted_once(tmp_path: Path, registered: None) -> None:
    registry.backend("parity")(Embedder)

    @registry.scorer("embeds")
    @traits(expense="model", task="embed")
    async def embeds(candidate: Candidate, context: Context, *, model: str) -> float:
        messages = [Message("user", text_of(candidate, None))]
        stored = await context.ask(model, messages, index=candidate.index, task="embed")
        return float(stored.response is not None)

    with FaultServer(Settings()) as server:
        path = write_recipe(
            tmp_path,
            models={"writer": server_model(server.url), "embedder": {"backend": "parity", "model": "l"}},
            generate={"model": "writer", "candidates": 3},
            score=[{"embeds": {"model": "embedder", "weight": 1}}],
            keep={"top_k": "all", "diversity": {"model": "embedder"}},
            rows=6,
        )
        result = factory.run(path, runs_dir=tmp_path / "runs")
    paid: Counter[int] = Counter()
    for line in result.ledger().to_list():
        paid[line["row"]] += line["prompt_tokens"] or 0
    rows = result.dataset()["train"].to_list()
    assert len(rows) == 6 and all(row["meta"]["prompt_tokens"] == paid[row["meta"]["row"]] for row in rows)


def test_a_model_that_cannot_embed_is_refused_before_the_first_row(tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path,
        models={"writer": {"backend": "echo"}, "embedder": {"backend": "echo"}},
        generate={"model": "writer", "candidates": 3},
        keep={"top_k": 2, "diversity": {"model": "embedder"}},
    )
    with pytest.raises(RecipeError, match="echo cannot embed a text, which `keep: diversity` needs"):
        factory.run(path, runs_dir=tmp_path / "runs")
