"""sdg_hub: the LLM chat block over a frame of messages, asynchronous, as its flows call it."""

from __future__ import annotations

import os

from task import MAX_TOKENS, MODEL, TEMPERATURE, finish, read_task

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import pandas as pd
from sdg_hub.core.blocks import LLMChatBlock  # litellm reads the environment

task = read_task()
block = LLMChatBlock(
    block_name="chat",
    input_cols="messages",
    output_cols="answer",
    model=f"openai/{MODEL}",
    api_base=task.url,
    api_key="none",
    async_mode=True,
    temperature=TEMPERATURE,
    max_tokens=MAX_TOKENS,
)
frame = pd.DataFrame({"messages": [[{"role": "user", "content": prompt}] for prompt in task.prompts()]})
made = block.generate(frame, _flow_max_concurrency=task.concurrency)
made.to_parquet(task.directory / "made.parquet")
finish(int(made["answer"].map(len).gt(0).sum()))
