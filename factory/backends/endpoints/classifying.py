"""Reward models and classifiers on a server: vLLM's /classify, /pooling and /score, beside /v1 or below it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from factory.backends.endpoints.sending import (
    NoEndpoint,
    NoTemplate,
    Post,
    extra_fields,
    model_of,
    only_entry,
    read_number,
    send,
    usage_of_prompt,
)
from factory.errors import BadBody, BadRequest, Refused
from factory.types import Choice, Message, Request, Response

CLASSIFY, POOLING, SCORE = "/classify", "/pooling", "/score"
_WHO = (
    "scores come from a reward model or a classifier that vLLM serves: `vllm serve MODEL --runner pooling "
    "--convert classify`; or from one in this process: `backend: classifier`"
)
_TEXTS = ("a", "The sea is cold and grey today.")
"""What a server is asked with to see what it answers: a few tokens."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a server gives scores. `labels` 1: a score as it is; more: probabilities."""

    path: Literal["/classify", "/pooling"]
    root: bool
    labels: int


class Classifying:
    """Scores by one server's model. How it gives them is found with the first request, by two short texts of ours."""

    def __init__(self) -> None:
        self._way: Way | None = None
        self._template = True
        self._finding: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def ask(self, request: Request, post: Post) -> Response:
        """Numbers by label as a JSON object, `{"score": …}` of one label. Raises a CallFault."""
        if not request.messages or not request.messages[-1].content:
            raise BadRequest("there is no text to give a score")
        async with self._finding.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._way is None:
                self._way = await find_way(request.model, post)
        way = self._way
        try:
            found = await self._send(way, request, post)
        except NoEndpoint as fault:
            raise _refusal(fault.message) from None
        body, entry = only_entry(found, "score")
        values = read_values(entry, way.path)
        if len(values) != way.labels:
            raise BadBody(f"the model told {way.labels} numbers before, and {len(values)} now")
        text = json.dumps({"score": values[0]} if len(values) == 1 else name_labels(values))
        return Response((Choice(text, "stop"),), usage_of_prompt(body, request), model_of(body, request))

    async def _send(self, way: Way, request: Request, post: Post) -> Any:
        fields = {"model": request.model, **_activation(way), **extra_fields(request)}
        if self._template:
            messages = [{"role": message.role, "content": message.content} for message in request.messages]
            try:
                return await send(post, way.path, fields | {"messages": messages}, root=way.root)
            except NoTemplate:
                self._template = False
        *before, answer = request.messages
        if not any(message.content for message in before):
            return await send(post, way.path, fields | {"input": answer.content}, root=way.root)
        return await _send_pair(way, fields, before, answer, post)


async def find_way(model: str, post: Post) -> Way:
    """Which endpoint gives scores, and how many. Raises a CallFault: Refused where none does."""
    said = ""
    for path in (CLASSIFY, POOLING):
        for root in (True, False):
            fields = {"model": model, "use_activation": False}
            try:
                told = [await send(post, path, fields | {"input": text}, root=root) for text in _TEXTS]
            except (NoEndpoint, BadRequest) as fault:  # not there, or another's endpoint of the same name
                said = said or fault.message
                continue
            numbers = [read_values(only_entry(one, "score")[1], path) for one in told]
            if path == POOLING and len(numbers[0]) != 1:
                raise _refusal(
                    f"its /pooling answers with {len(numbers[0])} numbers: an embedding, or a model of steps"
                )
            if all(row == [1.0] for row in numbers):
                raise _refusal("it answers 1 whatever the text: a single label is made a probability there")
            return Way("/classify" if path == CLASSIFY else "/pooling", root, len(numbers[0]))
    raise _refusal(said)


def _refusal(said: str) -> Refused:
    return Refused(f"this server gives no scores ({said[:160]}); {_WHO}")


async def _send_pair(way: Way, fields: dict[str, Any], before: Sequence[Message], answer: Message, post: Post) -> Any:
    """Prompt and answer as a pair of texts, as the models want it that have no chat template."""
    first = "\n\n".join(message.content for message in before)
    try:
        return await send(post, SCORE, fields | {"text_1": first, "text_2": answer.content}, root=way.root)
    except NoEndpoint as fault:
        raise Refused(
            f"the model has no chat template, and its server takes no pair of texts for it ({fault.message}): start it "
            'with `--chat-template FILE`, or let the model see the answer alone (`prompt: ""` of the scorer)'
        ) from None


def _activation(way: Way) -> dict[str, Any]:
    """A score is wanted as it is; several labels as the probabilities that the checkpoint makes of them."""
    return {"use_activation": False} if way.labels == 1 else {}


def read_values(entry: Any, path: str) -> list[float]:
    """The numbers of an entry: `probs` of /classify, `score` of /score, `data` of /pooling. Raises BadBody.

    Of a number for each token (reward models that vLLM pools so) it is the last token's that counts.
    """
    given = entry.get("probs", entry.get("data", entry.get("score"))) if isinstance(entry, dict) else None
    if not isinstance(given, list):
        given = [given]
    if path == POOLING and given and isinstance(given[-1], list):
        given = given[-1]
    values = [read_number(value) for value in given]
    if not values or None in values:
        raise BadBody("the answer holds no scores, or one that is no finite number")
    return [value for value in values if value is not None]


def name_labels(values: Sequence[float]) -> dict[str, float]:
    """Numbers by label. vLLM tells the name of the likeliest label alone, so they are called by their places, as the
    library calls labels without a name."""
    return {f"LABEL_{place}": value for place, value in enumerate(values)}
