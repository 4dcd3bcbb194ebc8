"""Who depends on whom, and which versions they accept: the graph that a release travels along."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from crossfade.versioning.values import Dependency, Ecosystem, Package, Rules

WORKSPACE = "workspace:"


class Edge(NamedTuple):
    """One dependent of a package, with all the entries of its manifest that name the package."""

    dependent: Package
    entries: tuple[Dependency, ...]


Dependents = Mapping[str, Sequence[Edge]]
"""Name of a package → those that depend on it, in the order of the packages."""


def dependents(
    packages: Sequence[Package], rules: Rules, ecosystems: Mapping[str, Ecosystem], *, development: bool = True
) -> Dependents:
    """The graph. An edge is there only if the range holds today's version: what is pinned to another is left alone.

    `development=False` leaves out development dependencies.
    """
    by_name = {package.name: package for package in packages}
    found: dict[str, list[Edge]] = {name: [] for name in by_name}
    for package in packages:
        ecosystem = ecosystems[package.ecosystem]
        named: dict[str, list[Dependency]] = {}
        for entry in package.dependencies:
            if entry.name in by_name:
                named.setdefault(entry.name, []).append(entry)
        for name, entries in named.items():
            deciding = [entry for entry in entries if _counts(entry, development=development)]
            if deciding and _leads(deciding[-1].range, by_name[name], rules, ecosystem):
                found[name].append(Edge(package, tuple(entries)))
    return found


def accepted(range: str, version: str, folder: str, ecosystem: Ecosystem) -> str | None:
    """The range that an entry means, of a package that has this version and folder; None if it means no version.

    In a workspace `*` is exactly today's version, `^` and `~` begin at it, and a path is the package itself.
    """
    if not range.startswith(WORKSPACE):
        return range
    inner = range.removeprefix(WORKSPACE)
    if inner == "*":
        return version
    if inner in {"^", "~"}:
        return inner + version
    if ecosystem.is_range(inner):
        return inner
    return version if same_path(inner, folder) else None


def same_path(written: str, folder: str) -> bool:
    """Whether a path in a range is the package's folder, both relative to the top.

    >>> same_path("./packages/core", "packages/core"), same_path("packages/core/", "packages/core")
    (True, False)
    """
    return not written.endswith("/") and posixpath.normpath(written or ".") == folder


def skipped_dependents(
    packages: Sequence[Package], rules: Rules, ecosystems: Mapping[str, Ecosystem]
) -> Iterable[tuple[str, str]]:
    """Pairs of a dependent that takes part and what it depends on that does not: its range would be left behind."""
    if not any(rules.skips(package) for package in packages):
        return
    graph = dependents(packages, rules, ecosystems, development=False)
    for package in packages:
        if rules.skips(package):
            for edge in graph[package.name]:
                if not rules.skips(edge.dependent) and not edge.dependent.private:
                    yield edge.dependent.name, package.name


def _counts(entry: Dependency, *, development: bool) -> bool:
    return entry.kind != "devDependencies" or (development and not entry.range.startswith(("link:", "file:")))


def _leads(written: str, package: Package, rules: Rules, ecosystem: Ecosystem) -> bool:
    if written.startswith(WORKSPACE):
        written = written.removeprefix(WORKSPACE)
        if written in {"*", "^", "~"} or same_path(written, package.folder):
            return True
    elif rules.bump_versions_with_workspace_protocol_only and package.ecosystem == "npm":
        return False
    return ":" not in written and ecosystem.satisfies(package.version, written)
