"""What several tests of packages start from; servers that take seconds to start are started once."""

import pytest
from building_world import made_repository
from image_registry_world import PIECE, QUICK, STAYS, ImageServer
from registry_world import Verdaccio

from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.registries.oci.registry import OciRegistry


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


@pytest.fixture(scope="module")
def images(require, tmp_path_factory):
    """A registry of images, running, of each file's own."""
    server = ImageServer(require("docker-registry"), tmp_path_factory.mktemp("images"))
    yield server
    server.kill()


@pytest.fixture
async def connect():
    """Opens registries of images, at an address."""
    made = []

    def open_registry(url, *, manners=QUICK, login=None, chunk=PIECE):
        client = RegistryClient("images", url, manners=manners, login=login)
        made.append(OciRegistry(client, version_tag=lambda at: f"v{at.version}", immutable=STAYS, chunk=chunk))
        return made[-1]

    yield open_registry
    for each in made:
        await each.aclose()


@pytest.fixture
def repository(tmp_path):
    """A small monorepo with nothing built."""
    return made_repository(tmp_path / "project")
