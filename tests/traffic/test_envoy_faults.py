"""What goes wrong around Envoy, and where it ends."""

import asyncio
import os
import re
import socket
import sys
import textwrap
from collections import Counter

import pytest
from envoy_world import envoy, kill
from traffic_world import shops, visitor

from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError, CrossfadeError, StaleFenceError
from crossfade.testing.router_contract import counted, put
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import EVERYTHING, Load, Plan, causes
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def make(place, require):
    require("envoy")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(**settings):
        made.append(envoy(place / "routes", listen, **settings))
        return made[-1]

    yield router
    if made:
        asyncio.run(made[-1].close())


@pytest.fixture
def router(make):
    return make()


async def total(router, requests):
    return await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= requests)


async def at_rest(router):
    async with asyncio.timeout(20):
        while any((await router.observe()).in_flight.values()):  # noqa: ASYNC110 - the world is asked
            await asyncio.sleep(0.02)


def program(folder, name, said):
    path = folder / name
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' {said!r}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_taken_address_is_told_with_its_holder(place, upstreams, require):
    require("envoy")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        router = envoy(place / "taken", f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert caught.value.code == "router.address-taken"
        assert f"process {os.getpid()}" in caught.value.what
    await put(router, Routes(upstreams, 0, "blue"))
    await router.close()


async def test_programs_that_will_not_do(make, upstreams, tmp_path):
    """None at all, something else, an old one, one that ends at once: each is told apart, and nothing is left."""
    for binary, code in (
        ("no-such-envoy", "router.no-program"),
        (program(tmp_path, "other", "GNU bash"), "router.no-program"),
        (program(tmp_path, "old", "envoy  version: 0abc/1.30.2/Clean/RELEASE/BoringSSL"), "router.old-program"),
        (program(tmp_path, "short", "envoy  version: 0abc/1.40.1/Clean/RELEASE/BoringSSL"), "router.ended"),
    ):
        router = make(binary=binary)
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert caught.value.code == code
        assert caught.value.next
        assert not (await router.observe()).reachable


async def test_a_refused_file_is_told_in_envoys_words(router, upstreams, monkeypatch):
    await put(router, Routes(upstreams, 0, "blue"))
    monkeypatch.setattr("crossfade.traffic.routers.envoy.PATIENCE", 0.5)
    with pytest.raises(CrossfadeError) as caught:
        await router._told(
            "routes", b'{"version_info": "bad", "resources": [{"@type": "type.googleapis.com/no.Such"}]}'
        )
    assert caught.value.code == "envoy.refused"
    assert "no.Such" in caught.value.what
    await put(router, Routes(upstreams, 500, "blue"))


async def test_a_restarted_crossfade_adopts_what_runs(router, upstreams):
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    before = (router._envoy.child.pid(), router._counter.child.pid())
    after = envoy(router._folder, router._settings.listen)
    await put(after, Routes(upstreams, 10, "blue"), fence=2)
    assert (after._envoy.child.pid(), after._counter.child.pid()) == before
    assert os.getsid(before[0]) != os.getsid(0)


async def test_two_that_start_at_once_start_one(router, upstreams):
    twin, routes = envoy(router._folder, router._settings.listen), Routes(upstreams, 0, "blue")
    await asyncio.gather(*(each.apply(routes, fence=1) for each in (router, twin) * 3))
    assert await router.confirm(routes)
    assert await twin.confirm(routes)
    assert router._envoy.child.pid() == twin._envoy.child.pid()


WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    sys.path[:0] = sys.argv[4:]
    from envoy_world import envoy
    from crossfade.core.errors import StaleFenceError
    from crossfade.traffic.port import Routes

    async def write(folder, listen, parity):
        router = envoy(Path(folder), listen)
        for fence in range(parity, 60, 2):
            try:
                await router.apply(Routes({"blue": ("127.0.0.1:1",), "green": ("127.0.0.1:2",)}, fence, "blue"), fence=fence)
            except StaleFenceError:
                print("stale", fence)

    asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
""")


async def test_two_processes_that_write_end_with_the_newest(router, upstreams):
    """Envoy and the disk agree at the end, whoever came last."""
    await put(router, Routes(upstreams, 0, "blue"))
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, router._folder, router._settings.listen, str(parity), *sys.path
        )
        for parity in (2, 3)
    ]
    assert [await each.wait() for each in writers] == [0, 0]
    seen = await router.observe()
    assert (seen.fence, seen.routes.green) == (59, 59)
    assert (await router._envoy.admin.in_force()).line == router._file.path.read_text().strip()
    with pytest.raises(StaleFenceError):
        await router.apply(Routes(upstreams, 0, "blue"), fence=58)


async def test_a_dead_envoy_is_started_again_and_counts_on(router, upstreams):
    routes = Routes(upstreams, 0, "blue", salt=3)
    await put(router, routes)
    async with visitor(router.address) as client:
        for _ in range(20):
            await client.get("/")
    before = await total(router, 20)
    await kill(router._envoy.child)
    await asyncio.sleep(1.2)
    last = (await router.counts(0)).alive_at
    await asyncio.sleep(0.6)
    assert (await router.counts(0)).alive_at == last >= before.alive_at  # blindness, not silence
    await put(router, routes)
    assert (await router.observe()).routes == routes
    async with visitor(router.address) as client:
        for _ in range(30):
            await client.get("/")
    seen = await total(router, 50)
    assert sum(b.requests for b in seen.buckets) == 50
    assert seen.alive_at > last


async def test_a_counter_that_was_killed_counts_again(router, upstreams):
    """Blind while it is dead, and nothing of before is counted a second time."""
    await put(router, Routes(upstreams, 0, "blue"))
    await counted(router, lambda counts: counts.alive_at is not None)
    async with visitor(router.address) as client:
        for _ in range(10):
            await client.get("/")
        await total(router, 10)
        await kill(router._counter.child)
        assert (await router._counter.counts(0)).alive_at is None
        await counted(router, lambda counts: counts.alive_at is not None)
        for _ in range(30):
            await client.get("/")
    assert sum(b.requests for b in (await total(router, 30)).buckets) == 30


async def test_a_changed_set_up_cuts_nobody_off(make, upstreams):
    """Stickiness and a header that are added to the file later are in force with the next apply."""
    before = make()
    await put(before, Routes(upstreams, 0, "blue"))
    pid = before._envoy.child.pid()
    load = Load(before.address, Plan(rps=60, seed=2, mix={"get": 2, "post": 1, "slow": 1}, slow_ms=500))
    load.start()
    after = make(sticky={"cookie": "cf"}, override_header="X-Other")
    await put(after, Routes(upstreams, 0, "blue"))
    assert after._envoy.child.pid() == pid
    async with visitor(after.address) as client:
        assert "set-cookie" in (await client.get("/")).headers
        assert (await client.get("/version", headers={"X-Other": "always"})).json() == {"version": "2"}
    await load.stop()
    assert causes(load.samples) == {}


async def test_the_count_is_that_of_the_visitors(router):
    """Two instances go and two come, with everything that visitors do under way: request by request, by version."""
    async with shops("1", "1", "2", "2") as running:
        one, two = (tuple(shop.address for shop in pair) for pair in (running[:2], running[2:]))
        await put(router, Routes({"blue": one, "green": two}, 0, "blue"))
        load = Load(router.address, Plan(rps=60, mix=EVERYTHING, seed=4, timeout=30, slow_ms=1500))
        load.start()
        for green in (100, 5000, 9000, FULL):
            await put(router, Routes({"blue": one, "green": two}, green, "blue"))
            await asyncio.sleep(0.3)
        async with asyncio.timeout(60):
            while (await router.observe()).in_flight["blue"]:  # noqa: ASYNC110 - the world is asked
                await asyncio.sleep(0.05)
        await put(router, Routes({"blue": (), "green": two}, FULL, "green"))
        assert [await shop.stop() for shop in running[:2]] == [0, 0]
        await asyncio.sleep(0.5)
        await load.stop()
        assert causes(load.samples) == {}
        seen = await total(router, len(load.samples))
        by_slot = Counter()
        for each in seen.buckets:
            by_slot[each.slot] += each.requests
        versions = Counter(sample.version for sample in load.samples)
        assert by_slot == {"blue": versions["1"], "green": versions["2"]}
        assert (sum(b.errors for b in seen.buckets), seen.dropped) == (0, 0)
        await at_rest(router)


async def test_a_dead_instance_costs_nobody_anything(router):
    """Refused connections go to another instance of the slot, bodies and odd paths included."""
    heads = []

    async def echo(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.split(b"\r\n")[0])
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", port := free_port(), limit=2**24):
        dead = tuple(f"127.0.0.1:{free_port()}" for _ in range(11))
        await put(router, Routes({"blue": (*dead, f"127.0.0.1:{port}"), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            for number in range(24):
                body = bytes([number]) * (3_000_000 if number % 8 == 1 else 10)
                answer = await client.post("/a%2Fb//c;d?e=%20f", content=body)
                assert (answer.status_code, answer.content) == (200, body)
    assert set(heads) == {b"POST /a%2Fb//c;d?e=%20f HTTP/1.1"}
    seen = await total(router, 24)
    assert sum((Counter(b.by_class) for b in seen.buckets), Counter()) == {"2xx": 24}


async def test_an_only_instance_may_take_a_moment(router):
    """It is looked for during about one second; one that stays away is a 502 of its slot."""
    address = f"127.0.0.1:{free_port()}"
    await put(router, Routes({"blue": (address,), "green": ()}, 0, "blue"))
    async with visitor(router.address) as client:
        assert (await client.get("/")).status_code == 502
        waiting = asyncio.create_task(client.get("/"))
        await asyncio.sleep(0.2)

        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", int(address.rpartition(":")[2])):
            assert (await waiting).text == "ok"
    assert sum(b.errors for b in (await total(router, 2)).buckets) == 1


async def test_only_we_can_probe_and_command(router, upstreams):
    """Without the token the headers mean nothing; the admin socket and all that holds the token is ours alone."""
    await put(router, Routes(upstreams, 0, "blue"))
    async with visitor(router.address) as client:
        for token in ("", "x", "0" * 32):
            headers = {PROBE_HEADER: token, "X-Crossfade-Slot": "green", "X-Envoy-Upstream-Rq-Timeout-Ms": "1"}
            answer = await client.get("/version", headers=headers)
            assert answer.json() == {"version": "1"}
            assert not {"x-crossfade-slot", "x-envoy-upstream-service-time"} & set(answer.headers)
    for private in (router._folder / "token", router._envoy.folder / "routes.json", router._envoy.socket):
        assert private.stat().st_mode & 0o077 == 0
    assert router._envoy.copies.stat().st_mode & 0o077 == 0


async def test_what_the_visitor_is_said_to_be(router):
    """A proxy on this machine is believed about its visitor; hosts may have names."""
    heads = []

    async def tell(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\nServer: mine\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", port := free_port()):
        await put(router, Routes({"blue": (f"localhost:{port}",), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            sent = {"Host": "shop.test:81", "X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"}
            answer = await client.get("/", headers=sent)
    assert (answer.text, answer.headers["server"]) == ("ok", "mine")
    for expected in ("host: shop.test:81", "x-forwarded-for: 9.9.9.9, 127.0.0.1", "x-forwarded-proto: https"):
        assert f"\r\n{expected}\r\n" in heads[-1]
    assert not re.search(r"x-(crossfade|envoy|request-id)", heads[-1])


async def test_a_host_that_is_unknown_changes_nothing(router, upstreams):
    before = Routes(upstreams, 0, "blue")
    await put(router, before)
    with pytest.raises(BadInputError) as caught:
        await router.apply(Routes({"blue": ("no-such-host.invalid:80",), "green": ()}, 0, "blue"), fence=2)
    assert caught.value.code == "router.unknown-host"
    seen = await router.observe()
    assert (seen.routes, seen.fence) == (before, 1)
