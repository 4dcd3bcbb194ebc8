"""Whether everything that changed since a branch has a changeset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.versioning.changeset_files import changeset_paths
from crossfade.versioning.git import git
from crossfade.versioning.globs import chosen
from crossfade.versioning.values import Bump, Package, PlannedRelease, ReleasePlan, Rules

_CHANGESET = re.compile(r"\.changeset/(?:pre/)?[^/]+\.md\Z")


@dataclass(frozen=True, slots=True)
class Coverage:
    """The answer of `status`."""

    plan: ReleasePlan
    changed: tuple[str, ...]
    """Packages with changed files, in the order of the repository."""

    @property
    def missing(self) -> bool:
        """Whether packages changed and no changeset tells of it."""
        return bool(self.changed) and not self.plan.changesets

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Those that changed and stand in no changeset; none where a changeset says that nothing needs a release."""
        if any(not each.releases for each in self.plan.changesets):
            return ()
        told = {change.name for each in self.plan.changesets for change in each.releases}
        return tuple(name for name in self.changed if name not in told)

    @property
    def exit_code(self) -> int:
        """What changesets ends with: 1 if changesets are missing."""
        return 1 if self.missing else 0


def changed_packages(
    root: Path, packages: Sequence[Package], rules: Rules, since: str | None = None
) -> tuple[str, ...]:
    """Packages that take part and have files that differ from where HEAD left `since` (the base branch when absent)."""
    files = _changed_files(root, since or rules.base_branch)
    depth = {package.name: len(package.folder) if package.folder != "." else -1 for package in packages}
    touched: set[str] = set()
    for package in sorted(packages, key=lambda package: -depth[package.name]):
        top = "" if package.folder == "." else f"{package.folder}/"
        own = [file for file in files if file.startswith(top)]
        files = [file for file in files if not file.startswith(top)]
        inner = [file.removeprefix(top) for file in own]
        if not rules.skips(package) and chosen(inner, rules.changed_file_patterns):
            touched.add(package.name)
    return tuple(package.name for package in packages if package.name in touched)


def changed_changesets(root: Path, since: str) -> list[str]:
    """Paths of the changesets that were added or changed since HEAD left `since`, committed or at least staged."""
    changed = {
        re.sub(r"^.*\.changeset/", ".changeset/", file)
        for file in _diff(root, since, "--diff-filter=d")
        if _CHANGESET.search(file)
    }
    return [path for path in changeset_paths(root) if path in changed]


def as_changesets_json(plan: ReleasePlan) -> dict[str, Any]:
    """The plan in the shape of `changeset status --output`."""
    found: dict[str, Any] = {
        "changesets": [
            {
                "releases": [{"name": name, "type": bump.word} for name, bump in each.releases],
                "summary": each.summary,
                "id": each.id,
            }
            for each in plan.changesets
        ],
        "releases": [_as_json(each) for each in plan.releases],
    }
    if plan.pre is not None:
        found["preState"] = {"mode": plan.pre.mode, "tag": plan.pre.tag, **plan.pre.others}
    return found


def _as_json(release: PlannedRelease) -> dict[str, Any]:
    found = {
        "name": release.name,
        "type": release.bump.word,
        "oldVersion": release.old,
        "changesets": list(release.changesets),
        "newVersion": release.new,
    }
    # A package without a version is in a plan only to have its ranges rewritten.
    return {key: value for key, value in found.items() if value != ""}


def status_lines(plan: ReleasePlan, *, verbose: bool = False) -> list[str]:
    """What `changeset status` prints, without colours: packages by bump, each with its version and changesets if verbose."""
    lines = []
    for bump in (Bump.MAJOR, Bump.MINOR, Bump.PATCH):
        of_bump = sorted((each for each in plan.releases if each.bump is bump), key=lambda each: each.name)
        if of_bump:
            lines.append(f"- {bump.word}")
        for each in of_bump:
            lines.append(f"  - {each.name} -> {each.new}" if verbose else f"  - {each.name}")
            if verbose:
                lines += [f"    - .changeset/{name}.md" for name in each.changesets]
    return lines


def _changed_files(root: Path, since: str) -> list[str]:
    """Changed files below the top of the packages, relative to it."""
    prefix = git(root, "rev-parse", "--show-prefix").strip()
    return [file.removeprefix(prefix) for file in _diff(root, since) if file.startswith(prefix)]


def _diff(root: Path, since: str, *options: str) -> list[str]:
    try:
        left = git(root, "merge-base", "--end-of-options", since, "HEAD").strip()
    except BadInputError:
        raise
    except CrossfadeError as error:
        raise BadInputError(
            "versions.unknown-reference",
            f"git does not know where HEAD left {since!r}",
            where=str(root),
            next=f"fetch the branch, or name another with --since. {error.what}",
        ) from None
    said = git(root, "diff", "--name-only", "--no-relative", "-z", *options, left)
    return [file for file in said.split("\0") if file]
