"""The fake keeps the contract that the real runtime keeps."""

import pytest

from crossfade.config.model import Component
from crossfade.core.clock import SystemClock, VirtualClock
from crossfade.core.errors import UnreachableError
from crossfade.runtimes.port import Release
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from crossfade.testing.runtime_contract import RuntimeContract

WORKLOAD = Component(command=("serve",))


class TestFakeRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        machine = FakeMachine(SystemClock(), ready_after=0.05, backoff=0.05, never_ready={"n"}, ending={"e"})
        return FakeRuntime(machine)

    def release(self, version):
        return Release(version, WORKLOAD)

    def release_never_ready(self, version):  # noqa: ARG002 - the fake knows its versions by name
        return Release("n", WORKLOAD)

    def release_that_ends(self, version):  # noqa: ARG002 - the fake knows its versions by name
        return Release("e", WORKLOAD)

    def again(self, runtime):
        return FakeRuntime(runtime.machine)

    async def crash(self, runtime, instance):
        runtime.machine.crash(instance.slot, instance.index)


async def test_time_is_the_clocks():
    clock = VirtualClock(at=50.0)
    runtime = FakeRuntime(FakeMachine(clock, ready_after=10.0, backoff=5.0))
    await runtime.start("blue", Release("1.0.0", WORKLOAD), 1)
    assert [each.state for each in await runtime.observe()] == ["starting"]
    clock.advance(10)
    assert [each.state for each in await runtime.observe()] == ["ready"]
    runtime.machine.crash("blue", 0)
    clock.advance(5)
    assert [(each.state, each.since) for each in await runtime.observe()] == [("starting", 65.0)]


async def test_faults_can_be_told():
    runtime = FakeRuntime(FakeMachine(VirtualClock()))
    await runtime.start("green", Release("1.0.0", WORKLOAD), 2)
    await runtime.observe()
    runtime.machine.sicken("green", 0)
    runtime.machine.lose("green", 1)
    assert [each.state for each in await runtime.observe()] == ["unready", "gone"]
    await runtime.start("green", Release("1.0.0", WORKLOAD), 2)
    runtime.machine.heal("green", 0)
    assert [each.state for each in await runtime.observe()] == ["ready", "ready"]
    runtime.machine.down = True
    with pytest.raises(UnreachableError):
        await runtime.observe()
