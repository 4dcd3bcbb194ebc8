"""What goes wrong around Traefik, and where it ends."""

import asyncio
import itertools
import os
import signal
import socket
import sys
import textwrap

import httpx
import pytest
from traefik_world import forget, kill, traefik
from traffic_world import shops, visitor

from crossfade.core.errors import CrossfadeError, StaleFenceError
from crossfade.testing.router_contract import counted, put
from crossfade.traffic import startup
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes
from crossfade.traffic.routers import traefik_config
from crossfade.traffic.routers.route_file import Accepted
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def make(place, require):
    require("traefik")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(**settings):
        made.append(traefik(place / "routes", listen, **settings))
        return made[-1]

    yield router
    if made:
        asyncio.run(made[-1].close())


@pytest.fixture
def router(make):
    return make()


@pytest.fixture
def program(tmp_path):
    """A program that says one thing, whatever it is asked."""
    numbers = itertools.count()

    def write(said, code=0):
        path = tmp_path / f"traefik-{next(numbers)}"
        path.write_text(f"#!/bin/sh\necho '{said}'; echo '{said}' >&2\nexit {code}\n")
        path.chmod(0o755)
        return str(path)

    return write


async def test_a_taken_address_is_told_with_its_holder(place, upstreams, require):
    require("traefik")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        router = traefik(place / "taken", f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert caught.value.code == "router.address-taken"
        assert f"process {os.getpid()}" in caught.value.what
    await put(router, Routes(upstreams, 0, "blue"))
    await router.close()


async def test_programs_that_will_not_do(make, upstreams, program):
    """None at all, something else, an old Traefik, and one that ends at once."""
    for binary, code, said in (
        ("no-such-traefik", "router.no-program", "no-such-traefik is not there"),
        (program("GNU bash"), "router.no-program", "is not Traefik"),
        (program("Version: 3.5.1"), "router.old-program", "Traefik 3.5.1"),
        (program("Version: 3.7.1"), "router.ended", "Traefik ended while it was starting: Version: 3.7.1"),
    ):
        router = make(binary=binary)
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert (caught.value.code, said in caught.value.what) == (code, True), caught.value.what
        assert caught.value.next
        assert not (await router.observe()).reachable


async def test_what_traefik_refuses_is_told_in_its_words(make, upstreams, monkeypatch):
    """A plugin that it does not understand, as a newer Traefik might not."""
    monkeypatch.setattr(startup, "PATIENCE", 2.0)
    monkeypatch.setattr(traefik_config, "_source", lambda _: "package choice\n\nfunc New(")
    router = make()
    with pytest.raises(CrossfadeError) as caught:
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert caught.value.code == "router.unreachable"
    assert "Plugins are disabled" in caught.value.what
    monkeypatch.undo()
    await put(router, Routes(upstreams, 0, "blue"))


async def test_another_address_is_moved_to(router, place, upstreams):
    """A Traefik that listens elsewhere is replaced."""
    routes = Routes(upstreams, 0, "blue")
    await put(router, routes)
    moved = traefik(place / "routes", f"127.0.0.1:{free_port()}")
    await put(moved, routes)
    assert not (await router.observe()).reachable
    await counted(moved, lambda counts: counts.alive_at is not None)


async def test_lines_of_other_instances_are_not_obeyed(router, upstreams):
    """Between a line and the servers that it needs there is no instant: the old line serves until they are there."""
    async with shops("3") as (third,):
        routes = Routes({"blue": upstreams["blue"], "green": ()}, 0, "blue")
        await put(router, routes)
        load = Load(router.address, Plan(rps=150, seed=9))
        load.start()
        later = Routes({"blue": (), "green": (third.address,)}, 10_000, "green")
        router._file.swap(Accepted(later, 2))  # a writer that was killed between both
        await asyncio.sleep(0.3)
        assert (await router.observe()).routes == routes
        assert not await router.confirm(later)
        await router.apply(later, fence=2)
        assert await router.confirm(later)
        await asyncio.sleep(0.2)
        await load.stop()
    assert causes(load.samples) == {}
    assert {sample.version for sample in load.samples} == {"1", "3"}


async def test_an_answer_that_breaks_off_is_an_error_of_the_version(router):
    async def half(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(half, "127.0.0.1", port := free_port()):
        await put(router, Routes({"blue": (f"127.0.0.1:{port}",), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            for _ in range(4):
                with pytest.raises(httpx.HTTPError):
                    await client.get("/")
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 4)
    assert sum(b.by_class.get("none", 0) for b in seen.buckets) == 4
    assert (await router.observe()).in_flight == {"blue": 0, "green": 0}


async def test_a_restarted_crossfade_adopts_what_runs(router, upstreams):
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    before = (router._traefik.child.pid(), router._counter.child.pid())
    after = traefik(router._folder, router._settings.listen)
    await after.apply(Routes(upstreams, 10, "blue"), fence=2)
    assert (after._traefik.child.pid(), after._counter.child.pid()) == before
    assert os.getsid(before[0]) != os.getsid(0)


async def test_two_that_start_at_once_start_one(router, upstreams):
    twin = traefik(router._folder, router._settings.listen)
    routes = Routes(upstreams, 0, "blue")
    await asyncio.gather(*(each.apply(routes, fence=1) for each in (router, twin) * 3))
    assert await router.confirm(routes)
    assert await twin.confirm(routes)
    assert router._traefik.child.pid() == twin._traefik.child.pid()


WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    sys.path[:0] = sys.argv[4:]
    from traefik_world import traefik
    from crossfade.core.errors import StaleFenceError
    from crossfade.traffic.port import Routes

    async def write(folder, listen, parity):
        router = traefik(Path(folder), listen)
        for fence in range(parity, 16, 2):
            try:
                await router.apply(Routes({"blue": ("127.0.0.1:1",), "green": ("127.0.0.1:2",)}, fence, "blue"), fence=fence)
            except StaleFenceError:
                print("stale", fence)

    asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
""")


async def test_two_processes_that_write_end_with_the_newest(router, upstreams):
    """Memory and disk agree at the end, whoever came last; an older fence is refused."""
    await put(router, Routes(upstreams, 0, "blue"))
    writers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, router._folder, router._settings.listen, str(parity), *sys.path[:3], *sys.path
        )
        for parity in (2, 3)
    ]
    assert [await each.wait() for each in writers] == [0, 0]
    seen = await router.observe()
    assert (seen.fence, seen.routes.green) == (15, 15)
    with pytest.raises(StaleFenceError):
        await router.apply(Routes(upstreams, 0, "blue"), fence=14)


async def test_a_dead_traefik_is_started_again_with_its_routes(router, upstreams):
    routes = Routes(upstreams, 2500, "blue", salt=3)
    await put(router, routes)
    await counted(router, lambda counts: counts.alive_at is not None)
    await kill(router._traefik.child)
    last = (await router.counts(0)).alive_at
    await asyncio.sleep(1.2)
    assert (await router.counts(0)).alive_at == last  # blindness, not silence
    load = Load(router.address, Plan(rps=200, seed=8, mix={"get-fresh": 1}))
    load.start()
    await put(router, routes)
    assert (await router.observe()).routes == routes
    await counted(router, lambda counts: counts.alive_at > last)
    await load.stop()
    # Until it listens again nobody is there; it may say 404 for the moment in which it reads its configuration.
    assert set(causes(load.samples)) <= {"refused", "reset"}
    early = {sample.status for sample in load.samples if not sample.failed and not sample.version}
    assert early <= {404}
    assert {sample.version for sample in load.samples if not sample.failed} - {""} == {"1", "2"}
    assert sum(b.errors for b in (await router.counts(0)).buckets) == 0


async def test_where_nothing_is_in_force_no_version_is_blamed(router, upstreams):
    await put(router, Routes(upstreams, 0, "blue"))
    await forget(router)
    async with visitor(router.address) as client:
        for _ in range(10):
            answer = await client.get("/")
            assert (answer.status_code, answer.headers["x-crossfade"]) == (503, "no-version")
        await put(router, Routes(upstreams, 0, "blue"))
        for _ in range(5):
            assert (await client.get("/")).status_code == 200
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 5)
    assert (sum(b.requests for b in seen.buckets), sum(b.errors for b in seen.buckets)) == (5, 0)


async def test_a_changed_set_up_is_applied(make, upstreams):
    """Stickiness that is added to the file later is put in force by the next apply, and nobody is cut off."""
    before = make()
    await put(before, Routes(upstreams, 0, "blue"))
    master = before._traefik.child.pid()
    load = Load(before.address, Plan(rps=150, seed=2, mix={"get": 2, "post": 1, "slow": 1}, slow_ms=500))
    load.start()
    after = make(sticky={"cookie": "cf"})
    await put(after, Routes(upstreams, 0, "blue"))
    assert after._traefik.child.pid() == master
    async with visitor(after.address) as client:
        assert "set-cookie" in (await client.get("/")).headers
    await load.stop()
    assert causes(load.samples) == {}


async def test_a_counter_that_was_killed_counts_again(router, upstreams):
    """Blind while it is dead, never wrong; the next look starts it, on the port that Traefik knows."""
    await put(router, Routes(upstreams, 0, "blue"))
    await counted(router, lambda counts: counts.alive_at is not None)
    os.kill(router._counter.child.pid(), signal.SIGKILL)
    await router._counter.child.stop()
    assert (await router._counter.counts(0)).alive_at is None
    async with visitor(router.address) as client:
        assert (await client.get("/")).status_code == 200
        await counted(router, lambda counts: counts.alive_at is not None)
        for _ in range(30):
            await client.get("/")
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 30)
    assert sum(b.requests for b in seen.buckets) == 30


async def test_a_dead_instance_costs_nobody_anything(router):
    """Refused connections go to another instance of the slot, bodies and odd paths included."""
    heads = []

    async def echo(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.split(b"\r\n")[0])
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", free_port(), limit=2**20)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        dead = tuple(f"127.0.0.1:{free_port()}" for _ in range(3))
        await put(router, Routes({"blue": (*dead, address), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            for number in range(12):
                body = bytes([number]) * (300_000 if number % 2 else 10)
                answer = await client.post("/a%2Fb//c;d?e=%20f", content=body)
                assert (answer.status_code, answer.content) == (200, body)
    assert set(heads) == {b"POST /a%2Fb//c;d?e=%20f HTTP/1.1"}
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 12)
    assert [b.by_class for b in seen.buckets if b.requests] == [{"2xx": b.requests} for b in seen.buckets if b.requests]


async def test_an_only_instance_may_take_a_moment(router):
    """It is looked for during one second; one that stays away is a 502 of its slot."""
    address = f"127.0.0.1:{free_port()}"
    await put(router, Routes({"blue": (address,), "green": ()}, 0, "blue"))
    async with visitor(router.address) as client:
        assert (await client.get("/")).status_code == 502
        waiting = asyncio.create_task(client.get("/"))
        await asyncio.sleep(0.3)

        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", int(address.rpartition(":")[2])):
            assert (await waiting).text == "ok"
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 2)
    assert sum(b.errors for b in seen.buckets) == 1


async def test_only_we_can_probe(router, upstreams):
    """Without the token the headers mean nothing, and addresses are not given away."""
    await put(router, Routes(upstreams, 0, "blue"))
    async with visitor(router.address) as client:
        for token in ("", "x", "0" * 32):
            answer = await client.get("/version", headers={PROBE_HEADER: token})
            assert answer.json() == {"version": "1"}
            assert "x-crossfade-slot" not in answer.headers
    assert await router.confirm(Routes(upstreams, 0, "blue"))
    for private in ("token", "traefik/told/dynamic.yml"):
        assert (router._folder / private).stat().st_mode & 0o077 == 0


async def test_what_the_visitor_is_said_to_be(router):
    """A proxy on this machine is believed about its visitor; the application sees Host, and nothing of ours."""
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
        assert expected in heads[-1]
