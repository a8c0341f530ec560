"""Requests: a model of the recipe, the messages, and the form that the answer is to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from factory.parsing import server_schema
from factory.recipe import ModelConfig
from factory.types import Message, Purpose, Request, Task

StructuredMode = Literal["json_schema", "json_object", "prompt"]
"""How JSON is asked for: a schema that the server enforces, any JSON object, or by the words of the prompt alone."""


@dataclass(frozen=True, slots=True)
class Form:
    """A JSON form that answers are to have, and a name for it."""

    name: str
    schema: Mapping[str, Any]


def response_format(mode: StructuredMode | None, form: Form) -> Mapping[str, Any] | None:
    """The `response_format` of requests for a form; None where the prompt alone asks for it."""
    if mode == "json_schema":
        return {"type": "json_schema", "json_schema": server_schema(form.schema, form.name)}
    return {"type": "json_object"} if mode == "json_object" else None


def build_request(
    config: ModelConfig,
    messages: Sequence[Message],
    *,
    seed: int,
    row: int | None,
    step: str,
    purpose: Purpose = "generate",
    index: int = 0,
    n: int = 1,
    response_format: Mapping[str, Any] | None = None,
    logprobs: int | None = None,
    task: Task = "generate",
) -> Request:
    """The request for a model of the recipe, with the recipe's sampling parameters. `logprobs` None: the model's."""
    return Request(
        identity=config.identity_key,
        model=config.model,
        messages=tuple(messages),
        sampling=config.sampling(),
        n=n,
        seed=seed,
        row=row,
        step=step,
        purpose=purpose,
        index=index,
        response_format=response_format,
        logprobs=config.logprobs if logprobs is None else logprobs,
        task=task,
    )
