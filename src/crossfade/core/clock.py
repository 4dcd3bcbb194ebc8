"""Time as an argument: whoever needs the time is handed a clock."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, and a way to let them pass."""

    def now(self) -> float:
        """The time in seconds since 1970-01-01 UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """The time in seconds since 1970-01-01 UTC."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of real time."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that moves only when it is told to: a day passes in no time.

    >>> clock = VirtualClock(at=100.0)
    >>> clock.advance(60)
    >>> clock.now()
    160.0
    """

    def __init__(self, at: float = 0.0) -> None:
        self._at = at

    def now(self) -> float:
        """The virtual time in seconds."""
        return self._at

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass (they may be negative: clocks do step back)."""
        self._at += seconds

    async def sleep(self, seconds: float) -> None:
        """Advance by `seconds` at once, and let other tasks run."""
        self.advance(seconds)
        await asyncio.sleep(0)
