"""Changesets, and the versions that they add up to."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict


class ChangeObject(TypedDict):
    """What a changeset says of one component."""

    name: str
    bump: Annotated[str, "major, minor, patch or none"]


class ChangesetObject(TypedDict):
    """`crossfade change add`."""

    file: str
    changes: list[ChangeObject]


class CoverageObject(TypedDict):
    """`crossfade change status`: what `changeset status --output` writes, and what changed."""

    changesets: Annotated[list[dict[str, Any]], "each with `id`, `summary` and `releases` (`name`, `type`)"]
    releases: Annotated[list[dict[str, Any]], "each with `name`, `type`, `oldVersion`, `newVersion`, `changesets`"]
    preState: Annotated[dict[str, Any] | None, "pre mode: `mode` and `tag`"]
    changed: Annotated[list[str], "components with files that differ"]
    lacking: Annotated[list[str], "those among them that no changeset tells of"]


class WrittenObject(TypedDict):
    """`crossfade change notice`, and `crossfade change pre`."""

    files: Annotated[list[str], "what was written, to be committed"]


class DraftObject(TypedDict):
    """A changeset that commits suggest."""

    changes: list[ChangeObject]
    summary: str
    commits: Annotated[list[str], "the commits that it was made from"]
    also: Annotated[list[str], "what these commits touched besides"]


class UnclearObject(TypedDict):
    """A commit from which nothing can be drafted."""

    commit: str
    why: str


class DraftsObject(TypedDict):
    """`crossfade change draft`."""

    drafts: list[DraftObject]
    unclear: list[UnclearObject]
    written: Annotated[list[str], "files that were written; none without --write"]


class ReleaseObject(TypedDict):
    """A component that gets a version."""

    name: str
    old: str
    new: str
    bump: Annotated[str, "major, minor, patch or none"]
    changesets: Annotated[list[str], "the changesets that name it"]
    why: Annotated[str, "what made it part of the release"]


class EditObject(TypedDict):
    """A file of the release commit."""

    path: str
    what: Annotated[str, "new, changed or deleted"]


class VersionObject(TypedDict):
    """`crossfade version`."""

    dry_run: bool
    releases: list[ReleaseObject]
    changesets: Annotated[list[str], "that are used up"]
    files: list[EditObject]
    lacking: Annotated[list[str], "what a major needs before it may be released"]


class NotesObject(TypedDict):
    """`crossfade notes`."""

    notes: Annotated[str, "the release notes, in Markdown"]


class CompatibilityObject(TypedDict):
    """`crossfade compatibility`."""

    matrix: Annotated[dict[str, Any], "component → version → other component → `ranges` and `versions`"]
    untold: Annotated[list[str], "tags that are left out, because what they hold cannot be read"]
