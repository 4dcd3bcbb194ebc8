"""Ranges of Python packages: PEP 440 specifiers (`>=1.2,<2`), and Poetry's (`^1.2`), which mean what npm's mean. Pure.

Versions come in as SemVer, as everywhere in the graph, and are compared as PEP 440 does it: a prerelease lies in a range
only if the range names a prerelease.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from crossfade.core.semver import parse_version
from crossfade.versioning import ranges as npm
from crossfade.versioning.pep440 import from_pep440, to_pep440
from crossfade.versioning.values import Bump

if TYPE_CHECKING:
    from packaging.specifiers import Specifier, SpecifierSet
    from packaging.version import Version

_SPECIFIER = re.compile(r"(?P<before>\s*(?:===|[<>~=!]=|[<>])\s*)(?P<version>.*?)(?P<after>\s*)", re.DOTALL)
_PYTHON_VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+(?:\.dev\d+)?|\.dev\d+)")
_ANY = {"", "*"}


def is_range(range: str) -> bool:
    """Whether the text is a range in either spelling.

    >>> is_range(">=1.2,<2"), is_range("^1.2"), is_range("@ https://example.com/core.whl")
    (True, True, False)
    """
    return _specifiers(range) is not None or npm.npm_range(_as_npm(range)) is not None


def satisfies(version: str, range: str) -> bool:
    """Whether the SemVer version lies in the range; false where either is none.

    >>> satisfies("1.9.0", ">=1.2,<2"), satisfies("2.0.0-rc.1", ">=1.2,<2"), satisfies("1.3.0-rc.1", ">=1.2")
    (True, False, False)
    """
    found = _specifiers(range)
    if found is None:
        return npm.satisfies(version, _as_npm(range))
    try:
        return _holds(found, _python(version))
    except ValueError:
        return False


def raised(range: str, version: str, bump: Bump) -> str:
    """The range in the same style that holds the new version.

    Lower bounds and exact versions become the new version, upper bounds stay as long as they allow it and else move by
    the number that they bound; what excludes the new version goes. ValueError where the version has none in PEP 440.

    >>> raised(">=1.2, <2", "2.1.0", Bump.MAJOR), raised("~=1.4", "2.1.3", Bump.MAJOR), raised("==1.4.*", "1.5.0", Bump.MINOR)
    ('>=2.1.0, <3', '~=2.1', '==1.5.*')
    >>> raised("^1.2", "2.0.0-rc.1", Bump.MAJOR)
    '^2.0.0rc1'
    """
    new = _python(version)
    found = _specifiers(range)
    if found is None:
        return npm.raised(_as_npm(range), version, bump).replace(version, str(new))
    if range.strip() in _ANY:
        return f">={new}" if new.is_prerelease else range
    parts = [part for part in (_part(each, new) for each in range.split(",")) if part is not None]
    edited = ",".join(parts).lstrip() if range[:1].strip() else ",".join(parts)
    again = _specifiers(edited)
    return edited if edited and again is not None and _holds(again, new) else f"=={new}"


def _python(version: str) -> Version:
    from packaging.version import Version  # noqa: PLC0415 - only repositories with Python need it

    # A range names no build: PEP 440 allows what stands after the + in `==` alone.
    return Version(Version(to_pep440(parse_version(version))).public)


@lru_cache(maxsize=4096)
def _specifiers(range: str) -> SpecifierSet | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - only repositories with Python

    try:
        return SpecifierSet("" if range.strip() in _ANY else range)
    except InvalidSpecifier:
        return None


def _holds(specifiers: SpecifierSet | Specifier, version: Version) -> bool:
    return specifiers.contains(version, prereleases=bool(specifiers.prereleases))


def _as_npm(range: str) -> str:
    """Poetry's spelling as npm reads it: commas join, and prereleases have npm's words."""
    return _PYTHON_VERSION.sub(lambda match: str(from_pep440(match[0])), range.replace(",", " "))


def _part(text: str, new: Version) -> str | None:
    """One specifier for the new version; None: it excludes the new version, and goes."""
    from packaging.specifiers import Specifier  # noqa: PLC0415 - only repositories with Python need it

    match = _SPECIFIER.fullmatch(text)
    if match is None:
        return text
    specifier = Specifier(text)
    sign, old = match["before"].strip(), match["version"]
    allowed = specifier.contains(new, prereleases=True)
    if sign == "!=":
        return text if allowed else None
    if sign in {"<", "<="} and allowed:
        return text
    if sign == ">":
        return f"{match['before'].replace('>', '>=')}{new}{match['after']}"
    if sign == "<":
        return f"{match['before']}{_above(old, new)}{match['after']}"
    if sign == "~=":
        return f"{match['before']}{_cut(new, old.split('.'))}{match['after']}"
    if sign == "==" and old.endswith(".*"):
        stars = ".".join(str(each) for each in _padded(new, old.count("."))) + ".*"
        return f"{match['before']}{new if new.is_prerelease else stars}{match['after']}"
    return f"{match['before']}{new}{match['after']}"


def _padded(version: Version, length: int) -> tuple[int, ...]:
    return (*version.release, *([0] * length))[:length]


def _above(bound: str, new: Version) -> str:
    """The upper bound that bounds the same number as the old one, above the new version: `2` → `3`, `1.3.0` → `1.6.0`."""
    from packaging.version import Version  # noqa: PLC0415 - only repositories with Python need it

    release = Version(bound).release
    length = max((index for index, each in enumerate(release, 1) if each), default=1)
    numbers = list(_padded(new, length))
    numbers[-1] += 1
    return ".".join(str(each) for each in [*numbers, *([0] * (len(release) - length))])


def _cut(new: Version, old: list[str]) -> str:
    """The new version with as many numbers as `~=` had: they say what may still move."""
    if new.is_prerelease:
        numbers = ".".join(str(each) for each in _padded(new, max(len([each for each in old if each.isdigit()]), 2)))
        exact = all(each == 0 for each in new.release[numbers.count(".") + 1 :])
        return str(new).replace(".".join(map(str, new.release)), numbers, 1) if exact else str(new)
    length = min(max(len([each for each in old if each[:1].isdigit()]), 2), 3)
    return ".".join(str(each) for each in _padded(new, length))
