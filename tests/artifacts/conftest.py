"""Servers that take seconds to start are started once."""

import pytest
from registry_world import Verdaccio


@pytest.fixture(scope="session")
def verdaccio(require, tmp_path_factory):
    """An npm registry, running: `.url`, `.token(user)`, `.kill()`, `.start()`; tests publish under names of their own."""
    require("node")
    server = Verdaccio(tmp_path_factory.mktemp("verdaccio"), str(require("verdaccio")))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def npm_token(verdaccio):
    """A token that may publish."""
    return verdaccio.token()
