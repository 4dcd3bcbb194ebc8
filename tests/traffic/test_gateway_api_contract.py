"""The Gateway API router keeps the contract, on a stand-in cluster with a gateway that obeys its routes."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from cluster_router_contract import HOST, TARGET, ClusterRouterContract, Patient, confirmed
from kubernetes_gateway import Gateway
from ruamel.yaml import YAML

from crossfade.config.routers import GatewayApiRouter as Settings
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.gateway_api import GatewayApiRouter
from patience import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.slow]
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-the-gateway-api.md").read_text()
BESIDE = next(
    block for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "kind: HTTPRoute" in block
)
SPEC = {"parentRefs": [{"name": "edge"}], "rules": [{"matches": [{}]}]}


class PatientGateway(Patient, GatewayApiRouter):
    pass


class TestGatewayApi(ClusterRouterContract):
    @classmethod
    def plane(cls):
        return Gateway()

    def make(self, plane, place):
        settings = Settings(listen=plane.address, gateway="edge", hostnames=(HOST,))
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
        async with asyncio.timeout(PATIENCE):
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
            async with asyncio.timeout(PATIENCE):
                while not (seen := await router.observe()).detail:  # noqa: ASYNC110 - it comes with the status
                    await asyncio.sleep(0.02)
        finally:
            self._plane.refuses = ""
        assert seen.routes is None
        assert "no listener allows routes" in seen.detail

    async def test_a_route_of_the_users_keeps_its_part_beside_ours(self, router, upstreams):
        """As the page tells it: theirs has all while it is the older of two equals, and then what is more specific."""
        store, theirs = self._server.store, YAML(typ="safe").load(BESIDE)
        everything = {"matches": [{}], "backendRefs": [{"name": "legacy", "port": 80}]}
        before = {**theirs, "spec": {**theirs["spec"], "rules": [*theirs["spec"]["rules"], everything]}}
        selector = {"selector": {"crossfade.component": "api"}}
        services = [
            {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": selector}
            for name in ("legacy", "pages")
        ]

        async def put(*things):
            for each in things:
                await asyncio.to_thread(self._server.do, store.put, each)
            await asyncio.to_thread(self._server.do, self._plane.load)

        async def sent(*visit, **headers):
            self._plane.sent.clear()
            await self.visit(router, *visit, **headers)
            return set(self._plane.sent)

        await put(*services, before)
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert await router.confirm(Routes(upstreams, 0, "blue"))
        assert await sent(5) == {"legacy"}
        assert await sent(5, **{"X-Canary": "always"}) == {TARGET.slot("green")}

        await put(theirs)
        written = await asyncio.to_thread(self._server.do, store.get, "httproutes", "shop", "shop")
        for fence, (share, slot) in enumerate(((0, "blue"), (10_000, "green")), 2):
            await router.apply(Routes(upstreams, share, "blue"), fence=fence)
            assert await sent(5) == await sent(5, "/staticks") == {TARGET.slot(slot)}
            assert await sent(5, "/static/logo.svg") == {"pages"}
        async with httpx.AsyncClient(trust_env=False, headers={"Host": HOST}) as client:
            answer = await client.get(f"http://{router.address}/imprint")
        assert (answer.status_code, answer.headers["Location"]) == (302, "http://www.example/imprint")
        assert (await asyncio.to_thread(self._server.do, store.get, "httproutes", "shop", "shop"))["spec"] == written[
            "spec"
        ]
        for each in (theirs, *services):
            await asyncio.to_thread(self._server.do, store.drop, each)
