"""What a file must say for the adapters of a cluster, and whose objects they touch: told before anything is written."""

import pytest

from crossfade.cluster.api import path
from crossfade.cluster.faults import ConflictError
from crossfade.cluster.names import Target
from crossfade.cluster.objects import looking_again, ours
from crossfade.config.model import Component, Deployment, Environment
from crossfade.config.routers import GatewayApiRouter, IngressNginxRouter
from crossfade.config.runtimes import KubernetesRuntime, ProcessRuntime
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.engine.site import RealSites

TARGET = Target("shop", "production", "api", "shop")
ROUTERS = (GatewayApiRouter(listen=":80", gateway="edge"), IngressNginxRouter(listen=":80", ingress="shop"))


def deployment(router, runtime):
    return Deployment(
        project="shop", component="api", environment="production", root="/", state="/nowhere",
        workload=Component(image="shop/api:{version}", port=8000), instances=1,
        settings=Environment(router=router, runtime=runtime),
    )  # fmt: skip


@pytest.mark.parametrize("router", ROUTERS, ids=lambda router: router.kind)
def test_a_router_of_the_cluster_needs_instances_there(router):
    with pytest.raises(BadInputError) as told:
        RealSites().site(deployment(router, ProcessRuntime()))
    assert told.value.code == "router.no-cluster"
    assert router.kind in told.value.what
    assert RealSites().site(deployment(router, KubernetesRuntime())).address == "127.0.0.1:80"


def test_a_route_needs_its_gateway():
    with pytest.raises(BadInputError) as told:
        RealSites().site(deployment(GatewayApiRouter(listen=":80"), KubernetesRuntime()))
    assert told.value.code == "gateway.no-gateway"


class OneObject:
    """Answers every question with the same object."""

    def __init__(self, thing):
        self._thing = thing

    async def get(self, _):
        return self._thing


@pytest.mark.parametrize(
    "labels",
    [None, {}, {"crossfade.component": "api"}, {**TARGET.labels, "crossfade.environment": "staging"}],
    ids=["none", "empty", "some", "another environment's"],
)
async def test_only_what_has_all_of_our_labels_is_ours(labels):
    where, meta = path("/api/v1", "shop", "services", "x"), {"name": "x", "labels": labels}
    with pytest.raises(BadInputError) as told:
        await ours(OneObject({"kind": "Service", "metadata": meta}), TARGET, where, instead="call it y")
    assert (told.value.code, told.value.next) == ("kubernetes.name-taken", "call it y")
    assert told.value.what == "the name x is taken: a Service is there that is not ours"


async def test_what_is_ours_or_is_not_there_is_no_fault():
    thing = {"kind": "Service", "metadata": {"name": "x", "labels": {**TARGET.labels, "team": "shop"}}}
    assert await ours(OneObject(thing), TARGET, "/x") == thing
    assert await ours(OneObject(None), TARGET, "/x") is None


@pytest.mark.parametrize("faster", [0, 1, 4])
async def test_whoever_is_overtaken_looks_again(faster):
    looks = []

    async def attempt():
        looks.append("look")
        if len(looks) <= faster:
            raise ConflictError("kubernetes.conflict", "modified")

    await looking_again(attempt, TARGET, "Deployment", "x")
    assert len(looks) == faster + 1


async def test_whoever_is_always_overtaken_says_how_to_find_out_by_whom():
    async def attempt():
        raise ConflictError("kubernetes.conflict", "modified")

    with pytest.raises(CrossfadeError) as told:
        await looking_again(attempt, TARGET, "HTTPRoute", "shop-route")
    assert (told.value.code, told.value.retry) == ("kubernetes.contended", True)
    assert told.value.next == "see who: kubectl get httproute shop-route --show-managed-fields -o yaml"


async def test_other_faults_are_told_at_once():
    async def attempt():
        raise BadInputError("kubernetes.forbidden", "no")

    with pytest.raises(BadInputError):
        await looking_again(attempt, TARGET, "HTTPRoute", "shop-route")
