"""The ingress-nginx router keeps the contract, on a stand-in cluster whose ingress obeys canary annotations."""

import asyncio

import pytest
from cluster_router_contract import TARGET, ClusterRouterContract, Patient
from kubernetes_gateway import IngressNginx

from crossfade.config.routers import IngressNginxRouter as Settings
from crossfade.core.errors import BadInputError
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.ingress_nginx import PREFIX, IngressNginxRouter

pytestmark = [pytest.mark.real, pytest.mark.slow]


def ingress(name, service=TARGET.named("stable")):  # noqa: B008 - a name
    backend = {"service": {"name": service, "port": {"number": 80}}}
    rule = {"host": "shop.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    meta = {"name": name, "namespace": "shop"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}}


class PatientIngress(Patient, IngressNginxRouter):
    async def apply(self, routes, *, fence):
        await super().apply(routes, fence=fence)
        await asyncio.sleep(0.1)  # the controller does not tell what it has loaded


class TestIngressNginx(ClusterRouterContract):
    @classmethod
    def plane(cls):
        return IngressNginx()

    @classmethod
    def furnish(cls, server):
        server.do(server.store.put, ingress("shop"))

    def make(self, plane, place):
        return PatientIngress(Settings(listen=plane.address, ingress="shop"), TARGET, place)

    def adopt(self, plane, place):
        theirs = ingress("web-crossfade-canary")
        return IngressNginxRouter(Settings(listen=plane.address, ingress="web"), TARGET, place), theirs

    async def change_by_hand(self, router):
        await router._cluster.merge(router._path, {"metadata": {"annotations": {f"{PREFIX}canary-weight": "9000"}}})

    async def test_an_ingress_that_leads_elsewhere_is_told_what_to_change(self, router, upstreams):  # noqa: ARG002 - its world
        elsewhere = ingress("other", "legacy")
        await asyncio.to_thread(self._server.do, self._server.store.put, elsewhere)
        other = IngressNginxRouter(Settings(ingress="other"), TARGET, self._place)
        with pytest.raises(BadInputError) as refused:
            await other.apply(Routes(upstreams, 0, "blue"), fence=1)
        await asyncio.to_thread(self._server.do, self._server.store.drop, elsewhere)
        assert refused.value.code == "ingress.elsewhere"
        assert TARGET.named("stable") in refused.value.next
        with pytest.raises(BadInputError) as missing:
            await other.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert missing.value.code == "ingress.missing"
