"""The files and batches of an OpenAI-compatible server: one remote act a method, faults classified, nothing retried."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factory.backends import faults
from factory.backends.addresses import base_url_of, host_of, is_loopback, key_of, proxy_for, server_name
from factory.backends.answers import decode
from factory.backends.hiding import Secrets
from factory.backends.http import Sessions
from factory.errors import BadBody, CallFault
from factory.files import is_storage_fault, storage_fault

if TYPE_CHECKING:
    import aiohttp

    from factory.recipe.models import ModelConfig

FILE_TIMEOUT_S = 3600.0
"""For the upload or download of a whole file."""
ACT_TIMEOUT_S = 60.0
PAGE = 100
COMPLETION_WINDOW = "24h"
_CHUNK = 1 << 20


class BatchApi:
    """`{base_url}/files` and `{base_url}/batches` of a model's server, with the model's key."""

    def __init__(self, model: ModelConfig):
        key = key_of(model)
        self.url = base_url_of(model)
        self.where = server_name(self.url)
        self.local = is_loopback(host_of(self.url))
        self._proxy = proxy_for(self.url)
        self._secrets = Secrets((key,), model.headers)
        headers = {"User-Agent": "text-data-factory", **model.headers}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._sessions = Sessions(self.url, headers, FILE_TIMEOUT_S)

    async def upload(self, path: Path, name: str) -> str:
        """Upload a file of requests under a name; its id."""
        import aiohttp

        with path.open("rb") as handle:
            form = aiohttp.FormData()
            form.add_field("purpose", "batch")
            form.add_field("file", handle, filename=name, content_type="application/jsonl")
            return _id_of(await self._act("POST", "/files", FILE_TIMEOUT_S, data=form))

    async def find_files(self, name: str) -> list[str]:
        """The ids of the files of this name."""
        return [str(file["id"]) async for file in self._list("/files?purpose=batch", 0) if file.get("filename") == name]

    async def submit(self, file_id: str, endpoint: str, metadata: Mapping[str, str], once: str) -> dict[str, Any]:
        """Submit a file as a batch; the batch. `once`: a key by which some servers tell a repetition."""
        import orjson

        body = {
            "input_file_id": file_id,
            "endpoint": endpoint,
            "completion_window": COMPLETION_WINDOW,
            "metadata": dict(metadata),
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": once}
        batch = await self._act("POST", "/batches", ACT_TIMEOUT_S, data=orjson.dumps(body), headers=headers)
        _id_of(batch)
        return dict(batch)

    async def find_batches(self, key: str, value: str, file_ids: set[str], since: float) -> list[dict[str, Any]]:
        """The batches with this metadata, or made of one of these files (some servers keep no metadata), oldest first.

        `since`: Unix time before which none of them can have been made.
        """
        found = [
            batch
            async for batch in self._list("/batches?", since)
            if (batch.get("metadata") or {}).get(key) == value or batch.get("input_file_id") in file_ids
        ]
        return sorted(found, key=lambda batch: batch.get("created_at") or 0)

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """A batch as it stands now."""
        found = await self._act("GET", f"/batches/{batch_id}", ACT_TIMEOUT_S)
        if not isinstance(found, dict) or not isinstance(found.get("status"), str):
            raise BadBody("the body is no batch")
        return found

    async def download(self, file_id: str, path: Path) -> None:
        """A file's content into `path`, whole and on the disk or not at all. Raises a CallFault, StorageFull."""
        temporary = path.with_name(f".{path.name}.tmp")
        session = await self._sessions.get()
        try:
            async with session.get(f"{self.url}/files/{file_id}/content", proxy=self._proxy) as response:
                if not 200 <= response.status < 300:
                    raise self._fault(response.status, response.headers, await response.read())
                with temporary.open("wb") as handle:
                    async for chunk in response.content.iter_chunked(_CHUNK):
                        handle.write(chunk)
                    handle.flush()
                    os.fsync(handle.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if error.filename is not None and is_storage_fault(error):
                raise storage_fault(error, path) from error
            raise self._classify(error, FILE_TIMEOUT_S) from None
        except CallFault:
            raise
        except Exception as error:
            raise self._classify(error, FILE_TIMEOUT_S) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._sessions.close()

    async def _list(self, path: str, since: float) -> AsyncIterator[dict[str, Any]]:
        """The entries of a paged list, newest first, back to `since` (and a day, for clocks that differ)."""
        after = ""
        while True:
            page = await self._act("GET", f"{path}&limit={PAGE}{after}".replace("?&", "?"), ACT_TIMEOUT_S)
            entries = page.get("data") if isinstance(page, dict) else None
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise BadBody("the body is no list of files or batches")
            for entry in entries:
                yield entry
            last = entries[-1] if entries else {}
            old = isinstance(last.get("created_at"), int | float) and last["created_at"] < since - 86_400
            if not page.get("has_more") or not last.get("id") or old:
                return
            after = f"&after={last['id']}"

    async def _act(self, method: str, path: str, timeout: float, **sent: Any) -> Any:
        """The decoded body of a good answer. Raises a CallFault."""
        import aiohttp

        session: aiohttp.ClientSession = await self._sessions.get()
        limit = aiohttp.ClientTimeout(total=timeout, connect=10.0)
        try:
            async with session.request(
                method, self.url + path, proxy=self._proxy, allow_redirects=False, timeout=limit, **sent
            ) as response:
                status, headers, raw = response.status, response.headers, await response.read()
        except Exception as error:
            fault = self._classify(error, timeout)
        else:
            if 200 <= status < 300:
                return decode(self._secrets.hide(raw))
            fault = self._fault(status, headers, raw)
        # Outside the handler, so that no exception that holds the request's headers hangs on this one.
        raise fault

    def _classify(self, error: Exception, timeout: float) -> CallFault:
        """The network fault that an exception means. Raises the exception where it means none."""
        fault = faults.fault_of_exception(error, timeout=timeout)
        if fault is None:
            raise error
        return self._named(fault)

    def _fault(self, status: int, headers: Mapping[str, str], raw: bytes) -> CallFault:
        return self._named(faults.fault_of_status(status, headers, faults.read_error(self._secrets.hide(raw))))

    def _named(self, fault: CallFault) -> CallFault:
        fault.message = f"{self.where}: {self._secrets.hide_in(fault.message)}"
        fault.args = (fault.message,)
        return fault


def _id_of(found: object) -> str:
    """The id of what a server made. Raises BadBody, since it may have made it."""
    named = found.get("id") if isinstance(found, dict) else None
    if not isinstance(named, str) or not named:
        raise BadBody("the body names no id")
    return named
