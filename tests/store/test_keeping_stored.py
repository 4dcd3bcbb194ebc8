"""A target is looked after by one worker, or has a rollout: never both, whoever comes first and whoever dies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import Event
from crossfade.store import Incident, Kept, Store, Target, Turn
from crossfade.store.keeping import EVERY
from store_samples import deployment, rollout

MANY, LONG = 100, 30.0


def finish(store: Store, name: str, component: str = "api", *, version: str = "1.1.0", worker: str = "w") -> None:
    """Have a rollout end: its version is trusted."""
    (claim,) = (each for each in store.claim(worker, limit=MANY, lease=LONG) if each.rollout.id == name)
    ended = replace(claim.rollout, status="done", promoted=True, finished_at=claim.at)
    trusted = Target(component, "production", version=version, slot="green", fence=1)
    events = (Event("rollout.finished", f"{version} has all of the traffic"),)
    assert store.write([Turn(ended, claim.lease_fence, claim.at + 5, events=events, target=trusted)]) == {name}


def released(store: Store, component: str = "api") -> None:
    store.create(rollout(f"ro_{component}", component), deployment(component), "ada")
    finish(store, f"ro_{component}", component)


def due(store: Store, component: str = "api", *, worker: str = "w") -> Kept:
    """Take a target that was hurried."""
    store.keeping.hurry(component, "production")
    (kept,) = store.keeping.claim(worker, limit=MANY, lease=LONG)
    return kept


def following(store: Store) -> None:
    """Another rollout of the same target begins."""
    later = rollout("ro_2", previous="1.1.0", fence=store.target("api", "production").fence, now=2000.0)
    store.create(later, deployment(), "ada")


def claimed(store: Store, worker: str = "w") -> list[str]:
    return [claim.rollout.id for claim in store.claim(worker, limit=MANY, lease=LONG)]


def test_what_was_released_is_looked_after_some_time_after_its_rollout_has_ended(store: Store) -> None:
    released(store)
    assert store.keeping.claim("w", limit=MANY, lease=LONG) == []
    kept = due(store)
    assert kept.target == replace(store.target("api", "production"), rollout=None)
    assert kept.target.version == "1.1.0"
    assert kept.rollout == "ro_api"


def test_what_was_never_released_is_nobodys(store: Store) -> None:
    store.create(rollout(), deployment(), "ada")
    store.keeping.hurry("api", "production")
    assert store.keeping.claim("w", limit=MANY, lease=LONG) == []


def test_one_looks_at_a_time_and_the_next_when_it_was_asked_to(store: Store, other: Store) -> None:
    released(store)
    kept = due(store)
    other.keeping.hurry("api", "production")
    assert other.keeping.claim("v", limit=MANY, lease=LONG) == []
    store.keeping.done(kept, wake_in=0.0, events=[Event("target.repair", "0 of 1 instances of 1.1.0 are there")])
    (again,) = other.keeping.claim("v", limit=MANY, lease=LONG)
    assert again.target == kept.target
    other.keeping.done(again, wake_in=EVERY)
    assert store.keeping.claim("w", limit=MANY, lease=LONG) == []
    (entry,) = (row for row in store.events() if row.kind == "target.repair")
    assert (entry.rollout, entry.component, entry.environment) == (None, "api", "production")
    assert store.verify_audit().sound


def test_a_rollout_has_the_target_from_its_beginning_to_its_end(store: Store) -> None:
    released(store)
    following(store)
    store.keeping.hurry("api", "production")
    assert store.keeping.claim("w", limit=MANY, lease=LONG) == []
    finish(store, "ro_2", version="1.2.0")
    assert due(store).rollout == "ro_2"


def test_a_rollout_that_begins_meanwhile_waits_for_the_end_of_the_look(store: Store, other: Store) -> None:
    released(store)
    kept = due(store)
    following(other)
    assert claimed(other) == []
    other.command("ro_2", "pause", "ada")  # what wakes it changes nothing about that
    assert claimed(other) == []
    store.keeping.done(kept, wake_in=EVERY)
    assert claimed(other) == ["ro_2"]
    store.keeping.hurry("api", "production")
    assert store.keeping.claim("w", limit=MANY, lease=LONG) == []


def test_one_that_was_too_slow_takes_nothing_from_the_rollout(store: Store) -> None:
    released(store)
    kept = due(store)
    following(store)
    store.leave("w")  # its lease is ended, as by the time
    assert claimed(store, "v") == ["ro_2"]
    store.keeping.done(kept, wake_in=0.0)
    assert claimed(store, "u") == []
    assert store.keeping.claim("u", limit=MANY, lease=LONG) == []


@pytest.mark.parametrize("leaves", [True, False])
def test_a_worker_that_ends_keeps_nobody_waiting(
    url: str, store: Store, open_store: Callable[[str], Store], *, leaves: bool
) -> None:
    """One that is killed leaves a lease, which the next engine on SQLite need not wait for, and on PostgreSQL ends."""
    released(store)
    store.keeping.hurry("api", "production")
    (kept,) = store.keeping.claim("w", limit=MANY, lease=LONG if leaves or store.is_sqlite else 0.0)
    following(store)
    if leaves:
        store.leave("w")
    store.close()
    again = open_store(url)
    assert again.take_place()
    assert claimed(again, "v") == ["ro_2"]
    assert kept.rollout == "ro_api"


def test_what_is_taken_out_of_service_is_looked_after_until_all_of_it_has_ended(store: Store, other: Store) -> None:
    released(store)
    assert store.keeping.retire("api", "production", actor="ada", reason="moved away") == "1.1.0"
    assert store.keeping.retire("api", "production", actor="ada", reason="again") is None
    target = other.target("api", "production")
    assert (target.version, target.slot, target.previous) == (None, None, "1.1.0")
    (kept,) = other.keeping.claim("v", limit=MANY, lease=LONG)
    assert kept.retiring
    assert other.keeping.is_retiring("api", "production")
    other.keeping.done(kept, wake_in=0.0, incident=Incident(kept.at, 1, ""))  # something is left
    (kept,) = other.keeping.claim("v", limit=MANY, lease=LONG)
    with pytest.raises(BadInputError, match="is being taken out of service") as refused:
        store.create(rollout("ro_2", fence=target.fence, now=2000.0), deployment(), "ada")
    assert refused.value.code == "target.retiring"
    other.keeping.done(kept, wake_in=0.0, events=[Event("target.down", "nothing runs there any more")])
    assert not store.keeping.is_retiring("api", "production")
    assert store.keeping.claim("w", limit=MANY, lease=LONG) == []
    store.create(rollout("ro_2", fence=target.fence, now=2000.0), deployment(), "ada")
    assert claimed(store) == ["ro_2"]
    told = [(row.kind, row.actor, row.text) for row in store.events() if row.kind.startswith("target.")]
    assert told[0] == ("target.retired", "ada", "moved away")
    assert store.verify_audit().sound


def test_what_is_taken_out_of_service_during_a_look_is_not_forgotten_by_it(store: Store, other: Store) -> None:
    released(store)
    kept = due(store)
    assert other.keeping.retire("api", "production", actor="ada", reason="") == "1.1.0"
    store.keeping.done(kept, wake_in=EVERY)
    assert store.keeping.is_retiring("api", "production")
    (again,) = store.keeping.claim("w", limit=MANY, lease=LONG)
    assert again.retiring


def test_nothing_is_taken_out_of_service_under_a_rollout(store: Store) -> None:
    assert store.keeping.retire("api", "production", actor="ada", reason="") is None
    released(store)
    following(store)
    with pytest.raises(BadInputError, match="under way"):
        store.keeping.retire("api", "production", actor="ada", reason="")
    assert store.target("api", "production").version == "1.1.0"


class Inside:
    """Who has which target; two at once are wrong."""

    def __init__(self) -> None:
        self._lock, self._who = threading.Lock(), dict[str, str]()
        self.wrong: list[str] = []
        self.looks = 0

    def enter(self, name: str, who: str) -> None:
        with self._lock:
            if name in self._who:
                self.wrong.append(f"{who} came into {name} beside {self._who[name]}")
            self._who[name] = who

    def leave(self, name: str) -> None:
        with self._lock:
            self.looks += 1
            del self._who[name]


def look_after(store: Store, worker: str, inside: Inside, stop: threading.Event) -> None:
    while not stop.is_set():
        for kept in store.keeping.claim(worker, limit=3, lease=LONG):
            inside.enter(kept.target.component, worker)
            inside.leave(kept.target.component)
            store.keeping.done(kept, wake_in=0.0)


def test_many_at_once_never_share_a_target_nor_take_one_from_a_rollout(store: Store, other: Store) -> None:
    """Workers look after targets while rollouts begin in them: whoever has it, has it alone."""
    names = [f"c{number}" for number in range(12)]
    for name in names:
        released(store, name)
        store.keeping.hurry(name, "production")
    inside, stop = Inside(), threading.Event()

    keepers = [
        threading.Thread(target=look_after, args=((store, other)[n % 2], f"k{n}", inside, stop)) for n in range(4)
    ]
    for keeper in keepers:
        keeper.start()
    for name in names:
        store.create(rollout(f"again-{name}", name, previous="1.1.0", fence=1, now=2000.0), deployment(name), "ada")
    found: list[str] = []
    while len(found) < len(names):
        new = claimed(other, "v")
        for each in new:
            inside.enter(each.removeprefix("again-"), each)
        found += new
    for name in names:
        other.keeping.hurry(name, "production")
    stop.set()
    for keeper in keepers:
        keeper.join()
    assert inside.wrong == []
    assert sorted(found) == sorted(f"again-{name}" for name in names)
    assert inside.looks
