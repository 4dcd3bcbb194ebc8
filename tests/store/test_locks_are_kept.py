"""One process may open the state several times; another one that comes and goes takes nothing away from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from crossfade.store import Store

_VISIT = """
import sys
from crossfade.store import Store
store = Store.open(sys.argv[1])
print(len(store.workers()))
store.close()
"""


def test_a_visitor_does_not_take_the_log_of_writes_away(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    first = Store.open(url)
    first.heartbeat("one", "executor")  # an open log of writes
    second = Store.open(url)  # as a command does that reads and carries
    second.heartbeat("two", "executor")

    assert _visit(url) == 2
    assert (tmp_path / "state.db-wal").exists()
    first.heartbeat("three", "executor")
    assert _visit(url) == 3
    second.close()
    first.close()


def _visit(url: str) -> int:
    done = subprocess.run([sys.executable, "-c", _VISIT, url], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)
