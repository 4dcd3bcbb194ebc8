"""What goes wrong around HAProxy, and where it ends."""

import asyncio

import pytest
from haproxy_world import OwnHAProxy
from traffic_world import UNWIELDY

from crossfade.testing.router_contract import counted, put
from crossfade.testing.router_faults_contract import RouterFaultsContract
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


def refusing(words):
    return f'case "$1" in -v) echo HAProxy version 2.6.12;; *) echo "[ALERT] {words}" >&2; exit 1;; esac'


class TestHAProxyFaults(OwnHAProxy, RouterFaultsContract):
    folder = UNWIELDY
    looks_up_names, away, most_away = False, 503, 3
    unfit = (
        ("echo 'HA-Proxy version 2.2.9-2+deb11u6 2023/04/10'", "router.old-program", "HAProxy 2.2"),
        ("echo nginx", "router.no-program", "is not HAProxy"),
        (refusing("lua-load: unknown"), "haproxy.no-lua", "Lua"),
        (refusing("no such word"), "haproxy.refused", "no such word"),
    )

    def private(self, router):
        return [router._folder / "token", *(router._home / name for name in ("haproxy.cfg", "master.sock"))]

    async def test_a_killed_haproxy_begins_with_what_was_in_force(self, router, upstreams):
        """Nobody has to tell it the routes again."""
        routes = Routes(upstreams, 2600, "blue")
        await put(router, routes)
        await self.cut(router)
        assert not (await router.observe()).reachable
        await router.ensure()
        assert await router.confirm(routes)

    async def test_drift_behind_our_back_is_seen_and_repaired(self, router, upstreams):
        """An instance that somebody took out by the runtime API, or another weight in the map."""
        routes = Routes(upstreams, 2500, "blue")
        await router.apply(routes, fence=1)
        setup = router._setup(counter=0)
        worker = (await router._api.workers())[0]
        await router._api.ask(f"{worker.prefix}set server {setup.backend('blue')}/i0 state maint")
        assert (await router.observe()).routes.upstreams["blue"] == upstreams["blue"][1:]
        assert not await router.confirm(routes)
        await router.apply(routes, fence=1)
        assert await router.confirm(routes)

    async def test_errors_are_the_versions_and_leaving_is_the_visitors(self, router, upstreams):
        """Each request once: hung up on (told by HAProxy or not), nobody there, and a visitor who left."""
        asked = []

        async def rude(reader, writer):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        async with await asyncio.start_server(rude, "127.0.0.1", here := free_port()):
            away = {"blue": (f"127.0.0.1:{here}",), "green": upstreams["green"]}
            await put(router, Routes(away, 0, "blue"))
            host, _, port = router.address.rpartition(":")
            for method in ("GET", "POST") * 3:
                reader, writer = await asyncio.open_connection(host, int(port))
                for path in ("/", "/again"):  # the second one is cut without an answer, and without a word in the log
                    writer.write(f"{method} {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n".encode())
                    assert path == "/again" or (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 502")
                    if path == "/":
                        await reader.readuntil(b"</html>\n")
                assert await reader.read() == b""
                writer.close()
        assert len(asked) == 12
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 12)
        assert sum(b.errors for b in seen.buckets if b.slot == "blue") == 12
        await put(router, Routes(upstreams, 10_000, "blue"))
        for _ in range(5):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /slow?ms=600 HTTP/1.1\r\nHost: shop\r\n\r\n")
            await asyncio.sleep(0.15)
            writer.close()
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 17)
        green = [bucket for bucket in seen.buckets if bucket.slot == "green"]
        sums = (sum(b.errors for b in green), sum(b.requests for b in green), sum(sum(b.latency) for b in green))
        assert sums == (0, 5, 0)
