"""A Llama-architecture language model in NumPy alone: weights, a KV cache, prefill and batched decoding in float32.

What one sequence gets never depends on its neighbours, bit for bit. Float32 sums depend on their order, and BLAS
chooses the order by the shape of the whole product. So no shape here hangs on the batch:

- linear layers run as stacks of products of one fixed shape, `TILE` rows by a column chunk. The chunks are small
  enough that BLAS does not split them over threads either;
- attention runs over blocks of `BLOCK` positions, one small product each; block results are added in order, and a
  block past a sequence's end adds an exact 0;
- everything else works on each row alone.

Architecture: RMSNorm, rotary positions in half-split form, grouped-query attention, SwiGLU (Touvron et al. 2023,
arXiv:2302.13971; Su et al. 2021, arXiv:2104.09864; Ainslie et al. 2023, arXiv:2305.13245).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.backends.embedded.llama_config import LlamaConfig, read_config
from factory.backends.embedded.scratch import Scratch
from factory.errors import UsageError

Array = NDArray[np.float32]
Ints = NDArray[np.int64]

TILE = 8
BLOCK = 64
_TOGETHER = 16 * TILE
"""Positions whose logits are held at once where a whole text's are wanted."""
_SERIAL_PRODUCT = 1 << 18
"""Products of at most this many multiplications run on the calling thread in OpenBLAS."""
_COLUMNS = 16


def load_llama(directory: Path) -> Llama:
    """The model of a directory with `config.json` and `model.safetensors`. Raises UsageError when either is unfit."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config_file, weights_file = directory / "config.json", directory / "model.safetensors"
    for file in (config_file, weights_file):
        if not file.is_file():
            raise UsageError(f"{file}: no such file", "a checkpoint needs config.json and model.safetensors")
    try:
        fields = json.loads(config_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{config_file}: not JSON ({error})") from error
    try:
        weights = load_file(weights_file)
    except (SafetensorError, KeyError, TypeError) as error:
        raise UsageError(f"{weights_file}: cannot be read ({error})", "store it as float16 or float32") from error
    return Llama(read_config(fields, str(config_file)), weights, place=str(weights_file))


def _blocks(length: int) -> int:
    """Blocks that hold `length` positions."""
    return -(-length // BLOCK)


@dataclass(frozen=True, slots=True)
class _Linear:
    """A matrix cut into equal column chunks: [chunks, inputs, columns], zero columns at the end."""

    chunks: Array
    name: str

    def __call__(self, rows: Array, scratch: Scratch) -> Array:
        """Rows [tiles × TILE, inputs] → [tiles × TILE, chunks × columns], a product for each tile and chunk."""
        count, inputs, columns = self.chunks.shape
        tiles = len(rows) // TILE
        out = scratch.take(self.name, tiles, TILE, count, columns)
        np.matmul(rows.reshape(tiles, 1, TILE, inputs), self.chunks, out=out.transpose(0, 2, 1, 3))
        return out.reshape(len(rows), count * columns)


def _chunk(name: str, matrix: Array) -> _Linear:
    """Cut a matrix [inputs, outputs] so that a tile's product with one chunk stays serial."""
    inputs, outputs = matrix.shape
    widest = max(_SERIAL_PRODUCT // (TILE * inputs) // _COLUMNS * _COLUMNS, _COLUMNS)
    count = -(-outputs // widest)
    columns = -(-outputs // (count * _COLUMNS)) * _COLUMNS
    padded = np.zeros((inputs, count * columns), np.float32)
    padded[:, :outputs] = matrix
    return _Linear(np.ascontiguousarray(padded.reshape(inputs, count, columns).transpose(1, 0, 2)), name)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block's matrices. RMSNorm weights and the attention scale are folded into them."""

    qkv: _Linear
    out: _Linear
    gate_up: _Linear
    down: _Linear


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt that was read: its keys and values by layer, and the logits of what follows it [vocab]."""

    length: int
    keys: Array
    values: Array
    logits: Array


class Cache:
    """Keys [layers, blocks, slots, kv_heads, head_dim, BLOCK] and values […, BLOCK, head_dim] of running sequences."""

    def __init__(self, config: LlamaConfig, slots: int):
        shape = (config.layers, _blocks(config.context), slots, config.kv_heads)
        self.keys = np.zeros((*shape, config.head_dim, BLOCK), np.float32)
        self.values = np.zeros((*shape, BLOCK, config.head_dim), np.float32)

    def insert(self, slot: int, prefix: Prefix) -> None:
        """Start a sequence in `slot` with a prompt that was read before."""
        blocks = prefix.keys.shape[1]
        self.keys[:, :blocks, slot] = prefix.keys
        self.values[:, :blocks, slot] = prefix.values

    def move(self, source: int, target: int, length: int) -> None:
        """Move a sequence of `length` positions to another slot; its results stay the same."""
        blocks = _blocks(length)
        self.keys[:, :blocks, target] = self.keys[:, :blocks, source]
        self.values[:, :blocks, target] = self.values[:, :blocks, source]


class Llama:
    """The forward pass. Weights are named as in a Hugging Face checkpoint; any float type becomes float32."""

    def __init__(self, config: LlamaConfig, weights: Mapping[str, NDArray[Any]], place: str = "weights"):
        self.config = config
        self._weights, self._place = weights, place
        hidden, inner = config.hidden_size, config.intermediate_size
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self._embedding = self._take("model.embed_tokens.weight", config.vocab_size, hidden)
        self._layers = tuple(self._build(f"model.layers.{i}", queries, keys, inner) for i in range(config.layers))
        head = "model.embed_tokens.weight" if config.tied else "lm_head.weight"
        norm = self._take("model.norm.weight", hidden)
        self._head = _chunk("logits", self._take(head, config.vocab_size, hidden).T * norm[:, None])
        self._cos, self._sin = _rotary_tables(config)
        del self._weights

    def _take(self, name: str, *shape: int) -> Array:
        found = self._weights.get(name)
        if found is None:
            raise UsageError(f"{self._place}: the tensor {name} is missing", "config.json and the weights must fit")
        if found.shape != shape:
            raise UsageError(f"{self._place}: {name} has shape {list(found.shape)}, config.json says {list(shape)}")
        return found.astype(np.float32)

    def _build(self, name: str, queries: int, keys: int, inner: int) -> _Layer:
        hidden = self.config.hidden_size
        before = self._take(f"{name}.input_layernorm.weight", hidden)[:, None]
        between = self._take(f"{name}.post_attention_layernorm.weight", hidden)[:, None]
        query = self._take(f"{name}.self_attn.q_proj.weight", queries, hidden) / np.float32(self.config.head_dim**0.5)
        key = self._take(f"{name}.self_attn.k_proj.weight", keys, hidden)
        value = self._take(f"{name}.self_attn.v_proj.weight", keys, hidden)
        gate = self._take(f"{name}.mlp.gate_proj.weight", inner, hidden)
        up = self._take(f"{name}.mlp.up_proj.weight", inner, hidden)
        return _Layer(
            qkv=_chunk("qkv", np.concatenate([query, key, value]).T * before),
            out=_chunk("out", self._take(f"{name}.self_attn.o_proj.weight", hidden, queries).T),
            gate_up=_chunk("gate_up", np.concatenate([gate, up]).T * between),
            down=_chunk("down", self._take(f"{name}.mlp.down_proj.weight", hidden, inner).T),
        )

    def prefill(self, tokens: Ints, scratch: Scratch) -> Prefix:
        """Read a prompt of 1 ≤ length ≤ context tokens, alone: its shapes depend on its own length only."""
        keys, values, hidden = self._read(tokens, scratch)
        last = np.zeros((TILE, self.config.hidden_size), np.float32)
        last[0] = hidden[len(tokens) - 1]
        return Prefix(len(tokens), keys, values, self._logits(last, scratch)[0].copy())

    def forward(self, tokens: Ints) -> Array:
        """Logits [length, vocab] after every position of one sequence."""
        scratch = Scratch()
        return self._logits(self._read(tokens, scratch)[2], scratch)[: len(tokens)]

    def expect(self, tokens: Ints, first: int, scratch: Scratch) -> Iterator[tuple[int, Array]]:
        """What the model expects at the positions `first` ≥ 1 … length-1 of one sequence, alone, piece by piece.

        Each piece is the first position it is about and logits [positions, vocab], valid until the next piece.
        """
        hidden, last = self._read(tokens[:-1], scratch)[2], len(tokens) - 1
        for begin in range((first - 1) // TILE * TILE, last, _TOGETHER):
            logits = self._logits(hidden[begin : begin + _TOGETHER], scratch)
            low, high = max(begin, first - 1), min(begin + _TOGETHER, last)
            yield low + 1, logits[low - begin : high - begin]

    def _read(self, tokens: Ints, scratch: Scratch) -> tuple[Array, Array, Array]:
        """A prompt's keys and values, as in a cache without slots, and its last states [tiles × TILE, hidden]."""
        config, length = self.config, len(tokens)
        if not 1 <= length <= config.context:
            raise ValueError(f"{length} tokens do not fit a context of {config.context}")
        tiles, blocks, group = -(-length // TILE), _blocks(length), config.heads // config.kv_heads
        shape = (config.layers, blocks, config.kv_heads)
        keys = np.zeros((*shape, config.head_dim, BLOCK), np.float32)
        values = np.zeros((*shape, BLOCK, config.head_dim), np.float32)
        x = np.zeros((tiles * TILE, config.hidden_size), np.float32)
        x[:length] = self._embedding[tokens]
        positions = np.arange(tiles * TILE)
        turn = self._cos[positions], self._sin[positions]
        mask = np.tile(_mask(positions, blocks).reshape(tiles, 1, TILE, -1), (1, 1, group, 1))
        for number, layer in enumerate(self._layers):
            q, k, v = self._project(layer, x, turn, scratch)
            _write_all(keys[number], values[number], k, v)
            q = q.reshape(tiles, TILE, config.kv_heads, group, config.head_dim).transpose(0, 2, 3, 1, 4)
            q = q.reshape(tiles, config.kv_heads, group * TILE, config.head_dim)
            mixed = _attend(q, (keys[number][:, None], values[number][:, None]), mask, scratch)
            mixed = mixed.reshape(tiles, config.kv_heads, group, TILE, config.head_dim).transpose(0, 3, 1, 2, 4)
            self._finish(layer, x, mixed.reshape(tiles * TILE, -1), scratch)
        return keys, values, x

    def decode(self, cache: Cache, tokens: Ints, positions: Ints, scratch: Scratch) -> Array:
        """One step of the sequences in slots 0 … n-1: feed `tokens` [n] at `positions` [n], return logits [n, vocab].

        The logits lie in `scratch` until the next step.
        """
        config, n = self.config, len(tokens)
        padded = -(-n // TILE) * TILE
        blocks = int(positions.max()) // BLOCK + 1
        x = np.zeros((padded, config.hidden_size), np.float32)
        x[:n] = self._embedding[tokens]
        mixed = np.zeros((padded, config.heads * config.head_dim), np.float32)
        places = np.zeros(padded, np.int64)
        places[:n] = positions
        turn = self._cos[places], self._sin[places]
        mask = _mask(positions, blocks)[:, None, None, :]
        rows, block, offset = np.arange(n), positions // BLOCK, positions % BLOCK
        for number, layer in enumerate(self._layers):
            q, k, v = self._project(layer, x, turn, scratch)
            keys, values = cache.keys[number], cache.values[number]
            keys[block, rows, :, :, offset] = k[:n]
            values[block, rows, :, offset] = v[:n]
            q = q[:n].reshape(n, config.kv_heads, -1, config.head_dim)
            attended = _attend(q, (keys[:blocks, :n], values[:blocks, :n]), mask, scratch)
            mixed[:n] = attended.reshape(n, -1)
            self._finish(layer, x, mixed, scratch)
        return self._logits(x, scratch)[:n]

    def _project(
        self, layer: _Layer, x: Array, turn: tuple[Array, Array], scratch: Scratch
    ) -> tuple[Array, Array, Array]:
        """Queries [rows, heads, head_dim], keys and values [rows, kv_heads, head_dim]; positions are rotated in."""
        config, rows = self.config, len(x)
        turned, size = config.heads + config.kv_heads, config.head_dim
        qkv = layer.qkv(self._normalise(x, scratch), scratch)
        halves = qkv[:, : turned * size].reshape(rows, turned, 2, size // 2)
        rotated = scratch.take("rotated", rows, turned, 2, size // 2)
        swapped = scratch.take("swapped", rows, turned, 2, size // 2)
        np.multiply(halves, turn[0], out=rotated)
        np.multiply(halves[:, :, ::-1], turn[1], out=swapped)
        rotated += swapped
        both = rotated.reshape(rows, turned, size)
        values = qkv[:, turned * size : (turned + config.kv_heads) * size].reshape(rows, config.kv_heads, size)
        return both[:, : config.heads], both[:, config.heads :], values

    def _finish(self, layer: _Layer, x: Array, mixed: Array, scratch: Scratch) -> None:
        """Add the attention's output and the feed-forward layer to `x`, in place."""
        hidden, inner = self.config.hidden_size, self.config.intermediate_size
        x += layer.out(mixed, scratch)[:, :hidden]
        gate_up = layer.gate_up(self._normalise(x, scratch), scratch)
        gate = gate_up[:, :inner]
        active = scratch.take("active", len(x), inner)
        np.negative(gate, out=active)
        with np.errstate(over="ignore"):
            np.exp(active, out=active)
        active += 1
        np.divide(gate, active, out=active)
        active *= gate_up[:, inner : 2 * inner]
        x += layer.down(active, scratch)[:, :hidden]

    def _logits(self, x: Array, scratch: Scratch) -> Array:
        return self._head(self._normalise(x, scratch), scratch)[:, : self.config.vocab_size]

    def _normalise(self, x: Array, scratch: Scratch) -> Array:
        """Root-mean-square normalisation of each row; its weights live in the matrix that follows."""
        out = scratch.take("normal", *x.shape)
        np.multiply(x, x, out=out)
        scale = np.add.reduce(out, axis=-1, keepdims=True)
        scale /= np.float32(x.shape[1])
        scale += np.float32(self.config.rms_norm_eps)
        np.sqrt(scale, out=scale)
        return np.divide(x, scale, out=out)


def _rotary_tables(config: LlamaConfig) -> tuple[Array, Array]:
    """Factors [positions, 1, 2, head_dim / 2]: rotated = halves · cos + swapped halves · sin."""
    half = config.head_dim // 2
    frequency = config.rope_theta ** (-np.arange(half) / half)
    angle = np.outer(np.arange(_blocks(config.context) * BLOCK), frequency)
    cos, sin = np.cos(angle), np.sin(angle)
    shape = (len(angle), 1, 2, half)
    both = np.stack([cos, cos], axis=1).reshape(shape), np.stack([-sin, sin], axis=1).reshape(shape)
    return both[0].astype(np.float32), both[1].astype(np.float32)


def _mask(positions: Ints, blocks: int) -> Array:
    """[rows, blocks × BLOCK]: 0 where a row may look, −inf past its own position."""
    ahead = np.arange(blocks * BLOCK) > positions[:, None]
    return np.where(ahead, np.float32(-np.inf), np.float32(0))


def _write_all(keys: Array, values: Array, k: Array, v: Array) -> None:
    """Store keys and values [rows, kv_heads, head_dim] of positions 0 … rows-1 in blocks."""
    for block in range(len(keys)):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        count = len(k[part])
        keys[block, :, :, :count] = k[part].transpose(1, 2, 0)
        values[block, :, :count] = v[part].transpose(1, 0, 2)


def _attend(q: Array, memory: tuple[Array, Array], mask: Array, scratch: Scratch) -> Array:
    """Softmax attention of q [n, kv_heads, rows, head_dim], scaled before, over keys and values of a layer.

    `memory`: keys [blocks, n or 1, kv_heads, head_dim, BLOCK] and values […, BLOCK, head_dim]. A block is a product of
    its own, and block sums are added from the first to the last: a block in which a row is masked whole adds exact
    zeros, so the number of blocks changes nothing.
    """
    keys, values = memory
    n, kv_heads, rows, size = q.shape
    blocks = len(keys)
    scores = scratch.take("scores", n, kv_heads, rows, blocks, BLOCK)
    by_block = scores.transpose(3, 0, 1, 2, 4)
    np.matmul(q, keys, out=by_block)
    flat = scores.reshape(n, kv_heads, rows, blocks * BLOCK)
    flat += mask
    flat -= np.maximum.reduce(flat, axis=-1, keepdims=True)
    np.exp(flat, out=flat)
    sums = np.add.reduce(scores, axis=-1)
    parts = scratch.take("parts", blocks, n, kv_heads, rows, size)
    np.matmul(by_block, values, out=parts)
    total = sums[..., 0]
    mixed: Array = parts[0]
    for block in range(1, blocks):
        total = total + sums[..., block]
        mixed += parts[block]
    mixed /= total[..., None]
    return mixed
