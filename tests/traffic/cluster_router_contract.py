"""What every router that is made of objects in a cluster must do, on a stand-in cluster with a data plane that obeys them."""

import asyncio
import collections
import sys
from pathlib import Path

import httpx
import pytest

sys.path.append(str(Path(__file__).parents[1] / "runtimes"))
from kubernetes_world import cluster, make, release

from crossfade.cluster.api import Place
from crossfade.cluster.faults import ConflictError
from crossfade.cluster.names import Target
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.testing.router_contract import RouterContract
from crossfade.testing.runtime_contract import all_ready, eventually
from crossfade.traffic.port import Routes
from patience import PATIENCE

TARGET = Target("shop", "production", "api", "shop")
HOST = "shop.example"


async def confirmed(router, routes):
    async with asyncio.timeout(PATIENCE):
        while not await router.confirm(routes):  # noqa: ASYNC110 - the data plane is asked, it does not tell
            await asyncio.sleep(0.02)
    return True


class Patient:
    """As the engine asks: again for a moment, since a controller takes objects up a little later."""

    async def apply(self, routes, *, fence):
        await super().apply(routes, fence=fence)
        async with asyncio.timeout(PATIENCE):
            while not await super().confirm(routes):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)


class ClusterRouterContract(RouterContract):
    """The router's contract, and what it means where nothing is counted. A subclass names its data plane and itself."""

    @classmethod
    def plane(cls):
        """A data plane of the stand-in."""
        raise NotImplementedError

    @classmethod
    def furnish(cls, server):
        """Put what users own into the cluster."""

    def make(self, plane, place):
        """A router, as a Crossfade that was started anew makes it; patient."""
        raise NotImplementedError

    def adopt(self, plane, place):
        """A router that meets an object of somebody else, and that object."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls, tmp_path_factory):
        """The cluster, its data plane, where it is, and the addresses of two pods in each slot."""
        plane, folder = cls.plane(), tmp_path_factory.mktemp("cluster")

        async def start(kubeconfig):
            runtime = make(kubeconfig, folder / "pods")
            await runtime.start("blue", release("1.0.0"), 2)
            await runtime.start("green", release("1.1.0"), 2)
            seen = await eventually(runtime, all_ready(4))
            return {slot: tuple(each.address for each in seen if each.slot == slot) for slot in ("blue", "green")}

        with cluster(plane) as server:
            cls.furnish(server)
            kubeconfig = server.kubeconfig(folder)
            yield server, plane, Place(kubeconfig), asyncio.run(start(kubeconfig))

    @pytest.fixture
    def upstreams(self, world):
        return world[3]

    @pytest.fixture
    def router(self, world):
        self._server, self._plane, self._place, _ = world
        router = self.make(self._plane, self._place)
        yield router
        asyncio.run(self.make(self._plane, self._place).close())
        self._server.do(self._plane.load)

    def again(self, router):  # noqa: ARG002 - all see the same cluster
        return self.make(self._plane, self._place)

    async def visit(self, router, requests, path="/", **headers):
        async with httpx.AsyncClient(trust_env=False, headers={"Host": HOST, **headers}) as client:
            for _ in range(requests):
                assert (await client.get(f"http://{router.address}{path}")).status_code == 200

    async def empty(self, router):
        await router.close()

    async def cut(self, router):  # noqa: ARG002 - there is one
        await asyncio.to_thread(self._server.down)

    async def mend(self, router):  # noqa: ARG002 - there is one
        await asyncio.to_thread(self._server.up)

    def reached(self):
        """How many requests each slot got since this was asked last, by the Service that led there."""
        found = collections.Counter(self._plane.slots())
        self._plane.sent.clear()
        return found

    async def test_every_request_is_counted_once(self, router, upstreams):
        """It counts nothing, and says so instead of inventing zeros."""
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        await self.visit(router, 3)
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
        self.reached()
        await self.visit(router, 160)
        assert 0.08 < self.reached()["green"] / 160 < 0.42  # five standard deviations
        for word, slot in (("always", "green"), ("never", "blue")):
            await self.visit(router, 10, **{"X-Canary": word})
            assert self.reached() == {slot: 10}

    async def test_the_trusted_side_turns_without_a_gap(self, router, upstreams):
        """At 100 % the new version becomes stable, and at no instant does anybody reach the old one."""
        await router.apply(Routes(upstreams, 10_000, "blue"), fence=1)
        versions, done = collections.Counter(), asyncio.Event()

        async def visitor():
            async with httpx.AsyncClient(trust_env=False, headers={"Host": HOST}) as client:
                while not done.is_set():
                    answer = await client.get(f"http://{router.address}/version")
                    versions[answer.status_code, answer.json()["version"]] += 1

        visiting = asyncio.create_task(visitor())
        await router.apply(Routes(upstreams, 10_000, "green"), fence=2)
        await asyncio.sleep(0.2)
        done.set()
        await visiting
        assert await confirmed(router, Routes(upstreams, 10_000, "green"))
        assert set(versions) == {(200, "1.1.0")}

    async def test_weights_changed_by_hand_are_seen_and_repaired(self, router, upstreams):
        routes = Routes(upstreams, 500, "blue")
        await router.apply(routes, fence=1)
        await self.change_by_hand(router)
        seen = await router.observe()
        assert (seen.routes, seen.fence) == (None, 1)
        assert router.kind in seen.detail
        await router.apply(routes, fence=1)
        assert (await router.observe()).routes == routes

    async def test_an_object_of_somebody_else_is_left_alone(self, upstreams, router):  # noqa: ARG002 - its world
        other, theirs = self.adopt(self._plane, self._place)
        await asyncio.to_thread(self._server.do, self._server.store.put, theirs)
        for act in (other.apply(Routes(upstreams, 0, "blue"), fence=1), other.close()):
            with pytest.raises(BadInputError) as refused:
                await act
            assert refused.value.code == "kubernetes.name-taken"
            assert theirs["metadata"]["name"] in refused.value.what
        key = self._server.store.key(theirs)
        assert (await asyncio.to_thread(self._server.do, self._server.store.get, *key))["spec"] == theirs["spec"]
        await asyncio.to_thread(self._server.do, self._server.store.drop, theirs)

    async def test_others_that_go_on_changing_the_object_are_told(self, router, upstreams):
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)

        async def overtaken(*_):
            raise ConflictError("kubernetes.conflict", "the object has been modified")

        router._write = overtaken
        with pytest.raises(CrossfadeError) as told:
            await router.apply(Routes(upstreams, 500, "blue"), fence=2)
        assert (told.value.code, told.value.retry) == ("kubernetes.contended", True)
        assert f"kubectl get {router.kind.lower()} {router._name}" in told.value.next

    async def change_by_hand(self, router):
        """Change a weight, as with kubectl edit."""
        raise NotImplementedError
