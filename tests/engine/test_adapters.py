"""Adapters by kind, and those of other packages by their entry points."""

import importlib
import sys

import pytest

from crossfade.config.load import load_text, resolve
from crossfade.core.errors import BadInputError
from crossfade.engine.adapters import ROUTERS, RUNTIMES, adapter
from crossfade.engine.site import RealSites

FILE = """\
project: shop
components: {api: {command: [x]}}
environments:
  production:
    router: {kind: plugin, name: NAME, listen: "127.0.0.1:9", options: {colour: red}}
    runtime: {kind: plugin, name: acme}
"""
ACME = """\
class Adapter:
    address = "127.0.0.1:9"

    def __init__(self, deployment):
        self.deployment = deployment

    of = classmethod(lambda cls, deployment: cls(deployment))
"""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """An installed package of somebody else."""
    (tmp_path / "acme_proxy.py").write_text(ACME)
    info = tmp_path / "acme_proxy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-proxy\nVersion: 1.0\n")
    points = ["[crossfade.routers]", "acme = acme_proxy:Adapter", "[crossfade.runtimes]", "acme = acme_proxy:Adapter"]
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("acme_proxy", None)


def deployment(tmp_path, name="acme"):
    return resolve(load_text(FILE.replace("NAME", name), tmp_path / "crossfade.yaml"), "api", "production", tmp_path)


def test_every_kind_is_there():
    for known in (ROUTERS, RUNTIMES):
        for place in known.values():
            module, _, name = place.partition(":")
            assert callable(getattr(importlib.import_module(module), name).of)


@pytest.mark.usefixtures("acme")
def test_an_adapter_of_another_package_gets_the_deployment_with_its_options(tmp_path):
    target = deployment(tmp_path)
    site = RealSites().site(target)
    assert site.address == "127.0.0.1:9"
    assert site.router.deployment.settings.router.options == {"colour": "red"}
    assert site.runtime.deployment == target


@pytest.mark.usefixtures("acme")
def test_a_name_that_no_package_has_is_told_with_the_nearest_one(tmp_path):
    with pytest.raises(BadInputError) as caught:
        RealSites().site(deployment(tmp_path, "acne"))
    assert caught.value.code == "adapter.unknown-plugin"
    assert "`acme`" in caught.value.next


@pytest.mark.parametrize(("kind", "extra"), [("docker", "docker"), ("gateway-api", "kubernetes")])
def test_a_part_that_is_not_installed_is_told(kind, extra, monkeypatch):
    class Settings:
        pass

    settings = Settings()
    settings.kind = kind
    missing = ModuleNotFoundError("No module named 'lightkube'", name="lightkube")

    def absent(_name):
        raise missing

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(BadInputError) as caught:
        adapter({**ROUTERS, **RUNTIMES}, "crossfade.routers", settings)
    assert caught.value.code == "adapter.not-installed"
    assert f"crossfade[{extra}]" in caught.value.next
    missing.name = "crossfade.traffic.routers.moved"
    with pytest.raises(ModuleNotFoundError):
        adapter({**ROUTERS, **RUNTIMES}, "crossfade.routers", settings)
