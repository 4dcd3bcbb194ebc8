"""What instances use and print: real processes, their children, and logs that are followed."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from pathlib import Path

import httpx
import pytest

from crossfade.analysis.sources.log_lines import LogLines, Logs
from crossfade.analysis.sources.port import Series, Unknown, Value
from crossfade.analysis.sources.usage import CpuOfInstances, Instances, MemoryOfInstances
from crossfade.config.model import Component, Drain, Health
from crossfade.core.clock import SystemClock, VirtualClock
from crossfade.core.errors import UnreachableError
from crossfade.runtimes.port import LogLine, Measured, Release, Usage
from crossfade.runtimes.process import ProcessRuntime
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from patience import PATIENCE

APP = str(Path(__file__).with_name("printing_app.py"))
SLOTS = {"stable": "blue", "canary": "green"}
MB = 1_000_000


@pytest.fixture
async def runtime(tmp_path):
    """One instance of 1.0.0 in blue, two of 1.1.0 in green, all ready."""
    runtime = ProcessRuntime(state=tmp_path / "state", environment="test", component="web", root=tmp_path)
    health = Health(interval=0.1)
    workload = Component(command=(sys.executable, "-S", APP, "{port}"), health=health, drain=Drain(grace=1.0))
    try:
        await runtime.start("blue", Release("1.0.0", workload), 1)
        await runtime.start("green", Release("1.1.0", workload), 2)
        async with asyncio.timeout(PATIENCE):  # only against a hang
            while any(each.state != "ready" for each in await runtime.observe()):  # noqa: ASYNC110 - what happens elsewhere has no event to wait for
                await asyncio.sleep(0.05)
        yield runtime
    finally:
        for slot in SLOTS.values():
            await runtime.stop(slot)


async def order(runtime, instance, path):
    where = {each.id: each.address for each in await runtime.observe()}
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://{where[instance]}{path}")).status_code == 200


async def until(ask, true):
    """The first answer for which `true` holds."""
    async with asyncio.timeout(PATIENCE):
        while not true(found := await ask()):  # noqa: ASYNC110 - what happens elsewhere has no event to wait for
            await asyncio.sleep(0.3)
    return found


@pytest.mark.real
async def test_processor_time_is_that_of_the_whole_tree_as_a_share_of_one_core(runtime):
    assert isinstance(runtime, Measured)
    cpus = {
        over: CpuOfInstances(Instances(runtime, slots=SLOTS), over=over, clock=SystemClock())
        for over in ("mean", "max")
    }
    first = await cpus["max"].ask(window=60, now=time.time())
    assert first["canary"] == Unknown("no instance of the canary arm tells its processor time yet")
    await order(runtime, "web-green-1", "/burn")  # a child of the instance, not the instance itself

    async def look():
        return {over: await cpu.ask(window=60, now=time.time()) for over, cpu in cpus.items()}

    def burns(found):
        told = all(isinstance(each, Value) for answers in found.values() for each in answers.values())
        return told and found["max"]["canary"].value > 0.15

    found = await until(look, burns)
    stable, mean, most = found["max"]["stable"].value, found["mean"]["canary"].value, found["max"]["canary"].value
    assert stable < most
    assert mean < most <= 1.5
    before = (await runtime.usage())["web-green-1"].cpu_seconds
    await order(runtime, "web-green-1", "/rest")  # what a child that has ended used is still counted
    assert (await runtime.usage())["web-green-1"].cpu_seconds >= before


@pytest.mark.real
async def test_memory_is_that_of_the_largest_or_the_mean(runtime):
    await order(runtime, "web-green-0", "/fill")
    found = {
        over: await MemoryOfInstances(Instances(runtime, slots=SLOTS), over).ask(window=60, now=0)
        for over in ("mean", "max")
    }
    largest, mean, stable = (
        found["max"]["canary"].value,
        found["mean"]["canary"].value,
        found["max"]["stable"].value,
    )
    assert largest > 60 * MB
    assert stable < mean < largest
    await runtime.stop("green")
    ended = await MemoryOfInstances(Instances(runtime, slots=SLOTS), "max").ask(window=60, now=0)
    assert ended["canary"] == Unknown("no instance of the canary arm tells its memory yet")
    assert ended["stable"].value > 0


class Machine:
    """A runtime that tells what a test lets it tell."""

    def __init__(self, **usage):
        self.told = usage

    async def usage(self):
        return self.told


async def test_an_instance_that_started_again_is_left_out_until_the_next_look():
    clock, machine = (
        VirtualClock(100.0),
        Machine(a=Usage("green", 1, cpu_seconds=50.0), b=Usage("green", 1, cpu_seconds=1)),
    )
    cpu = CpuOfInstances(Instances(machine, slots=SLOTS), over="mean", clock=clock)
    await cpu.ask(window=60, now=0)
    clock.advance(10)
    machine.told = {"a": Usage("green", 1, cpu_seconds=0.5), "b": Usage("green", 1, cpu_seconds=3.0)}
    assert (await cpu.ask(window=60, now=0))["canary"] == Value(0.2)
    clock.advance(10)
    machine.told = {"a": Usage("green", 1, cpu_seconds=6.5), "c": Usage("green", 1, cpu=0.4)}
    assert (await cpu.ask(window=60, now=0))["canary"] == Value(0.5)
    clock.advance(-100)
    assert (await cpu.ask(window=60, now=0))["canary"] == Value(0.4)  # only c tells a share by itself


class Hanging:
    """A runtime that does not answer until it is let to."""

    def __init__(self):
        self.looks, self.go_on = 0, asyncio.Event()

    async def usage(self):
        self.looks += 1
        await self.go_on.wait()
        raise UnreachableError("runtime.unreachable", "the engine did not answer")


async def test_a_runtime_that_hangs_is_waited_for_once_whoever_gives_up():
    runtime = Hanging()
    instances = Instances(runtime, slots=SLOTS)
    cpu = CpuOfInstances(instances, over="max", clock=VirtualClock(0.0))
    memory = MemoryOfInstances(instances, "max")
    for metric in (cpu, memory, cpu):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await metric.ask(window=60, now=0)
    assert runtime.looks == 1
    runtime.go_on.set()
    with pytest.raises(UnreachableError):
        await memory.ask(window=60, now=0)
    assert runtime.looks == 1


async def test_a_runtime_that_measures_nothing_says_so():
    runtime = FakeRuntime(FakeMachine(VirtualClock(0.0)))
    found = await MemoryOfInstances(Instances(runtime, slots=SLOTS), "max").ask(window=60, now=0)
    assert found["stable"] == Unknown("this runtime does not tell what its instances use")


def matched(found, arm="canary"):
    return len(found[arm].points) if isinstance(found[arm], Series) else None


@pytest.mark.real
async def test_lines_that_match_are_counted_once_over_all_instances_of_an_arm(runtime):
    await order(runtime, "web-green-0", "/say?a%20panic%20before%20anybody%20looked")
    logs = Logs(runtime, ["panic|FATAL", "(?i)error"], slots=SLOTS)
    panics, errors = LogLines(logs, "panic|FATAL"), LogLines(logs, "(?i)error")

    async def look():
        return await panics.ask(window=600, now=time.time())

    assert matched(await until(look, lambda found: matched(found) == 1), "stable") == 0
    await order(runtime, "web-green-1", "/say?FATAL%20Error")
    await order(runtime, "web-blue-0", "/say?all%20is%20well")
    found = await until(look, lambda found: matched(found) == 2)
    assert all(time.time() - 60 < at <= time.time() for at, _ in found["canary"].points)
    assert matched(found, "stable") == 0
    assert matched(await errors.ask(window=600, now=time.time())) == 1
    assert matched(await look()) == 2  # nothing is counted twice


class Printing:
    """A runtime whose instances print `lines`, then wait for `more`; `ended` counts the followers that were let go."""

    def __init__(self, lines):
        self.lines, self.more, self.ended, self.fault = lines, asyncio.Queue(), 0, None

    async def logs(self, *, slot, lines, follow):
        assert follow
        try:
            if self.fault is not None:
                raise self.fault
            for each in self.lines[-lines:] if slot == "green" else ():
                yield each
            while True:
                yield await self.more.get()
        finally:
            self.ended += 1


def line(at, text, instance="web-green-0"):
    return LogLine(at, instance, "out", text)


async def counted(metric, window=1000.0, now=1000.0):
    return await until(lambda: metric.ask(window=window, now=now), lambda found: isinstance(found["canary"], Series))


async def test_no_line_and_no_pattern_can_hold_the_engine_up():
    """An expression that takes for ever in most languages, on lines that provoke it, and a line without an end."""
    worst = "a" * 4000 + "!"
    lines = [line(float(at), worst) for at in range(500)] + [line(900.0, "b" * 50_000_000 + "a"), line(901.0, "aaa")]
    metric = LogLines(Logs(Printing(lines), ["^(a+)+$"], slots=SLOTS), "^(a+)+$")
    assert [at for at, _ in (await counted(metric))["canary"].points] == [901.0]


async def test_only_what_was_read_is_claimed_to_be_known():
    """Where more was printed than is read again, what lies before is not known; in the other slot all is."""
    runtime = Printing([line(float(at), "panic") for at in range(5000)])
    found = await counted(LogLines(Logs(runtime, ["panic"], slots=SLOTS), "panic"), window=10_000, now=5000)
    assert found["canary"].since == 4000.0
    assert len(found["canary"].points) == 1000
    assert found["stable"] == Series((), float("-inf"))


async def test_lines_older_than_the_window_are_forgotten():
    metric = LogLines(Logs(Printing([line(10.0, "panic"), line(990.0, "panic")]), ["panic"], slots=SLOTS), "panic")
    assert [at for at, _ in (await counted(metric, window=60))["canary"].points] == [990.0]


async def test_logs_that_cannot_be_read_are_unknown_and_read_again_once_they_can():
    runtime = Printing([line(990.0, "panic")])
    runtime.fault = UnreachableError("runtime.unreachable", "the engine did not answer")
    metric = LogLines(Logs(runtime, ["panic"], slots=SLOTS), "panic")
    found = await metric.ask(window=60, now=1000)
    assert found["canary"] == Unknown("the engine did not answer", passing=True)
    runtime.fault = None
    assert matched(await counted(metric)) == 1


async def test_nobody_follows_logs_any_more_once_a_rollout_has_ended():
    runtime = Printing([line(990.0, "panic")])
    metric = LogLines(Logs(runtime, ["panic"], slots=SLOTS), "panic")
    await counted(metric)
    assert runtime.ended == 0
    del metric
    gc.collect()
    async with asyncio.timeout(PATIENCE):
        while runtime.ended < 2:  # noqa: ASYNC110 - what happens elsewhere has no event to wait for
            await asyncio.sleep(0.01)
