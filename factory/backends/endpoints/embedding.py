"""Embeddings: POST /embeddings, as OpenAI, vLLM, llama.cpp's server and Ollama have it."""

from __future__ import annotations

from typing import Any

from factory.backends.endpoints.sending import (
    NoEndpoint,
    Post,
    extra_fields,
    model_of,
    only_entry,
    read_number,
    send,
    usage_of_prompt,
)
from factory.errors import BadBody, BadRequest, Refused
from factory.types import Choice, Request, Response

PATH = "/embeddings"
_WHO = (
    "embeddings come from an embedding model: one of the provider's, `vllm serve MODEL --runner pooling`, or "
    "`llama-server --embeddings --pooling mean`"
)


class Embedding:
    """Embeddings of one server."""

    def __init__(self) -> None:
        self._names_format = True

    async def ask(self, request: Request, post: Post) -> Response:
        """The embedding of the last message's text, as `factory.vectors` writes it. Raises a CallFault."""
        text = request.messages[-1].content if request.messages else ""
        if not text:
            raise BadRequest("there is no text to embed")
        body = {**extra_fields(request), "model": request.model, "input": text}
        found, entry = only_entry(await self._send(body, post), "embedding")
        vector = read_vector(entry.get("embedding") if isinstance(entry, dict) else None)
        wanted = body.get("dimensions")
        size = vector_size(vector)
        if isinstance(wanted, int) and size != wanted:
            raise Refused(
                f"`dimensions: {wanted}` was asked for, and an embedding of {size} numbers came: this server or model "
                "cannot shorten them, so remove `dimensions` from `extra_body`"
            )
        return Response((Choice(vector, "stop"),), usage_of_prompt(found, request), model_of(found, request))

    async def _send(self, body: dict[str, Any], post: Post) -> Any:
        wanted = {"encoding_format": "float", **body} if self._names_format else body
        try:
            return await send(post, PATH, wanted)
        except (NoEndpoint, BadRequest) as fault:
            ours = "encoding_format" in wanted and "encoding_format" not in body
            if not ours or "encoding_format" not in fault.message:
                if isinstance(fault, NoEndpoint):
                    raise Refused(f"no embeddings for this model here ({fault.message}); {_WHO}") from None
                raise
        self._names_format = False  # it does not know the word, and sends numbers anyway
        return await self._send(body, post)


def read_vector(given: Any) -> str:
    """An embedding as a server sends it (numbers, or base64 of float32), encoded. Raises BadBody, Refused."""
    from factory.vectors import decode, encode  # numpy

    if isinstance(given, list) and given and isinstance(given[0], list):
        if len(given) != 1:
            raise Refused(
                f"the server sends a vector for each of {len(given)} tokens: start it with a pooling "
                "(`llama-server --pooling mean`)"
            )
        given = given[0]
    try:
        if isinstance(given, str):
            return encode(decode(given))
        numbers = [read_number(one) for one in given] if isinstance(given, list) else []
        if numbers and None not in numbers:
            return encode([one for one in numbers if one is not None])
    except ValueError as error:
        raise BadBody(f"the embedding cannot be read: {str(error)[:200]}") from None
    raise BadBody("the answer holds no embedding: neither a list of finite numbers nor base64")


def vector_size(text: str) -> int:
    """How many numbers an encoded vector has."""
    from factory.vectors import decode

    return len(decode(text))
