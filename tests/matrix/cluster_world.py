"""A component in a stand-in cluster, behind objects of the cluster, judged by a real Prometheus."""

from __future__ import annotations

import json

from engine_world import World
from kubernetes_world import PORT

from crossfade.cluster.names import VERSION, Target
from crossfade.config.metrics import PrometheusMetrics
from crossfade.config.model import Drain, Health, Judge
from crossfade.config.runtimes import KubernetesRuntime
from crossfade.config.strategies import Canary, Smoke, Stage


class Discovery:
    """Tells Prometheus of every pod that has an address, with the labels that a scrape configuration makes of its own.

    As `role: pod` does of service discovery, which not every build of Prometheus has.
    """

    def __init__(self, targets):
        self._targets = targets

    async def begin(self, server):
        server.store.hooks.append(self._changed)

    async def end(self):
        pass

    def _changed(self, key, kind, thing):
        if key[0] != "pods":
            return
        meta, address = thing["metadata"], thing.get("status", {}).get("podIP")
        file = self._targets / f"{meta['name']}.json"
        if kind == "DELETED":
            file.unlink(missing_ok=True)
        elif address and not file.exists():
            labels = {"namespace": key[1], "pod": key[2], "version": meta["annotations"][VERSION]}
            draft = file.with_suffix(".draft")
            draft.write_text(json.dumps([{"targets": [f"{address}:{PORT}"], "labels": labels}]))
            draft.replace(file)


def ingress(namespace):
    """The user's own, which leads to the Service that Crossfade keeps."""
    name = Target("p", "production", "shop", namespace).named("stable")
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}
    meta, spec = {"name": "shop", "namespace": namespace}, {"rules": [{"http": {"paths": [path]}}]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


class ClusterWorld(World):
    """One component in a namespace of its own."""

    def __init__(self, place, *, kubeconfig, namespace, router, prometheus):
        place.mkdir()
        super().__init__(place)
        series = f'app_requests_total{{namespace="{namespace}",version="{{version}}"}}'
        errors = series.replace("{name", '{code="5xx",name', 1)
        self.settings |= {
            "runtime": KubernetesRuntime(kubeconfig=kubeconfig, namespace=namespace),
            "router": router,
            "metrics": PrometheusMetrics(url=prometheus.url, requests=series, errors=errors),
            "strategy": Canary(
                steps=(Stage(weight=2500), Stage(weight=5000)), watch=2, final_watch=0, hold=0, max_extension=120,
                smoke=(Smoke(path="/version", contains="version"),),
            ),
            # Prometheus takes up what it discovers every five seconds.
            "judge": Judge(
                bucket=1, warmup=0, guard_window=2, guard_requests=5, min_requests=10, blind_after=40, latency=False
            ),
        }  # fmt: skip

    def deploy(self, version, flags=(), **workload):
        inside = {
            "image": "shop/api:{version}",
            "port": PORT,
            "command": ("{port}", *flags),
            "health": Health(interval=1, timeout=2),
            "drain": Drain(timeout=1, grace=2),
        }
        return super().deploy(version, flags, **inside, **workload)

    async def killed_at(self, *boundaries):
        """An engine that ends by SIGKILL at each of these; whoever comes after it does not."""
        for each in self.engines:
            await each.stop()
        return await self.engine(*boundaries)
