"""A headless Chromium over the DevTools protocol: pages at a width and in a colour scheme, and what came of it."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--mute-audio",
    "--hide-scrollbars", "--remote-debugging-port=0",
)  # fmt: skip


def find_chromium() -> str | None:
    """The browser's path, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Visit:
    """What opening a page gave. `width`, `shown`: `scrollWidth` and `clientWidth`; `requests`: addresses that it asked
    for beside its own; `problems`: messages, errors and dialogues; `values`: of the scripts that were asked.
    """

    width: int = 0
    shown: int = 0
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    picture: bytes = b""


class Chromium:
    """One browser for many visits; `close` ends it."""

    def __init__(self, program: str, profile: Path):
        self._profile = profile
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert self._process.stderr is not None
        deadline = threading.Timer(120, self._process.kill)
        deadline.start()
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if "DevTools listening on " in line:
                self._address = line.split("DevTools listening on ")[1].strip()
                deadline.cancel()
                return
        deadline.cancel()
        raise RuntimeError(f"{program} did not start: {''.join(lines)[-500:]}")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def visit(
        self,
        page: Path,
        *,
        width: int = 1400,
        dark: bool = False,
        scripts: tuple[str, ...] = (),
        media: str = "",
        picture: bool = False,
        lawless: bool = False,
    ) -> Visit:
        """Open a file at a width, in a colour scheme, for a medium; run scripts in it, take a picture of it all.

        `lawless`: the page's own Content Security Policy does not hold.
        """
        return asyncio.run(self._visit(page, width, dark, scripts, media, picture, lawless))

    async def _visit(
        self, page: Path, width: int, dark: bool, scripts: tuple[str, ...], media: str, picture: bool, lawless: bool
    ) -> Visit:
        visit = Visit()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self._address, max_msg_size=0, heartbeat=30) as socket,
        ):
            browser = _Wire(socket, visit)
            target = (await browser.call("Target.createTarget", url="about:blank"))["targetId"]
            attached = await browser.call("Target.attachToTarget", targetId=target, flatten=True)
            browser.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await browser.call(f"{domain}.enable")
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            await browser.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
            await browser.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
            )
            await browser.call("Page.setBypassCSP", enabled=lawless)
            browser.loaded.clear()
            moved = await browser.call("Page.navigate", url=page.resolve().as_uri())
            assert "errorText" not in moved, f"{page}: {moved['errorText']}"
            await browser.until_loaded()
            visit.width = await browser.evaluate("document.documentElement.scrollWidth")
            visit.shown = await browser.evaluate("document.documentElement.clientWidth")
            for script in scripts:
                visit.values.append(await browser.evaluate(script))
            if picture:
                taken = await browser.call(
                    "Page.captureScreenshot", captureBeyondViewport=True, clip=await browser.size()
                )
                visit.picture = base64.b64decode(taken["data"])
            browser.session = None
            await browser.call("Target.closeTarget", targetId=target)
        return visit


class _Wire:
    """Calls and their answers over one socket; events go into the visit."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, visit: Visit):
        self.session: str | None = None
        self.loaded = asyncio.Event()
        self._socket, self._visit, self._number = socket, visit, 0

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        asked = self._number
        told = {"id": asked, "method": method, "params": params}
        await self._socket.send_json(told | ({"sessionId": self.session} if self.session else {}))
        while True:
            message = await self._receive()
            if message.get("id") == asked:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    async def until_loaded(self) -> None:
        while not self.loaded.is_set():
            await self._receive()

    async def evaluate(self, script: str) -> Any:
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:500])
        return found["result"].get("value")

    async def size(self) -> dict[str, float]:
        box = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        return {"x": 0, "y": 0, "width": box["width"], "height": box["height"], "scale": 1}

    async def _receive(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self._socket.receive(), 120)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise RuntimeError(f"the browser went away: {message}")
        told: dict[str, Any] = json.loads(message.data)
        self._note(told.get("method", ""), told.get("params", {}))
        return told

    def _note(self, method: str, params: dict[str, Any]) -> None:
        """What a page should not do: log, throw, open a dialogue, ask for anything."""
        problems = self._visit.problems
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.consoleAPICalled":
            problems.append(f"console: {json.dumps(params['args'])[:300]}")
        elif method == "Runtime.exceptionThrown":
            problems.append(f"exception: {json.dumps(params['exceptionDetails'])[:300]}")
        elif method == "Log.entryAdded":
            problems.append(f"log: {params['entry']['text'][:300]}")
        elif method == "Page.javascriptDialogOpening":
            problems.append(f"dialogue: {params['message'][:100]}")
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "about:", "data:")) or params.get("type") not in ("Document", None):
                self._visit.requests.append(url[:200])
