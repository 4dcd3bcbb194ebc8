"""A real pypi-server, behind a password, keeps the contract."""

import itertools

import pytest
from python_index_world import EVERYTHING, PASSWORD, USER, IndexServer, python_artifact

from crossfade.artifacts.credentials import basic
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Secret
from crossfade.artifacts.registries.pypi.registry import PypiRegistry
from crossfade.testing.registry_contract import RegistryContract

QUICK = Manners(rate=1000, timeout=30, attempts=3, first_wait=0.05, longest_wait=0.1)


@pytest.fixture(scope="module")
def locked_server(require, tmp_path_factory):
    server = IndexServer(require("pypi-server"), tmp_path_factory.mktemp("index") / "store", locked=EVERYTHING)
    yield server
    server.kill()


class TestPypiServer(RegistryContract):
    @pytest.fixture
    async def registry(self, locked_server, tmp_path):
        self.server, self.place, self.numbers, self.open = locked_server, tmp_path, itertools.count(), []
        yield self.connect(PASSWORD)
        for each in self.open:
            await each.aclose()

    def connect(self, secret):
        login = basic(Secret(USER), Secret(secret), "INDEX_USER", "INDEX_PASSWORD")
        made = PypiRegistry(
            RegistryClient("index", self.server.url, login=login, manners=QUICK), upload=self.server.upload
        )
        self.open.append(made)
        return made

    def artifact(self, at, content):
        return python_artifact(self.place / f"{next(self.numbers)}", at.name, at.version, content=content)

    def again(self, _registry):
        return self.connect(PASSWORD)

    def stranger(self, _registry, secret):
        return self.connect(secret)

    async def stop(self, _registry):
        self.server.kill()

    async def start(self, _registry):
        self.server.start()

    async def tamper(self, _registry, artifact):
        path = self.server.store / artifact.files[0].name
        content = path.read_bytes()
        path.write_bytes(content[:90] + bytes([content[90] ^ 1]) + content[91:])
