"""Being there while a rollout goes on: showing it, and carrying it where no worker does.

One loop looks at the record a few times a second. Where no worker is alive (or the one that was there
dies), the engine runs in this process beside that loop, and ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from crossfade.cli.fresh import look_now
from crossfade.cli.place import Place
from crossfade.cli.render.plain import share
from crossfade.cli.screens import Screen, screen_for
from crossfade.cli.standing import resumption, waits_for_person
from crossfade.core.errors import ExitCode

if TYPE_CHECKING:
    from crossfade.engine.control import Control
    from crossfade.engine.views import View
    from crossfade.rollouts.rollout import Rollout
    from crossfade.store.audit import AuditRow

_LOOK_EVERY = 0.25
_ASK_FOR_WORKER_EVERY = 2.0
_LAST_TICK = 20.0
_MANY = 200

Until = Callable[["View"], bool]


class Ending(Enum):
    """Why the loop ended."""

    REACHED = "what was waited for has happened"
    WAITS = "the rollout waits for a person, and nobody is at this terminal"
    LEFT = "the person left"


@dataclass
class Attendance:
    """The loop of one command; `after` is the newest entry of the record that has been told."""

    place: Place
    control: Control
    rollout: str
    until: Until
    after: int = 0
    stays: bool = False
    """Whether it stays while the rollout waits for a person."""
    fresh: bool = False
    """Whether the rollout was recorded by this very command: then carrying it is no resumption."""
    looks: bool = False
    """Whether it looks at the world itself: no engine writes down what it sees of a rollout that has ended."""
    follow: Callable[[], str] | None = None
    """The rollout to be with now, where it may become another one."""
    _warned: bool = False
    _interrupts: int = 0
    _carrier: asyncio.Task[None] | None = None
    _stop: bool = False
    _asked_at: float = float("-inf")
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def run(self) -> tuple[Ending, View]:
        """Stay until it is over; the ending and the newest view."""
        return asyncio.run(self._run())

    async def _run(self) -> tuple[Ending, View]:
        with signals(self._interrupt, self._terminate), screen_for(self.place.printer) as screen:
            try:
                return await self._look_on(screen)
            finally:
                await self._end_carrying()

    async def _look_on(self, screen: Screen) -> tuple[Ending, View]:
        while True:
            await self._carry_if_needed()
            view, rows = await asyncio.to_thread(self._look)
            screen.tell(view, rows, time.time())
            if self.until(view):
                return Ending.REACHED, view
            if self._leaves(view):
                return Ending.LEFT, view
            if waits_for_person(view.rollout) and not (self.stays or self.place.printer.interactive):
                return Ending.WAITS, view
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), _LOOK_EVERY)

    def _look(self) -> tuple[View, Sequence[AuditRow]]:
        if self.follow is not None and (now := self.follow()) != self.rollout:
            self.rollout, self.after = now, 0
        view = self.control.view(self.rollout)
        if self.looks:
            view = look_now(view)
        rows = self.control.events(after=self.after, rollout=self.rollout)
        if rows:
            self.after = rows[-1].sequence
        return view, rows

    # -- carrying ------------------------------------------------------------------------------------

    async def _carry_if_needed(self) -> None:
        if self._carrier is not None:
            if self._carrier.done():
                self._carrier.result()  # an engine that ended early says why
                self._carrier = None
            return
        if time.monotonic() - self._asked_at < _ASK_FOR_WORKER_EVERY:
            return
        self._asked_at = time.monotonic()
        if not await asyncio.to_thread(self.control.has_worker):
            for rollout in await asyncio.to_thread(left_over, self.control):
                fresh = self.fresh and rollout.id == self.rollout
                if not fresh and not waits_for_person(rollout):
                    self.place.printer.note(resumption(rollout))
            self._carrier = asyncio.create_task(self._carry())

    async def _carry(self) -> None:
        from crossfade.engine.worker import Worker  # noqa: PLC0415 - heavy, and only where nobody else carries

        await Worker(self.place.state, self.place.database_url).run(until=lambda: self._stop)

    async def _end_carrying(self) -> None:
        self._stop = True
        if self._carrier is None:
            return
        done, _ = await asyncio.wait({self._carrier}, timeout=_LAST_TICK)
        if not done:
            self._carrier.cancel()
            await asyncio.wait({self._carrier})
        if not self._carrier.cancelled() and (error := self._carrier.exception()) is not None:
            raise error

    # -- leaving -------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        self._interrupts += 1
        self._woken.set()

    def _terminate(self) -> None:
        self._interrupts += 2
        self._woken.set()

    def _leaves(self, view: View) -> bool:
        if not self._interrupts:
            return False
        carried_here = self._carrier is not None
        if not carried_here or self._interrupts > 1:
            return True
        if not self._warned:
            self._warned = True
            r = view.rollout
            self.place.printer.note(
                f"\nIf you leave now, {r.plan.component} {r.plan.version} keeps {share(r.share)} of the traffic and"
                " nobody watches it.\n"
                f"  take it back: crossfade abort {r.plan.component} {r.plan.environment}\n"
                "  leave anyway: Ctrl-C again"
            )
        return False


def left_over(control: Control) -> list[Rollout]:
    """Rollouts that are under way, the oldest first: where no worker is alive, they were left by somebody."""
    return [view.rollout for view in reversed(control.history(limit=_MANY)) if not view.rollout.finished]


def verdict(ending: Ending, view: View) -> ExitCode:
    """The exit code that tells how a rollout stands when its command ends."""
    if ending is Ending.LEFT:
        return ExitCode.INTERRUPTED
    match view.rollout.status:
        case "done":
            return ExitCode.DONE
        case "rolled-back" | "rolling-back":
            return ExitCode.ROLLED_BACK
        case _:
            return ExitCode.HELD


@contextlib.contextmanager
def signals(interrupt: Callable[[], None], terminate: Callable[[], None]) -> Iterator[None]:
    """Have Ctrl-C and TERM call these instead of ending the process."""
    loop = asyncio.get_running_loop()
    handled = []
    for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(number, handler)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
