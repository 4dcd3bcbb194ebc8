"""Asking git: one way to run it, with its failures in words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from crossfade.core.errors import BadInputError, CrossfadeError

_QUIET = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
"""Answers that can be read by a program, no question to nobody, and no lock that disturbs somebody's own git."""


def git(root: Path, *arguments: str, given: str | None = None) -> str:
    """What `git ARGUMENTS` prints in `root`; `given` is its input. CrossfadeError with git's own words when it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            input=None if given is None else given.encode(),
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            check=False,
            env={**os.environ, **_QUIET},
        )
    except FileNotFoundError:
        if not root.is_dir():
            raise BadInputError("git.no-folder", "there is no such folder", where=str(root)) from None
        raise BadInputError(
            "git.missing", "git is not installed, or not on the PATH", next="install git, then run this again"
        ) from None
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    said = done.stderr.decode(errors="replace").strip()
    if "not a git repository" in said:
        raise BadInputError(
            "git.no-repository", "this is not a git repository", where=str(root), next="run `git init`, or go elsewhere"
        )
    if "dubious ownership" in said:
        raise BadInputError(
            "git.not-ours",
            "git does not trust this folder: it belongs to another user",
            where=str(root),
            next=f"if it is yours, run `git config --global --add safe.directory {root}`",
        )
    if "user.name" in said or "user.email" in said or "ident name" in said:
        raise BadInputError(
            "git.no-author",
            "git does not know who you are",
            where=str(root),
            next="run `git config user.name NAME` and `git config user.email ADDRESS`, then run this again",
        )
    first = said.splitlines()[0].removeprefix("fatal: ").removeprefix("error: ") if said else "it says nothing"
    raise CrossfadeError(
        "git.failed", f"git {arguments[0]} failed: {first}", where=str(root), next="see what git says, and try again"
    )
