"""What goes wrong around HAProxy, and where it ends."""

import asyncio
import os
import socket
import subprocess
import sys

import pytest
from haproxy_world import haproxy, kill, put
from traffic_world import shops, visitor

from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.testing.router_contract import counted
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def make(place, require):
    require("haproxy")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(folder="routes", **settings):
        made.append(haproxy(place / folder, listen, **settings))
        return made[-1]

    yield router
    if made:
        asyncio.run(made[-1].close())


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ("echo 'HA-Proxy version 2.2.9-2+deb11u6 2023/04/10'", "router.old-program"),
        ("echo nginx", "router.no-program"),
        ('case "$1" in -v) echo HAProxy version 2.6.12;; *) echo "[ALERT] lua-load: unknown" >&2; exit 1;; esac', "haproxy.no-lua"),
        ('case "$1" in -v) echo HAProxy version 2.6.12;; *) echo "[ALERT] no such word" >&2; exit 1;; esac', "haproxy.refused"),
        (None, "router.no-program"),
    ],
)  # fmt: skip
async def test_a_program_that_cannot_do_it_is_refused(make, place, upstreams, says, code):
    program = place / "haproxy"
    if says is not None:
        program.write_text(f"#!/bin/sh\n{says}\n")
        program.chmod(0o755)
    router = make(binary=str(program))
    with pytest.raises(CrossfadeError) as caught:
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert caught.value.code == code
    assert caught.value.next
    if code == "haproxy.refused":
        assert "no such word" in caught.value.what


async def test_a_taken_address_is_told_with_its_holder(place, require, upstreams):
    require("haproxy")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        router = haproxy(place / "taken", f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(CrossfadeError, match=f"process {os.getpid()}") as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert caught.value.code == "router.address-taken"
    await put(router, upstreams, 0)
    twin = haproxy(place / "second", router._settings.listen)
    with pytest.raises(CrossfadeError, match="haproxy"):
        await twin.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert not await twin.confirm(Routes(upstreams, 0, "blue"))
    await twin.close()
    await router.close()


async def test_a_killed_haproxy_is_found_and_repaired(make, upstreams):
    """It outlives us and is adopted; killed, it begins again with what was in force, and nothing is left behind."""
    router = make(folder="a folder, with (a long) name: " + "n" * 90)
    await put(router, upstreams, 2500)
    before = (router._managed.child.pid(), router._counter.child.pid())
    after = make(folder=router._folder.name)
    await put(after, upstreams, 2600)
    assert (after._managed.child.pid(), after._counter.child.pid()) == before
    assert os.getsid(before[0]) != os.getsid(0)
    await kill(router._managed.child)
    assert not (await after.observe()).reachable
    await after.ensure()
    assert await after.confirm(Routes(upstreams, 2600, "blue"))


async def test_drift_behind_our_back_is_seen_and_repaired(make, upstreams):
    """An instance that somebody took out by the runtime API, or another weight in the map."""
    router, routes = make(), Routes(upstreams, 2500, "blue")
    await router.apply(routes, fence=1)
    setup = router._setup(counter=0)
    worker = (await router._api.workers())[0]
    await router._api.ask(f"{worker.prefix}set server {setup.backend('blue')}/i0 state maint")
    assert (await router.observe()).routes.upstreams["blue"] == upstreams["blue"][1:]
    assert not await router.confirm(routes)
    await router.apply(routes, fence=1)
    assert await router.confirm(routes)


async def test_names_become_addresses(make, upstreams):
    router = make()
    named = {slot: tuple(each.replace("127.0.0.1", "localhost") for each in group) for slot, group in upstreams.items()}
    await put(router, named, 5000)
    assert (await router.observe()).routes.upstreams == named
    with pytest.raises(BadInputError) as caught:
        await router.apply(Routes({"blue": ("no-such-host.invalid:80",), "green": ()}, 0, "blue"), fence=2)
    assert caught.value.code == "router.unknown-host"
    assert (await router.observe()).fence == 1


async def test_a_changed_set_up_keeps_what_the_old_worker_does_in_sight(make):
    """Stickiness that is added later is put in force by a reload; a request of before stays in flight, and ends well."""
    async with shops("1") as (shop,):
        router = make()
        await put(router, {"blue": (shop.address,), "green": ()}, 0)
        async with visitor(router.address) as client:
            slow = asyncio.create_task(client.get("/slow?ms=2500"))
            await asyncio.sleep(0.3)
            after = make(sticky={"cookie": "cf"})
            pid = router._managed.child.pid()
            await put(after, {"blue": (shop.address,), "green": ()}, 0)
            assert after._managed.child.pid() == pid
            assert (await after.observe()).in_flight["blue"] == 1
            async with visitor(after.address) as fresh:
                assert "set-cookie" in (await fresh.get("/")).headers
            assert (await slow).status_code == 200
        assert (await after.observe()).in_flight["blue"] == 0


async def test_errors_are_the_versions_and_leaving_is_the_visitors(make, upstreams):
    """Each request once: hung up on (told by HAProxy or not), nobody there, and a visitor who left."""
    asked = []

    async def rude(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    router = make()
    async with server:
        await put(
            router, {"blue": (f"127.0.0.1:{server.sockets[0].getsockname()[1]}",), "green": upstreams["green"]}, 0
        )
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
    await put(router, upstreams, 10_000)
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /slow?ms=600 HTTP/1.1\r\nHost: shop\r\n\r\n")
        await asyncio.sleep(0.15)
        writer.close()
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 17)
    green = [bucket for bucket in seen.buckets if bucket.slot == "green"]
    assert (sum(b.errors for b in green), sum(b.requests for b in green), sum(sum(b.latency) for b in green)) == (
        0,
        5,
        0,
    )


async def test_a_dead_instance_costs_nobody_anything(make, upstreams):
    router = make()
    await put(router, {"blue": (f"127.0.0.1:{free_port()}", *upstreams["blue"]), "green": ()}, 0)
    samples = await Load(router.address, Plan(rps=100, mix={"get": 1, "post": 1, "post-fresh": 1})).run(1.5)
    assert causes(samples) == {}
    assert len(samples) > 50


async def test_only_we_can_probe(make, upstreams):
    """Without the token the header means nothing; with it nothing is counted, and no instance is asked."""
    router = make()
    await put(router, upstreams, 0)
    async with visitor(router.address) as client:
        for token in ("", "x", "0" * 32):
            answer = await client.get("/version", headers={PROBE_HEADER: token})
            assert answer.json() == {"version": "1"}
            assert "x-crossfade-slot" not in answer.headers
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 3)
    assert sum(b.requests for b in seen.buckets) == 3
    assert all((router._home / name).stat().st_mode & 0o077 == 0 for name in ("haproxy.cfg", "master.sock"))


WRITER = """
import asyncio, sys
from pathlib import Path
from crossfade.config.routers import HAProxyRouter as Settings
from crossfade.core.errors import StaleFenceError
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.haproxy import HAProxyRouter

folder, listen, blue, green, first = sys.argv[1:]

async def main():
    router = HAProxyRouter(Path(folder), Settings(listen=listen), environment="production", component="shop")
    for fence in range(int(first), 61, 2):
        try:
            await router.apply(Routes({"blue": (blue,), "green": (green,)}, fence * 100, "blue"), fence=fence)
        except StaleFenceError:
            pass

asyncio.run(main())
"""


async def test_of_two_that_write_at_once_the_newer_fence_wins(make, upstreams):
    router = make()
    blue, green = upstreams["blue"][0], upstreams["green"][0]
    argv = [sys.executable, "-c", WRITER, str(router._folder), router._settings.listen, blue, green]
    writers = [subprocess.Popen([*argv, first]) for first in ("1", "2")]  # noqa: ASYNC220 - they run beside us
    for writer in writers:
        assert await asyncio.to_thread(writer.wait, 60) == 0
    seen = await router.observe()
    assert (seen.fence, seen.routes) == (60, Routes({"blue": (blue,), "green": (green,)}, 6000, "blue"))
    assert await router.confirm(seen.routes)
