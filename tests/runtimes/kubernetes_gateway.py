"""Data planes of the stand-in cluster: a gateway that obeys HTTPRoutes, and an ingress-nginx that obeys canary Ingresses.

Both take up what is written some hundredths of a second later, as real ones do. The gateway matches host names,
paths (prefix or exact) and exact headers, the most specific first and of equals the oldest route, as the Gateway API
says; filters: redirect and mirror; backends by weight to the ready pods behind a Service. TLS, retries, timeouts and
listeners are not part of it. The ingress knows weight, weight-total and canary-by-header, one path and no hosts.
"""

import asyncio
import copy
import random

import aiohttp
from aiohttp import web
from kubernetes_controllers import is_ready

from free_ports import free_port

LATE = 0.03


class DataPlane:
    plural = ""

    async def begin(self, server):
        self.store, self.loaded, self.sent, self.failed = server.store, [], [], []
        self.port, self.refuses, self.deaf = free_port(), "", False
        self.random = random.Random(7)
        self.session = aiohttp.ClientSession(auto_decompress=False)
        self.store.hooks.append(self._changed)
        self._dirty = asyncio.Event()
        self._task = asyncio.create_task(self._follow())
        await self.open()

    async def open(self):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def shut(self):
        await self._runner.cleanup()

    async def end(self):
        self._task.cancel()
        await self.shut()
        await self.session.close()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def slots(self):
        """The slot that each request went to."""
        services = {each["metadata"]["name"]: each for each in self.store.all("services")}
        return [services[name]["spec"]["selector"]["crossfade.slot"] for name in self.sent]

    def _changed(self, key, *_):
        if key[0] == self.plural:
            self._dirty.set()

    async def _follow(self):
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await asyncio.sleep(LATE)
            if not self.deaf:
                self.load()

    async def _serve(self, request):
        namespace, rule = self.choose(request)
        if rule is None:
            return web.Response(status=404, text="no route")
        for each in rule.get("filters", ()):
            if each["type"] == "RequestRedirect":
                asked = each["requestRedirect"]
                where = f"http://{asked['hostname']}{request.path}"
                return web.Response(status=asked["statusCode"], headers={"Location": where})
            copy_of = each["requestMirror"]["fraction"]
            if self.random.randrange(copy_of["denominator"]) < copy_of["numerator"]:
                copied = self.forward(request, namespace, each["requestMirror"]["backendRef"], b"")
                self._mirrored = asyncio.ensure_future(copied)
        backends = [each for each in rule.get("backendRefs", ()) if each.get("weight", 1)]
        if not backends:
            return web.Response(status=500, text="no backends")
        chosen = self.random.choices(backends, [each.get("weight", 1) for each in backends])[0]
        return await self.forward(request, namespace, chosen, await request.read())

    async def forward(self, request, namespace, backend, body):
        self.sent.append(backend["name"])
        service = next(
            (each for each in self.store.all("services", namespace) if each["metadata"]["name"] == backend["name"]),
            {"spec": {"selector": {"nobody": ""}}},
        )
        pods = [each for each in self.store.all("pods", namespace) if behind(service, each)]
        if not pods:
            self.failed.append((backend["name"], "nobody is ready"))
            return web.Response(status=503, text="nobody is ready")
        pod = self.random.choice(pods)
        port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
        where = f"http://{pod['status']['podIP']}:{port}{request.path_qs}"
        try:
            async with self.session.request(request.method, where, data=body, allow_redirects=False) as answer:
                kept = {
                    name: answer.headers[name] for name in ("Content-Type", "X-App-Version") if name in answer.headers
                }
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except aiohttp.ClientError as error:
            self.failed.append((pod["metadata"]["name"], repr(error)))
            return web.Response(status=502, text=str(error))


def behind(service, pod):
    """Whether requests to the service may reach the pod: as EndpointSlices say, it is ready and was not told to end."""
    meta, selector = pod["metadata"], service["spec"]["selector"].items()
    return selector <= meta.get("labels", {}).items() and is_ready(pod) and "deletionTimestamp" not in meta


class Gateway(DataPlane):
    """An implementation of the Gateway API."""

    plural = "httproutes"

    def load(self):
        self.loaded = copy.deepcopy(self.store.all("httproutes"))
        for each in self.loaded:
            names = {s["metadata"]["name"] for s in self.store.all("services", each["metadata"]["namespace"])}
            wanted = {b["name"] for rule in each["spec"]["rules"] for b in rule.get("backendRefs", ())}
            lost = ", ".join(sorted(wanted - names))
            conditions = [
                self._condition(each, "Accepted", bad=self.refuses, reason="NotAllowedByListeners"),
                self._condition(
                    each, "ResolvedRefs", bad=lost and f"service {lost} not found", reason="BackendNotFound"
                ),
            ]
            parent = {
                "parentRef": each["spec"]["parentRefs"][0],
                "controllerName": "test/gateway",
                "conditions": conditions,
            }
            self.store.status(each, parents=[parent])

    def _condition(self, route, kind, *, bad, reason):
        generation = route["metadata"]["generation"]
        status, why = ("False", reason) if bad else ("True", kind)
        return {"type": kind, "status": status, "reason": why, "message": bad, "observedGeneration": generation}

    def choose(self, request):
        host, found = request.host.partition(":")[0], []
        for route in self.loaded:
            meta, named = route["metadata"], named_by(route["spec"].get("hostnames"), host)
            if named is None:
                continue
            older = meta["creationTimestamp"], f"{meta['namespace']}/{meta['name']}"
            for number, rule in enumerate(route["spec"]["rules"]):
                for match in rule.get("matches") or [{}]:
                    headers, along = match.get("headers", ()), leads(match.get("path"), request.path)
                    if along is not None and all(request.headers.get(e["name"]) == e["value"] for e in headers):
                        found.append(((-named, *along, -len(headers), *older, number), meta["namespace"], rule))
        return min(found, key=lambda each: each[0])[1:] if found else (None, None)


def named_by(hostnames, host):
    """How exactly a route's host names say `host`; None where they do not."""
    fitting = [
        len(each.removeprefix("*")) + (0 if each.startswith("*") else 1000)
        for each in hostnames or ("*",)
        if each in ("*", host) or (each.startswith("*.") and host.endswith(each[1:]))
    ]
    return max(fitting, default=None)


def leads(wanted, path):
    """How exactly a match says `path`, the most exact being the least; None where it does not."""
    kind, value = (wanted or {}).get("type", "PathPrefix"), (wanted or {}).get("value", "/")
    if kind == "Exact":
        return (0, -len(value)) if path == value else None
    prefix = value.rstrip("/")
    return (1, -len(prefix)) if path == prefix or path.startswith(f"{prefix}/") else None


class IngressNginx(DataPlane):
    """An implementation of ingress-nginx' canary annotations."""

    plural = "ingresses"

    def load(self):
        self.loaded = copy.deepcopy(self.store.all("ingresses"))

    def choose(self, request):
        prefix = "nginx.ingress.kubernetes.io/"
        namespace, main, rule = None, None, None
        for each in self.loaded:
            namespace = each["metadata"]["namespace"]
            notes = each["metadata"].get("annotations") or {}
            backend = each["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"]
            if notes.get(f"{prefix}canary") != "true":
                main = backend
                continue
            said = request.headers.get(notes.get(f"{prefix}canary-by-header", ""))
            weight, total = int(notes[f"{prefix}canary-weight"]), int(notes.get(f"{prefix}canary-weight-total", 100))
            if said == "always" or (said != "never" and self.random.randrange(total) < weight):
                rule = {"backendRefs": [{"name": backend}]}
        return namespace, rule or (main and {"backendRefs": [{"name": main}]})
