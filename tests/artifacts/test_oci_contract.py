"""Debian's docker-registry keeps the contract, behind a password and behind a token server."""

import itertools

import pytest
from image_registry_world import PASSWORD, STAYS, USER, ImageServer, TokenServer, image_artifact

from crossfade.artifacts.credentials import basic
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Secret
from crossfade.artifacts.registries.oci.registry import OciRegistry
from crossfade.testing.registry_contract import RegistryContract

QUICK = Manners(rate=1000, timeout=30, attempts=3, first_wait=0.05, longest_wait=0.1)


def version_tag(at):
    return f"v{at.version}"


@pytest.fixture(scope="module")
def password_server(require, tmp_path_factory):
    server = ImageServer(require("docker-registry"), tmp_path_factory.mktemp("images"), "password")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def token_server(require, tmp_path_factory):
    tokens = TokenServer(require("openssl"), tmp_path_factory.mktemp("tokens"))
    server = ImageServer(require("docker-registry"), tmp_path_factory.mktemp("images"), tokens)
    yield server
    server.kill()
    tokens.close()


class ImageRegistryContract(RegistryContract):
    pinned = "1.1.0-5114f85"

    @pytest.fixture
    async def registry(self, server, tmp_path):
        self.server, self.place, self.numbers, self.open = server, tmp_path, itertools.count(), []
        yield self.connect(PASSWORD)
        for each in self.open:
            await each.aclose()

    def connect(self, secret):
        login = basic(Secret(USER), Secret(secret), "IMAGES_USER", "IMAGES_PASSWORD")
        client = RegistryClient("images", self.server.url, login=login, manners=QUICK)
        made = OciRegistry(
            client, repository=f"{self.space}/{{name}}", version_tag=version_tag, immutable=STAYS, chunk=1 << 20
        )
        self.open.append(made)
        return made

    def artifact(self, at, content):
        return image_artifact(self.place / f"{next(self.numbers)}", at.name, at.version, content)

    def again(self, _registry):
        return self.connect(PASSWORD)

    def stranger(self, _registry, secret):
        return self.connect(secret)

    async def stop(self, _registry):
        self.server.kill()

    async def start(self, _registry):
        self.server.start()

    async def tamper(self, _registry, artifact):
        largest = max(artifact.files[0].glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)
        blob = self.server.blob(f"sha256:{largest.name}")
        content = blob.read_bytes()
        blob.write_bytes(content[:700] + bytes([content[700] ^ 1]) + content[701:])


class TestBehindAPassword(ImageRegistryContract):
    space = "password"

    @pytest.fixture
    def server(self, password_server):
        return password_server


class TestBehindATokenServer(ImageRegistryContract):
    space = "token/of/ours"

    @pytest.fixture
    def server(self, token_server):
        return token_server
