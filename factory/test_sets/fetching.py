"""Test sets from the Hub, through `datasets`. However that fails, the error says what to do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from factory.errors import UsageError
from factory.sources.tables import ArrowRows
from factory.test_sets.entries import ALL_CONFIGS
from factory.test_sets.shaping import PLACE

_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
_PARQUET = "refs/convert/parquet"
"""The branch in which the Hub keeps a copy of a dataset as Parquet files, also of those that are programs."""

Notice = Callable[[str], None]
Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch. `configs` empty: the only one; `("*",)`: all that the Hub lists. `files`: data files of the
    repository to read instead of what it declares. `columns`: those that are needed (none: all), so that pictures stay
    where they are. `name` is what the user calls it."""

    name: str
    hub: str
    configs: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("test",)
    files: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    gated: bool = False


def fetch_rows(wanted: Wanted, notice: Notice) -> list[Raw]:
    """The raw rows of a Hub dataset: of each configuration every split, in order.

    Raises UsageError: offline, out of reach, gated, no such dataset, configuration or split.
    """
    check_reachable(wanted)
    notice(f"fetching {wanted.hub} from the Hub")
    chosen: Sequence[str | None] = _list_configs(wanted) if wanted.configs == ALL_CONFIGS else wanted.configs or [None]
    rows: list[Raw] = []
    for place, config in enumerate(chosen, 1):
        if len(chosen) > 1:
            notice(f"{wanted.hub}: {config} ({place} of {len(chosen)})")
        for split in wanted.splits:
            loaded = _load(wanted, config, split)
            marks = (config if len(chosen) > 1 else "", split if len(wanted.splits) > 1 else "")
            mark = ":".join(part for part in marks if part)
            rows += [{**row, PLACE: f"{mark}:{number}"} for number, row in enumerate(loaded)] if mark else loaded
    return rows


def check_reachable(wanted: Wanted) -> None:
    """Raise UsageError where the Hub's host has no address: `datasets` would try six times, for half a minute.

    Not looked at with a proxy, nor where asking is forbidden anyway (the Hub's own cache is read then).
    """
    if offline() or getproxies().get("https"):
        return
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname or ""
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        raise UsageError(f"`{wanted.name}` is not here, and {host} cannot be reached", elsewhere(wanted.name)) from None


def offline() -> str:
    """The variable that forbids asking the Hub, '' where none does."""
    return next((name for name in _OFFLINE if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")), "")


def elsewhere(name: str) -> str:
    """What to do where the Hub cannot be reached."""
    if "/" in name:
        return (
            f"on a machine with a network: `factory benchmarks index {name}`, then copy its cache folder here "
            "(`factory benchmarks list` names it); or download its file, and give that in the place of the name"
        )
    return (
        f"on a machine with a network: `factory benchmarks index {name}`, then copy its cache folder here "
        f"(`factory benchmarks list` names it); or `factory benchmarks index {name} --from FILE` with a downloaded copy"
    )


def _list_configs(wanted: Wanted) -> list[str | None]:
    import datasets

    try:
        return [str(name) for name in datasets.get_dataset_config_names(wanted.hub)]
    except Exception as error:  # the library raises errors of half a dozen packages; each is told, none is lost
        raise _fault(wanted, error) from error


def _load(wanted: Wanted, config: str | None, split: str) -> list[Raw]:
    import datasets

    given: dict[str, Any] = {"data_files": {split: list(wanted.files)}} if wanted.files else {}
    try:
        try:
            loaded = datasets.load_dataset(wanted.hub, config, split=split, **given)
        except RuntimeError as error:
            if "script" not in str(error).lower():
                raise
            where = f"{config or 'default'}/{split}/*.parquet"
            loaded = datasets.load_dataset(wanted.hub, data_files={split: where}, split=split, revision=_PARQUET)
    except Exception as error:  # as above
        raise _fault(wanted, error) from error
    needed = [column for column in loaded.column_names if column in wanted.columns]
    loaded = loaded.select_columns(needed) if needed else loaded
    return list(ArrowRows(loaded.with_format("arrow")[:]))  # as stored, nothing decoded


def _fault(wanted: Wanted, error: Exception) -> UsageError:
    hub, kind = wanted.hub, type(error).__name__
    said = " ".join(str(error).split())
    low = said.lower()
    if word := offline():
        return UsageError(
            f"`{wanted.name}` is not here, and {word} is set: the Hub is not asked", elsewhere(wanted.name)
        )
    if "gated" in low or "401" in low or "403" in low or (wanted.gated and kind == "DatasetNotFoundError"):
        return UsageError(
            f"`{hub}` is gated: its owners ask for consent first",
            f"accept the terms at https://huggingface.co/datasets/{hub}, then set HF_TOKEN to a token of that account",
        )
    if kind == "DatasetNotFoundError":
        return UsageError(f"the Hub has no dataset `{hub}`", f"check the name; or {elsewhere(wanted.name)}")
    if isinstance(error, ValueError) and "config" in low:
        return UsageError(f"`{hub}`: {said[:400]}", "name one of these: `config:` in a map, or NAME:CONFIG")
    if isinstance(error, ValueError) and "split" in low:
        return UsageError(f"`{hub}`: {said[:400]}", "name one of these with --split, or `split:` in a map")
    return UsageError(f"`{hub}` cannot be fetched ({kind}: {said[:200]})", elsewhere(wanted.name))
