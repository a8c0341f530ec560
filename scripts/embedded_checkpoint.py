"""The embedded model's vocabulary, chat template and checkpoint files in the Hugging Face layout."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from embedded_grammar.samples import make_sample
from embedded_network import Llama, Shape
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIALS = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, BEGIN, END, _, USER, ASSISTANT = range(6)
OPTIONS = ("A)", "B)", "C)", "D)")
"""Tokens of their own, so that what follows a letter in the prompt can be found again by that letter alone."""
CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# A digit stands alone; an operator keeps its spaces; words, punctuation and line ends follow.
WORDS = r"\d| ?[-+×÷=] (?=\d)| ?\p{L}+| ?[^\s\p{L}\d]+|\s+(?!\S)|\s+"


def train_tokenizer(seed: int, samples: int, vocab_size: int) -> Tokenizer:
    """Learn the byte-level BPE vocabulary on the first samples of the stream; `OPTIONS` are its last tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(OPTIONS),
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for i in range(samples) for s in (make_sample(seed, i),) for text in (s.prompt, s.completion))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(option, normalized=False) for option in OPTIONS])
    return tokenizer


def export_checkpoint(model: Llama, tokenizer: Tokenizer, shape: Shape, out: Path) -> None:
    """Write the Hugging Face layout to `out`; each file appears whole, weights last."""
    out.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f"{out.name}.part{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "initializer_range": 0.03,
        "use_cache": True,
        "torch_dtype": "float16",
        **asdict(shape),
    }
    texts = {
        "config.json": config,
        "generation_config.json": {
            "bos_token_id": BEGIN,
            "eos_token_id": END,
            "pad_token_id": PAD,
            "do_sample": True,
            "temperature": 0.8,
            "max_new_tokens": 200,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIALS[BEGIN],
            "eos_token": SPECIALS[END],
            "pad_token": SPECIALS[PAD],
            "model_max_length": shape.max_position_embeddings,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, content in texts.items():
        (scratch / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    tokenizer.save(str(scratch / "tokenizer.json"))
    weights = {
        f"model.{name}": value.detach().to(torch.float16).contiguous() for name, value in model.state_dict().items()
    }
    save_file(weights, scratch / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", *texts, "model.safetensors"):
        (scratch / name).chmod(0o644)
        os.replace(scratch / name, out / name)
    scratch.rmdir()
