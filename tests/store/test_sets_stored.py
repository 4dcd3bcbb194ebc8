"""Rollouts of a set: all begin or none; each knows how far the others are, and is woken when they get further."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from crossfade.core.errors import BadInputError
from crossfade.rollouts.group import Group, together
from crossfade.rollouts.rollout import Event, Rollout
from crossfade.store import Store, Turn
from crossfade.store.orders import Beginning
from store_samples import deployment, rollout

IDS = ("ro_1", "ro_2")


def member(name: str, component: str, ids: tuple[str, ...] = IDS) -> Beginning:
    made = rollout(name, component)
    made = replace(made, plan=together(made.plan), group=Group(f"rs_{ids[0]}", ids))
    return made, deployment(component), [Event("rollout.created", name)]


def begin(store: Store) -> None:
    store.create_set([member("ro_1", "web"), member("ro_2", "api")], "ada")


def test_all_or_none(store: Store, other: Store) -> None:
    store.create(rollout("ro_0", "web"), deployment("web"), "ada")
    with pytest.raises(BadInputError) as refused:
        begin(other)
    assert (refused.value.code, refused.value.where) == ("rollout.active", "ro_0")
    assert [row.rollout.id for row in store.rollouts()] == ["ro_0"]
    assert store.events() == []


def test_one_of_many_sets_that_begin_at_once(store: Store, other: Store) -> None:
    won, barrier = [], threading.Barrier(6)

    def work(number: int) -> None:
        ids = (f"ro_{number}a", f"ro_{number}b")
        mine = [member(ids[0], "web", ids), member(ids[1], "api", ids)]
        barrier.wait()
        try:
            (store, other)[number % 2].create_set(mine if number % 3 else mine[::-1], "ada")
            won.append(number)
        except BadInputError as error:
            assert error.code == "rollout.active"  # noqa: PT017 - in a thread

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [row.rollout.id for row in store.members(f"rs_ro_{won[0]}a")] == [f"ro_{won[0]}b", f"ro_{won[0]}a"]


def test_each_sees_how_far_the_others_are_and_is_woken(store: Store, other: Store) -> None:
    begin(store)
    claims = {claim.rollout.id: claim for claim in store.claim("w", limit=9, lease=60)}
    assert [each.id for each in claims["ro_1"].others] == ["ro_2"]
    assert claims["ro_1"].others[0].arrived == ()
    later = claims["ro_1"].at + 1000
    store.write([Turn(claims["ro_1"].rollout, claims["ro_1"].lease_fence, later)])
    further = replace(claims["ro_2"].rollout, step=2)
    assert further.current is not None
    assert further.current.barrier == "traffic"
    store.write([Turn(further, claims["ro_2"].lease_fence, later, events=(Event("step.done", "ready"),))])
    (claim,) = other.claim("v", limit=9, lease=60)
    assert claim.rollout.id == "ro_1"
    assert (claim.others[0].id, claim.others[0].arrived) == ("ro_2", ("traffic",))


def test_what_is_asked_of_a_set_is_asked_of_all(store: Store, other: Store) -> None:
    begin(store)
    other.command_set(IDS, "abort", "ada", "no")
    claims = store.claim("w", limit=9, lease=60)
    assert sorted((c.rollout.id, c.commands[0].verb) for c in claims) == [("ro_1", "abort"), ("ro_2", "abort")]
    with pytest.raises(BadInputError):
        other.command_set(("ro_1", "ro_9"), "pause", "ada")
    assert [row.kind for row in store.events()].count("command.asked") == 2


def test_two_workers_write_members_of_one_set_at_the_same_time(store: Store, other: Store) -> None:
    """Each wakes the other: nobody waits in a circle, nothing is lost."""
    begin(store)
    failed: list[Exception] = []

    def work(mine: Store, claimed: Rollout, fence: int) -> None:
        try:
            for number in range(15):
                event = Event("step.done", f"{number}")
                turn = Turn(replace(claimed, serial=number + 1), fence, 0.0, events=(event,))
                assert mine.write([turn])
        except Exception as error:  # noqa: BLE001 - in a thread
            failed.append(error)

    claims = store.claim("w", limit=9, lease=600)
    threads = [
        threading.Thread(target=work, args=(mine, claim.rollout, claim.lease_fence))
        for mine, claim in zip((store, other), claims, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert store.verify_audit().sound
    assert len([row for row in store.events() if row.kind == "step.done"]) == 30
