"""How requests are cut into shards: files that keep to the limits of a batch API. Pure, no I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from factory.errors import UsageError, nearest

MAX_REQUESTS = 50_000
"""Requests that a batch file may hold (OpenAI's limit)."""
MAX_BYTES = 190_000_000
"""Bytes of a batch file: OpenAI's limit is 200 MB; the rest is a margin for whatever a server counts besides."""
TIMING = "FACTORY_BATCH_TIMING"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one shard may hold."""

    requests: int = MAX_REQUESTS
    bytes: int = MAX_BYTES


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `quiet`: a wave is sent when no request has joined for so long; `hold`: and at the latest after this.

    `first`, `last`: the interval of polling grows from one to the other. `lag`: a batch that may have been submitted
    is looked for so long before it is submitted again, since a server's list may lag. `silent`, `answered`: how long a
    server that never answered, or one that did, is waited for before anything is submitted. `window`: how long a batch
    is waited for, its 24 hours and some slack.
    """

    quiet: float = 1.0
    hold: float = 600.0
    first: float = 2.0
    last: float = 60.0
    lag: float = 20.0
    silent: float = 30.0
    answered: float = 600.0
    window: float = 26 * 3600.0


def read_timing(environment: Mapping[str, str] = os.environ) -> Timing:
    """The timing, as FACTORY_BATCH_TIMING changes it (`first=0.1,last=1`). Raises UsageError on any other name."""
    changes: dict[str, float] = {}
    known = [field.name for field in fields(Timing)]
    for part in filter(None, environment.get(TIMING, "").split(",")):
        name, _, value = part.partition("=")
        if name.strip() not in known:
            raise UsageError(f"{TIMING}: `{name.strip()}` is none of its names", nearest(name.strip(), known))
        try:
            changes[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"{TIMING}: `{part}` is not NAME=SECONDS", "for example first=2,last=60") from None
    return Timing(**changes)


def cut(sizes: Sequence[int], limits: Limits) -> list[slice]:
    """Consecutive slices, in order, each as long as the limits allow. `sizes`: bytes of each line and its newline.

    A line that alone is larger than the limit gets a slice of its own: the server says what it thinks of it.
    """
    slices: list[slice] = []
    start = held = 0
    for place, size in enumerate(sizes):
        if place > start and (place - start >= limits.requests or held + size > limits.bytes):
            slices.append(slice(start, place))
            start, held = place, 0
        held += size
    if start < len(sizes):
        slices.append(slice(start, len(sizes)))
    return slices
