"""Lock files follow a release as their package managers would write them, and nothing else in them moves.

npm writes its own here, for each lockfile version. What pnpm, yarn and uv wrote for the same workspaces, before and after,
stands in `locks`.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from crossfade.core.errors import BadInputError
from crossfade.versioning.lock_files.changes import Changed, RangeChange, changed
from crossfade.versioning.lock_files.locks import lock_edits, read_locks
from crossfade.versioning.lock_files.npm import npm_lock
from crossfade.versioning.lock_files.pnpm import pnpm_lock
from crossfade.versioning.lock_files.uv import uv_lock
from crossfade.versioning.lock_files.yarn import yarn_lock
from crossfade.versioning.values import FileEdit, Package

SEEN = Path(__file__).parent / "locks"
BEFORE, AFTER = ("1.0.0", "^1.0.0"), ("2.0.0", "^2.0.0")


def workspace(protocol, version, range_):
    """The manifests of the workspace whose lock files stand in `locks`, by path."""
    wanted = protocol + range_
    return {
        "package.json": {
            "name": "top",
            "version": "1.0.0",
            "private": True,
            "workspaces": ["packages/*"],
            "devDependencies": {"@x/core": wanted},
        },
        "packages/core/package.json": {"name": "@x/core", "version": version, "license": "MIT"},
        "packages/api/package.json": {
            "name": "@x/api",
            "version": version,
            "dependencies": {"@x/core": wanted},
            "optionalDependencies": {"util": wanted},
        },
        "packages/util/package.json": {
            "name": "util",
            "version": version,
            "devDependencies": {"@x/core": f"{protocol}>={version} <9"},
        },
        "packages/site/package.json": {
            "name": "site",
            "version": version,
            "private": True,
            "dependencies": {"@x/api": protocol + version},
            "peerDependencies": {"@x/core": range_},
            "peerDependenciesMeta": {"@x/core": {"optional": True}},
        },
    }


def edits_between(before, after):
    """The edits that lead from the manifests of one workspace to those of another."""
    return [
        FileEdit(path, json.dumps(before[path]), json.dumps(after[path]))
        for path in before
        if before[path] != after[path]
    ]


PROTOCOLS = {
    "yarn-4": ("", "yarn.lock"),
    "yarn-4-workspace": ("workspace:", "yarn.lock"),
    "yarn-3": ("", "yarn.lock"),
    "pnpm-10": ("", "pnpm-lock.yaml"),
    "pnpm-10-workspace": ("workspace:", "pnpm-lock.yaml"),
    "pnpm-7": ("", "pnpm-lock.yaml"),
    "pnpm-7-workspace": ("workspace:", "pnpm-lock.yaml"),
}


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("tool", PROTOCOLS)
def test_a_lock_file_becomes_what_its_tool_writes(tool, windows):
    protocol, path = PROTOCOLS[tool]
    before, after = ((SEEN / f"{tool}-{each}.txt").read_text() for each in ("before", "after"))
    if windows:
        before, after = before.replace("\n", "\r\n"), after.replace("\n", "\r\n")
    there = edits_between(workspace(protocol, *BEFORE), workspace(protocol, *AFTER))
    back = edits_between(workspace(protocol, *AFTER), workspace(protocol, *BEFORE))
    assert lock_edits(there, {path: before}) == (FileEdit(path, before, after),)
    assert lock_edits(back, {path: after}) == (FileEdit(path, after, before),)
    assert lock_edits(there, {path: after}) == ()
    assert lock_edits([], {path: before}) == ()


def test_uv_writes_the_same():
    before, after = ((SEEN / f"uv-{each}.txt").read_text() for each in ("before", "after"))
    versions = {
        "packages/api": ("0.3.0rc1", "0.3.0"),
        "packages/core": ("1.2.0", "2.0.0"),
        "packages/dyn": ("1.0.0", "1.0.1"),  # a dynamic version is not in the file
        ".": ("1.0.0", "1.0.1"),
        "packages/site": ("1.0", "1.0.1"),
    }
    edits = [
        FileEdit(f"{folder}/pyproject.toml".removeprefix("./"), *(f'[project]\nversion = "{each}"\n' for each in pair))
        for folder, pair in versions.items()
    ]
    assert lock_edits(edits, {"uv.lock": before}) == (FileEdit("uv.lock", before, after),)
    poetry = FileEdit(
        "packages/core/pyproject.toml", *(f'[tool.poetry]\nversion = "{each}"' for each in ("1.2.0", "2.0.0"))
    )
    assert 'version = "2.0.0"' in lock_edits([poetry], {"uv.lock": before})[0].new


def write_npm(root, manifests, version):
    """The lock file that npm itself writes for the manifests."""
    for path, tree in manifests.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(tree, indent=2) + "\n")
    command = [
        "npm",
        "install",
        "--package-lock-only",
        "--offline",
        "--ignore-scripts",
        f"--lockfile-version={version}",
    ]
    quiet = {
        **os.environ,
        "npm_config_update_notifier": "false",
        "npm_config_audit": "false",
        "npm_config_fund": "false",
    }
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, done.stderr
    return (root / "package-lock.json").read_text()


def generated(seed):
    """A workspace before and after a release: all kinds of dependencies and ranges, some of them bumped."""
    chance = random.Random(seed)
    names = [f"@x/p{number}" if number % 2 else f"p{number}" for number in range(8)]
    bumped = set(chance.sample(names, 4))
    styles = ["^{}", "~{}", ">={}", "{}", ">=0.1.0 <9.0.0", "*", "{} || ^7.0.0"]
    before, after = {}, {}
    for place, (manifests, old) in enumerate(((before, True), (after, False))):
        chance = random.Random(seed + 1)
        version = {name: "1.2.0" if old or name not in bumped else "2.0.0-rc.1" for name in names}
        manifests["package.json"] = {
            "name": "top",
            "version": f"1.0.{place}",
            "private": True,
            "workspaces": ["packages/*"],
        }
        for index, name in enumerate(names):
            tree = {"name": name, "version": version[name], "description": f"ünï {index}"}
            for needed in chance.sample(names[:index], min(index, 3)):
                kind = chance.choice(["dependencies", "devDependencies", "optionalDependencies"])
                tree.setdefault(kind, {})[needed] = chance.choice(styles[:4] if needed in bumped else styles).format(
                    version[needed]
                )
            manifests[f"packages/dir-{index}/package.json"] = tree
    return before, after


@pytest.mark.parametrize(("seed", "version"), [(None, 1), (None, 2), (3, 3)])
def test_npm_itself_writes_the_same(tmp_path, require, seed, version):
    require("npm")
    manifests = (workspace("", *BEFORE), workspace("", *AFTER)) if seed is None else generated(seed)
    before, after = manifests
    old = write_npm(tmp_path / "before", before, version)
    new = write_npm(tmp_path / "after", after, version)
    assert old != new
    assert npm_lock(old, "package-lock.json", changed(edits_between(before, after))) == new


def test_npm_keeps_the_file_as_it_is_and_needs_nothing_more(tmp_path, require):
    require("npm")
    before, after = workspace("", *BEFORE), workspace("", *AFTER)
    old = write_npm(tmp_path, before, 3)
    updated = npm_lock(old, "package-lock.json", changed(edits_between(before, after)))
    (tmp_path / "package-lock.json").write_text(updated)
    assert write_npm(tmp_path, after, 3) == updated


THIRD = {
    "npm.json": """{
  "lockfileVersion": 3,
    "packages": {
    "core":   { "version" : "1.0.0", "dependencies": {"util": "^1.0.0", "third": "^1.0.0"} },
    "node_modules/core": {"version": "1.0.0"},
    "core/node_modules/util": {"version": "1.0.0"}
  }
}""",
    "pnpm.yaml": """\
lockfileVersion: '9.0'

overrides:
  util: ^1.0.0

importers:

  core:
    dependencies:
      third:
        specifier: ^1.0.0
        version: 1.0.0
      util:
        specifier: ^1.0.0
        version: link:../util

packages:

  third@1.0.0:
    resolution: {integrity: sha512-x==}
    dependencies:
      util:
        specifier: ^1.0.0
""",
    "yarn.lock": """\
# yarn

__metadata:
  version: 8

"core@workspace:core":
  version: 0.0.0-use.local
  resolution: "core@workspace:core"
  dependencies:
    third: "npm:^1.0.0"
    util: "npm:^1.0.0"
  languageName: unknown
  linkType: soft

"third@npm:^1.0.0":
  version: 1.0.0
  resolution: "third@npm:1.0.0"
  dependencies:
    util: "npm:1.x"
  checksum: 10c0/1
  languageName: node
  linkType: hard

"util@npm:1.x, util@npm:^1.0.0, util@workspace:util":
  version: 0.0.0-use.local
  resolution: "util@workspace:util"
  languageName: unknown
  linkType: soft

"util@npm:^1.9.0":
  version: 1.9.0
  resolution: "util@npm:1.9.0"
  checksum: 10c0/2
  languageName: node
  linkType: hard
""",
}
CORE = Changed("core", "npm", ("1.0.0", "1.1.0"), (RangeChange("dependencies", "util", "^1.0.0", "^2.0.0"),))


def changed_lines(old, new):
    return [line.strip() for line in new.split("\n") if line not in old.split("\n")]


def test_what_is_not_ours_stays_as_it_is():
    old = THIRD["npm.json"]
    new = npm_lock(old, "x", [CORE])
    assert new == old.replace('"version" : "1.0.0"', '"version" : "1.1.0"').replace('{"util": "^1', '{"util": "^2')
    old = THIRD["pnpm.yaml"]
    new = pnpm_lock(old, "x", [CORE])
    assert changed_lines(old, new) == ["specifier: ^2.0.0"]
    assert new.index("^2.0.0") < new.index("link:../util")
    old = THIRD["yarn.lock"]
    new = yarn_lock(old, "x", [CORE])
    assert changed_lines(old, new) == ['util: "npm:^2.0.0"', '"util@npm:1.x, util@npm:^2.0.0, util@workspace:util":']
    # A range that leads to the registry is not claimed for the workspace.
    third = Changed("core", "npm", None, (RangeChange("dependencies", "util", "^1.0.0", "^1.9.0"),))
    assert changed_lines(old, yarn_lock(old, "x", [third])) == [
        'util: "npm:^1.9.0"',
        '"util@npm:1.x, util@workspace:util":',
    ]


def test_yarn_sorts_its_entries_anew():
    old = THIRD["yarn.lock"].replace("util@npm:1.x, ", "").replace('util: "npm:1.x"', 'util: "npm:^1.0.0"')
    old = old.replace('third: "npm:^1.0.0"\n    util: "npm:^1.0.0"', 'util: "npm:^1.0.0"').replace(
        '  dependencies:\n    util: "npm:^1.0.0"\n  checksum', "  checksum"
    )
    new = yarn_lock(old, "x", [CORE])
    assert [line for line in new.split("\n") if line.startswith('"util')] == [
        '"util@npm:^1.9.0":',
        '"util@npm:^2.0.0, util@workspace:util":',
    ]
    assert (
        yarn_lock(new, "x", [Changed("core", "npm", None, (RangeChange("dependencies", "util", "^2.0.0", "^1.0.0"),))])
        == old
    )


def test_a_key_of_yarn_that_is_very_long_is_written_in_its_own_way():
    many = ", ".join(f"util@npm:1.{number}.x" for number in range(80))
    old = THIRD["yarn.lock"].replace(
        '"util@npm:1.x, util@npm:^1.0.0, util@workspace:util":', f'? "{many}, util@npm:^1.0.0, util@workspace:util"\n:'
    )
    new = yarn_lock(old, "x", [CORE])
    assert changed_lines(old, new)[1].startswith('? "util@npm:1.0.x, ')
    assert changed_lines(old, new)[1].endswith('util@npm:^2.0.0, util@workspace:util"')
    assert len(new.split("\n")) == len(old.split("\n"))


def test_the_first_version_of_yarn_says_nothing_about_the_workspace():
    old = '# yarn lockfile v1\n\n\nutil@^1.0.0:\n  version "1.0.0"\n'
    assert yarn_lock(old, "yarn.lock", [CORE]) == old


def test_lock_files_lie_at_the_top_and_in_folders(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "uv.lock").write_text('[[package]]\nname = "core"\nversion = "1.0"\nsource = { virtual = "core" }\n')
    (tmp_path / "api" / "uv.lock").write_text(
        '[[package]]\nname = "core"\nversion = "1.0"\nsource = { directory = "../core" }\n'
    )
    locks = read_locks(tmp_path, [Package("api", "1.0.0", "api"), Package("core", "1.0.0", "core")])
    assert set(locks) == {"uv.lock", "api/uv.lock"}
    edit = FileEdit("core/pyproject.toml", '[project]\nversion = "1.0"', '[project]\nversion = "1.1.0"')
    assert [each.new.count('version = "1.1.0"') for each in lock_edits([edit], locks)] == [1, 1]


@pytest.mark.parametrize("name", ["package-lock.json", "pnpm-lock.yaml", "yarn.lock", "uv.lock"])
def test_an_unfinished_merge_is_refused(name):
    text = "\n<<<<<<< HEAD\n=======\n>>>>>>> other\n"
    edit = FileEdit("a/package.json", '{"version": "1.0.0"}', '{"version": "1.1.0"}')
    with pytest.raises(BadInputError) as caught:
        lock_edits([edit], {name: text})
    assert (caught.value.code, caught.value.where) == ("versions.lock-file", f"{name}:2")
    assert "lock_files: false" in caught.value.next


def test_a_thousand_packages_are_one_pass():
    names = [f"p{number}" for number in range(1000)]
    lock = {"packages": {name: {"version": "1.0.0", "dependencies": {"p0": "^1.0.0"}} for name in names}}
    text = json.dumps(lock, indent=2)
    packages = [
        Changed(name, "npm", ("1.0.0", "1.1.0"), (RangeChange("dependencies", "p0", "^1.0.0", "^1.1.0"),))
        for name in names
    ]
    assert json.loads(npm_lock(text, "x", packages)) == json.loads(text.replace("1.0.0", "1.1.0"))
    uv = "".join(
        f'[[package]]\nname = "{name}"\nversion = "1.0.0"\nsource = {{ editable = "{name}" }}\n\n' for name in names
    )
    python = [Changed(name, "python", ("1.0.0", "1.1.0")) for name in names]
    assert uv_lock(uv, "x", python) == uv.replace("1.0.0", "1.1.0")
