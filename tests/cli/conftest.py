"""What the tests of the command line may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from monorepo import SHOP, WORKSPACE, Monorepo
from shop import Shop

from free_ports import free_port


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop on a free port in which nothing was released yet; what it leaves running is ended."""
    made = Shop(tmp_path, free_port())
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def monorepo(tmp_path: Path) -> Monorepo:
    """Components of every kind, below one crossfade.yaml."""
    return Monorepo(tmp_path, SHOP)


@pytest.fixture
def workspace(tmp_path: Path) -> Monorepo:
    """Packages and changesets; no crossfade.yaml."""
    return Monorepo(tmp_path, WORKSPACE)
