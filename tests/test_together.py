"""Calls at once: in order, and none is left behind when another raises."""

from __future__ import annotations

import asyncio

import pytest

from factory.together import together


def test_results_come_in_order() -> None:
    async def later(value: int, turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return value

    assert asyncio.run(together([later(k, 5 - k) for k in range(5)])) == [0, 1, 2, 3, 4]
    assert asyncio.run(together([later(7, 1)])) == [7]
    assert asyncio.run(together([])) == []


def test_the_others_finish_before_a_failure_is_raised() -> None:
    done: list[int] = []

    async def slow(value: int) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        done.append(value)

    async def fail() -> None:
        raise ValueError("first")

    async def both() -> None:
        with pytest.raises(ValueError, match="first"):
            await together([slow(1), fail(), slow(2)])
        assert done == [1, 2]

    asyncio.run(both())
