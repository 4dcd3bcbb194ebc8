"""The record cannot be changed unnoticed: tampered with in every way, by SQL, on both databases."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from crossfade.rollouts.rollout import Event, Outcome, Rollout
from crossfade.store import Head, Store
from crossfade.store.audit import AuditRow, Subject, Verification, canonical, digest, seal, verify
from crossfade.store.database import Database, read_url
from store_samples import deployment, rollout, want

Tamper = Callable[..., None]
TEXT = st.text(max_size=20)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def chain(count: int) -> list[AuditRow]:
    rows: list[AuditRow] = []
    head = Head()
    for number in range(count):
        event = {"actor": "ada", "kind": "step.done", "text": f"step {number}", "data": {"step": number}}
        rows.append(seal(head, at=1000.0 + number, subject=Subject("ro_1", "api", "production"), **event))  # type: ignore[arg-type]  # for brevity
        head = rows[-1].as_head()
    return rows


@given(actor=TEXT, text=TEXT, data=st.dictionaries(TEXT, DATA, max_size=4), at=st.floats(0, 1e11))
def test_any_event_can_be_sealed_and_verifies(actor: str, text: str, data: dict[str, Any], at: float) -> None:
    row = seal(Head(), at=at, actor=actor, kind="k", subject=Subject(), text=text, data=data)
    assert verify([row], head=row.as_head()).sound
    assert canonical(row.data) == row.canonical


def test_numbers_that_json_lacks_become_text() -> None:
    assert canonical({"ratio": (2.3, math.inf), "n": math.nan, "big": 10**30}) == (
        '{"big":"' + str(10**30) + '","n":"nan","ratio":[2.3,"inf"]}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"at": 5.0},
        {"actor": "eve"},
        {"kind": "step.skipped"},
        {"rollout": "ro_2"},
        {"rollout": None},
        {"component": "web"},
        {"environment": "staging"},
        {"text": "all is well"},
        {"canonical": '{"step":2}'},
        {"canonical": "{}"},
    ],
)
def test_a_changed_entry_is_found(change: dict[str, Any]) -> None:
    rows = chain(4)
    rows[1] = replace(rows[1], **change)
    faults = verify(rows, head=rows[-1].as_head()).faults
    assert [(fault.sequence, fault.what) for fault in faults] == [(2, "it was changed after it was written")]


def test_a_changed_entry_with_a_hash_that_fits_is_found_by_the_next() -> None:
    rows = chain(4)
    forged = replace(rows[1], text="all is well")
    rows[1] = replace(forged, hash=digest(forged))
    assert [fault.sequence for fault in verify(rows, head=rows[-1].as_head()).faults] == [3]


@given(st.data())
def test_any_row_left_out_doubled_or_moved_is_found(data: st.DataObject) -> None:
    rows = chain(6)
    left = data.draw(st.lists(st.sampled_from(rows), max_size=8))
    verification = verify(left, head=rows[-1].as_head())
    assert verification.sound == (left == rows)


def test_an_empty_record_is_sound_only_where_nothing_was_written() -> None:
    assert verify([], head=Head()).sound
    assert [fault.what for fault in verify([], head=chain(3)[-1].as_head()).faults] == [
        "3 entries are missing at the end"
    ]


def test_a_chain_that_was_rewritten_as_a_whole_is_found_by_a_head_noted_elsewhere() -> None:
    noted = chain(3)[1].as_head()
    rows, head = [], Head()
    for row in chain(3):
        forged = replace(row, text="all is well", previous=head.hash)
        rows.append(replace(forged, hash=digest(forged)))
        head = rows[-1].as_head()
    assert verify(rows, head=head).sound  # nothing within the database can tell
    assert [fault.sequence for fault in verify(rows, head=head, anchor=noted).faults] == [2]
    assert verify(chain(3), anchor=noted).sound


# -- in a database ----------------------------------------------------------------------------------------


@pytest.fixture
def tamper(recorded: Store, url: str) -> Iterator[Tamper]:
    """SQL as somebody with every right runs it, the triggers dropped first."""
    assert recorded.verify_audit().sound
    database = Database(read_url(url), None, 5.0)

    def run(*statements: str, triggers: bool = False) -> None:
        drop = ["DROP TRIGGER audit_refuses_update", "DROP TRIGGER audit_refuses_delete"]
        if not database.is_sqlite:
            drop = ["DROP TRIGGER audit_refuses_changes ON audit"]
        database.write(
            lambda c: [c.execute(sa.text(each)) for each in ((() if triggers else tuple(drop)) + statements)]
        )

    yield run
    database.close()


@pytest.fixture
def recorded(store: Store) -> Store:
    """A store whose record has 5 entries."""
    events = [Event("step.done", f"step {n}", "ada", {"step": n, "ratio": (1.5, math.inf)}) for n in range(5)]
    store.create(rollout(), deployment(), "ada", events)
    return store


@pytest.mark.parametrize(
    ("statement", "faults"),
    [
        ("UPDATE audit SET text = 'all is well' WHERE sequence = 2", [2]),
        ("UPDATE audit SET at = at + 1 WHERE sequence = 5", [5]),
        ("UPDATE audit SET data = '{}' WHERE sequence = 1", [1]),
        ("UPDATE audit SET actor = 'eve'", [1, 2, 3, 4, 5]),
        ("DELETE FROM audit WHERE sequence = 1", [2]),
        ("DELETE FROM audit WHERE sequence = 3", [4]),
        ("DELETE FROM audit WHERE sequence IN (2, 3)", [4]),
        ("DELETE FROM audit WHERE sequence = 5", [4]),
        ("DELETE FROM audit WHERE sequence > 2", [2]),
        ("DELETE FROM audit", [0]),
        ("UPDATE audit_head SET count = 4", [5]),
        ("UPDATE audit_head SET hash = 'x'", [5]),
        ("DELETE FROM audit_head", [5]),
        ("UPDATE audit SET hash = previous, previous = hash WHERE sequence = 2", [2, 2, 3]),
    ],
)
def test_every_way_of_tampering_is_found(recorded: Store, tamper: Tamper, statement: str, faults: list[int]) -> None:
    tamper(statement)
    found = recorded.verify_audit()
    assert not found.sound
    assert [fault.sequence for fault in found.faults] == faults


def test_swapped_entries_are_found(recorded: Store, tamper: Tamper) -> None:
    tamper(
        "UPDATE audit SET sequence = 99 WHERE sequence = 2",
        "UPDATE audit SET sequence = 2 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = 99",
    )
    assert {fault.sequence for fault in recorded.verify_audit().faults} == {2, 3, 4}


def test_an_entry_put_in_beside_crossfade_is_found(recorded: Store, tamper: Tamper) -> None:
    tamper(
        "INSERT INTO audit SELECT 6, at, actor, kind, rollout, component, environment, text, data, hash, 'x' "
        "FROM audit WHERE sequence = 5"
    )
    assert {fault.sequence for fault in recorded.verify_audit().faults} == {6}


def test_a_record_cut_short_together_with_its_head_is_found_by_a_head_noted_elsewhere(
    recorded: Store, tamper: Tamper
) -> None:
    noted = recorded.head()
    tamper(
        "DELETE FROM audit WHERE sequence > 3",
        "UPDATE audit_head SET count = 3, hash = (SELECT hash FROM audit WHERE sequence = 3)",
    )
    assert recorded.verify_audit().sound
    assert not recorded.verify_audit(anchor=noted).sound


@pytest.mark.parametrize("statement", ["UPDATE audit SET text = 'x'", "DELETE FROM audit WHERE sequence = 5"])
def test_the_database_refuses_changes(recorded: Store, tamper: Tamper, statement: str) -> None:
    with pytest.raises(Exception, match="append-only"):
        tamper(statement, triggers=True)
    assert recorded.verify_audit() == Verification(recorded.head(), ())


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_postgresql_refuses_truncation(recorded: Store, tamper: Tamper) -> None:
    with pytest.raises(Exception, match="append-only"):
        tamper("TRUNCATE audit", triggers=True)
    assert recorded.verify_audit().sound


def test_the_chain_has_no_gap_however_many_write_at_once(
    store: Store, other: Store, put: Callable[..., Rollout]
) -> None:
    ids = [put().id for _ in range(4)]

    def ask(mine: Store, rollout_id: str) -> None:
        for number in range(15):
            mine.command(rollout_id, "pause", "ada", str(number))

    threads = [threading.Thread(target=ask, args=((store, other)[n % 2], each)) for n, each in enumerate(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.sequence for row in store.events()] == list(range(1, 61))
    assert store.verify_audit().sound


def test_no_value_of_an_environment_variable_is_recorded(store: Store) -> None:
    (action,) = want(store, "ro_1")
    store.command("ro_1", "abort", "ada", "enough")
    store.finish_action(action.id, Outcome(ok=True))
    store.put_release("api", "1.1.0", deployment().workload, "sha256:1")
    rows = store.events()
    assert {row.kind for row in rows} == {"action.wanted", "command.asked", "action.done", "release.recorded"}
    assert not any("hunter2" in row.canonical + row.text for row in rows)
