"""The filter `dedup`: its options; whole runs with it, against other data, resumed, extended, at any concurrency."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import parquet_hashes, write_recipe

import factory
from factory import registry
from factory.errors import BadRequest, RecipeError, TargetNotReached, UsageError
from factory.filters import Drop, Item, NamedFilter, compile_filters, prepared_for
from factory.minhash import banding, fingerprint
from factory.minhash.stored import StoredIndex
from factory.recipe import PluginConfig
from factory.types import Choice, Message, Request, Response, Usage
from factory.vectors import encode

COLUMNS = ("question", "answer", "label")
SCOPE = {"topic", "row"}
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
ASKED = "How do I reset the password of my account when the old one is lost?"
TURNED = "When the old one is lost, how do I reset the password of my account?"


def made(base: Path | None = None, **options: Any) -> NamedFilter:
    spec = PluginConfig.model_validate({"dedup": options})
    roles = ("writer", "embedder")
    (one,) = compile_filters(
        [spec], COLUMNS, output=COLUMNS[:2], scope=SCOPE, base=base, models=dict.fromkeys(roles, "m")
    )
    return one


def item(row: int, question: Any = "", answer: Any = "", label: str = "", prepared: Any = None, **scope: Any) -> Item:
    return Item(row, 0, {"question": question, "answer": answer, "label": label}, {"row": row, **scope}, prepared)


def offer(one: NamedFilter, *items: Item) -> list[Drop | None]:
    drops: list[Drop | None] = []
    for given in items:
        drop = one.check(given)
        assert drop is None or isinstance(drop, Drop)
        if drop is None:
            one.add(given)
        drops.append(drop)
    return drops


def fault(base: Path | None = None, **options: Any) -> str:
    with pytest.raises(RecipeError) as raised:
        made(base, **options)
    (place,) = raised.value.places
    return str(place)


def write_rows(path: Path, rows: list[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_paraphrase_is_told_with_its_similarity() -> None:
    items = [item(3, ASKED), item(4, TURNED), item(5, ASKED.upper()), item(6, "Which bank is open on Sunday?")]
    drops = offer(made(by="characters"), *items)
    assert drops[0] is drops[3] is None
    assert drops[1] is not None and drops[1].stage == "dedup" and drops[1].matched == "3"
    assert drops[1].reason.startswith("paraphrase of row 3 (similarity 0.9")
    assert drops[2] == Drop("dedup", "same text as row 3", "3")
    assert offer(made(), *items)[1] is None  # hardly a 5-gram in common
    assert offer(made(by="characters", threshold=0.999), *items)[1] is None


def test_rows_are_compared_within_a_column_an_axis_or_a_template() -> None:
    rows = [item(row, LONG, label=label, topic=topic) for row, (label, topic) in enumerate(["ax", "bx", "ay", "ax"])]
    assert [drop and drop.matched for drop in offer(made(within="label"), *rows)] == [None, None, "0", "0"]
    assert [drop and drop.matched for drop in offer(made(within="topic"), *rows)] == [None, "0", None, "0"]
    both = offer(made(within="{{ label }}/{{ topic }}"), *rows)
    assert [drop and drop.matched for drop in both] == [None, None, None, "0"]


def test_a_conversation_counts_by_what_is_said() -> None:
    messages = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "Yes, that is how one counts."}]
    shared = [{"from": "human", "value": LONG}, {"from": "gpt", "value": "yes, that is how one counts."}]
    other = [{"role": "user", "content": "Something else, which nobody here has asked before at all."}]
    drops = offer(made(on="question"), item(0, messages), item(1, shared), item(2, other))
    assert drops == [None, Drop("dedup", "same text as row 0", "0"), None]


def test_against_files_from_the_recipes_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "known.jsonl", [{"question": "x", "answer": "y"}, {"question": LONG, "answer": ""}])
    write_rows(tmp_path / "texts.jsonl", [{"body": ASKED, "id": 1}])  # its only text is compared
    one = made(tmp_path, on="question", against=["data/known.jsonl", "texts.jsonl"])
    drops = offer(one, item(0, LONG.upper()), item(1, LONG + " and"), item(2, ASKED), item(3, TURNED), item(4, TURNED))
    assert drops == [
        Drop("dedup", "same text as row 1 of data/known.jsonl", "data/known.jsonl:1"),
        Drop("dedup", "near-duplicate of row 1 of data/known.jsonl (similarity 0.92)", "data/known.jsonl:1"),
        Drop("dedup", "same text as row 0 of texts.jsonl", "texts.jsonl:0"),
        None,
        Drop("dedup", "same text as row 3", "3"),
    ]
    told = one.facts["against"]
    assert [(source["name"], source["rows"]) for source in told] == [("data/known.jsonl", 2), ("texts.jsonl", 1)]
    assert made(tmp_path, against="texts.jsonl").facts["against"] == [{"name": "texts.jsonl"}]  # not read yet


def test_against_an_index(tmp_path: Path) -> None:
    bands, size = banding(0.8)
    with StoredIndex.create(tmp_path / "index") as index:
        index.append(fingerprint([ASKED, LONG], bands=bands, size=size, signatures=True), [40, 41])
    drops = offer(made(tmp_path, on="question", against="index"), item(0, LONG), item(1, "new"), item(2, LONG + " and"))
    assert [drop and drop.matched for drop in drops] == ["index:41", None, "index:41"]
    assert "does not know the scopes" in fault(tmp_path, against="index", within="label")
    assert "knows nothing of characters" in fault(tmp_path, against="index", by="characters")
    assert "0.8" in fault(tmp_path, against="index", threshold=0.5)


def test_within_holds_for_references_too(tmp_path: Path) -> None:
    write_rows(tmp_path / "known.jsonl", [{"question": LONG, "answer": "", "label": "a"}])
    one = made(tmp_path, within="label", against="known.jsonl")
    drops = offer(one, item(0, LONG, label="b"), item(1, LONG, label="a"))
    assert [drop and drop.matched for drop in drops] == [None, "known.jsonl:0"]
    write_rows(tmp_path / "known.jsonl", [{"question": LONG, "answer": "", "lable": "a"}])
    with pytest.raises(UsageError, match=r"`known.jsonl`, row 0: `within` names `label`.*"):
        made(tmp_path, within="label", against="known.jsonl").check(item(0, LONG, label="b"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"by": "charcters"}, "characters"),
        ({"by": "embeddings"}, "`by: embeddings` without `model`"),
        ({"model": "embedder"}, "`model` is for `by: embeddings`, and `by` is `shingles`"),
        ({"by": "embeddings", "model": "embeder"}, "asks the model `embeder`, which `models` does not have"),
        ({"threshold": 8.0}, "the threshold is 8.0, outside 0.1 … 1"),
        ({"by": "characters", "threshold": 0.0}, "the threshold is 0.0, outside 0.1 … 1 (0.7 is the default)"),
        ({"on": "questions"}, "did you mean `question`?"),
        ({"within": "lable"}, "`within` names `lable`, which is neither a column nor an axis (did you mean `label`?)"),
        ({"within": " "}, "`within` is empty"),
        ({"within": "{{ topik }}"}, "`within` names `topik`, which is undefined (did you mean `topic`?)"),
        ({"against": ""}, "an entry of `against` is empty"),
        ({"against": "known.json"}, "did you mean `known.jsonl`"),
        ({"against": ["known.jsonl"], "on": "label"}, "text columns: question, answer"),
        ({"against": ["numbers.jsonl"], "on": "question"}, "holds numbers (int64), no text"),
        ({"against": ["empty.jsonl"]}, "the file is empty"),
        ({"against": ["broken.jsonl"]}, "line 2"),
        ({"against": ["halted"]}, "a run without a dataset"),
        (
            {"against": ["known.jsonl"], "by": "embeddings", "model": "embedder"},
            "`known.jsonl` has no column `embedding`, which its rows are compared by",
        ),
    ],
)
def test_faults(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    write_rows(tmp_path / "known.jsonl", [{"question": "a", "answer": "b"}])
    write_rows(tmp_path / "numbers.jsonl", [{"question": 1, "answer": "b"}])
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "broken.jsonl").write_text('{"question": "a"}\n{"question"\n')
    (tmp_path / "halted").mkdir()
    (tmp_path / "halted" / "manifest.json").write_text("{}")
    assert told in fault(tmp_path, **options)


class Asked:
    """What `prepare` sees of a row."""

    def __init__(self, vectors: Mapping[str, list[float] | str]):
        self.vectors = vectors

    async def ask(self, role: str, messages: tuple[Message, ...], *, index: int, task: str) -> Any:
        assert (role, task) == ("embedder", "embed")
        found = self.vectors[messages[0].content.strip()]

        class Stored:
            outcome, message = "context_too_long", found if isinstance(found, str) else ""
            response = None if isinstance(found, str) else Response((Choice(encode(found), "stop"),), Usage(), "m")

        return Stored()


def embedded(one: NamedFilter, items: list[Item], vectors: Mapping[str, list[float] | str]) -> list[Item]:
    """The items as they come to `check`, with what `prepare` found."""

    async def prepare() -> list[Any]:
        return [await one.prepare(given, Asked(vectors)) for given in items]  # type: ignore[arg-type]

    found = asyncio.run(prepare())
    return [prepared_for(given, 0, {(0, 0): one_found}) for given, one_found in zip(items, found, strict=True)]


def test_one_meaning_by_embeddings() -> None:
    one = made(on="question", by="embeddings", model="embedder", threshold=0.9)
    vectors: dict[str, list[float] | str] = {
        "dog": [1, 0, 0],
        "hound": [0.95, 0.1, 0],
        "cat": [0, 1, 0],
        "DOG": [0, 0, 1],  # equal but for case: never compared by its vector
        "long": "the text is too long",
    }
    texts = ["dog", "hound", "cat", "DOG", "long", "", " "]
    items = [item(row, text) for row, text in enumerate(texts)]
    ready = embedded(one, items, vectors)
    assert offer(one, *ready) == [
        None,
        Drop("dedup", "same meaning as row 0 (similarity 0.99)", "0"),
        None,
        Drop("dedup", "same text as row 0", "0"),
        Drop("dedup", "no embedding by `embedder` (context_too_long: the text is too long)"),
        None,
        Drop("dedup", "same text as row 5", "5"),
    ]


def test_references_bring_their_embeddings(tmp_path: Path) -> None:
    rows = [{"question": "wolf", "embedding": [2.0, 0.0]}, {"question": "lion", "embedding": [0.0, 1.0]}]
    write_rows(tmp_path / "known.jsonl", rows)
    one = made(tmp_path, on="question", by="embeddings", model="embedder", against="known.jsonl")
    vectors: dict[str, list[float] | str] = {"dog": [1, 0.01], "fish": [-1, 0.2]}
    items = [item(row, text) for row, text in enumerate(vectors)]
    ready = embedded(one, items, vectors)
    assert offer(one, *ready) == [
        Drop("dedup", "same meaning as row 0 of known.jsonl (similarity 1.00)", "known.jsonl:0"),
        None,
    ]
    write_rows(
        tmp_path / "known.jsonl", [{"question": "wolf", "embedding": [1.0]}, {"question": "x", "embedding": None}]
    )
    with pytest.raises(UsageError, match="embedding"):
        made(tmp_path, on="question", by="embeddings", model="embedder", against="known.jsonl").check(ready[0])


# Whole runs


FEW = {"animal": {"choice": ["cat", "dog", "owl", "fox", "yak", "emu"]}, "day": {"integer": {"min": 1, "max": 40}}}
PROMPT = "On day {{ day }} the {{ animal }} came down to the river and drank of the cold water there, as it always did."


def recipe(directory: Path, name: str = "recipe.yaml", **changes: Any) -> Path:
    given = {"vary": FEW, "prompt": PROMPT, "filter": [{"dedup": {}}], "carry": ["animal"], "max_planned": 3000}
    return write_recipe(directory, name, **(given | changes))


def texts(result: Any) -> list[str]:
    return [row["text"] for row in result.dataset()["train"]]


def test_a_run_against_another_run_resumed_and_extended(tmp_path: Path) -> None:
    other = factory.run(recipe(tmp_path, "other.yaml", seed=2, rows=30), out=tmp_path / "other")
    known = texts(other)
    path = recipe(tmp_path, filter=[{"dedup": {"against": "other", "threshold": 1.0}}], rows=40)
    first = factory.run(path, out=tmp_path / "run")
    rows = texts(first)
    assert len(set(rows)) == len(rows) == 40 and not set(rows) & set(known)
    rejects = first.rejects()
    told = dict(zip(rejects["reason"], rejects["matched"], strict=True))
    mine = {reason: matched for reason, matched in told.items() if "of other" in reason}
    assert mine
    for reason, matched in mine.items():
        row = int(matched.removeprefix("other:"))
        assert reason == f"same text as row {row} of other"
    before = parquet_hashes(tmp_path / "run")
    assert factory.run(path, out=tmp_path / "run").summary["calls"] == 0
    assert parquet_hashes(tmp_path / "run") == before
    more = factory.run(path, out=tmp_path / "run", rows=60)
    assert texts(more)[:40] == rows and len(set(texts(more))) == 60 and not set(texts(more)) & set(known)
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert "other" in card and "near-duplicates" not in told


def test_all_rows_of_a_run_are_known_whatever_their_split(tmp_path: Path) -> None:
    changes = {"seed": 2, "rows": 60, "export": {"test_fraction": 0.4}}
    other = factory.run(recipe(tmp_path, "other.yaml", **changes), out=tmp_path / "other").dataset()
    known = [row["text"] for split in ("train", "test") for row in other[split]]
    assert len(other["test"]) > 5
    run = factory.run(
        recipe(tmp_path, filter=[{"dedup": {"against": "other", "threshold": 1.0}}]), out=tmp_path / "run"
    )
    assert not set(texts(run)) & set(known)
    for reason, matched, text in zip(*(run.rejects()[name] for name in ("reason", "matched", "text")), strict=True):
        if "of other" in reason:
            assert known[int(matched.removeprefix("other:"))] == text


def test_the_same_dataset_at_any_concurrency(tmp_path: Path) -> None:
    hashes = []
    for concurrency in (1, 64):
        models = {"writer": {"backend": "echo", "concurrency": concurrency}}
        path = recipe(
            tmp_path, f"{concurrency}.yaml", models=models, filter=[{"dedup": {"by": "characters", "threshold": 0.97}}]
        )
        result = factory.run(path, out=tmp_path / str(concurrency))
        assert any(reason.startswith("paraphrase of row") for reason in result.rejects()["reason"])
        hashes.append(parquet_hashes(tmp_path / str(concurrency)))
    assert hashes[0] == hashes[1]


def test_within_an_axis_in_a_run_and_against_a_run(tmp_path: Path) -> None:
    prompt = "The day was as long as any other day by the river, and the water was cold. {{ day }}"
    days = {"animal": FEW["animal"], "day": {"integer": {"min": 1, "max": 3}}}
    filters = [{"dedup": {"within": "animal", "threshold": 1.0}}]
    first = factory.run(recipe(tmp_path, prompt=prompt, vary=days, filter=filters, rows=18), out=tmp_path / "first")
    pairs = {(row["animal"], row["text"]) for row in first.dataset()["train"]}
    assert len(pairs) == 18 and len({text for _, text in pairs}) == 3
    # The axis is read from `meta.variation` where the column was not carried.
    bare = recipe(tmp_path, "bare.yaml", prompt=prompt, vary=days, filter=filters, rows=10, carry=None, seed=3)
    factory.run(bare, out=tmp_path / "bare")
    known = {
        (json.loads(row["meta"]["variation"])["animal"], row["text"])
        for row in factory.run(bare, out=tmp_path / "bare").dataset()["train"]
    }
    rest = recipe(
        tmp_path,
        "rest.yaml",
        prompt=prompt,
        vary=days,
        rows=8,
        filter=[{"dedup": {"within": "animal", "threshold": 1.0, "against": "bare"}}],
    )
    left = {(row["animal"], row["text"]) for row in factory.run(rest, out=tmp_path / "rest").dataset()["train"]}
    assert len(known) == 10 and left == pairs - known


class Embedder:
    """Embeds a text by its animal and a little by its day; refuses owls."""

    honours_n = False
    local = True
    structured = "prompt"
    tasks = frozenset({"embed"})
    asked: list[str] = []  # noqa: RUF012

    def __init__(self, config: Any):
        Embedder.asked = []

    async def generate(self, request: Request) -> Response:
        text = request.messages[0].content
        Embedder.asked.append(text)
        if "owl" in text:
            raise BadRequest("owls are not embedded")
        names = FEW["animal"]["choice"]
        vector = [float(name in text) for name in names]
        return Response((Choice(encode([*vector, len(text) / 1000]), "stop"),), Usage(prompt_tokens=5), "e")

    async def close(self) -> None: ...


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.backend("by-animal")(Embedder)


@pytest.mark.usefixtures("embedder")
def test_one_meaning_in_a_run(tmp_path: Path) -> None:
    models = {"writer": {"backend": "echo"}, "embedder": {"backend": "by-animal", "model": "m"}}
    filters = [{"dedup": {"by": "embeddings", "model": "embedder", "threshold": 0.95}}]
    path = recipe(tmp_path, models=models, filter=filters, rows=5)
    first = factory.run(path, out=tmp_path / "run")
    rows = first.dataset()["train"]
    assert sorted(row["animal"] for row in rows) == ["cat", "dog", "emu", "fox", "yak"]
    reasons = first.rejects()["reason"]
    refused = [reason for reason in reasons if "no embedding by `embedder`" in reason]
    assert refused and "owls are not embedded" in refused[0]
    assert any(reason.startswith("same meaning as row") for reason in reasons)
    before, asked = parquet_hashes(tmp_path / "run"), len(Embedder.asked)
    assert asked >= len(rows)
    again = factory.run(path, out=tmp_path / "run")
    assert again.summary["calls"] == 0 and parquet_hashes(tmp_path / "run") == before


class Repeating:
    """Its first candidate is the same for every row, its second one is the row's own."""

    honours_n = False
    local = True
    structured = "prompt"

    def __init__(self, config: Any):
        self.name = "r"

    async def generate(self, request: Request) -> Response:
        text = "The same words as ever, for every row." if request.index == 0 else f"{request.row} {LONG} {request.row}"
        return Response((Choice(text, "stop"),), Usage(prompt_tokens=5, completion_tokens=5), "r")

    async def close(self) -> None: ...


def test_the_next_best_candidate_replaces_a_duplicate(tmp_path: Path, embedder: None) -> None:
    registry.backend("repeating")(Repeating)

    def rows(*, fallback: bool) -> list[tuple[int, str]]:
        path = recipe(
            tmp_path,
            f"{fallback}.yaml",
            models={"writer": {"backend": "repeating", "model": "r"}},
            generate={"model": "writer", "candidates": 2},
            keep={"fallback": fallback},
            filter=[{"dedup": {"threshold": 1.0}}],
            rows=4,
            max_planned=4,
        )
        try:
            result = factory.run(path, out=tmp_path / str(fallback))
        except TargetNotReached as error:
            assert error.result is not None
            result = error.result
        told = [
            reason
            for stage, reason in zip(*map(result.rejects().__getitem__, ("stage", "reason")), strict=True)
            if stage == "dedup"
        ]
        assert told == ["same text as row 0"] * 3
        return [(row["meta"]["row"], row["text"][:4]) for row in result.dataset()["train"]]

    assert rows(fallback=False) == [(0, "The ")]
    assert rows(fallback=True) == [(0, "The "), (1, "1 on"), (2, "2 on"), (3, "3 on")]
