"""Batch jobs: a model's requests as files that a server works through within a day, each submitted once."""

from factory.batch_jobs.courier import Courier
from factory.batch_jobs.joining import (
    BATCH_ROWS,
    couriers_of,
    join,
    open_courier,
    settle_left,
    stand_down,
    stop,
    take_over,
)
from factory.batch_jobs.record import show_batches

__all__ = [
    "BATCH_ROWS",
    "Courier",
    "couriers_of",
    "join",
    "open_courier",
    "settle_left",
    "show_batches",
    "stand_down",
    "stop",
    "take_over",
]
