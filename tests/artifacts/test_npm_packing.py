"""Packages are packed by the real npm, get their final ranges, and come out the same every time."""

import asyncio
import json
import tarfile

import pytest

from crossfade.artifacts.packing import pack
from crossfade.artifacts.port import Coordinate
from crossfade.artifacts.workspace_ranges import resolved
from crossfade.core.errors import BadInputError, CrossfadeError

CORE, SHELL = Coordinate("@navi/core", "1.2.0"), Coordinate("navi-core", "1.2.0")
VERSIONS = {"@navi/core": "1.2.0", "navi-core": "1.2.0"}


def package(folder, at, manifest=None, **files):
    (folder / "dist").mkdir(parents=True, exist_ok=True)
    said = {"name": at.name, "version": at.version, **(manifest or {})}
    (folder / "package.json").write_text(json.dumps(said, indent="\t"))
    for name, text in {"index.js": "export {}\n", **files}.items():
        (folder / "dist" / name).write_text(text)
    return folder


def contents(tarball):
    with tarfile.open(tarball) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


@pytest.fixture(autouse=True)
def _npm(require):
    require("npm")


async def test_the_same_bytes_every_time(tmp_path):
    folders = {
        CORE: package(tmp_path / "core", CORE, {"dependencies": {"navi-core": "workspace:^"}}),
        SHELL: package(tmp_path / "shell", SHELL),
    }
    made = []
    for attempt in ("first", "second"):
        packed = await pack(folders, tmp_path / attempt, versions=VERSIONS)
        assert [each.at for each in packed] == [CORE, SHELL]
        assert sorted(path.name for path in (tmp_path / attempt).iterdir()) == [
            "@navi+core-1.2.0.tgz",
            "navi-core-1.2.0.tgz",
        ]
        made.append([each.tarball.read_bytes() for each in packed])
        (tmp_path / "core/dist/index.js").touch()
    assert made[0] == made[1]


async def test_workspace_ranges_become_versions(tmp_path):
    manifest = {"dependencies": {"navi-core": "workspace:^", "left": "^1.0.0"}, "files": ["dist"]}
    folder = package(tmp_path / "core", CORE, manifest, **{"a.js": "1"})
    (folder / "notes.txt").write_text("not among `files`")
    (packed,) = await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS)
    files = contents(packed.tarball)
    assert list(files) == ["package/package.json", "package/dist/a.js", "package/dist/index.js"]
    assert json.loads(files["package/package.json"])["dependencies"] == {"navi-core": "^1.2.0", "left": "^1.0.0"}
    assert json.loads((folder / "package.json").read_text())["dependencies"]["navi-core"] == "workspace:^"


async def test_what_needs_no_change_gets_none(tmp_path):
    folder = package(tmp_path / "core", CORE)
    (packed,) = await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS)
    assert contents(packed.tarball)["package/package.json"] == (folder / "package.json").read_text()


async def test_no_script_is_run_and_that_is_said(tmp_path):
    scripts = dict.fromkeys(("prepack", "prepare", "postpack", "test"), f"touch {tmp_path}/ran")
    folder = package(tmp_path / "core", CORE, {"scripts": scripts})
    (packed,) = await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS)
    assert packed.skipped == ("prepare", "prepack", "postpack")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("manifest", "code", "words"),
    [
        ({"version": "1.1.9"}, "npm.unexpected-version", "@navi/core@1.1.9"),
        ({"name": "../evil"}, "npm.unexpected-version", "../evil"),
        ({"version": None}, "npm.unexpected-version", "None"),
        ({"private": True}, "npm.private", "it is private"),
        ({"dependencies": {"gone": "workspace:*"}}, "npm.open-range", "no package gone"),
        ({"dependencies": {"near": "link:../near"}}, "npm.open-range", "leads nowhere"),
        ({"peerDependencies": {"react": "catalog:"}}, "npm.open-range", "catalog:"),
    ],
)
async def test_what_the_plan_does_not_say_is_refused(tmp_path, manifest, code, words):
    folders = {SHELL: package(tmp_path / "shell", SHELL), CORE: package(tmp_path / "core", CORE, manifest)}
    with pytest.raises(BadInputError) as caught:
        await pack(folders, tmp_path / "out", versions=VERSIONS)
    assert caught.value.code == code
    assert words in caught.value.what
    assert str(tmp_path / "core" / "package.json") == caught.value.where
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [None, "{", "[]"])
async def test_a_folder_without_a_package(tmp_path, text):
    folder = package(tmp_path / "core", CORE)
    (folder / "package.json").unlink()
    if text is not None:
        (folder / "package.json").write_text(text)
    with pytest.raises(BadInputError) as caught:
        await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS)
    assert caught.value.code == "npm.no-package"


async def test_a_file_of_secrets_stays_at_home(tmp_path):
    folder = package(tmp_path / "core", CORE, **{".env.example": "TOKEN="})
    await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS)
    (folder / "dist" / ".env.production").write_text("TOKEN=hunter2")
    with pytest.raises(BadInputError) as caught:
        await pack({CORE: folder}, tmp_path / "other", versions=VERSIONS)
    assert caught.value.code == "npm.secret-file"
    assert "dist/.env.production" in caught.value.what
    assert list((tmp_path / "other").iterdir()) == []


async def test_no_npm(tmp_path):
    folder = package(tmp_path / "core", CORE)
    with pytest.raises(CrossfadeError) as caught:
        await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS, npm="npm-that-is-not-there")
    assert caught.value.code == "npm.not-installed"


async def test_names_and_versions_that_are_none(tmp_path):
    strange = Coordinate("@navi/core", "1.2")
    with pytest.raises(BadInputError) as caught:
        await pack({strange: package(tmp_path / "core", strange)}, tmp_path / "out", versions=VERSIONS)
    assert "2 of 3 numbers" in caught.value.what
    strange = Coordinate("../core", "1.2.0")
    with pytest.raises(BadInputError) as caught:
        await pack({strange: package(tmp_path / "core", strange)}, tmp_path / "out", versions=VERSIONS)
    assert caught.value.code == "npm.bad-name"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'npm error code ENOSPC' >&2; exit 1", "code ENOSPC"),
        ("echo packed", "newer npm"),
        ("echo '[]'", "1 packages became 0 files"),
    ],
)
async def test_an_npm_that_fails_is_heard(tmp_path, script, words):
    program = tmp_path / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    folder = package(tmp_path / "core", CORE)
    with pytest.raises(CrossfadeError) as caught:
        await pack({CORE: folder}, tmp_path / "out", versions=VERSIONS, npm=str(program))
    assert caught.value.code == "npm.pack-failed"
    assert words in caught.value.what
    assert str(folder) in caught.value.where
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_cancelled_pack_leaves_nothing(tmp_path):
    folder = package(tmp_path / "core", CORE)
    task = asyncio.ensure_future(pack({CORE: folder}, tmp_path / "out", versions=VERSIONS))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("workspace:*", "1.2.0"),
        ("workspace:", "1.2.0"),
        ("workspace:^", "^1.2.0"),
        ("workspace:~", "~1.2.0"),
        ("workspace:>=1 <3", ">=1 <3"),
        ("workspace:../core", "1.2.0"),
        ("workspace:@navi/core@*", "npm:@navi/core@1.2.0"),
        ("^1.0.0", "^1.0.0"),
        ("file:./vendor/core", "file:./vendor/core"),
    ],
)
def test_ranges(written, meant):
    known = {"core": "1.2.0", "@navi/core": "1.2.0"}
    assert resolved({"dependencies": {"core": written}}, known) == {"dependencies": {"core": meant}}
