"""Builds as they are carried out: what is kept is taken, a failure stops only what depends on it, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from building_world import COPY, made_repository, statuses

from crossfade.artifacts.building.running import METADATA, last_lines
from crossfade.artifacts.building.trees import digest_of


def test_what_is_unchanged_is_not_built_again(repository):
    assert statuses(repository.build()) == {"core": "built", "loader": "built"}
    assert repository.text("loader/dist/out.txt") == "a\nb\nl\n"
    again = repository.build()
    assert statuses(again) == {"core": "unchanged", "loader": "unchanged"}
    assert repository.told.begun == ["core", "loader"]


def test_a_change_builds_what_it_concerns(repository):
    repository.build()
    repository.write(**{"loader/src/l.txt": "other\n"})
    assert statuses(repository.build()) == {"core": "unchanged", "loader": "built"}
    repository.write(**{"core/src/a.txt": "other\n"})
    assert statuses(repository.build()) == {"core": "built", "loader": "built"}
    assert repository.text("loader/dist/out.txt") == "other\nb\nother\n"


def test_a_change_back_takes_what_is_kept(repository):
    first = repository.build()
    repository.write(**{"core/src/a.txt": "other\n"})
    repository.build()
    repository.write(**{"core/src/a.txt": "a\n"})
    again = repository.build()
    assert statuses(again) == {"core": "restored", "loader": "restored"}
    assert again["core"].record == first["core"].record
    assert repository.text("loader/dist/out.txt") == "a\nb\nl\n"


def test_only_what_is_named_and_what_it_needs_is_built(repository):
    assert statuses(repository.build("core")) == {"core": "built"}
    assert statuses(repository.build("loader")) == {"core": "unchanged", "loader": "built"}


TREE = "mkdir -p dist/deep dist/empty; echo x > dist/deep/x; echo '#!/bin/sh' > dist/run; chmod 755 dist/run; ln -s deep/x dist/link"


def harm_nothing(dist):
    pass


def harm_all(dist):
    shutil.rmtree(dist)


def harm_text(dist):
    (dist / "deep/x").write_text("tampered")


def harm_mode(dist):
    (dist / "run").chmod(0o644)


def harm_link(dist):
    (dist / "link").unlink()
    (dist / "link").symlink_to("/etc/passwd")


def harm_more(dist):
    (dist / "deep/more").mkdir()
    (dist / "deep/more/y").write_text("y")


def harm_empty(dist):
    (dist / "empty").rmdir()


def harm_file_for_folder(dist):
    shutil.rmtree(dist / "deep")
    (dist / "deep").write_text("not a folder")


def harm_folder_for_file(dist):
    (dist / "run").unlink()
    (dist / "run").mkdir()
    (dist / "run" / "in").write_text("")


def harm_link_for_folder(dist):
    shutil.move(dist / "deep", dist.parents[1] / "elsewhere")
    (dist / "deep").symlink_to(dist.parents[1] / "elsewhere")


@pytest.mark.parametrize("harm", [each for name, each in list(globals().items()) if name.startswith("harm_")])
def test_outputs_are_put_right_whatever_became_of_them(repository, harm):
    repository.add("core", TREE)
    first = repository.build("core")["core"].record
    harm(repository.root / "core/dist")
    before = [each.read_text() for each in repository.root.glob("elsewhere/*")]
    expected = "unchanged" if harm is harm_nothing else "restored"
    decision = repository.decide("core")["core"]
    assert (decision.action, bool(decision.why)) == (("keep", False) if harm is harm_nothing else ("restore", True))
    assert statuses(repository.build("core")) == {"core": expected}
    assert repository.decider.present(repository.targets["core"]) == first.outputs
    assert digest_of(first.outputs) == first.digest
    assert {output.path: output.kind for output in first.outputs} == {
        "dist/deep/x": "file",
        "dist/empty": "folder",
        "dist/link": "link",
        "dist/run": "file",
    }
    assert [each.read_text() for each in repository.root.glob("elsewhere/*")] == before


def test_a_fresh_copy_of_the_project_takes_its_builds_from_a_shared_state(repository, tmp_path):
    repository.state = tmp_path / "state"
    first = repository.build()
    other = made_repository(tmp_path / "other")
    other.state = repository.state
    again = other.build()
    assert statuses(again) == {"core": "restored", "loader": "restored"}
    assert again["core"].record == first["core"].record
    assert other.text("loader/dist/out.txt") == "a\nb\nl\n"


@pytest.mark.parametrize("damage", ["content", "gone", "record"])
def test_what_was_kept_and_is_damaged_is_never_believed(repository, damage):
    record = repository.build("core")["core"].record
    kept = repository.cache.outputs(record.identity) / "dist/out.txt"
    if damage == "content":
        kept.write_text("A\nb\n")
    elif damage == "gone":
        kept.unlink()
    else:
        (repository.cache.folder / record.identity / "record.json").write_text('{"identity": "')
    shutil.rmtree(repository.root / "core/dist")
    result = repository.build("core")["core"]
    assert (result.status, repository.text("core/dist/out.txt")) == ("built", "a\nb\n")
    assert ("damaged" in " ".join(result.notes)) == (damage != "record")
    assert kept.read_text() == "a\nb\n"


def test_a_failure_stops_what_depends_on_it_and_nothing_else(repository):
    repository.put({"css/src/c.txt": "c\n", "portal/src/p.txt": "p\n"})
    repository.add("core", "echo begins; for i in $(seq 30); do echo line $i; done; exit 3")
    repository.add("css")
    repository.add("portal", needs=("loader",))
    results = repository.build()
    assert statuses(results) == {"core": "failed", "css": "built", "loader": "stopped", "portal": "stopped"}
    assert results["portal"].notes == ("it needs core, which failed",)
    failed = results["core"]
    assert failed.error.code == "build.failed"
    assert "exit code 3" in failed.error.what
    assert failed.last_lines[-1] == "line 30"
    log = Path(failed.error.where)
    assert log.is_relative_to(repository.root / ".crossfade")
    assert log.read_text().startswith("begins\nline 1\n")
    assert log.stat().st_mode & 0o077 == 0


def test_a_failed_build_leaves_the_outputs_as_they_were(repository):
    repository.build("core")
    (repository.root / "core/dist/by-hand.txt").write_text("by hand")
    repository.add("core", "mkdir dist other; echo half > dist/out.txt; exit 1", outputs=("dist", "other"))
    assert statuses(repository.build("core")) == {"core": "failed"}
    assert sorted(each.name for each in (repository.root / "core/dist").iterdir()) == ["by-hand.txt", "out.txt"]
    assert repository.text("core/dist/out.txt") == "a\nb\n"
    assert not (repository.root / "core/other").exists()
    repository.add("core")
    assert statuses(repository.build("core")) == {"core": "restored"}
    assert not (repository.root / "core/dist/by-hand.txt").exists()


def test_a_build_begins_with_nothing_of_an_earlier_one(repository):
    repository.build("core")
    repository.add("core", "test ! -e dist; mkdir dist; echo new > dist/new.txt")
    repository.build("core")
    assert [each.name for each in (repository.root / "core/dist").iterdir()] == ["new.txt"]


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("true", "build.no-output", "did not make its output dist"),
        ("mkdir -p dist/deep", "build.no-output", "left its output dist empty"),
        ("mkdir real; ln -s real dist", "build.output-link", "is a link"),
        ("mkdir dist; mkfifo dist/pipe", "build.output-kind", "neither a file nor a folder"),
        ("kill -SEGV $$", "build.failed", "was ended by SIGSEGV"),
        ("exit 250", "build.failed", "failed with exit code 250"),
    ],
)
def test_a_build_that_does_not_make_what_it_should_says_so(repository, script, code, says):
    repository.add("core", script)
    error = repository.build("core")["core"].error
    assert (error.code, error.exit_code) == (code, 2)
    assert says in error.what
    assert error.where
    assert error.next


def test_inputs_that_change_meanwhile_are_told_and_the_build_is_not_believed(repository):
    repository.add("core", f"{COPY}; echo changed >> src/a.txt")
    results = repository.build()
    assert statuses(results) == {"core": "built", "loader": "built"}
    assert (results["core"].kept, results["loader"].kept) == (False, False)
    assert "core/src/a.txt changed while it was built" in results["core"].notes[0]
    assert repository.cache.find(results["core"].identity) is None
    assert repository.cache.find(results["loader"].identity) is None
    repository.add("core")
    assert statuses(repository.build()) == {"core": "built", "loader": "built"}


def test_force_builds_what_is_named_and_tells_whether_it_is_reproducible(repository):
    first = repository.build()
    again = repository.build("loader", force=True)
    assert statuses(again) == {"core": "unchanged", "loader": "built"}
    assert again["loader"].notes == ("built again, and the same to the byte",)
    assert again["loader"].record == first["loader"].record
    repository.add("core", "mkdir dist; cat /proc/sys/kernel/random/uuid > dist/out.txt")
    repository.build("core")
    other = repository.build("core", force=True)["core"]
    assert other.notes == ("two builds of the same inputs differ: dist/out.txt",)
    assert repository.build("core")["core"].record == other.record


def test_why_something_is_built(repository):
    def why(**options):
        return {name: (each.action, each.why) for name, each in repository.decide(**options).items()}

    assert why()["core"] == ("build", ("it was never built here",))
    repository.build()
    repository.write(**{"core/src/a.txt": "other\n", "core/src/new.txt": ""})
    (repository.root / "core/src/b.txt").unlink()
    repository.add("core", version="1.1.0", environment={"MODE": "x"})
    assert why() == {
        "core": (
            "build",
            (
                "core/src/a.txt changed",
                "core/src/b.txt is gone",
                "core/src/new.txt is new",
                "its version is new",
                "MODE is new",
            ),
        ),
        "loader": ("build", ("core changed, which it needs",)),
    }
    assert why(force=True)["core"] == ("build", ("asked for by --force",))


def test_metadata_tells_the_first_build_and_the_build_may_read_it(repository):
    repository.variables |= {"GITHUB_RUN_NUMBER": "123"}
    repository.write(**{".gitignore": "dist/\n.crossfade/\n"})
    repository.commit()
    repository.add("core", f'mkdir dist; cp "${METADATA}" dist/meta.json', version="1.2.3")
    record = repository.build("core")["core"].record
    sha = repository.git("rev-parse", "--short=7", "HEAD").strip()
    known = {
        "version": "1.2.3",
        "gitSha": sha,
        "buildDate": "2023-11-14T22:13:20Z",
        "buildNumber": "123",
        "branch": "main",
    }
    assert record.metadata == {**known, "buildDuration": "0s"}
    assert json.loads(repository.text("core/dist/meta.json")) == known
    assert json.loads(repository.cache.metadata(record.identity).read_text()) == record.metadata
    repository.variables |= {"GITHUB_RUN_NUMBER": "124"}
    repository.write(**{"README.md": "another commit"})
    repository.commit()
    assert repository.build("core")["core"].record == record
    repository.write(**{"core/src/a.txt": "not committed"})
    assert repository.build("core")["core"].record.metadata["gitSha"].endswith("-dirty")
    repository.variables |= {"SOURCE_DATE_EPOCH": "0"}
    other = repository.build("core", force=True)["core"].record.metadata
    assert (other["buildDate"], other.keys() & {"buildNumber", "buildDuration"}) == ("1970-01-01T00:00:00Z", set())


def test_a_build_sees_what_identifies_it_and_where_the_machine_has_things(repository):
    repository.variables |= {"HOME": "/home", "EDITOR": "vi", "CI": "true", "LANG": "de_DE.UTF-8", "MODE": "theirs"}
    repository.add("core", "mkdir dist; env > dist/env", environment={"MODE": "ours"}, pass_through=("CI", "ABSENT"))
    repository.build("core")
    seen = dict(line.split("=", 1) for line in repository.text("core/dist/env").splitlines())
    for shell in ("PWD", "OLDPWD", "SHLVL", "_", METADATA):
        seen.pop(shell, None)
    path = os.environ["PATH"]
    assert seen == {"PATH": path, "HOME": "/home", "CI": "true", "MODE": "ours", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def test_secrets_that_are_passed_through_are_neither_kept_nor_shown(repository):
    repository.variables |= {"TOKEN": "hunter2hunter2"}
    repository.add("core", f"echo with $TOKEN; {COPY}", pass_through=("TOKEN",))
    record = repository.build("core")["core"].record
    entry = repository.cache.folder / record.identity
    assert [each for each in entry.rglob("*") if each.is_file() and b"hunter2" in each.read_bytes()] == []
    repository.add("core", "echo with $TOKEN; exit 1", pass_through=("TOKEN",))
    assert repository.build("core")["core"].last_lines == ("with ***",)


def test_the_last_lines_of_a_log_are_lines(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"\none\n\n10%\r50%\r100%\n\xff\n\n")
    assert last_lines(log, 3) == ("one", "100%", "�")
    assert last_lines(tmp_path / "nothing", 3) == ()


def test_state_that_cannot_be_written_is_an_error_of_that_build(repository):
    (repository.root / ".crossfade").mkdir()
    (repository.root / ".crossfade" / "builds").write_text("a file")
    error = repository.build("core")["core"].error
    assert error.code == "build.files"
    assert not (repository.root / "core/dist").exists()


def test_pruning_keeps_what_the_components_have_now(repository):
    made = []
    for text in ("one", "two", "three"):
        repository.write(**{"core/src/a.txt": text * 1000})
        made.append(repository.build("core")["core"].identity)
    for at, identity in enumerate(made):
        os.utime(repository.cache.folder / identity / "record.json", (1000 * at, 1000 * at))
    (repository.cache.folder / f".new-{'0' * 64}-abc").mkdir()

    def prune(**limits):
        done = repository.cache.prune(
            **{"now": 3000, "older_than": None, "larger_than": None, "components": ["core"], **limits}
        )
        return done.builds, [identity for identity in made if repository.cache.find(identity)]

    assert prune(older_than=2500) == (1, made[1:])
    assert prune(larger_than=10**9) == (0, made[1:])
    assert prune(larger_than=0) == (1, made[2:])
    assert prune(older_than=0) == (0, made[2:])
    assert prune(older_than=0, components=[]) == (1, [])
    assert [each.name for each in repository.cache.folder.iterdir() if each.name.startswith(".")] == []
    assert statuses(repository.build("core")) == {"core": "built"}
