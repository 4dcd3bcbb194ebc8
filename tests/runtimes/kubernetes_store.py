"""What the stand-in for a cluster keeps: objects with versions and generations, who watches them, and what a write makes of one.

Server-side apply is in `kubernetes_apply`; merge patches, JSON patches, conflicts and selectors are here.
"""

import asyncio
import copy
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import kubernetes_apply as ssa

APPLY, MERGE, JSON = (f"application/{each}" for each in ("apply-patch+yaml", "merge-patch+json", "json-patch+json"))
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

    def write(self, asked, plural, namespace, name):
        """Carry out `asked`; the object, and whether it was made."""
        if asked.verb == "create":
            name = asked.given["metadata"]["name"]
            if (plural, namespace, name) in self.objects:
                raise RefusedError(409, "AlreadyExists", f'{plural} "{name}" already exists')
        live = self.objects.get((plural, namespace, name))
        if live is None and asked.verb != "create" and asked.kind != APPLY:
            self.get(plural, namespace, name)
        made = asked.made_of(live)
        wanted = made["metadata"].get("resourceVersion")
        if wanted and (live is None or wanted != live["metadata"]["resourceVersion"]):
            said = f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; please apply your changes to the latest version and try again'
            raise RefusedError(409, "Conflict", said)
        if live is not None and plural in WITH_STATUS:
            made = (
                {**live, "status": made.get("status", {})}
                if asked.sub == "status"
                else {**made, "status": live.get("status", {})}
            )
        if asked.kind != APPLY:
            made = ssa.changed(live, made, asked.manager)
        made["metadata"]["namespace"] = namespace
        check(plural, live, made)
        return self.put(made), live is None


@dataclass(frozen=True)
class Write:
    """What somebody wants to be written: `kind` is the content type, `sub` the subresource."""

    verb: str
    kind: str
    given: dict
    manager: str
    force: bool = False
    sub: str | None = None

    def made_of(self, live):
        if self.verb in ("create", "update"):
            return copy.deepcopy(self.given)
        if self.kind == APPLY:
            try:
                made = ssa.apply(live, self.given, self.manager, force=self.force)
            except ssa.ConflictError as error:
                raise RefusedError(409, "Conflict", str(error)) from None
            made["metadata"]["resourceVersion"] = self.given["metadata"].get("resourceVersion", "")
            return made
        made = copy.deepcopy(live)
        if self.kind == MERGE:
            made = merged(made, self.given)
            made["metadata"]["resourceVersion"] = self.given.get("metadata", {}).get("resourceVersion", "")
        elif self.kind == JSON:
            for operation in self.given:
                patched(made, operation)
            made["metadata"]["resourceVersion"] = ""
        else:
            said = f"the body of the request was in an unknown format - {self.kind}"
            raise RefusedError(415, "UnsupportedMediaType", said)
        return made


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
