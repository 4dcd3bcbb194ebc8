"""The compatibility matrix: which released versions of components work together, by what each asks for. Pure.

A release says in its manifest which versions of others it accepts (`release_history` reads those of every tag).
Development dependencies say nothing about users and do not count.

>>> from crossfade.versioning.package_json import Npm
>>> releases = [Released("core", "1.0.0"), Released("core", "1.1.0"), Released("js", "2.0.0", {"core": ("^1.1.0",)})]
>>> print(matrix(releases, {"core": Npm(), "js": Npm()}).as_markdown(), end="")
| js | core |
| --- | --- |
| 2.0.0 | 1.1.0 |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crossfade.core.semver import SemVer, parse_version
from crossfade.versioning.dependents import accepted
from crossfade.versioning.values import Ecosystem, Package


class Released(NamedTuple):
    """One release, and the ranges of versions of others that it accepts; several ranges of one must all hold."""

    component: str
    version: str
    needs: Mapping[str, tuple[str, ...]] = {}


class Works(NamedTuple):
    """With which released versions of `other` something works: `versions`, newest first, by the ranges that it asks for.

    `versions` is None where what it asks for is no range of versions (an address, a path), so that nobody can tell.
    """

    other: str
    ranges: tuple[str, ...]
    versions: tuple[str, ...] | None
    spans: str
    """The versions as people write them, such as `1.0.0 – 1.4.2`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One release, and all that it works with."""

    component: str
    version: str
    works: tuple[Works, ...] = ()


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every release that needs others, newest first within each component."""

    rows: tuple[Row, ...] = field(default=())

    def as_json(self) -> dict[str, dict[str, dict[str, dict[str, list[str] | None]]]]:
        """Component → version → other component → `ranges` and `versions`."""
        told: dict[str, dict[str, dict[str, dict[str, list[str] | None]]]] = {}
        for row in self.rows:
            told.setdefault(row.component, {})[row.version] = {
                each.other: {
                    "ranges": list(each.ranges),
                    "versions": None if each.versions is None else list(each.versions),
                }
                for each in row.works
            }
        return told

    def as_markdown(self) -> str:
        """One table for each component, with a column for each other that it needs or has needed."""
        tables = []
        for component in dict.fromkeys(row.component for row in self.rows):
            rows = [row for row in self.rows if row.component == component]
            others = sorted({each.other for row in rows for each in row.works})
            lines = [_line([component, *others]), _line(["---"] * (len(others) + 1))]
            for row in rows:
                by_other = {each.other: each.spans for each in row.works}
                lines.append(_line([row.version, *(by_other.get(other, "") for other in others)]))
            tables.append("\n".join(lines) + "\n")
        return "\n".join(tables)


def matrix(releases: Sequence[Released], ecosystems: Mapping[str, Ecosystem]) -> Matrix:
    """The matrix of all releases; `ecosystems` maps each component to the one in whose words it asks for others."""
    known: dict[str, list[SemVer]] = {}
    for component, version in dict.fromkeys((each.component, each.version) for each in releases):
        known.setdefault(component, []).append(parse_version(version))
    for versions in known.values():
        versions.sort(key=lambda each: each.precedence)
    rows = []
    for release in sorted(releases, key=lambda each: parse_version(each.version).precedence, reverse=True):
        ecosystem = ecosystems[release.component]
        works = tuple(
            _works(other, ranges, known.get(other, []), ecosystem) for other, ranges in sorted(release.needs.items())
        )
        if works:
            rows.append(Row(release.component, release.version, works))
    return Matrix(tuple(sorted(rows, key=lambda row: row.component)))


def released_of(package: Package, beside: Sequence[Package], ecosystems: Mapping[str, Ecosystem]) -> Released:
    """What a package asks of those that stand `beside` it in the same repository, at the same commit.

    `ecosystems` maps each ecosystem's name to it. A `workspace:` range means what publishing makes of it.

    >>> from crossfade.versioning.package_json import ECOSYSTEMS
    >>> from crossfade.versioning.values import Dependency
    >>> js = Package("js", "2.0.0", dependencies=(Dependency("core", "workspace:^"), Dependency("left-pad", "^1.0.0")))
    >>> released_of(js, [Package("core", "1.1.0", "packages/core")], ECOSYSTEMS).needs
    {'core': ('^1.1.0',)}
    """
    others = {other.name: other for other in beside if other.name != package.name}
    needs: dict[str, tuple[str, ...]] = {}
    for entry in package.dependencies:
        other = others.get(entry.name)
        if other is None or entry.kind == "devDependencies":
            continue
        meant = accepted(entry.range, other.version, other.folder, ecosystems[package.ecosystem]) or entry.range
        needs[entry.name] = tuple(dict.fromkeys((*needs.get(entry.name, ()), meant)))
    return Released(package.name, package.version, needs)


def _works(other: str, ranges: tuple[str, ...], known: Sequence[SemVer], ecosystem: Ecosystem) -> Works:
    if not all(map(ecosystem.is_range, ranges)):
        return Works(other, ranges, None, " ".join(ranges))
    good = [version for version in known if all(ecosystem.satisfies(str(version), each) for each in ranges)]
    return Works(other, ranges, tuple(str(version) for version in reversed(good)), _spans(good, known) or "none")


def _spans(good: Sequence[SemVer], known: Sequence[SemVer]) -> str:
    """Versions as spans without a gap; a prerelease that is not accepted is no gap.

    >>> known = [*map(parse_version, ("1.0.0", "1.1.0-rc.1", "1.1.0", "1.2.0", "2.0.0"))]
    >>> _spans([known[0], known[2], known[4]], known)
    '1.0.0 – 1.1.0, 2.0.0'
    """
    spans: list[list[SemVer]] = []
    open_span = False
    for version in known:
        if version in good:
            if not open_span:
                spans.append([])
            spans[-1].append(version)
            open_span = True
        elif not version.prerelease:
            open_span = False
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]} – {span[-1]}" for span in spans)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
