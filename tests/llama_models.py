"""Random Llama models for tests, and ways to run candidates alone and in company."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

from factory.backends.embedded.batching import Batch, Completion, Task, _Job
from factory.backends.embedded.llama import Llama
from factory.backends.embedded.llama_config import LlamaConfig, read_config


def make_config(**changes: Any) -> LlamaConfig:
    fields = {
        "model_type": "llama", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "eos_token_id": 2,
        "tie_word_embeddings": True,
    }  # fmt: skip
    return read_config(fields | changes)


def make_weights(config: LlamaConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights, wide enough that answers differ from one another."""
    rng = np.random.default_rng(seed)
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    shapes = {"model.embed_tokens.weight": (config.vocab_size, hidden), "model.norm.weight": (hidden,)}
    for i in range(config.layers):
        layer = f"model.layers.{i}"
        shapes |= {
            f"{layer}.self_attn.q_proj.weight": (queries, hidden),
            f"{layer}.self_attn.k_proj.weight": (keys, hidden),
            f"{layer}.self_attn.v_proj.weight": (keys, hidden),
            f"{layer}.self_attn.o_proj.weight": (hidden, queries),
            f"{layer}.mlp.gate_proj.weight": (inner, hidden),
            f"{layer}.mlp.up_proj.weight": (inner, hidden),
            f"{layer}.mlp.down_proj.weight": (hidden, inner),
            f"{layer}.input_layernorm.weight": (hidden,),
            f"{layer}.post_attention_layernorm.weight": (hidden,),
        }
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab_size, hidden)
    scale = {name: 1.0 if len(shape) == 1 else 0.15 for name, shape in shapes.items()}
    return {name: (rng.standard_normal(shape) * scale[name]).astype(np.float16) for name, shape in shapes.items()}


def make_model(seed: int = 0, **changes: Any) -> Llama:
    config = make_config(**changes)
    return Llama(config, make_weights(config, seed))


def spell(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))


def run_alone(model: Llama, task: Task) -> list[Completion]:
    """Every candidate of a task in a batch of its own."""
    out = []
    for seed in task.seeds:
        batch = Batch(model, spell, slots=1)
        job = _Job(Task(task.prompt, (seed,), task.temperature, task.top_p, task.max_tokens, task.stop), Future())
        assert batch.admit(job)
        while len(batch):
            batch.step()
        out += job.future.result()
    return out


def run_together(model: Llama, tasks: Sequence[Task], slots: int, order: random.Random) -> list[list[Completion]]:
    """All tasks in one batch; each joins at a random step, in a random order."""
    batch = Batch(model, spell, slots)
    jobs = [_Job(task, Future()) for task in tasks]
    waiting = order.sample(jobs, len(jobs))
    while waiting or len(batch):
        while waiting and order.random() < 0.3 and batch.admit(waiting[0]):
            waiting.pop(0)
        batch.step()
    return [job.future.result() for job in jobs]


MODEL = make_model()
WIDE = make_model(1, vocab_size=2048, hidden_size=128, intermediate_size=352, num_hidden_layers=3)
