"""Work on the next batches while the last one is looked at: the order, and so the result, is that of one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END: Any = object()


def ahead(items: Iterable[T], work: Callable[[T], R], workers: int) -> Iterator[tuple[T, R]]:
    """Each item with what `work` makes of it, in order; what either raises comes at its item's turn.

    One thread takes the next item while up to `workers` others work on those before it, so that at most `workers` + 2
    items are held. With 0 `workers` all is done where it is asked for, without a thread.
    """
    if not workers:
        for item in items:
            yield item, work(item)
        return
    source = iter(items)
    reader, pool = ThreadPoolExecutor(1), ThreadPoolExecutor(workers)
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        coming: Future[T] | None = reader.submit(next, source, _END)
        while coming is not None or waiting:
            if waiting and (coming is None or len(waiting) >= workers or waiting[0][1].done()):
                item, made = waiting.popleft()
                yield item, made.result()
                continue
            assert coming is not None
            if coming.exception() is not None and waiting:
                item, made = waiting.popleft()
                yield item, made.result()
                continue
            if (item := coming.result()) is _END:
                coming = None
                continue
            waiting.append((item, pool.submit(work, item)))
            coming = reader.submit(next, source, _END)
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        pool.shutdown(wait=True, cancel_futures=True)
