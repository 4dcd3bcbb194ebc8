"""What is put in comes out again, and what may not be is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from crossfade.analysis.values import ArmSample, Latency, Sample
from crossfade.config.model import Component
from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import Event, Rollout
from crossfade.store import RolloutRow, Store, Target, Turn
from store_samples import deployment, rollout

Put = Callable[..., Rollout]
LONG = 1000.0


def test_a_release_never_changes(store: Store, other: Store) -> None:
    workload = deployment().workload
    assert store.release("api", "1.1.0") is None
    store.put_release("api", "1.1.0", workload, "sha256:1")
    other.put_release("api", "1.1.0", workload, "sha256:1")
    assert other.release("api", "1.1.0") == workload
    with pytest.raises(BadInputError) as refused:
        other.put_release("api", "1.1.0", Component(command=("other",)), "sha256:2")
    assert refused.value.code == "release.changed"
    assert store.release("api", "1.1.0") == workload
    assert [row.kind for row in store.events()] == ["release.recorded"]


def test_one_active_rollout_for_each_target(store: Store, other: Store) -> None:
    store.create(rollout("ro_1"), deployment(), "ada")
    with pytest.raises(BadInputError) as refused:
        other.create(rollout("ro_2"), deployment(), "bob", [Event("rollout.started", "no")])
    assert refused.value.code == "rollout.active"
    assert refused.value.where == "ro_1"
    assert store.target("api", "production") == Target("api", "production", rollout="ro_1")
    assert store.events() == []
    other.create(rollout("ro_3", "web"), deployment("web"), "bob")


def test_only_one_of_many_that_begin_at_once(store: Store, other: Store) -> None:
    won, barrier = [], threading.Barrier(6)

    def create(mine: Store, name: str) -> None:
        barrier.wait()
        try:
            mine.create(rollout(name), deployment(), "ada", [Event("rollout.started", name)])
            won.append(name)
        except BadInputError as error:
            assert error.code == "rollout.active"  # noqa: PT017 - in a thread

    threads = [threading.Thread(target=create, args=((store, other)[n % 2], f"ro_{n}")) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [row.rollout for row in store.events()] == won


def test_a_plan_that_was_overtaken_is_refused(store: Store) -> None:
    store.create(rollout("ro_1"), deployment(), "ada")
    (claim,) = store.claim("w", limit=1, lease=LONG)
    done = replace(claim.rollout, status="done", fence=4, finished_at=claim.at)
    trusted = Target("api", "production", "1.1.0", "green")
    store.write([Turn(done, claim.lease_fence, claim.at, target=trusted)])
    assert store.target("api", "production") == replace(trusted, fence=4)
    for planned_before in (rollout("ro_2"), rollout("ro_2", previous="1.1.0", fence=3)):
        with pytest.raises(BadInputError) as refused:
            store.create(planned_before, deployment(), "ada")
        assert refused.value.code == "rollout.outdated"
    store.create(rollout("ro_2", previous="1.1.0", fence=4), deployment(), "ada")


def test_rollouts_are_listed_newest_first(store: Store, put: Put) -> None:
    ids = [put().id for _ in range(3)]
    assert [row.rollout.id for row in store.rollouts()] == ids[::-1]
    assert [row.rollout.id for row in store.rollouts(limit=2)] == ids[:0:-1]
    assert [row.rollout.id for row in store.rollouts(component="c2")] == ids[1:2]
    assert store.rollouts(environment="staging") == []
    claim = store.claim("w", limit=1, lease=LONG)[0]
    store.write([Turn(replace(claim.rollout, status="done", finished_at=claim.at), claim.lease_fence, claim.at)])
    assert [row.rollout.id for row in store.rollouts(active=False)] == [claim.rollout.id]
    assert len(store.rollouts(active=True)) == 2


def test_a_rollout_and_what_was_seen_of_it(store: Store, put: Put) -> None:
    new = put()
    assert store.rollout("nobody") is None
    assert store.rollout(new.id) == RolloutRow(new, deployment(new.plan.component), "ada")
    (claim,) = store.claim("w", limit=1, lease=LONG)
    store.write([Turn(new, claim.lease_fence, claim.at - 1, seen={"weights": {"green": 500}, "list": [1, None]})])
    (claim,) = store.claim("w", limit=1, lease=LONG)
    store.write([Turn(new, claim.lease_fence, claim.at)])
    row = store.rollout(new.id)
    assert row is not None
    assert row.seen == {"weights": {"green": 500}, "list": [1, None]}
    assert row.seen_at is not None
    assert row.seen_at <= store.now()


def test_samples_are_kept_once_and_in_order(store: Store, put: Put) -> None:
    new = put()

    def sample(at: float, errors: int = 0) -> Sample:
        latency = Latency((10.0, 100.0), (3, 2, 1))
        return Sample(at, 5.0, ArmSample(950, errors, latency), ArmSample(50, 1), warm=False)

    (claim,) = store.claim("w", limit=1, lease=LONG)
    store.write([Turn(new, claim.lease_fence, claim.at - 1, samples=(sample(10), sample(5)))])
    (claim,) = store.claim("w", limit=1, lease=LONG)
    store.write([Turn(new, claim.lease_fence, claim.at, samples=(sample(10, errors=9), sample(15)))])
    assert store.samples(new.id) == [sample(5), sample(10), sample(15)]
    assert store.samples(new.id, since=10) == [sample(10), sample(15)]
    assert store.samples("nobody") == []


def test_events_are_read_in_pages_and_by_rollout(store: Store) -> None:
    store.create(rollout("ro_1"), deployment(), "ada", [Event("a", "1"), Event("b", "2", "ada", {"x": 1})])
    store.create(rollout("ro_2", "web"), deployment("web"), "ada", [Event("c", "3")])
    assert [row.kind for row in store.events()] == ["a", "b", "c"]
    assert [row.kind for row in store.events(after=1, limit=1)] == ["b"]
    assert [row.kind for row in store.events(rollout="ro_2")] == ["c"]
    (second,) = store.events(after=1, limit=1)
    assert (second.actor, second.component, second.environment, second.data) == ("ada", "api", "production", {"x": 1})


def test_an_unknown_rollout_takes_no_command(store: Store) -> None:
    with pytest.raises(BadInputError) as refused:
        store.command("ro_9", "pause", "ada")
    assert refused.value.code == "rollout.unknown"
    assert store.events() == []


def test_workers_tell_that_they_live(store: Store, other: Store) -> None:
    store.heartbeat("w", "executor-1")
    other.heartbeat("v", "executor-2")
    store.heartbeat("w", "executor-1")
    rows = {row.worker: row for row in other.workers()}
    assert {worker: row.executor for worker, row in rows.items()} == {"w": "executor-1", "v": "executor-2"}
    assert all(0 <= row.age < 60 and row.started_at <= row.seen_at for row in rows.values())


def test_who_waits_for_work_is_woken_by_another_process(store: Store, other: Store, put: Put) -> None:
    new = put()
    (claim,) = store.claim("w", limit=1, lease=LONG)
    store.write([Turn(new, claim.lease_fence, claim.at + LONG)])
    asking = threading.Thread(target=other.command, args=(new.id, "pause", "ada"))
    asking.start()
    assert store.wait_for_work(60)
    asking.join()
    assert len(store.claim("w", limit=1, lease=LONG)) == 1


def test_who_waits_for_events_is_woken_by_another_process(store: Store, other: Store, put: Put) -> None:
    new = put()
    assert not store.wait_for_events(0, 0.01)
    asking = threading.Thread(target=other.command, args=(new.id, "pause", "ada"))
    asking.start()
    assert store.wait_for_events(0, 60)
    asking.join()
    assert store.wait_for_events(0, 0)


def test_closing_ends_every_wait(store: Store) -> None:
    thread = threading.Thread(target=store.wait_for_work, args=(600,))
    thread.start()
    store.close()
    thread.join(60)
    assert not thread.is_alive()
