"""One request to an endpoint that measures: what is sent with it, and what a refusal of it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from factory.backends import faults
from factory.backends.answers import decode, read_tokens
from factory.errors import BadBody, CallFault, ContextTooLong, ModelMissing, NoChoices, Refused
from factory.token_counts import estimate_tokens
from factory.types import Request, Usage

_QUOTED = 160
_LARGEST = 3.4e38
_WRITING = frozenset({"reasoning_effort", "presence_penalty", "frequency_penalty", "top_k", "min_p"})
_UNABLE = re.compile(
    r"(does(n['’]t| not)|not|no|un)\s?support\w*\b.{0,60}(embed|classif|pooling|score|echo|prompt.?logprobs)"
    r"|(embed\w*|classif\w*|pooling|score\w*|echo|prompt.?logprobs)\b.{0,40}(is|are) (not |un)(support|allowed)"
    r"|only no echo|not allowed to generate embeddings|not OAI compatible|not a (text|completion|chat) model"
    r"|not supported in the v1/completions",
    re.I | re.S,
)
_TOO_LARGE = re.compile(r"input .{0,40}too large to process", re.I)
_NO_TEMPLATE = re.compile(
    r"default chat template is no longer allowed|(must|should) provide a chat template|chat_template is not set"
    r"|(no|not (have|define)) a? ?chat.?template",
    re.I,
)


class Post(Protocol):
    """Sends a body to a path below the server's address, or with `root` below the address without its `/v1`."""

    async def __call__(
        self, path: str, body: dict[str, Any], *, root: bool = False
    ) -> tuple[int, Mapping[str, str], bytes]: ...


class NoEndpoint(Refused):
    """The server does not have this endpoint for this model. Its message: the server's words, short."""


class NoTemplate(Refused):
    """The server's model has no chat template."""


async def send(post: Post, path: str, body: dict[str, Any], *, root: bool = False) -> Any:
    """The decoded answer of one request. Raises NoEndpoint, NoTemplate or another CallFault."""
    status, headers, raw = await post(path, body, root=root)
    if not 200 <= status < 300:
        raise _fault_of(status, headers, faults.read_error(raw))
    found = decode(raw)
    if isinstance(found, dict) and found.get("error") and not (found.get("data") or found.get("choices")):
        error = faults.error_of(found)  # with a good status, as gateways send them
        known = error.code.isdecimal() and 400 <= int(error.code) <= 599
        raise _fault_of(int(error.code) if known else 502, {}, error)
    return found


def _fault_of(status: int, headers: Mapping[str, str], error: faults.ErrorBody) -> CallFault:
    said = f"HTTP {status}: {error.message or 'no message'}"
    short = said if len(said) <= _QUOTED else said[: _QUOTED - 1] + "…"
    if status in (400, 422) and _NO_TEMPLATE.search(error.message):
        return NoTemplate(short, status=status)
    if _TOO_LARGE.search(error.message):
        return ContextTooLong(said, status=status)
    if _UNABLE.search(error.words) and (400 <= status < 429 or status in (500, 501)) and status != 401:
        return NoEndpoint(short, status=status)
    # By a 400 the words alone decide whether it is the model that is missing, or the path.
    unknown_model = isinstance(faults.fault_of_status(400, headers, error), ModelMissing)
    if status in (404, 405, 501) and not unknown_model:
        return NoEndpoint(short, status=status)
    return faults.fault_of_status(status, headers, error)


def extra_fields(request: Request) -> dict[str, Any]:
    """The recipe's `extra_body`; parameters of writing have no place in a request that measures."""
    return {name: value for name, value in request.sampling.extra.items() if name not in _WRITING}


def usage_of_prompt(body: Mapping[str, Any], request: Request) -> Usage:
    """The tokens that the server counted; an estimate, labelled, where it says nothing."""
    tokens = read_tokens(body.get("usage"))
    if tokens.prompt is not None:
        return Usage(tokens.prompt, tokens.completion or 0, tokens.cached)
    texts = [message.content for message in request.messages]
    return Usage(estimate_tokens(texts) + 4 * len(texts), tokens.completion or 0, estimated=True)


def model_of(body: Mapping[str, Any], request: Request) -> str:
    """What the server calls the model."""
    named = body.get("model")
    return named if isinstance(named, str) and named else request.model


def only_entry(found: Any, what: str) -> tuple[dict[str, Any], Any]:
    """A body and the one entry of its `data`. Raises BadBody, or NoChoices where the list is empty."""
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        raise BadBody(f"the answer holds no `data`: it is no {what}")
    data = found["data"]
    if not data:
        tokens = read_tokens(found.get("usage"))
        if tokens.prompt is None:
            raise BadBody(f"the answer holds no {what}, and no usage")
        raise NoChoices(f"the answer holds no {what}", usage=Usage(tokens.prompt))
    if len(data) != 1:
        raise BadBody(f"one text was sent, and the answer holds {len(data)} of `data`")
    return found, data[0]


def read_number(value: Any) -> float | None:
    """A finite number that float32 can hold; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value)
