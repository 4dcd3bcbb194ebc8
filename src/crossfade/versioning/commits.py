"""Which commit added each changeset: one reading of the history for all of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.versioning.git import git

_COMMIT = "\x01"
_DEEPER = 50
"""Commits that are fetched at a time where the history was cut off."""


class _Commit(NamedTuple):
    sha: str
    has_parents: bool
    added: dict[str, str]
    """Path → blob."""
    deleted: dict[str, str]


def commits_that_added(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Path → the whole sha of the commit that added the file; those never committed are not in it.

    A file that was renamed is followed to where it began. In a clone whose history was cut off more of it is fetched,
    as long as a file seems to begin at the cut; CrossfadeError if that fails.
    """
    wanted = list(paths)
    if not wanted or not _in_git(root):
        return {}
    while True:
        found = _search(root, wanted)
        at_the_cut = any(not commit.has_parents for commit in found.values())
        if not at_the_cut or git(root, "rev-parse", "--is-shallow-repository").strip() != "true":
            return {path: commit.sha for path, commit in found.items()}
        try:
            git(root, "fetch", f"--deepen={_DEEPER}")
        except CrossfadeError as error:
            raise BadInputError(
                "versions.shallow-history",
                "the history is cut off before the commits that added the changesets, and more cannot be fetched",
                where=str(root),
                next=f"clone with the whole history (fetch-depth: 0). {error.what}",
            ) from None


def head(root: Path) -> str | None:
    """The whole sha of HEAD, None without git or without a commit."""
    try:
        return git(root, "rev-parse", "HEAD").strip()
    except CrossfadeError:
        return None


def _in_git(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents)) or "GIT_DIR" in os.environ


def _search(root: Path, paths: Iterable[str]) -> dict[str, _Commit]:
    sought = {path: path for path in paths}
    """Where the file is at this point of the history → where it is now."""
    found: dict[str, _Commit] = {}
    for commit in _history(root):
        for path in [path for path in commit.added if path in sought]:
            now = sought.pop(path)
            before = _moved_from(commit, path)
            if before is not None:
                sought[before] = now
            elif commit.deleted:
                # git may see a rename of a similar file here; its own answer decides.
                asked = _followed(root, now)
                if asked is not None:
                    found[now] = asked
            else:
                found[now] = commit
        if not sought:
            break
    return found


def _moved_from(commit: _Commit, path: str) -> str | None:
    name, blob = os.path.basename(path), commit.added[path]  # noqa: PTH119 - a path of git, not of this machine
    same = [each for each, content in commit.deleted.items() if content == blob and each.endswith(f"/{name}")]
    return same[0] if same else None


def _history(root: Path) -> Iterator[_Commit]:
    """Commits that added or deleted changesets, the newest first; git is ended as soon as nobody asks for more."""
    arguments = ["log", "--diff-filter=AD", "--no-renames", "--raw", "--no-abbrev", "--relative"]
    process = subprocess.Popen(
        ["git", "-c", "core.quotePath=false", *arguments, f"--format={_COMMIT}%H %P", "--", ".changeset"],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        commit: _Commit | None = None
        for raw in process.stdout or ():
            line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            if line.startswith(_COMMIT):
                if commit is not None:
                    yield commit
                sha, _, parents = line[1:].partition(" ")
                commit = _Commit(sha, bool(parents), {}, {})
            elif line and commit is not None:
                facts, _, path = line.partition("\t")
                _, _, old, new, status = facts.split(" ")
                if status == "A":
                    commit.added[path] = new
                else:
                    commit.deleted[path] = old
        if commit is not None:
            yield commit
    finally:
        process.kill()
        process.communicate()


def _followed(root: Path, path: str) -> _Commit | None:
    said = git(root, "log", "--diff-filter=AC", "--follow", "--max-count=1", "--format=%H %P", "--", path)
    lines = said.split("\n")
    sha, _, parents = lines[0].partition(" ")
    return _Commit(sha, bool(parents), {}, {}) if sha else None
