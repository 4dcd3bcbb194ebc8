"""What the tests of the command line may ask for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop on a free port in which nothing was released yet; what it leaves running is ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = Shop(tmp_path, port)
    try:
        yield made
    finally:
        made.end()
