"""From what the API server refuses to what a person can do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

_TOO_MANY: Final = 429
_SERVERS_FAULT: Final = 500
_VERBS: Final = {"GET": "get", "PATCH": "patch", "POST": "create", "PUT": "update", "DELETE": "delete"}
_PATH: Final = re.compile(
    r"/?(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>log|scale|status|proxy).*)?"
)
_MISSING: Final = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"')


class ConflictError(CrossfadeError):
    """Somebody else has changed or made the object meanwhile, or owns the fields."""


class GoneError(CrossfadeError):
    """The server no longer knows what happened since then: what is there must be read anew."""


def needed(method: str, path: str, params: Mapping[str, Any]) -> tuple[str, str, str]:
    """The right that a request needs: API group, resource and verb.

    >>> needed("GET", "/apis/apps/v1/namespaces/shop/deployments", {"watch": "1"})
    ('apps', 'deployments', 'watch')
    >>> needed("GET", "/api/v1/namespaces/shop/pods/api-1/log", {})
    ('', 'pods/log', 'get')
    """
    match = _PATH.fullmatch(path)
    if match is None:
        return "", path, _VERBS[method]
    resource = match["resource"] + (f"/{match['part']}" if match["part"] else "")
    verb = _VERBS[method]
    if method == "GET" and match["name"] is None:
        verb = "watch" if params.get("watch") else "list"
    return match["group"] or "", resource, verb


def refused(
    status: int, body: bytes, *, method: str, path: str, params: Mapping[str, Any], server: str
) -> CrossfadeError:
    """The error for an answer that is not a success."""
    said, reason = _status(body)
    group, resource, verb = needed(method, path, params)
    where = f"{verb} {resource}{'.' + group if group else ''} at {server}"
    match status:
        case 401:
            how = "renew the credentials of the kubeconfig: kubectl get pods must work with it"
            return BadInputError(
                "kubernetes.unauthorized", f"the cluster does not know us: {said}", where=where, next=how
            )
        case 403:
            return _forbidden(said, (group, resource, verb), where)
        case 409:
            return ConflictError("kubernetes.conflict", f"the cluster refuses: {said}", where=where, retry=True)
        case 410:
            return GoneError(
                "kubernetes.gone", f"the cluster has forgotten that moment: {said}", where=where, retry=True
            )
        case 404:
            return BadInputError("kubernetes.missing", _absent(said), where=where, next=_install(group, resource))
        case _ if "field not declared in schema" in said:
            how = "Crossfade needs Kubernetes 1.30 or newer, and the Gateway API 1.3 or newer for copies of requests"
            return BadInputError(
                "kubernetes.too-old", f"the cluster does not know a field: {said}", where=where, next=how
            )
        case _ if status == _TOO_MANY or status >= _SERVERS_FAULT:
            how = "nothing was changed; it is tried again"
            return UnreachableError(
                "kubernetes.overloaded", f"the cluster answers {status}: {said}", where=where, next=how
            )
    how = "correct crossfade.yaml; the sentence above is the cluster's own"
    what = f"the cluster refuses it ({reason or status}): {said}"
    return BadInputError("kubernetes.refused", what, where=where, next=how)


def _status(body: bytes) -> tuple[str, str]:
    try:
        told = json.loads(body)
        return str(told.get("message") or told.get("reason") or "it does not say why"), str(told.get("reason") or "")
    except (ValueError, AttributeError):
        return body[:200].decode("utf-8", "replace").strip() or "it does not say why", ""


def _forbidden(said: str, asked: tuple[str, str, str], where: str) -> CrossfadeError:
    found = _MISSING.search(said)
    group, resource, verb = (found["group"], found["resource"], found["verb"]) if found else asked
    rule = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}}'
    what = f"the cluster does not let us {verb} {resource}"
    if found is None:
        what += f": {said}"
    return BadInputError(
        "kubernetes.forbidden", what, where=where, next=f"add this rule to our Role (deploy/rbac.yaml has all): {rule}"
    )


def _absent(said: str) -> str:
    return f"the cluster does not have it: {said}"


def _install(group: str, resource: str) -> str:
    if group == "gateway.networking.k8s.io":
        return "install the Gateway API's resources (standard channel, v1) and a controller, or see `router.gateway` and `router.route`"
    return f"see kubectl get {resource}, and `namespace` in crossfade.yaml"
