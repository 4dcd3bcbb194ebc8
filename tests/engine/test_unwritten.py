"""What was decided is written before what was merely counted, and never more at once than was asked for."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.config.strategies import Direct
from crossfade.engine.unwritten import Unwritten
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Event, Rollout, Terms, begin
from crossfade.store import Turn


def turn(number: int, *, decided: bool) -> Turn:
    return Turn(ROLLOUT, number, 0.0, events=(Event("step.done", "a step"),) if decided else ())


def _rollout() -> Rollout:
    plan = compile_plan(Direct(), "api", "production", "1.0.0", previous=None)
    terms = Terms(instances=1, ready_deadline=60, drain_timeout=10, retry_limit=3, tick=1, judged=False)
    return begin("ro", plan, terms, slot="blue", fence=0, salt=7, now=0)


ROLLOUT = _rollout()


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
async def test_all_are_taken_once_and_the_decided_first(decided: list[bool], most: int) -> None:
    unwritten = Unwritten()
    for number, each in enumerate(decided):
        unwritten.put(turn(number, decided=each))
    batches = []
    while unwritten:
        batches.append(await unwritten.take(most))
        unwritten.done(batches[-1])
    await asyncio.wait_for(unwritten.join(), 1)
    taken = [each.lease_fence for batch in batches for each in batch]
    assert taken == sorted(range(len(decided)), key=lambda number: (not decided[number], number))
    assert all(len(batch) == most for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= most


async def test_it_waits_for_the_first_and_counts_what_is_being_written() -> None:
    unwritten = Unwritten()
    taking = asyncio.create_task(unwritten.take(5))
    await asyncio.sleep(0)
    assert not taking.done()
    unwritten.put(turn(1, decided=False))
    batch = await taking
    assert len(unwritten) == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(unwritten.join(), 0.01)
    unwritten.done(batch)
    await unwritten.join()
    assert len(unwritten) == 0
