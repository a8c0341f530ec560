"""The batches of a run and the models of its recipe, brought together under the run's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from factory.backends import Backend
from factory.backends.addresses import base_url_of
from factory.batch_jobs.courier import Courier
from factory.batch_jobs.record import Record, Shard
from factory.batch_jobs.settling import settle_shard
from factory.calling import Calls, OpenModel
from factory.errors import UsageError
from factory.journal import Journal
from factory.prices import PriceTable
from factory.recipe import ModelConfig

BATCH_ROWS = 20_000
"""Rows in flight of a batch model, where the recipe does not say."""


def open_courier(role: str, config: ModelConfig, live: Backend, price: PriceTable) -> Courier:
    """A model's backend behind batch jobs. Raises UsageError where they are not to be had."""
    if config.backend != "openai":
        raise UsageError(
            f"models.{role}: `batch: true` needs the backend `openai`, not `{config.backend}`",
            "remove `batch`, or name a server with /files and /batches (`backend: openai` with its base_url)",
        )
    if config.api == "responses":
        raise UsageError(
            f"models.{role}: batches are sent as chat completions, not through the Responses API",
            "remove `api: responses`, or `batch: true`",
        )
    return Courier(role, config, live, price)


async def take_over(
    models: Mapping[str, OpenModel], run: Path, journal: Journal, notice: Callable[[str], None]
) -> None:
    """Journal what earlier processes have downloaded, and hand what is still under way to the models' couriers.

    Before the budget is opened, so that it knows what was spent. Raises JournalDamaged, StorageFull.
    """
    record = Record(run)
    record.clean()
    under_way: dict[str, list[Shard]] = {}
    for shard in record.shards():
        owner = _owner(models, shard)
        if owner is None:
            notice(f"batch {shard.batch_id or shard.tag} ({shard.requests:,} requests of {shard.model}) {_LEFT}")
        elif shard.state == "collected":
            if settled := await settle_shard(journal, record, shard, owner.price):
                notice(f"batch {shard.batch_id}: {settled:,} answers that were fetched before are journaled")
        elif not isinstance(owner.backend, Courier):
            notice(f"batch {shard.batch_id or shard.tag} ({shard.requests:,} requests of {shard.model}) {_LEFT}")
        else:
            under_way.setdefault(owner.role, []).append(shard)
    for role, model in models.items():
        if isinstance(model.backend, Courier):
            model.backend.attach(record, journal, notice, under_way.get(role, ()))


_LEFT = "is left as it is: no batch model of the recipe is that model at its address"


def _owner(models: Mapping[str, OpenModel], shard: Shard) -> OpenModel | None:
    """The model whose requests a shard holds; that of the same role where several are alike."""
    alike = [
        model
        for model in models.values()
        if model.config.identity_key == shard.identity
        and model.config.backend == "openai"
        and base_url_of(model.config) == shard.url
    ]
    return next((model for model in alike if model.role == shard.role), alike[0] if alike else None)


def join(calls: Calls) -> None:
    """Tell the couriers of the run that they serve."""
    couriers = couriers_of(calls.models.values())

    def busy() -> int:
        return calls.counters.in_flight - sum(courier.pending for courier in couriers)

    for courier in couriers:
        courier.join(calls, busy)


def couriers_of(models: Iterable[OpenModel]) -> list[Courier]:
    """The backends that are couriers."""
    return [model.backend for model in models if isinstance(model.backend, Courier)]


def stand_down(calls: Calls) -> None:
    """Wait for no batch any more: whoever waits gets Draining."""
    for courier in couriers_of(calls.models.values()):
        courier.stand_down()


async def settle_left(calls: Calls) -> None:
    """Journal the answers that were fetched and that no row has asked for. For the end of a run."""
    for courier in couriers_of(calls.models.values()):
        await courier.settle_left()


async def stop(models: Mapping[str, OpenModel]) -> None:
    """End the work on batches in this process, while the run's lock is held."""
    for courier in couriers_of(models.values()):
        await courier.stop()
