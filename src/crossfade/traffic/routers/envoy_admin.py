"""Envoy's admin API on a unix socket: what is in force, and what is under way."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from crossfade.core.errors import UnreachableError
from crossfade.traffic.port import SLOTS, Slot

Json = dict[str, Any]

_FLYING = ("upstream_rq_active", "upstream_rq_pending_active")


@dataclass(frozen=True, slots=True)
class State:
    """What Envoy has taken: the version of each of its files, and what they say.

    `line` is that of the routes, empty where there is none; `addresses` are those of each slot, as they are
    called; `refused` is what Envoy says about a listener that it does not take.
    """

    listener: str = ""
    clusters: str = ""
    routes: str = ""
    line: str = ""
    addresses: Mapping[Slot, tuple[str, ...] | None] = field(default_factory=dict)
    refused: str = ""


class EnvoyAdmin:
    """The admin API behind `socket`. Every method raises `UnreachableError` when nobody answers."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def state(self) -> State:
        """What is in force now."""
        async with self._client() as client:
            return State(
                **_listener(await _dump(client, "dynamic_listeners", "name,active_state.version_info,error_state")),
                clusters=_version(await _dump(client, "dynamic_active_clusters", "version_info,cluster.name")),
                **_routes(await _dump(client, "dynamic_route_configs")),
                addresses=_addresses(await _dump(client, "dynamic_endpoint_configs")),
            )

    async def in_flight(self) -> dict[Slot, int]:
        """Requests, streams and websockets under way for each slot, those that wait for a connection too."""
        async with self._client() as client:
            names = rf"^cluster\.({'|'.join(SLOTS)})\.({'|'.join(_FLYING)})$"
            found = (await _get(client, "/stats", filter=names, format="json")).json()["stats"]
        flying = {entry["name"]: int(entry["value"]) for entry in found if "name" in entry}
        return {slot: sum(flying.get(f"cluster.{slot}.{name}", 0) for name in _FLYING) for slot in SLOTS}

    async def workers(self) -> int:
        """How many threads serve."""
        async with self._client() as client:
            said = (await _get(client, "/server_info")).json()
        return int(said["command_line_options"]["concurrency"])

    async def let_go(self) -> None:
        """Take no new visitors, and see those off who are there."""
        async with self._client() as client:
            (await client.post("/drain_listeners")).raise_for_status()

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), verify=False)  # plain HTTP on a socket
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://envoy", timeout=10) as client:
                yield client
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise UnreachableError(
                "envoy.unreachable",
                f"Envoy does not take commands: {str(error) or type(error).__name__}",
                where=str(self.socket),
                next="the next step of a rollout starts it again",
            ) from error


async def _get(client: httpx.AsyncClient, path: str, **query: str) -> httpx.Response:
    return (await client.get(path, params=query)).raise_for_status()


async def _dump(client: httpx.AsyncClient, resource: str, mask: str | None = None) -> list[Json]:
    query = {"resource": resource, **({"mask": mask} if mask else {}), "include_eds": ""}
    answer = await client.get("/config_dump", params=query)
    if answer.status_code == httpx.codes.NOT_FOUND:  # nothing of the kind yet
        return []
    found: list[Json] = answer.raise_for_status().json().get("configs", [])
    return found


def _version(dump: list[Json]) -> str:
    """The version of all of them; empty while they differ."""
    versions = {str(each.get("version_info", "")) for each in dump}
    return versions.pop() if len(versions) == 1 else ""


def _listener(dump: list[Json]) -> dict[str, str]:
    ours = next((each for each in dump if each.get("name") == "crossfade"), {})
    return {
        "listener": str(ours.get("active_state", {}).get("version_info", "")),
        "refused": str(ours.get("error_state", {}).get("details", "")),
    }


def _routes(dump: list[Json]) -> dict[str, str]:
    hosts = [host for each in dump for host in each.get("route_config", {}).get("virtual_hosts", ())]
    known: Json = hosts[0].get("metadata", {}).get("filter_metadata", {}) if hosts else {}
    told = str(known.get("envoy.filters.http.lua", {}).get("told", ""))
    return {"routes": _version(dump), "line": told.partition("\n")[0]}


def _addresses(dump: list[Json]) -> dict[Slot, tuple[str, ...] | None]:
    """The addresses of each slot; None while its two clusters differ, or know nothing of it."""
    found: dict[Slot, tuple[str, ...] | None] = {}
    for slot in SLOTS:
        ours = [each["endpoint_config"] for each in dump if each["endpoint_config"].get("cluster_name") == slot]
        lists = {tuple(_called(each)) for each in ours}
        found[slot] = lists.pop() if len(lists) == 1 else None
    return found


def _called(assignment: Json) -> list[str]:
    places = [each for group in assignment.get("endpoints", ()) for each in group.get("lb_endpoints", ())]
    return [str(each["endpoint"]["hostname"]) for each in places]
