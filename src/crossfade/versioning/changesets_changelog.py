"""Changelogs as changesets writes them: a heading for each version, a section for each bump, a line for each change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crossfade.versioning.dependents import WORKSPACE
from crossfade.versioning.ranges import SPACES, TRIMMED
from crossfade.versioning.updates import is_updated
from crossfade.versioning.values import (
    Bump,
    Changeset,
    Dependency,
    Ecosystem,
    Package,
    PlannedRelease,
    ReleasePlan,
    Rules,
)

_SECTIONS = ((Bump.MAJOR, "### Major Changes"), (Bump.MINOR, "### Minor Changes"), (Bump.PATCH, "### Patch Changes"))
_VERSION_HEADING = re.compile(rf"(?:\A|(?<=[\n\r\u2028\u2029]))#{{1,6}}[{SPACES}]+[0-9]+\.[0-9]+")
_SHORT = 7


@dataclass(frozen=True, slots=True)
class ChangelogSources:
    """What every entry is written from, sorted once for all packages."""

    plan: ReleasePlan
    folders: Mapping[str, str]
    shas: Mapping[str, str]
    """Id of a changeset → the commit that added it."""
    rules: Rules
    naming: Mapping[str, list[tuple[Changeset, Bump]]] = field(init=False)
    """Name → the changesets that name it, in their order."""
    places: Mapping[str, int] = field(init=False)
    """Name → the place of its release in the plan."""
    order: Mapping[str, int] = field(init=False)
    """Id of a changeset → its place."""

    def __post_init__(self) -> None:
        naming: dict[str, list[tuple[Changeset, Bump]]] = {}
        for changeset in self.plan.changesets:
            for name, bump in changeset.releases:
                naming.setdefault(name, []).append((changeset, bump))
        object.__setattr__(self, "naming", naming)
        object.__setattr__(self, "places", {each.name: at for at, each in enumerate(self.plan.releases)})
        object.__setattr__(self, "order", {each.id: at for at, each in enumerate(self.plan.changesets)})


def entry(release: PlannedRelease, package: Package, sources: ChangelogSources, ecosystem: Ecosystem) -> str | None:
    """The text about one release; None for what is not released."""
    if release.bump is Bump.NONE:
        return None
    lines: dict[Bump, list[str]] = {Bump.MAJOR: [], Bump.MINOR: [], Bump.PATCH: []}
    for changeset, bump in sources.naming.get(release.name, ()):
        if bump is not Bump.NONE:
            lines[bump].append(_change(changeset, sources.shas))
    updated = _updated(package, sources, ecosystem)
    if updated:
        lines[Bump.PATCH].append(_dependencies(updated, sources))
    parts = [f"## {release.new}"]
    parts += [f"{title}\n\n" + "\n".join(lines[bump]) for bump, title in _SECTIONS if lines[bump]]
    if len(parts) == 1:
        parts.append("No changes in this release.")
    return "\n\n".join(parts)


def inserted(changelog: str | None, name: str, text: str) -> str:
    r"""The changelog with the entry above all others; without one it begins with the name of the package.

    >>> inserted("# core\n\nNotes.\n\n## 1.0.0\n", "core", "## 1.1.0")
    '# core\n\nNotes.\n\n## 1.1.0\n\n## 1.0.0\n'
    """
    new = f"{text.strip(TRIMMED)}\n"
    if not changelog:
        return f"# {name}\n\n{new}"
    heading = _VERSION_HEADING.search(changelog)
    if heading is not None:
        return f"{changelog[: heading.start()]}{new}\n{changelog[heading.start() :]}"
    first, newline, rest = changelog.partition("\n")
    return f"{first}\n\n{new}{rest}" if newline else f"{changelog}\n\n{new}"


def _change(changeset: Changeset, shas: Mapping[str, str]) -> str:
    first, *further = [line.rstrip(TRIMMED) for line in changeset.summary.split("\n")]
    sha = shas.get(changeset.id)
    said = f"- {f'{sha[:_SHORT]}: ' if sha else ''}{first}"
    return "\n".join([said, *(f"  {line}" for line in further)]).strip(TRIMMED)


def _updated(package: Package, sources: ChangelogSources, ecosystem: Ecosystem) -> list[PlannedRelease]:
    """Releases that the package's own ranges follow, in the order of the plan."""
    found = {
        sources.places[entry.name]
        for entry in _read_first(package.dependencies)
        if entry.name in sources.places
        and (entry.range.startswith(WORKSPACE) or ecosystem.is_range(entry.range))
        and is_updated(
            entry,
            sources.plan.releases[sources.places[entry.name]],
            sources.folders[entry.name],
            sources.rules,
            ecosystem,
        )
    }
    return [sources.plan.releases[place] for place in sorted(found)]


def _read_first(dependencies: Iterable[Dependency]) -> Iterable[Dependency]:
    """One entry for each name: what is needed to run, else what is needed beside it; the other kinds are not told."""
    found: dict[str, Dependency] = {}
    for kind in ("dependencies", "peerDependencies"):
        for each in dependencies:
            if each.kind == kind and each.range:
                found.setdefault(each.name, each)
    return found.values()


def _dependencies(updated: Sequence[PlannedRelease], sources: ChangelogSources) -> str:
    used = {known for release in updated for known in release.changesets if known in sources.order}
    shas = [sources.shas.get(known) for known in sorted(used, key=sources.order.__getitem__)]
    lines = [f"- Updated dependencies [{sha[:_SHORT]}]" if sha else "- Updated dependencies" for sha in shas]
    return "\n".join([*lines, *(f"  - {release.name}@{release.new}" for release in updated)]).strip(TRIMMED)
