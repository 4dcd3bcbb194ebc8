"""Addresses: where users reach a target, whether that is free, and the numbers behind names."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import TypeVar

import psutil

from crossfade.config.model import Deployment
from crossfade.config.routers import Router
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.traffic.port import SLOTS, Routes, Slot

_Settings = TypeVar("_Settings", bound=Router)


def settings_of(deployment: Deployment, kind: type[_Settings]) -> _Settings:
    """The router's section as `kind`, with the address at which users reach this component."""
    settings, listen = deployment.settings.router, deployment.settings.listen.get(deployment.component)
    if not isinstance(settings, kind):
        raise CrossfadeError("router.other-kind", f"{deployment.environment} has a router of the kind {settings.kind}")
    return settings if listen is None else settings.model_copy(update={"listen": listen})


def dialled(listen: str) -> str:
    """HOST:PORT that this machine can dial, for an address that is listened on.

    >>> dialled(":8080"), dialled("0.0.0.0:80"), dialled("10.0.0.7:80")
    ('127.0.0.1:8080', '127.0.0.1:80', '10.0.0.7:80')
    """
    host, _, port = listen.rpartition(":")
    everywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - what a user may listen on
    return f"{everywhere.get(host, host)}:{port}"


def refuse_taken(listen: str) -> None:
    """Raise when somebody else listens on HOST:PORT, and say who, where the system tells.

    A proxy that shares addresses with others of its user (HAProxy) would not notice, nor would they.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, int(port)))
        except OSError as error:
            raise CrossfadeError(
                "router.address-taken",
                f"{listen} cannot be listened on: {error.strerror}{_holder(int(port))}",
                where=f"router.listen {listen}",
                next="end that program, or choose another address for `router.listen`",
                retry=True,
            ) from error


def numbered(routes: Routes) -> dict[Slot, tuple[str, ...]]:
    """The upstreams of `routes` by their numbers, for a router that cannot look up names. Raises as `resolved` does."""
    return {slot: tuple(map(resolved, routes.upstreams.get(slot, ()))) for slot in SLOTS}


def resolved(address: str, where: str | None = None) -> str:
    """`address` with a number instead of a name: of several always the same one.

    Raises `BadInputError` for a name that leads nowhere; `where` says who named it.

    >>> resolved("10.0.0.1:80"), resolved("[0:0::1]:80")
    ('10.0.0.1:80', '[::1]:80')
    """
    host, _, port = address.rpartition(":")
    try:
        found = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        found = ipaddress.ip_address(_looked_up(host, int(port), where or address))
    return f"[{found}]:{port}" if found.version == 6 else f"{found}:{port}"  # noqa: PLR2004 - IPv6


def _looked_up(host: str, port: int, where: str) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadInputError(
            "router.unknown-host",
            f"the name {host} leads to no address: {getattr(error, 'strerror', None) or error}",
            where=where,
            next="write HOST:PORT of a host that this machine can find, or its IP address",
        ) from error
    return str(min((family != socket.AF_INET, place[0]) for family, _, _, _, place in found)[1])


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
