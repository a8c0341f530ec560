"""The openai SDK by itself: a client, a semaphore, and `asyncio.gather`."""

from __future__ import annotations

import asyncio

from openai import AsyncOpenAI
from task import MAX_TOKENS, MODEL, TEMPERATURE, Task, finish, read_task


async def ask_all(task: Task) -> int:
    slots = asyncio.Semaphore(task.concurrency)
    async with AsyncOpenAI(base_url=task.url, api_key="none") as client:

        async def ask(prompt: str) -> str:
            async with slots:
                answer = await client.chat.completions.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": prompt}],
                    temperature=TEMPERATURE,
                    max_tokens=MAX_TOKENS,
                )
            return answer.choices[0].message.content or ""

        return len(await asyncio.gather(*(ask(prompt) for prompt in task.prompts())))


finish(asyncio.run(ask_all(read_task())))
