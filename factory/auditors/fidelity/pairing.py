"""Dataset and reference side by side: which columns of theirs can be compared, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from factory.auditors.data import CLIP, IDENTITIES, Data, holds_categories
from factory.auditors.fidelity.telling import count

Kind = Literal["number", "category"]
JOINED = "text"
"""What the joined text is called where columns cannot be matched."""


@dataclass(frozen=True, eq=False)
class Column:
    """A structured column of both. `here`, `there`: dataset's and reference's values; NaN or −1 is null.

    Numbers and times are float64 (times in seconds); categories int64 codes into `names`.
    """

    name: str
    kind: Kind
    here: NDArray[Any]
    there: NDArray[Any]
    names: tuple[str, ...] = ()

    def nulls(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which values are missing, in the dataset and in the reference."""
        if self.kind == "number":
            return np.isnan(self.here), np.isnan(self.there)
        return self.here < 0, self.there < 0

    def take(self, here: NDArray[Any], there: NDArray[Any]) -> Column:
        """The rows at these places of each."""
        return Column(self.name, self.kind, self.here[here], self.there[there], self.names)


class Pair:
    """A dataset and its reference. `columns`: text columns of the same name in both, without those of categories.

    Where no name is shared, the joined texts are compared as one column, `text`; `note` says so. `structured`: columns
    of numbers, times, categories and booleans that both have; `absent`: those that the dataset lacks; `unlike`: why
    others cannot be compared, by name.
    """

    def __init__(self, dataset: Data, reference: Data):
        self.dataset, self.reference = dataset, reference
        shared = [name for name in dataset.columns if name in reference.columns]
        free = [name for name in shared if not holds_categories(reference.table, name)]
        self.columns: tuple[str, ...] = tuple(free or shared) or ((JOINED,) if self._both_text() else ())
        self.note = "" if shared or not self.columns else _no_shared_name(dataset, reference)
        self._joined = not shared
        texts = set(free or shared)
        self.structured: tuple[Column, ...] = ()
        self.absent: tuple[str, ...] = ()
        self.unlike: dict[str, str] = {}
        self._find_structured(texts)

    def _both_text(self) -> bool:
        return bool(self.dataset.columns and self.reference.columns)

    @cached_property
    def here(self) -> dict[str, list[str]]:
        """The dataset's texts by column, each cut to its first `CLIP` characters."""
        return {name: clip(texts) for name, texts in self.whole_here.items()}

    @cached_property
    def there(self) -> dict[str, list[str]]:
        """The reference's texts by column, cut alike."""
        return {name: clip(texts) for name, texts in self.whole_there.items()}

    @cached_property
    def whole_here(self) -> dict[str, list[str]]:
        return self._texts(self.dataset)

    @cached_property
    def whole_there(self) -> dict[str, list[str]]:
        return self._texts(self.reference)

    def _texts(self, data: Data) -> dict[str, list[str]]:
        if self._joined:
            return dict.fromkeys(self.columns, data.texts)
        return {name: data.text(name) for name in self.columns}

    @cached_property
    def joined(self) -> tuple[list[str], list[str]]:
        """The compared columns of each row as one text, for the dataset and for the reference."""
        return _join(self.here), _join(self.there)

    def _find_structured(self, texts: set[str]) -> None:
        mine, theirs = self.dataset.table.schema.names, self.reference.table.schema.names
        skipped = {"meta", self.dataset.label, self.reference.label, *texts}
        wanted = [name for name in theirs if name not in skipped and _is_structured(self.reference, name)]
        self.absent = tuple(name for name in wanted if name not in mine)
        found = []
        for name in wanted:
            if name not in mine:
                continue
            made = _column(self.dataset, self.reference, name)
            if isinstance(made, str):
                self.unlike[name] = made
            else:
                found.append(made)
        self.structured = tuple(found)


def clip(texts: Sequence[str]) -> list[str]:
    """Each text cut to its first `CLIP` characters."""
    return [text if len(text) <= CLIP else text[:CLIP] for text in texts]


def _join(columns: dict[str, list[str]]) -> list[str]:
    lists = list(columns.values())
    return lists[0] if len(lists) == 1 else clip(["\n".join(parts) for parts in zip(*lists, strict=True)])


def _no_shared_name(dataset: Data, reference: Data) -> str:
    mine, theirs = ", ".join(dataset.columns), ", ".join(reference.columns)
    return f"No text column has the same name ({mine} here, {theirs} there): the joined texts are compared."


def _is_structured(data: Data, name: str) -> bool:
    import pyarrow as pa

    kind = data.table.schema.field(name).type
    if name.lower() in IDENTITIES or name.lower().endswith("_id"):
        return False
    if _is_number(kind) or pa.types.is_boolean(kind):
        return True
    return holds_categories(data.table, name)


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        or types.is_date(kind) or types.is_timestamp(kind) or types.is_time(kind) or types.is_duration(kind)
    )  # fmt: skip


def _column(dataset: Data, reference: Data, name: str) -> Column | str:
    """The column of both, or why it cannot be compared."""
    import pyarrow as pa

    kinds = [data.table.schema.field(name).type for data in (dataset, reference)]
    null = [pa.types.is_null(kind) for kind in kinds]
    if all(_is_number(kind) or empty for kind, empty in zip(kinds, null, strict=True)):
        times = [_is_time(kind) for kind, empty in zip(kinds, null, strict=True) if not empty]
        if len(set(times)) > 1:
            return f"{_told(kinds[0])} here, {_told(kinds[1])} in the reference"
        return Column(name, "number", _numbers(dataset, name), _numbers(reference, name))
    if any(_is_number(kind) for kind in kinds):
        return f"{_told(kinds[0])} here, {_told(kinds[1])} in the reference"
    if not null[0] and pa.types.is_nested(kinds[0]):
        return f"{_told(kinds[0])} here, {_told(kinds[1])} in the reference"
    values = [[None if one is None else str(one) for one in data.values(name)] for data in (dataset, reference)]
    names = sorted({one for side in values for one in side if one is not None})
    code = {value: place for place, value in enumerate(names)}
    here, there = (np.array([-1 if one is None else code[one] for one in side], dtype=np.int64) for side in values)
    return Column(name, "category", here, there, tuple(names))


def _told(kind: Any) -> str:
    from factory.sources.streaming_texts import holds_text, told

    return "text" if holds_text(kind) else told(kind)


def _is_time(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_temporal(kind))


def _numbers(data: Data, name: str) -> NDArray[np.float64]:
    """A column of numbers or times as float64, null as NaN; what is not finite counts as null."""
    import pyarrow as pa

    column = data.table.column(name)
    if _is_time(column.type):
        unit = pa.duration("us") if pa.types.is_duration(column.type) else None
        wide = column.cast(unit) if unit is not None else _as_time(column)
        found = wide.cast(pa.int64()).cast(pa.float64()).to_numpy() / 1e6
    else:
        found = column.cast(pa.float64()).to_numpy()
    found = np.array(found, dtype=np.float64)
    found[~np.isfinite(found)] = np.nan
    return found


def _as_time(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_time(column.type):
        return column.cast(pa.time64("us"))
    zone = getattr(column.type, "tz", None)
    return column.cast(pa.timestamp("us", zone), safe=False)


def describe(pair: Pair) -> str:
    """The two sides in words: "2,000 rows against 1,500 of the reference"."""
    rows, others = len(pair.dataset), len(pair.reference)
    return f"{count(rows, 'row')} against {count(others, 'row')} of the reference"
