"""Run by the python that has vLLM: asks the backend `vllm` this and that, and prints what came back as one JSON object.

python ask_vllm.py CHECKPOINT [answers | endless]
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import time
from typing import Any

from factory.backends.vllm import open_backend
from factory.errors import CallFault, FactoryError
from factory.generating import build_request
from factory.recipe import ModelConfig
from factory.types import Message, Response

PROMPT = "Write a word problem about apples. Operation: subtraction."
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string", "maxLength": 60}, "count": {"enum": ["one", "two"]}},
    "required": ["question", "count"],
    "additionalProperties": False,
}
ENGINE = {
    "dtype": "float32",
    "enforce_eager": True,
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}


def model(checkpoint: str, **changes: Any) -> ModelConfig:
    fields = {"backend": "vllm", "model": checkpoint, "temperature": 0.8, "max_tokens": 120, "engine": ENGINE}
    return ModelConfig.model_validate(fields | changes)


async def ask(config: ModelConfig, seed: int = 5, text: str = PROMPT, **changes: Any) -> Response:
    backend = open_backend(config)
    try:
        messages = (Message("user", text),)
        return await backend.generate(build_request(config, messages, seed=seed, row=0, step="x", **changes))
    finally:
        await backend.close()


async def refusal(config: ModelConfig, **changes: Any) -> list[str]:
    try:
        await ask(config, **changes)
    except (CallFault, FactoryError) as error:
        return [type(error).__name__, error.message, getattr(error, "hint", "")]
    return ["none", "", ""]


def texts(response: Response) -> list[str]:
    return [choice.text for choice in response.choices]


async def answers(checkpoint: str) -> dict[str, Any]:
    config = model(checkpoint)
    holder = open_backend(config)  # keeps the engine up while others borrow and give it back
    began = time.monotonic()
    await holder.generate(build_request(config, (Message("user", PROMPT),), seed=1, row=0, step="x"))
    found: dict[str, Any] = {"start_s": time.monotonic() - began}
    four = await ask(config, n=4)
    found["four"], found["again"] = texts(four), texts(await ask(config, n=4))
    found["usage"] = [four.usage.prompt_tokens, four.usage.completion_tokens]
    found["two"], found["solo"] = texts(await ask(config, n=2)), texts(await ask(config))
    began = time.monotonic()
    crowd = await asyncio.gather(
        *(
            ask(config, seed=5 if k == 31 else 1000 + 10 * k, text=PROMPT if k % 2 else f"{PROMPT} {k}", n=4)
            for k in range(64)
        )
    )
    found["wall_s"] = time.monotonic() - began
    found["tokens"] = sum(response.usage.completion_tokens for response in crowd)
    found["gpu_s"] = sum(response.usage.gpu_seconds or 0.0 for response in crowd)
    found["in_a_crowd"] = texts(crowd[31])
    told = await ask(config, logprobs=2)
    choice = told.choices[0]
    found["logprobs"] = [
        choice.text,
        [[t.token, t.logprob, [list(pair) for pair in t.top]] for t in choice.logprobs or ()],
    ]
    found["logprobs_0"] = [len(t.top) for t in (await ask(config, logprobs=0)).choices[0].logprobs or ()]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    found["json"] = texts(await ask(config, n=3, response_format=form))
    found["object"] = texts(await ask(model(checkpoint, max_tokens=400), response_format={"type": "json_object"}))
    found["greedy"] = texts(await ask(model(checkpoint, temperature=0), n=3))
    found["top_k_1"] = texts(await ask(model(checkpoint, top_k=1)))
    found["stop"] = texts(await ask(model(checkpoint, temperature=0, stop=[found["greedy"][0][10:14]])))
    found["five_tokens"] = (
        await ask(model(checkpoint, extra_body={"min_tokens": 5, "ignore_eos": True}, max_tokens=5))
    ).usage.completion_tokens
    full = await ask(model(checkpoint, max_tokens=None, extra_body={"ignore_eos": True}))
    found["to_the_brim"] = [full.usage.prompt_tokens, full.usage.completion_tokens, full.choices[0].finish_reason]
    found["too_long"] = await refusal(config, text="apples " * 600)
    found["unknown"] = await refusal(model(checkpoint, extra_body={"min_tokns": 5}))
    found["bad_value"] = await refusal(model(checkpoint, extra_body={"repetition_penalty": -3}))
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    found["bad_schema"] = await refusal(config, response_format=bad)
    dying = asyncio.create_task(refusal(model(checkpoint, max_tokens=400, extra_body={"ignore_eos": True}), n=64))
    await asyncio.sleep(0.3)
    for child in multiprocessing.active_children():
        child.kill()
    found["death"] = await asyncio.wait_for(dying, 60)
    await holder.close()
    return found


async def endless(checkpoint: str) -> None:
    """Keeps the engine busy for ever, after telling the ids of its processes."""
    import psutil

    config = model(checkpoint, max_tokens=400, extra_body={"ignore_eos": True})
    holder = open_backend(config)
    await holder.generate(build_request(config, (Message("user", PROMPT),), seed=1, row=0, step="x"))
    print(json.dumps([child.pid for child in psutil.Process().children(recursive=True)]), flush=True)
    while True:
        await ask(config, n=64)


async def main() -> None:
    checkpoint, what = sys.argv[1:]
    if what == "endless":
        await endless(checkpoint)
    found = await answers(checkpoint)
    found["pid"] = os.getpid()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
