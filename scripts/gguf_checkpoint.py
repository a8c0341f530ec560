"""Write a Llama checkpoint with a byte-level BPE tokenizer (such as the embedded one) as a GGUF file for llama.cpp.

    python scripts/gguf_checkpoint.py factory/backends/tiny tiny.gguf

Needs the packages `gguf`, `numpy` and `safetensors`. llama.cpp's own converter refuses a pre-tokenizer that it has not
seen; here `starcoder`'s is named, which cuts the same pieces but for spaces around signs of arithmetic.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

PRE_TOKENIZER = "starcoder"
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
INSIDE = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tensor_name(name: str) -> str:
    """The name that llama.cpp has for a tensor of a Hugging Face Llama. Raises KeyError for one that it has not."""
    stem, _, kind = name.rpartition(".")
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.{kind}"
    _, _, layer, inner = stem.split(".", 3)
    return f"blk.{layer}.{INSIDE[inner]}.{kind}"


def interleave(weights: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key projection in llama.cpp's order: rotary pairs side by side, not half a head apart."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def add_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_rope_freq_base(config.get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokens = {place: token for token, place in tokenizer["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, gguf.TokenType.NORMAL)
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    order = range(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([tokens[place] for place in order])
    writer.add_token_types([kinds[place] for place in order])
    writer.add_token_merges(
        [" ".join(pair) if isinstance(pair, list) else pair for pair in tokenizer["model"]["merges"]]
    )
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)  # the chat template writes it
    writer.add_chat_template(settings["chat_template"])


def add_weights(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    for name, weights in load_file(folder / "model.safetensors").items():
        full = weights.astype(np.float32)
        if name.endswith("q_proj.weight"):
            full = interleave(full, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            full = interleave(full, config["num_key_value_heads"])
        writer.add_tensor(tensor_name(name), full)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="a folder with config.json, model.safetensors and tokenizer.json")
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    arguments = parser.parse_args()
    config = json.loads((arguments.checkpoint / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "llama":
        parser.error(f"{arguments.checkpoint}: model_type is {config.get('model_type')!r}, not 'llama'")
    writer = gguf.GGUFWriter(arguments.out, "llama")
    writer.add_name(arguments.checkpoint.name)
    add_shape(writer, config)
    add_tokenizer(writer, arguments.checkpoint, config)
    add_weights(writer, arguments.checkpoint, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
