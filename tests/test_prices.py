"""Prices: exact, from the recipe or genai-prices' own tables, and unknown rather than wrong."""

from __future__ import annotations

import math
import socket
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import genai_prices
import pytest
from genai_prices import data_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from genai_prices.types import Tier as PriceTier
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.prices import LOCAL, PriceTable, Tier, cost, price_for, unknown_price, upper_bound
from factory.recipe.models import ModelConfig, Price
from factory.types import Usage

NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
BASES = {
    "openai": "https://api.openai.com/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together": "https://api.together.xyz/v1",
    "groq": "https://api.groq.com/openai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "x-ai": "https://api.x.ai/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "huggingface_together": "https://router.huggingface.co/together/v1",
}


def model(name: str = "gpt-5-mini", url: str | None = None, **changes: Any) -> ModelConfig:
    return ModelConfig(backend="openai", model=name, base_url=url, **changes)


def table(name: str = "gpt-5-mini", url: str | None = None, **changes: Any) -> PriceTable:
    return price_for(model(name, url, **changes), local=False, at=NOON)


def test_a_known_price_is_read_from_the_tables() -> None:
    price = table()
    assert price == table(url="https://api.openai.com/v1")
    assert (price.input, price.output, price.cached_input, price.source) == (250, 2000, 25, "genai-prices")
    assert cost(price, Usage(1000, 100, cached_tokens=400)) == 600 * 250 + 400 * 25 + 100 * 2000


def _plain(info: Any) -> bool:
    """No hourly price, and nothing billed but tokens of text."""
    hourly = isinstance(info.prices, list) and any(hasattr(c.constraint, "start_time") for c in info.prices)
    rates = {name for name, value in vars(info.get_prices(NOON)).items() if value is not None}
    apart = {"output_reasoning_mtok", "output_citation_mtok", "requests_kcount"}
    return not hourly and rates >= {"input_mtok", "output_mtok"} and not apart & rates


def _name(provider: Any, info: Any) -> str | None:
    """A name by which the library finds this very model: its id may be shadowed, or no name at all."""
    match = info.match
    equal = [clause.equals for clause in getattr(match, "or_", [match]) if hasattr(clause, "equals")]
    return next((name for name in (info.id, *equal) if provider.find_model(name) is info), None)


def _candidates() -> list[tuple[str, str]]:
    providers = [provider for provider in data_snapshot.get_snapshot().providers if provider.id in BASES]
    plain = [(provider, info) for provider in providers for info in provider.models if _plain(info)]
    return [(provider.id, name) for provider, info in plain if (name := _name(provider, info))]


CANDIDATES = _candidates()


def _library(provider: str, name: str, prompt: int, completion: int, cached: int) -> Fraction:
    usage = genai_prices.Usage(input_tokens=prompt, output_tokens=completion, cache_read_tokens=cached)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        price = genai_prices.calc_price(usage, name, provider_id=provider, genai_request_timestamp=NOON)
    return Fraction(price.total_price)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CANDIDATES), st.integers(0, 400_000), st.integers(0, 50_000), st.floats(0, 1))
def test_costs_are_those_of_the_library(which: tuple[str, str], prompt: int, completion: int, share: float) -> None:
    provider, name = which
    cached = int(prompt * share)
    price = table(name, BASES[provider])
    assert price.source == "genai-prices", price.reason
    if price.written_input != price.input:  # long prompts count as written, which the library does not assume
        prompt, cached = min(prompt, 1023), min(cached, 1023)
    expected = _library(provider, name, prompt, completion, min(cached, prompt))
    got = cost(price, Usage(prompt, completion, cached_tokens=cached))
    assert got == math.ceil(expected * 10**9)


def test_enough_models_are_compared() -> None:
    assert len(CANDIDATES) > 100 and {provider for provider, _ in CANDIDATES} == set(BASES)


def test_every_provider_is_known_by_its_address() -> None:
    for provider, url in BASES.items():
        name = next(name for known, name in CANDIDATES if known == provider)
        assert table(name, url).source == "genai-prices"


@pytest.mark.parametrize(
    "url",
    [
        "https://llm.example.com/v1",
        "https://api.openai.com.example.com/v1",
        "https://xapi.openai.com/v1",
        "https://example.com/https://api.openai.com/v1",
        "https://example.com/x.googleapis.com/v1",
        "https://router.huggingface.co/v1",
    ],
)
def test_the_price_of_an_unknown_host_is_unknown(url: str) -> None:
    price = table("gpt-5-mini", url)
    assert price.source == "unknown" and price.unknown and price.reason
    assert cost(price, Usage(10, 10)) is None
    assert upper_bound(price, 100, 1, 100, 1) is None


def test_an_unknown_model_is_unknown() -> None:
    price = table("my-own-model-7b")
    assert price.unknown and "my-own-model-7b" in price.reason


def test_other_backends_have_no_price_of_their_own() -> None:
    price = price_for(ModelConfig(backend="strange", model="gpt-5-mini"), local=False)
    assert price.unknown and "strange" in price.reason


# Tiers, hours, caches: on tables of our own, since the library's data moves


def _prices(**rates: str | TieredPrices) -> ModelPrice:
    return ModelPrice(**{k: v if isinstance(v, TieredPrices) else Decimal(v) for k, v in rates.items()})


def _info(name: str, prices: Any, **more: Any) -> ModelInfo:
    return ModelInfo(id=name, match=ClauseEquals(name), prices=prices, **more)


def _by_length(base: str, above: str) -> TieredPrices:
    return TieredPrices(base=Decimal(base), tiers=[PriceTier(start=200_000, price=Decimal(above))])


@pytest.fixture
def own_tables() -> Iterator[None]:
    flex = PriceVariant(
        {"service_tier": "flex"}, _prices(input_mtok="0.5", output_mtok="1"), StartDateConstraint(date(2026, 6, 1))
    )
    hours = [
        ConditionalPrice(prices=_prices(input_mtok="1", output_mtok="2")),
        ConditionalPrice(TimeOfDateConstraint(time(1), time(4)), prices=_prices(input_mtok="3", output_mtok="4")),
    ]
    models = [
        _info("tiered", _prices(input_mtok="1", output_mtok="2"), price_variants=[flex]),
        _info("long", _prices(input_mtok=_by_length("1", "2"), output_mtok=_by_length("4", "6"))),
        _info("hourly", hours),
        _info("written", _prices(input_mtok="2", output_mtok="8", cache_read_mtok="0.2", cache_write_mtok="2.5")),
        _info("asked", _prices(input_mtok="1", output_mtok="1", requests_kcount="12")),
        _info("cited", _prices(input_mtok="1", output_mtok="1", output_citation_mtok="2")),
        _info("searching", _prices(input_mtok="1", output_mtok="1", web_searches_kcount="10")),
        _info("embedding", _prices(input_mtok="1")),
    ]
    providers = [
        Provider("openai", "OpenAI", r"https://api\.openai\.com", models=models),
        Provider("other", "Other", r"https://api\.other\.com", models=models),
    ]
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers, from_auto_update=False))
    yield
    data_snapshot.set_custom_snapshot(None)


@pytest.mark.usefixtures("own_tables")
def test_the_price_of_an_unknown_tier_is_unknown() -> None:
    assert table("tiered", extra_body={"service_tier": "flex"}).input == 500
    standard = table("tiered")
    assert standard.input == 1000
    for tier in ("default", "auto"):
        assert table("tiered", extra_body={"service_tier": tier}) == standard
    price = table("tiered", extra_body={"service_tier": "super"})
    assert price.unknown and "super" in price.reason
    usage = genai_prices.Usage(input_tokens=1000)
    full = genai_prices.calc_price(usage, "tiered", provider_id="openai", price_context={"service_tier": "super"})
    assert full.total_price == Decimal("0.001"), "the library gives the full price for a tier it does not know"
    assert table("long", extra_body={"speed": "warp"}).unknown


@pytest.mark.usefixtures("own_tables")
def test_a_tier_before_its_price_was_known_is_unknown() -> None:
    flex = model("tiered", extra_body={"service_tier": "flex"})
    assert price_for(flex, local=False, at=datetime(2026, 1, 1, tzinfo=UTC)).unknown


@pytest.mark.usefixtures("own_tables")
def test_long_prompts_have_their_own_rates() -> None:
    price = table("long")
    assert [tier.above for tier in price.tiers] == [200_000]
    assert cost(price, Usage(200_000, 1)) == 200_000 * 1000 + 4000
    assert cost(price, Usage(200_001, 1)) == 200_001 * 2000 + 6000
    bound = upper_bound(price, 199_990, 1, 10, 1)
    assert bound is not None and bound >= 200_001 * 2000 + 10 * 6000


@pytest.mark.usefixtures("own_tables")
def test_the_dearest_hour_counts() -> None:
    found = [price_for(model("hourly"), local=False, at=NOON.replace(hour=hour)) for hour in (2, 15)]
    assert found[0] == found[1] and (found[0].input, found[0].output) == (3000, 4000)


@pytest.mark.usefixtures("own_tables")
def test_a_cache_that_is_written_unasked_is_paid() -> None:
    price = table("written")
    assert (price.input, price.written_input) == (2000, 2500)
    assert cost(price, Usage(1000, 0)) == 1000 * 2000, "too short to be cached"
    assert cost(price, Usage(2000, 0, cached_tokens=500)) == 1500 * 2500 + 500 * 200
    elsewhere = table("written", "https://api.other.com/v1")
    assert cost(elsewhere, Usage(2000, 0)) == 2000 * 2000, "there a request has to ask for it"


@pytest.mark.usefixtures("own_tables")
def test_what_is_billed_besides_tokens() -> None:
    assert cost(table("asked"), Usage(0, 0)) == 12_000_000
    assert table("cited").unknown
    assert not table("searching").unknown
    assert table("searching", extra_body={"web_search_options": {}}).unknown
    assert table("embedding").unknown


# The recipe, and what is local


def test_the_recipes_price_comes_first() -> None:
    price = Price(input=0.1, output=0.3)
    for local in (True, False):
        for url in (None, "http://localhost:8000/v1", "https://llm.example.com/v1"):
            got = price_for(model("x", url, price=price), local=local)
            assert (got.input, got.output, got.cached_input, got.source) == (100, 300, None, "recipe")
    assert cost(got, Usage(10, 1, cached_tokens=5)) == 1300
    cached = price_for(model("x", price=Price(input=1, output=1, cached_input=0.25)), local=False)
    assert cost(cached, Usage(10, 0, cached_tokens=4)) == 6 * 1000 + 4 * 250


@pytest.mark.parametrize("url", ["http://10.0.0.3/v1", "http://vllm:8000/v1"])
def test_a_server_in_a_private_network_may_be_a_gateway_that_bills(url: str) -> None:
    assert table("gpt-5-mini", url).unknown


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "http://[::1]:1/v1", "http://127.0.0.1:8000/v1"])
def test_servers_of_ones_own_cost_nothing_and_say_so(url: str) -> None:
    assert table("gpt-5-mini", url) is LOCAL
    assert LOCAL.source == "local" and cost(LOCAL, Usage(10**9, 10**9)) == 0
    assert upper_bound(LOCAL, 10**6, 5, None, 4) == 0, "without max_tokens too"


def test_local_backends_cost_nothing() -> None:
    assert price_for(ModelConfig(backend="embedded", model="tiny"), local=True) is LOCAL


# Arithmetic


def test_decimals_are_exact_and_every_response_is_rounded_up() -> None:
    price = price_for(model("x", price=Price(input=0.0001, output=1e-7)), local=False)
    assert (price.input, price.output) == (Fraction(1, 10), Fraction(1, 10_000))
    assert cost(price, Usage(10, 0)) == 1
    assert cost(price, Usage(11, 0)) == 2
    assert cost(price, Usage(0, 1)) == 1
    assert cost(price, Usage(0, 0)) == 0


rates = st.integers(0, 10**5) | st.fractions(0, 10**5)


@given(rates, rates, rates, st.lists(st.tuples(st.integers(0, 50_000), rates, rates), max_size=3), st.data())
def test_the_bound_holds_for_every_answer(
    one: Fraction, two: Fraction, cached: Fraction, steps: list[tuple[int, Fraction, Fraction]], data: st.DataObject
) -> None:
    tiers = tuple(Tier(above, i, o, i, i) for above, i, o in sorted(steps, key=lambda step: step[0]))
    price = PriceTable(one, two, cached, "recipe", written_input=one * 2, tiers=tiers)
    size, messages, limit, n = (
        data.draw(st.integers(low, high)) for low, high in ((0, 60_000), (1, 5), (1, 500), (1, 4))
    )
    bound = upper_bound(price, size, messages, limit, n)
    prompt = data.draw(st.integers(0, size + 16 * messages))
    usage = Usage(prompt, data.draw(st.integers(0, n * limit)), cached_tokens=data.draw(st.integers(0, prompt)))
    spent = cost(price, usage)
    assert bound is not None and spent is not None and 0 <= spent <= bound


def test_without_max_tokens_there_is_no_bound() -> None:
    assert upper_bound(table(), 100, 1, None, 1) is None
    assert upper_bound(unknown_price("why"), 100, 1, 5, 1) is None


def test_no_network_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = threading.active_count()
    data_snapshot._bundled_snapshot.cache_clear()
    assert not table().unknown
    assert threading.active_count() == before
