"""Who may look at a rollout, and that nothing that wakes one is ever lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.core.clock import VirtualClock
from crossfade.rollouts.rollout import Action, Event, Operation, Outcome, Rollout
from crossfade.store import Claim, Store, Target, Turn
from store_samples import deployment, issued, rollout

LONG = 1000.0
Put = Callable[..., Rollout]
Open = Callable[[str], Store]


def only(claims: list[Claim]) -> Claim:
    (claim,) = claims
    return claim


def turn(claim: Claim, *, after: float = LONG, **changes: object) -> Turn:
    """Nothing happened, except `changes`."""
    return replace(Turn(claim.rollout, claim.lease_fence, claim.at + after), **changes)  # type: ignore[arg-type]  # for brevity


def test_a_new_rollout_is_due_at_once(store: Store, put: Put) -> None:
    new = put()
    claim = only(store.claim("w", limit=10, lease=LONG))
    assert claim.rollout == new
    assert claim.deployment == deployment(new.plan.component)
    assert claim.commands == ()
    assert claim.outcomes == {}


def test_what_is_claimed_is_claimed_by_nobody_else(store: Store, other: Store, put: Put) -> None:
    put()
    claim = only(store.claim("w", limit=10, lease=LONG))
    assert other.claim("v", limit=10, lease=LONG) == []
    assert store.claim("w", limit=10, lease=LONG) == []
    store.write([turn(claim, after=0)])
    assert only(other.claim("v", limit=10, lease=LONG)).lease_fence == claim.lease_fence + 1


def test_a_rollout_is_not_due_before_its_time(store: Store, put: Put) -> None:
    put()
    store.write([turn(only(store.claim("w", limit=10, lease=LONG)))])
    assert store.claim("w", limit=10, lease=LONG) == []
    assert not store.wait_for_work(0.05)


def test_a_lease_ends_by_itself(store: Store, other: Store, put: Put) -> None:
    put()
    store.claim("w", limit=10, lease=0.05)
    assert other.wait_for_work(30)
    assert len(other.claim("v", limit=10, lease=LONG)) == 1


def test_those_due_for_longest_come_first_and_no_more_than_asked(store: Store, put: Put) -> None:
    for _ in range(5):
        put()
    claims = store.claim("w", limit=5, lease=LONG)
    store.write([turn(claim, after=-100 + number) for number, claim in enumerate(claims)])
    assert [c.rollout for c in store.claim("w", limit=2, lease=LONG)] == [c.rollout for c in claims[:2]]


def test_two_workers_never_hold_the_same_rollout(store: Store, other: Store, put: Put) -> None:
    expected = {put().id for _ in range(60)}
    held: list[str] = []
    barrier = threading.Barrier(6)

    def work(mine: Store, name: str) -> None:
        barrier.wait()
        while claims := mine.claim(name, limit=3, lease=LONG):
            held.extend(claim.rollout.id for claim in claims)

    threads = [threading.Thread(target=work, args=((store, other)[i % 2], f"w{i}")) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # PostgreSQL skips rows that are being claimed, so the last ones may be left for the next round.
    held += [claim.rollout.id for claim in store.claim("w", limit=100, lease=LONG)]
    assert sorted(held) == sorted(expected)


def test_a_stale_lease_writes_nothing(store: Store, other: Store, put: Put) -> None:
    new = put()
    late = only(store.claim("w", limit=1, lease=0.01))
    other.wait_for_work(30)
    only(other.claim("v", limit=1, lease=LONG))
    action = Action("ro_1:1:0:start", "start", "green", version="1.1.0", count=1)
    written = store.write(
        [
            turn(
                late,
                rollout=issued(replace(late.rollout, share=500, fence=9), action),
                actions=(action,),
                events=(Event("step.done", "late"),),
                seen={"late": True},
                target=Target(new.plan.component, "production", "1.1.0", "green"),
            )
        ]
    )
    assert written == frozenset()
    row = store.rollout(new.id)
    assert row is not None
    assert row.rollout == new
    assert row.seen is None
    assert store.events() == []
    assert store.wanted_actions() == []
    assert store.target(new.plan.component, "production").version is None
    assert store.target(new.plan.component, "production").fence == 0


def test_a_batch_writes_what_is_ours_and_leaves_the_rest(store: Store, other: Store, put: Put) -> None:
    first, second = put(), put()
    claims = {c.rollout.id: c for c in store.claim("w", limit=2, lease=0.01)}
    other.wait_for_work(30)
    taken = only(other.claim("v", limit=1, lease=LONG)).rollout.id
    kept = ({first.id, second.id} - {taken}).pop()
    assert store.write([turn(claim, events=(Event("x", i),)) for i, claim in claims.items()]) == {kept}
    assert [row.rollout for row in store.events()] == [kept]


def test_a_command_during_a_look_is_never_lost(store: Store, other: Store, put: Put) -> None:
    new = put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    asked = other.command(new.id, "pause", "ada", "lunch")
    store.write([turn(claim)])  # it has not seen the command, and would sleep for long
    again = only(store.claim("w", limit=1, lease=LONG))
    assert again.commands == (asked,)


def test_a_command_during_a_look_survives_a_worker_that_never_writes(store: Store, other: Store, put: Put) -> None:
    new = put()
    store.claim("w", limit=1, lease=0.01)
    asked = other.command(new.id, "pause", "ada")
    assert other.wait_for_work(30)
    assert only(other.claim("v", limit=1, lease=LONG)).commands == (asked,)


def test_commands_stay_until_they_are_answered(store: Store, put: Put) -> None:
    new = put()
    first, second = store.command(new.id, "pause", "ada", "a"), store.command(new.id, "resume", "bob", "b")
    claim = only(store.claim("w", limit=1, lease=LONG))
    assert claim.commands == (first, second)
    store.write([turn(claim, after=0, rollout=replace(claim.rollout, commands=first.serial))])
    claim = only(store.claim("w", limit=1, lease=LONG))
    assert claim.commands == (second,)
    store.write([turn(claim, after=0, rollout=replace(claim.rollout, commands=second.serial))])
    assert only(store.claim("w", limit=1, lease=LONG)).commands == ()


def test_an_outcome_during_a_look_is_never_lost(store: Store, other: Store, put: Put) -> None:
    put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    action = Action("a", "start", "green", version="1.1.0", count=1)
    store.write([turn(claim, rollout=issued(claim.rollout, action), actions=(action,), after=0)])
    claim = only(store.claim("w", limit=1, lease=LONG))
    assert claim.outcomes == {}
    assert other.finish_action("a", Outcome(ok=True))
    store.write([turn(claim)])
    assert only(store.claim("w", limit=1, lease=LONG)).outcomes == {"a": Outcome(ok=True)}


def test_the_first_outcome_stays(store: Store, put: Put) -> None:
    put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    action = Action("a", "start", "green", version="1.1.0", count=1)
    store.write([turn(claim, rollout=issued(claim.rollout, action), actions=(action,))])
    assert store.wanted_actions() == [action]
    assert store.wanted_action("a") == action
    failed = Outcome(ok=False, error="nobody answers", retry=True)
    assert store.finish_action("a", failed)
    assert not store.finish_action("a", Outcome(ok=True))
    assert not store.finish_action("never heard of", Outcome(ok=True))
    assert store.wanted_actions() == []
    assert only(store.claim("w", limit=1, lease=LONG)).outcomes == {"a": failed}


def test_an_action_that_was_left_behind_is_not_wanted_any_longer(store: Store, put: Put) -> None:
    put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    start, route = Action("a", "start", "green"), Action("b", "route", "green")
    store.write([turn(claim, rollout=issued(claim.rollout, start), actions=(start,), after=0)])
    claim = only(store.claim("w", limit=1, lease=LONG))
    scale = Action("c", "start", "green")
    store.write([turn(claim, rollout=issued(claim.rollout, route), actions=(scale, route))])
    assert store.wanted_actions() == [route]
    assert store.wanted_action("a") is None
    assert [row.data["id"] for row in store.events() if row.kind == "action.superseded"] == ["a", "c"]
    assert not store.finish_action("a", Outcome(ok=True))


def test_what_may_still_bring_something_into_being_is_waited_for(store: Store, put: Put) -> None:
    put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    start, route = Action("a", "start", "green"), Action("b", "route", "green")
    begun = issued(claim.rollout, start)
    store.write([turn(claim, rollout=begun, actions=(start,), after=0)])
    claim = only(store.claim("w", limit=1, lease=LONG))
    turned = replace(issued(begun, route), left_behind=begun.operation)
    store.write([turn(claim, rollout=turned, actions=(route,))])
    assert store.wanted_actions() == [start, route]
    assert store.finish_action("a", Outcome(ok=True))
    assert only(store.claim("w", limit=1, lease=LONG)).outcomes == {"a": Outcome(ok=True)}


def test_a_finished_rollout_is_left_alone_but_answers_commands(store: Store, put: Put) -> None:
    new = put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    done = replace(claim.rollout, status="done", finished_at=claim.at)
    store.write([turn(claim, rollout=done, after=-100)])
    assert store.claim("w", limit=1, lease=LONG) == []
    asked = store.command(new.id, "abort", "ada")
    claim = only(store.claim("w", limit=1, lease=LONG))
    assert claim.commands == (asked,)
    assert claim.rollout == done
    store.write([turn(claim, rollout=replace(done, commands=asked.serial), after=-100)])
    assert store.claim("w", limit=1, lease=LONG) == []


def test_an_unchanged_rollout_is_not_written_again(store: Store, other: Store, put: Put) -> None:
    put()
    for _ in range(3):
        store.write([turn(only(store.claim("w", limit=1, lease=LONG)), after=-1)])
    claim = only(other.claim("v", limit=1, lease=LONG))
    changed = replace(claim.rollout, share=500)
    other.write([turn(claim, rollout=changed, after=-1)])
    # The first store's memory of the rollout is old now: it must notice.
    assert only(store.claim("w", limit=1, lease=LONG)).rollout == changed


def test_a_worker_that_leaves_hands_over_at_once(store: Store, other: Store, put: Put) -> None:
    new = put()
    store.heartbeat("w", "executor-1")
    late = only(store.claim("w", limit=1, lease=LONG))
    store.leave("w")
    assert other.workers() == []
    assert only(other.claim("v", limit=1, lease=LONG)).rollout == new
    assert store.write([turn(late)]) == frozenset()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_one_engine_for_a_file_and_what_a_dead_one_held_is_due(
    url: str, put: Put, store: Store, open_store: Open
) -> None:
    put()
    assert store.take_place()
    store.claim("w", limit=1, lease=LONG)
    successor = open_store(url)
    assert not successor.take_place()
    store.close()  # as the operating system does it for a process that was killed
    assert successor.take_place()
    assert len(successor.claim("v", limit=1, lease=LONG)) == 1


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_many_engines_on_postgresql(store: Store, other: Store) -> None:
    assert store.take_place()
    assert other.take_place()


def test_a_clock_that_was_set_back_stops_nothing(tmp_path: Path) -> None:
    clock = VirtualClock(at=100_000.0)
    store = Store.open(f"sqlite:///{tmp_path}/state.db", clock=clock)
    for name in ("ro_1", "ro_2"):
        store.create(rollout(name, name), deployment(name), "ada")
    first, second = store.claim("w", limit=2, lease=LONG)
    store.write([turn(first)])
    clock.advance(-50_000)  # one sleeps, one is still held, both until long after
    assert {c.rollout.id for c in store.claim("w", limit=2, lease=LONG)} == {"ro_1", "ro_2"}
    assert store.write([turn(second)]) == frozenset()
    store.close()


def test_a_target_keeps_its_highest_fence_and_what_is_trusted(store: Store, put: Put) -> None:
    new = put()
    component = new.plan.component
    claim = only(store.claim("w", limit=1, lease=LONG))
    trusted = Target(component, "production", "1.1.0", "green", previous="1.0.0")
    store.write([turn(claim, rollout=replace(claim.rollout, fence=7), target=trusted, after=-1)])
    assert store.target(component, "production") == replace(trusted, fence=7, rollout=new.id)
    claim = only(store.claim("w", limit=1, lease=LONG))
    store.write([turn(claim, rollout=replace(claim.rollout, fence=3))])
    assert store.target(component, "production").fence == 7


def test_the_operation_under_way_survives_json(store: Store, other: Store, put: Put) -> None:
    put()
    claim = only(store.claim("w", limit=1, lease=LONG))
    busy = replace(claim.rollout, operation=Operation("a", "route", 12.5), noted=("errors",), waiting_since=1.5)
    store.write([turn(claim, rollout=busy, after=-1)])
    assert only(other.claim("v", limit=1, lease=LONG)).rollout == busy
