"""What cannot be used is told with file and line, and the tree stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from changesets_sides import tree

from crossfade.core.errors import BadInputError
from crossfade.versioning.preparing import enter_pre, exit_pre, open_repository, prepare_version
from crossfade.versioning.values import Snapshot
from crossfade.versioning.writing import Work, carry_out

GOOD = {
    "package.json": '{"name": "top", "private": true, "workspaces": ["packages/*"]}',
    "package-lock.json": "{}",
    "packages/a/package.json": '{\n  "name": "a",\n  "version": "1.0.0"\n}\n',
    ".changeset/config.json": "{}",
    ".changeset/calm.md": '---\n"a": minor\n---\n\nNew.\n',
}
BAD = {
    "an unknown bump": (".changeset/calm.md", '---\n"b": patch\n"a": huge\n---\n', ".changeset/calm.md:3"),
    "no front matter": (".changeset/calm.md", "just text\n", ".changeset/calm.md:1"),
    "an empty file": (".changeset/calm.md", "", ".changeset/calm.md:1"),
    "broken YAML": (".changeset/calm.md", '---\n"a": [\n---\n', ".changeset/calm.md:"),
    "a list": (".changeset/calm.md", "---\n- a\n---\n", ".changeset/calm.md:2"),
    "a package twice": (".changeset/calm.md", '---\n"a": patch\n"a": minor\n---\n', ".changeset/calm.md:3"),
    "an unknown package": (".changeset/calm.md", '---\n"z": patch\n---\n', ".changeset/calm.md"),
    "broken configuration": (".changeset/config.json", "{\n  oops\n}", ".changeset/config.json:2"),
    "a wrong setting": (".changeset/config.json", '{\n\n  "ignore": "a"\n}', ".changeset/config.json:3"),
    "a broken manifest": ("packages/a/package.json", '{\n  "name": "a"\n  "version": 1}', "packages/a/package.json:3"),
    "no name": ("packages/a/package.json", '{"version": "1.0.0"}', "packages/a/package.json"),
    "broken pre mode": (".changeset/pre.json", "{\n", ".changeset/pre.json:2"),
    "pre mode without a tag": (".changeset/pre.json", '{"mode": "pre"}', ".changeset/pre.json"),
    "a broken workspace": ("pnpm-workspace.yaml", "packages: [\n  - x\n", "pnpm-workspace.yaml:"),
}


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_is_told_with_its_place_and_nothing_is_written(fault: str, tmp_path: Path) -> None:
    path, text, where = BAD[fault]
    root = write(tmp_path, {**GOOD, path: text})
    before = tree(root)
    with pytest.raises(BadInputError) as caught:
        carry_out(root, prepare_version(open_repository(root)).work)
    assert where in caught.value.where
    assert caught.value.next
    assert tree(root) == before


def test_nothing_pending_is_a_fault_to_version_3_and_none_to_version_2(tmp_path: Path) -> None:
    root = write(tmp_path, GOOD)
    (root / ".changeset/calm.md").unlink()
    third = prepare_version(open_repository(root))
    second = prepare_version(open_repository(root, compatibility="changesets-2"))
    assert (third.nothing, third.exit_code, second.nothing, second.exit_code) == (True, 1, True, 0)


def test_pre_mode_is_entered_once_and_left_once(tmp_path: Path) -> None:
    root = write(tmp_path, GOOD)
    with pytest.raises(BadInputError, match="not on"):
        exit_pre(root)
    carry_out(root, Work(enter_pre(root, "next").edits))
    with pytest.raises(BadInputError, match="on already"):
        enter_pre(root, "next")
    with pytest.raises(BadInputError, match="no snapshots"):
        prepare_version(open_repository(root), snapshot=Snapshot(0.0))


def test_version_2_remembers_versions_when_pre_mode_begins(tmp_path: Path) -> None:
    root = write(tmp_path, GOOD)
    carry_out(root, Work(enter_pre(root, "next", compatibility="changesets-2").edits))
    assert (root / ".changeset/pre.json").read_text() == (
        '{\n  "mode": "pre",\n  "tag": "next",\n  "initialVersions": {\n    "a": "1.0.0"\n  },\n  "changesets": []\n}\n'
    )


def test_without_a_folder_or_a_package_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no package\.json"):
        open_repository(tmp_path)
    write(tmp_path, {"package.json": '{"name": "one", "version": "1.0.0"}'})
    with pytest.raises(BadInputError, match=r"no \.changeset folder"):
        open_repository(tmp_path)
