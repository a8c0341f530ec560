"""The journal while nothing is damaged: what it stores and answers, and what it says when the disk does not take it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_calls import AT, make_call, make_request, same, settle_calls

from factory.errors import FactoryError, StorageFull, UsageError
from factory.journal import Journal, Lease, Stored
from factory.journal import files as journal_files
from factory.journal import rows as journal_rows
from factory.types import Choice, LedgerEntry, Response, Usage, canonical_json


def refuse(sentence: str) -> None:
    raise AssertionError(f"unexpected notice: {sentence}")


def open_journal(directory: Path, **options: Any) -> Journal:
    return Journal.open(directory, **{"writable": True, "notice": refuse, **options})


def settle(journal: Journal, *calls: tuple[Lease, LedgerEntry, Stored | None]) -> None:
    async def run() -> None:
        for lease, entry, stored in calls:
            await journal.lease(lease, durable=True)
            await journal.settle(entry, lease, stored)

    asyncio.run(run())


def text(maximum: int) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=[]), max_size=maximum)  # lone surrogates and NULs included


number = st.integers(min_value=0, max_value=2**62)
responses = st.builds(
    Response,
    st.lists(st.builds(Choice, text(400), text(9), st.none() | text(400)), min_size=1, max_size=3).map(tuple),
    st.builds(Usage, number, number, number, number, st.booleans()),
    text(12),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text(300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(response=responses, request=st.dictionaries(text(8), json_values, max_size=4), nano=st.none() | number)
def test_a_stored_call_comes_back_as_it_was(response: Response, request: dict[str, Any], nano: int | None) -> None:
    stored = Stored("ab" * 16, "ok", response, "", nano, "recipe", request)
    row = journal_rows.response_row(b"\xab" * 16, 3, 1, journal_rows.encode_stored(stored))
    fields = [plain(value) for value in row]
    assert journal_rows.digest_fields(fields[:-1]) == fields[-1]
    found = journal_rows.decode_stored(fields[:-1])
    assert found.response == response
    assert replace(found, request={}) == replace(stored, request={})
    assert dict(found.request) == request


def test_the_stored_request_still_has_its_call_id(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        settle(journal, make_call(3))
    request = make_request(3)
    with open_journal(tmp_path, writable=False) as journal:
        found = journal.get(request.call_id)
        assert found is not None
        assert canonical_json(dict(found.request)) == canonical_json(request.content())


def plain(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def test_every_digest_depends_on_every_field() -> None:
    lease, entry, stored = make_call(1)
    row = journal_rows.response_row(b"k" * 16, 0, 1, journal_rows.encode_stored(stored))
    for fields in (journal_rows.encode_lease(lease), journal_rows.encode_entry(entry), row):
        for place in range(len(fields) - 1):
            for other in (None, 7, -1.5, b"", b"x"):
                changed = (*fields[:place], other, *fields[place + 1 : -1])
                assert (journal_rows.digest_fields(changed) == fields[-1]) == (other == plain(fields[place]))


def test_settled_calls_are_replayed_after_reopening(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert journal.get(make_call(0)[0].call_id) is None
        asyncio.run(settle_calls(journal, range(60)))
        assert same(journal.get(make_call(5)[0].call_id), make_call(5)[2])
    assert not list(tmp_path.glob("*-wal"))
    with open_journal(tmp_path) as journal:
        for index in range(60):
            assert same(journal.get(make_call(index)[0].call_id), make_call(index)[2])
        assert sorted(journal.entries(), key=lambda entry: entry.nano_usd or 0) == [make_call(i)[1] for i in range(60)]
        assert list(journal.leases()) == []
        assert journal.spent_nano() == sum(100 + index for index in range(60))
        assert journal.verify() == 60
        assert journal.lost_at_open == 0


def test_calls_and_entries_of_one_row(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        asyncio.run(settle_calls(journal, range(10)))
        ids = {make_call(6)[0].call_id, make_call(7)[0].call_id}
        assert {stored.call_id for stored in journal.calls(row=3)} == ids
        assert {entry.call_id for entry in journal.entries(row=3)} == ids
        assert len(list(journal.calls())) == 10
        assert all(isinstance(stored.request, dict) for stored in journal.calls())


def test_failures_are_recorded_and_replayed(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        settle(journal, make_call(1, outcome="bad_request"))
        found = journal.get(make_call(1)[0].call_id)
        assert found is not None and (found.outcome, found.response) == ("bad_request", None)
        assert found.message == "the server said bad_request"


def test_retry_failed_asks_failures_again_and_replaces_them(tmp_path: Path) -> None:
    failed, good = make_call(1, outcome="gave_up"), make_call(2)
    with open_journal(tmp_path) as journal:
        settle(journal, failed, good)
    call_id = failed[0].call_id
    with open_journal(tmp_path, retry_failed=True) as journal:
        assert same(journal.get(good[0].call_id), good[2])
        assert journal.get(call_id) is None
        assert journal.next_attempt(call_id) == 2
        settle(journal, make_call(1, attempt=2, outcome="bad_request"))
        again = journal.get(call_id)  # failed again in this very run: not asked a third time
        assert again is not None and again.outcome == "bad_request"
    with open_journal(tmp_path, retry_failed=True) as journal:
        settle(journal, make_call(1, attempt=3))
        assert same(journal.get(call_id), make_call(1)[2])
    with open_journal(tmp_path) as journal:
        assert same(journal.get(call_id), make_call(1)[2])
        assert [entry.outcome for entry in journal.entries()] == ["gave_up", "ok", "bad_request", "ok"]
        assert journal.verify() == 2


def test_the_first_usable_response_stands(tmp_path: Path) -> None:
    first, second = make_call(1), make_call(1, attempt=2, outcome="gave_up")
    with open_journal(tmp_path) as journal:
        settle(journal, first, second)
        assert same(journal.get(first[0].call_id), first[2])
        assert journal.next_attempt(first[0].call_id) == 3


def test_attempts_are_numbered_over_leases_failures_and_restarts(tmp_path: Path) -> None:
    lease, _, _ = make_call(4)
    with open_journal(tmp_path) as journal:
        assert journal.next_attempt(lease.call_id) == 1
        asyncio.run(journal.lease(lease, durable=False))
        assert journal.next_attempt(lease.call_id) == 2
        _, entry, _ = make_call(4, outcome="overloaded")
        asyncio.run(journal.settle(entry, lease, None))
        assert journal.get(lease.call_id) is None
        assert journal.next_attempt(lease.call_id) == 2
    with open_journal(tmp_path) as journal:
        assert journal.next_attempt(lease.call_id) == 2


def test_lookups_use_an_index(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        asyncio.run(settle_calls(journal, range(3)))
    with contextlib.closing(sqlite3.connect(tmp_path / "00000.sqlite")) as connection:
        for sql in (journal_files._LOOKUP, journal_files._FAILED, journal_files._LEASED):
            plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (b"x",)).fetchall()
            assert all("USING" in step[3] and "INDEX" in step[3] for step in plan), plan
        for (sql,) in connection.execute("SELECT sql FROM sqlite_schema"):
            assert "WITHOUT ROWID" not in sql


def test_leftover_leases_become_lost_attempts_that_count_as_spent(tmp_path: Path) -> None:
    leases = [make_call(index)[0] for index in range(3)]
    leases[2] = replace(leases[2], upper_bound_nano=None)
    with open_journal(tmp_path) as journal:
        for lease in leases:
            asyncio.run(journal.lease(lease, durable=lease is leases[0]))
        settle(journal, make_call(9))
        assert journal.spent_nano() == 109
    with open_journal(tmp_path, writable=False) as reader:
        assert {lease.call_id for lease in reader.leases()} == {lease.call_id for lease in leases}
    with open_journal(tmp_path) as journal:
        assert journal.lost_at_open == 3
        lost = [entry for entry in journal.entries() if entry.outcome == "lost"]
        assert [entry.call_id for entry in lost] == [lease.call_id for lease in leases]
        assert [entry.upper_bound_nano_usd for entry in lost] == [1000, 1001, None]
        for entry, lease in zip(lost, leases, strict=True):
            assert (entry.nano_usd, entry.prompt_tokens, entry.completion_tokens) == (None, None, None)
            assert (entry.row, entry.attempt, entry.model, entry.at) == (lease.row, 1, lease.model, AT)
        assert journal.spent_nano() == 109 + 1000 + 1001
        assert list(journal.leases()) == []
        assert journal.get(leases[0].call_id) is None
        assert journal.next_attempt(leases[0].call_id) == 2
    with open_journal(tmp_path) as journal:
        assert journal.lost_at_open == 0
        assert journal.spent_nano() == 109 + 1000 + 1001


def test_an_unknown_cost_counts_at_its_upper_bound(tmp_path: Path) -> None:
    lease, entry, _ = make_call(4, outcome="bad_body")
    with open_journal(tmp_path) as journal:
        asyncio.run(journal.settle(replace(entry, nano_usd=None, upper_bound_nano_usd=777), lease, None))
        assert journal.spent_nano() == 777


def test_whatever_is_queued_shares_a_commit_and_event_loops_may_differ(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        asyncio.run(settle_calls(journal, range(200), workers=200))
        asyncio.run(settle_calls(journal, range(200, 300), workers=100))
        assert len(list(journal.calls())) == 300
    with contextlib.closing(sqlite3.connect(tmp_path / "00000.sqlite")) as connection:
        (commits,) = connection.execute("SELECT commits FROM state").fetchone()
    assert commits < 60


def test_a_settled_lease_of_the_same_commit_is_never_left_behind(tmp_path: Path) -> None:
    """Leases that are not waited for, in every order with the settlements of other attempts at the same call."""

    async def run(journal: Journal) -> None:
        for index in range(40):
            first, entry, _ = make_call(index, attempt=1, outcome="overloaded")
            second, final, stored = make_call(index, attempt=2)
            await journal.lease(first, durable=index % 3 == 0)
            waiting = asyncio.ensure_future(journal.settle(entry, first, None))
            if index % 2:
                await waiting
            await journal.lease(second, durable=False)
            await asyncio.gather(waiting, journal.settle(final, second, stored))

    with open_journal(tmp_path) as journal:
        asyncio.run(run(journal))
        assert list(journal.leases()) == []
    with open_journal(tmp_path) as journal:
        assert journal.lost_at_open == 0
        assert len(list(journal.entries())) == 80


def test_a_cancelled_waiter_loses_nothing(tmp_path: Path) -> None:
    async def run(journal: Journal) -> None:
        tasks = []
        for index in range(20):
            lease, entry, stored = make_call(index)
            tasks.append(asyncio.ensure_future(journal.settle(entry, lease, stored)))
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 10

    with open_journal(tmp_path) as journal:
        asyncio.run(run(journal))
    with open_journal(tmp_path) as journal:
        assert journal.verify() == 20


def test_an_event_loop_that_is_gone_does_not_stop_the_writer(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        loop = asyncio.new_event_loop()
        lease, entry, stored = make_call(0)
        waiting = journal.settle(entry, lease, stored)
        task = loop.create_task(waiting)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop._default_executor = None  # type: ignore[attr-defined]
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        settle(journal, make_call(1))
        assert journal.get(lease.call_id) is not None


def test_what_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    async def run(journal: Journal) -> list[Any]:
        good, odd, large = make_call(0), make_call(1), make_call(2)
        unusable = replace(odd[2], request={"messages": object()})
        too_large = replace(large[1], prompt_tokens=1 << 70)
        return await asyncio.gather(
            journal.settle(good[1], good[0], good[2]),
            journal.settle(odd[1], odd[0], unusable),
            journal.settle(too_large, large[0], large[2]),
            return_exceptions=True,
        )

    with open_journal(tmp_path) as journal:
        fine, odd, large = asyncio.run(run(journal))
        assert fine is None
        assert isinstance(odd, TypeError) and "cannot store" in str(odd)
        assert isinstance(large, FactoryError) and "prompt_tokens" in large.message
        settle(journal, make_call(3))
        assert len(list(journal.calls())) == 2


def test_reuse_copies_usable_responses_for_nothing(tmp_path: Path) -> None:
    old, new = tmp_path / "old" / "journal", tmp_path / "new" / "journal"
    with open_journal(old) as journal:
        settle(journal, make_call(0), make_call(1, outcome="gave_up"), make_call(2))
    before = (old / "00000.sqlite").read_bytes()
    with open_journal(new, reuse=[tmp_path / "old"]) as journal:
        expected = make_call(0)
        found = [journal.get(expected[0].call_id) for _ in range(3)]
        assert all(same(stored, expected[2]) for stored in found)  # its cost is the original one
        assert journal.get(make_call(1)[0].call_id) is None
        assert journal.get(make_call(7)[0].call_id) is None
        settle(journal, make_call(1))
        assert journal.spent_nano() == 101
        assert journal.next_attempt(make_call(1)[0].call_id) == 2
    assert (old / "00000.sqlite").read_bytes() == before
    with open_journal(new) as journal:  # it is in the own journal now
        assert same(journal.get(expected[0].call_id), expected[2])
        reused, paid = journal.entries()
        assert (reused.outcome, reused.nano_usd, reused.price_source) == ("reused", 0, "reused")
        assert (reused.prompt_tokens, reused.completion_tokens) == (40, 0)
        assert (reused.step, reused.purpose, reused.model, reused.row) == ("main", "generate", "openai/writer", 0)
        assert paid == make_call(1)[1]
        assert journal.spent_nano() == 101
        assert journal.verify() == 2
    with open_journal(tmp_path / "third", reuse=[new]) as journal:  # a chain of reuse, and a journal given itself
        assert same(journal.get(expected[0].call_id), expected[2])
    with pytest.raises(UsageError, match="no run with a journal"):
        open_journal(new, reuse=[tmp_path / "odl"])


def test_a_failure_of_the_own_journal_is_not_replaced_by_reuse_unless_asked(tmp_path: Path) -> None:
    with open_journal(tmp_path / "old") as journal:
        settle(journal, make_call(0))
    with open_journal(tmp_path / "new") as journal:
        settle(journal, make_call(0, outcome="gave_up"))
    call_id = make_call(0)[0].call_id
    with open_journal(tmp_path / "new", reuse=[tmp_path / "old"]) as journal:
        found = journal.get(call_id)
        assert found is not None and found.outcome == "gave_up"
    with open_journal(tmp_path / "new", reuse=[tmp_path / "old"], retry_failed=True) as journal:
        assert same(journal.get(call_id), make_call(0)[2])
    with open_journal(tmp_path / "new") as journal:
        assert same(journal.get(call_id), make_call(0)[2])


def test_readers_see_a_live_journal_and_other_writers_files(tmp_path: Path) -> None:
    with open_journal(tmp_path) as first:
        settle(first, make_call(0))
        with open_journal(tmp_path, writable=False) as reader, open_journal(tmp_path, writer=1) as second:
            settle(second, make_call(1))
            settle(first, make_call(2))
            assert same(reader.get(make_call(2)[0].call_id), make_call(2)[2])
            assert reader.spent_nano() == 202
            assert same(second.get(make_call(0)[0].call_id), make_call(0)[2])
            assert second.spent_nano() == 303
            with pytest.raises(FactoryError, match="reading only"):
                settle(reader, make_call(5))
        with open_journal(tmp_path, writable=False) as reader:
            assert len(list(reader.entries())) == len(list(reader.calls())) == 3
    assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == ["00000.sqlite", "00001.sqlite"]


def test_reading_a_journal_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no journal"):
        open_journal(tmp_path / "run", writable=False)
    assert not (tmp_path / "run").exists()


_READ_AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from journal_calls import make_call, same
from factory.journal import Journal
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
with Journal.open(Path(sys.argv[1]), writable=False, notice=print) as journal:
    print(sum(same(journal.get(make_call(index)[0].call_id), make_call(index)[2]) for index in range(20)))
"""


@pytest.mark.parametrize("closed", [True, False])
def test_a_directory_that_cannot_be_written_can_be_read(closed: bool) -> None:
    """Also one that a killed process left with a log to be recovered."""
    place = Path(tempfile.mkdtemp())
    try:
        live = open_journal(place / "live")
        asyncio.run(settle_calls(live, range(20)))
        if closed:
            live.close()
        shutil.copytree(place / "live", place / "copy", ignore=shutil.ignore_patterns("*-shm"))
        assert (place / "copy" / "00000.sqlite-wal").exists() != closed
        live.close()
        place.chmod(0o755)
        for path in (place / "copy").iterdir():
            path.chmod(0o444)
        (place / "copy").chmod(0o555)
        here = Path(__file__).parent
        command = [sys.executable, "-c", _READ_AS_NOBODY, str(place / "copy"), str(here), str(here.parent)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.stdout, result.stderr) == ("20\n", "")
    finally:
        (place / "copy").chmod(0o755)
        shutil.rmtree(place)


def test_a_full_disk_reaches_every_waiter_and_the_journal_refuses_more(tmp_path: Path) -> None:
    async def run(journal: Journal) -> list[Any]:
        calls = [make_call(index) for index in range(100, 400)]
        return await asyncio.gather(*(journal.settle(e, lease, s) for lease, e, s in calls), return_exceptions=True)

    with pytest.raises(StorageFull), open_journal(tmp_path) as journal:
        asyncio.run(settle_calls(journal, range(20)))
        assert journal._writer is not None
        connection = journal._writer._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        results = asyncio.run(run(journal))
        assert all(isinstance(result, StorageFull) for result in results)
        assert "the disk is full" in results[0].message and str(tmp_path) in results[0].message
        assert same(journal.get(make_call(3)[0].call_id), make_call(3)[2])  # reading still works
        settle(journal, make_call(500))
    with open_journal(tmp_path) as journal:
        assert journal.verify() == 20


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """A real write error in the middle of a run: all that was acknowledged is there, and the run goes on later."""
    here = Path(__file__).parent
    command = [sys.executable, str(here / "journal_calls.py"), str(tmp_path), "0", "16", "--limit", "250000"]
    path = os.pathsep.join([str(here.parent), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    lines = result.stdout.splitlines()
    assert sum(line.startswith("full StorageFull(") for line in lines) == 16, result
    assert not any(line.startswith("fault") for line in lines)
    acknowledged = [int(line.split()[1]) for line in lines if line.startswith("ack")]
    assert len(acknowledged) > 16
    with open_journal(tmp_path) as journal:
        for index in acknowledged:
            assert same(journal.get(make_call(index)[0].call_id), make_call(index)[2])


def test_a_failure_that_nobody_heard_is_told_at_the_close(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal._writer is not None
    connection = journal._writer._connection
    connection.execute("PRAGMA max_page_count = 1")
    connection.execute("PRAGMA query_only = ON")
    asyncio.run(journal.lease(make_call(0)[0], durable=False))
    with pytest.raises(StorageFull):
        journal.close()


_WRITE_AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from factory.errors import StorageFull
from factory.journal import Journal
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    Journal.open(Path(sys.argv[1]), writable=True, notice=print)
except StorageFull as error:
    print(error.exit_code, error.message)
"""


@pytest.mark.parametrize("begun", [True, False])
def test_a_directory_without_permission(begun: bool) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        if begun:
            open_journal(place / "journal").close()
            (place / "journal").chmod(0o555)
        place.chmod(0o555)
        here = Path(__file__).parent
        command = [sys.executable, "-c", _WRITE_AS_NOBODY, str(place / "journal"), str(here), str(here.parent)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.stdout.startswith(f"4 {place}/journal/00000") and "cannot write" in result.stdout, result
    finally:
        for path in (place, *place.iterdir()):
            path.chmod(0o755)
        shutil.rmtree(place)


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(UsageError, match="a file is in the place"):
        open_journal(tmp_path / "run")


def test_a_log_or_a_mark_that_cannot_be_read(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    for name in ("00000.sqlite-wal", "00000.mark"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).mkdir()
        with pytest.raises(UsageError, match=name):
            open_journal(tmp_path)
        (tmp_path / name).rmdir()
    open_journal(tmp_path).close()


def test_a_journal_of_another_format_is_not_touched(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        settle(journal, make_call(0))
    with contextlib.closing(sqlite3.connect(tmp_path / "00000.sqlite")) as connection:
        connection.execute(f"PRAGMA application_id = {journal_files.APPLICATION_ID + 1}")
        connection.execute("ALTER TABLE responses ADD COLUMN more TEXT")
    with pytest.raises(UsageError, match="another version"):
        open_journal(tmp_path)


MOUNTS = r"""
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export /mnt/nfs nfs4 rw 0 0
//server/share /mnt/my\040share cifs rw 0 0
tmpfs /mnt/nfs/local tmpfs rw 0 0
me@host:/ /mnt/ssh fuse.sshfs rw 0 0
/dev/sdb1 /mnt/usb fuseblk rw 0 0
overlay /mnt/over overlay rw 0 0
/dev/vdb /mnt/twice ext4 rw 0 0
server:/b /mnt/twice nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/run", None),
        ("/mnt/nfs/a/b", "nfs4"),
        ("/mnt/nfsx", None),
        ("/mnt/nfs/local/x", None),
        ("/mnt/my share/run", "cifs"),
        ("/mnt/ssh/run", "fuse.sshfs"),
        ("/mnt/usb/run", None),
        ("/mnt/over/run", None),
        ("/mnt/twice/run", "nfs"),
    ],
)
def test_network_file_systems_are_known(path: str, kind: str | None) -> None:
    assert journal_files.network_filesystem(Path(path), MOUNTS) == kind


def test_no_write_ahead_log_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_journal(tmp_path) as journal:  # begun on a local disk
        settle(journal, make_call(0))
    monkeypatch.setattr("factory.journal.store.network_filesystem", lambda directory: "nfs4")
    notices: list[str] = []
    with open_journal(tmp_path, notice=notices.append) as journal:
        assert len(notices) == 1 and "nfs4" in notices[0] and str(tmp_path) in notices[0]
        asyncio.run(settle_calls(journal, range(1, 30)))
        assert not list(tmp_path.glob("*-wal"))
        with open_journal(tmp_path, writable=False) as reader:
            assert same(reader.get(make_call(9)[0].call_id), make_call(9)[2])
    monkeypatch.undo()
    with open_journal(tmp_path) as journal:  # and moved back
        assert journal.verify() == 30
        settle(journal, make_call(50))


def test_flush_waits_for_adopted_responses(tmp_path: Path) -> None:
    """A ledger written right after a replay from another run has its entries."""
    calls = [make_call(number) for number in range(40)]
    with open_journal(tmp_path / "one" / "journal") as journal:
        settle(journal, *calls)

    async def adopt() -> int:
        with open_journal(tmp_path / "two" / "journal", reuse=[tmp_path / "one"]) as journal:
            for lease, _, _ in calls:
                assert journal.get(lease.call_id) is not None
            await journal.flush()
            return sum(1 for _ in journal.entries())

    assert asyncio.run(adopt()) == 40
