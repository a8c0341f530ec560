"""Decontamination without a model: rows of data that resemble rows of a benchmark, found by a cascade of layers."""

from __future__ import annotations

from factory.decontamination.building import build_index
from factory.decontamination.cascade import Cascade
from factory.decontamination.index import BenchmarkIndex
from factory.decontamination.storing import is_index, open_index, read_manifest, save_index
from factory.decontamination.types import LAYERS, RATES, SCHEME, Hit, TestRow, TestSet

__all__ = [
    "LAYERS",
    "RATES",
    "SCHEME",
    "BenchmarkIndex",
    "Cascade",
    "Hit",
    "TestRow",
    "TestSet",
    "build_index",
    "is_index",
    "open_index",
    "read_manifest",
    "save_index",
]
