"""A question to a judge: asked, read, asked once more when the answer is not in form, and missing after that.

What judges of any kind share: `ask_verdict` here, prompts and the marks around what is judged in `prompting`. For the
budget and the estimate a scorer built on them tells `calls(n)` (model calls for n candidates at most, shared evenly by
its models), `asks` (how often a question is asked at most: `ASKS`, as a rule once), `answers` (how many candidates one
call shows) and `prompt_bytes` (what its own words add to a call).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.scorers import Context, shorten
from factory.types import Choice, Message, TokenLogprob

ASKS = 2
"""Times that a judge is asked at most: once, and once more when its answer is not in form."""
SHOWN_AGAIN = 4000
"""Characters of an answer out of form that the judge is shown when it is asked again."""
READ = 200_000
"""Characters at the end of an answer in which a verdict is looked for."""
ATTEMPTS = 200
"""Opening braces at which JSON is tried, so that hostile text takes bounded work."""
_OPENING = re.compile(r"\{[ \t\r\n]{0,64}[\"}]")
_DROPPED = re.compile(r"[\s\\]+")


class OutOfForm(Exception):
    """What a judge wrote is no verdict; the message says why, in words for the judge."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's decision as `read` made it of its JSON, None when there is none: then `why` says why.

    `said`: the judge's reason. `logprobs`: those of the answer that was read, where they were asked for and came.
    `stated`: the object that was read.
    """

    value: Any
    why: str = ""
    said: str = ""
    logprobs: tuple[TokenLogprob, ...] | None = None
    stated: Mapping[str, Any] | None = None


async def ask_verdict(
    context: Context,
    role: str,
    messages: Sequence[Message],
    *,
    schema: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Any],
    index: int,
    shown: Sequence[str] = (),
    logprobs: int | None = None,
) -> Verdict:
    """One judge's verdict. Never raises for what a judge or its server does; a refused call is a missing verdict.

    `read` makes the decision (compared by ==) of a JSON object, or raises OutOfForm. `shown`: the texts that are
    judged, so that a verdict quoted from them is not taken for the judge's. `index` and `logprobs`: as of
    `Context.ask`. Raises CallBarred and Incomplete, as any call does.
    """
    asked = tuple(messages)
    fault = ""
    for _ in range(ASKS):
        stored = await context.ask(role, asked, index=index, schema=schema, logprobs=logprobs)
        if stored.response is None:
            return Verdict(None, f"{stored.outcome}: {stored.message}")
        choice: Choice = stored.response.choices[0]
        if choice.finish_reason == "content_filter":
            return Verdict(None, "the judge's answer was filtered")
        try:
            value, data = read_verdict(choice, read, shown)
        except OutOfForm as error:
            fault = str(error)
            asked = (*messages, *_ask_again(choice.text, fault, schema))
            continue
        return Verdict(value, "", said_in(data), choice.logprobs, data)
    return Verdict(None, f"no verdict in form, asked {ASKS} times: {fault}")


def _ask_again(came: str, fault: str, schema: Mapping[str, Any]) -> tuple[Message, Message]:
    """The judge's own answer, and what is wrong with it."""
    came = came if len(came) <= SHOWN_AGAIN else f"{came[:SHOWN_AGAIN]} …"
    text = (
        f"That is no verdict: {fault}. Give your verdict again, as it was asked for: one JSON object of your own and "
        f"nothing else, fitting this JSON Schema: {json.dumps(schema, ensure_ascii=False)}"
    )
    return Message("assistant", came if came.strip() else "(nothing)"), Message("user", text)


def read_verdict(
    choice: Choice, read: Callable[[Mapping[str, Any]], Any], shown: Sequence[str] = ()
) -> tuple[Any, Mapping[str, Any]]:
    """The decision in an answer, and the JSON object that holds it: bare, fenced, or after other words.

    An object that stands in the `shown` texts is a quotation, not a verdict. Of several that remain all must decide
    alike: which one the judge means is not guessed. Raises OutOfForm.
    """
    if choice.finish_reason == "length":
        raise OutOfForm("it was cut off before its end; be brief")
    text = choice.text[-READ:]
    fits: list[tuple[str, Any, Mapping[str, Any]]] = []
    fault = ""
    for raw, data in find_objects(text):
        try:
            fits.append((raw, read(data), data))
        except OutOfForm as error:
            fault = str(error)
    if not fits:
        raise OutOfForm(fault or ("it is empty" if not text.strip() else "it has no JSON object in it"))
    material = [_squash(one) for one in shown]
    own = [fit for fit in fits if not any(_squash(fit[0]) in one for one in material)]
    if not own:
        raise OutOfForm("it only repeats JSON that stands in the material to be judged")
    if any(fit[1] != own[0][1] for fit in own):
        raise OutOfForm("it has several verdicts in it that differ")
    return own[-1][1], own[-1][2]


def _squash(text: str) -> str:
    """A text without white space and escapes: a quotation is known again however it is laid out."""
    return _DROPPED.sub("", text)


def find_objects(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(source, data) of the outermost JSON objects in a text, in order. Bounded work on any text."""
    decoder = json.JSONDecoder(strict=False)  # a raw newline in a JSON string is unambiguous, and models write it
    at = 0
    for _ in range(ATTEMPTS):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        start = opening.start()
        try:
            data, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        yield text[start:at], data


def said_in(data: Mapping[str, Any]) -> str:
    """The reason in a verdict, in one line of at most 300 characters: its `reason`, or those of its parts."""
    if isinstance(reason := data.get("reason"), str):
        return shorten(reason, 300)
    parts = (
        f"{name}: {part['reason']}"
        for name, part in data.items()
        if isinstance(part, Mapping) and isinstance(part.get("reason"), str)
    )
    return shorten("; ".join(parts), 300)
