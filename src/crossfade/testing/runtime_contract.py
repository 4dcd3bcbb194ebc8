"""What every runtime must do: subclass `RuntimeContract` in a test file to prove an adapter."""
# ruff: noqa: S101, PLR2004 - a contract suite is tests, and its numbers are counts of instances

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from crossfade.core.errors import CrossfadeError
from crossfade.runtimes.port import Instance, LogLine, Measured, Release, Runtime

DEADLINE = 120.0
"""Seconds after which a test gives up waiting; nothing is measured by it."""


async def eventually(
    runtime: Runtime, true: Callable[[tuple[Instance, ...]], bool], deadline: float = DEADLINE
) -> tuple[Instance, ...]:
    """The first observation for which `true` holds; fails with what was seen last."""
    seen: tuple[Instance, ...] = ()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline):
            while not true(seen := await runtime.observe()):  # noqa: ASYNC110 - the world is asked, it does not tell
                await asyncio.sleep(0.02)
            return seen
    return pytest.fail("it never came true; last seen:\n" + "\n".join(map(str, seen)))


def all_ready(count: int) -> Callable[[tuple[Instance, ...]], bool]:
    """Whether exactly `count` instances are there and all are ready."""
    return lambda seen: len(seen) == count and all(each.state == "ready" for each in seen)


class RuntimeContract(ABC):
    """The promises of the Runtime port, on an adapter's real instances.

    A subclass hands out a fixture `runtime` (which ends everything afterwards) and says how its world
    is touched from outside.
    """

    @abstractmethod
    def release(self, version: str) -> Release:
        """A release that becomes ready by itself soon."""

    @abstractmethod
    def release_never_ready(self, version: str) -> Release:
        """A release that runs, and whose readiness probe fails for ever."""

    @abstractmethod
    def release_that_ends(self, version: str) -> Release:
        """A release whose command ends at once, with exit code 3."""

    @abstractmethod
    def again(self, runtime: Runtime) -> Runtime:
        """The same target, seen by a Crossfade that was started anew."""

    @abstractmethod
    def crash(self, runtime: Runtime, instance: Instance) -> Awaitable[None]:
        """End the instance's program from outside, as an accident would."""

    async def test_an_unused_target_is_empty(self, runtime: Runtime) -> None:
        """Nothing runs, and stopping nothing is no fault."""
        assert await runtime.observe() == ()
        await runtime.stop("blue")
        assert await runtime.observe() == ()

    async def test_start_brings_up_the_wanted_number(self, runtime: Runtime) -> None:
        """As many as asked for, ready, each with its own id and address, in order."""
        await runtime.start("blue", self.release("1.0.0"), 3)
        seen = await eventually(runtime, all_ready(3))
        assert [each.index for each in seen] == [0, 1, 2]
        assert {each.slot for each in seen} == {"blue"}
        assert {each.version for each in seen} == {"1.0.0"}
        assert len({each.id for each in seen}) == len({each.address for each in seen}) == len(seen)
        assert all(each.since > 0 and each.restarts == 0 and each.failures == 0 for each in seen)

    async def test_every_instance_is_seen_as_soon_as_start_returns(self, runtime: Runtime) -> None:
        """There is no moment at which started instances are not there."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        seen = await runtime.observe()
        assert [each.index for each in seen] == [0, 1]
        assert all(each.state in ("starting", "ready") for each in seen)

    async def test_start_again_changes_nothing(self, runtime: Runtime) -> None:
        """Idempotent: the same instances go on."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        before = await eventually(runtime, all_ready(2))
        await runtime.start("blue", self.release("1.0.0"), 2)
        assert _identities(await runtime.observe()) == _identities(before)

    async def test_a_new_crossfade_adopts_what_runs(self, runtime: Runtime) -> None:
        """Nothing is started twice after a restart of Crossfade."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        before = await eventually(runtime, all_ready(2))
        later = self.again(runtime)
        assert _identities(await later.observe()) == _identities(before)
        await later.start("blue", self.release("1.0.0"), 2)
        assert _identities(await later.observe()) == _identities(before)

    async def test_scaling_keeps_the_instances_that_stay(self, runtime: Runtime) -> None:
        """Up adds, down ends the highest indices, up again is possible at once."""
        await runtime.start("blue", self.release("1.0.0"), 1)
        first = await eventually(runtime, all_ready(1))
        await runtime.start("blue", self.release("1.0.0"), 3)
        three = await eventually(runtime, all_ready(3))
        assert _identities(three)[:1] == _identities(first)
        await runtime.start("blue", self.release("1.0.0"), 2)
        two = await eventually(runtime, all_ready(2))
        assert _identities(two) == _identities(three)[:2]
        await runtime.start("blue", self.release("1.0.0"), 1)
        await runtime.start("blue", self.release("1.0.0"), 3)
        again = await eventually(runtime, all_ready(3))
        assert _identities(again)[:1] == _identities(first)

    async def test_usage_is_told_of_every_running_instance(self, runtime: Runtime) -> None:
        """A runtime that measures knows each instance by its id and slot, and nothing of those that have ended."""
        if not isinstance(runtime, Measured):
            pytest.skip("this runtime does not measure")
        assert await runtime.usage() == {}
        await runtime.start("blue", self.release("1.0.0"), 2)
        await runtime.start("green", self.release("1.1.0"), 1)
        seen = await eventually(runtime, all_ready(3))
        usage = await runtime.usage()
        assert {name: each.slot for name, each in usage.items()} == {each.id: each.slot for each in seen}
        assert all(each.memory > 0 for each in usage.values())
        assert all((each.cpu_seconds or 0) >= 0 and (each.cpu or 0) >= 0 for each in usage.values())
        assert all((each.cpu_seconds is None) != (each.cpu is None) for each in usage.values())
        await runtime.stop("green")
        assert {each.slot for each in (await runtime.usage()).values()} == {"blue"}

    async def test_the_slots_are_independent(self, runtime: Runtime) -> None:
        """Two versions run side by side; stopping one leaves the other alone."""
        await runtime.start("blue", self.release("1.0.0"), 1)
        await runtime.start("green", self.release("1.1.0"), 1)
        seen = await eventually(runtime, all_ready(2))
        assert [(each.slot, each.version) for each in seen] == [("blue", "1.0.0"), ("green", "1.1.0")]
        await runtime.stop("green")
        assert _identities(await runtime.observe()) == _identities(seen)[:1]

    async def test_another_version_in_the_slot_is_refused(self, runtime: Runtime) -> None:
        """The old version must be stopped first; nothing changes until then."""
        await runtime.start("blue", self.release("1.0.0"), 1)
        before = await eventually(runtime, all_ready(1))
        with pytest.raises(CrossfadeError) as refused:
            await runtime.start("blue", self.release("1.1.0"), 1)
        assert refused.value.code == "runtime.slot-occupied"
        assert "1.0.0" in refused.value.what
        assert refused.value.next
        assert _identities(await runtime.observe()) == _identities(before)
        await runtime.stop("blue")
        await runtime.start("blue", self.release("1.1.0"), 1)
        assert (await eventually(runtime, all_ready(1)))[0].version == "1.1.0"

    async def test_stop_ends_everything_and_may_be_called_again(self, runtime: Runtime) -> None:
        """After `stop` nothing is there, and it stays so."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        await eventually(runtime, all_ready(2))
        await runtime.stop("blue")
        assert await runtime.observe() == ()
        await runtime.stop("blue")
        assert await self.again(runtime).observe() == ()

    async def test_stop_right_after_start(self, runtime: Runtime) -> None:
        """Instances that are only just coming up are ended too."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        await runtime.stop("blue")
        assert await runtime.observe() == ()

    async def test_never_ready_says_why(self, runtime: Runtime) -> None:
        """It stays `starting`, and the detail holds the last answer."""
        await runtime.start("blue", self.release_never_ready("1.1.0"), 1)
        seen = await eventually(runtime, lambda seen: len(seen) == 1 and "503" in seen[0].detail)
        assert seen[0].state == "starting"
        assert seen[0].failures > 0
        assert "warming up" in seen[0].detail

    async def test_an_instance_that_ended_is_started_again_at_its_address(self, runtime: Runtime) -> None:
        """A proxy goes on dialing the same address; the restart is counted."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        before = await eventually(runtime, all_ready(2))
        await self.crash(runtime, before[0])
        after = await eventually(runtime, lambda seen: all_ready(2)(seen) and seen[0].restarts > 0)
        assert [each.address for each in after] == [each.address for each in before]
        assert after[0].restarts == 1
        assert after[0].since >= before[0].since
        assert _identities(after)[1:] == _identities(before)[1:]

    async def test_a_command_that_ends_at_once_says_why(self, runtime: Runtime) -> None:
        """It backs off, with its exit code and its last words."""
        await runtime.start("blue", self.release_that_ends("1.1.0"), 1)
        seen = await eventually(runtime, lambda seen: seen[0].state == "backing-off" and seen[0].restarts > 1)
        assert "code 3" in seen[0].detail
        assert "cannot reach the database" in seen[0].detail
        await runtime.stop("blue")
        assert await runtime.observe() == ()

    async def test_logs_of_both_streams_in_order_of_time(self, runtime: Runtime) -> None:
        """Every instance's lines, also after it has ended; `lines` limits each instance."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        seen = await eventually(runtime, all_ready(2))
        lines = await _collect(
            runtime, lambda lines: len({each.instance for each in lines if "hello" in each.text}) == 2
        )
        assert {each.instance for each in lines} == {each.id for each in seen}
        assert {each.stream for each in lines} == {"out", "err"}
        assert [each.at for each in lines] == sorted(each.at for each in lines)
        await runtime.stop("blue")
        ended = [each async for each in runtime.logs(slot="blue", lines=1)]
        assert sorted(each.instance for each in ended) == sorted(each.id for each in seen)
        assert [each async for each in runtime.logs(slot="green")] == []

    async def test_following_logs_shows_what_comes(self, runtime: Runtime) -> None:
        """A follower sees lines of instances that are started after it began."""
        heard: list[LogLine] = []

        async def follow() -> None:
            async with aclosing(runtime.logs(follow=True)) as lines:  # type: ignore[type-var]  # the port promises an iterator; ours are generators
                async for line in lines:
                    heard.append(line)
                    if len({each.instance for each in heard if "hello" in each.text}) == 2:
                        return

        async with asyncio.timeout(DEADLINE):
            follower = asyncio.create_task(follow())
            await runtime.start("blue", self.release("1.0.0"), 1)
            await runtime.start("green", self.release("1.1.0"), 1)
            await follower
        assert len({each.instance for each in heard}) == 2

    async def test_starts_at_the_same_time_make_no_double(self, runtime: Runtime) -> None:
        """Two callers that want the same get the same."""
        other = self.again(runtime)
        await asyncio.gather(*(each.start("blue", self.release("1.0.0"), 3) for each in (runtime, other) * 2))
        seen = await eventually(runtime, all_ready(3))
        assert _identities(await other.observe()) == _identities(seen)


def _identities(seen: tuple[Instance, ...]) -> list[tuple[str, str, float, int]]:
    return [(each.id, each.address, each.since, each.restarts) for each in seen]


async def _collect(runtime: Runtime, enough: Callable[[list[LogLine]], bool]) -> list[LogLine]:
    async with asyncio.timeout(DEADLINE):
        while True:
            lines = [each async for each in runtime.logs()]
            if enough(lines):
                return lines
            await asyncio.sleep(0.02)
