"""Reading commits: from where on, and what each says and touches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.versioning.git import git
from crossfade.versioning.proposals import Commit
from crossfade.versioning.tags import TagScheme

_FORMAT = "%x01%H%x00%B%x02"
_ANY_VERSION = "*[0-9].[0-9]*.[0-9]*"


class Start(NamedTuple):
    """Where reading begins: after `commit` (None: at the very beginning), and why there, for a person."""

    commit: str | None
    why: str


def read_commits(root: Path, since: str | None, until: str = "HEAD") -> tuple[Commit, ...]:
    """The commits after `since` (from the very beginning when None) up to `until`, oldest first, without merges.

    BadInputError (`commits.unknown-ref`) for a name that git does not know.
    """
    last = _resolve(root, until)
    wanted = last if since is None else f"{_resolve(root, since)}..{last}"
    told = git(
        root, "log", "-z", "--reverse", "--topo-order", "--no-merges", "--no-renames", "--name-only", "--relative", f"--format={_FORMAT}", wanted
    )  # fmt: skip
    commits = []
    for record in told.split("\x01")[1:]:
        sha, _, rest = record.partition("\0")
        message, _, paths = rest.rpartition("\x02")
        commits.append(
            Commit(sha, message.strip("\n"), tuple(path for path in paths.replace("\n", "").split("\0") if path))
        )
    return tuple(commits)


def starting_point(root: Path, scheme: TagScheme, components: Sequence[str]) -> Start:
    """Where to read from when nobody says: after the last release's tag, or the last commit about changesets, if later."""
    tag = _last_tag(root, scheme, components)
    changes = git(
        root, "log", "-1", "--format=%H", "--", ":(glob).changeset/*.md", ":(glob,exclude).changeset/README.md"
    ).strip()
    if tag is None:
        return (
            Start(changes, f"since the last changeset ({changes[:12]})")
            if changes
            else Start(None, "since the first commit")
        )
    tagged = _resolve(root, tag)
    if changes and changes != tagged and int(git(root, "rev-list", "--count", f"{tagged}..{changes}")):
        return Start(changes, f"since the last changeset ({changes[:12]})")
    return Start(tagged, f"since {tag}")


def _resolve(root: Path, name: str) -> str:
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except CrossfadeError as error:
        if error.code != "git.failed":
            raise
        raise BadInputError(
            "commits.unknown-ref",
            f"there is no commit {name!r}",
            where=str(root),
            next="name a commit, a tag or a branch; in a shallow clone, fetch the history first (`git fetch --unshallow`)",
        ) from None


def _last_tag(root: Path, scheme: TagScheme, components: Sequence[str]) -> str | None:
    """The nearest tag of a release on the way back from HEAD; tags of other things are passed over."""
    excluded: list[str] = []
    while True:
        try:
            tag = git(root, "describe", "--tags", "--abbrev=0", f"--match={_ANY_VERSION}", *excluded).strip()
        except CrossfadeError as error:
            if error.code != "git.failed":
                raise
            return None
        if scheme.read(tag, components) is not None:
            return tag
        excluded.append("--exclude=" + re.sub(r"([*?\[\\])", r"\\\1", tag))
