"""Filters that ask models while a row is made, and filters that flag rows: through whole runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
from measuring_server import MeasuringServer
from support import parquet_hashes, write_recipe

import factory
from factory import registry
from factory.errors import RecipeError
from factory.filters import Drop, Item
from factory.scorers import Context
from factory.types import Flag, Message
from factory.vectors import decode


class Short:
    """Drops texts whose embedding is short, and flags what an owl is told of."""

    flags = True

    def __init__(self, *, model: str, least: float = 0.0):
        self.tasks: Mapping[str, Any] = {model: "embed"}
        self._model, self._least = model, least
        self.facts = {"least": least}
        self.seen: list[int] = []

    async def prepare(self, item: Item, context: Context) -> float | str:
        stored = await context.ask(self._model, (Message("user", item.fields["text"]),), index=item.index, task="embed")
        if stored.response is None:
            return f"{stored.outcome}: {stored.message}"
        return float(decode(stored.response.choices[0].text).sum())

    def check(self, item: Item) -> Drop | Flag | None:
        if isinstance(item.prepared, str):
            return Drop("filter", item.prepared)
        if item.prepared < self._least:
            return Drop("filter", f"its vector sums to {item.prepared:.3f}")
        return Flag("filter", "an owl", "owls") if "owl" in item.fields["text"] else None

    def add(self, item: Item) -> None:
        assert item.prepared is not None
        self.seen.append(item.row)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    registry.filter("short")(Short)


@pytest.fixture
def server() -> Iterator[MeasuringServer]:
    with MeasuringServer() as running:
        yield running


def recipe(tmp_path: Path, server: MeasuringServer, **changes: Any) -> Path:
    models = {"writer": {"backend": "echo"}, "embedder": server.model()}
    return write_recipe(tmp_path, **{"models": models, "filter": [{"short": {"model": "embedder"}}], **changes})


def test_a_filter_asks_once_and_a_second_run_asks_nobody(tmp_path: Path, server: MeasuringServer) -> None:
    result = factory.run(recipe(tmp_path, server), out=tmp_path / "run")
    asked = len(server.asked("/v1/embeddings"))
    assert asked == result.summary["planned"] == 20
    before = parquet_hashes(tmp_path / "run")
    again = factory.run(recipe(tmp_path, server), out=tmp_path / "run")
    assert len(server.asked("/v1/embeddings")) == asked and again.summary["calls"] == 0
    assert parquet_hashes(tmp_path / "run") == before
    ledger = {(line["purpose"], line["row"]) for line in result.ledger()}
    assert {("score", row) for row in range(20)} <= ledger


def test_only_what_may_be_offered_is_asked_about(tmp_path: Path, server: MeasuringServer) -> None:
    three = {"generate": {"model": "writer", "candidates": 3}, "prompt": "{{ animal }} {{ number }}"}
    models = {
        "writer": {"backend": "embedded", "model": "tiny", "temperature": 1.5, "max_tokens": 12},
        "embedder": server.model(),
    }

    def questions(name: str, **changes: Any) -> set[int]:
        path = recipe(tmp_path, server, models=models, rows=4, **three, **changes)
        lines = factory.run(path, out=tmp_path / name).ledger()
        return set(Counter(line["row"] for line in lines if line["purpose"] == "score").values())

    assert questions("one") == {1}
    assert max(questions("more", keep={"fallback": True})) == 3


def test_flags_stay_with_their_row(tmp_path: Path, server: MeasuringServer) -> None:
    result = factory.run(recipe(tmp_path, server), out=tmp_path / "run")
    rows = datasets.load_dataset(str(tmp_path / "run" / "dataset"), cache_dir=str(tmp_path / "cache"))["train"]
    owls = [row for row in rows if "owl" in row["text"]]
    assert owls and len(owls) < len(rows)
    for row in rows:
        told = row["meta"]["flags"]
        assert (told is not None) == ("owl" in row["text"])
    assert json.loads(owls[0]["meta"]["flags"]) == [{"stage": "filter", "reason": "an owl", "matched": "owls"}]
    assert result.summary["flagged"] == {"filter": len(owls)}
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert f"**{len(owls)} accepted rows are flagged** at stage `filter`" in card and "- `short` least: 0.0" in card


def test_without_such_a_filter_meta_has_no_flags(tmp_path: Path) -> None:
    result = factory.run(write_recipe(tmp_path), out=tmp_path / "run")
    assert "flags" not in result.dataset()["train"].features["meta"]
    assert "flagged" not in result.summary


def test_what_the_filter_found_decides(tmp_path: Path, server: MeasuringServer) -> None:
    strict = [{"short": {"model": "embedder", "least": 1e9}}]
    with pytest.raises(factory.FactoryError, match="all 20 planned rows"):
        factory.run(recipe(tmp_path, server, filter=strict, max_planned=20), out=tmp_path / "run")


def test_a_budget_knows_of_what_filters_ask(tmp_path: Path, server: MeasuringServer) -> None:
    embedder = server.model(price={"input": 1000, "output": 0})
    models = {"writer": {"backend": "echo", "max_tokens": 20}, "embedder": embedder}
    path = recipe(tmp_path, server, models=models, budget={"usd": 1.5})
    with pytest.raises(factory.FactoryError) as caught:
        factory.run(path, out=tmp_path / "run")
    assert "budget" in str(caught.value)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert 0 < manifest["ledger"]["cost_usd"] <= 1.5


def test_a_model_that_is_not_there_or_cannot(tmp_path: Path, server: MeasuringServer) -> None:
    with pytest.raises(RecipeError, match="`embedde`") as caught:
        factory.run(recipe(tmp_path, server, filter=[{"short": {"model": "embedde"}}]), out=tmp_path / "run")
    assert "embedder" in str(caught.value)
    with pytest.raises(RecipeError, match="cannot embed a text, which the filter `short` needs"):
        factory.run(recipe(tmp_path, server, filter=[{"short": {"model": "writer"}}]), out=tmp_path / "run")
