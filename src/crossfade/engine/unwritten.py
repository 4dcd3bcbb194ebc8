"""What looks have led to, on its way into the database."""

from __future__ import annotations

import asyncio
import itertools

from crossfade.store.rows import Turn


class Unwritten:
    """Turns that wait to be written: first those in which something was decided, then the one that came first.

    Most looks only count; what a person asked for, or the judge has found, does not stand in line behind them.
    """

    def __init__(self) -> None:
        self._queue: asyncio.PriorityQueue[tuple[bool, int, Turn]] = asyncio.PriorityQueue()
        self._serials = itertools.count()
        self._left = 0

    def __len__(self) -> int:
        """How many are waiting or being written."""
        return self._left

    def put(self, turn: Turn) -> None:
        """One more."""
        self._left += 1
        self._queue.put_nowait((not (turn.events or turn.actions), next(self._serials), turn))

    async def take(self, most: int) -> list[Turn]:
        """Up to `most` to write together, one at least: waits for it. Tell `done` afterwards."""
        batch = [await self._queue.get()]
        while len(batch) < most and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return [turn for _, _, turn in batch]

    def done(self, batch: list[Turn]) -> None:
        """These were written, or given up."""
        self._left -= len(batch)
        for _ in batch:
            self._queue.task_done()

    async def join(self) -> None:
        """Wait until nothing is left."""
        await self._queue.join()
