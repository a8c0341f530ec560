"""Tokens per second of the embedded model, beside `transformers.generate` in float32 on the same checkpoint.

    python benchmarks/embedded.py [--checkpoint DIR] [--repeats 7] [--new-tokens 100] [--threads N] [--json]

Both draw at temperature 0.8 from the whole vocabulary, exactly `--new-tokens` tokens for each of 1, 16 and 64 prompts
of one length. Repeats alternate between the two; the ratio is the median of the ratios of neighbouring repeats.
`--threads` limits transformers' threads, for machines whose cores others use too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from factory.backends.embedded import MODELS
from factory.backends.embedded.batching import Engine, Task
from factory.backends.embedded.llama import load_llama

BATCHES = (1, 16, 64)
PROMPT_TOKENS = 48
TEMPERATURE = 0.8

Prompts = list[list[int]]


def make_ours(checkpoint: Path, new_tokens: int) -> Callable[[Prompts], int]:
    """A function that answers prompts with the embedded engine and returns how many tokens it drew."""
    model = load_llama(checkpoint)
    model.config = dataclasses.replace(model.config, eos_token_ids=())
    engine = Engine(model, lambda tokens: "")

    def answer(prompts: Prompts) -> int:
        futures = [
            engine.submit(Task(tuple(prompt), (seed,), temperature=TEMPERATURE, max_tokens=new_tokens))
            for seed, prompt in enumerate(prompts)
        ]
        return sum(len(done.tokens) for future in futures for done in future.result())

    return answer


def make_theirs(checkpoint: Path, new_tokens: int, threads: int | None) -> Callable[[Prompts], int]:
    """The same with `transformers.generate`, on torch's own choice of threads when `threads` is None."""
    import torch
    from transformers import LlamaForCausalLM

    if threads is not None:
        torch.set_num_threads(threads)

    model = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    model.train(False)

    def answer(prompts: Prompts) -> int:
        tokens = torch.tensor(prompts)
        with torch.inference_mode():
            out = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=True,
                temperature=TEMPERATURE,
                top_k=0,
                top_p=1.0,
                min_new_tokens=new_tokens,
                max_new_tokens=new_tokens,
                pad_token_id=0,
            )
        return int((out.shape[1] - tokens.shape[1]) * len(prompts))

    return answer


def measure(answer: Callable[[Prompts], int], prompts: Prompts) -> float:
    """Tokens per second of one run."""
    start = time.perf_counter()
    count = answer(prompts)
    return count / (time.perf_counter() - start)


def compare(checkpoint: Path, repeats: int, new_tokens: int, threads: int | None) -> list[dict[str, Any]]:
    """One line per batch size: medians of both, and the median of paired ratios with its range."""
    ours, theirs = make_ours(checkpoint, new_tokens), make_theirs(checkpoint, new_tokens, threads)
    vocab = load_llama(checkpoint).config.vocab_size
    lines = []
    for batch in BATCHES:
        prompts = np.random.default_rng(batch).integers(0, vocab, (batch, PROMPT_TOKENS)).tolist()
        measure(ours, prompts), measure(theirs, prompts)
        pairs = []
        for repeat in range(repeats):
            first, second = (ours, theirs) if repeat % 2 == 0 else (theirs, ours)
            rates = measure(first, prompts), measure(second, prompts)
            pairs.append(rates if repeat % 2 == 0 else rates[::-1])
        ratios = [mine / other for mine, other in pairs]
        lines.append(
            {
                "batch": batch,
                "ours": statistics.median(mine for mine, _ in pairs),
                "transformers": statistics.median(other for _, other in pairs),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
            }
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=MODELS["tiny"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--threads", type=int, help="threads for transformers (default: torch's choice)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    lines = compare(options.checkpoint, options.repeats, options.new_tokens, options.threads)
    if options.json:
        print(json.dumps({"lines": lines}))
        return
    print("batch  ours tok/s  transformers tok/s  ratio (lowest … highest pair)")
    for line in lines:
        spread = f"{line['lowest']:.2f} … {line['highest']:.2f}"
        rates = f"{line['ours']:10.0f}  {line['transformers']:18.0f}"
        print(f"{line['batch']:5d}  {rates}  {line['ratio']:5.2f} ({spread})")


if __name__ == "__main__":
    main()
