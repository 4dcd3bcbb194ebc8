"""What goes wrong in a cluster, and what a person is told: on the stand-in, with real processes as pods."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from kubernetes_gateway import Gateway, IngressNginx
from kubernetes_store import RefusedError
from kubernetes_world import cluster, make, release
from ruamel.yaml import YAML

from crossfade.cluster.api import Place
from crossfade.cluster.names import Target
from crossfade.config.model import Health
from crossfade.config.routers import GatewayApiRouter as Edge
from crossfade.config.routers import IngressNginxRouter as Nginx
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.testing.runtime_contract import all_ready, eventually
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.gateway_api import GatewayApiRouter
from crossfade.traffic.routers.ingress_nginx import IngressNginxRouter
from patience import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.slow]
RULES = next(
    each["rules"]
    for each in YAML(typ="safe").load_all((Path(__file__).parents[2] / "deploy" / "rbac.yaml").read_text())
    if each["kind"] == "Role"
)


@pytest.fixture
def world():
    gateway, ingress = Gateway(), IngressNginx()
    with cluster(gateway, ingress) as server:
        server.gateway, server.ingress = gateway, ingress
        yield server


@pytest.fixture
def runtime(world, tmp_path):
    return make(world.kubeconfig(tmp_path), tmp_path / "pods")


async def outside(function, *arguments):
    return await asyncio.to_thread(function, *arguments)


async def test_a_server_that_is_down_is_told_and_what_runs_goes_on(world, runtime):
    await runtime.start("blue", release(), 1)
    before = await eventually(runtime, all_ready(1))
    await outside(world.down)
    with pytest.raises(UnreachableError) as told:
        await eventually(runtime, lambda _: False)
    assert told.value.code == "kubernetes.unreachable"
    assert told.value.retry
    await outside(world.up)
    assert await eventually(runtime, all_ready(1)) == before


async def test_a_look_costs_nothing_while_all_is_well(world, runtime):
    await runtime.start("blue", release(), 1)
    await eventually(runtime, all_ready(1))
    world.requests.clear()
    for _ in range(20):
        await runtime.observe()
    assert world.requests == []


@pytest.mark.parametrize("how", ["cut", "forgotten"])
async def test_a_watch_that_is_cut_or_too_old_misses_nothing(world, runtime, how):
    await runtime.start("blue", release(), 2)
    seen = await eventually(runtime, all_ready(2))
    if how == "forgotten":
        await outside(world.do, world.forget)
    await outside(world.do, world.cut_watches)
    run = world.kubelet.run_of(seen[0].id)
    await outside(world.do, run.kill, signal.SIGKILL)
    await eventually(runtime, lambda now: all_ready(2)(now) and now[0].restarts == 1)


async def test_a_conflict_is_looked_at_again(world, runtime):
    await runtime.start("blue", release(), 1)
    left = [2]

    def refuse(method, path):
        if method == "PATCH" and "/deployments/" in path and left[0]:
            left[0] -= 1
            raise RefusedError(409, "Conflict", "Operation cannot be fulfilled: the object has been modified")

    world.grudge = refuse
    await runtime.start("blue", release(), 2)
    await eventually(runtime, all_ready(2))
    assert left == [0]
    world.grudge = refuse_always
    with pytest.raises(CrossfadeError) as told:
        await runtime.start("blue", release(), 3)
    assert (told.value.code, told.value.retry) == ("kubernetes.contended", True)


def refuse_always(method, path):
    if method == "PATCH" and "/deployments/" in path:
        raise RefusedError(409, "Conflict", "the object has been modified")


async def test_a_missing_right_is_named_with_the_rule_to_add(world, tmp_path):
    world.tokens["poor"] = [each for each in RULES if each["resources"] != ["services"]]
    poor = make(world.kubeconfig(tmp_path, "poor"), tmp_path / "pods")
    with pytest.raises(BadInputError) as told:
        await poor.start("blue", release(), 1)
    assert told.value.code == "kubernetes.forbidden"
    assert '{apiGroups: [""], resources: ["services"], verbs: ["get"]}' in told.value.next
    world.tokens["unknown"] = None
    stranger = make(world.kubeconfig(tmp_path, "unknown"), tmp_path / "pods")
    del world.tokens["unknown"]
    with pytest.raises(BadInputError) as told:
        await stranger.observe()
    assert told.value.code == "kubernetes.unauthorized"


async def test_the_role_that_we_ship_is_enough_and_not_too_much(world, tmp_path):
    """Everything that both routers and the runtime do works with it, and all of it is used."""
    world.tokens["crossfade"] = RULES
    world.asked.clear()
    file, target = world.kubeconfig(tmp_path, "crossfade"), Target("shop", "production", "api", "shop")
    runtime = make(file, tmp_path / "pods")
    await runtime.start("blue", release("1.0.0", "--never-ready"), 1)
    await eventually(runtime, lambda seen: seen[0].failures > 0 and "warming up" in seen[0].detail)
    await runtime.stop("blue")
    await runtime.start("blue", release(), 2)
    seen = await eventually(runtime, all_ready(2))
    await runtime.start("blue", release(), 1)
    assert [each async for each in runtime.logs()]
    assert await runtime.usage()
    backend = {"service": {"name": target.named("stable"), "port": {"number": 80}}}
    rules = [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    own = {"kind": "Ingress", "metadata": {"name": "shop", "namespace": "shop"}, "spec": {"rules": rules}}
    await outside(world.do, world.store.put, own)
    routes = Routes({"blue": (seen[0].address,), "green": ()}, 0, "blue")
    for router in (
        GatewayApiRouter(Edge(listen=world.gateway.address, gateway="edge"), target, Place(file)),
        IngressNginxRouter(Nginx(listen=world.ingress.address, ingress="shop"), target, Place(file)),
    ):
        for fence in (1, 2):
            await router.apply(routes, fence=fence)
        async with asyncio.timeout(PATIENCE):
            while not await router.confirm(routes):  # noqa: ASYNC110 - the data plane is asked
                await asyncio.sleep(0.05)
        await router.close()
    await runtime.stop("blue")
    granted = {(g, r, v) for rule in RULES for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
    assert world.asked <= granted, sorted(world.asked - granted)
    # Server-side apply makes what is not there, for which a cluster asks for `create` as well.
    made = {("apps", "deployments", "create"), ("", "services", "create")}
    assert granted - made <= world.asked, sorted(granted - world.asked)


async def test_somebody_elses_object_of_our_name_is_left_alone(world, runtime):
    name = Target("shop", "production", "api", "shop").slot("blue")
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {}, "spec": {}}}
    theirs = {"kind": "Deployment", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}
    await outside(world.do, world.store.put, theirs)
    for act in (runtime.start("blue", release(), 1), runtime.stop("blue")):
        with pytest.raises(BadInputError) as told:
            await act
        assert told.value.code == "kubernetes.name-taken"
    there = await outside(world.do, world.store.get, "deployments", "shop", name)
    assert there["spec"] == spec
    assert await runtime.observe() == ()


async def test_an_image_that_cannot_be_had_is_told_with_the_clusters_words(runtime):
    await runtime.start("blue", release(image="shop/api:missing"), 1)
    seen = await eventually(runtime, lambda seen: "ImagePullBackOff" in seen[0].detail)
    assert seen[0].state == "backing-off"
    assert "shop/api:missing" in seen[0].detail
    assert "not found" in seen[0].detail
    await runtime.stop("blue")
    assert await runtime.observe() == ()


async def test_too_much_memory_is_told(world, runtime):
    await runtime.start("blue", release(), 1)
    seen = await eventually(runtime, all_ready(1))
    run = world.kubelet.run_of(seen[0].id)
    for _ in range(2):
        run.oom = True
        await outside(world.do, run.kill, signal.SIGKILL)
        seen = await eventually(runtime, lambda seen: seen[0].restarts > 0 and seen[0].state != "starting")
    await eventually(runtime, lambda seen: "OOMKilled" in seen[0].detail or seen[0].state == "ready")
    status = (await outside(world.do, lambda: run.pod))["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["reason"] == "OOMKilled"


async def test_a_quota_that_is_full_is_told(world, runtime):
    world.controllers[1].quota = 1
    await runtime.start("blue", release(), 3)
    seen = await eventually(
        runtime, lambda seen: len(seen) == 3 and seen[0].state == "ready" and seen[2].state == "gone"
    )
    assert "exceeded quota" in seen[2].detail


async def test_a_node_that_is_gone_is_told_and_stopping_says_what_to_do(world, runtime, monkeypatch):
    await runtime.start("blue", release(grace=1), 1)
    await eventually(runtime, all_ready(1))
    await outside(world.do, world.kubelet.lose_node)
    seen = await eventually(runtime, lambda seen: seen[0].state == "unready")
    assert "does not answer" in seen[0].detail
    monkeypatch.setattr(sys.modules[type(runtime).__module__], "_LEAVE", 0.5)
    with pytest.raises(CrossfadeError) as told:
        await runtime.stop("blue")
    assert told.value.code == "kubernetes.not-gone"
    assert "kubectl delete pod --force" in told.value.next


async def test_shrinking_is_done_when_the_others_are_gone_and_growing_waits_for_nobody(world, runtime, tmp_path):
    """So that whoever asks for fewer asks once, however long they take to drain."""
    slow = release(drain=1.5)
    await runtime.start("blue", slow, 3)
    (first, *_) = await eventually(runtime, all_ready(3))
    await runtime.start("blue", slow, 1)
    (left,) = await runtime.observe()
    assert (left.id, left.state) == (first.id, "ready")
    await runtime.start("blue", slow, 2)
    await eventually(runtime, all_ready(2))
    shrinking = asyncio.create_task(runtime.start("blue", slow, 1))
    await eventually(runtime, lambda seen: seen[-1].state == "stopping")
    again = make(world.kubeconfig(tmp_path), tmp_path / "pods")
    await again.start("blue", slow, 2)
    assert [each.state for each in await again.observe()][-1] == "stopping"
    await shrinking
    await runtime.stop("blue")


async def test_an_unhealthy_pod_is_seen_and_comes_back(world, runtime):
    """It gets no traffic first, and is started again when it stays so."""
    await runtime.start("blue", release(health=Health(interval=1, timeout=2, failures=1)), 1)
    seen = await eventually(runtime, all_ready(1))
    base = world.kubelet.run_of(seen[0].id).base()
    await outside(world.call, ask(world, f"{base}/sick"))
    sick = await eventually(runtime, lambda seen: seen[0].state != "ready" and "no disk" in seen[0].detail)
    assert sick[0].restarts == 0
    await eventually(runtime, lambda seen: seen[0].state == "ready" and seen[0].restarts == 1)


async def test_what_pods_use_is_unknown_where_the_cluster_does_not_measure(world, runtime, tmp_path):
    await runtime.start("blue", release(), 2)
    seen = await eventually(runtime, all_ready(2))
    usage = await runtime.usage()
    assert set(usage) == {each.id for each in seen}
    assert all(0 < each.memory < 2**30 for each in usage.values()), "the pod's proxy counts, too"
    world.metrics.unmeasured = {seen[0].id}
    assert set(await runtime.usage()) == {seen[1].id}
    for missing, code in (("installed", "kubernetes.no-metrics"), ("well", "kubernetes.overloaded")):
        setattr(world.metrics, missing, False)
        with pytest.raises(UnreachableError) as told:
            await runtime.usage()
        assert told.value.code == code
        setattr(world.metrics, missing, True)
    world.tokens["unmeasured"] = [each for each in RULES if each["apiGroups"] != ["metrics.k8s.io"]]
    with pytest.raises(BadInputError) as refused:
        await make(world.kubeconfig(tmp_path, "unmeasured"), tmp_path / "pods").usage()
    assert '{apiGroups: ["metrics.k8s.io"], resources: ["pods"], verbs: ["list"]}' in refused.value.next


async def ask(world, where):
    async with world.kubelet.session.get(where) as answer:
        return answer.status


async def test_placeholders_and_names_reach_the_program(world, runtime):
    variables = {"WHO": "{instance} {version}", "MONEY": "$(HOME) costs $5", "BRACES": "{{x}}"}
    await runtime.start("blue", release("1.0.0+b1", image="shop/api:1", environment=variables), 1)
    seen = await eventually(runtime, all_ready(1))
    run = world.kubelet.run_of(seen[0].id)

    async def environment():
        async with world.kubelet.session.get(f"{run.base()}/environment") as answer:
            return await answer.json(content_type=None)

    found = await outside(world.call, environment())
    assert found["WHO"] == f"{seen[0].id} 1.0.0+b1"
    assert found["MONEY"] == "$(HOME) costs $5"
    assert found["BRACES"] == "{x}"
    assert seen[0].version == "1.0.0+b1"


@pytest.mark.parametrize("text", ["", "nonsense: [", "{}", "contexts: 7"])
def test_a_kubeconfig_that_cannot_be_used_is_told(tmp_path, text):
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(BadInputError) as told:
        asyncio.run(make(str(file), tmp_path / "pods").observe())
    assert told.value.code == "kubernetes.kubeconfig"
    assert str(file) in told.value.where
