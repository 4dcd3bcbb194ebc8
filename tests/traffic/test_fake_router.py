"""The fake keeps the contract that Caddy keeps."""

import asyncio

import pytest

from crossfade.core.clock import SystemClock
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.router_contract import RouterContract
from crossfade.traffic.port import Routes

PAIR = {"blue": ("127.0.0.1:1", "127.0.0.1:2"), "green": ("127.0.0.1:3", "127.0.0.1:4")}


class TestFakeRouter(RouterContract):
    @pytest.fixture
    def router(self):
        return FakeRouter(FakeProxy(SystemClock()))

    @pytest.fixture
    def upstreams(self):
        return PAIR

    def again(self, router):
        return FakeRouter(router.proxy)

    async def visit(self, router, requests):
        router.proxy.serve("green" if router.proxy.routes.green else "blue", {200: requests})
        await asyncio.sleep(0)

    async def empty(self, router):
        router.proxy.empty()

    async def cut(self, router):
        router.proxy.down = True

    async def mend(self, router):
        router.proxy.down = False


async def test_a_deaf_proxy_is_found_out_by_confirm():
    proxy = FakeProxy(SystemClock(), deaf=True)
    router, routes = FakeRouter(proxy), Routes(PAIR, 500, "blue")
    await router.apply(routes, fence=1)
    assert not await router.confirm(routes)
    proxy.deaf = False
    await router.apply(routes, fence=1)
    assert await router.confirm(routes)
    assert proxy.calls == [(routes, 1), (routes, 1)]
