"""Carrying decisions out: what is kept is taken, what is not is built, in order and side by side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crossfade.artifacts.building.deciding import Decider, out_of_place, outputs_in
from crossfade.artifacts.building.identity import secret
from crossfade.artifacts.building.making import Maker
from crossfade.artifacts.building.running import GRACE, Stop
from crossfade.artifacts.building.schedule import Schedule
from crossfade.artifacts.building.trees import Aside, CorruptError, settle, tidy
from crossfade.artifacts.building.values import Audience, BuildError, Decision, Outcome, Result
from crossfade.config.publishing import Build
from crossfade.core.errors import CrossfadeError
from crossfade.core.locks import locked

if TYPE_CHECKING:
    from pathlib import Path

_DAMAGED = "what was kept of it was damaged, so it was built again"


class Work:
    """One run over decisions. `now` tells seconds since 1970, `grace` is the time between TERM and KILL in seconds."""

    def __init__(
        self, decider: Decider, audience: Audience, stop: Stop, now: Callable[[], float], *, grace: float = GRACE
    ) -> None:
        self._decider = decider
        self._cache = decider.cache
        self._audience = audience
        self._stop = stop
        self._now = now
        self._maker = Maker(decider, audience, stop, now, grace)
        self._unsure: set[str] = set()
        """Components whose builds are not believed, because their inputs changed meanwhile."""

    async def carry_out(self, decisions: Sequence[Decision], *, jobs: int) -> Outcome:
        """Bring every component to what was decided, up to `jobs` at once. Nothing is raised for a build that fails."""
        by_name = {decision.target.component: decision for decision in decisions}
        schedule = Schedule({name: self._decider.edges[name] for name in by_name})
        results: dict[str, Result] = {}
        running: dict[asyncio.Task[Result | None], str] = {}
        try:
            while True:
                for name in schedule.ready() if not self._stop.wished.is_set() else ():
                    if len(running) < jobs:
                        schedule = schedule.begin(name)
                        running[asyncio.create_task(self._carry(by_name[name]))] = name
                if not running:
                    break
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    name, result = running.pop(task), task.result()
                    if result is not None:
                        results[name] = result
                        self._audience.end(result)
                    schedule = schedule.done(name) if result is None or result.good else schedule.fail(name)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self._tell_the_rest(schedule, by_name, results)
        await asyncio.to_thread(self._remember, decisions)
        ordered = tuple(results[name] for name in by_name if name in results)
        return Outcome(ordered, self._stop.wished.is_set())

    def _tell_the_rest(self, schedule: Schedule, by_name: dict[str, Decision], results: dict[str, Result]) -> None:
        """What was never begun: because something that it needs has failed, or because everything was to end."""
        stopped = schedule.stopped()
        for name, decision in by_name.items():
            if name in schedule.begun or decision.target.build is None:
                continue
            blocking = stopped.get(name)
            if blocking is not None and results[blocking].status == "failed":
                result = Result(name, "stopped", decision.identity, notes=(f"it needs {blocking}, which failed",))
            else:
                result = Result(name, "interrupted", decision.identity)
            results[name] = result
            self._audience.end(result)

    def _remember(self, decisions: Sequence[Decision]) -> None:
        root = self._decider.root
        self._decider.memo.save(tuple(str(root / decision.target.folder) for decision in decisions))

    async def _carry(self, decision: Decision) -> Result | None:
        component = decision.target.component
        if (build := decision.target.build) is None:
            return None
        try:
            result = await self._take_or_make(decision, build)
        except CrossfadeError as error:
            return Result(component, "failed", decision.identity, error=error)
        except OSError as error:
            return Result(component, "failed", decision.identity, error=_of_files(component, error))
        if not result.kept:
            self._unsure.add(component)
        return result

    async def _take_or_make(self, decision: Decision, build: Build) -> Result:
        """Under both locks: nobody else writes these outputs, and nobody else builds the same thing meanwhile."""
        outputs = outputs_in(decision.target)
        async with self._alone(decision) as aside:
            if aside.left_over:  # somebody was killed here: first all is as it was before
                await asyncio.to_thread(aside.put_back, outputs)
            aside.forget()
            tidy(self._decider.root / decision.target.folder, outputs)
            notes: tuple[str, ...] = ()
            unsure = bool(self._decider.edges[decision.target.component] & self._unsure)
            if not unsure and not (decision.action == "build" and decision.forced):
                try:
                    if (taken := await asyncio.to_thread(self._take, decision)) is not None:
                        return taken
                except CorruptError:
                    self._cache.drop(decision.identity)
                    notes = (_DAMAGED,)
            made = await self._maker.make(decision, build, aside, believed=not unsure)
            return replace(made, notes=(*notes, *made.notes))

    @contextlib.asynccontextmanager
    async def _alone(self, decision: Decision) -> AsyncIterator[Aside]:
        component = decision.target.component
        folder = self._decider.root / decision.target.folder
        place = secret(f"{folder}\0{sorted(outputs_in(decision.target))}")[:32]

        def waiting() -> None:
            self._audience.wait(component, "another `crossfade build` works on it")

        async with (
            locked(self._builds / "locks" / f"folder-{place}", waiting=waiting),
            self._cache.locked(decision.identity, waiting=waiting),
        ):
            yield Aside(self._builds / "aside" / place, folder)

    def _take(self, decision: Decision) -> Result | None:
        """What is kept, put in its place; None where nothing is kept. CorruptError: it was damaged."""
        record = self._cache.find(decision.identity)
        if record is None:
            return None
        component, present = decision.target.component, self._decider.present(decision.target)
        off = out_of_place(record, present)
        if off:
            folder = self._decider.root / decision.target.folder
            settle(self._cache.outputs(decision.identity), folder, record.outputs, present)
        self._cache.used(decision.identity, component, self._now())
        return Result(component, "restored" if off else "unchanged", decision.identity, record)

    @property
    def _builds(self) -> Path:
        return self._cache.folder


def _of_files(component: str, error: OSError) -> BuildError:
    return BuildError(
        "build.files",
        f"{component}: {error.strerror or error}",
        where=str(error.filename or ""),
        next="see to it that the component's folder and the state folder may be written, and have room",
    )
