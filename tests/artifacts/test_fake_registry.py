"""The fake registry keeps the contract of the real ones."""

import pytest

from crossfade.artifacts.port import Artifact
from crossfade.testing.fake_registry import FakeRegistry, FakeStore
from crossfade.testing.registry_contract import RegistryContract


class TestFakeRegistry(RegistryContract):
    pinned = "fixed"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    @pytest.fixture
    def registry(self):
        return FakeRegistry(FakeStore(pinned=frozenset({"fixed"})))

    def artifact(self, at, content):
        root = self.folder / at.name / at.version / content[:8].hex()
        root.mkdir(parents=True, exist_ok=True)
        (root / "content").write_bytes(content)
        return Artifact(at.name, at, (root / "content",), root)

    def again(self, registry):
        return FakeRegistry(registry.store)

    def stranger(self, registry, secret):
        del secret
        return FakeRegistry(registry.store, may_publish=False)

    async def stop(self, registry):
        registry.store.down = True

    async def start(self, registry):
        registry.store.down = False

    async def tamper(self, registry, artifact):
        contents = registry.store.contents[artifact.at]
        name = next(iter(contents))
        contents[name] = contents[name][:-1] + b"!"
