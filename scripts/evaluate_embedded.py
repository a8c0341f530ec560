"""Measure the embedded model: how many of its texts are right, new and distinct, job by job.

`python scripts/evaluate_embedded.py factory/backends/tiny --prompts 300` samples 4 candidates a prompt through
`transformers`. Any other inference is measured by `--generate package.module:function`, a function `(prompts, n,
temperature, max_tokens, seed) -> for each prompt a list of n texts`; `evaluate(generate, ...)` takes the same from
Python. Prompts are drawn from a stream that training never saw. Shares come with their 95% Wilson interval; the
candidates of one prompt are not independent, so the share of single candidates counts the first of each prompt.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

from embedded_grammar.samples import JOBS, draw_variables, make_sample, render_prompt
from embedded_grammar.verify import find_fault

Generate = Callable[[list[str], int, float, int, int], list[list[str]]]


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% Wilson interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def hash_text(text: str) -> bytes:
    """A text's 8-byte hash, for the set of training texts."""
    return blake2b(text.strip().encode(), digest_size=8).digest()


def rebuild_training_hashes(record: dict[str, Any]) -> set[bytes]:
    """Hashes of every completion in the stretches of the stream that `train_embedded.py` wrote to stretches.json."""
    size = record["chunk"]
    return {
        hash_text(make_sample(stretch["seed"], index, shares=stretch["shares"]).completion)
        for stretch in record["stretches"]
        for index in range(stretch["first_chunk"] * size, (stretch["first_chunk"] + stretch["chunks"]) * size)
    }


def draw_prompts(job: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Variables of `count` prompts of a job."""
    return [draw_variables(job, Random(f"evaluation/{seed}/{job}/{i}")) for i in range(count)]


def evaluate_job(
    job: str, generate: Generate, *, prompts: int, candidates: int, seed: int, known: set[bytes]
) -> dict[str, Any]:
    """Generate for one job and count what is right; the first faulty texts are kept as examples."""
    drawn = draw_prompts(job, prompts, seed)
    began = time.monotonic()
    texts = generate([render_prompt(job, v) for v in drawn], candidates, 0.8, 200, seed)
    seconds = time.monotonic() - began
    faults = [[find_fault(job, v, text) for text in group] for v, group in zip(drawn, texts, strict=True)]
    first = sum(group[0] is None for group in faults)
    rows = sum(None in group for group in faults)
    flat = [text for group in texts for text in group]
    right = sum(fault is None for group in faults for fault in group)
    verbatim = sum(hash_text(text) in known for text in flat)
    reasons = Counter(str(fault).split(":")[0].split("(")[0].strip() for group in faults for fault in group if fault)
    return {
        "prompts": prompts,
        "single": {"share": first / prompts, "interval": wilson(first, prompts)},
        "all_candidates": {"share": right / len(flat), "texts": len(flat)},
        f"best_of_{candidates}": {"share": rows / prompts, "interval": wilson(rows, prompts)},
        "verbatim": {"share": verbatim / len(flat), "interval": wilson(verbatim, len(flat))} if known else None,
        "distinct": len(set(flat)) / len(flat),
        "faults": dict(reasons.most_common()),
        "by_kind": _count_by_kind(job, drawn, faults),
        "examples": [
            {"fault": fault, "text": text}
            for group, group_texts in zip(faults, texts, strict=True)
            for fault, text in zip(group, group_texts, strict=True)
            if fault
        ][:12],
        "seconds": round(seconds, 1),
    }


def _count_by_kind(job: str, drawn: Sequence[dict[str, Any]], faults: list[list[str | None]]) -> dict[str, str]:
    keys = {"word-problem": ("operation", "difficulty"), "customer-message": ("sentiment",)}.get(job)
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for variables, group in zip(drawn, faults, strict=True):
        kind = " ".join(variables[k] for k in keys) if keys else variables["fact"]["relation"]
        total[kind] += len(group)
        right[kind] += sum(fault is None for fault in group)
    return {kind: f"{right[kind]}/{total[kind]}" for kind in sorted(total)}


def evaluate(
    generate: Generate,
    *,
    prompts: int = 300,
    candidates: int = 4,
    seed: int = 0,
    known: set[bytes] | None = None,
    jobs: Sequence[str] = JOBS,
) -> dict[str, Any]:
    """Evaluate all jobs; `known` are hashes of training texts, without which nothing is said about verbatim texts."""
    return {
        job: evaluate_job(job, generate, prompts=prompts, candidates=candidates, seed=seed, known=known or set())
        for job in jobs
    }


def load_transformers(checkpoint: Path, threads: int, batch: int = 64) -> Generate:
    """A generating function on `transformers` (float32)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def generate(prompts: list[str], n: int, temperature: float, max_tokens: int, seed: int) -> list[list[str]]:
        torch.manual_seed(seed)
        chats = [
            tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False, add_generation_prompt=True)
            for p in prompts
            for _ in range(n)
        ]
        texts: list[str] = []
        for at in range(0, len(chats), batch):
            inputs = tokenizer(chats[at : at + batch], return_tensors="pt", padding=True, add_special_tokens=False)
            inputs.pop("token_type_ids", None)
            with torch.inference_mode():
                out = model.generate(
                    **inputs, max_new_tokens=max_tokens, do_sample=True, temperature=temperature, top_p=1.0, top_k=0
                )
            texts += tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [texts[i : i + n] for i in range(0, len(texts), n)]

    return generate


def main() -> int:
    """Run the command line; prints a JSON report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--prompts", type=int, default=300, help="prompts a job")
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--generate", help="package.module:function instead of transformers")
    parser.add_argument("--stretches", type=Path, help="stretches.json of the training run, to count verbatim texts")
    parser.add_argument("--out", type=Path, help="write the report here too")
    options = parser.parse_args()
    if options.generate:
        module, _, name = options.generate.partition(":")
        generate: Generate = getattr(importlib.import_module(module), name)
    else:
        generate = load_transformers(options.checkpoint, options.threads)
    record = (
        json.loads(options.stretches.read_text(encoding="utf-8"))
        if options.stretches
        else {"chunk": 0, "stretches": []}
    )
    known = rebuild_training_hashes(record)
    report = evaluate(
        generate,
        prompts=options.prompts,
        candidates=options.candidates,
        seed=options.seed,
        known=known,
        jobs=options.jobs,
    )
    text = json.dumps(report, indent=2, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
