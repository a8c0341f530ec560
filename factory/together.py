"""Calls at once. Pure asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def together(calls: Sequence[Awaitable[T]]) -> list[T]:
    """All results, in order. When one raises, the others still finish (their answers are paid), then it is raised."""
    if len(calls) == 1:
        return [await calls[0]]
    found: list[T] = []
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
