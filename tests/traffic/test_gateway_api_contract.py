"""The Gateway API router keeps the contract, on a stand-in cluster with a gateway that obeys its routes."""

import asyncio

import pytest
from cluster_router_contract import TARGET, ClusterRouterContract, Patient, confirmed
from kubernetes_gateway import Gateway

from crossfade.config.routers import GatewayApiRouter as Settings
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.gateway_api import GatewayApiRouter

pytestmark = [pytest.mark.real, pytest.mark.slow]
SPEC = {"parentRefs": [{"name": "edge"}], "rules": [{"matches": [{}]}]}


class PatientGateway(Patient, GatewayApiRouter):
    pass


class TestGatewayApi(ClusterRouterContract):
    @classmethod
    def plane(cls):
        return Gateway()

    def make(self, plane, place):
        settings = Settings(listen=plane.address, gateway="edge", hostnames=("shop.example",))
        return PatientGateway(settings, TARGET, place)

    def adopt(self, plane, place):
        theirs = {"kind": "HTTPRoute", "metadata": {"name": "theirs", "namespace": "shop"}, "spec": SPEC}
        return GatewayApiRouter(Settings(listen=plane.address, gateway="edge", route="theirs"), TARGET, place), theirs

    async def change_by_hand(self, router):
        change = [{"op": "replace", "path": "/spec/rules/3/backendRefs/0/weight", "value": 5}]
        await router._cluster.patch(router._path, change)

    async def test_a_copy_goes_to_the_new_version(self, router, upstreams):
        await router.apply(Routes(upstreams, 0, "blue", mirror=10_000), fence=1)
        self.reached()
        await self.visit(router, 20)
        async with asyncio.timeout(10):
            while len(self._plane.sent) < 40:  # noqa: ASYNC110 - copies are sent behind the visitor's back
                await asyncio.sleep(0.02)
        assert self.reached() == {"blue": 20, "green": 20}

    async def test_a_gateway_that_has_not_loaded_is_not_believed(self, router, upstreams):
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        self._plane.deaf = True
        try:
            await GatewayApiRouter.apply(router, Routes(upstreams, 500, "blue"), fence=2)
            assert not await router.confirm(Routes(upstreams, 500, "blue"))
        finally:
            self._plane.deaf = False
            await asyncio.to_thread(self._server.do, self._plane.load)
        assert await confirmed(router, Routes(upstreams, 500, "blue"))

    async def test_a_gateway_that_only_says_that_it_has_is_not_believed(self, router, upstreams):
        routes = Routes(upstreams, 0, "blue")
        await router.apply(routes, fence=1)
        loaded, self._plane.loaded = self._plane.loaded, []
        assert not await router.confirm(routes)
        self._plane.loaded = loaded
        assert await router.confirm(routes)

    async def test_a_gateway_that_refuses_says_why(self, router, upstreams):
        self._plane.refuses = "no listener allows routes from namespace shop"
        try:
            await GatewayApiRouter.apply(router, Routes(upstreams, 0, "blue"), fence=1)
            async with asyncio.timeout(10):
                while not (seen := await router.observe()).detail:  # noqa: ASYNC110 - it comes with the status
                    await asyncio.sleep(0.02)
        finally:
            self._plane.refuses = ""
        assert seen.routes is None
        assert "no listener allows routes" in seen.detail
