"""bespokelabs-curator: an LLM with the OpenAI backend, its cache in an empty directory."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from task import MAX_TOKENS, MODEL, TEMPERATURE, finish, read_task

task = read_task()
litellm = find_spec("litellm")
assert litellm is not None and litellm.origin is not None
os.environ |= {
    # The ranks of its token counter come with litellm; it would fetch them from the network.
    "TIKTOKEN_CACHE_DIR": str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"),
    "CURATOR_CACHE_DIR": str(task.directory),
    "TELEMETRY_ENABLED": "0",
    "CURATOR_DISABLE_RICH_DISPLAY": "1",
    "OPENAI_API_KEY": "none",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
from bespokelabs import curator  # noqa: E402  (it reads the environment)

llm = curator.LLM(
    model_name=MODEL,
    backend="openai",
    generation_params={"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS},
    backend_params={
        "base_url": task.url,
        "api_key": "none",
        "max_requests_per_minute": 10_000_000,
        "max_tokens_per_minute": 10_000_000_000,
        "max_concurrent_requests": task.concurrency,
    },
)
answer = llm(task.prompts())
finish(len(getattr(answer, "dataset", answer)))
