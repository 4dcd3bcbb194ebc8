"""`crossfade demo`: a bad release goes back by itself, and a good one reaches 100 %.

Three acts, all of them real: the shop 1.0.0 opens and visitors come; 1.1.0, which fails some of its
requests, is released; 1.1.1, which is good, is released. What the visitors lived through is counted at
their side, not at ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from crossfade.cli.render.plain import one_line
from crossfade.cli.render.printer import Printer
from crossfade.core.errors import CrossfadeError, ExitCode
from crossfade.demo.account import arms
from crossfade.demo.engine import Engine
from crossfade.demo.outcome import Outcome, Release, describe, document
from crossfade.demo.scene import Pace, Scene, clear, set_up
from crossfade.demo.view import Moment, Screen, screen_for
from crossfade.demo.visitors import Visitors
from crossfade.engine.control import Control
from crossfade.engine.views import View
from crossfade.rollouts.rollout import Verb
from crossfade.store import AuditRow

FIRST, BAD, GOOD = "1.0.0", "1.1.0", "1.1.1"
_LOOK_EVERY = 0.25
_WINDOW = 10.0
_LATE = 0.5
"""Seconds after which every request that has been answered is known to the view."""
_MANY = 60_000
_VISITS = "visits"
_OPENING = 30.0
_WAY_BACK = 45.0


@dataclass(frozen=True, slots=True)
class Story:
    """What is told: `error_rate` and `latency_factor` make the bad release bad, `rps` visitors a second come.

    `settle` is the calm before each release, `patience` what the bad one may take before it is called off,
    and `limit` when the good one is, counted from the beginning; all in seconds.
    """

    seed: int = 1
    error_rate: float = 0.05
    rps: float = 200.0
    latency_factor: float = 1.0
    pace: Pace = field(default_factory=Pace)
    settle: float = 6.0
    patience: float = 105.0
    limit: float = 222.0

    @property
    def flags(self) -> dict[str, Sequence[str]]:
        """The flags that make each version of the shop what it is."""
        bad = ("--error-rate", repr(self.error_rate), "--latency-factor", repr(self.latency_factor))
        return {FIRST: (), BAD: bad, GOOD: ()}

    @property
    def fault(self) -> str:
        """What is wrong with the bad release, in words; empty when nothing is."""
        faults = [f"fails {100 * self.error_rate:g} % of its requests"] if self.error_rate else []
        if self.latency_factor > 1:
            faults.append(f"is {self.latency_factor:g} times as slow")
        return " and ".join(faults)


def run(*, seed: int, error_rate: float, rps: float, latency_factor: float, as_json: bool, keep: bool) -> int:
    """Tell the story to whoever started this process; the exit code is 0 only if all went as it should."""
    story = Story(seed=seed, error_rate=error_rate, rps=rps, latency_factor=latency_factor)
    return tell(story, Printer(as_json=as_json), keep=keep)


def tell(story: Story, printer: Printer, *, keep: bool) -> int:
    """Tell `story` in a temporary folder, and leave nothing running.

    With `keep` all of the folder stays; otherwise the record does, for people who want to read it.
    """
    folder = Path(tempfile.mkdtemp(prefix="crossfade-demo-"))
    told = False
    try:
        outcome = asyncio.run(_tell(story, printer, folder))
        told = outcome is not None
    finally:
        _clear_away(folder, keep=keep, record=told and not printer.as_json)
        if keep:
            printer.note(f"kept: {folder}")
    if outcome is None:
        printer.note("interrupted: everything that was started has been ended")
        return ExitCode.INTERRUPTED
    if printer.as_json:
        printer.document(document(outcome))
    for line in describe(outcome, record=folder):
        printer.line(line)
    return outcome.exit_code


def _clear_away(folder: Path, *, keep: bool, record: bool) -> None:
    if keep:
        return
    if not record:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for each in (*folder.iterdir(), *(folder / ".crossfade").iterdir()):
        if each.is_dir() and each.name != ".crossfade":
            shutil.rmtree(each, ignore_errors=True)
        elif each.name.startswith(_VISITS):
            each.unlink()


async def _tell(story: Story, printer: Printer, folder: Path) -> Outcome | None:
    """Perform until the end, or until somebody interrupts: None."""
    with _interruptible(printer) as interrupted:
        telling = asyncio.create_task(_perform(story, printer, folder))
        leaving = asyncio.create_task(interrupted.wait())
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not telling.done():
            telling.cancel()
            await asyncio.wait({telling})
        return None if telling.cancelled() else telling.result()


async def _perform(story: Story, printer: Printer, folder: Path) -> Outcome:
    """The three acts, one after the other."""
    scene = set_up(folder, story.pace, story.flags, seed=story.seed)
    async with _stage(scene, story) as stage:
        began = time.time()
        printer.line(f"The shop opens: {FIRST} behind Caddy on http://{scene.address}, two instances.")
        await stage.release(FIRST, printer, _OPENING)
        printer.line(f"\nVisitors come, {story.rps:g} a second. {BAD} is released: it {story.fault or 'is good'}.")
        stage.visitors.start()
        await stage.calm(story.settle)
        bad = await stage.release(BAD, printer, story.patience)
        printer.line(f"\n{GOOD} is released: it is good.")
        await stage.calm(story.settle)
        good = await stage.release(GOOD, printer, began + story.limit - time.time())
        await stage.calm(1.0)
        await asyncio.to_thread(stage.visitors.stop)
        slow = story.latency_factor > 1
        return Outcome(story.fault, bad, good, stage.visitors.seen, slow=slow, seconds=time.time() - began)


@dataclass
class _Stage:
    """All that is there while the story is told."""

    scene: Scene
    control: Control
    engine: Engine
    visitors: Visitors

    async def release(self, version: str, printer: Printer, patience: float) -> Release:
        """Release `version` and look on until it is over; after `patience` seconds it is called off."""
        view = await asyncio.to_thread(self.control.deploy, self.scene.deployment, version, actor="demo")
        rollout, deadline, called_off = view.rollout.id, time.monotonic() + patience, False
        watching, rows = _Watching(self.visitors), list[AuditRow]()
        with screen_for(printer) as screen:
            while not view.rollout.finished:
                view, news = await asyncio.to_thread(self._look, rollout, rows[-1].sequence if rows else 0)
                rows += news
                watching.show(screen, view, news)
                late = view.rollout.status == "held" or time.monotonic() > deadline
                if late and (version == FIRST or (called_off and time.monotonic() > deadline + _WAY_BACK)):
                    raise _stuck(view, rows)
                if late and not called_off and not view.rollout.finished:
                    called_off, deadline = True, time.monotonic()
                    await asyncio.to_thread(self._call_off, rollout, "the demo waits no longer")
                await self._pause()
        return Release(version, view, tuple(rows), called_off=called_off)

    async def calm(self, seconds: float) -> None:
        """Let visitors come for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.visitors.read()
            await self._pause()

    def _look(self, rollout: str, after: int) -> tuple[View, list[AuditRow]]:
        return self.control.view(rollout), self.control.events(after=after, rollout=rollout)

    def _call_off(self, rollout: str, reason: str, verb: Verb = "abort") -> None:
        self.control.command(rollout, verb, actor="demo", reason=reason)

    async def _pause(self) -> None:
        if not self.engine.alive:
            raise self.engine.failure or CrossfadeError("demo.engine", "the engine ended before the story did")
        if self.visitors.started and not self.visitors.alive:
            raise CrossfadeError(
                "demo.visitors", f"the visitors are gone: {self.visitors.complaint or 'no reason told'}"
            )
        await asyncio.sleep(_LOOK_EVERY)


def _stuck(view: View, rows: Sequence[AuditRow]) -> CrossfadeError:
    r = view.rollout
    last = next((row.text for row in reversed(rows) if row.kind.endswith(".failed")), r.reason or r.status)
    what = "the shop did not open" if r.plan.version == FIRST else f"{r.plan.version} could not be taken back in time"
    return CrossfadeError(
        "demo.stuck",
        f"{what}: {one_line(last)}",
        where=r.id,
        next="run it with --keep and look into the folder that it tells",
    )


@contextlib.asynccontextmanager
async def _stage(scene: Scene, story: Story) -> AsyncIterator[_Stage]:
    """The engine and the visitors on `scene`; at the end, whatever has happened, nothing of it runs."""
    engine = Engine(scene.state)
    visitors = Visitors(scene.address, rps=story.rps, seed=story.seed, out=scene.folder / f"{_VISITS}.jsonl")
    control = await asyncio.to_thread(Control.open, scene.state)
    try:
        engine.start()
        yield _Stage(scene, control, engine, visitors)
    finally:
        await asyncio.shield(asyncio.create_task(_end(scene, control, engine, visitors)))


async def _end(scene: Scene, control: Control, engine: Engine, visitors: Visitors) -> None:
    """From the last line to the first; each is done even if another one fails."""
    async with contextlib.AsyncExitStack() as ends:
        ends.push_async_callback(clear, scene)
        ends.callback(control.close)
        ends.push_async_callback(asyncio.to_thread, engine.stop)
        ends.push_async_callback(asyncio.to_thread, visitors.stop)


class _Watching:
    """What the visitors got in the last seconds, as far as the weights were the same."""

    def __init__(self, visitors: Visitors) -> None:
        self._visitors = visitors
        self._share: int | None = None
        self._since = 0.0

    def show(self, screen: Screen, view: View, news: Sequence[AuditRow]) -> None:
        """Show how it stands now."""
        now = time.time()
        self._visitors.read()
        if self._share is not None and view.rollout.share != self._share:
            self._since = now
        self._share = view.rollout.share
        begin, end = max(self._since, now - _LATE - _WINDOW), now - _LATE
        newest = self._visitors.seen[-_MANY:]
        window = [s for s in newest if begin <= s.at < end]
        screen.show(Moment(view, news, arms(window), len(window) / max(0.1, end - begin), now))


@contextlib.contextmanager
def _interruptible(printer: Printer) -> Iterator[asyncio.Event]:
    """Ctrl-C, TERM and a closed terminal set the event; clearing up goes on however often they come.

    Not by the loop's own handlers: those end with the loop, and the default that they leave behind would let a late
    signal take the exit code from a process that has nothing left to do but to give it.
    """
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(heard)

    def heard() -> None:
        printer.note("\nending everything that was started …")
        event.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield event
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN if event.is_set() else before[number])
