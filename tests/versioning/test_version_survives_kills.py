"""`version` may be killed before any of its writes: whoever runs it again ends with the same files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from changesets_sides import tree

from crossfade.core.errors import BadInputError
from crossfade.versioning.preparing import open_repository, prepare_version
from crossfade.versioning.writing import NOTE, carry_out, pending, resume

RUN = """
import os, signal, sys
from pathlib import Path
from crossfade.versioning.preparing import open_repository, prepare_version
from crossfade.versioning import writing

root, left, torn = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "torn"
put = writing._put

def before(what):
    global left
    if left == 0 and not torn:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

def half(path, content):
    if left < 0 and torn:
        put(path, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    put(path, content)

writing._put = half
if writing.resume(root, before_each=before) is None:
    writing.carry_out(root, prepare_version(open_repository(root)).work, before_each=before)
"""
FILES = {
    "package.json": '{"name": "top", "private": true, "workspaces": ["packages/*"]}',
    "package-lock.json": "{}",
    "packages/a/package.json": '{\n  "name": "a",\n  "version": "1.0.0"\n}\n',
    "packages/a/CHANGELOG.md": "# a\n\n## 1.0.0\n\nFirst.\n",
    "packages/b/package.json": '{\n  "name": "b",\n  "version": "1.0.0",\n  "dependencies": {"a": "~1.0.0"}\n}\n',
    ".changeset/config.json": "{}",
    ".changeset/calm-canary-returns.md": '---\n"a": minor\n---\n\nNew.\n',
    ".changeset/old-owls-nod.md": "---\n---\n\nNothing.\n",
}


def make(root: Path) -> Path:
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def run(root: Path, left: int, how: str) -> int:
    return subprocess.run([sys.executable, "-c", RUN, str(root), str(left), how], check=False).returncode


def whole(tmp_path: Path) -> tuple[dict[str, str], int]:
    heard: list[str] = []
    root = make(tmp_path / "whole")
    carry_out(root, prepare_version(open_repository(root)).work, before_each=heard.append)
    return tree(root), len(heard)


def test_killed_before_every_write_and_run_again(tmp_path: Path) -> None:
    expected, moments = whole(tmp_path)
    assert moments == 8  # the note, two manifests, two changelogs, two changesets, the end
    for moment in range(moments):
        root = make(tmp_path / str(moment))
        assert run(root, moment, "before") == -signal.SIGKILL
        assert run(root, -1, "before") == 0
        assert tree(root) == expected, moment


def test_killed_in_the_middle_of_a_file_and_again_while_going_on(tmp_path: Path) -> None:
    expected, _ = whole(tmp_path)
    root = make(tmp_path / "torn")
    assert run(root, 1, "torn") == -signal.SIGKILL
    assert pending(root) is not None
    assert run(root, 2, "torn") == -signal.SIGKILL
    assert run(root, -1, "before") == 0
    assert tree(root) == expected


def test_what_a_person_changed_in_between_is_not_written_over(tmp_path: Path) -> None:
    root = make(tmp_path)
    assert run(root, 2, "before") == -signal.SIGKILL
    (root / "packages/b/package.json").write_text("mine")
    before = tree(root)
    with pytest.raises(BadInputError) as caught:
        resume(root)
    assert (caught.value.code, caught.value.where) == ("versions.changed-meanwhile", "packages/b/package.json")
    assert tree(root) == before


def test_a_note_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / NOTE).write_text("{")
    with pytest.raises(BadInputError, match="unfinished run"):
        resume(tmp_path)


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    root = make(tmp_path)
    target = root / "real.json"
    (root / "packages/a/package.json").rename(target)
    (root / "packages/a/package.json").symlink_to(target)
    os.chmod(target, 0o640)  # noqa: PTH101 - as a person would
    carry_out(root, prepare_version(open_repository(root)).work)
    assert (root / "packages/a/package.json").is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert '"1.1.0"' in target.read_text()
