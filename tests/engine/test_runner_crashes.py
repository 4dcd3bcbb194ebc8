"""Killed, interrupted, cut off from its database: every action is carried out, and once where nothing crashed."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from crossfade.core.errors import BadInputError
from crossfade.engine.dbos_runner import DbosRunner
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.store import Store
from patience import PATIENCE
from real_postgres import PostgresServer
from store_samples import want

HERE = Path(__file__).parent
Start = Callable[[str], subprocess.Popen[bytes]]

pytestmark = pytest.mark.real


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another process; only a hang fails here."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


async def soon(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, condition)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store.open(url)
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What actions leave behind."""
    folder = tmp_path / "effects"
    folder.mkdir()
    return folder


@pytest.fixture
def start(store: Store, folder: Path) -> Iterator[Start]:
    """Starts processes that carry out, and ends them in the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def start_(worker: str) -> subprocess.Popen[bytes]:
        processes.append(
            subprocess.Popen(
                [sys.executable, HERE / "runner_process.py", store.url, worker, folder],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return processes[-1]

    yield start_
    for process in processes:
        process.kill()
        process.communicate()


def begun(folder: Path, action: Action) -> list[str]:
    """Which processes have begun to carry out `action`."""
    file = folder / action.id
    return file.read_text().split() if file.exists() else []


def test_killed_in_the_middle_and_restarted(store: Store, folder: Path, start: Start) -> None:
    actions = want(store, "ro_1", "ro_2")
    (folder / "hold").touch()
    first = start("w1")
    until(lambda: all(begun(folder, action) for action in actions))
    first.kill()
    first.wait()
    (folder / "hold").unlink()
    second = start("w2")
    until(lambda: not store.wanted_actions())
    assert [begun(folder, action) for action in actions] == [[str(first.pid), str(second.pid)]] * 2
    assert [row.kind for row in store.events()].count("action.done") == 2


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_another_worker_takes_over_from_a_dead_one(store: Store, folder: Path, start: Start) -> None:
    (folder / "hold").touch()
    first = start("w1")
    until((folder / "w1.ready").exists)
    (action,) = want(store, "ro_1")
    until(lambda: bool(begun(folder, action)))  # the sweep finds what nobody has submitted
    second = start("w2")
    until((folder / "w2.ready").exists)
    assert begun(folder, action) == [str(first.pid)]  # a living worker keeps what it has
    first.kill()
    (folder / "hold").unlink()
    until(lambda: not store.wanted_actions())
    assert begun(folder, action) == [str(first.pid), str(second.pid)]
    assert {row.worker for row in store.workers()} == {"w1", "w2"}


def test_an_interrupted_process_ends_quietly_and_the_next_one_goes_on(store: Store, folder: Path, start: Start) -> None:
    (action,) = want(store, "ro_1")
    (folder / "hold").touch()
    first = start("w1")
    until(lambda: bool(begun(folder, action)))
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=PATIENCE)
    assert output == b""
    assert first.returncode == 0
    assert store.wanted_actions() == [action]
    (folder / "hold").unlink()
    start("w2")
    until(lambda: not store.wanted_actions())


# -- within one process -----------------------------------------------------------------------------------


class Switch:
    """Carries out at once while it is on, and holds otherwise."""

    def __init__(self) -> None:
        self.on = asyncio.Event()
        self.on.set()
        self.begun: list[str] = []

    async def carry_out(self, action: Action) -> Outcome:
        self.begun.append(action.id)
        await self.on.wait()
        return Outcome(ok=True)


@pytest.fixture
async def switch() -> Switch:
    return Switch()


@pytest.fixture
async def runner(store: Store, switch: Switch) -> AsyncIterator[DbosRunner]:
    runner = DbosRunner(store, switch.carry_out, worker="w1", at_once=4)
    await runner.start()
    yield runner
    await runner.stop()


async def test_more_actions_than_may_run_at_once_wait_for_their_turn(
    store: Store, switch: Switch, runner: DbosRunner
) -> None:
    switch.on.clear()
    actions = want(store, *(f"ro_{number}" for number in range(20)))
    await runner.submit(actions)
    await soon(lambda: len(switch.begun) >= 4)
    switch.on.set()
    await soon(lambda: not store.wanted_actions())
    assert sorted(switch.begun) == sorted(action.id for action in actions)


async def test_an_action_that_ended_without_an_outcome_is_carried_out_again(
    store: Store, switch: Switch, runner: DbosRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (action,) = want(store, "ro_1")
    finish, refusals = store.finish_action, iter([BadInputError("x.y", "no")])

    def refuse_once(action_id: str, outcome: Outcome) -> bool:
        for refusal in refusals:
            raise refusal
        return finish(action_id, outcome)

    monkeypatch.setattr(store, "finish_action", refuse_once)
    await runner.submit([action])
    await soon(lambda: not store.wanted_actions())
    assert switch.begun == [action.id] * 2


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
async def test_a_database_that_goes_away_in_the_middle_of_an_action(
    postgres_server: PostgresServer, store: Store, switch: Switch, runner: DbosRunner
) -> None:
    first, second = want(store, "ro_1", "ro_2")
    switch.on.clear()
    await runner.submit([first])
    await soon(lambda: switch.begun == [first.id])
    postgres_server.stop()
    switch.on.set()
    await runner.submit([second])  # nobody is held up by a database that is away
    await asyncio.to_thread(postgres_server.start)
    await soon(lambda: not store.wanted_actions())
    assert switch.begun == [first.id, second.id]


async def test_history_is_pruned(store: Store, switch: Switch, runner: DbosRunner) -> None:
    from dbos import DBOS  # noqa: PLC0415 - slow to import

    runner._keep = -60.0
    await runner.submit(want(store, "ro_1", "ro_2"))
    await soon(lambda: len(DBOS.list_workflows(status="SUCCESS")) == 2)
    await asyncio.to_thread(runner._prune)
    assert await DBOS.list_workflows_async() == []
    assert len(switch.begun) == 2


async def test_dbos_keeps_quiet(
    store: Store, runner: DbosRunner, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "crossfade.engine.dbos_runner")
    await runner.submit(want(store, "ro_1"))
    await soon(lambda: not store.wanted_actions())
    logging.getLogger("dbos").error("something of its own")
    assert capfd.readouterr() == ("", "")
    assert ("crossfade.engine.dbos_runner", logging.DEBUG, "something of its own") in caplog.record_tuples


async def test_one_runner_for_each_process(store: Store, switch: Switch, runner: DbosRunner) -> None:
    second = DbosRunner(store, switch.carry_out, worker="w2")
    with pytest.raises(RuntimeError, match="singleton"):
        await second.start()
    await second.stop()
    await runner.submit(want(store, "ro_1"))
    await soon(lambda: not store.wanted_actions())
