"""What a run leaves behind: the dataset's Parquet, row by row in commit order, and the rejects.

Rows go to disk in row groups of a fixed number of rows, so that the bytes depend on the rows alone and memory does
not grow with the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory import seeds
from factory.arrow_columns import make_table
from factory.errors import FactoryError
from factory.files import is_storage_fault, sha256_file, storage_fault
from factory.planning import Plan
from factory.types import NANO, DatasetRow, Flag, RowOutcome, Scored, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 1000
"""Rows in one Parquet row group. Part of the dataset's bytes: changing it changes every file."""

META = (
    ("row", "int"),
    ("id", "str"),
    ("source", "str"),
    ("recipe", "str"),
    ("model", "str"),
    ("seed", "int"),
    ("variation", "str"),
    ("score", "float"),
    ("scores", "str"),
    ("prompt_tokens", "int"),
    ("completion_tokens", "int"),
    ("cost_usd", "float"),
    ("prompt_sha", "str"),
)

FLAGS = ("flags", "str")
"""The last field of `meta` where a filter of the recipe may flag rows: JSON text, null for a row without flags."""

REJECTS = (
    ("row", "int"),
    ("step", "str"),
    ("candidate", "int"),
    ("stage", "str"),
    ("reason", "str"),
    ("scores", "str"),
    ("total", "float"),
    ("variation", "str"),
    ("text", "str"),
    ("matched", "str"),
    ("model", "str"),
)


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type of a column kind; what has no plain type is kept as JSON text."""
    import pyarrow as pa

    plain = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "json": pa.string()}
    if kind == "messages":
        return pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
    if kind.startswith("list[") and kind.endswith("]"):
        return pa.list_(arrow_type(kind[5:-1]))
    if kind not in plain:
        raise FactoryError(f"no column type for {kind!r}")
    return plain[kind]


def infer_kind(values: Sequence[Any]) -> str:
    """The column kind that holds all values (None fits every kind); mixed or nested ones are JSON text."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, bool) for value in present):
        return "bool"
    if any(isinstance(value, bool) for value in present):
        return "json"
    if present and all(isinstance(value, int) and abs(value) < 2**63 for value in present):
        return "int"
    if present and all(isinstance(value, int | float) for value in present):
        return "float"
    if all(isinstance(value, str) for value in present):
        return "str"
    return "json"


_READABLE = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)


def as_json(value: Any) -> str:
    """Readable JSON with sorted keys: equal values give equal text."""
    return _READABLE.encode(value)


def to_kind(value: Any, kind: str) -> Any:
    """The value as its column holds it. Lone surrogates, which no file format takes, become U+FFFD."""
    if value is None:
        return None
    if kind == "json":
        return clean(as_json(value))
    if kind == "float":
        return float(value)
    if kind == "messages":
        return [{"role": one["role"], "content": clean(one["content"])} for one in value]
    if kind.startswith("list["):
        return [to_kind(item, kind[5:-1]) for item in value]
    return clean(value) if isinstance(value, str) else value


def to_column(values: Sequence[Any], kind: str) -> Sequence[Any]:
    """`to_kind` for all values of a column."""
    if kind in ("int", "bool"):
        return values
    return [to_kind(value, kind) for value in values]


def clean(text: str) -> str:
    """The text without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text


def row_id(recipe: str, seed: int, row: int, rank: int) -> str:
    """`meta.id`: 16 hex digits from what was asked for, never from what a server or a clock said."""
    return seeds.digest(recipe, seed, row, rank, "id").hex()[:16]


def split_of(plan: Plan, row: int) -> str:
    """`test` for a share of `export.test_fraction`, by a hash per source row (or row): extension moves nothing."""
    recipe = plan.recipe
    fraction = recipe.export.test_fraction
    if not fraction:
        return "train"
    unit = row % plan.source_rows if plan.source_rows else row
    return "test" if seeds.uniform(recipe.name, recipe.seed, unit, "split") < fraction else "train"


def scores_json(scored: Scored) -> str:
    """The scores of a candidate by name, with the parts they were made of as `name.part`."""
    told: dict[str, float | None] = {}
    for score in scored.scores:
        told[score.name] = score.value
        for part, value in (score.parts or {}).items():
            told[f"{score.name}.{part}"] = value
    return as_json(told)


def flags_json(flags: Sequence[Flag]) -> str | None:
    """What filters say of a row that stays; None where they say nothing."""
    return as_json([asdict(flag) for flag in flags]) if flags else None


def dataset_row(
    plan: Plan, outcome: RowOutcome, rank: int, scored: Scored, flags: Sequence[Flag] | None = None
) -> DatasetRow:
    """The accepted candidate as a row of the dataset. Nothing of base_url, call ids, attempts or time is in it.

    `flags`: None where no filter flags rows, so that `meta` has no field for it.
    """
    recipe, candidate = plan.recipe, scored.candidate
    source_columns = set(recipe.from_.carry if recipe.from_ else []) | set(recipe.carry)
    earlier = {key: value for key, value in outcome.columns.items() if key not in source_columns}
    carried = {key: value for key, value in outcome.columns.items() if key in source_columns}
    nano = outcome.cost.nano_usd
    meta = {
        "row": outcome.row,
        "id": row_id(recipe.name, recipe.seed, outcome.row, rank),
        "source": "synthetic",
        "recipe": recipe.name,
        "model": candidate.model,
        "seed": candidate.seed,
        "variation": as_json(dict(outcome.variation.values)),
        "score": scored.total,
        "scores": scores_json(scored),
        "prompt_tokens": outcome.cost.prompt_tokens,
        "completion_tokens": outcome.cost.completion_tokens,
        "cost_usd": None if nano is None else nano / NANO,
        "prompt_sha": outcome.prompt_sha,
    }
    if flags is not None:
        meta[FLAGS[0]] = flags_json(flags)
    return DatasetRow({**earlier, **(candidate.fields or {}), **carried}, meta)


class ParquetLines:
    """A Parquet file written line by line in row groups of `ROW_GROUP`."""

    def __init__(self, path: Path, columns: Sequence[tuple[str, str]], *, nested: Mapping[str, Any] | None = None):
        import pyarrow as pa
        import pyarrow.parquet as pq

        fields = [pa.field(name, arrow_type(kind)) for name, kind in columns]
        fields += [
            pa.field(name, pa.struct([pa.field(key, arrow_type(kind)) for key, kind in inner]))
            for name, inner in (nested or {}).items()
        ]
        self.path = path
        self.rows = 0
        self._kinds = dict(columns)
        self._nested = {name: dict(inner) for name, inner in (nested or {}).items()}
        self._schema = pa.schema(fields)
        self._buffer: list[Mapping[str, Any]] = []
        self._guard(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        self._writer = self._guard(
            lambda: pq.ParquetWriter(path, self._schema, compression="zstd", write_statistics=True)
        )

    def _guard(self, action: Any) -> Any:
        try:
            return action()
        except OSError as error:
            if is_storage_fault(error):
                raise storage_fault(error, self.path) from error
            raise

    def write(self, line: Mapping[str, Any]) -> None:
        """Add one line. Raises StorageFull when the disk does not take it."""
        self._buffer.append(line)
        self.rows += 1
        if len(self._buffer) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            table = make_table(self._columns(), self._schema)
            self._guard(lambda: self._writer.write_table(table, row_group_size=ROW_GROUP))
            self._buffer.clear()

    def _columns(self) -> dict[str, Any]:
        """What is buffered, by column."""
        lines = self._buffer
        columns: dict[str, Any] = {
            name: to_column([line.get(name) for line in lines], kind) for name, kind in self._kinds.items()
        }
        for name, inner in self._nested.items():
            columns[name] = {
                key: to_column([line[name].get(key) for line in lines], kind) for key, kind in inner.items()
            }
        return columns

    def close(self) -> None:
        """Write what is buffered and the footer. A file without rows is valid."""
        self._flush()
        self._guard(self._writer.close)


class SplitFiles:
    """`<folder>/<split>-<12 digits of its SHA-256>.parquet`, written line by line; `meta` is a struct of every line.

    The digits keep `datasets` from serving another file: it knows a local dataset by the names in its card, not by
    path or time, so files of one name in two runs, or before and after an extension, would share a cache entry.
    """

    def __init__(
        self,
        directory: Path,
        folder: str,
        plan: Plan,
        columns: Sequence[tuple[str, str]],
        meta: Sequence[tuple[str, str]],
    ):
        self._folder = folder
        self._plan = plan
        splits = ["train", "test"] if plan.recipe.export.test_fraction else ["train"]
        self._files = {
            split: ParquetLines(directory / folder / f"{split}.parquet", columns, nested={"meta": meta})
            for split in splits
        }
        self._paths: dict[str, str] = {}

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line to the split of its row (`meta.row`)."""
        self._files[split_of(self._plan, line["meta"]["row"])].write(line)

    def close(self) -> dict[str, int]:
        """Finish the files and name them by their content. Lines by split."""
        for split, file in self._files.items():
            file.close()
            name = f"{split}-{sha256_file(file.path)[:12]}.parquet"
            file.path.rename(file.path.with_name(name))
            self._paths[split] = f"{self._folder}/{name}"
        return {split: file.rows for split, file in self._files.items()}

    def paths(self) -> dict[str, str]:
        """The finished files by split, relative to the dataset's directory."""
        return dict(self._paths)


class RejectsWriter:
    """`rejects.parquet`: one line a rejected candidate, with where and why it fell and what it said."""

    def __init__(self, path: Path):
        self._file = ParquetLines(path, REJECTS)

    def write(self, verdict: Verdict, variation: Mapping[str, Any]) -> None:
        candidate = verdict.scored.candidate
        self._file.write(
            {
                "row": verdict.row,
                "step": candidate.step,
                "candidate": candidate.index,
                "stage": verdict.stage,
                "reason": verdict.reason,
                "scores": scores_json(verdict.scored),
                "total": verdict.scored.total,
                "variation": as_json(dict(variation)),
                "text": candidate.text,
                "matched": verdict.matched,
                "model": candidate.model,
            }
        )

    def close(self) -> None:
        self._file.close()
