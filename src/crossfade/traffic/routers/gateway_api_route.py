"""The HTTPRoute of one target: from routes to rules. Pure.

Four rules: our own question, answered by the gateway itself with a redirect whose host names the routes in force, so
that it proves what the data plane has loaded and reaches no application; the override header, to either side; and
everybody else, by weight.
"""

from __future__ import annotations

from typing import Any, Final

from crossfade.cluster.names import ROUTES, SERVICE_PORT, Target
from crossfade.cluster.record import accepted_of, digest
from crossfade.config.routers import GatewayApiRouter as Settings
from crossfade.core.durations import FULL
from crossfade.traffic.port import SLOTS, Slot, other
from crossfade.traffic.routers.route_file import Accepted, render

Json = dict[str, Any]
PROBE_HEADER: Final = "X-Crossfade-Probe"
TOKEN: Final = "crossfade.token"  # noqa: S105 - the name of an annotation
PROOF: Final = ".crossfade.invalid"
"""Hosts of that kind exist nowhere (RFC 2606): nobody follows the redirect by mistake."""


def http_route(target: Target, settings: Settings, accepted: Accepted, *, name: str, token: str) -> Json:
    """The whole object."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": name,
            "namespace": target.namespace,
            "labels": target.labels,
            "annotations": {ROUTES: render(accepted), TOKEN: token},
        },
        "spec": {
            "parentRefs": [_parent(settings.gateway or "", target.namespace)],
            **({"hostnames": list(settings.hostnames)} if settings.hostnames else {}),
            "rules": _rules(target, settings, accepted, token),
        },
    }


def in_force(thing: Json, wanted: Json) -> bool:
    """Whether the object that is there says what `wanted` says; the server may have filled in more."""
    return _covers(thing["spec"], wanted["spec"])


def troubles(thing: Json) -> tuple[bool, str]:
    """Whether every gateway has taken up the newest generation, and what those say that refuse it."""
    generation, parents = thing["metadata"].get("generation", 0), thing.get("status", {}).get("parents") or ()
    settled, said = bool(parents), []
    for parent in parents:
        conditions = {each["type"]: each for each in parent.get("conditions") or ()}
        for kind in ("Accepted", "ResolvedRefs", "Programmed"):
            each = conditions.get(kind)
            if each is None:
                settled = settled and kind == "Programmed"  # not every implementation tells it of a route
            elif each.get("observedGeneration", generation) != generation:
                settled = False
            elif each.get("status") != "True":
                settled = False
                said.append(f"{kind} is {each.get('status')} ({each.get('reason')}): {each.get('message', '')}".strip())
    return settled, "; ".join(said)


def proof(accepted: Accepted) -> str:
    """The host to which the gateway redirects our question while these routes are in force."""
    return f"r-{digest(accepted)}{PROOF}"


def _parent(gateway: str, namespace: str) -> Json:
    """`NAME` or `NAMESPACE/NAME`."""
    place, _, name = gateway.rpartition("/")
    return {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": place or namespace}


def _rules(target: Target, settings: Settings, accepted: Accepted, token: str) -> list[Json]:
    routes = accepted.routes
    canary = other(routes.stable)
    always: Slot = canary if routes.upstreams.get(canary) else routes.stable
    redirect = {"hostname": proof(accepted), "statusCode": 302}
    shares = {slot: routes.weight(slot) for slot in SLOTS if routes.upstreams.get(slot)}
    everybody: Json = {"matches": [_match()], "backendRefs": _backends(target, shares)}
    if routes.mirror and routes.upstreams.get(canary):
        backend = _backend(target, canary)
        part = {"numerator": routes.mirror, "denominator": FULL}
        everybody["filters"] = [{"type": "RequestMirror", "requestMirror": {"backendRef": backend, "fraction": part}}]
    return [
        {
            "matches": [_match(PROBE_HEADER, token)],
            "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}],
        },
        *(
            {
                "matches": [_match(settings.override_header, word)],
                "backendRefs": _backends(target, {slot: 1} if routes.upstreams.get(slot) else {}),
            }
            for word, slot in (("always", always), ("never", routes.stable))
        ),
        everybody,
    ]


def _match(header: str = "", value: str = "") -> Json:
    named = {"headers": [{"type": "Exact", "name": header, "value": value}]} if header else {}
    return {"path": {"type": "PathPrefix", "value": "/"}, **named}


def _backend(target: Target, slot: Slot) -> Json:
    return {"group": "", "kind": "Service", "name": target.slot(slot), "port": SERVICE_PORT}


def _backends(target: Target, shares: dict[Slot, int]) -> list[Json]:
    return [{**_backend(target, slot), "weight": share} for slot, share in shares.items()]


def _covers(there: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_covers(there.get(name), each) for name, each in wanted.items())
    if isinstance(wanted, list):
        there = there or []
        return len(there) == len(wanted) and all(map(_covers, there, wanted))
    return bool(there == wanted)


__all__ = ["PROBE_HEADER", "TOKEN", "accepted_of", "http_route", "in_force", "proof", "troubles"]
