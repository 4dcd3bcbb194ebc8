"""Requests to the API server: documents in, documents out.

The kubeconfig, its certificates, tokens and plug-ins are lightkube's; what we say to the server is plain REST, because
watches with bookmarks, logs and objects of any group are then one and the same thing.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from crossfade.cluster.faults import GoneError, refused
from crossfade.cluster.names import MANAGER
from crossfade.config.runtimes import KubernetesRuntime
from crossfade.core.errors import BadInputError, UnreachableError

Json = dict[str, Any]
CORE: Final = "/api/v1"
APPS: Final = "/apis/apps/v1"
GATEWAY: Final = "/apis/gateway.networking.k8s.io/v1"
NETWORKING: Final = "/apis/networking.k8s.io/v1"
METRICS: Final = "/apis/metrics.k8s.io/v1beta1"
WATCH: Final = 60
"""Seconds after which the server ends a watch; it is then taken up where it was."""
_TIMEOUT: Final = 10.0
_OK: Final = 200
_NOT_FOUND: Final = 404
_MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json-patch+json"
_APPLY: Final = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster is: a kubeconfig and a context of it, or what the environment says."""

    kubeconfig: str | None = None
    context: str | None = None

    @classmethod
    def of(cls, settings: KubernetesRuntime, root: Path) -> Self:
        """Where the runtime's section says that it is; a relative file is seen from `root`."""
        file = settings.kubeconfig
        return cls(None if file is None else str(root / Path(file).expanduser()), settings.context)


_CLIENTS: dict[asyncio.AbstractEventLoop, dict[Place, Cluster]] = {}


def cluster_at(place: Place) -> Cluster:
    """The cluster at `place`: one connection for each event loop, shared by all that asks for it."""
    for ended in [loop for loop in _CLIENTS if loop.is_closed()]:
        del _CLIENTS[ended]
    clients = _CLIENTS.setdefault(asyncio.get_running_loop(), {})
    if place not in clients:
        clients[place] = Cluster(place)
    return clients[place]


def path(base: str, namespace: str, kind: str, *name: str) -> str:
    """The path of objects of a kind, or of one of them.

    >>> path(APPS, "shop", "deployments", "api")
    '/apis/apps/v1/namespaces/shop/deployments/api'
    """
    return "/".join((base, "namespaces", namespace, kind, *name))


class Cluster:
    """One API server. Every method raises UnreachableError when it does not answer, else what `faults` says."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.mirrors: dict[tuple[str, str], Any] = {}
        """What is kept of this cluster, by path and selector; see `mirror`."""
        self.server, self._client = _connect(place)

    async def get(self, path: str, **params: str) -> Json | None:
        """The object, or None where it is not there (also where its namespace or kind is not)."""
        status, body = await self._send("GET", path, params)
        return None if status == _NOT_FOUND else self._read(status, body, "GET", path, params)

    async def list(self, path: str, **params: str) -> Json:
        """All objects below `path`: `items`, and the `resourceVersion` at which they were so in `metadata`."""
        status, body = await self._send("GET", path, params)
        return self._read(status, body, "GET", path, params)

    async def apply(self, path: str, wanted: Json) -> Json:
        """Server-side apply of an object that is ours as a whole; made where it is not there."""
        params = {"fieldManager": MANAGER, "force": "true"}
        return await self._write("PATCH", path, params, json.dumps(wanted).encode(), _APPLY)

    async def create(self, path: str, wanted: Json) -> Json:
        """A new object; ConflictError when one of that name is there."""
        return await self._write(
            "POST", path, {"fieldManager": MANAGER}, json.dumps(wanted).encode(), "application/json"
        )

    async def replace(self, path: str, wanted: Json) -> Json:
        """The object as a whole; ConflictError unless its `resourceVersion` is the one in `wanted`."""
        return await self._write(
            "PUT", path, {"fieldManager": MANAGER}, json.dumps(wanted).encode(), "application/json"
        )

    async def merge(self, path: str, patch: Json) -> Json:
        """A merge patch."""
        return await self._write("PATCH", path, {"fieldManager": MANAGER}, json.dumps(patch).encode(), _MERGE)

    async def patch(self, path: str, operations: Sequence[Json]) -> Json:
        """A JSON patch; a `test` in it that does not hold refuses it whole."""
        return await self._write("PATCH", path, {"fieldManager": MANAGER}, json.dumps(list(operations)).encode(), _JSON)

    async def delete(self, path: str, **params: str) -> None:
        """Remove the object; fine where it is not there."""
        status, body = await self._send("DELETE", path, params)
        if status != _NOT_FOUND:
            self._read(status, body, "DELETE", path, params)

    async def text(self, path: str, **params: str) -> tuple[int, str]:
        """Status and text of an answer that is no document: a log, or what a pod answers through the API server."""
        status, body = await self._send("GET", path, params)
        return status, body.decode("utf-8", "replace")

    async def watch(self, path: str, since: str, **params: str) -> AsyncIterator[tuple[str, Json]]:
        """Changes after `since`: ADDED, MODIFIED, DELETED or BOOKMARK, and the object. Ends after a minute.

        GoneError when the server no longer knows what happened since then.
        """
        params = {
            **params,
            "watch": "1",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH),
        }
        async with self._stream(path, params, read=WATCH + _TIMEOUT) as lines:
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    said = event["object"]
                    code = int(said.get("code") or 500)
                    fault = refused(
                        code, json.dumps(said).encode(), method="GET", path=path, params=params, server=self.server
                    )
                    raise fault
                yield event["type"], event["object"]

    async def lines(self, path: str, **params: str) -> AsyncIterator[str]:
        """The lines of a text as they come: a log that is followed."""
        async with self._stream(path, params, read=None) as lines:
            async for line in lines:
                yield line

    @asynccontextmanager
    async def _stream(
        self, path: str, params: Mapping[str, str], *, read: float | None
    ) -> AsyncIterator[AsyncIterator[str]]:
        import httpx2  # noqa: PLC0415 - comes with the optional part

        timeout = httpx2.Timeout(_TIMEOUT, read=read)
        try:
            async with self._client.stream("GET", path, params=dict(params), timeout=timeout) as answer:
                if answer.status_code != _OK:
                    raise self._refused(answer.status_code, await answer.aread(), "GET", path, params)
                yield answer.aiter_lines()
        except (httpx2.HTTPError, OSError) as error:
            raise self._unreachable(error) from error

    async def _write(self, method: str, path: str, params: Mapping[str, str], content: bytes, kind: str) -> Json:
        status, body = await self._send(method, path, params, content, kind)
        return self._read(status, body, method, path, params)

    def _read(self, status: int, body: bytes, method: str, path: str, params: Mapping[str, str]) -> Json:
        if status // 100 != _OK // 100:
            raise self._refused(status, body, method, path, params)
        found: Json = json.loads(body)
        return found

    async def _send(
        self, method: str, path: str, params: Mapping[str, str], content: bytes | None = None, kind: str = ""
    ) -> tuple[int, bytes]:
        import httpx2  # noqa: PLC0415 - comes with the optional part

        headers = {"Content-Type": kind} if kind else {}
        try:
            answer = await self._client.request(method, path, params=dict(params), content=content, headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        return answer.status_code, answer.content

    def _refused(self, status: int, body: bytes, method: str, path: str, params: Mapping[str, str]) -> Exception:
        return refused(status, body, method=method, path=path, params=params, server=self.server)

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            "kubernetes.unreachable",
            f"the cluster does not answer: {str(error) or type(error).__name__}",
            where=self.server,
            next="see whether `kubectl get pods` works with the same kubeconfig and context; what runs goes on",
        )


def _connect(place: Place) -> tuple[str, Any]:
    """The server's address, and a client that it knows."""
    try:
        import httpx2  # noqa: PLC0415 - comes with the optional part
        import yaml  # type: ignore[import-untyped]  # noqa: PLC0415 - as above; it has no types here
        from lightkube.config.client_adapter import AsyncClient, ConnectionParams  # noqa: PLC0415 - as above
        from lightkube.config.kubeconfig import KubeConfig  # noqa: PLC0415 - as above
        from lightkube.core.exceptions import ConfigError  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        what = f"Kubernetes needs the Python package {error.name}, which is not installed"
        how = "pip install 'crossfade[kubernetes]'"
        raise BadInputError("adapter.not-installed", what, where="kubernetes", next=how) from error

    where = place.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config, or the pod's own account"
    try:
        if place.kubeconfig is None:
            found = KubeConfig.from_env()
        else:
            found = KubeConfig.from_file(str(Path(place.kubeconfig).expanduser()))
        config = found.get(place.context)
        if config is None:
            raise ConfigError("it names no context to be used")  # noqa: TRY301 - told as its other faults are
        parameters = ConnectionParams(timeout=httpx2.Timeout(_TIMEOUT), trust_env=False)
        client = AsyncClient(config, parameters)
    except (ConfigError, yaml.YAMLError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise BadInputError(
            "kubernetes.kubeconfig",
            f"the cluster's kubeconfig cannot be used: {' '.join(str(error).split())}",
            where=where,
            next="correct `runtime.kubeconfig` and `runtime.context`, or set KUBECONFIG",
        ) from error
    return str(config.cluster.server), client


__all__ = [
    "APPS",
    "CORE",
    "GATEWAY",
    "METRICS",
    "NETWORKING",
    "Cluster",
    "GoneError",
    "Json",
    "Place",
    "cluster_at",
    "path",
]
