"""What git says about the files that are built, and about the commit that they are from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from crossfade.core.errors import BadInputError

_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE")
"""Variables by which a hook of git would lead to another repository than the one around the files."""
_CALM = {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1", "LC_ALL": "C"}


class Commit(NamedTuple):
    """Where a build's files are from: a short sha, with `-dirty` where they differ from it, and the branch."""

    sha: str | None
    branch: str | None


def in_repository(folder: Path) -> bool:
    """Whether a repository is around `folder`."""
    here = Path(os.path.realpath(folder))
    return any(os.path.lexists(each / ".git") for each in (here, *here.parents))


def listed(root: Path, folders: Iterable[str], *which: str) -> list[str]:
    """The files that `git ls-files` lists; BadInputError in git's own words when it does not."""
    done = _git(root, "ls-files", "-z", *which, "--", *folders)
    if done.returncode:
        reason = os.fsdecode(done.stderr).strip().partition("\n")[0].removeprefix("fatal: ")
        raise BadInputError(
            "build.git", f"git does not tell its files: {reason}", where=str(root), next="repair what it names"
        )
    return [name for name in os.fsdecode(done.stdout).split("\0") if name]


def commit_of(root: Path, files: frozenset[str]) -> Commit:
    """The commit that `files` (relative to `root`) are from; nothing where there is no commit."""
    if not in_repository(root):
        return Commit(None, None)
    head = _git(root, "rev-parse", "--short=7", "HEAD")
    branch = _git(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    sha = None if head.returncode else head.stdout.decode().strip()
    if sha and not files.isdisjoint(_different(root)):
        sha += "-dirty"
    return Commit(sha, None if branch.returncode else os.fsdecode(branch.stdout).strip())


def _different(root: Path) -> set[str]:
    """Files that are not as HEAD has them; `git status` tells them from the top of the repository."""
    above = os.fsdecode(_git(root, "rev-parse", "--show-prefix").stdout).rstrip("\n")
    done = _git(root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", ".")
    names = [entry[3:] for entry in os.fsdecode(done.stdout).split("\0") if entry]
    return {name.removeprefix(above) for name in names}


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    variables = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE}
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        return subprocess.run(command, cwd=root, env={**variables, **_CALM}, capture_output=True, check=False)
    except FileNotFoundError:
        raise BadInputError(
            "build.no-git",
            "git is not found, and without it nobody can tell what it ignores",
            where=str(root),
            next="install git",
        ) from None
