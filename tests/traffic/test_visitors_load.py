"""The load's account: every way in which a request can fail is seen and named."""

import asyncio
import signal
from collections import Counter

import pytest

from crossfade.testing.instances import Application, applications
from crossfade.traffic.load import EVERYTHING, Load, Plan, causes
from free_ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.alone]


async def served_by(behaviour, **plan):
    """What becomes of requests to a server that does `behaviour` with each connection."""
    server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await Load(f"127.0.0.1:{port}", Plan(**{"rps": 50, "timeout": 0.5, **plan})).run(0.4)


def answering(text):
    async def behaviour(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        await writer.drain()
        writer.close()

    return behaviour


async def silent(reader, writer):
    await reader.read()
    writer.close()


async def abort(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


OK = b"HTTP/1.1 200 OK\r\nX-App-Version: 3\r\n"


@pytest.mark.parametrize(
    ("behaviour", "cause", "dropped"),
    [
        (answering(b""), "reset", True),
        (abort, "reset", True),
        (silent, "timeout", True),
        (answering(OK + b"Content-Length: 10\r\n\r\nfour"), "truncated", True),
        (answering(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nfo"), "truncated", True),
        (answering(OK[:20]), "truncated", True),
        (answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), "status 502", True),
        (
            answering(b"HTTP/1.1 500 Oops\r\nX-App-Version: 3\r\nContent-Length: 0\r\n\r\n"),
            "status 500 from 3",
            False,
        ),
    ],
)
async def test_every_failure_has_its_cause(behaviour, cause, dropped):
    samples = await served_by(behaviour, mix={"get-fresh": 1})
    assert len(samples) >= 10
    assert causes(samples) == {cause: len(samples)}
    assert {sample.dropped for sample in samples} == {dropped}


async def test_nobody_there_is_refused():
    samples = await Load(f"127.0.0.1:{free_port()}", Plan(rps=50)).run(0.3)
    assert causes(samples) == {"refused": len(samples)}


async def test_a_seed_repeats_the_mix_and_the_schedule_is_kept():
    plan = Plan(rps=200, seed=6, mix=EVERYTHING, slow_ms=100, stream_ms=100)
    async with applications("1") as (shop,):
        first, second = [await Load(shop.address, plan).run(1.5) for _ in range(2)]
    for samples in (first, second):
        assert causes(samples) == {}
        assert len(samples) >= 290
    count = min(len(first), len(second))
    kinds = [[s.kind for s in sorted(samples, key=lambda s: s.at)][:count] for samples in (first, second)]
    assert Counter(kinds[0]) == Counter(kinds[1])


async def test_the_shop_ends_gracefully_and_fails_as_told():
    shop = await Application.start("7", "--error-rate", "0.5", "--seed", "1")
    load = Load(shop.address, Plan(rps=200, seed=1, mix={"get": 9, "slow": 1}, slow_ms=1000))
    load.start()
    await asyncio.sleep(1)
    stopping = asyncio.create_task(shop.stop(signal.SIGTERM))
    await asyncio.sleep(0.3)
    await load.stop()
    assert await stopping == 0
    seen = causes(load.samples)
    assert seen["status 500 from 7"] > 50
    slow = [sample for sample in load.samples if sample.kind == "slow" and sample.status]
    assert slow
    assert {sample.status for sample in slow} == {200}
