"""The stand-in's controllers: Deployments become pods.

There are no ReplicaSets: a changed template replaces nothing. Pods beyond the wanted number end in the order of a real one.
"""

import asyncio
import copy
import secrets


class Deployments:
    """As many pods as each Deployment wants."""

    async def begin(self, server):
        self.server, self.store = server, server.store
        self.quota = None
        self._dirty = asyncio.Event()
        self.store.hooks.append(self._changed)
        self._task = asyncio.create_task(self._run())

    async def end(self):
        self._task.cancel()

    def _changed(self, key, *_):
        if key[0] in ("deployments", "pods"):
            self._dirty.set()

    async def _run(self):
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await asyncio.sleep(0.01)  # the controllers of a cluster are not at once there either
            for each in self.store.all("deployments"):
                self._see_to(each)
            self._collect()

    def _see_to(self, deployment):
        pods = [p for p in self._pods_of(deployment) if "deletionTimestamp" not in p["metadata"]]
        wanted, meta = deployment["spec"].get("replicas", 1), deployment["metadata"]
        conditions = []
        for _ in range(wanted - len(pods)):
            if self.quota is not None and len(self.store.all("pods", meta["namespace"])) >= self.quota:
                said = f'pods "{meta["name"]}-" is forbidden: exceeded quota: pods, requested: pods=1, used: pods={self.quota}, limited: pods={self.quota}'
                conditions = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}]
                break
            self._make(deployment)
        for each in sorted(pods, key=_leaves_first)[: max(0, len(pods) - wanted)]:
            self.server.kubelet.leave(each, None)
        pods = self._pods_of(deployment)
        ready = sum(is_ready(each) for each in pods)
        self.store.status(
            deployment,
            observedGeneration=meta["generation"],
            replicas=len(pods),
            readyReplicas=ready,
            conditions=conditions,
        )

    def _pods_of(self, deployment):
        uid = deployment["metadata"]["uid"]
        return [
            p for p in self.store.all("pods") if uid in (o["uid"] for o in p["metadata"].get("ownerReferences", ()))
        ]

    def _make(self, deployment):
        meta, template = deployment["metadata"], copy.deepcopy(deployment["spec"]["template"])
        owner = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }
        name = f"{meta['name'][:47]}-{meta['uid'][:8]}-{secrets.token_hex(3)[:5]}"
        own = {"name": name, "namespace": meta["namespace"], "ownerReferences": [owner]}
        self.store.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**template["metadata"], **own},
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            }
        )

    def _collect(self):
        known = {each["metadata"]["uid"] for each in self.store.all("deployments")}
        for pod in self.store.all("pods"):
            owners = {each["uid"] for each in pod["metadata"].get("ownerReferences", ())}
            if owners and not owners & known and "deletionTimestamp" not in pod["metadata"]:
                self.server.kubelet.leave(pod, None)


def _leaves_first(pod):
    """The order in which a ReplicaSet ends pods: not ready, cheap, young."""
    cost = int(pod["metadata"].get("annotations", {}).get("controller.kubernetes.io/pod-deletion-cost", 0))
    return is_ready(pod), cost, [-ord(c) for c in pod["metadata"]["creationTimestamp"]]


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))
