"""What goes wrong around Caddy, and where it ends."""

import asyncio
import os
import signal
import socket

import orjson
import pytest
from traffic_world import caddy, open_shop, visitor

from crossfade.core.errors import CrossfadeError
from crossfade.testing.router_contract import counted
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes
from free_ports import free_port

pytestmark = pytest.mark.real


async def kill(child):
    """As an accident would; returns once it is gone."""
    os.kill(child.pid(), signal.SIGKILL)
    await child.stop()


async def test_a_taken_address_is_told_with_its_holder(place, upstreams):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        router = caddy(place / "taken", f"127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert caught.value.code == "router.address-taken"
        assert f"process {os.getpid()}" in caught.value.what
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert await router.confirm(Routes(upstreams, 0, "blue"))
    await router.close()


async def test_another_caddy_on_the_address_is_found_out(make, place, upstreams):
    """Two Caddys could share a port without either noticing; ours refuses."""
    first = make()
    await first.apply(Routes(upstreams, 0, "blue"), fence=1)
    second = caddy(place / "second", first._settings.listen)
    with pytest.raises(CrossfadeError, match="caddy"):
        await second.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert not await second.confirm(Routes(upstreams, 0, "blue"))
    await second.close()


async def test_a_caddy_emptied_to_the_bone_comes_back(router, upstreams):
    """`{}` takes away even the admin socket; the process that serves nobody is replaced."""
    routes = Routes(upstreams, 2500, "blue")
    await router.apply(routes, fence=1)
    old = router._managed.child.pid()
    await router._admin.update(lambda _: {"admin": {"disabled": True}})
    assert not (await router.observe()).reachable
    await router.apply(routes, fence=1)
    assert router._managed.child.pid() != old
    assert await router.confirm(routes)


async def test_a_caddy_outlives_us_and_is_adopted(router, upstreams):
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    before = (router._managed.child.pid(), router._counter.child.pid())
    after = caddy(router._folder, router._settings.listen)
    await after.apply(Routes(upstreams, 10, "blue"), fence=2)
    assert (after._managed.child.pid(), after._counter.child.pid()) == before
    assert os.getsid(before[0]) != os.getsid(0)
    assert os.getsid(before[1]) != os.getsid(0)


async def test_two_that_start_at_once_start_one(router, upstreams):
    twin = caddy(router._folder, router._settings.listen)
    routes = Routes(upstreams, 0, "blue")
    await asyncio.gather(*(each.apply(routes, fence=1) for each in (router, twin) * 3))
    assert await router.confirm(routes)
    assert await twin.confirm(routes)
    assert router._managed.child.pid() == twin._managed.child.pid()


async def test_a_changed_set_up_is_applied(make, upstreams):
    """Stickiness that is added to the file later is put in force by the next apply, on the same Caddy."""
    before = make()
    await before.apply(Routes(upstreams, 0, "blue"), fence=1)
    after = make(sticky={"cookie": "cf"})
    await after.apply(Routes(upstreams, 0, "blue"), fence=1)
    assert before._managed.child.pid() == after._managed.child.pid()
    async with visitor(after.address) as client:
        assert "set-cookie" in (await client.get("/")).headers


async def test_a_counter_that_was_killed_counts_again(router, upstreams):
    """Blind while it is dead, never wrong; the next look starts it, on the port that Caddy knows."""
    routes = Routes(upstreams, 0, "blue")
    await router.apply(routes, fence=1)
    await counted(router, lambda counts: counts.alive_at is not None)
    config = await router._admin.config()
    await kill(router._counter.child)
    assert (await router._counter.counts(0)).alive_at is None
    async with visitor(router.address) as client:
        for _ in range(5):
            assert (await client.get("/")).status_code == 200
        await counted(router, lambda counts: counts.alive_at is not None)
        for _ in range(30):
            await client.get("/")
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 30)
    assert sum(b.requests for b in seen.buckets) == 30
    assert await router._admin.config() == config


async def test_a_dead_caddy_is_blindness(router, upstreams):
    """The counter lives, and knows that it no longer hears from the proxy."""
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    await counted(router, lambda counts: counts.alive_at is not None)
    await kill(router._managed.child)
    last = (await router.counts(0)).alive_at
    await asyncio.sleep(1.5)
    assert (await router.counts(0)).alive_at == last


async def test_a_dead_instance_costs_nobody_anything(router):
    """Refused connections go to another instance of the slot, bodies included."""
    living = await open_shop("1")
    dead = f"127.0.0.1:{free_port()}"
    await router.apply(Routes({"blue": (dead, living.address), "green": ()}, 0, "blue"), fence=1)
    samples = await Load(router.address, Plan(rps=200, mix={"get": 1, "post": 1, "post-fresh": 1})).run(2)
    assert causes(samples) == {}
    assert len(samples) > 100
    await living.stop()


async def test_only_we_can_probe(router, upstreams):
    """Without the token the header means nothing, and addresses are not given away."""
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    async with visitor(router.address) as client:
        for token in ("", "x", "0" * 32):
            answer = await client.get("/version", headers={PROBE_HEADER: token})
            assert answer.json() == {"version": "1"}
            assert "x-crossfade-slot" not in answer.headers
    assert (router._folder / "token").stat().st_mode & 0o077 == 0


async def test_metrics_for_those_who_have_prometheus(router, upstreams):
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    async with visitor(router.address) as client:
        for _ in range(7):
            await client.get("/")
    await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 7)
    text = await router.metrics()
    labels = 'environment="production",component="shop",slot="blue"'
    assert f'crossfade_requests_total{{{labels},class="2xx"}} 7' in text
    assert f'crossfade_request_duration_seconds_bucket{{{labels},le="+Inf"}} 7' in text


async def test_an_address_that_is_none_is_refused(router):
    for address in ("127.0.0.1", "http://x:1", "a:b", "x:1;", "x,y:1", "{env.HOME}:1", "x:1\n"):
        with pytest.raises(CrossfadeError) as caught:
            await router.apply(Routes({"blue": (address,), "green": ()}, 0, "blue"), fence=1)
        assert caught.value.code == "router.bad-address"
    assert not router._file.path.exists()


async def test_a_torn_line_serves_nobody_wrongly(router, upstreams):
    """A file that is not ours to read (a disk fault) is no routes, and the next apply repairs it."""
    routes = Routes(upstreams, 5000, "blue")
    await router.apply(routes, fence=3)
    whole = router._file.path.read_text()
    for torn in ("", "g", whole[:40], whole[:-60], orjson.dumps({}).decode()):
        router._file.path.write_text(torn)
        assert (await router.observe()).routes is None
        assert not await router.confirm(routes)
        await router.apply(routes, fence=3)
        assert await router.confirm(routes)
