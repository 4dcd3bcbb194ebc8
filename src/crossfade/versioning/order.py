"""Dependency order: what has to be there before what, for building and for publishing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from crossfade.core.errors import BadInputError
from crossfade.versioning.values import Package

_NOTHING: Mapping[str, tuple[str, ...]] = {}


def order(
    packages: Sequence[Package],
    *,
    embeds: Mapping[str, Sequence[str]] = _NOTHING,
    development: bool = True,
    place_of: Callable[[str, str], str] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """Names of the packages in levels: each needs only what stands in levels before its own.

    `embeds` maps a name to those whose build becomes part of its own. `development=False` leaves out development
    dependencies, which matter to a build and not to a publication. BadInputError `versions.cycle` shows a shortest cycle;
    `place_of` says in which file and line one needs another (the manifest when None).

    >>> from crossfade.versioning.values import Dependency
    >>> api = Package("api", "1.0.0", dependencies=(Dependency("core", "^1.0.0"), Dependency("left-pad", "*")))
    >>> order([api, Package("core", "1.2.0"), Package("site", "1.0.0")], embeds={"site": ["api"]})
    (('core',), ('api',), ('site',))
    """
    needs = _needs(packages, embeds, development=development)
    waiting = {name: len(needed) for name, needed in needs.items()}
    dependents: dict[str, list[str]] = {name: [] for name in needs}
    for name, needed in needs.items():
        for each in needed:
            dependents[each].append(name)
    levels: list[tuple[str, ...]] = []
    level = [name for name, count in waiting.items() if count == 0]
    while level:
        levels.append(tuple(sorted(level)))
        following = []
        for name in level:
            for each in dependents[name]:
                waiting[each] -= 1
                if waiting[each] == 0:
                    following.append(each)
        level = following
    left = {name: needs[name] for name, count in waiting.items() if count}
    if left:
        manifests = {package.name: package.manifest for package in packages}
        raise _cycle(left, place_of or (lambda name, _: manifests[name]))
    return tuple(levels)


def _needs(
    packages: Sequence[Package], embeds: Mapping[str, Sequence[str]], *, development: bool
) -> dict[str, set[str]]:
    """Name → those among the packages that it needs; itself is never one of them."""
    names = {package.name for package in packages}
    return {
        package.name: {
            *(each.name for each in package.dependencies if development or each.kind != "devDependencies"),
            *embeds.get(package.name, ()),
        }
        & names - {package.name}
        for package in packages
    }


def _cycle(left: Mapping[str, set[str]], place_of: Callable[[str, str], str]) -> BadInputError:
    """The error for packages that wait for each other; it tells one of their shortest cycles."""
    found = min((path for name in sorted(left) if (path := _way_back(name, left))), key=len)
    what = f"these need each other, so none of them can come first: {' → '.join([*found, found[0]])}"
    where = ", ".join(dict.fromkeys(map(place_of, found, [*found[1:], found[0]])))
    return BadInputError("versions.cycle", what, where=where, next="take one of these dependencies away")


def _way_back(start: str, left: Mapping[str, set[str]]) -> list[str]:
    """The shortest way from a package over what it needs back to itself; empty if there is none."""
    paths = [[start]]
    seen = set()
    for path in paths:
        for each in sorted(left[path[-1]]):
            if each == start:
                return path
            if each in left and each not in seen:
                seen.add(each)
                paths.append([*path, each])
    return []
