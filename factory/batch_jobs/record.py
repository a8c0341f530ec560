"""The durable record of batches: one directory a shard in `RUN/journal/batches`, every change on the disk before the
next remote act.

    run.json                the run's own mark, and the number of the next shard (never used twice)
    <tag>/calls.jsonl       what the shard asks, one call a line: its id, attempt, worst case and whole request
    <tag>/state.json        where the shard stands (replaced in one step; written after calls.jsonl)
    <tag>/requests.jsonl    the file as it is uploaded; removed once the batch is submitted
    <tag>/output.jsonl, errors.jsonl    what the server answered; kept until the journal has every call

A directory without state.json is what a kill left of a shard that was never sent.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from factory.errors import FactoryError, JournalDamaged
from factory.files import is_storage_fault, storage_fault, sync_directory, write_atomic

State = Literal["planned", "uploading", "uploaded", "submitting", "submitted", "ended", "collected"]
STATES: tuple[State, ...] = ("planned", "uploading", "uploaded", "submitting", "submitted", "ended", "collected")
_HINT = "move this directory away: its answers are asked again, and what the batch cost is paid twice"


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of requests on its way. `tag` is the mark by which the server's lists are searched.

    `role`, `identity`, `url`: whose requests these are, and where they go. `counts`: total, completed and failed
    requests as the server last told. `planned_at`, `submitted_at`: Unix time. `told`: what went wrong, where the
    server said so.
    """

    tag: str
    role: str
    model: str
    identity: str
    url: str
    requests: int
    planned_at: float
    submitted_at: float = 0.0
    state: State = "planned"
    file_id: str | None = None
    batch_id: str | None = None
    status: str = ""
    output_file: str | None = None
    error_file: str | None = None
    counts: tuple[int, int, int] = (0, 0, 0)
    told: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of a shard: the attempt it stands for, its worst case in nano-USD, and `Request.content()`."""

    call_id: str
    attempt: int
    bound: int | None
    content: dict[str, Any]


class Record:
    """The shards of a run. All methods are synchronous; those that write return when it is on the disk."""

    def __init__(self, run: Path):
        self.directory = run / "journal" / "batches"

    def shards(self) -> list[Shard]:
        """Every shard, oldest first. Raises JournalDamaged where a state cannot be read."""
        found = [read_state(path) for path in sorted(self.directory.glob("*/state.json"))]
        return sorted(found, key=lambda shard: shard.tag)

    def clean(self) -> None:
        """Remove what a kill left of shards that were never sent."""
        for path in self.directory.glob("*/"):
            if not (path / "state.json").exists():
                shutil.rmtree(path)

    def plan(self, shard: Shard, calls: Sequence[Asked], lines: Iterable[bytes]) -> None:
        """Write a shard that is to be sent. Raises StorageFull."""
        folder = self.folder(shard)
        try:
            folder.mkdir(parents=True)
            _write_lines(folder / "calls.jsonl", (orjson.dumps(asdict(call)) for call in calls), durable=True)
            _write_lines(folder / "requests.jsonl", lines, durable=False)
            sync_directory(folder)
        except OSError as error:
            raise (storage_fault(error, folder) if is_storage_fault(error) else error) from error
        self.save(shard)
        sync_directory(self.directory)

    def next_tag(self) -> str:
        """A tag that no shard of any run had or will have; durable before it is returned."""
        path = self.directory / "run.json"
        found: dict[str, Any] = {"run": uuid.uuid4().hex[:16], "next": 1}
        try:
            found = json.loads(path.read_text())
        except FileNotFoundError:
            pass  # the first shard of this run
        except ValueError as error:
            raise JournalDamaged(f"{path}: cannot be read ({error})", _HINT) from error
        write_atomic(path, json.dumps({**found, "next": found["next"] + 1}))
        return f"{found['run']}-{found['next']:05d}"

    def save(self, shard: Shard, *, durable: bool = True) -> Shard:
        """Replace the shard's state. Counts alone need no sync."""
        text = json.dumps(asdict(shard), ensure_ascii=False)
        write_atomic(self.folder(shard) / "state.json", text, durable=durable)
        return shard

    def move(self, shard: Shard, state: State, **changes: Any) -> Shard:
        """The shard in another state, on the disk."""
        return self.save(replace(shard, state=state, **changes))

    def calls(self, shard: Shard) -> Iterator[Asked]:
        """What the shard asks, in order. Raises JournalDamaged."""
        path = self.folder(shard) / "calls.jsonl"
        number = 0
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    yield Asked(**orjson.loads(line))
                except (ValueError, TypeError) as error:
                    raise JournalDamaged(f"{path}: line {number} is damaged ({error})", _HINT) from error
        if number != shard.requests:
            raise JournalDamaged(f"{path}: {shard.requests} calls were written, {number} are there", _HINT)

    def drop(self, shard: Shard) -> None:
        """Forget a shard: its calls are all in the journal, or were never made. The state goes first."""
        folder = self.folder(shard)
        (folder / "state.json").unlink(missing_ok=True)
        sync_directory(folder)
        shutil.rmtree(folder)

    def drop_requests(self, shard: Shard) -> None:
        """Remove the uploaded file's copy."""
        (self.folder(shard) / "requests.jsonl").unlink(missing_ok=True)

    def folder(self, shard: Shard) -> Path:
        return self.directory / shard.tag

    def answers(self, shard: Shard) -> list[Path]:
        """The files that the server answered with."""
        paths = [self.folder(shard) / name for name in ("output.jsonl", "errors.jsonl")]
        return [path for path in paths if path.exists()]


def read_state(path: Path) -> Shard:
    """A shard's state. Raises JournalDamaged."""
    try:
        found = json.loads(path.read_text())
        shard = Shard(**{**found, "counts": tuple(found["counts"])})
    except (ValueError, TypeError, KeyError) as error:
        raise JournalDamaged(f"{path}: cannot be read ({error})", _HINT) from error
    if shard.state not in STATES:
        raise JournalDamaged(f"{path}: `{shard.state}` is no state of a shard", _HINT)
    return shard


def show_batches(run: Path) -> list[dict[str, Any]]:
    """The shards of a run that are under way, for `status`; also of a live run."""
    shown = []
    for path in sorted((run / "journal" / "batches").glob("*/state.json")):
        try:
            shard = read_state(path)
        except FileNotFoundError:
            continue  # collected and removed this very moment
        _, completed, failed = shard.counts
        shown.append(
            {
                "tag": shard.tag,
                "batch": shard.batch_id,
                "model": shard.model,
                "state": shard.state,
                "status": shard.status,
                "requests": shard.requests,
                "completed": completed,
                "failed": failed,
            }
        )
    return shown


def _write_lines(path: Path, lines: Iterable[bytes], *, durable: bool) -> None:
    with path.open("wb") as handle:
        for line in lines:
            if b"\n" in line:
                raise FactoryError("a request is one line of JSON")
            handle.write(line + b"\n")
        if durable:
            handle.flush()
            os.fsync(handle.fileno())
