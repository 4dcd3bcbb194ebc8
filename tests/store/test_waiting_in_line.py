"""What waits is in line: in its order, started once, never lost, whoever is at work at the same time."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from crossfade.rollouts.rollout import Command, Event
from crossfade.store import Store, WaitingRow
from crossfade.store.rows import Turn
from store_samples import deployment, rollout


def waits(name: str, version: str = "1.2.0", component: str = "api") -> WaitingRow:
    return WaitingRow(name, component, "production", version, "ada", "", 1000.0, deployment(component))


def ids(store: Store) -> list[str]:
    return [each.id for each in store.waiting("api", "production")]


def start(store: Store, name: str) -> bool:
    return store.line.start(name, rollout(name), deployment(), "ada", [Event("rollout.created", name)])


def test_in_the_order_of_asking(store: Store, other: Store) -> None:
    for name, version in (("ro_9", "1.2.0"), ("ro_1", "1.3.0"), ("ro_5", "1.4.0")):
        (store if name == "ro_1" else other).line.join(waits(name, version), alone=False)
    other.line.join(waits("ro_0", component="web"), alone=False)
    assert ids(store) == ["ro_9", "ro_1", "ro_5"]
    assert len(other.waiting()) == 4
    found = other.waiting_release("ro_1")
    assert found is not None
    assert (found.version, found.deployment) == ("1.3.0", deployment())
    assert [row.rollout for row in store.events() if row.kind == "release.waits"] == ["ro_9", "ro_1", "ro_5", "ro_0"]


def test_the_same_version_is_the_same_release(store: Store, other: Store) -> None:
    assert store.line.join(waits("ro_1"), alone=False).id == "ro_1"
    assert other.line.join(waits("ro_2"), alone=False).id == "ro_1"
    assert ids(store) == ["ro_1"]


def test_one_that_wants_to_be_alone_supersedes_what_waits(store: Store) -> None:
    store.line.join(waits("ro_1", "1.2.0"), alone=False)
    store.line.join(waits("ro_2", "1.3.0"), alone=False)
    store.line.join(waits("ro_3", "1.4.0"), alone=True)
    assert ids(store) == ["ro_3"]
    told = [(row.rollout, row.data["by"]) for row in store.events() if row.kind == "release.superseded"]
    assert told == [("ro_1", "1.4.0"), ("ro_2", "1.4.0")]
    assert store.verify_audit().sound


def test_started_once_by_whoever_comes_first(store: Store, other: Store) -> None:
    """Many start it, one takes it out, at the same time: either it is a rollout, or it has left, and never both."""
    for round_ in range(4):
        name, component = f"ro_{round_}", f"c{round_}"
        row = waits(name, component=component)
        store.line.join(row, alone=False)
        barrier, won, failed = threading.Barrier(5), [], []

        def begin(mine: Store, row: WaitingRow = row, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                if mine.line.start(row.id, rollout(row.id, row.component), row.deployment, "ada", []):
                    won.append("started")  # noqa: B023 - the threads end before the next round
            except Exception as error:  # noqa: BLE001 - in a thread
                failed.append(error)  # noqa: B023 - as above

        def leave(row: WaitingRow = row, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            if other.line.leave(row, Event("release.withdrawn", "no")):
                won.append("left")  # noqa: B023 - as above

        threads = [threading.Thread(target=begin, args=((store, other)[n % 2],)) for n in range(4)]
        threads.append(threading.Thread(target=leave))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(won) == 1
        assert store.waiting_release(name) is None
        assert (store.rollout(name) is not None) == (won == ["started"])


def test_it_does_not_start_while_its_target_is_taken(store: Store) -> None:
    store.create(rollout("ro_1"), deployment(), "ada")
    store.line.join(waits("ro_2"), alone=False)
    assert not start(store, "ro_2")
    assert ids(store) == ["ro_2"]
    assert store.rollout("ro_2") is None


@pytest.mark.parametrize("side", [0, 1])
def test_a_rollout_is_asked_to_make_way_once(store: Store, other: Store, side: int) -> None:
    mine = (store, other)[side]
    store.create(rollout("ro_1"), deployment(), "ada")
    row = waits("ro_2")
    assert not mine.line.make_way("ro_1", row)  # nobody waits
    store.line.join(row, alone=True)
    assert mine.line.make_way("ro_1", row)
    assert not store.line.make_way("ro_1", row)
    (claim,) = store.claim("w", limit=1, lease=60)
    assert claim.commands == (Command(1, "abort", "ada", "superseded by api 1.2.0"),)
    turned = replace(claim.rollout, commands=1, turned_at=claim.at, status="rolling-back")
    store.write([Turn(turned, claim.lease_fence, claim.at)])
    assert not store.line.make_way("ro_1", row)
