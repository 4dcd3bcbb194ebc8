"""Ports that nobody listens on, and that nobody is given by the kernel in the meantime.

A port that the kernel hands out (`bind` to 0) may be handed to somebody else between its choice and its use. These lie
below the range from which the kernel gives, and each process that asks begins elsewhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket

FIRST, LAST = 20_000, 32_000
_NEXT = itertools.count(random.Random(os.urandom(8)).randrange(LAST - FIRST))  # noqa: S311 - a place to begin, not a secret


def free_port() -> int:
    """A port of 127.0.0.1 that can be bound now; never the same twice in one process."""
    for number in itertools.islice(_NEXT, LAST - FIRST):
        port = FIRST + number % (LAST - FIRST)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    message = "no port is free"
    raise OSError(message)
