"""Envoy's admin API on a unix socket: what is in force, and what is under way."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from crossfade.core.errors import UnreachableError
from crossfade.traffic.port import SLOTS, Slot
from crossfade.traffic.routers.envoy_config import LISTENER, ROUTES

Json = dict[str, Any]

FILES: Mapping[str, str] = {
    "listener": "listener_manager.lds.version_text",
    "clusters": "cluster_manager.cds.version_text",
    "routes": f"http.{LISTENER}.rds.{ROUTES}.version_text",
    **{str(slot): f"cluster.{slot}.version_text" for slot in SLOTS},
}
"""Where Envoy tells which version of each of its files it has taken."""

_FLYING = {slot: [f"cluster.{slot}.upstream_rq_{kind}" for kind in ("active", "pending_active")] for slot in SLOTS}
_WORKERS = "server.concurrency"
_ASKED = "|".join(re.escape(name) for name in (*FILES.values(), *chain(*_FLYING.values()), _WORKERS))


@dataclass(frozen=True, slots=True)
class State:
    """What Envoy has taken, the version of each of its files by name, and what it does.

    `flying` are requests, streams and websockets under way for each slot, those that wait for a connection too;
    `workers` are its threads that serve.
    """

    versions: Mapping[str, str]
    flying: Mapping[Slot, int]
    workers: int


@dataclass(frozen=True, slots=True)
class InForce:
    """What its files say: the line of the routes (empty where there is none), and the addresses of each slot."""

    line: str
    addresses: Mapping[Slot, tuple[str, ...]]


class EnvoyAdmin:
    """The admin API behind `socket`. Every method raises `UnreachableError` when nobody answers."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    async def state(self) -> State:
        """What it has taken, and what it does."""
        (answer,) = await self._ask(f"/stats?{urlencode({'filter': f'^({_ASKED})$', 'format': 'json'})}")
        said = {row["name"]: row["value"] for row in answer.get("stats", ()) if "name" in row}
        return State(
            versions={name: str(said.get(stat, "")) for name, stat in FILES.items()},
            flying={slot: sum(int(said.get(name, 0)) for name in names) for slot, names in _FLYING.items()},
            workers=int(said.get(_WORKERS, 1)),
        )

    async def in_force(self) -> InForce:
        """What it does with requests now."""
        routes, endpoints = await self._ask(_dump("dynamic_route_configs"), _dump("dynamic_endpoint_configs"))
        return InForce(_line(routes.get("configs", [])), _addresses(endpoints.get("configs", [])))

    async def refusal(self) -> str:
        """What it says about listeners that it does not take; empty where it takes them."""
        (answer,) = await self._ask(_dump("dynamic_listeners", mask="name,error_state"))
        faults = [each["error_state"] for each in answer.get("configs", []) if "error_state" in each]
        return "; ".join(str(each.get("details", "")) for each in faults)

    async def let_go(self) -> None:
        """Take no new visitors, and see those off who are there."""
        await self._ask("/drain_listeners", method="POST")

    async def _ask(self, *paths: str, method: str = "GET") -> list[Json]:
        try:
            return await asyncio.to_thread(_answers, self.socket, method, paths)
        except (OSError, HTTPException, ValueError) as error:
            raise UnreachableError(
                "envoy.unreachable",
                f"Envoy does not take commands: {str(error) or type(error).__name__}",
                where=str(self.socket),
                next="the next step of a rollout starts it again",
            ) from error


def connect(path: Path | str) -> HTTPConnection:
    """A connection to the admin API behind the socket `path`."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.settimeout(10)
    try:
        door.connect(str(path))
    except OSError:
        door.close()
        raise
    connection = HTTPConnection("envoy")
    connection.sock = door
    return connection


def asked(connection: HTTPConnection, path: str, method: str = "GET") -> Json:
    """What the admin API answers; nothing where it does not know what is asked for, or has nothing to say."""
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    known: Json = orjson.loads(body) if answer.status == HTTPStatus.OK and body.startswith(b"{") else {}
    return known


def _answers(path: Path, method: str, paths: tuple[str, ...]) -> list[Json]:
    with contextlib.closing(connect(path)) as connection:
        return [asked(connection, each, method) for each in paths]


def _dump(resource: str, **query: str) -> str:
    return f"/config_dump?{urlencode({'resource': resource, 'include_eds': '', **query})}"


def _line(dump: list[Json]) -> str:
    hosts = [host for each in dump for host in each.get("route_config", {}).get("virtual_hosts", ())]
    known: Json = hosts[0].get("metadata", {}).get("filter_metadata", {}) if hosts else {}
    return str(known.get("envoy.filters.http.lua", {}).get("told", "")).partition("\n")[0]


def _addresses(dump: list[Json]) -> dict[Slot, tuple[str, ...]]:
    known = {each["endpoint_config"].get("cluster_name"): each["endpoint_config"] for each in dump}
    return {slot: tuple(_called(known.get(slot, {}))) for slot in SLOTS}


def _called(assignment: Json) -> list[str]:
    places = [each for group in assignment.get("endpoints", ()) for each in group.get("lb_endpoints", ())]
    return [str(each["endpoint"]["hostname"]) for each in places]
