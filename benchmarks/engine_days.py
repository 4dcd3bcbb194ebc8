"""A day of one rollout in no time: by deciding alone, and through the whole engine."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from typing import Any

from crossfade.config.strategies import Canary, Stage
from crossfade.core.clock import VirtualClock
from crossfade.engine.carry_out import carry_out
from crossfade.engine.observe import Observer
from crossfade.engine.runner import InlineRunner
from crossfade.rollouts.decide import decide
from crossfade.rollouts.rollout import Action, Command, Outcome, Rollout
from crossfade.store import Store, Turn
from engine_fakes import DAY, MemorySites, at_five_percent, deployment_of, trust

Row = dict[str, Any]


def day_strategy() -> Canary:
    """Stages that take a day in all."""
    stages = tuple(Stage(weight=weight, watch=DAY / 4) for weight in (500, 2500, 5000))
    return Canary(steps=stages, final_watch=DAY / 4)


async def day_of_deciding() -> Row:
    """24 hours through `decide` alone, the world in memory."""
    clock = VirtualClock(at=1_000_000.0)
    sites, deployment = MemorySites(clock), deployment_of("api", day_strategy())
    site = sites.site(deployment)
    rollout = await at_five_percent(sites, deployment, "ro", clock.now())
    observer = Observer(sites, deployment, rollout, ())
    outcomes: dict[str, Outcome] = {}
    looks, begun, spent = 0, clock.now(), 0.0
    while not rollout.finished:
        commands = _asked(rollout, clock.now() - begun)
        observed, _ = await observer.look(rollout, clock.now(), commands=commands, outcomes=outcomes)
        start = time.perf_counter()
        decision = decide(rollout, observed, clock.now())
        spent += time.perf_counter() - start
        for action in decision.actions:
            outcomes[action.id] = await carry_out(action, site, deployment, lambda _: deployment.workload)
        rollout, looks = decision.rollout, looks + 1
        clock.advance(max(decision.wake_at - clock.now(), 0.01))
    days = (clock.now() - begun) / DAY
    return {
        "what": "virtual",
        "part": "decide",
        "status": rollout.status,
        "days": days,
        "looks": looks,
        "real_s": spent,
    }


async def day_of_everything() -> Row:
    """24 hours through store, judge, decide and runner, on SQLite with a virtual clock."""
    clock = VirtualClock(at=1_000_000.0)
    sites, deployment = MemorySites(clock), deployment_of("api", day_strategy())
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/state.db", clock=clock)
        trust(store, deployment)
        rollout = await at_five_percent(sites, deployment, "ro", clock.now())
        store.create(rollout, deployment, "benchmark")

        async def act(action: Action) -> Outcome:
            return await carry_out(action, sites.site(deployment), deployment, lambda _: deployment.workload)

        runner, observer = InlineRunner(store, act), Observer(sites, deployment, rollout, ())
        begun, looks, start = clock.now(), 0, time.perf_counter()
        while not rollout.finished:
            for command in _asked(rollout, clock.now() - begun):
                store.command("ro", command.verb, command.actor)
            wake_at = clock.now()
            for claim in store.claim("w", limit=1, lease=5):
                observed, samples = await observer.look(
                    claim.rollout, claim.at, commands=claim.commands, outcomes=claim.outcomes
                )
                decision = decide(claim.rollout, observed, claim.at)
                turn = Turn(decision.rollout, claim.lease_fence, decision.wake_at, decision.actions, decision.events)
                store.write([replace(turn, samples=samples)])
                await runner.submit(decision.actions)
                rollout, looks, wake_at = decision.rollout, looks + 1, decision.wake_at
            clock.advance(max(wake_at - clock.now(), 0.01))
        real = time.perf_counter() - start
        store.close()
    days = (clock.now() - begun) / DAY
    return {"what": "virtual", "part": "engine", "status": rollout.status, "days": days, "looks": looks, "real_s": real}


def _asked(rollout: Rollout, elapsed: float) -> tuple[Command, ...]:
    """A pause after six hours, and its end an hour later."""
    if elapsed >= DAY / 4 and rollout.commands == 0:
        return (Command(1, "pause", "ada"),)
    if elapsed >= DAY / 4 + 3600 and rollout.commands == 1:
        return (Command(2, "resume", "ada"),)
    return ()
