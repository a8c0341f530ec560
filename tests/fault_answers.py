"""What the test server says: a pure function of a request's messages, model, sampling, seed and candidate index.

The mode is the last word of the model's name (`mock-json` → `json`):

    text        two to four English sentences out of a hash; JSON where a `response_format` asks for it
    json        a JSON object by `response_format`, else {"question": …, "answer": …}
    sections    "Question: …" and "Answer: …"
    echo        the last user message
    reasoning   like text, with hidden reasoning in `reasoning_content`, counted in the usage
    long        never ends by itself: always cut at `max_tokens`
    empty       the empty string
    null        `content: null` and a tool call
    filtered    a choice with `finish_reason: content_filter`

Tokens are UTF-8 bytes / 4, rounded up: per message with 4 more for the prompt, per choice for the completion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

MODES = ("text", "json", "sections", "echo", "reasoning", "long", "empty", "null", "filtered")
MODELS = tuple(f"mock-{mode}" for mode in MODES)


def _words(text: str, separator: str = " ") -> tuple[str, ...]:
    return tuple(text.split(separator))


_ADJECTIVES = _words(
    "quiet bright narrow ancient green patient early hollow gentle stubborn silver distant careful hungry "
    "polite frozen golden clever rusty humble"
)
_NOUNS = _words(
    "baker river engine teacher garden market sailor bridge lantern clock painter forest kettle farmer "
    "window library pilot orchard tailor mountain letter violin nurse harbour"
)
_VERBS = _words(
    "repairs follows watches carries forgets paints measures finds remembers visits cleans borrows counts opens draws"
)
_PLACES = _words(
    "near the old station|before the first snow|after a long winter|behind the museum|under a pale sky|"
    "on the last day of June|without any hurry|at the edge of town|during the night shift|"
    "in the small kitchen|beside the canal|for the third time|with great care|across the valley",
    "|",
)
_UNCOUNTED = frozenset({"n", "max_tokens", "max_completion_tokens", "stream", "user", "logprobs", "top_logprobs"})


def answer_key(body: Mapping[str, Any], index: int, salt: str = "") -> bytes:
    """32 bytes that decide candidate `index` of a request; at temperature 0 neither seed nor index matters."""
    fields = {name: value for name, value in body.items() if name not in _UNCOUNTED}
    if body.get("temperature") == 0:
        fields.pop("seed", None)
        index = 0
    data = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"%d:%b:%b" % (index, salt.encode(), data)).digest()


def sentence(key: bytes, number: int) -> str:
    """The `number`-th sentence of a key."""
    at = number * 7
    pick = [key[(at + step) % 32] + key[(at + step * 5 + number) % 32] for step in range(6)]
    return (
        f"The {_ADJECTIVES[pick[0] % len(_ADJECTIVES)]} {_NOUNS[pick[1] % len(_NOUNS)]} "
        f"{_VERBS[pick[2] % len(_VERBS)]} the {_ADJECTIVES[pick[3] % len(_ADJECTIVES)]} "
        f"{_NOUNS[pick[4] % len(_NOUNS)]} {_PLACES[pick[5] % len(_PLACES)]}."
    )


def sentences(key: bytes) -> str:
    """Two to four sentences."""
    return " ".join(sentence(key, number) for number in range(2 + key[31] % 3))


def _by_schema(schema: Mapping[str, Any], key: bytes, number: int = 0) -> Any:
    if "anyOf" in schema:
        return _by_schema(schema["anyOf"][0], key, number)
    if "enum" in schema:
        return schema["enum"][key[number % 32] % len(schema["enum"])]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        names = schema.get("properties", {})
        return {name: _by_schema(part, key, number + place) for place, (name, part) in enumerate(names.items())}
    if kind == "array":
        return [_by_schema(schema.get("items", {}), key, number + place) for place in range(1 + key[3] % 3)]
    simple = {"integer": key[number % 32], "number": key[number % 32] / 4, "boolean": key[number % 32] % 2 == 0}
    return simple.get(kind, sentence(key, number))


def _json_answer(body: Mapping[str, Any], key: bytes) -> str:
    wanted = body.get("response_format") or {}
    schema = (wanted.get("json_schema") or {}).get("schema") if isinstance(wanted, dict) else None
    if schema:
        return orjson.dumps(_by_schema(schema, key)).decode()
    return orjson.dumps({"question": sentence(key, 0), "answer": sentence(key, 1)}).decode()


def _text_of(mode: str, body: Mapping[str, Any], key: bytes, limit: int | None) -> str:
    if mode == "json" or (mode in ("text", "sections", "reasoning") and body.get("response_format")):
        return _json_answer(body, key)
    if mode == "sections":
        return f"Question: {sentence(key, 0)}\nAnswer: {sentence(key, 1)}"
    if mode == "echo":
        users = [m["content"] for m in body["messages"] if m.get("role") == "user"]
        return str(users[-1]) if users else ""
    if mode == "long":
        return " ".join(sentence(key, number) for number in range((limit or 512) // 8 + 1))
    return "" if mode in ("empty", "null") else sentences(key)


def count(text: str) -> int:
    """Tokens of a text: UTF-8 bytes / 4, rounded up."""
    return (len(text.encode()) + 3) // 4


def count_prompt(messages: list[dict[str, Any]]) -> int:
    """Tokens of a prompt: those of each message and 4 more."""
    return sum(4 + count(str(message.get("content") or "")) for message in messages)


def make_logprobs(text: str, key: bytes, top: int) -> dict[str, Any]:
    """Log-probabilities as the API shows them: a token is four characters, the first alternative is itself."""
    content = []
    for place in range(0, len(text), 4):
        token, value = text[place : place + 4], -key[place // 4 % 32] / 64
        others = [{"token": token, "logprob": value, "bytes": None}]
        others += [{"token": f"{token}~{rank}", "logprob": value - rank, "bytes": None} for rank in range(1, top)]
        content.append({"token": token, "logprob": value, "bytes": None, "top_logprobs": others[:top]})
    return {"content": content, "refusal": None}


def make_choice(body: Mapping[str, Any], index: int, salt: str) -> tuple[dict[str, Any], int, int]:
    """One choice as the API shows it, with its completion tokens and, among them, its reasoning tokens."""
    mode = str(body["model"]).rsplit("-", 1)[-1]
    key = answer_key(body, index, salt)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    message: dict[str, Any] = {"role": "assistant"}
    thought = 0
    if mode == "reasoning":
        message["reasoning_content"] = f"First: {sentence(key, 9)}"
        thought = count(message["reasoning_content"])
    text = _text_of(mode, body, key, limit)
    for stop in body.get("stop") or ():
        text = text.split(stop, 1)[0]
    reason = "content_filter" if mode == "filtered" else "stop"
    if limit is not None and count(text) + thought > limit:
        text = text.encode()[: 4 * max(0, limit - thought)].decode(errors="ignore")
        thought = min(thought, limit)
        reason = "length"
    message["content"] = text
    if mode == "null":
        call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        message |= {"content": None, "tool_calls": [call]}
        reason = "tool_calls"
    choice: dict[str, Any] = {"index": index, "message": message, "finish_reason": reason}
    if body.get("logprobs"):
        choice["logprobs"] = make_logprobs(text, key, int(body.get("top_logprobs") or 0))
    return choice, thought + count(text), thought


def make_answer(
    body: Mapping[str, Any], n: int, salt: str, *, with_usage: bool = True
) -> tuple[dict[str, Any], dict[str, int]]:
    """The whole answer to a request for `n` choices, and its tokens (`prompt_tokens`, `completion_tokens`)."""
    made = [make_choice(body, index, salt) for index in range(n)]
    usage: dict[str, Any] = {
        "prompt_tokens": count_prompt(body["messages"]),
        "completion_tokens": sum(tokens for _, tokens, _ in made),
    }
    billed = dict(usage)
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    usage["prompt_tokens_details"] = {"cached_tokens": 0}
    usage["completion_tokens_details"] = {"reasoning_tokens": sum(thought for _, _, thought in made)}
    answer = {
        "id": "chatcmpl-" + answer_key(body, 0, salt).hex()[:24],
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [choice for choice, _, _ in made],
    }
    if with_usage:
        answer["usage"] = usage
    return answer, billed
