"""The npm adapter keeps the contract of registries on a real verdaccio."""

import asyncio

import pytest
from npm_packages import packed

from crossfade.artifacts.credentials import bearer
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Secret
from crossfade.artifacts.registries.npm import NpmRegistry
from crossfade.testing.registry_contract import RegistryContract

HASTY = Manners(rate=1000, timeout=30, attempts=5, first_wait=0.05)


@pytest.mark.real
class TestNpmRegistry(RegistryContract):
    tag = pinned = "latest"

    @pytest.fixture(autouse=True)
    async def _world(self, verdaccio, npm_token, tmp_path):
        self.server, self.folder, self.clients = verdaccio, tmp_path, []
        self.token = npm_token
        yield
        for client in self.clients:
            await client.aclose()

    def connect(self, token):
        login = bearer(Secret(token), "NPM_TOKEN")
        self.clients.append(RegistryClient("npm", self.server.url, login=login, manners=HASTY))
        return NpmRegistry(self.clients[-1])

    @pytest.fixture
    def registry(self):
        return self.connect(self.token)

    def named(self, stem):
        return f"@navi/{stem}"

    def artifact(self, at, content):
        return packed(self.folder, at, content)

    def again(self, _registry):
        return self.connect(self.token)

    def stranger(self, _registry, secret):
        return self.connect(secret)

    async def stop(self, _registry):
        await asyncio.to_thread(self.server.kill)

    async def start(self, _registry):
        await asyncio.to_thread(self.server.start)

    async def tamper(self, _registry, artifact):
        (stored,) = self.server.tarballs(artifact.at.name)
        body = bytearray(stored.read_bytes())
        body[len(body) // 2] ^= 1
        stored.write_bytes(body)
