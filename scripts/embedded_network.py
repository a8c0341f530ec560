"""The embedded model's network for training: a Llama whose parameters carry their Hugging Face names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

BLOCK = 256


@dataclass(frozen=True)
class Shape:
    """Sizes of the network, by the names of a Llama configuration."""

    vocab_size: int = 2052
    hidden_size: int = 128
    intermediate_size: int = 352
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 32
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    max_position_embeddings: int = 512


@dataclass(frozen=True)
class Blocks:
    """Packed samples: tokens, segment numbers (0 is padding) and which tokens are learned, all [blocks, BLOCK]."""

    tokens: np.ndarray
    segments: np.ndarray
    learned: np.ndarray


class Normalize(torch.autograd.Function):
    """x / rms(x) over the last axis, with few passes (the weight is folded into the next matrix)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> torch.Tensor:
        """Scale `x` to root mean square 1."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.rsqrt(length.square() / x.shape[-1] + eps).to(x.dtype)
        scaled = x * scale
        ctx.save_for_backward(scaled, scale)
        return scaled

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient by x."""
        scaled, scale = ctx.saved_tensors
        along = (gradient * scaled).mean(-1, keepdim=True)
        return torch.addcmul(gradient, scaled, along, value=-1) * scale, None


class Layer(nn.Module):
    """The parameters of one Llama layer, by their Hugging Face names, and its function."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, head = shape.hidden_size, shape.head_dim
        queries, keys = shape.num_attention_heads * head, shape.num_key_value_heads * head
        linear = partial(nn.Linear, bias=False)
        self.input_layernorm = nn.RMSNorm(width)
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": linear(width, queries),
                "k_proj": linear(width, keys),
                "v_proj": linear(width, keys),
                "o_proj": linear(queries, width),
            }
        )
        self.post_attention_layernorm = nn.RMSNorm(width)
        self.mlp = nn.ModuleDict(
            {name: linear(width, shape.intermediate_size) for name in ("gate_proj", "up_proj")}
            | {"down_proj": linear(shape.intermediate_size, width)}
        )

    def forward(self, x: torch.Tensor, mask: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """`x`: [batch, time, width]; `mask`: [batch, 1, time, time], 0 where attention is allowed, else -inf."""
        batch, time_, _ = x.shape
        heads, groups, head, eps = (
            self.shape.num_attention_heads,
            self.shape.num_key_value_heads,
            self.shape.head_dim,
            self.shape.rms_norm_eps,
        )
        attention, mlp = self.self_attn, self.mlp
        matrix = (
            torch.cat([attention[name].weight for name in ("q_proj", "k_proj", "v_proj")]) * self.input_layernorm.weight
        )
        projected = F.linear(Normalize.apply(x, eps), matrix.to(x.dtype)).view(batch, time_, -1, head).transpose(1, 2)
        rotated = projected[:, : heads + groups]
        left, right = rotated.chunk(2, dim=-1)
        rotated = rotated * cos + torch.cat((-right, left), dim=-1) * sin
        mixed = F.scaled_dot_product_attention(
            rotated[:, :heads],
            rotated[:, heads:].repeat_interleave(heads // groups, 1),
            projected[:, heads + groups :].repeat_interleave(heads // groups, 1),
            attn_mask=mask,
        )
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, time_, -1), attention["o_proj"].weight.to(x.dtype))
        matrix = torch.cat((mlp["gate_proj"].weight, mlp["up_proj"].weight)) * self.post_attention_layernorm.weight
        gate, up = F.linear(Normalize.apply(x, eps), matrix.to(x.dtype)).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, mlp["down_proj"].weight.to(x.dtype))


class Llama(nn.Module):
    """The network with tied embeddings; parameter names are those of the Hugging Face layout without `model.`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.norm = nn.RMSNorm(shape.hidden_size)
        angles = torch.arange(BLOCK).float()[:, None] * shape.rope_theta ** (
            -torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        )
        self.register_buffer("cos", torch.cat((angles.cos(), angles.cos()), -1), persistent=False)
        self.register_buffer("sin", torch.cat((angles.sin(), angles.sin()), -1), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.03 / math.sqrt(2 * shape.num_hidden_layers) if deep else 0.03)

    def forward(self, tokens: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
        """Hidden states [batch, time, width]; a token sees earlier tokens of its own segment."""
        allowed = torch.tril(segments[:, :, None] == segments[:, None, :])[:, None]
        mask = torch.zeros(allowed.shape).masked_fill_(~allowed, -math.inf)
        x = F.embedding(tokens, self.embed_tokens.weight)
        for layer in self.layers:
            x = layer(x, mask, self.cos, self.sin)
        return Normalize.apply(x, self.shape.rms_norm_eps)

    def compute_loss(self, blocks: Blocks) -> torch.Tensor:
        """Mean cross-entropy of the learned tokens; only their positions go through the output matrix."""
        tokens = torch.from_numpy(blocks.tokens)
        learned = torch.from_numpy(blocks.learned)[:, 1:]
        hidden = self(tokens, torch.from_numpy(blocks.segments))[:, :-1][learned]
        logits = F.linear(hidden, (self.embed_tokens.weight * self.norm.weight))
        return F.cross_entropy(logits.float(), tokens[:, 1:][learned])
