"""One engine as a process of its own, that kills itself where it is told to.

A *boundary* is a moment between two things that the engine does, with a name such as `undecided shift 0 % → 25 %`
(a decision has been made and not been written), `decided …` (written, not handed over), `acting …` (about to change
the world), `acted …` (the world is changed, the outcome not stored). At each boundary whose name matches a pattern
the process ends by SIGKILL, the first time that any process gets there: a folder remembers.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossfade.config.model import Deployment
from crossfade.engine import worker as engine
from crossfade.engine.runner import ActionRunner, CarryOut
from crossfade.engine.site import Site
from crossfade.engine.worker import Worker, durable
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.store import Store, Turn


class Crashes:
    """Where this process ends: once at each boundary that matches."""

    def __init__(self, folder: Path, patterns: Sequence[str]) -> None:
        self._folder, self._patterns = folder, patterns

    def reach(self, boundary: str) -> None:
        """End here, unless somebody has ended here before."""
        if not any(fnmatch.fnmatch(boundary, pattern) for pattern in self._patterns):
            return
        try:
            os.close(os.open(self._folder / boundary.replace("/", "|"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def boundary(turn: Turn) -> str:
    """Where a turn leads to, as people read it; nothing for a turn that only looked."""
    if not turn.actions and not turn.events:
        return ""
    step = turn.rollout.current
    way = "back: " if turn.rollout.turned_at is not None else ""
    return way + (step.describe() if step is not None else turn.rollout.status)


def describe(action: Action) -> str:
    """What an action does, with the share of green where it is a route."""
    share = f" green {action.routes.green / 100:g} %" if action.routes is not None else ""
    return f"{action.kind} {action.slot}{share}"


def arm(crashes: Crashes) -> None:
    """Put a possible end between the things that the engine does."""
    write, carry_out, settle = Store.write, engine.carry_out, engine.settle

    def writing(store: Store, turns: Sequence[Turn]) -> frozenset[str]:
        names = [name for turn in turns if (name := boundary(turn))]
        for name in names:
            crashes.reach(f"undecided {name}")
        written = write(store, turns)
        for name in names:
            crashes.reach(f"decided {name}")
        return written

    async def acting(action: Action, site: Site, deployment: Deployment, *more: Any) -> Outcome:
        crashes.reach(f"acting {describe(action)}")
        outcome = await carry_out(action, site, deployment, *more)
        crashes.reach(f"acted {describe(action)}")
        return outcome

    def settling(store: Store) -> None:
        free = [each for each in store.waiting() if store.target(each.component, each.environment).rollout is None]
        if free:
            crashes.reach("unsettled")
        settle(store)
        if free:
            crashes.reach("settled")

    engine.settle = settling
    Store.write = writing  # type: ignore[method-assign]  # the product has no hook for its own death
    engine.carry_out = acting


class Announced:
    """A runner that leaves a file when it has begun: this engine works from now on."""

    def __init__(self, runner: ActionRunner, file: Path) -> None:
        self._runner, self._file = runner, file
        self.start, self.submit, self.stop = runner.start, runner.submit, runner.stop

    async def recover(self) -> None:
        await self._runner.recover()
        self._file.touch()


def work(state: Path, url: str, log: Path, crashes: Path, patterns: Sequence[str]) -> None:
    """Work until SIGTERM, or until a boundary; `log` takes what there is to say."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s", force=True)
    arm(Crashes(crashes, patterns))

    def announced(store: Store, carry_out: CarryOut, name: str) -> ActionRunner:
        return Announced(durable(store, carry_out, name), log.with_suffix(".working"))

    asyncio.run(Worker(state, url, runner=announced).run())
