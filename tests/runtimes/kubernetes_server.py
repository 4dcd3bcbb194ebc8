"""A stand-in for a cluster's API server, in a thread of the test's process.

It answers what the runtime and the routers rely on: paths, `409 Conflict`, watches with bookmarks and `410 Gone`, label and
field selectors, all ways of writing with the status subresource, and refusals by role. It has no admission, no defaulting
beyond a few fields, no schemas, no discovery and no paging. What it keeps is in `kubernetes_store`.
"""

import asyncio
import json
import threading

from aiohttp import web
from kubernetes_store import KINDS, RefusedError, Store, Write, chooses

from free_ports import free_port


class Server:
    """`with Server() as server`: an API server on loopback; `down` and `up` make it vanish and come back."""

    def __init__(self, *controllers):
        self.port, self.loop = free_port(), asyncio.new_event_loop()
        self.tokens = {"admin": None}
        self.asked, self.requests = set(), []
        self.watching = set()
        self.controllers = controllers
        self.bookmarks = 1.0
        self.grudge = None
        """A function of method and path that may raise RefusedError, for one test."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, folder, token="admin"):  # noqa: S107 - a token that is no secret
        """A file by which the server is reached as the holder of `token`."""
        text = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": token, "namespace": "default"}}],
            "clusters": [{"name": "here", "cluster": {"server": self.url}}],
            "users": [{"name": token, "user": {"token": token}}],
        }  # fmt: skip
        path = folder / f"kubeconfig-{token}"
        path.write_text(json.dumps(text))
        return str(path)

    def __enter__(self):
        self._thread.start()
        self.call(self._begin())
        return self

    def __exit__(self, *_):
        self.call(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def do(self, function, *args):
        """Run `function` where the server runs."""

        async def inside():
            return function(*args)

        return self.call(inside())

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _begin(self):
        self.store = Store()
        for each in self.controllers:
            await each.begin(self)
        await self._listen()

    async def _end(self):
        for each in self.controllers:
            await each.end()
        await self._deafen()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _listen(self):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _deafen(self):
        self.cut_watches()
        await self._runner.cleanup()

    def down(self):
        self.call(self._deafen())

    def up(self):
        self.call(self._listen())

    def cut_watches(self):
        for transport in list(self.watching):
            transport.abort()

    def forget(self):
        """As a server that compacted its history: whoever goes on from before is told 410."""
        self.store.compacted = self.store.version
        self.store.history.clear()

    # -- answering -----------------------------------------------------------------------------------

    async def _answer(self, request):
        try:
            return await self._route(request)
        except RefusedError as refused:
            return web.json_response(refused.body(), status=refused.code)

    async def _route(self, request):
        parts = request.path.strip("/").split("/")
        group = "" if parts[0] == "api" else parts[1]
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if len(rest) < 3 or rest[0] != "namespaces" or rest[2] not in KINDS:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        namespace, plural, name, sub = rest[1], rest[2], *[*rest[3:5], None, None][:2]
        verb = self._verb(request, name)
        self._may(request, group, plural + (f"/{sub}" if sub else ""), verb, namespace)
        if self.grudge is not None:
            self.grudge(request.method, request.path)
        if group == "metrics.k8s.io":
            return self.metrics.serve(request, namespace)
        if plural == "pods" and sub in ("log", "proxy"):
            return await self.kubelet.serve(request, namespace, name, sub, rest[5:])
        match verb:
            case "list":
                return web.json_response(self._list(request, group, plural, namespace))
            case "watch":
                return await self._watch(request, plural, namespace)
            case "get":
                return web.json_response(self.store.get(plural, namespace, name))
            case "delete":
                return web.json_response(self._delete(request, plural, namespace, name))
        asked = Write(
            verb,
            request.headers.get("Content-Type", "").partition(";")[0],
            json.loads(await request.read()),
            request.query.get("fieldManager") or "unknown",
            force=request.query.get("force") == "true",
            sub=sub,
        )
        thing, made = self.store.write(asked, plural, namespace, name)
        return web.json_response(thing, status=201 if made else 200)

    def _verb(self, request, name):
        if request.method == "GET":
            return "get" if name else "watch" if request.query.get("watch") in ("1", "true") else "list"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]

    def _may(self, request, group, resource, verb, namespace):
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise RefusedError(401, "Unauthorized", "Unauthorized")
        self.asked.add((group, resource, verb))
        self.requests.append((verb, resource))
        rules = self.tokens[token]
        if rules is not None and not any(
            group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"] for rule in rules
        ):
            plural, _, sub = resource.partition("/")
            named = f"{plural}{'.' + group if group else ''}" + (f"/{sub}" if sub else "")
            said = f'{named} is forbidden: User "{token}" cannot {verb} resource "{resource}" in API group "{group}" in the namespace "{namespace}"'
            raise RefusedError(403, "Forbidden", said)

    # -- reading -------------------------------------------------------------------------------------

    def _list(self, request, group, plural, namespace):
        chosen = [each for each in self.store.all(plural, namespace) if chooses(request.query, each)]
        version = f"{group}/v1" if group else "v1"
        meta = {"resourceVersion": str(self.store.version)}
        return {"kind": f"{KINDS[plural]}List", "apiVersion": version, "metadata": meta, "items": chosen}

    async def _watch(self, request, plural, namespace):
        since = int(request.query.get("resourceVersion") or self.store.version)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})

        async def send(kind, thing):
            await answer.write(json.dumps({"type": kind, "object": thing}).encode() + b"\n")

        try:
            await answer.prepare(request)
            self.watching.add(request.transport)
            if since < self.store.compacted:
                await send(
                    "ERROR",
                    RefusedError(410, "Expired", f"too old resource version: {since} ({self.store.version})").body(),
                )
                return answer
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 1800))):
                while True:
                    for version, key, kind, thing in [each for each in self.store.history if each[0] > since]:
                        since = version
                        if key[:2] == (plural, namespace) and chooses(request.query, thing):
                            await send(kind, thing)
                    try:
                        async with asyncio.timeout(self.bookmarks), self.store.changed:
                            await self.store.changed.wait()
                    except TimeoutError:
                        if request.query.get("allowWatchBookmarks") and since >= self.store.version:
                            meta = {"resourceVersion": str(since), "creationTimestamp": None}
                            await send("BOOKMARK", {"kind": KINDS[plural], "metadata": meta})
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self.watching.discard(request.transport)
        return answer

    def _delete(self, request, plural, namespace, name):
        thing = self.store.get(plural, namespace, name)
        if plural == "pods":
            self.kubelet.leave(thing, request.query.get("gracePeriodSeconds"))
        else:
            self.store.drop(thing)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
