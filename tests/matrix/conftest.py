"""Worlds of every runtime and router; what they stand on belongs to the tests of each."""

import contextlib
import os
import sys
from pathlib import Path

import psutil
import pytest

for each in ("engine", "runtimes"):
    sys.path.append(str(Path(__file__).parents[1] / each))

from engine_world import leftovers  # noqa: E402 - found by the path above


@pytest.fixture
def place(tmp_path):
    """A folder for everything; what still runs because of it after the test is a leak, and is ended."""
    yield tmp_path
    left = leftovers(tmp_path)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not left, f"processes left behind: {left}"


@pytest.fixture(scope="session")
def docker_engine(require):
    """A Docker Engine of our own; only root can run one."""
    if os.geteuid() != 0:
        pytest.skip("only root can run a Docker Engine of its own")
    from docker_world import Daemon, base_image, build  # noqa: PLC0415 - only these tests need Docker's SDK

    daemon = Daemon(require("dockerd"))
    try:
        daemon.start()
        client = daemon.client()
        base_image(client)
        build(client, "shop/api:1.0.0")
        for number in range(1, 10):
            client.tag("shop/api:1.0.0", "shop/api", f"1.{number}.0")
        yield daemon
    finally:
        daemon.close()
