"""Many at once: all results in order, or the first fault, which ends the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def together(*each: Awaitable[T]) -> list[T]:
    """All results in order; the first fault ends the others and is raised as it is."""
    tasks = [asyncio.ensure_future(one) for one in each]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def a_few_at_once(most: int, work: Callable[[U], Awaitable[T]], items: Iterable[U]) -> list[T]:
    """`work` on all items, `most` of them at once; otherwise as `together`."""
    places = asyncio.Semaphore(most)

    async def one(item: U) -> T:
        async with places:
            return await work(item)

    return await together(*(one(item) for item in items))
