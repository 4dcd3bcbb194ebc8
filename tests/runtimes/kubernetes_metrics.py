"""The stand-in's metrics.k8s.io: what the processes of pods really use, told as metrics-server tells it.

A real one measures every fifteen seconds, and knows a new pod only after that; this one measures when it is asked.
"""

import time

import psutil
from aiohttp import web
from kubernetes_store import RefusedError, chooses, now


class Metrics:
    async def begin(self, server):
        self.server, self.installed, self.well, self.unmeasured = server, True, True, set()
        server.metrics = self

    async def end(self):
        pass

    def serve(self, request, namespace):
        if not self.installed:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        if not self.well:
            raise RefusedError(503, "ServiceUnavailable", "the server is currently unable to handle the request")
        pods = [each for each in self.server.store.all("pods", namespace) if chooses(request.query, each)]
        items = [found for each in pods if (found := self._measured(each)) is not None]
        kinds = {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1"}
        return web.json_response({**kinds, "metadata": {}, "items": items})

    def _measured(self, pod):
        meta = pod["metadata"]
        run = self.server.kubelet.runs.get((meta["namespace"], meta["name"]))
        if run is None or run.process is None or meta["name"] in self.unmeasured:
            return None
        try:
            process = psutil.Process(run.process.pid)
            spent, memory = process.cpu_times(), process.memory_info().rss
            share = (spent.user + spent.system) / max(0.001, time.time() - process.create_time())
        except psutil.Error:
            return None
        usage = {"cpu": f"{round(share * 1e9)}n", "memory": f"{memory // 1024}Ki"}
        named = {name: meta[name] for name in ("name", "namespace", "labels")}
        containers = [{"name": "proxy", "usage": {"cpu": "1", "memory": "1Gi"}}, {"name": "app", "usage": usage}]
        return {"metadata": named, "timestamp": now(), "window": "15s", "containers": containers}
