"""Who only looks sees what the store sees, however it is asked, and without what writing needs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossfade.core.errors import CrossfadeError
from crossfade.rollouts.rollout import Rollout
from crossfade.store import Store, open_records
from crossfade.store.looking import SqliteRecords
from store_samples import deployment


def test_the_same_answers_by_every_way(store: Store, url: str, put: Callable[..., Rollout]) -> None:
    for _ in range(3):
        put()
    store.command("ro_2", "pause", "ada", "lunch")
    store.heartbeat("w", "executor")
    records = open_records(url)
    try:
        assert isinstance(records, SqliteRecords) == store.is_sqlite
        assert [row.rollout.id for row in records.rollouts()] == ["ro_3", "ro_2", "ro_1"]
        for ask in (
            lambda each: each.rollouts(),
            lambda each: each.rollouts(component="c2", environment="production", active=True),
            lambda each: each.rollouts(active=False),
            lambda each: each.rollouts(limit=1),
            lambda each: (each.rollout("ro_1"), each.rollout("ro_none")),
            lambda each: (each.target("c1", "production"), each.target("none", "production")),
            lambda each: each.events(),
            lambda each: each.events(after=1, rollout="ro_2", limit=5),
            lambda each: each.head(),
        ):
            assert ask(records) == ask(store)
        assert records.target("c1", "production").rollout == "ro_1"
        assert [row.kind for row in records.events(rollout="ro_2")] == ["command.asked"]
        (worker,) = records.workers()
        assert (worker.worker, worker.age < 60) == ("w", True)
    finally:
        records.close()


def test_a_reader_sees_what_is_written_after_it_was_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    store = Store.open(url)
    records = open_records(url)
    assert records.head().count == 0
    store.put_release("api", "1.0.0", deployment().workload, "digest")
    assert records.head() == store.head()
    records.close()
    store.close()


@pytest.mark.parametrize("prepare", ["missing", "older"])
def test_a_file_without_our_schema_is_brought_to_it(tmp_path: Path, prepare: str) -> None:
    path = tmp_path / "state.db"
    if prepare == "older":
        Store.open(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as raw:
            raw.execute("DROP TABLE crossfade_schema")
            for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                raw.execute(f"DROP TABLE {name}")
        raw.close()
    records = open_records(f"sqlite:///{path}")
    assert isinstance(records, Store)
    assert records.rollouts() == []
    records.close()
    again = open_records(f"sqlite:///{path}")
    assert isinstance(again, SqliteRecords)
    again.close()


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_text("a text that is no database at all" * 100)
    with pytest.raises(CrossfadeError) as refused:
        open_records(f"sqlite:///{path}")
    assert refused.value.code == "store.not-a-database"


def test_a_fault_while_looking_is_told_like_the_stores(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Store.open(f"sqlite:///{path}").close()
    records = open_records(f"sqlite:///{path}")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(CrossfadeError) as refused:
        records.rollouts()
    assert refused.value.code == "store.not-a-database"
    records.close()


def test_looking_loads_nothing_that_writing_needs(tmp_path: Path) -> None:
    """What answers at once today would otherwise be slow again tomorrow."""
    Store.open(f"sqlite:///{tmp_path}/.crossfade/state.db").close()
    script = (
        "import sys\n"
        "from crossfade.cli.main import main\n"
        "assert main(['history', '--state', sys.argv[1]]) == 0\n"
        "heavy = {'sqlalchemy', 'alembic', 'dbos', 'httpx', 'psutil', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / ".crossfade")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
