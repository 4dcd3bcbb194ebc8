"""Every database comes to the newest schema, once, and never to an older one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from crossfade.core.errors import BadInputError
from crossfade.store import Store
from crossfade.store.database import Database, read_url
from crossfade.store.schema import NEWEST, alembic_config
from crossfade.store.tables import metadata


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(read_url(url), None, 5.0)
    yield database
    database.close()


def test_the_migrations_lead_to_the_tables_as_they_are_written_down(store: Store, database: Database) -> None:
    assert store.is_sqlite == database.is_sqlite

    def differences(connection: sa.Connection) -> list[object]:
        options = {
            "compare_type": True,
            "version_table": "crossfade_schema",
            "include_name": lambda name, kind, _parents: kind != "table" or name in metadata.tables,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    assert database.read(differences) == []
    indexes = {index.name for table in metadata.tables.values() for index in table.indexes}
    found = database.read(lambda c: {i["name"] for t in metadata.tables for i in sa.inspect(c).get_indexes(t)})
    assert indexes <= found


def test_the_newest_migration_is_the_one_that_is_asked_for(database: Database) -> None:
    heads = database.read(lambda c: ScriptDirectory.from_config(alembic_config(c)).get_heads())
    assert heads == [NEWEST]


def test_many_may_open_an_empty_database_at_once(url: str, open_store: Callable[[str], Store]) -> None:
    barrier, opened, failed = threading.Barrier(5), [], []

    def work() -> None:
        barrier.wait()
        try:
            opened.append(open_store(url))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails with it
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [store.head().count for store in opened] == [0] * 5


def test_what_was_released_before_there_was_keeping_is_kept_too(
    url: str, database: Database, open_store: Callable[[str], Store]
) -> None:
    """Of two targets of before, one has a rollout under way: only the other one is looked after."""
    database.write(lambda c: command.upgrade(alembic_config(c), "0004"))
    fresh = {"active": True, "status": "running", "actor": "ada", "created_at": 1.0, "revision": 1}
    fresh |= {"state": "{}", "deployment": "{}", "environment": "production"}

    def fill(connection: sa.Connection) -> None:
        for name, active in (("api", True), ("web", False)):
            row = {**fresh, "id": f"ro_{name}", "component": name, "active": active}
            connection.execute(sa.insert(sa.table("rollouts", *map(sa.column, row))), row)
            target = {"component": name, "environment": "production", "version": "1.0.0", "slot": "blue", "fence": 1}
            connection.execute(sa.insert(sa.table("targets", *map(sa.column, target))), target)

    database.write(fill)
    (kept,) = open_store(url).keeping.claim("w", limit=10, lease=30.0)
    assert (kept.target.component, kept.rollout, kept.retiring, kept.incident) == ("web", "ro_web", False, None)


def test_a_newer_schema_is_left_alone(url: str, database: Database, open_store: Callable[[str], Store]) -> None:
    open_store(url)
    database.write(lambda c: c.execute(sa.text("UPDATE crossfade_schema SET version_num = '9999'")))
    with pytest.raises(BadInputError) as refused:
        open_store(url)
    assert refused.value.code == "store.newer"
    assert "9999" in refused.value.what


def test_a_migration_that_is_cut_short_leaves_nothing(
    url: str, database: Database, open_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        message = "the power is gone"
        raise OSError(message)

    with monkeypatch.context() as patch:
        patch.setattr("alembic.operations.Operations.bulk_insert", fail)
        with pytest.raises(OSError, match="power"):
            open_store(url)
    assert database.read(lambda c: sa.inspect(c).get_table_names()) == []
    assert open_store(url).head().count == 0
