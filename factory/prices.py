"""What tokens cost: prices from the recipe or from `genai-prices` (its bundled tables, never its updates), exactly.

A price that is not known for sure is unknown: cost None, never a silent 0, never the price of another tier.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from factory.backends.addresses import DEFAULT_BASE_URL, host_of, is_loopback
from factory.types import NANO, Usage

if TYPE_CHECKING:
    from factory.recipe.models import ModelConfig

Source = Literal["recipe", "genai-prices", "genai-prices (batch)", "local", "unknown"]
Rate = Fraction | int
"""Nano-USD for one token."""

MESSAGE_TOKENS = 16
"""What a chat template adds to a message at most: role, separators."""
REQUEST_TOKENS = 128
"""What a server adds to a request at most: start of the answer, a default system text."""
_CACHED_FROM = 1024
"""Prompts below this many tokens are never written to a provider's cache."""
_PER_MILLION = 1000
SECONDS_PER_HOUR = 3600
_STANDARD_TIERS = frozenset({"auto", "default", "standard", "standard_only", "on_demand"})
_COUNTED = frozenset({"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "requests_kcount"})
_ALWAYS_BILLED = frozenset({"output_reasoning_mtok", "output_citation_mtok"})
_BATCH = ("processing", "batch")
"""How the tables name the price of batch jobs."""
_HALF_FOR_BATCH = frozenset({"openai", "azure"})
"""Providers that document batch jobs at half their standard price, where the tables lack a model's batch price."""
_TOOLS = ("tools", "web_search_options", "plugins", "modalities")


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of requests with more than `above` prompt tokens."""

    above: int
    input: Rate
    output: Rate
    cached_input: Rate
    written_input: Rate


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Rates of a model, in nano-USD a token. `input` None: unknown, for `reason`.

    `cached_input` None: as `input`. `written_input`: prompt tokens that the provider writes to its cache by itself.
    `request`: nano-USD for each request. `tiers`: other rates
    for long prompts, shortest first. `gpu_second`: nano-USD for each second of an accelerator.
    """

    input: Rate | None
    output: Rate | None
    cached_input: Rate | None
    source: Source
    written_input: Rate | None = None
    request: Rate = 0
    tiers: tuple[Tier, ...] = ()
    gpu_second: Rate = 0
    reason: str = ""

    @property
    def unknown(self) -> bool:
        """True when no cost can be told."""
        return self.input is None or self.output is None

    def levels(self) -> tuple[Tier, ...]:
        """All rates as tiers, the first from 0 tokens on. Only for a known price."""
        assert self.input is not None and self.output is not None
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.written_input is None else self.written_input
        return (Tier(-1, self.input, self.output, cached, written), *self.tiers)


def unknown_price(reason: str) -> PriceTable:
    """A price that nobody knows, and why."""
    return PriceTable(None, None, None, "unknown", reason=reason)


LOCAL = PriceTable(0, 0, 0, "local")


def price_for(model: ModelConfig, *, local: bool, at: datetime | None = None) -> PriceTable:
    """The price of a model at a time (default: now).

    The recipe's `price` first; then 0 for what runs here (`local`, or a loopback address); then the tables of
    genai-prices, where they know both the server's address and the model; else unknown.
    """
    if model.price is not None:
        price = model.price
        cached = None if price.cached_input is None else _from_usd(price.cached_input)
        hour = Fraction(Decimal(str(price.gpu_hour or 0.0))) * NANO
        return PriceTable(
            _from_usd(price.input), _from_usd(price.output), cached, "recipe", gpu_second=hour / SECONDS_PER_HOUR
        )
    if local or (model.base_url is not None and is_loopback(host_of(model.base_url))):
        return LOCAL
    if model.backend != "openai" and model.base_url is None:
        return unknown_price(f"nothing is known about the prices of the backend `{model.backend}`")
    return _look_up(model, at or datetime.now(UTC))


def cost(price: PriceTable, usage: Usage) -> int | None:
    """Nano-USD of one response, rounded up; None when the price is unknown.

    Where a provider charges for writing to its cache, long prompts count as written: its count is not part of Usage.
    """
    if price.unknown:
        return None
    level = next(level for level in reversed(price.levels()) if usage.prompt_tokens > level.above)
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    total = (usage.prompt_tokens - cached) * _fresh_rate(level, usage.prompt_tokens) + cached * level.cached_input
    held = price.gpu_second and Fraction(usage.gpu_seconds or 0.0) * price.gpu_second
    return math.ceil(total + usage.completion_tokens * level.output + price.request + held)


def upper_bound(price: PriceTable, prompt_bytes: int, n_messages: int, max_tokens: int | None, n: int) -> int | None:
    """Nano-USD that a request can cost at most; None when the price is unknown, by the hour, or without `max_tokens`.

    A prompt has at most as many tokens as UTF-8 bytes, and some for each message and for the request.
    """
    if price.unknown or price.gpu_second:
        return None
    prompt = prompt_bytes + MESSAGE_TOKENS * n_messages + REQUEST_TOKENS
    levels = [level for level in price.levels() if prompt > level.above]
    output = max(level.output for level in levels)
    if max_tokens is None:
        if output:
            return None
        max_tokens = 0
    dearest = max(max(_fresh_rate(level, prompt), level.cached_input) for level in levels)
    return math.ceil(prompt * dearest + n * max_tokens * output + price.request)


def _fresh_rate(level: Tier, prompt_tokens: int) -> Rate:
    """The rate of prompt tokens that no cache held."""
    return level.input if prompt_tokens < _CACHED_FROM else max(level.input, level.written_input)


def _from_usd(usd_per_million: float | Decimal) -> Fraction:
    """Nano-USD a token, exactly as the decimal number was written."""
    return Fraction(Decimal(str(usd_per_million))) * _PER_MILLION


def _look_up(model: ModelConfig, at: datetime) -> PriceTable:
    from genai_prices import data_snapshot

    url = model.base_url or DEFAULT_BASE_URL
    snapshot = data_snapshot.get_snapshot()
    provider = _provider_of(url, snapshot.providers)
    if provider is None:
        return unknown_price(f"no prices are known for {host_of(url)}")
    try:
        _, info = snapshot.find_provider_model(model.model, None, provider.id, None)
    except LookupError:
        return unknown_price(f"no price is known for {model.model} at {provider.name}")
    found = [_table_at(model, provider.id, info, moment) for moment in _moments(info, at)]
    if any(table.unknown for table in found):
        return next(table for table in found if table.unknown)
    return max(found, key=lambda table: (table.output or 0, table.input or 0))


def _provider_of(url: str, providers: list[Any]) -> Any:
    """The provider whose address this is. The whole host must match, so that a look-alike is not taken for it."""
    bare = f"https://{host_of(url)}"
    whole = bare + urlsplit(url).path
    for provider in providers:
        pattern = provider.api_pattern
        match = re.match(pattern, bare)
        if match and (match.end() == len(bare) or match.group().endswith(".")):
            return provider
        by_path = None if match or ".*" in pattern else re.match(pattern, whole)
        if by_path and by_path.group().startswith(f"{bare}/"):
            return provider
    return None


def _moments(info: Any, at: datetime) -> list[datetime]:
    """The time itself; or, where the price hangs on the hour, every hour boundary of the day: the dearest counts."""
    conditions = info.prices if isinstance(info.prices, list) else []
    edges = [c.constraint for c in conditions if hasattr(c.constraint, "start_time")]
    if not edges:
        return [at]
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return [midnight + timedelta(minutes=30 * half) for half in range(48)]


def _table_at(model: ModelConfig, provider: str, info: Any, at: datetime) -> PriceTable:
    context = {key: str(model.extra_body[key]) for key in ("service_tier", "speed") if model.extra_body.get(key)}
    context = {key: value for key, value in context.items() if value.lower() not in _STANDARD_TIERS}
    halved = False
    if model.batch:
        if _has_variant(info, *_BATCH, at):
            context |= dict([_BATCH])
        elif provider in _HALF_FOR_BATCH and not context:
            halved = True
        else:
            return unknown_price(f"no price is known for batch jobs of {model.model}")
    for key, value in context.items():
        if (key, value) != _BATCH and not _has_variant(info, key, value, at):
            return unknown_price(f"no price is known for {model.model} with {key} `{value}`")
    prices = info.get_prices(at, context) if context else info.get_prices(at)
    rates = {name: value for name, value in vars(prices).items() if value is not None}
    if "input_mtok" not in rates or "output_mtok" not in rates:
        return unknown_price(f"the price of {model.model} is not one for tokens of text")
    if apart := sorted(_ALWAYS_BILLED & rates.keys()):
        return unknown_price(f"{model.model} bills what is not counted here: {', '.join(apart)}")
    if rates.keys() - _COUNTED and (tool := next((name for name in _TOOLS if name in model.extra_body), None)):
        return unknown_price(f"{model.model} bills `{tool}` apart")
    # Only these write to their cache unasked; elsewhere a request has to ask for it, and ours never does.
    if provider not in ("openai", "azure") and not info.id.startswith("openai/"):
        rates.pop("cache_write_mtok", None)
    table = _as_table(rates)
    return _batch_table(table, Fraction(1, 2) if halved else Fraction(1)) if model.batch else table


def _batch_table(table: PriceTable, share: Fraction) -> PriceTable:
    """The rates as those of batch jobs, at this share of what they are."""

    def part(rate: Rate | None) -> Rate | None:
        return None if rate is None else rate * share

    def part_of(tier: Tier) -> Tier:
        return Tier(
            tier.above, *(rate * share for rate in (tier.input, tier.output, tier.cached_input, tier.written_input))
        )

    return replace(
        table,
        input=part(table.input),
        output=part(table.output),
        cached_input=part(table.cached_input),
        written_input=part(table.written_input),
        request=table.request * share,
        tiers=tuple(part_of(tier) for tier in table.tiers),
        source="genai-prices (batch)",
    )


def _has_variant(info: Any, key: str, value: str, at: datetime) -> bool:
    """True when the tables hold a price for this tier now: they give the standard price for tiers they do not know."""
    return any(
        variant.when.get(key) == value and (variant.constraint is None or variant.constraint.active(at))
        for variant in getattr(info, "price_variants", None) or ()
    )


def _as_table(rates: dict[str, Any]) -> PriceTable:
    """Rates of genai-prices (USD per million tokens, plain or by the prompt's length) as a PriceTable."""
    starts = sorted({tier.start for value in rates.values() for tier in getattr(value, "tiers", ())})

    def rate(name: str, above: int) -> Fraction | None:
        value = rates.get(name)
        if value is None or isinstance(value, Decimal):
            return None if value is None else _from_usd(value)
        reached = [tier.price for tier in value.tiers if tier.start <= above]
        return _from_usd(reached[-1] if reached else value.base)

    def level(above: int) -> Tier:
        input_rate, output_rate = rate("input_mtok", above), rate("output_mtok", above)
        assert input_rate is not None and output_rate is not None
        cached, written = rate("cache_read_mtok", above), rate("cache_write_mtok", above)
        return Tier(
            above,
            input_rate,
            output_rate,
            input_rate if cached is None else cached,
            input_rate if written is None else written,
        )

    base = level(-1)
    request = rates.get("requests_kcount")
    return PriceTable(
        base.input,
        base.output,
        base.cached_input,
        "genai-prices",
        written_input=base.written_input,
        request=0 if request is None else Fraction(request) * 1_000_000,
        tiers=tuple(level(start) for start in starts),
    )
