"""A port for an instance: free, kept, and never one that the kernel hands out to others.

Ports below the ephemeral range are preferred: inside of it, any outgoing connection (the proxy's own,
to another instance) may take the number while the command is between two starts.
"""

from __future__ import annotations

import errno
import os
import socket

from crossfade.runtimes.shim.folder import LINUX

_LOW = 20_000
_TRIES = 200


class Port:
    """The port of one instance, reserved against other shims for as long as this object lives."""

    __slots__ = ("_host", "_mark", "number")

    def __init__(self, host: str) -> None:
        self._host = host
        self._mark: socket.socket | None = None
        self.number = 0

    def hold(self, wanted: int) -> bool:
        """Keep `wanted` (0: none yet) when it is free, else take another; whether it is another one."""
        if wanted and (wanted == self.number or self._reserve(wanted)) and is_free(self._host, wanted):
            self.number = wanted
            return False
        for candidate in _candidates():
            if self._reserve(candidate) and is_free(self._host, candidate):
                self.number = candidate
                return True
        raise OSError(errno.EADDRINUSE, "no free port was found")

    def _reserve(self, number: int) -> bool:
        if not LINUX:
            return True
        # A name in the abstract space belongs to its holder and vanishes with it: no file to clean up.
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0crossfade-port-{number}")
        except OSError:
            mark.close()
            return False
        if self._mark is not None:
            self._mark.close()
        self._mark = mark
        return True


def is_free(host: str, number: int) -> bool:
    """Whether a server could listen on `number` now (connections of a former one do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
            probe.listen(1)
        except OSError:
            return False
    return True


def _candidates() -> list[int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:  # noqa: PTH123 - too heavy for the shim
            high = int(file.read().split()[0])
    except (OSError, ValueError):
        high = 32_768
    if high - _LOW < _TRIES:
        high = 65_000
    return [_LOW + int.from_bytes(os.urandom(4), "big") % (high - _LOW) for _ in range(_TRIES)]
