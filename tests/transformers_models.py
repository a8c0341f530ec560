"""Random models of several families for tests of the transformers backend, and ways to run tasks on them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the transformers backend needs torch")
transformers = pytest.importorskip("transformers", reason="the transformers backend needs transformers")

from factory.backends.transformers.batch import Batch, Limits  # noqa: E402
from factory.backends.transformers.network import Network  # noqa: E402
from factory.backends.transformers.sampling import Settings  # noqa: E402
from factory.backends.transformers.sequences import Completion, Job, Task  # noqa: E402

PRINTABLE = [chr(code) for code in range(33, 127)] + ["Ġ"]
SPECIAL = ["<|pad|>", "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
NAMES = SPECIAL + PRINTABLE
VOCAB = len(NAMES)
TEMPLATE = (
    "<|begin|>{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('the system message comes first') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>{{ opening }}"
)
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "initializer_range": 0.25, "eos_token_id": 2,
    "bos_token_id": 1, "pad_token_id": 0, "use_cache": True,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "mistral": {"sliding_window": 8},
    "gemma2": {"sliding_window": 8, "head_dim": 8, "query_pre_attn_scalar": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
}
RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4, "expand": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_ff_dim": 64, "block_auto_adjust_ff_dim": False},
}


@cache
def make_model(family: str, seed: int = 0) -> Any:
    """A random model, its weights wide enough that answers differ from one another."""
    torch.set_num_threads(1)  # machines that run tests are busy, and threads that wait for each other spin
    torch.manual_seed(seed)
    shape = _SHAPE | {**FAMILIES, **RECURRENT}[family]
    config = transformers.AutoConfig.for_model(family, **shape)
    model = transformers.AutoModelForCausalLM.from_config(config).to(torch.float32).eval()
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    return model


def save_checkpoint(directory: Path, family: str = "llama", *, template: str | None = TEMPLATE) -> Path:
    """A checkpoint whose tokens are printable characters."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    make_model(family).save_pretrained(directory)
    tokenizer = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(NAMES)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>"}
    settings |= {"additional_special_tokens": SPECIAL} | ({"chat_template": template} if template else {})
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory


def spell(tokens: Sequence[int]) -> str:
    """Tokens as text, special ones left out."""
    return "".join(NAMES[token].replace("Ġ", " ") for token in tokens if token >= len(SPECIAL))


def make_task(prompt: Sequence[int], *seeds: int, limit: int = 20, **changes: Any) -> Task:
    settings = Settings(**{key: changes.pop(key) for key in list(changes) if key in Settings.__slots__})
    fields: dict[str, Any] = {"ends": frozenset({2}), "settings": settings} | changes
    return Task(tuple(prompt), seeds or (1,), limit, **fields)


def make_prompt(seed: int, length: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(len(SPECIAL), VOCAB), k=length))


def make_job(task: Task) -> Job:
    """A job whose future gives the completions themselves."""
    return Job(task, lambda completions, gpu_seconds: list(completions), Future())  # type: ignore[arg-type,return-value]


def make_batch(network: Network, rows: int = 64, places: int = 10**6, prefill: int = 4096) -> Batch:
    return Batch(network, spell, Limits(rows, places, prefill), None, "a model")


def run_together(
    network: Network, tasks: Sequence[Task], batch: Batch, order: random.Random | None = None
) -> list[list[Completion]]:
    """All tasks in one batch; with `order` each comes at a random step, in a random order."""
    jobs = [make_job(task) for task in tasks]
    waiting = list(jobs) if order is None else order.sample(jobs, len(jobs))
    with torch.inference_mode():
        while waiting or len(batch):
            while waiting and (order is None or order.random() < 0.4):
                batch.add(waiting.pop(0))
            batch.step()
    return [job.future.result() for job in jobs]  # type: ignore[misc]


def run_alone(network: Network, tasks: Sequence[Task]) -> list[list[Completion]]:
    """Every candidate in a batch of its own."""
    alone = []
    for task in tasks:
        singles = [Task(task.prompt, (seed,), task.limit, task.ends, task.settings, task.stop, task.logprobs)
                   for seed in task.seeds]  # fmt: skip
        alone.append([run_together(network, [single], make_batch(network, 1))[0][0] for single in singles])
    return alone
