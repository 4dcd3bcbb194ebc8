"""The counter process: loses nothing at more than 5,000 requests a second, and tells when it does."""

import asyncio
import os
import signal
import socket

import orjson
import pytest

from crossfade.testing.router_contract import counted
from crossfade.traffic.counting import CounterProcess

pytestmark = pytest.mark.real

RATE, SECONDS = 6_000, 4


@pytest.fixture
async def counter(place):
    process = CounterProcess(place / "counter", "http://127.0.0.1:9", "X-Crossfade-Probe:t", 'component="shop"')
    yield process
    await process.stop()


def line(arm, status=200, ms=2.5):
    return orjson.dumps({"duration": 0.0031, "status": status, "arm": arm, "ms": ms})


async def test_nothing_is_lost_at_six_thousand_a_second(counter):
    port = await counter.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", port))
        lines = [line("blue"), line("green", 500), line("blue"), line("green")]
        clock = asyncio.get_running_loop().time
        began, sent = clock(), 0
        while sent < RATE * SECONDS:
            while sent < min(RATE * SECONDS, (clock() - began) * RATE):
                out.send(lines[sent % 4])
                sent += 1
            await asyncio.sleep(0.001)
    seen = await counted(counter, lambda counts: sum(b.requests for b in counts.buckets) >= sent)
    assert sum(b.requests for b in seen.buckets) == sent
    assert sum(b.errors for b in seen.buckets) == sent // 4
    assert seen.dropped == 0


async def test_what_the_kernel_threw_away_is_told(counter):
    """A counter that is stopped while a flood comes in lost a part, and knows how much."""
    port = await counter.start()
    os.kill(counter.child.pid(), signal.SIGSTOP)
    flood = 120_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", port))
        for _ in range(flood):
            out.send(line("blue"))
    os.kill(counter.child.pid(), signal.SIGCONT)
    seen = await counted(counter, lambda c: sum(b.requests for b in c.buckets) + c.dropped >= flood)
    assert seen.dropped > 0
    assert sum(b.requests for b in seen.buckets) + seen.dropped == flood


async def test_noise_is_not_counted(counter):
    port = await counter.start()
    noise = [b"", b"x", b"{}", b"[]", b"1", b'{"arm": [], "status": 1}', b'{"arm": "blue"}', os.urandom(500)]
    noise += [b'{"arm": "blue", "status": "200"}', b'{"arm": "blue", "status": 200}', b'{"arm": {"a": 1}, "status": 2}']
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", port))
        for each in noise:
            out.send(each)
        out.send(line("green"))
    seen = await counted(counter, lambda counts: bool(counts.buckets))
    assert [(b.slot, b.by_class) for b in seen.buckets] == [("green", {"2xx": 1})]
    assert seen.alive_at is None


async def test_it_comes_back_on_the_same_ports(counter):
    port = await counter.start()
    os.kill(counter.child.pid(), signal.SIGKILL)
    await counter.child.stop()
    assert await counter.start() == port


async def test_it_ends_when_its_folder_is_gone(counter):
    await counter.start()
    pid = counter.child.pid()
    (counter.folder / "counter.json").unlink()
    async with asyncio.timeout(30):
        while counter.child.running():  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.05)
    assert pid
