"""Which component goes where, in which order, under which tags."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.artifacts.port import Coordinate
from crossfade.artifacts.targets import Origin, Versioned, targets
from crossfade.config.load import load, load_text
from crossfade.core.semver import parse_version

ROOT = Path(__file__).parent.parent.parent
HERE = Origin("a1b2c3d", "main")
CHAIN = ("navi-core", "navi-portal", "navi-loader", "navi-js", "navi-react")
NEEDS = {
    "navi-portal": ["navi-core"],
    "navi-loader": ["navi-core", "navi-portal"],
    "navi-js": ["navi-core", "navi-loader"],
    "navi-react": ["navi-js"],
}


def navi(version):
    project = load(ROOT / "examples" / "navi" / "crossfade.yaml").project
    here = [
        Versioned(name, f"@awell-health/{name}", parse_version(version), version, f"packages/{name}", name)
        for name in CHAIN
    ]
    return {each.component: each for each in targets(project, here, NEEDS, HERE)}


def test_the_chain_of_navi():
    found = navi("1.2.0")
    assert [(each.key, each.needs) for each in found.values()] == [
        ("navi-core → npm", ()),
        ("navi-portal → images", ("navi-core → npm",)),
        ("navi-loader → cdn", ("navi-core → npm", "navi-portal → images")),
        ("navi-js → npm", ("navi-core → npm", "navi-loader → cdn")),
        ("navi-react → npm", ("navi-js → npm",)),
    ]
    assert found["navi-core"].at == Coordinate("@awell-health/navi-core", "1.2.0")
    assert found["navi-core"].place == "packages/navi-core"
    assert found["navi-portal"].at == Coordinate("navi-portal", "1.2.0")
    assert found["navi-portal"].place == "packages/navi-portal/image"
    assert found["navi-portal"].tags == ("v1.2.0", "1.2.0-a1b2c3d", "1.2", "latest")
    assert found["navi-loader"].tags == ("v1",)


def test_a_prerelease_takes_no_name_that_people_follow():
    found = navi("2.0.0-next.0")
    assert found["navi-core"].tags == ("next",)
    assert found["navi-portal"].tags == ("v2.0.0-next.0",)
    assert found["navi-loader"].tags == ()


def project(text):
    return load_text(text, Path("crossfade.yaml")).project


EVERYWHERE = """
project: shop
components:
  api:
    source: api
    publish: [npm, {to: index, name: shop-api}, images, cdn]
  hidden: {source: hidden}
  web:
    source: web
    publish: [npm]
registries:
  npm: {kind: npm, url: "http://127.0.0.1:1"}
  index: {kind: pypi, url: "http://127.0.0.1:2"}
  images: {kind: oci, url: "http://127.0.0.1:3"}
  cdn: {kind: cdn, store: "file://cdn", pointer: null}
"""


def test_what_is_told_about_comes_before_what_tells_it():
    here = [
        Versioned("api", "shop_api", parse_version("1.0.0-rc.1"), "1.0.0rc1", "api", "api"),
        Versioned("hidden", "hidden", parse_version("1.0.0"), "1.0.0", "hidden", "hidden"),
        Versioned("web", "web", parse_version("1.0.0"), "1.0.0", "web", "web"),
    ]
    found = targets(project(EVERYWHERE), here, {"hidden": ["api"], "web": ["hidden"]}, HERE)
    assert [each.registry for each in found] == ["images", "cdn", "index", "npm", "npm"]
    assert found[2].at == Coordinate("shop-api", "1.0.0rc1")
    assert found[3].needs == ("api → index",)
    # `hidden` is published nowhere: it hands on what it needs
    assert found[4].needs == ("api → npm",)


def test_an_environment_has_tags_of_its_own():
    here = [Versioned("api", "api", parse_version("1.1.0"), "1.1.0", "api", "api")]
    origin = Origin("a1b2c3d", "develop", ("develop-{sha}", "dev"))
    found = targets(project(EVERYWHERE), here, {}, origin)
    assert found[0].tags == ("develop-a1b2c3d", "dev")


@pytest.mark.parametrize("order", [("web", "api"), ("api", "web")])
def test_only_what_is_given_is_published(order):
    here = [Versioned(name, name, parse_version("1.0.0"), "1.0.0", name, name) for name in order]
    assert {each.component for each in targets(project(EVERYWHERE), here, {}, HERE)} == {"api", "web"}
