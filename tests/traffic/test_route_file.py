"""The one line: what is written is read, killed writers leave it whole, and fences hold between processes."""

import asyncio
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError, StaleFenceError
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.route_file import Accepted, RouteFile, parse, render

ADDRESS = st.integers(1, 65535).map(lambda port: f"10.0.0.{port % 250}:{port}")
SOME = st.lists(ADDRESS, min_size=1, max_size=12).map(tuple)

WRITER = """
import itertools, sys
from pathlib import Path
from crossfade.core.errors import StaleFenceError
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.route_file import Accepted, RouteFile
file, fence = RouteFile(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
for turn in itertools.count():
    port = 1000 + fence
    pair = {"blue": (f"127.0.0.1:{port}",), "green": (f"127.0.0.1:{port + 1}",)}
    try:
        file.swap(Accepted(Routes(pair, turn % 10_001, "blue", fence), fence))
    except StaleFenceError:
        sys.exit(9)
"""


@given(blue=SOME, green=SOME, share=st.integers(0, FULL), fence=st.integers(0), salt=st.integers(), data=st.data())
def test_what_is_written_is_read(*, blue, green, share, fence, salt, data):
    stable, mirror = data.draw(st.sampled_from(("blue", "green"))), data.draw(st.just(0) | st.integers(1, FULL))
    accepted = Accepted(Routes({"blue": blue, "green": green}, share, stable, salt, mirror), fence)
    line = render(accepted)
    assert parse(line) == accepted
    assert "\n" not in line
    cut = data.draw(st.integers(0, len(line) - 1))
    torn = parse(line[:cut])
    assert torn is None or torn.routes.upstreams == accepted.routes.upstreams


@given(text=st.text(max_size=200))
def test_nothing_else_is_mistaken_for_it(text):
    assert parse(text) is None


def test_too_many_instances_are_refused():
    many = tuple(f"127.0.0.1:{port}" for port in range(1, 14))
    with pytest.raises(BadInputError, match="13 instances"):
        render(Accepted(Routes({"blue": many, "green": ()}, 0, "blue"), 1))


def pairs_with(routes, fence):
    """Whether weight, salt, upstreams and fence come from one and the same writer."""
    return routes.salt == fence and routes.upstreams["blue"] == (f"127.0.0.1:{1000 + fence}",)


async def writer(folder, fence):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(folder), str(fence), stdout=asyncio.subprocess.PIPE
    )
    await process.stdout.readline()
    return process


@pytest.mark.real
async def test_writers_that_are_killed_leave_it_whole(tmp_path):
    """Twenty-five times, at random instants; the next writer goes on and clears up."""
    chance, file = random.Random(8), RouteFile(tmp_path)
    for fence in range(1, 26):
        process = await writer(tmp_path, fence)
        await asyncio.sleep(chance.uniform(0.0, 0.03))
        process.send_signal(signal.SIGKILL)
        await process.wait()
        seen = file.read()
        if file.path.exists():
            assert seen is not None
            assert pairs_with(seen.routes, seen.fence)
    last = Accepted(Routes({"blue": ("127.0.0.1:1",), "green": ()}, 0, "blue"), 99)
    assert file.swap(last)
    assert file.read() == last
    assert {path.name for path in tmp_path.iterdir()} == {"routes", "routes.lock"}


@pytest.mark.real
async def test_the_highest_fence_wins_between_processes(tmp_path):
    """Four writers at once: readers never see a mixture, older ones are told to go, the newest stays."""
    running = [await writer(tmp_path, fence) for fence in (1, 2, 3, 4)]
    file, fences = RouteFile(tmp_path), []
    while all(process.returncode is None for process in running[:3]) or len(fences) < 2000:
        seen = file.read()
        assert seen is not None
        assert pairs_with(seen.routes, seen.fence)
        fences.append(seen.fence)
        if len(fences) % 50 == 0:
            await asyncio.sleep(0)
    assert fences == sorted(fences)
    assert [await process.wait() for process in running[:3]] == [9, 9, 9]
    running[3].kill()
    await running[3].wait()
    with pytest.raises(StaleFenceError):
        file.swap(Accepted(Routes({"blue": (), "green": ()}, 0, "blue"), 3))


def test_threads_of_one_process_are_kept_apart_too(tmp_path):
    file, pair = RouteFile(tmp_path), {"blue": ("127.0.0.1:1",), "green": ("127.0.0.1:2",)}

    def put(fence):
        try:
            file.swap(Accepted(Routes(pair, fence, "blue", fence), fence))
        except StaleFenceError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, random.Random(1).sample(range(300), 300)))
    assert file.read().fence == 299
