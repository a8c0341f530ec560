"""What a Llama-architecture checkpoint's `config.json` says about the model's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.errors import UsageError


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """The shape of a model, as its `config.json` tells it."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    rope_theta: float
    rms_norm_eps: float
    tied: bool
    eos_token_ids: tuple[int, ...]


def read_config(fields: Mapping[str, Any], place: str = "config.json") -> LlamaConfig:
    """The config from the fields of a Hugging Face `config.json`. Raises UsageError on what is missing or unknown."""
    kind = fields.get("model_type")
    if kind != "llama":
        raise UsageError(f"{place}: model_type is {kind!r}, not 'llama'", "point at a Llama-architecture checkpoint")
    expected = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    for key, value in expected.items():
        if fields.get(key, value) != value:
            raise UsageError(f"{place}: {key} is {fields[key]!r}, and only {value!r} is supported")
    rope = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise UsageError(f"{place}: rope_type is {rope_type!r}, and only 'default' is supported")
    eos = fields.get("eos_token_id")
    try:
        heads = int(fields["num_attention_heads"])
        hidden = int(fields["hidden_size"])
        config = LlamaConfig(
            vocab_size=int(fields["vocab_size"]),
            hidden_size=hidden,
            intermediate_size=int(fields["intermediate_size"]),
            layers=int(fields["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(fields.get("num_key_value_heads") or heads),
            head_dim=int(fields.get("head_dim") or hidden // heads),
            context=int(fields["max_position_embeddings"]),
            rope_theta=float(rope.get("rope_theta", fields.get("rope_theta", 10000.0))),
            rms_norm_eps=float(fields.get("rms_norm_eps", 1e-6)),
            tied=bool(fields.get("tie_word_embeddings", False)),
            eos_token_ids=() if eos is None else tuple(eos) if isinstance(eos, list) else (int(eos),),
        )
    except KeyError as error:
        raise UsageError(f"{place}: the key {error} is missing", "point at a whole checkpoint") from error
    if config.heads % config.kv_heads or config.head_dim % 2:
        raise UsageError(f"{place}: {config.heads} heads of {config.head_dim} do not fit {config.kv_heads} KV heads")
    return config
