"""A process of its own that uses a store until it is done, or until it is killed.

`hammer.py URL NAME matrix` goes through a rollout's life again and again, each time in a child that dies by
SIGKILL one statement later than the one before, and finishes itself what the child left, until a child
survives; it prints how many died. `hammer.py URL NAME worker` ticks until every rollout has finished.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from crossfade.rollouts.rollout import Action, Event, Operation, Outcome
from crossfade.store import Claim, Store, Target, Turn
from store_samples import deployment, rollout

LAST_STEP = 12


def die_before(store: Store, statement: int) -> None:
    """Kill this process just before it runs its `statement`-th statement, or commits in its place."""
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = store._database.engine
    sa.event.listen(engine, "before_cursor_execute", count)
    sa.event.listen(engine, "commit", count)


def matrix(url: str) -> int:
    """Kill before every statement that there is; each life is a rollout of its own."""
    for kill_at in itertools.count(1):
        child = os.fork()
        if child == 0:
            store = Store.open(url)
            die_before(store, kill_at)
            script(store, "child", f"ro_{kill_at}")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return kill_at - 1
        successor = Store.open(url)
        script(successor, "successor", f"ro_{kill_at}")
        successor.close()
    raise AssertionError


def script(store: Store, name: str, rollout_id: str) -> None:
    """One rollout of one step; every part may be repeated, as after a crash."""
    component = f"of-{rollout_id}"
    if store.rollout(rollout_id) is None:
        store.create(rollout(rollout_id, component), deployment(component), name, [Event("rollout.started", "started")])
    asked = store.events(rollout=rollout_id)
    if not any(event.kind == "command.asked" for event in asked):
        store.command(rollout_id, "pause", name, "because")
    while (row := store.rollout(rollout_id)) is not None and not row.rollout.finished:
        for claim in store.claim(name, limit=1, lease=0.2):
            store.write([tick(claim, steps=1)])
        for action in store.wanted_actions():
            store.finish_action(action.id, Outcome(ok=True))
        store.wait_for_work(0.05)


def tick(claim: Claim, *, steps: int) -> Turn:
    """Ask for an action, wait for its outcome, take the next step; be trusted and finish at the end."""
    now, old = claim.rollout, claim.rollout
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    target = None
    if claim.commands:
        now = replace(now, commands=claim.commands[-1].serial)
        events = tuple(Event("command.done", str(command.serial)) for command in claim.commands)
    if now.operation is not None and now.operation.id in claim.outcomes:
        now = replace(now, operation=None, step=now.step + 1)
        events += (Event("step.done", str(old.step)),)
    if old.finished:
        return Turn(now, claim.lease_fence, claim.at, (), events)
    if now.step == steps:
        now = replace(now, status="done", finished_at=claim.at)
        target = Target(now.plan.component, "production", "1.1.0", "green")
        events += (Event("rollout.finished", "done"),)
    elif now.operation is None:
        actions = (Action(f"{now.id}:{now.step}", "route", "green", fence=now.fence + 1),)
        now = replace(now, operation=Operation(actions[0].id, "route", claim.at), fence=now.fence + 1)
    return Turn(now, claim.lease_fence, claim.at, actions, events, {"step": now.step}, target=target)


def work(store: Store, name: str) -> None:
    """Claim, decide, write and carry out beside others, until nothing is active."""
    while store.rollouts(active=True):
        claims = store.claim(name, limit=4, lease=1.0)
        store.write([tick(claim, steps=LAST_STEP) for claim in claims])
        for action in store.wanted_actions()[:4]:
            store.finish_action(action.id, Outcome(ok=True))
        for claim in claims[:1]:
            store.command(claim.rollout.id, "pause", name, "because")


if __name__ == "__main__":
    if sys.argv[3] == "matrix":
        sys.stdout.write(f"{matrix(sys.argv[1])}\n")
    else:
        opened = Store.open(sys.argv[1])
        work(opened, sys.argv[2])
        opened.close()
