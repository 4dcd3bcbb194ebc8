"""Killed between any two statements, and hammered by several processes: nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hammer import LAST_STEP, tick

from crossfade.store import Store
from store_samples import deployment, rollout

HERE = Path(__file__).parent
Open = Callable[[str], Store]


def start(url: str, name: str, mode: str, **options: Any) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    return subprocess.Popen(
        [sys.executable, HERE / "hammer.py", url, name, mode], env={**os.environ, "PYTHONPATH": path}, **options
    )


def assert_done_once(store: Store, rollout_id: str, steps: int) -> None:
    row = store.rollout(rollout_id)
    assert row is not None
    assert (row.rollout.status, row.rollout.step, row.rollout.fence) == ("done", steps, steps)
    kinds = [event.kind for event in store.events(rollout=rollout_id, limit=100_000)]
    for kind in ("action.wanted", "action.done", "step.done"):
        assert kinds.count(kind) == steps
    assert kinds.count("rollout.finished") == 1
    assert kinds.count("command.asked") == kinds.count("command.done") == row.rollout.commands
    target = store.target(row.rollout.plan.component, "production")
    assert (target.version, target.fence, target.rollout) == ("1.1.0", steps, None)


@pytest.mark.real
def test_killed_before_any_statement_and_finished_by_another(url: str, open_store: Open) -> None:
    store = open_store(url)
    process = start(url, "w", "matrix", stdout=subprocess.PIPE)
    killed = int(process.communicate(timeout=280)[0])
    assert process.returncode == 0
    assert killed >= 30  # statements and commits in the life of one rollout
    assert store.verify_audit().sound
    assert store.wanted_actions() == []
    for each in range(1, killed + 2):
        assert_done_once(store, f"ro_{each}", 1)


@pytest.mark.real
def test_three_processes_and_a_killer_on_one_store(url: str, open_store: Open) -> None:
    store = open_store(url)
    ids = [f"ro_{number}" for number in range(12)]
    for each in ids:
        store.create(rollout(each, f"of-{each}"), deployment(f"of-{each}"), "ada")
    processes = [start(url, f"w{number}", "worker") for number in range(3)]
    seen = 0
    for number in range(4):
        assert store.wait_for_events(seen + 30, 120)
        seen = store.head().count
        processes[number].kill()
        processes.append(start(url, f"r{number}", "worker"))
    codes = [process.wait(240) for process in processes]
    assert codes == [-signal.SIGKILL] * 4 + [0] * 3
    for claim in store.claim("last", limit=100, lease=60):  # commands that came with or after the last look
        assert claim.rollout.finished
        store.write([tick(claim, steps=LAST_STEP)])
    assert store.verify_audit().sound
    assert store.wanted_actions() == []
    for each in ids:
        assert_done_once(store, each, LAST_STEP)
