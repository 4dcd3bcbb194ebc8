"""Copies of requests for the canary: a share of them, whole, counted, and no visitor ever notices."""

import asyncio
import re
from collections import Counter

import pytest
from envoy_world import envoy, put
from traffic_world import visitor

from crossfade.core.durations import FULL
from crossfade.testing.router_contract import counted
from crossfade.traffic.headers import COPY_HEADER
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def router(place, require):
    require("envoy")
    made = envoy(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


class Listening:
    """An instance that remembers whole requests, and answers as it is told."""

    def __init__(self, *, status=200, size=10, wait=0.0):
        self.heads, self.bodies, self.whole = [], [], 0
        self._status, self._size, self._wait = status, size, wait

    async def __aenter__(self):
        port = free_port()
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", port)
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _answer(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        self.heads.append(head)
        self.bodies.append(body)
        await asyncio.sleep(self._wait)
        writer.write(f"HTTP/1.1 {self._status} X\r\nContent-Length: {self._size}\r\n\r\n".encode())
        writer.write(b"x" * self._size)
        await writer.drain()
        self.whole += 1
        writer.close()


async def visit(router, requests, method="GET", **more):
    async with visitor(router.address) as client:
        answers = [await client.request(method, f"/a%2Fb/{n}?q=%20", **more) for n in range(requests)]
    return Counter(answer.status_code for answer in answers)


def of(counts, slot):
    return sum((Counter(b.by_class) for b in counts.buckets if b.slot == slot), Counter())


async def test_copies_are_whole_and_counted_apart(router):
    """Method, path, headers and body arrive; the answer, however bad or long, is the canary's own affair."""
    async with Listening() as stable, Listening(status=500, size=3_000_000) as canary:
        upstreams = {"blue": (stable.address,), "green": (canary.address,)}
        await put(router, Routes(upstreams, 0, "blue", 1, mirror=FULL))
        headers = {"X-Mine": "yes", COPY_HEADER: "forged", "X-Forwarded-For": "9.9.9.9"}
        assert await visit(router, 20, "POST", content=b"x" * 200_000, headers=headers) == {200: 20}
        async with asyncio.timeout(20):
            while canary.whole < 20:  # noqa: ASYNC110 - the world is asked
                await asyncio.sleep(0.02)
        assert sorted(canary.bodies) == sorted(stable.bodies) == [b"x" * 200_000] * 20
        first = canary.heads[0].lower()
        assert {head.split("\r\n")[0] for head in canary.heads} == {head.split("\r\n")[0] for head in stable.heads}
        for line in (
            "x-mine: yes",
            "x-crossfade-copy: true",
            f"host: {router.address}",
            "x-forwarded-for: 9.9.9.9, 127.0.0.1",
        ):
            assert f"\r\n{line}\r\n" in first
        assert COPY_HEADER.lower() not in stable.heads[0].lower()
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 40)
        assert (of(seen, "blue"), of(seen, "green")) == ({"2xx": 20}, {"5xx": 20})
        assert (await router.observe()).in_flight == {"blue": 0, "green": 0}
        # None any more, by a number.
        await put(router, Routes(upstreams, 0, "blue", 1))
        await visit(router, 20)
        assert len(canary.heads) == 20


async def test_a_canary_that_hangs_or_is_away_delays_nobody(router):
    """Visitors on one kept connection go on at once, while the copies are under way."""
    async with Listening() as stable, Listening(wait=1.5) as canary:
        await put(router, Routes({"blue": (stable.address,), "green": (canary.address,)}, 0, "blue", mirror=FULL))
        assert await visit(router, 20) == {200: 20}
        assert canary.whole == 0
        async with asyncio.timeout(20):
            while len(canary.heads) < 20:  # noqa: ASYNC110 - the world is asked
                await asyncio.sleep(0.02)
        assert (await router.observe()).in_flight["green"] == 20
        away = f"127.0.0.1:{free_port()}"
        await put(router, Routes({"blue": (stable.address,), "green": (away,)}, 0, "blue", mirror=FULL))
        assert await visit(router, 20) == {200: 20}
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 80)
    assert (of(seen, "blue"), of(seen, "green")) == ({"2xx": 40}, {"2xx": 20, "5xx": 20})


async def test_a_share_of_what_stable_serves_is_copied(router):
    """A tenth within its chance, and nothing of what the canary serves itself."""
    async with Listening() as stable, Listening() as canary:
        upstreams = {"blue": (canary.address,), "green": (stable.address,)}
        await put(router, Routes(upstreams, FULL, "green", 1, mirror=1000))
        assert await visit(router, 400) == {200: 400}
        assert await visit(router, 20, headers={"X-Canary": "always"}) == {200: 20}
        seen = await counted(router, lambda counts: of(counts, "green").total() >= 400)
        assert of(seen, "green") == {"2xx": 400}
        assert 20 + 10 < of(seen, "blue")["2xx"] < 20 + 90
        assert len(canary.heads) == of(seen, "blue")["2xx"]
