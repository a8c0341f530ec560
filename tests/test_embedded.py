"""The embedded model: the forward pass against transformers, candidates alone against candidates in company."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_models import MODEL, WIDE, make_config, make_model, make_weights, run_alone, run_together

from factory.backends.embedded import MODELS, Chat
from factory.backends.embedded.batching import Task
from factory.backends.embedded.llama import BLOCK, Cache, Llama, load_llama
from factory.backends.embedded.scratch import Scratch
from factory.errors import UsageError
from factory.types import Message

# --- the forward pass -------------------------------------------------------------------------------------------------

ARCHITECTURES: list[dict[str, Any]] = [
    {},
    {"num_attention_heads": 8, "num_key_value_heads": 8, "tie_word_embeddings": False},
    {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 24, "rope_theta": 500.0, "vocab_size": 333},
    {"hidden_size": 96, "num_attention_heads": 3, "num_key_value_heads": 3, "rms_norm_eps": 1e-3},
]


@pytest.mark.parametrize("changes", ARCHITECTURES)
def test_logits_agree_with_transformers(tmp_path: Path, changes: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    torch = pytest.importorskip("torch")
    fields = {
        "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": True,
        "initializer_range": 0.1,
    }  # fmt: skip
    torch.manual_seed(3)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**fields | changes)).float().eval()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            if "norm" in name:
                weight.copy_(1 + 0.3 * torch.randn_like(weight))
    theirs.save_pretrained(tmp_path)
    ours = load_llama(tmp_path)
    assert_logits_agree(ours, theirs, torch, vocab=ours.config.vocab_size)


def test_the_packaged_checkpoint_agrees_with_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is the oracle")
    torch = pytest.importorskip("torch")
    theirs = transformers.LlamaForCausalLM.from_pretrained(MODELS["tiny"], dtype=torch.float32).eval()
    ours = load_llama(MODELS["tiny"])
    assert_logits_agree(ours, theirs, torch, vocab=ours.config.vocab_size)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(MODELS["tiny"])
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Sell 3 × €4 tea\n"}]
    expected = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    mine = Chat(MODELS["tiny"])
    assert mine.encode([Message(m["role"], m["content"]) for m in chat]) == expected  # type: ignore[arg-type]
    assert mine.decode(expected) == tokenizer.decode(expected, skip_special_tokens=True)


def assert_logits_agree(ours: Llama, theirs: Any, torch: Any, vocab: int) -> None:
    """The whole prompt at once, and token by token after a prefill, over several blocks of the cache."""
    tokens = np.random.default_rng(1).integers(0, vocab, 150)
    with torch.no_grad():
        theirs(torch.tensor(tokens)[None])  # on a busy machine torch's first pass can be off by 1e-3
        expected = theirs(torch.tensor(tokens)[None]).logits[0].numpy()
    np.testing.assert_allclose(ours.forward(tokens), expected, rtol=0, atol=1e-4)
    scratch, cache = Scratch(), Cache(ours.config, slots=3)
    for slot, length in enumerate((60, 1, 90)):
        prefix = ours.prefill(tokens[:length], scratch)
        np.testing.assert_allclose(prefix.logits, expected[length - 1], rtol=0, atol=1e-4)
        cache.insert(slot, prefix)
    for step in range(60):
        places = np.array([60, 1, 90]) + step
        got = ours.decode(cache, tokens[places], places, scratch)
        np.testing.assert_allclose(got, expected[places], rtol=0, atol=1e-4)


def test_prompts_fill_the_context_and_no_more() -> None:
    model = make_model(max_position_embeddings=100)
    tokens = np.arange(100)
    assert model.forward(tokens).shape == (100, model.config.vocab_size)
    for count in (0, 101):
        with pytest.raises(ValueError, match="context of 100"):
            model.forward(np.zeros(count, np.int64))


# --- neighbours -------------------------------------------------------------------------------------------------------


@st.composite
def draw_tasks(pick: st.DrawFn) -> list[Task]:
    rng = random.Random(pick(st.integers(0, 2**32)))
    return [
        Task(
            prompt=tuple(rng.randrange(1000) for _ in range(rng.choice([1, 7, 8, 9, 40, BLOCK - 1, BLOCK, 130]))),
            seeds=tuple(rng.randrange(2**31) for _ in range(rng.choice([1, 1, 2, 4]))),
            temperature=rng.choice([0.0, 0.3, 0.8, 1.5]),
            top_p=rng.choice([1.0, 1.0, 0.9, 0.3]),
            max_tokens=rng.choice([None, 1, 5, 30, 90]),
            stop=rng.choice([(), (), ("7 1", "99")]),
        )
        for _ in range(pick(st.integers(1, 9)))
    ]


@settings(max_examples=15, deadline=None)
@given(tasks=draw_tasks(), slots=st.integers(1, 24), order=st.integers(0, 2**32), wide=st.booleans())
def test_a_candidate_is_the_same_alone_and_in_any_company(
    tasks: list[Task], slots: int, order: int, wide: bool
) -> None:
    model = WIDE if wide else MODEL
    together = run_together(model, tasks, slots, random.Random(order))
    for task, found in zip(tasks, together, strict=True):
        assert found == run_alone(model, task)  # token ids, log-probability bits, text, reason


def test_the_property_can_fail() -> None:
    """Candidates do differ by seed, by prompt and by parameters: the equality above is not one of constants."""
    base = Task((5, 6, 7), (1, 2, 3), max_tokens=30)
    seeds = [done.tokens for done in run_alone(WIDE, base)]
    assert len(set(seeds)) == 3
    other = run_alone(WIDE, Task((5, 6, 8), (1,), max_tokens=30)) + run_alone(
        WIDE, Task((5, 6, 7), (1,), temperature=0.5, max_tokens=30)
    )
    assert all(done.tokens != seeds[0] for done in other)


DIGESTS = """
import hashlib, json, random, sys
sys.path.insert(0, sys.argv[1])
from llama_models import WIDE, run_alone, run_together
from factory.backends.embedded.batching import Task
rng = random.Random(4)
tasks = [
    Task(tuple(rng.randrange(2000) for _ in range(rng.randrange(1, 140))), (i, i + 1), 0.9, rng.choice([1.0, 0.8]), 40)
    for i in range(14)
]
ways = [[run_alone(WIDE, task) for task in tasks], run_together(WIDE, tasks, 19, random.Random(1))]
text = [json.dumps([[(c.tokens, [p.hex() for p in c.logprobs]) for c in task] for task in way]) for way in ways]
print(json.dumps([hashlib.sha256(one.encode()).hexdigest() for one in text]))
"""


@pytest.mark.parametrize("core", ["", "Haswell", "SkylakeX"])
def test_bits_do_not_hang_on_blas_threads(core: str) -> None:
    """Under each BLAS kernel family: alone = together, and 1 thread = 2 threads. (Other BLAS ignore the variables.)"""
    printed = set()
    for threads in ("1", "2"):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads} | ({"OPENBLAS_CORETYPE": core} if core else {})
        done = subprocess.run(
            [sys.executable, "-c", DIGESTS, str(Path(__file__).parent)],
            env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if core == "SkylakeX" and done.returncode < 0:
            pytest.skip("this CPU lacks AVX-512")
        assert done.returncode == 0, done.stderr
        alone, together = json.loads(done.stdout)
        assert alone == together
        printed.add(alone)
    assert len(printed) == 1


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_weights_must_fit_the_config() -> None:
    config = make_config()
    weights = make_weights(config)
    with pytest.raises(UsageError, match=r"lm_head\.weight is missing"):
        Llama(make_config(tie_word_embeddings=False), weights)
    with pytest.raises(UsageError, match=r"has shape \[176, 64\], config.json says \[200, 64\]"):
        Llama(make_config(intermediate_size=200), weights)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8}},
        {"num_key_value_heads": 3},
    ],
)
def test_what_is_not_implemented_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make_config(**changes)
