"""Crossfade is killed at any instant while it starts and stops: exactly the wanted number lives, none twice."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from pathlib import Path

import psutil
import pytest
from process_world import processes_of, release

from crossfade.runtimes import leftovers
from crossfade.runtimes.shim import folder as folders
from crossfade.runtimes.shim.folder import Folder
from crossfade.testing.runtime_contract import DEADLINE, all_ready, eventually

CALLER = str(Path(__file__).with_name("programs") / "caller.py")
WANTED = 3


async def call(place, *arguments):
    """A caller that has imported everything and begins now."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, CALLER, str(place), *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"go\n"
    return process


async def settled(runtime, place, count):
    """Exactly `count` instances, each with one supervisor and one process, and nothing beside them."""
    seen = await eventually(runtime, all_ready(count))
    for _ in range(int(DEADLINE / 0.05)):
        shims, marked = processes_of(place)
        if len(shims) == len(marked) == count:
            break
        await asyncio.sleep(0.05)
    assert len({each.cmdline()[-1] for each in shims}) == len(shims) == count
    assert sorted(each.pid for each in marked) == sorted(each.pid for each in seen)
    return seen


async def kill_after(caller, seconds):
    """Whether it was still at work when it was killed."""
    await asyncio.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        caller.kill()
    return await caller.wait() == -signal.SIGKILL


async def lines_of(caller):
    """How many lines a caller went through in all; 0 when it was killed on the way."""
    out, _ = await caller.communicate()
    return int(out.split()[2]) if out else 0


async def bring_to(runtime, count):
    if count:
        await runtime.start("blue", release("1.0.0", grace=0.3), count)
    else:
        await runtime.stop("blue")


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("seed", range(4))
async def test_a_caller_killed_at_random_instants_of_start_and_stop(runtime, place, seed):
    """24 kills in the middle over the four seeds."""
    chance = random.Random(seed)
    kills = 0
    while kills < 6:
        version = f"1.{kills}.0"
        caller = await call(place, "start", str(WANTED), version)
        kills += await kill_after(caller, chance.uniform(0, 0.05))
        await runtime.start("blue", release(version, grace=0.3), WANTED)
        await settled(runtime, place, WANTED)

        caller = await call(place, "stop", "0", version)
        kills += await kill_after(caller, chance.uniform(0, 0.04))
        await runtime.stop("blue")
        assert await runtime.observe() == ()
        await settled(runtime, place, 0)


@pytest.mark.slow
@pytest.mark.real
async def test_a_caller_killed_between_any_two_steps(runtime, place):
    """The kill comes before a line of our own code: places spread over a whole start and a whole stop."""
    steps = {"start": WANTED, "stop": 0}
    lines = {what: await lines_of(await call(place, what, str(count), "1.0.0", "0")) for what, count in steps.items()}
    assert min(lines.values()) > 100
    for share in (number / 10 for number in range(10)):
        for what, count in steps.items():
            for _ in range(5):
                caller = await call(place, what, str(count), "1.0.0", str(1 + int(lines[what] * share * 0.9)))
                counted = await lines_of(caller)
                if caller.returncode == -signal.SIGKILL:
                    break
                # It waited in fewer turns than the one that was measured, and was through before its place.
                lines[what] = counted
                await bring_to(runtime, WANTED - count)
            assert caller.returncode == -signal.SIGKILL
            await bring_to(runtime, count)
            await settled(runtime, place, count)


@pytest.mark.real
@pytest.mark.parametrize("delay", [0, 0.01, 0.02, 0.03, 0.04, 0.06])
async def test_a_start_that_was_killed_can_be_taken_back(runtime, place, delay):
    """A supervisor that comes up late, after `stop`, starts nothing."""
    caller = await call(place, "start", str(WANTED), "1.0.0")
    await asyncio.sleep(delay)
    caller.kill()
    await caller.wait()
    await runtime.stop("blue")
    await settled(runtime, place, 0)
    await runtime.start("blue", release("2.0.0"), 1)
    (seen,) = await settled(runtime, place, 1)
    assert seen.version == "2.0.0"


@pytest.mark.real
async def test_two_crossfades_that_start_the_same_at_once(runtime, place):
    callers = [await call(place, "start", str(WANTED), "1.0.0") for _ in range(2)]
    for caller in callers:
        out, _ = await caller.communicate()
        assert out == b"done after 0 lines\n"
        assert caller.returncode == 0
    await settled(runtime, place, WANTED)


async def test_two_supervisors_of_one_folder(runtime, place):
    """The second one ends at once, whoever started it."""
    await runtime.start("blue", release(), 1)
    (before,) = await settled(runtime, place, 1)
    shim = processes_of(place)[0][0]
    second = await asyncio.create_subprocess_exec(*shim.cmdline(), stdout=asyncio.subprocess.PIPE)
    out, _ = await second.communicate()
    assert out == b"busy\n"
    assert await settled(runtime, place, 1) == (before,)


async def test_a_supervisor_of_a_stopped_folder_starts_nothing(runtime, place):
    await runtime.start("blue", release(), 1)
    command = (await settled(runtime, place, 1)) and processes_of(place)[0][0].cmdline()
    await runtime.stop("blue")
    late = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await late.communicate()
    assert out == b"stopped\n"
    await settled(runtime, place, 0)


async def test_a_start_that_is_cancelled_leaves_a_state_that_can_be_continued(runtime, place):
    for delay in (0, 0.005, 0.02, 0.04):
        starting = asyncio.create_task(runtime.start("blue", release(), WANTED))
        await asyncio.sleep(delay)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await runtime.start("blue", release(), WANTED)
        await settled(runtime, place, WANTED)
        await runtime.stop("blue")
        await settled(runtime, place, 0)


async def test_looking_does_not_keep_a_supervisor_from_its_lock(make, place):
    """Observers share the lock for an instant; a supervisor that starts meanwhile is not turned away."""
    runtime, observer = make(), make()
    done = asyncio.Event()

    async def look():
        while not done.is_set():
            await observer.observe()
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    for _ in range(3):
        await runtime.start("blue", release(), 2)
        await settled(runtime, place, 2)
        await runtime.stop("blue")
    done.set()
    await looking


async def test_a_supervisor_told_to_end_by_the_system_ends_its_instance_in_peace(runtime, place):
    """At shutdown the system sends TERM; the next start brings back what is wanted."""
    await runtime.start("blue", release("1.0.0", "--grandchildren", "1"), 1)
    await eventually(runtime, all_ready(1))
    processes_of(place)[0][0].send_signal(signal.SIGTERM)
    (seen,) = await eventually(runtime, lambda seen: seen[0].state == "gone")
    assert processes_of(place) == ([], [])
    assert seen.version == "1.0.0"
    await runtime.start("blue", release("1.0.0"), 1)
    await settled(runtime, place, 1)


async def test_a_reused_pid_is_never_signalled(place):
    """The recorded pid belongs to somebody else by now: this test. It must live."""
    path = place / "instances/production/api/blue/0"
    path.mkdir(parents=True)
    record = {
        "supervisor": {"pid": os.getpid(), "born": 1, "boot": folders.boot()},
        "command": {"pid": os.getpid(), "born": folders.born(os.getpid()) - 1},
    }
    folder = Folder(str(path))
    folders.write_json(folder.state, record)
    assert leftovers.find([folder]) == []
    record["command"]["born"] = folders.born(os.getpid())
    folders.write_json(folder.state, record)
    assert [each.pid for each in leftovers.find([folder])] == [os.getpid()]
    record["supervisor"]["boot"] = "an earlier boot"
    folders.write_json(folder.state, record)
    assert leftovers.find([folder]) == []


async def test_the_lock_tells_who_lives(tmp_path):
    folder = Folder(str(tmp_path))
    assert folders.holder(folder) is None
    claim = folders.claim(folder)
    folders.sign(claim, 0)
    assert folders.holder(folder)[0] == 0
    folders.sign(claim, os.getpid())
    pid, age = folders.holder(folder)
    assert pid == os.getpid()
    assert age >= 0
    assert folders.claim(folder) is None
    os.close(claim)
    assert folders.holder(folder) is None
    assert psutil.pid_exists(os.getpid())
