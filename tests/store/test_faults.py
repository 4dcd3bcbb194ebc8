"""What a person is told when the database is not as it should be, and that nothing is lost by it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.rollouts.rollout import Outcome, Rollout
from crossfade.store import Store
from real_postgres import PostgresServer
from store_samples import deployment, rollout, want

Put = Callable[..., Rollout]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("", "store.url"),
        ("state.db", "store.url"),
        ("mysql://localhost/x", "store.url"),
        ("sqlite://", "store.url"),
        ("sqlite:///:memory:", "store.url"),
        ("postgresql://ada:hunter2@127.0.0.1:99999999/x", "store.url"),
    ],
)
def test_an_address_that_is_none(address: str, code: str) -> None:
    with pytest.raises(BadInputError) as refused:
        Store.open(address)
    assert refused.value.code == code
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_nobody_listens(unused_tcp_port: int) -> None:
    with pytest.raises(UnreachableError) as refused:
        Store.open(f"postgresql://ada:hunter2@127.0.0.1:{unused_tcp_port}/x")
    assert refused.value.code == "store.unreachable"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("crossfade:", "nobody:"), "store.credentials"),
        (("/postgres", "/nothing_of_this_name"), "store.no-database"),
    ],
)
def test_a_server_that_refuses(postgres_server: PostgresServer, change: tuple[str, str], code: str) -> None:
    with pytest.raises(BadInputError) as refused:
        Store.open(postgres_server.url().replace(*change))
    assert refused.value.code == code


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("dear diary, " * 100)
    with pytest.raises(BadInputError) as refused:
        Store.open(f"sqlite:///{tmp_path}/state.db", patience=0.5)
    assert refused.value.code == "store.not-a-database"


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "state.db"):
        with pytest.raises(BadInputError) as refused:
            Store.open(f"sqlite:///{place}")
        assert refused.value.code == "store.not-writable"


def test_the_file_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    Store.open(f"sqlite:///{tmp_path}/deep/state.db").close()
    assert (tmp_path / "deep" / "state.db").stat().st_mode & 0o077 == 0


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/state.db", patience=60)
    browser = sqlite3.connect(tmp_path / "state.db", check_same_thread=False)
    browser.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, browser.rollback).start()
    store.create(rollout(), deployment(), "ada")
    assert len(store.rollouts()) == 1
    store.close()


def test_a_file_that_stays_locked_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/state.db", patience=0.2)
    store.create(rollout(), deployment(), "ada")
    browser = sqlite3.connect(tmp_path / "state.db")
    browser.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnreachableError) as refused:
        store.command("ro_1", "abort", "ada")
    assert (refused.value.code, refused.value.retry) == ("store.locked", True)
    assert len(store.rollouts()) == 1  # reading goes on
    browser.rollback()
    assert store.command("ro_1", "abort", "ada").serial == 1
    browser.close()
    store.close()


def test_a_full_disk_is_told_and_nothing_is_written_in_part(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/state.db", patience=0.2)
    store.create(rollout(), deployment(), "ada")
    full = store._database.engine
    much = "x" * 2_000_000  # more than the pages that are free already

    def no_more(raw: sqlite3.Connection, *_: object) -> None:
        raw.execute("PRAGMA max_page_count=1")  # SQLite's own way to say: the disk ends here

    sa.event.listen(full, "checkout", no_more)
    with pytest.raises(UnreachableError) as refused:
        store.command("ro_1", "pause", "ada", much)
    assert refused.value.code == "store.disk"
    sa.event.remove(full, "checkout", no_more)
    full.dispose()  # the limit belongs to the connections
    assert store.command("ro_1", "pause", "ada", much).serial == 1
    assert store.verify_audit().sound
    store.close()


def test_a_server_that_is_restarted_costs_nobody_an_error(
    postgres_server: PostgresServer, postgres_url: str, open_store: Callable[[str], Store]
) -> None:
    store = open_store(postgres_url)
    (action,) = want(store, "ro_1")
    assert not store.wait_for_work(0.01)
    postgres_server.restart()
    assert store.command("ro_1", "pause", "ada").serial == 1
    assert store.finish_action(action.id, Outcome(ok=True))
    assert store.verify_audit().sound


def test_a_server_that_is_away_is_told_and_back_is_back(
    postgres_server: PostgresServer, postgres_url: str, open_store: Callable[[str], Store]
) -> None:
    store = open_store(postgres_url)
    (action,) = want(store, "ro_1")
    assert not store.wait_for_work(0.01)
    postgres_server.stop(crash=True)
    attempts: list[Callable[[], object]] = [
        lambda: store.command("ro_1", "pause", "ada"),
        lambda: store.claim("w", limit=1, lease=1),
        lambda: store.wait_for_work(60),
        lambda: store.finish_action(action.id, Outcome(ok=True)),
        store.now,
    ]
    for attempt in attempts:
        with pytest.raises(CrossfadeError) as refused:
            attempt()
        assert (refused.value.code, refused.value.retry) == ("store.unreachable", True)
    postgres_server.start()
    assert store.command("ro_1", "pause", "ada").serial == 1
    assert store.wait_for_work(60)
    assert len(store.claim("w", limit=1, lease=1)) == 1


def test_who_waits_learns_that_the_server_has_gone(
    postgres_server: PostgresServer, postgres_url: str, open_store: Callable[[str], Store]
) -> None:
    store = open_store(postgres_url)
    refused: list[CrossfadeError] = []

    def wait() -> None:
        try:
            store.wait_for_work(600)
        except CrossfadeError as error:
            refused.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    postgres_server.stop()
    thread.join(60)
    assert [error.code for error in refused] == ["store.unreachable"]
    postgres_server.start()
    assert not store.wait_for_work(0.01)
