"""A port of the host for a container: chosen by us and kept, because the engine's own choice changes at each start."""

from __future__ import annotations

import random
import socket
from typing import Any, Final

from crossfade.core.errors import CrossfadeError
from crossfade.runtimes.docker.engine import Engine

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below the range from which kernels give: no outgoing connection takes the number while a container is restarted."""


async def choose(engine: Engine, address: str, name: str, taken: set[int]) -> int:
    """A port that neither a container of the engine nor, where that can be known, anybody else has."""
    listed = await engine.call(lambda client: client.containers(all=True))
    published = {int(port.get("PublicPort") or 0) for each in listed for port in each.get("Ports") or ()} | taken
    for number in _candidates(name):
        if number not in published and (not engine.is_local or is_free(address.strip("[]"), number)):
            return number
    raise CrossfadeError(
        "docker.no-port-free", f"no port from {_FIRST} to {_LAST} is free", where=engine.place.host, retry=True
    )


def is_taken(said: str) -> bool:
    """Whether the engine refused a start because of the port."""
    return any(words in said for words in ("port is already allocated", "address already in use", "failed to bind"))


def is_free(address: str, number: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, number))
        except OSError:
            return False
    return True


def _candidates(name: str) -> list[int]:
    """All ports, each container's from another place on, so that those who start at once rarely meet."""
    begin: Any = random.Random(name).randrange(_LAST - _FIRST)  # noqa: S311 - only to spread
    return [_FIRST + (begin + step) % (_LAST - _FIRST) for step in range(_LAST - _FIRST)]
