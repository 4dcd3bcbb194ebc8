"""The ingress-nginx router keeps the contract, on a stand-in cluster whose ingress obeys canary annotations."""

import asyncio
import collections
import sys
from pathlib import Path

import httpx
import pytest

sys.path.append(str(Path(__file__).parents[1] / "runtimes"))
from kubernetes_gateway import IngressNginx
from kubernetes_world import cluster, make, release

from crossfade.cluster.api import Place
from crossfade.cluster.names import Target
from crossfade.config.routers import IngressNginxRouter as Settings
from crossfade.core.errors import BadInputError
from crossfade.testing.router_contract import RouterContract
from crossfade.testing.runtime_contract import all_ready, eventually
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.ingress_nginx import PREFIX, IngressNginxRouter

pytestmark = [pytest.mark.real, pytest.mark.slow]
TARGET = Target("shop", "production", "api", "shop")
PATHS = [
    {
        "path": "/",
        "pathType": "Prefix",
        "backend": {"service": {"name": TARGET.named("stable"), "port": {"number": 80}}},
    }
]
OWN = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop", "namespace": "shop"}}
RULES = {"rules": [{"host": "shop.example", "http": {"paths": PATHS}}]}


class Patient(IngressNginxRouter):
    """As the engine asks: again for a moment, since a controller takes Ingresses up a little later."""

    async def apply(self, routes, *, fence):
        await super().apply(routes, fence=fence)
        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def ingress():
    return IngressNginx()


@pytest.fixture(scope="module")
def server(ingress):
    with cluster(ingress) as server:
        server.do(server.store.put, {**OWN, "spec": RULES})
        yield server


@pytest.fixture(scope="module")
def running(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ingress")

    async def start():
        runtime = make(server.kubeconfig(folder), folder / "pods")
        await runtime.start("blue", release("1.0.0"), 2)
        await runtime.start("green", release("1.1.0"), 2)
        seen = await eventually(runtime, all_ready(4))
        return {slot: tuple(each.address for each in seen if each.slot == slot) for slot in ("blue", "green")}

    return asyncio.run(start()), server.kubeconfig(folder)


@pytest.fixture
def upstreams(running):
    return running[0]


class TestIngressNginx(RouterContract):
    @pytest.fixture
    def router(self, running, server, ingress):
        self._server, self._ingress = server, ingress
        self._make = lambda: Patient(Settings(listen=ingress.address, ingress="shop"), TARGET, Place(running[1]))
        router = self._make()
        yield router
        asyncio.run(self._make().close())

    def again(self, router):  # noqa: ARG002 - all see the same cluster
        return self._make()

    async def visit(self, router, requests):
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(requests):
                assert (await client.get(f"http://{router.address}/")).status_code == 200

    async def empty(self, router):
        await router.close()

    async def cut(self, router):  # noqa: ARG002 - there is one
        await asyncio.to_thread(self._server.down)

    async def mend(self, router):  # noqa: ARG002 - there is one
        await asyncio.to_thread(self._server.up)

    async def test_every_request_is_counted_once(self, router, upstreams):
        """It counts nothing, and says so instead of inventing zeros."""
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        counts = await router.counts(0)
        assert (counts.buckets, counts.alive_at) == ((), None)
        assert not router.capabilities.counts

    async def test_silence_is_not_blindness(self, router):
        """Nothing vouches for the count: the judge is blind without a source of its own."""
        assert (await router.counts(0)).alive_at is None

    async def test_nothing_is_in_flight_at_rest(self, router, upstreams):
        """It does not know, and names no slot."""
        await router.apply(Routes(upstreams, 5000, "blue"), fence=1)
        assert (await router.observe()).in_flight == {}

    async def test_the_split_and_the_override(self, router, upstreams):
        await router.apply(Routes(upstreams, 2500, "blue"), fence=1)
        self._ingress.sent.clear()
        await self.visit(router, 160)
        assert 0.08 < collections.Counter(self._ingress.sent)[TARGET.slot("green")] / 160 < 0.42
        async with httpx.AsyncClient(trust_env=False) as client:
            for word, service in (("always", TARGET.slot("green")), ("never", TARGET.named("stable"))):
                self._ingress.sent.clear()
                for _ in range(10):
                    await client.get(f"http://{router.address}/", headers={"X-Canary": word})
                assert set(self._ingress.sent) == {service}

    async def test_the_trusted_side_turns_without_a_gap(self, router, upstreams):
        """At 100 % the new version becomes stable, and at no instant does anybody reach the old one."""
        await router.apply(Routes(upstreams, 10_000, "blue"), fence=1)
        versions, done = collections.Counter(), asyncio.Event()

        async def visitor():
            async with httpx.AsyncClient(trust_env=False) as client:
                while not done.is_set():
                    answer = await client.get(f"http://{router.address}/version")
                    versions[answer.status_code, answer.json()["version"]] += 1

        visiting = asyncio.create_task(visitor())
        await router.apply(Routes(upstreams, 10_000, "green"), fence=2)
        await asyncio.sleep(0.2)
        done.set()
        await visiting
        assert await router.confirm(Routes(upstreams, 10_000, "green"))
        assert set(versions) == {(200, "1.1.0")}

    async def test_an_ingress_that_leads_elsewhere_is_told_what_to_change(self, running, upstreams, router):  # noqa: ARG002 - its world
        elsewhere = {**OWN, "metadata": {"name": "other", "namespace": "shop"}}
        paths = [{**PATHS[0], "backend": {"service": {"name": "legacy", "port": {"number": 80}}}}]
        thing = {**elsewhere, "spec": {"rules": [{"http": {"paths": paths}}]}}
        await asyncio.to_thread(self._server.do, self._server.store.put, thing)
        other = IngressNginxRouter(Settings(ingress="other"), TARGET, Place(running[1]))
        with pytest.raises(BadInputError) as refused:
            await other.apply(Routes(upstreams, 0, "blue"), fence=1)
        await asyncio.to_thread(self._server.do, self._server.store.drop, thing)
        assert refused.value.code == "ingress.elsewhere"
        assert TARGET.named("stable") in refused.value.next
        with pytest.raises(BadInputError) as missing:
            await other.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert missing.value.code == "ingress.missing"

    async def test_a_weight_changed_by_hand_is_seen_and_repaired(self, router, upstreams):
        routes = Routes(upstreams, 500, "blue")
        await router.apply(routes, fence=1)
        where = f"/apis/networking.k8s.io/v1/namespaces/shop/ingresses/{router._name}"
        await router._cluster.merge(where, {"metadata": {"annotations": {f"{PREFIX}canary-weight": "9000"}}})
        assert (await router.observe()).routes is None
        await router.apply(routes, fence=1)
        assert (await router.observe()).routes == routes
