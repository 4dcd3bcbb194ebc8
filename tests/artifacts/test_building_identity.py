"""What identifies a build: everything that can change its outcome, and nothing else."""

from __future__ import annotations

import os
import shutil

import pytest
from building_world import made_repository
from hypothesis import given, settings
from hypothesis import strategies as st

from crossfade.artifacts.building.deciding import Decider
from crossfade.artifacts.building.files import list_files
from crossfade.artifacts.building.identity import differences, identity_of
from crossfade.artifacts.building.memo import Memo
from crossfade.core.errors import BadInputError

GLOBS = ("src/**", "*.json", "!**/*.skip")
BASE = {
    "file core/src/a.txt": "a\n",
    "file core/src/b.txt": "b\n",
    "file core/src/c.skip": "c\n",
    "file core/notes.md": "n\n",
    "file core/x.log": "ignored by git\n",
    "file core/package.json": "{}\n",
    "file core/dist/out.txt": "made\n",
    "file base/one.txt": "1\n",
    "mode core/src/a.txt": "644",
    "mode core/src/b.txt": "644",
    "time core/src/a.txt": "1",
    "command": "cat src/* > dist/out.txt",
    "declared": "one",
    "passed": "one",
    "other variable": "one",
    "version": "1.0.0",
    "outputs": "dist",
    "timeout": "30",
}
WITHOUT_EFFECT = {
    *("file core/src/c.skip", "file core/notes.md", "file core/x.log", "file core/dist/out.txt"),
    *("time core/src/a.txt", "other variable", "timeout"),
}
CHOICES = {
    **{key: ("a\n", "b\n", "other\n", None) for key in BASE if key.startswith("file ")},
    **{key: ("644", "755", "664") for key in BASE if key.startswith("mode ")},
    "time core/src/a.txt": ("1", "1600000000"),
    "command": (BASE["command"], "cat src/*  > dist/out.txt"),
    "declared": ("one", "two"),
    "passed": ("one", "two", None),
    "other variable": ("one", None),
    "version": ("1.0.0", "1.0.1", None),
    "outputs": ("dist", "lib"),
    "timeout": ("30", "60"),
}
CHOICES["file core/src/a.txt"] = ("a\n", "b\n", "other\n")  # some input has to be there
edits = st.dictionaries(st.sampled_from(sorted(CHOICES)), st.integers(0, 3), max_size=3).map(
    lambda chosen: {key: CHOICES[key][at % len(CHOICES[key])] for key, at in chosen.items()}
)


def identity(root, world):
    """The identity of core in a repository that is as `world` says."""
    for path in [*root.glob("core/*"), *root.glob("base/*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    repository = known[root]
    repository.put({key[5:]: text for key, text in world.items() if key.startswith("file ") and text is not None})
    repository.put({"base/one.txt": world["file base/one.txt"] or "gone"})
    for key, mode in world.items():
        if key.startswith("mode ") and (root / key[5:]).exists():
            (root / key[5:]).chmod(int(mode, 8))
    os.utime(root / "core/src/a.txt", (int(world["time core/src/a.txt"]),) * 2)
    repository.variables |= {"PATH": os.environ["PATH"], "PASSED": "", "OTHER": ""}
    for name, key in (("PASSED", "passed"), ("OTHER", "other variable")):
        if world[key] is None:
            repository.variables.pop(name)
        else:
            repository.variables[name] = world[key]
    repository.read_only("base")
    repository.add(
        "core",
        world["command"],
        needs=("base",),
        inputs=GLOBS,
        outputs=(world["outputs"],),
        environment={"DECLARED": world["declared"]},
        pass_through=("PASSED",),
        timeout=float(world["timeout"]),
        version=world["version"],
    )
    return repository.decide("core")["core"].identity


def relevant(world):
    """What has an effect, as a person would list it."""
    mine = {key: value for key, value in world.items() if key not in WITHOUT_EFFECT}
    for key in [key for key in mine if key.startswith("mode ")]:
        there = world[f"file {key[5:]}"] is not None
        mine[key] = there and mine[key] == "755"
    if mine["outputs"] == "lib":  # then dist is no output, but no glob names it either
        mine["outputs"] = "lib"
    mine["file base/one.txt"] = mine["file base/one.txt"] or "gone"
    return mine


known = {}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    repository = made_repository(folder)
    del repository.targets["loader"], repository.edges["loader"]
    known[folder] = repository
    return folder


@settings(max_examples=60)
@given(before=edits, after=edits)
def test_the_identity_changes_exactly_if_something_relevant_changes(root, before, after):
    one, other = {**BASE, **before}, {**BASE, **before, **after}
    for world in (one, other):
        if world["file core/package.json"] is None:
            world["file core/package.json"] = "gone\n"  # a glob without a match is an error of its own
    assert (identity(root, one) == identity(root, other)) == (relevant(one) == relevant(other))


@given(
    st.dictionaries(st.text(max_size=3), st.text(max_size=3)), st.dictionaries(st.text(max_size=3), st.text(max_size=3))
)
def test_different_parts_have_different_identities_and_differences(one, other):
    assert (identity_of(one) == identity_of(other)) == (one == other) == (not differences(one, other))


def test_a_name_that_is_no_text_is_an_input_like_any_other(tmp_path):
    repository = made_repository(tmp_path)
    before = repository.decide()["core"]
    (tmp_path / os.fsdecode(b"core/src/\xff\xfe.txt")).write_text("x")
    after = repository.decide()["core"]
    assert before.identity != after.identity
    assert set(after.parts) - set(before.parts) == {f"input core/src/{os.fsdecode(bytes([255, 254]))}.txt"}


def test_links_are_seen_through_to_what_is_not_seen_anyway(tmp_path):
    repository = made_repository(tmp_path)
    repository.put({"shared/one.txt": "1", "shared/deep/two.txt": "2", "far.txt": "far"})
    for name, target in {
        "folder": "../../shared",
        "file": "../../far.txt",
        "self": "..",
        "dangling": "nowhere",
    }.items():
        (tmp_path / "core/src" / name).symlink_to(target)
    seen = [repository.decide()["core"].identity]
    for change in (
        lambda: repository.write(**{"shared/deep/two.txt": "other"}),
        lambda: repository.write(**{"far.txt": "other"}),
        lambda: repository.write(**{"shared/three.txt": "3"}),
        lambda: ((tmp_path / "core/src/dangling").unlink(), (tmp_path / "core/src/dangling").symlink_to("elsewhere")),
    ):
        change()
        seen.append(repository.decide()["core"].identity)
    assert len(set(seen)) == len(seen)


def test_a_script_that_the_command_names_is_an_input_wherever_it_stands(tmp_path):
    repository = made_repository(tmp_path)
    repository.write(**{"scripts/build.sh": "mkdir dist; cp src/a.txt dist"})
    repository.add("core", "sh ../scripts/build.sh>../progress.txt&&true")
    repository.write(**{"progress.txt": "what an earlier build has written"})
    before = repository.decide("core")["core"]
    repository.write(**{"scripts/build.sh": "mkdir dist; cp src/b.txt dist"})
    repository.write(**{"progress.txt": "and a later one"})
    after = repository.decide("core")["core"]
    assert differences(before.parts, after.parts) == ("scripts/build.sh changed",)


def test_a_program_is_identified_by_its_content_where_it_cannot_be_asked(tmp_path):
    repository = made_repository(tmp_path)
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "frobnicate"
    tool.write_text("#!/bin/sh\nmkdir dist; echo 1 > dist/out\n")
    tool.chmod(0o755)
    repository.variables["PATH"] = f"{tool.parent}:{os.environ['PATH']}"
    repository.add("core", ["frobnicate"])
    before = repository.decide("core")["core"]
    tool.write_text("#!/bin/sh\nmkdir dist; echo 2 > dist/out\n")
    assert differences(before.parts, repository.decide("core")["core"].parts) == ("frobnicate changed",)


def test_another_version_of_a_tool_is_another_build_and_says_so(tmp_path):
    repository = made_repository(tmp_path)
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    repository.variables["PATH"] = f"{node.parent}:{os.environ['PATH']}"
    repository.add("core", ["node", "build.js"])
    found = []
    for version in ("20.1.0", "22.0.0"):
        node.write_text(f"#!/bin/sh\necho v{version}\n")
        node.chmod(0o755)
        found.append(repository.decide("core")["core"])
    assert differences(found[0].parts, found[1].parts) == ("node 20.1.0 → 22.0.0",)


def test_a_lock_file_above_counts_without_the_versions_of_the_workspace(tmp_path):
    repository = made_repository(tmp_path)
    own, foreign = '"core": {"version": "1.0.0"}', '"node_modules/left-pad": {"version": "1.3.0"}'
    seen = []
    for mine, theirs in (
        (own, foreign),
        (own.replace("1.0.0", "2.0.0"), foreign),
        (own, foreign.replace("1.3", "1.4")),
    ):
        repository.write(**{"package-lock.json": f'{{"packages": {{{mine}, {theirs}}}}}'})
        seen.append(repository.decide()["core"])
    assert seen[0].identity == seen[1].identity
    assert differences(seen[0].parts, seen[2].parts) == ("package-lock.json changed",)


def test_what_builds_make_is_never_an_input_although_git_does_not_ignore_it(tmp_path):
    repository = made_repository(tmp_path)
    before = repository.decide()
    repository.build()
    assert (tmp_path / "core/dist/out.txt").exists()
    after = repository.decide()
    assert {name: each.identity for name, each in before.items()} == {
        name: each.identity for name, each in after.items()
    }


def test_without_a_repository_every_file_counts(tmp_path):
    repository = made_repository(tmp_path)
    shutil.rmtree(tmp_path / ".git")
    before = repository.decide()["core"]
    repository.write(**{"core/x.log": "x"})
    assert differences(before.parts, repository.decide()["core"].parts) == ("core/x.log is new",)
    assert "input core/src/a.txt" in before.parts


def test_a_repository_within_the_repository_is_read_as_well(tmp_path):
    repository = made_repository(tmp_path)
    inner = made_repository(tmp_path / "core" / "vendor")
    before = repository.decide()["core"]
    assert "input core/vendor/core/src/a.txt" in before.parts
    inner.write(**{"core/src/a.txt": "other", "x.log": "ignored there"})
    assert differences(before.parts, repository.decide()["core"].parts) == ("core/vendor/core/src/a.txt changed",)


def test_a_hook_of_git_does_not_lead_to_another_repository(tmp_path, monkeypatch):
    repository, other = made_repository(tmp_path / "one"), made_repository(tmp_path / "other")
    expected = list_files(repository.root, ["."])
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git" / "index"))
    other.write(**{"core/src/only-there.txt": "x"})
    assert list_files(repository.root, ["."]) == expected


def test_a_git_that_does_not_answer_is_told_in_its_own_words(tmp_path):
    repository = made_repository(tmp_path)
    (tmp_path / ".git" / "index").write_bytes(b"not an index")
    with pytest.raises(BadInputError, match=r"git does not tell its files: .*index") as caught:
        repository.decide()
    assert caught.value.code == "build.git"


def test_a_file_that_changes_within_the_same_instant_is_read_again(tmp_path):
    path, store = tmp_path / "a.txt", tmp_path / "memo.json"
    path.write_text("one")
    status = path.stat()
    memo = Memo(store)
    first = memo.sha256(str(path))
    memo.save((str(tmp_path),))
    path.write_text("two")  # the same size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same time
    assert Memo(store).sha256(str(path)) != first


def test_a_file_that_was_left_alone_is_not_read_again(tmp_path, monkeypatch):
    path, store = tmp_path / "a.txt", tmp_path / "memo.json"
    path.write_text("one")
    monkeypatch.setattr("crossfade.artifacts.building.memo._RACY", 0)
    memo = Memo(store)
    first = memo.sha256(str(path))
    memo.save((str(tmp_path),))
    again = Memo(store)
    assert (again.sha256(str(path)), again.read) == (first, 0)
    path.write_text("two")
    assert again.sha256(str(path)) != first
    again.save((str(tmp_path / "elsewhere"),))
    assert Memo(store)._known.keys() == {str(path)}
    path.unlink()
    gone = Memo(store)
    gone.save((str(tmp_path),))
    assert Memo(store)._known == {}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": [1, 2]}', b"\xff"])
def test_a_memo_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / "memo.json").write_bytes(content)
    assert Memo(tmp_path / "memo.json")._known == {}


def test_the_memo_and_no_memo_say_the_same(tmp_path):
    repository = made_repository(tmp_path)
    repository.build()
    decider = Decider(tmp_path, repository.cache, repository.targets, repository.edges, repository.variables)
    assert decider.files_of(repository.targets["core"]) == {
        key: value for key, value in repository.decide()["core"].parts.items() if key.startswith(("input", "lock"))
    }
