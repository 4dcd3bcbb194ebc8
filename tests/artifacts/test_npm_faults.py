"""The npm adapter on a real verdaccio: what goes wrong there, what real npm makes of what we publish."""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys

import httpx
import pytest
from npm_packages import packed
from registry_world import Fault, faulty

from crossfade.artifacts.credentials import bearer
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.packing import pack
from crossfade.artifacts.port import Artifact, ConflictError, Coordinate, MissingError, RefusedError, Secret
from crossfade.artifacts.registries.npm import NpmRegistry
from crossfade.artifacts.registries.npm.packument import STAGE, Packument
from crossfade.artifacts.side_by_side import together
from crossfade.config.publishing import NpmRegistry as Settings
from crossfade.core.clock import SystemClock, VirtualClock
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

pytestmark = pytest.mark.real


@pytest.fixture
async def connect(npm_token):
    """`connect(url, timeout=30)` is the registry at an address; its waits pass at once."""
    made = []

    def registry(url, timeout=30.0, attempts=4, clock=None):
        manners = Manners(rate=1000, timeout=timeout, attempts=attempts)
        login = bearer(Secret(npm_token), "NPM_TOKEN")
        clock = clock or VirtualClock()
        made.append(RegistryClient("npm", url, login=login, manners=manners, clock=clock, chance=lambda: 0.5))
        return NpmRegistry(made[-1])

    yield registry
    await together(*(client.aclose() for client in made))


@pytest.fixture
def registry(connect, verdaccio):
    return connect(verdaccio.url)


def document(server, name):
    return httpx.get(f"{server.url}/{name.replace('/', '%2f')}").json()


async def released(registry, folder, name, *versions, tag="latest"):
    """Publish versions one after the other, each with `tag`."""
    made = [packed(folder, Coordinate(name, version), version.encode()) for version in versions]
    for artifact in made:
        await registry.upload(artifact)
        await registry.tag(artifact.at, [tag])
    return made


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, headers={"retry-after": "9"}),
        Fault(status=429, headers={"retry-after": "9"}),
        Fault(cut=True),
        Fault(status=502, after=True, only="PUT"),
        Fault(cut=True, after=True, only="PUT"),
        Fault(cut=True, only="PUT"),
    ],
    ids=["500", "503", "429", "cut", "done-and-502", "done-and-cut", "cut-PUT"],
)
async def test_a_registry_that_stumbles(connect, verdaccio, tmp_path, request, fault):
    at = Coordinate(f"@navi/stumbles-{request.node.callspec.id.lower()}", "1.0.0")
    artifact = packed(tmp_path, at, b"one")
    async with faulty(verdaccio.url, fault) as proxy:
        registry = connect(proxy.url)
        await registry.upload(artifact)
        await registry.verify(artifact)
        proxy.faults.append(Fault(cut=True, after=True, only="PUT"))
        await registry.tag(at, ["latest"])
        proxy.faults.append(Fault(cut=True, after=True, only="PUT"))
        await registry.withdraw(at, reason="gone", back_to=None)
        assert proxy.faults == []
    said = document(verdaccio, at.name)
    assert list(said["versions"]) == ["1.0.0"]
    assert said["versions"]["1.0.0"]["deprecated"] == "gone"


async def test_a_registry_that_hangs_is_left(connect, verdaccio, tmp_path):
    artifact = packed(tmp_path, Coordinate("hangs", "1.0.0"), b"one")
    async with faulty(verdaccio.url, *[Fault()] * 8) as proxy:
        registry = connect(proxy.url, timeout=0.2, attempts=2)
        for order in (registry.find([artifact.at]), registry.upload(artifact), registry.tag(artifact.at, ["latest"])):
            with pytest.raises(UnreachableError, match="did not answer within 200ms"):
                await order


async def test_a_registry_that_has_enough_of_us(connect, verdaccio, tmp_path):
    artifact = packed(tmp_path, Coordinate("enough", "1.0.0"), b"one")
    async with faulty(verdaccio.url, *[Fault(status=429)] * 4) as proxy:
        with pytest.raises(UnreachableError) as caught:
            await connect(proxy.url).upload(artifact)
    assert caught.value.code == "registry.too-many-requests"


async def test_a_scope_that_is_closed(registry, npm_token, tmp_path):
    with pytest.raises(RefusedError) as caught:
        await registry.upload(packed(tmp_path, Coordinate("@closed/core", "1.0.0"), b"one"))
    assert "NPM_TOKEN" in caught.value.next
    assert "@closed/core" in caught.value.what
    assert npm_token not in str(caught.value)


async def test_many_versions_of_one_package_at_once(registry, tmp_path):
    made = [packed(tmp_path, Coordinate("@navi/many", f"1.{minor}.0"), b"x") for minor in range(8)]
    await together(*(registry.upload(each) for each in made))
    assert set(await registry.find([each.at for each in made])) == {each.at for each in made}


async def test_latest_goes_forward_only(registry, verdaccio, tmp_path):
    name = "@navi/forward"
    old, new = await released(registry, tmp_path, name, "1.9.0", "2.0.0")
    backport, unripe = (packed(tmp_path, Coordinate(name, version), b"x") for version in ("1.9.1", "3.0.0-rc.1"))
    for artifact in (backport, unripe):
        await registry.upload(artifact)
        with pytest.raises(ConflictError) as caught:
            await registry.tag(artifact.at, ["release-1", "latest"])
        assert caught.value.code == "npm.tag-goes-back"
    assert document(verdaccio, name)["dist-tags"] == {"latest": "2.0.0", STAGE: "3.0.0-rc.1"}
    await registry.tag(backport.at, ["release-1"])
    await registry.tag(unripe.at, ["rc"])
    assert document(verdaccio, name)["dist-tags"] == {"latest": "2.0.0", "release-1": "1.9.1", "rc": "3.0.0-rc.1"}
    await registry.withdraw(new.at, reason="broken", back_to=old.at)
    assert document(verdaccio, name)["dist-tags"]["latest"] == "1.9.0"
    await registry.tag(backport.at, ["latest"])


async def test_latest_is_set_and_not_guessed(registry, verdaccio, tmp_path):
    name = "@navi/guessed"
    first, second = (packed(tmp_path, Coordinate(name, version), b"x") for version in ("1.0.0", "1.1.0"))
    await registry.upload(first)
    assert document(verdaccio, name)["dist-tags"] == {"latest": "1.0.0", STAGE: "1.0.0"}
    assert (await registry.find([first.at]))[first.at].tags == frozenset()
    await registry.tag(first.at, ["latest"])
    await registry.upload(second)
    assert document(verdaccio, name)["dist-tags"] == {"latest": "1.0.0", STAGE: "1.1.0"}
    third = packed(tmp_path, Coordinate("@navi/guessed-back", "1.1.0"), b"x")
    await registry.upload(packed(tmp_path, Coordinate("@navi/guessed-back", "1.0.0"), b"x"))
    await registry.upload(third)
    await registry.withdraw(third.at, reason="bad", back_to=Coordinate("@navi/guessed-back", "1.0.0"))
    assert document(verdaccio, "@navi/guessed-back")["dist-tags"]["latest"] == "1.0.0"


async def test_a_withdrawal_is_complete_and_touches_nothing_else(registry, verdaccio, tmp_path):
    name = "@navi/complete"
    _, second, third = await released(registry, tmp_path, name, "1.0.0", "1.1.0", "1.2.0")
    await registry.tag(third.at, ["stable"])
    said = await registry.withdraw(third.at, reason="Carts lose items; use 1.1.0", back_to=second.at)
    assert said.done == (
        "dist-tag latest leads to @navi/complete@1.1.0",
        "dist-tag stable leads to @navi/complete@1.1.0",
        "@navi/complete@1.2.0 is deprecated: whoever installs it is told why",
    )
    now = document(verdaccio, name)
    assert {version: each.get("deprecated") for version, each in now["versions"].items()} == {
        "1.0.0": None,
        "1.1.0": None,
        "1.2.0": "Carts lose items; use 1.1.0",
    }
    another = await registry.withdraw(third.at, reason="Use 1.1.0", back_to=second.at)
    assert another.done == ("@navi/complete@1.2.0 is deprecated: whoever installs it is told why",)


async def test_a_withdrawal_that_was_interrupted_goes_on(connect, registry, verdaccio, tmp_path):
    first, second = await released(registry, tmp_path, "@navi/interrupted", "1.0.0", "1.1.0")
    async with faulty(verdaccio.url, Fault(cut=True, only="PUT", ends="interrupted")) as proxy:
        with pytest.raises(UnreachableError):
            await connect(proxy.url, attempts=1).withdraw(second.at, reason="bad", back_to=first.at)
    assert document(verdaccio, "@navi/interrupted")["dist-tags"]["latest"] == "1.0.0"
    said = await registry.withdraw(second.at, reason="bad", back_to=first.at)
    assert said.done == ("@navi/interrupted@1.1.0 is deprecated: whoever installs it is told why",)
    assert (await registry.find([second.at]))[second.at].withdrawn == "bad"


PUBLISHER = """
import asyncio, os, sys
from pathlib import Path
from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.artifacts.registries.npm import NpmRegistry
from crossfade.config.publishing import NpmRegistry as Settings

async def publish(url, path, name, version):
    registry = NpmRegistry.of("npm", Settings(url=url, token="$TOKEN", rate=1000), os.environ)
    print("ready", flush=True)
    await registry.upload(Artifact(name, Coordinate(name, version), (Path(path),), Path(path).parent))
    print("done", flush=True)

asyncio.run(publish(*sys.argv[1:]))
"""


@pytest.mark.parametrize("after", [0.0, 0.1, 0.25])
async def test_a_publisher_that_is_killed(connect, verdaccio, npm_token, tmp_path, after):
    at = Coordinate("@navi/killed", f"1.0.{int(after * 100)}")
    artifact = packed(tmp_path, at, random.Random(1).randbytes(3_000_000))
    argv = [sys.executable, "-c", PUBLISHER, verdaccio.url, str(artifact.files[0]), *at]
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, "TOKEN": npm_token}, stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"ready\n"
    await asyncio.sleep(after)
    with contextlib.suppress(ProcessLookupError):  # it may have been faster: then all is there, which is as good
        process.kill()
    await process.wait()
    registry = connect(verdaccio.url, clock=SystemClock())  # the server may still be busy with what it was sent
    await registry.upload(artifact)
    await registry.verify(artifact)
    await registry.tag(at, [f"after-{int(after * 100)}"])


async def test_a_way_back_that_is_none(registry, tmp_path):
    name = "@navi/way-back"
    first, second = await released(registry, tmp_path, name, "1.0.0", "1.1.0")
    await registry.withdraw(first.at, reason="old", back_to=None)
    before = await registry.find([first.at, second.at])
    for back_to in (first.at, second.at, Coordinate("@navi/other", "1.0.0")):
        with pytest.raises(BadInputError):
            await registry.withdraw(second.at, reason="bad", back_to=back_to)
    assert await registry.find([first.at, second.at]) == before


@pytest.mark.parametrize("tag", ["v1", "1.x", "x", "1.2.0"])
async def test_a_tag_that_clients_take_for_a_range(registry, tmp_path, tag):
    (made,) = await released(registry, tmp_path, "@navi/ranges", "1.0.0")
    with pytest.raises(BadInputError, match="cannot be a dist-tag"):
        await registry.tag(made.at, [tag])


async def test_a_tarball_without_a_version(registry, verdaccio, tmp_path):
    (made,) = await released(registry, tmp_path, "@navi/half", "1.0.0")
    stored = verdaccio.tarballs("@navi/half")[0]
    (stored.parent / "half-1.1.0.tgz").write_bytes(stored.read_bytes())
    with pytest.raises(CrossfadeError) as caught:
        await registry.upload(packed(tmp_path, Coordinate("@navi/half", "1.1.0"), b"one"))
    assert caught.value.code == "npm.half-published"
    await registry.verify(made)


async def test_a_version_without_a_tarball(registry, connect, verdaccio, tmp_path):
    (made,) = await released(registry, tmp_path, "@navi/lost", "1.0.0")
    async with faulty(verdaccio.url, Fault(status=404, ends=".tgz")) as proxy:
        with pytest.raises(MissingError) as caught:
            await connect(proxy.url).verify(made)
    assert caught.value.code == "npm.no-tarball"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"version": "1.0.1"}, "it holds @navi/core@1.0.1"),
        ({"private": True}, "private"),
        ({"version": "1.0.0+5"}, "no build metadata"),
        ({"version": "1.0"}, "2 of 3 numbers"),
    ],
)
async def test_packages_that_are_not_published(registry, tmp_path, said, words):
    at = Coordinate(
        "@navi/core", said["version"] if words != "it holds @navi/core@1.0.1" and "version" in said else "1.0.0"
    )
    with pytest.raises(BadInputError, match=words.replace("+", r"\+")):
        await registry.upload(packed(tmp_path, at, b"one", said))


async def test_files_that_are_no_package(registry, tmp_path):
    at = Coordinate("core", "1.0.0")
    good = packed(tmp_path, at, b"one").files[0]
    for name, body in (("text", b"no tarball"), ("cut", good.read_bytes()[:-40]), ("empty", b"")):
        (tmp_path / name).write_bytes(body)
    for files in ((), (good, good), (tmp_path / "none",), *((tmp_path / name,) for name in ("text", "cut", "empty"))):
        with pytest.raises(BadInputError) as caught:
            await registry.upload(Artifact("core", at, files, tmp_path))
        assert caught.value.code == "npm.unusable-package"


async def test_names_that_are_none(registry):
    with pytest.raises(BadInputError) as caught:
        await registry.find([Coordinate("../core?x=1", "1.0.0")])
    assert caught.value.code == "npm.bad-name"


async def test_the_registry_of_a_file(verdaccio, npm_token, tmp_path):
    settings = Settings(url=verdaccio.url, token="$PUBLISH_TOKEN", rate=500)  # noqa: S106 - the name of a variable
    with pytest.raises(BadInputError, match="PUBLISH_TOKEN is not set"):
        NpmRegistry.of("npm", settings, {})
    registry = NpmRegistry.of("npm", settings, {"PUBLISH_TOKEN": npm_token + "\n"})
    await registry.upload(packed(tmp_path, Coordinate("@navi/of-a-file", "1.0.0"), b"one"))
    await registry.aclose()
    nobody = NpmRegistry.of("npm", Settings(url=verdaccio.url), {})
    with pytest.raises(RefusedError) as caught:
        await nobody.upload(packed(tmp_path, Coordinate("@navi/of-a-file", "1.1.0"), b"one"))
    assert "give `registries.npm` credentials" in caught.value.next
    await nobody.aclose()


def npm(server, folder, *argv):
    environ = {**os.environ, "npm_config_registry": server.url, "npm_config_cache": str(folder / ".npm-cache")}
    environ["npm_config_userconfig"] = str(folder / ".npmrc")
    run = subprocess.run(
        ["npm", *argv], cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return run


async def test_real_npm_installs_what_we_publish(registry, verdaccio, require, tmp_path):
    require("npm")
    core, shell = Coordinate("@navi/real-core", "1.2.0"), Coordinate("navi-real-shell", "1.2.0")
    manifests = {
        core: {"main": "index.js"},
        shell: {"bin": "cli.js", "dependencies": {core.name: "workspace:^"}},
    }
    folders = {}
    for at, said in manifests.items():
        folders[at] = tmp_path / at.name
        folders[at].mkdir(parents=True)
        (folders[at] / "package.json").write_text(json.dumps({"name": at.name, "version": at.version, **said}))
        (folders[at] / "index.js").write_text("module.exports = 'from the core'\n")
        (folders[at] / "cli.js").write_text(f"#!/usr/bin/env node\nconsole.log(require('{core.name}'))\n")
        (folders[at] / "README.md").write_text(f"# {at.name}\n")
    for each in await pack(folders, tmp_path / "packed", versions={at.name: at.version for at in folders}):
        artifact = Artifact(each.at.name, each.at, (each.tarball,), each.tarball.parent)
        await registry.upload(artifact)
        await registry.verify(artifact)
        await registry.tag(each.at, ["latest"])
    home = tmp_path / "home"
    home.mkdir()
    (home / "package.json").write_text("{}")
    await asyncio.to_thread(npm, verdaccio, home, "install", "--no-audit", "--no-fund", shell.name)
    said = await asyncio.to_thread(npm, verdaccio, home, "exec", "--offline", "navi-real-shell")
    assert said.stdout.strip() == "from the core"
    locked = json.loads((home / "package-lock.json").read_text())["packages"][f"node_modules/{core.name}"]
    found = await registry.find([core])
    assert [locked["integrity"]] == list(found[core].integrity.values())
    seen = await asyncio.to_thread(npm, verdaccio, home, "view", "--json", shell.name, "readme", "dependencies", "bin")
    assert json.loads(seen.stdout) == {
        "readme": "# navi-real-shell\n",
        "dependencies": {core.name: "^1.2.0"},
        "bin": {"navi-real-shell": "cli.js"},
    }
    await registry.withdraw(shell, reason="Use 1.1.0", back_to=None)
    late = tmp_path / "late"
    late.mkdir()
    warned = await asyncio.to_thread(npm, verdaccio, late, "install", "--no-audit", "--no-fund", f"{shell.name}@1.2.0")
    assert "Use 1.1.0" in warned.stderr


def test_documents_of_old_and_odd_registries():
    old = Packument.of("a", {"versions": {"1.0.0": {"dist": {"shasum": "00" * 20}, "deprecated": True}}})
    assert old.versions["1.0.0"].integrity == "sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    assert old.versions["1.0.0"].deprecated == "deprecated"
    several = {"integrity": "sha1-AA== sha512-BB==", "shasum": "00", "tarball": "http://x/a/-/a-1.0.0.tgz"}
    new = Packument.of("a", {"versions": {"1.0.0": {"dist": several, "deprecated": ""}}, "dist-tags": {STAGE: "1.0.0"}})
    published = new.published(Coordinate("a", "1.0.0"))
    assert published.integrity == {"a-1.0.0.tgz": "sha512-BB=="}
    assert (published.tags, published.withdrawn, new.staged) == (frozenset(), None, "1.0.0")
    assert Packument.of("a", []).published(Coordinate("a", "1.0.0")) is None
