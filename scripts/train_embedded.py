"""Train the embedded model from scratch on the text of the rule-based grammar in `scripts/embedded_grammar`.

    python scripts/train_embedded.py --out RUN --minutes 110 --target-tokens 60_000_000 --seed 1 --drills 0.2

A byte-level BPE vocabulary (single digits and the letters of options are tokens) is learned on the first samples of
the stream; then a Llama of 6 layers, width 128, is trained with AdamW (peak rate 3e-3, warm-up, cosine decay to 2%) in
float32, which was faster on two CPU cores than bfloat16 (138 against 81 GFLOP/s a core). Samples are packed into blocks
of 256 tokens, attention stays inside a sample, and the loss counts completions only. Drills (lists to copy, bare
equations) teach early what the jobs need: without them copying was not learned within 7 million tokens. Progress is
the larger of tokens / target and elapsed / minutes, so that a slow machine ends on time. `--resume` goes on from the
last state in RUN, also with other shares; the stretches that made the shipped checkpoint are told in its card.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from embedded_checkpoint import ASSISTANT, BEGIN, END, USER, export_checkpoint, train_tokenizer
from embedded_grammar.drills import make_drill
from embedded_grammar.samples import SHARES, make_sample
from embedded_network import BLOCK, Blocks, Llama, Shape
from tokenizers import Tokenizer
from torch import nn

CHUNK = 16_384


def _fit_rows(chats: list[tuple[list[int], int]]) -> list[list[tuple[list[int], int]]]:
    """First fit of (tokens, prompt length) into rows of BLOCK tokens, at most 64 open; longer chats are left out."""
    rows: list[list[tuple[list[int], int]]] = []
    room: list[int] = []
    open_rows: list[int] = []
    for ids, head in chats:
        if len(ids) > BLOCK:
            continue
        place = next((r for r in open_rows if room[r] >= len(ids)), None)
        if place is None:
            rows.append([])
            room.append(BLOCK)
            place = len(rows) - 1
            open_rows.append(place)
        rows[place].append((ids, head))
        room[place] -= len(ids)
        if len(open_rows) > 64 or room[place] < 60:
            open_rows.remove(min(open_rows, key=room.__getitem__))
    return rows


def make_texts(seed: int, index: int, shares: Sequence[float], drills: float) -> tuple[str, str]:
    """Prompt and completion number `index` of the stream: a sample of a job or, for the share `drills`, a drill."""
    rng = Random(f"drill/{seed}/{index}")
    if rng.random() < drills:
        return make_drill(rng)
    sample = make_sample(seed, index, shares=shares)
    return sample.prompt, sample.completion


def pack_chunk(tokenizer: Tokenizer, seed: int, chunk: int, shares: Sequence[float], drills: float) -> Blocks:
    """Make, tokenise and pack samples [chunk × CHUNK, (chunk + 1) × CHUNK): first fit, then a fixed shuffle."""
    texts = [make_texts(seed, chunk * CHUNK + i, shares, drills) for i in range(CHUNK)]
    prompts = tokenizer.encode_batch_fast([prompt for prompt, _ in texts])
    completions = tokenizer.encode_batch_fast([completion for _, completion in texts])
    chats = []
    for prompt, completion in zip(prompts, completions, strict=True):
        head = [BEGIN, USER, *prompt.ids, END, ASSISTANT]
        chats.append(([*head, *completion.ids, END], len(head)))
    rows = _fit_rows(chats)
    tokens = np.zeros((len(rows), BLOCK), np.int64)
    segments, learned = np.zeros((len(rows), BLOCK), np.int64), np.zeros((len(rows), BLOCK), bool)
    for r, row in enumerate(rows):
        at = 0
        for number, (ids, start) in enumerate(row, 1):
            tokens[r, at : at + len(ids)] = ids
            segments[r, at : at + len(ids)] = number
            learned[r, at + start : at + len(ids)] = True
            at += len(ids)
    order = np.random.default_rng([seed, chunk]).permutation(len(rows))
    return Blocks(tokens[order], segments[order], learned[order])


def stream_batches(
    tokenizer: Tokenizer, options: argparse.Namespace, chunks: Iterable[int]
) -> Iterator[tuple[int, Blocks]]:
    """Batches of the given chunks, each with its chunk's number."""
    for chunk in chunks:
        blocks = pack_chunk(tokenizer, options.seed, chunk, options.shares, options.drills)
        for at in range(0, len(blocks.tokens) - options.batch + 1, options.batch):
            part = slice(at, at + options.batch)
            yield chunk, Blocks(blocks.tokens[part], blocks.segments[part], blocks.learned[part])


def compute_rate(progress: float, peak: float) -> float:
    """Learning rate at a progress in [0, 1]: linear warm-up over 2%, then cosine decay to 2% of the peak."""
    if progress < 0.02:
        return peak * (progress / 0.02 + 1e-3)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.02) / 0.98))))


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, help="run directory: state.pt and the exported checkpoint in export/"
    )
    parser.add_argument("--minutes", type=float, default=70, help="wall-clock end of training")
    parser.add_argument("--target-tokens", type=int, default=25_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shares", type=float, nargs=3, default=SHARES, help="shares of the three jobs in the stream")
    parser.add_argument("--drills", type=float, default=0.0, help="share of copying and bare equations in the stream")
    parser.add_argument("--batch", type=int, default=4, help="blocks of 256 tokens in a step of one worker")
    parser.add_argument("--peak", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--publish", type=Path, help="also export every saved checkpoint here")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/state.pt")
    return parser.parse_args(argv)


class Trainer:
    """One worker of a training run: network, optimiser, progress; worker 0 saves and reports.

    Each worker has one thread and its own chunks of the stream; gradients are averaged once a step. On busy cores
    this is three times as fast as one process whose every operation waits for two threads.
    """

    def __init__(self, options: argparse.Namespace, rank: int) -> None:
        self.options, self.rank, self.shape = options, rank, Shape()
        torch.manual_seed(options.seed)
        self.model = Llama(self.shape)
        self.parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in self.parameters if p.dim() == 2], "weight_decay": 0.05},
            {"params": [p for p in self.parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-5, betas=(0.9, 0.97), fused=True)
        self.tokens, self.step, self.chunk, spent = 0, 0, rank, 0.0
        self.stretches: list[dict[str, Any]] = []
        self.tokenizer = Tokenizer.from_file(str(options.out / "tokenizer.json"))
        if options.resume:
            state = torch.load(options.out / "state.pt")
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            # The chunks in work are left half used: the stream goes on with the next ones.
            self.tokens, self.step, self.chunk, spent = (
                state["tokens"],
                state["step"],
                state["chunk"] + options.workers + rank,
                state["spent"],
            )
            self.stretches = state["stretches"]
        # What the checkpoint has read: stretches of the stream, for measuring later which of its texts are new.
        start = {"seed": options.seed, "first_chunk": self.chunk - rank}
        self.stretches.append({**start, "shares": list(options.shares), "drills": options.drills})
        self.started = time.monotonic() - spent

    def save(self) -> None:
        """Save the state for `--resume`, export the checkpoint and write what was read to OUT/stretches.json."""
        now = self.stretches[-1]
        now["chunks"] = self.chunk + self.options.workers - now["first_chunk"]
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "tokens": self.tokens,
            "step": self.step,
            "chunk": self.chunk,
            "spent": time.monotonic() - self.started,
            "stretches": self.stretches,
        }
        torch.save(state, self.options.out / "state.part")
        os.replace(self.options.out / "state.part", self.options.out / "state.pt")
        record = {"chunk": CHUNK, "stretches": self.stretches, "tokens": self.tokens, "steps": self.step}
        (self.options.out / "stretches.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for place in (self.options.out / "export", self.options.publish):
            if place is not None:
                export_checkpoint(self.model, self.tokenizer, self.shape, place)

    def share_gradients(self, loss: torch.Tensor, blocks: Blocks) -> tuple[float, float]:
        """Average the gradients over the workers, count their tokens; returns (mean loss, worker 0's minutes)."""
        minutes = (time.monotonic() - self.started) / 60 if self.rank == 0 else 0.0
        extra = torch.tensor([loss.item(), float((blocks.segments > 0).sum()), minutes])
        flat = torch.cat([*(p.grad.flatten() for p in self.parameters if p.grad is not None), extra])
        dist.all_reduce(flat)
        at = 0
        for parameter in self.parameters:
            if parameter.grad is not None:
                size = parameter.numel()
                parameter.grad.copy_(flat[at : at + size].view_as(parameter)).div_(self.options.workers)
                at += size
        self.tokens += int(flat[-2])
        return float(flat[-3]) / self.options.workers, float(flat[-1])

    def train_step(self, blocks: Blocks, progress: float) -> tuple[float, float]:
        """One optimiser step; returns (mean loss, new progress)."""
        for group in self.optimizer.param_groups:
            group["lr"] = compute_rate(progress, self.options.peak)
        loss = self.model.compute_loss(blocks)
        loss.backward()
        mean_loss, minutes = self.share_gradients(loss.detach(), blocks)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return mean_loss, max(self.tokens / self.options.target_tokens, minutes / self.options.minutes)

    def run(self) -> None:
        """Train to the end of progress, saving every few minutes."""
        if self.rank == 0:
            size = sum(p.numel() for p in self.parameters)
            print(f"{size:,} parameters, step {self.step}, {self.tokens:,} tokens so far", flush=True)
            self.save()
        progress = self.tokens / self.options.target_tokens
        saved, losses, mark = time.monotonic(), [], (time.monotonic(), self.tokens)
        chunks = itertools.count(self.chunk, self.options.workers)
        for chunk, blocks in stream_batches(self.tokenizer, self.options, chunks):
            self.chunk = chunk
            loss, progress = self.train_step(blocks, progress)
            losses.append(loss)
            if self.rank == 0 and self.step % 50 == 0:
                now = time.monotonic()
                speed = (self.tokens - mark[1]) / (now - mark[0])
                position = f"step {self.step} progress {progress:.3f} tokens {self.tokens:,}"
                print(f"{position} loss {np.mean(losses):.4f} {speed:.0f} tokens/s", flush=True)
                losses, mark = [], (now, self.tokens)
            if self.rank == 0 and time.monotonic() - saved > self.options.save_minutes * 60:
                self.save()
                saved = time.monotonic()
            if progress >= 1:
                break
        if self.rank == 0:
            self.save()
            minutes = (time.monotonic() - self.started) / 60
            print(f"done: {self.tokens:,} tokens, {self.step} steps, {minutes:.1f} minutes", flush=True)


def run_worker(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """One process of the run."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=options.workers)
    Trainer(options, rank).run()
    dist.destroy_process_group()


def main() -> int:
    """Run the command line."""
    options = parse_arguments(sys.argv[1:])
    options.out.mkdir(parents=True, exist_ok=True)
    vocabulary = options.out / "tokenizer.json"
    if not options.resume:
        train_tokenizer(options.seed, 24_000, Shape().vocab_size).save(str(vocabulary))
    with tempfile.TemporaryDirectory() as scratch:
        mp.spawn(run_worker, (options, str(Path(scratch) / "meeting")), nprocs=options.workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
