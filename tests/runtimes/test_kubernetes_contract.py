"""The Kubernetes runtime keeps the contract, on pods that are processes of a stand-in cluster."""

import asyncio
import itertools
import signal

import pytest
from kubernetes_world import cluster, make, release

from crossfade.testing.runtime_contract import RuntimeContract, _collect, all_ready, eventually

pytestmark = [pytest.mark.real, pytest.mark.slow]
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server():
    with cluster() as server:
        yield server


class TestKubernetesRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self, server, tmp_path):
        namespace = f"shop-{next(_NUMBERS)}"
        self._server = server
        self._make = lambda: make(server.kubeconfig(tmp_path), tmp_path / "pods", namespace=namespace)
        yield self._make()

        async def stop():
            for slot in ("blue", "green"):
                await self._make().stop(slot)

        asyncio.run(stop())
        left = [each["metadata"]["name"] for each in server.do(server.store.all, "pods", namespace)]
        assert not left, f"pods left behind: {left}"

    def release(self, version):
        return release(version)

    def release_never_ready(self, version):
        return release(version, "--never-ready")

    def release_that_ends(self, version):
        return release(version, "--exit", "3")

    def again(self, runtime):  # noqa: ARG002 - all runtimes of the fixture share one place
        return self._make()

    async def crash(self, runtime, instance):  # noqa: ARG002 - its name is enough here
        await asyncio.to_thread(self._server.do, lambda: self._server.kubelet.run_of(instance.id).kill(signal.SIGKILL))

    async def test_logs_of_both_streams_in_order_of_time(self, runtime):
        """As the contract has it, but for the streams: Kubernetes does not tell them apart."""
        await runtime.start("blue", self.release("1.0.0"), 2)
        seen = await eventually(runtime, all_ready(2))
        lines = await _collect(
            runtime, lambda lines: len({each.instance for each in lines if "hello" in each.text}) == 2
        )
        assert {each.instance for each in lines} == {each.id for each in seen}
        assert {"a warning"} <= {each.text for each in lines}
        assert [each.at for each in lines] == sorted(each.at for each in lines)
        await runtime.stop("blue")
        ended = [each async for each in runtime.logs(slot="blue", lines=1)]
        assert sorted(each.instance for each in ended) == sorted(each.id for each in seen)
        assert [each async for each in runtime.logs(slot="green")] == []
