"""Plugins by name: registering, looking up, options as a pydantic model, entry points."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from factory import registry
from factory.errors import MissingExtra, UsageError


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_broken", {})
    monkeypatch.setattr(registry, "_plugins_loaded", True)
    registry._config_model.cache_clear()
    yield
    registry._config_model.cache_clear()


def cites(candidate: Any, context: Any, *, at_least: int = 1, words: list[str] | None = None) -> bool:
    """True when it cites.

    More.
    """
    return True


def test_register_and_look_up() -> None:
    assert registry.scorer("cites_source")(cites) is cites
    assert registry.lookup("scorer", "cites_source") is cites
    assert "cites_source" in registry.names("scorer")
    assert "cites_source" not in registry.names("filter")
    entry = next(entry for entry in registry.entries() if entry.name == "cites_source")
    assert (entry.kind, entry.origin, entry.summary) == ("scorer", __name__, "True when it cites.")


def test_every_built_in_is_listed_once() -> None:
    for kind in registry.KINDS:
        assert registry.names(kind) == sorted(registry.BUILT_IN[kind])


@pytest.mark.parametrize("decorate", ["backend", "scorer", "filter", "auditor", "exporter"])
def test_each_decorator_registers_its_kind(decorate: str) -> None:
    getattr(registry, decorate)("mine")(cites)
    assert registry.lookup(decorate, "mine") is cites


def test_a_taken_name_is_an_error_but_the_same_definition_replaces() -> None:
    registry.register("scorer", "mine", cites)

    def other(candidate: Any, context: Any) -> bool:
        return False

    with pytest.raises(UsageError, match="already registered by"):
        registry.register("scorer", "mine", other)

    def again(module: str, qualname: str) -> Any:
        def cell(candidate: Any, context: Any, *, limit: int = 1) -> bool:
            return True

        cell.__module__, cell.__qualname__ = module, qualname
        return cell

    first, second = again("__main__", "cell"), again("__main__", "cell")
    registry.register("scorer", "cell", first)
    registry.register("scorer", "cell", second)
    assert registry.lookup("scorer", "cell") is second


def test_a_built_in_name_is_taken() -> None:
    with pytest.raises(UsageError, match="built-in"):
        registry.register("scorer", "length", cites)


@pytest.mark.parametrize("name", ["", "two words", "a/b", "a.b"])
def test_names_are_words(name: str) -> None:
    with pytest.raises(UsageError, match="no name"):
        registry.register("scorer", name, cites)


def test_only_callables_are_registered() -> None:
    with pytest.raises(UsageError, match="is a int"):
        registry.register("scorer", "five", 5)


def test_unknown_names_and_kinds_say_what_is_near() -> None:
    with pytest.raises(UsageError) as caught:
        registry.lookup("scorer", "lenght")
    assert caught.value.hint == "did you mean `length`?"
    with pytest.raises(UsageError) as caught:
        registry.lookup("scorers", "length")
    assert caught.value.hint == "did you mean `scorer`?"


def test_a_built_in_whose_module_is_broken_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN["scorer"], "gone", "factory.no_such_module:gone")
    monkeypatch.setitem(registry.BUILT_IN["scorer"], "hollow", "factory.types:gone")
    for name in ("gone", "hollow"):
        with pytest.raises(UsageError, match=f"`{name}` cannot be loaded"):
            registry.lookup("scorer", name)
    broken = [entry for entry in registry.entries() if entry.name in ("gone", "hollow")]
    assert len(broken) == 2
    assert all(entry.summary.startswith("not available") for entry in broken)


def test_options_come_from_keyword_only_parameters() -> None:
    registry.register("scorer", "mine", cites)
    model = registry.config_model("scorer", "mine")
    assert list(model.model_fields) == ["at_least", "words"]
    assert registry.options("scorer", "mine", {"words": ["a"]}) == {"at_least": 1, "words": ["a"]}
    for wrong in ({"at_least": "3"}, {"at_least": True}, {"at_least": 1.5}, {"words": [1]}, {"nonsense": 1}):
        with pytest.raises(ValidationError):
            registry.options("scorer", "mine", wrong)


def test_options_of_a_class_come_from_its_init() -> None:
    class Seen:
        """Keeps what it saw."""

        def __init__(self, *, on: str | list[str], threshold: float = 0.8, mode: Literal["a", "b"] = "a") -> None:
            self.on = on

    registry.filter("seen")(Seen)
    assert registry.options("filter", "seen", {"on": "text", "threshold": 1}) == {
        "on": "text",
        "threshold": 1.0,
        "mode": "a",
    }
    for wrong in ({}, {"on": 5}, {"on": "x", "threshold": "high"}, {"on": "x", "mode": "c"}):
        with pytest.raises(ValidationError):
            registry.options("filter", "seen", wrong)


def test_options_may_be_annotated_nested_open_and_callable_objects() -> None:
    def wide(
        candidate: Any,
        *,
        scale: tuple[int, int] = (1, 5),
        share: Annotated[float, Field(ge=0, le=1)] = 0.5,
        by: dict[str, int] | None = None,
        free=None,  # type: ignore[no-untyped-def]  # an option without a type takes anything
    ) -> float:
        return 1.0

    registry.register("scorer", "wide", wide)
    assert registry.options("scorer", "wide", {"scale": [1, 10], "free": {"x": 1}})["scale"] == (1, 10)
    for wrong in ({"scale": [1, "2"]}, {"share": 2}, {"share": True}, {"by": {"a": "1"}}):
        with pytest.raises(ValidationError):
            registry.options("scorer", "wide", wrong)

    class Callable_:
        def __call__(self, candidate: Any, *, limit: int = 3) -> bool:
            return True

    registry.register("scorer", "object", Callable_())
    assert registry.options("scorer", "object", {}) == {"limit": 3}

    def open_ended(candidate: Any, **anything: int) -> bool:
        return True

    registry.register("scorer", "open", open_ended)
    assert registry.options("scorer", "open", {"x": 1}) == {"x": 1}


def test_an_annotation_that_cannot_be_resolved_is_told() -> None:
    def lost(candidate: Any, *, what: NoSuchType = 1) -> bool:  # type: ignore[name-defined]  # noqa: F821
        return True

    registry.register("scorer", "lost", lost)
    with pytest.raises(UsageError, match=r"options of the scorer `lost` cannot be read.*NoSuchType"):
        registry.config_model("scorer", "lost")


def test_replacing_a_definition_replaces_its_options() -> None:
    def make(default: int) -> Any:
        def cell(candidate: Any, *, limit: int = default) -> bool:
            return True

        return cell

    registry.register("scorer", "cell", make(1))
    assert registry.options("scorer", "cell", {}) == {"limit": 1}
    registry.register("scorer", "cell", make(2))
    assert registry.options("scorer", "cell", {}) == {"limit": 2}


class _Point:
    def __init__(self, name: str, action: Any) -> None:
        self.name, self.value, self.action = name, f"{name}:plugin", action

    def load(self) -> Any:
        return self.action()


def test_entry_points_load_once_on_the_first_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def good() -> None:
        loads.append("good")
        registry.register("scorer", "from_plugin", cites)

    def bad() -> None:
        raise ImportError("no module named rocket")

    def clash() -> None:
        registry.register("scorer", "length", cites)

    def extra() -> None:
        raise MissingExtra("rocket", "rocket")

    points = [_Point("z_good", good), _Point("bad", bad), _Point("clash", clash), _Point("extra", extra)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == "factory.plugins" else [])
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    registry.lookup("filter", "unique")
    assert loads == [], "a built-in name needs no plugin"
    assert registry.lookup("scorer", "from_plugin") is cites
    registry.names("scorer")
    assert loads == ["good"]
    with pytest.raises(UsageError) as caught:
        registry.lookup("scorer", "nowhere_near_it")
    assert "bad (bad:plugin): ImportError: no module named rocket" in caught.value.hint
    assert "already registered (built-in)" in caught.value.hint
    told = {entry.name: entry.summary for entry in registry.entries() if entry.kind == "plugin"}
    assert len(told) == 3
    assert all(summary.startswith("failed to load") for summary in told.values())


def test_importing_the_registry_imports_nothing_heavy() -> None:
    heavy = "pydantic torch transformers datasets pandas scipy openai numpy jinja2 pyarrow"
    code = f"import sys, factory.registry; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_option_may_have_a_name_of_pydantics() -> None:
    """`schema` is an attribute of every model: without an alias pydantic warns, and the value could be lost."""

    @registry.scorer("fits")
    def fits(candidate: object, context: object, *, schema: str, copy: int = 3) -> bool:
        return bool(schema)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.options("scorer", "fits", {"schema": "a"}) == {"schema": "a", "copy": 3}
    with pytest.raises(ValidationError, match="schema"):
        registry.options("scorer", "fits", {"copy": 1})
