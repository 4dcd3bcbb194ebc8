"""What every runner keeps: the same contract on both databases."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from crossfade.core.errors import BadInputError, UnreachableError
from crossfade.engine.dbos_runner import DbosRunner
from crossfade.engine.runner import ActionRunner, InlineRunner
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.store import Store
from patience import PATIENCE
from store_samples import want

Make = Callable[["World"], ActionRunner]


class World:
    """What actions do: counts, and lets a test decide how each ends."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.ends: dict[str, Outcome | Exception | asyncio.Event] = {}

    async def carry_out(self, action: Action) -> Outcome:
        self.begun[action.id] += 1
        self.loops.add(asyncio.get_running_loop())
        end = self.ends.get(action.id, Outcome(ok=True))
        if isinstance(end, asyncio.Event):
            await end.wait()
            return Outcome(ok=True)
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store.open(url)
    yield store
    store.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "url" in metafunc.fixturenames:
        metafunc.parametrize("url", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(params=["inline", "dbos"])
async def runner(request: pytest.FixtureRequest, store: Store, world: World) -> AsyncIterator[ActionRunner]:
    inline = request.param == "inline"
    made: ActionRunner = (
        InlineRunner(store, world.carry_out) if inline else DbosRunner(store, world.carry_out, worker="w1")
    )
    await made.start()
    yield made
    await made.stop()


async def finished(store: Store, *, within: float = 60.0) -> None:
    """Wait until the outbox is empty."""
    async with asyncio.timeout(within):
        seen = 0
        while await asyncio.to_thread(store.wanted_actions):
            await asyncio.to_thread(store.wait_for_events, seen, 1.0)
            seen = store.head().count


def outcomes(store: Store) -> dict[str, Outcome]:
    return {
        each: outcome for claim in store.claim("reader", limit=100, lease=1) for each, outcome in claim.outcomes.items()
    }


def told(store: Store, kind: str) -> list[dict[str, object]]:
    return [row.data for row in store.events() if row.kind == kind]


async def test_an_action_is_carried_out_and_its_outcome_stored(
    store: Store, world: World, runner: ActionRunner
) -> None:
    actions = want(store, "ro_1", "ro_2")
    await runner.submit(actions)
    await finished(store)
    assert world.begun == {action.id: 1 for action in actions}
    assert [each["ok"] for each in told(store, "action.done")] == [True, True]


async def test_what_is_submitted_again_is_carried_out_once(store: Store, world: World, runner: ActionRunner) -> None:
    actions = want(store, "ro_1")
    for _ in range(3):
        await runner.submit(actions)
    await finished(store)
    await runner.submit(actions)
    await runner.submit(want(store, "ro_2"))
    await finished(store)
    assert world.begun[actions[0].id] == 1
    assert len(told(store, "action.done")) == 2


@pytest.mark.parametrize(
    ("error", "said", "retry"),
    [
        (UnreachableError("x.y", "nobody answers", where="caddy"), "nobody answers (caddy)", True),
        (BadInputError("x.y", "no such command"), "no such command", False),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", True),
    ],
)
async def test_an_error_becomes_an_outcome(
    store: Store, world: World, runner: ActionRunner, error: Exception, said: str, *, retry: bool
) -> None:
    (action,) = want(store, "ro_1")
    world.ends[action.id] = error
    await runner.submit([action])
    await finished(store)
    (failure,) = told(store, "action.failed")
    assert (failure["ok"], failure["error"], failure["retry"]) == (False, said, retry)


async def test_the_outbox_is_submitted_again_after_a_crash(store: Store, world: World, runner: ActionRunner) -> None:
    actions = want(store, "ro_1", "ro_2")  # committed, and then nobody got to submit them
    await runner.recover()
    await finished(store)
    assert world.begun == {action.id: 1 for action in actions}


async def test_an_unknown_action_is_not_carried_out(store: Store, world: World, runner: ActionRunner) -> None:
    (known,) = want(store, "ro_1")
    await runner.submit([Action("ro_9:1:0:stop", "stop", "green"), known])
    await finished(store)
    assert world.begun == {known.id: 1}


async def test_actions_run_in_the_loop_that_started_the_runner(
    store: Store, world: World, runner: ActionRunner
) -> None:
    await runner.submit(want(store, "ro_1"))
    await finished(store)
    assert world.loops == {asyncio.get_running_loop()}


async def test_a_stopped_runner_may_be_started_again(store: Store, world: World, runner: ActionRunner) -> None:
    await runner.stop()
    await runner.stop()
    await runner.start()
    await runner.submit(want(store, "ro_1"))
    await finished(store)
    assert len(world.begun) == 1


async def test_no_thread_outlives_a_runner_that_ends_while_actions_end(store: Store) -> None:
    """A thread that is left behind waits for ever, and the process with it when it is to exit."""
    for round_ in range(10):
        world = World()
        runner = DbosRunner(store, world.carry_out, worker="w1")
        await runner.start()
        await runner.submit(want(store, *(f"ro_{round_}_{each}" for each in range(12))))
        async with asyncio.timeout(PATIENCE):
            while not world.begun:  # noqa: ASYNC110 - told by another thread
                await asyncio.sleep(0.001)
        await runner.stop()
        for action in store.wanted_actions():
            store.finish_action(action.id, Outcome(ok=False))
        async with asyncio.timeout(PATIENCE):
            while any(each.name.startswith("dbos-executor") for each in threading.enumerate()):  # noqa: ASYNC110 - a thread tells nobody of its end
                await asyncio.sleep(0.05)
