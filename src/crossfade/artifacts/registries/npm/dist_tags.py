"""Which dist-tag a version gets, and which moves of one are forward. Pure."""

from __future__ import annotations

import re

from crossfade.core.semver import SemVer, parse_version

_WORD = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*")
_RANGE = re.compile(r"[v=\s]*(?:\d+|[xX*])(?:\.(?:\d+|[xX*])){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_UNNAMED = "prerelease"


def dist_tag(version: str, release: str = "latest") -> str:
    """The dist-tag of a version: `release` for a release, for a prerelease its own first word.

    >>> [dist_tag(each) for each in ("2.0.0", "2.0.0-next.1", "0.0.0-canary-20260101", "2.0.0-0", "2.0.0-latest.1")]
    ['latest', 'next', 'canary', 'prerelease', 'prerelease']
    """
    prerelease = parse_version(version).prerelease
    if not prerelease:
        return release
    word = _WORD.match(prerelease[0])
    name = word.group() if word else ""
    return _UNNAMED if not name or name in ("latest", release) or is_range(name) else name


def is_range(tag: str) -> bool:
    """Whether clients would read a tag as a range of versions, so that it can be none.

    >>> [is_range(tag) for tag in ("v1", "1.x", "x", "v", "next", "release-1")]
    [True, True, True, True, False, False]
    """
    return tag in ("", "v") or _RANGE.fullmatch(tag) is not None


def leads_back(tag: str, now: str, to: str) -> bool:
    """Whether `tag`, moved from version `now` to version `to`, would take those who follow it back.

    To an older version, or, for `latest`, from a release to a prerelease.

    >>> leads_back("latest", "2.0.0", "1.9.1"), leads_back("latest", "1.9.1", "2.0.0-rc.1"), leads_back("next", "1.0.0", "1.1.0")
    (True, True, False)
    """
    before, after = _read(now), _read(to)
    if before is None or after is None:
        return False
    unripe = tag == "latest" and bool(after.prerelease) and not before.prerelease
    return after < before or unripe


def _read(version: str) -> SemVer | None:
    try:
        return parse_version(version)
    except ValueError:
        return None
