"""A stand-in for a cluster's API server, in a thread of the test's process.

It keeps what the runtime and the routers rely on: paths, `resourceVersion` and `409 Conflict`, generations, watches with
bookmarks and `410 Gone`, label and field selectors, server-side apply, merge and JSON patches, the status subresource,
and refusals by role. It has no admission, no defaulting beyond a few fields, no schemas, no discovery and no paging.
"""

import asyncio
import contextlib
import copy
import json
import threading
import uuid
from datetime import UTC, datetime

import kubernetes_apply as ssa
from aiohttp import web

from free_ports import free_port

KINDS = {
    "deployments": "Deployment", "pods": "Pod", "services": "Service", "events": "Event", "ingresses": "Ingress",
    "httproutes": "HTTPRoute", "gateways": "Gateway",
}  # fmt: skip
WITH_STATUS = ("deployments", "pods", "httproutes", "gateways", "ingresses", "services")


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class RefusedError(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason = code, reason

    def body(self):
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": str(self), "reason": self.reason, "code": self.code,
        }  # fmt: skip


class Store:
    """All objects, each change with a version of its own, and whoever watches them."""

    def __init__(self):
        self.objects, self.version, self.history, self.compacted = {}, 100, [], 0
        self.changed = asyncio.Condition()
        self.hooks = []

    def key(self, thing):
        plural = next(plural for plural, kind in KINDS.items() if kind == thing["kind"])
        return plural, thing["metadata"]["namespace"], thing["metadata"]["name"]

    def get(self, plural, namespace, name):
        try:
            return self.objects[plural, namespace, name]
        except KeyError:
            group = {"deployments": ".apps", "httproutes": ".gateway.networking.k8s.io"}.get(plural, "")
            raise RefusedError(404, "NotFound", f'{plural}{group} "{name}" not found') from None

    def all(self, plural, namespace=None):
        return [o for (p, n, _), o in self.objects.items() if p == plural and namespace in (None, n)]

    def put(self, thing):
        """Keep `thing` as the newest; the same as before changes nothing."""
        key = self.key(thing)
        before = self.objects.get(key)
        meta = thing["metadata"]
        if before is None:
            meta.update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
        else:
            for field in ("uid", "creationTimestamp", "generation", "resourceVersion"):
                meta[field] = before["metadata"][field]
            if thing == before:
                return before
            if {k: v for k, v in thing.items() if k not in ("metadata", "status")} != {
                k: v for k, v in before.items() if k not in ("metadata", "status")
            }:
                meta["generation"] += 1
        return self._keep(key, thing, "ADDED" if before is None else "MODIFIED")

    def drop(self, thing):
        key = self.key(thing)
        if self.objects.pop(key, None) is not None:
            self._keep(key, copy.deepcopy(thing), "DELETED")

    def _keep(self, key, thing, kind):
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        if kind != "DELETED":
            self.objects[key] = thing
        self.history.append((self.version, key, kind, copy.deepcopy(thing)))
        for hook in self.hooks:
            hook(key, kind, thing)
        self._wake = asyncio.ensure_future(self.wake())
        return thing

    async def wake(self):
        async with self.changed:
            self.changed.notify_all()

    def status(self, thing, **fields):
        """What a controller writes."""
        made = copy.deepcopy(self.objects.get(self.key(thing)))
        if made is not None:
            made.setdefault("status", {}).update(copy.deepcopy(fields))
            self.put(made)


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
        made, code = self._write(verb, request, await request.read(), plural, namespace, name, sub)
        return web.json_response(made, status=code)

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

    # -- writing -------------------------------------------------------------------------------------

    def _write(self, verb, request, body, *place):
        plural, namespace, name, sub = place
        manager = request.query.get("fieldManager") or "unknown"
        kind = request.headers.get("Content-Type", "").partition(";")[0]
        given = json.loads(body)
        if verb == "create":
            name = given["metadata"]["name"]
            if (plural, namespace, name) in self.store.objects:
                raise RefusedError(409, "AlreadyExists", f'{plural} "{name}" already exists')
        live = self.store.objects.get((plural, namespace, name))
        if live is None and verb != "create" and kind != "application/apply-patch+yaml":
            self.store.get(plural, namespace, name)
        made = self._made(verb, kind, given, live, request=request, manager=manager)
        wanted = made["metadata"].get("resourceVersion")
        if wanted and (live is None or wanted != live["metadata"]["resourceVersion"]):
            said = f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; please apply your changes to the latest version and try again'
            raise RefusedError(409, "Conflict", said)
        if live is not None and plural in WITH_STATUS:
            made = (
                {**live, "status": made.get("status", {})}
                if sub == "status"
                else {**made, "status": live.get("status", {})}
            )
        if kind != "application/apply-patch+yaml":
            made = ssa.changed(live, made, manager)
        made["metadata"]["namespace"] = namespace
        check(plural, live, made)
        return self.store.put(made), 201 if live is None else 200

    def _made(self, verb, kind, given, live, *, request, manager):
        if verb in ("create", "update"):
            return copy.deepcopy(given)
        if kind == "application/apply-patch+yaml":
            try:
                made = ssa.apply(live, given, manager, force=request.query.get("force") == "true")
            except ssa.ConflictError as error:
                raise RefusedError(409, "Conflict", str(error)) from None
            made["metadata"]["resourceVersion"] = given["metadata"].get("resourceVersion", "")
            return made
        made = copy.deepcopy(live)
        if kind == "application/merge-patch+json":
            made = merged(made, given)
            made["metadata"]["resourceVersion"] = given.get("metadata", {}).get("resourceVersion", "")
        elif kind == "application/json-patch+json":
            for operation in given:
                patched(made, operation)
            made["metadata"]["resourceVersion"] = ""
        else:
            raise RefusedError(
                415, "UnsupportedMediaType", f"the body of the request was in an unknown format - {kind}"
            )
        return made

    def _delete(self, request, plural, namespace, name):
        thing = self.store.get(plural, namespace, name)
        if plural == "pods":
            self.kubelet.leave(thing, request.query.get("gracePeriodSeconds"))
        else:
            self.store.drop(thing)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


def chooses(query, thing):
    labels = thing["metadata"].get("labels") or {}
    for wanted in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = wanted.partition("=")
        if labels.get(name) != value.lstrip("="):
            return False
    for wanted in filter(None, query.get("fieldSelector", "").split(",")):
        path, _, value = wanted.partition("=")
        found = thing
        for step in path.split("."):
            found = found.get(step) or {}
        if found != value:
            return False
    return True


def merged(live, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    made = dict(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made


def patched(thing, operation):
    """One operation of RFC 6902, as far as it is used: test, replace, add, remove."""
    *way, last = [each.replace("~1", "/").replace("~0", "~") for each in operation["path"].strip("/").split("/")]
    for step in way:
        thing = thing[int(step)] if isinstance(thing, list) else thing[step]
    place = (len(thing) if last == "-" else int(last)) if isinstance(thing, list) else last
    match operation["op"]:
        case "test":
            if thing[place] != operation["value"]:
                raise RefusedError(
                    422, "Invalid", f"the server rejected our request: testing value {operation['path']} failed"
                )
        case "remove":
            del thing[place]
        case "add" if isinstance(thing, list):
            thing.insert(place, operation["value"])
        case _:
            thing[place] = operation["value"]


def check(plural, live, made):
    name = made["metadata"]["name"]
    if len(name) > 63 or name != name.lower():
        raise RefusedError(422, "Invalid", f'{plural} "{name}" is invalid: metadata.name: Invalid value')
    for value in (made["metadata"].get("labels") or {}).values():
        if len(value) > 63 or set(value) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"):
            raise RefusedError(
                422, "Invalid", f'{plural} "{name}" is invalid: metadata.labels: Invalid value: "{value}"'
            )
    if plural == "deployments" and live and live["spec"]["selector"] != made["spec"]["selector"]:
        raise RefusedError(422, "Invalid", f'Deployment.apps "{name}" is invalid: spec.selector: field is immutable')


__all__ = ["RefusedError", "Server", "Store", "contextlib", "now"]
