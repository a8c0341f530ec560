"""Bare aiohttp: nothing is checked, counted or kept. Nobody who uses aiohttp can be faster."""

from __future__ import annotations

import asyncio

import aiohttp
import orjson
from task import MAX_TOKENS, MODEL, TEMPERATURE, Task, finish, read_task


async def ask_all(task: Task) -> int:
    """As many workers as calls may be in flight, on connections that stay open."""
    prompts = iter(task.prompts())
    texts: list[str] = []
    headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def work() -> None:
            for prompt in prompts:
                body = {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": prompt}],
                    "temperature": TEMPERATURE,
                    "max_tokens": MAX_TOKENS,
                }
                async with session.post(task.url + "/chat/completions", data=orjson.dumps(body)) as response:
                    answer = orjson.loads(await response.read())
                texts.append(answer["choices"][0]["message"]["content"])

        await asyncio.gather(*(work() for _ in range(task.concurrency)))
    return len(texts)


finish(asyncio.run(ask_all(read_task())))
