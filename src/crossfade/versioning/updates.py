"""Ranges inside the repository: which of them a release rewrites, and to what."""

from __future__ import annotations

from collections.abc import Mapping

from crossfade.versioning.dependents import WORKSPACE, same_path
from crossfade.versioning.values import BUMPS, Bump, Dependency, Ecosystem, Package, PlannedRelease, Rules


def is_updated(entry: Dependency, release: PlannedRelease, folder: str, rules: Rules, ecosystem: Ecosystem) -> bool:
    """Whether an entry follows a release: because it no longer holds, or because the rules want it to."""
    written = entry.range
    if written.startswith(WORKSPACE):
        inner = written.removeprefix(WORKSPACE)
        if inner == "*":
            return True
        if inner not in {"^", "~"} and not ecosystem.is_range(inner):
            return same_path(inner, folder)
        written = inner + release.old if inner in {"^", "~"} else inner
    if not ecosystem.satisfies(release.new, written):
        return True
    if entry.kind == "peerDependencies":
        return not rules.only_update_peer_dependents_when_out_of_range
    return release.bump >= BUMPS[rules.update_internal_dependencies]


def rewritten(
    package: Package,
    releases: Mapping[str, PlannedRelease],
    folders: Mapping[str, str],
    rules: Rules,
    *,
    ecosystem: Ecosystem,
    snapshot: bool,
) -> list[tuple[Dependency, str]]:
    """The entries of a package that change, each with its new range."""
    found = []
    for entry in package.dependencies:
        release = releases.get(entry.name)
        if release is None or release.bump is Bump.NONE or not entry.range:
            continue
        if entry.range.startswith(("file:", "link:")):
            continue
        if is_updated(entry, release, folders[entry.name], rules, ecosystem):
            new = _new_range(entry.range, release, rules, ecosystem, snapshot=snapshot)
            if new is not None:
                found.append((entry, new))
    return found


def _new_range(
    written: str, release: PlannedRelease, rules: Rules, ecosystem: Ecosystem, *, snapshot: bool
) -> str | None:
    prefix = WORKSPACE if written.startswith(WORKSPACE) else ""
    inner = written.removeprefix(prefix)
    if not prefix and rules.bump_versions_with_workspace_protocol_only:
        return None
    if (prefix and inner in {"*", "^", "~"}) or not ecosystem.is_range(inner):
        return None
    return prefix + (release.new if snapshot else ecosystem.raised(inner, release.new, release.bump))
