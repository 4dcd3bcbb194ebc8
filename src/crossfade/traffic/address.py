"""Where a target is reached: its own address in the environment, else that of the environment's router."""

from __future__ import annotations

from typing import TypeVar

from crossfade.config.model import Deployment
from crossfade.config.routers import Router
from crossfade.core.errors import CrossfadeError

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
