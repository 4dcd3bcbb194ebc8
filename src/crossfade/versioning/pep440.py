"""Versions of Python packages (PEP 440) and of the graph (SemVer 2.0): one exact mapping, both ways. Pure.

| SemVer | PEP 440 |
| --- | --- |
| `1.2.3` | `1.2.3` |
| `1.2.3-alpha.1`, `-beta.1`, `-rc.1` | `1.2.3a1`, `b1`, `rc1` |
| `1.2.3-dev.1` | `1.2.3.dev1` |
| `1.2.3-rc.1.dev.2` | `1.2.3rc1.dev2` |
| `1.2.3+ubuntu.1` | `1.2.3+ubuntu.1` |

What one of the two cannot say is an error and never rounded: epochs, post-releases and a fourth number on one side, free
words after the hyphen on the other. Two prereleases are ordered alike on both sides, except that PEP 440 puts `dev` first.
"""

from __future__ import annotations

import re

from crossfade.core.semver import SemVer

_TO_PYTHON = {"alpha": "a", "beta": "b", "rc": "rc"}
_TO_SEMVER = {"a": "alpha", "b": "beta", "rc": "rc"}
_MEANT = {"a": "alpha", "b": "beta", "c": "rc", "pre": "rc", "preview": "rc", "next": "rc", "canary": "dev"}
_LOCAL = re.compile(r"0|[1-9][0-9]*|[0-9]*[a-z][0-9a-z]*")
_RELEASE_LENGTH = 3


def to_pep440(version: SemVer) -> str:
    """The version as Python packages write it; ValueError says why there is none.

    >>> to_pep440(SemVer(1, 0, 0, ("rc", "1"))), to_pep440(SemVer(1, 0, 0, ("dev", "20251121"), ("linux", "x64")))
    ('1.0.0rc1', '1.0.0.dev20251121+linux.x64')
    >>> to_pep440(SemVer(1, 0, 0, ("next", "0")))
    Traceback (most recent call last):
    ValueError: 1.0.0-next.0 has no counterpart in PEP 440: write -rc.0
    """
    text = f"{version.major}.{version.minor}.{version.patch}"
    rest = list(version.prerelease)
    if len(rest) > 1 and rest[0] in _TO_PYTHON and rest[1].isdigit():
        text += f"{_TO_PYTHON[rest[0]]}{rest[1]}"
        rest = rest[2:]
    if len(rest) == 2 and rest[0] == "dev" and rest[1].isdigit():  # noqa: PLR2004 - the word and its number
        text += f".dev{rest[1]}"
        rest = []
    if rest:
        raise ValueError(f"{version} has no counterpart in PEP 440: {_instead(version.prerelease)}")
    unfit = [each for each in version.build if not _LOCAL.fullmatch(each)]
    if unfit:
        raise ValueError(
            f"{version} has no counterpart in PEP 440: after the + there are only small letters and digits, and"
            f" {unfit[0]} is neither a word of them nor a number without leading zeros"
        )
    return f"{text}+{'.'.join(version.build)}" if version.build else text


def from_pep440(text: str) -> SemVer:
    """The SemVer of a Python package's version; ValueError says why there is none.

    >>> str(from_pep440("1.0rc1")), str(from_pep440("2.1.0.dev3"))
    ('1.0.0-rc.1', '2.1.0-dev.3')
    >>> from_pep440("1.0.post1")
    Traceback (most recent call last):
    ValueError: 1.0.post1 is a post-release, which SemVer does not know: write the next patch
    """
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - only repositories with Python need it

    try:
        version = Version(text)
    except InvalidVersion:
        raise ValueError(f"{text!r} is not a version by PEP 440, such as 1.4.0 or 2.0.0rc1") from None
    if version.epoch:
        raise ValueError(f"{text} has an epoch, which SemVer does not know: leave {version.epoch}! away")
    if version.post is not None:
        raise ValueError(f"{text} is a post-release, which SemVer does not know: write the next patch")
    if len(version.release) > _RELEASE_LENGTH:
        raise ValueError(f"{text} has {len(version.release)} numbers, and SemVer has three, such as 1.4.0")
    major, minor, patch = (*version.release, 0, 0)[:_RELEASE_LENGTH]
    pre: tuple[str, ...] = (_TO_SEMVER[version.pre[0]], str(version.pre[1])) if version.pre else ()
    dev: tuple[str, ...] = ("dev", str(version.dev)) if version.dev is not None else ()
    build = tuple(version.local.split(".")) if version.local else ()
    return SemVer(major, minor, patch, pre + dev, build)


def _instead(prerelease: tuple[str, ...]) -> str:
    """What to write for a prerelease that Python does not know."""
    word = re.match(r"[a-z]*", prerelease[0])
    first = word[0] if word else ""
    meant = first if first in {*_TO_PYTHON, "dev"} else _MEANT.get(first)
    numbers = re.findall(r"\d+", ".".join(prerelease))
    if meant and len(numbers) <= 1:
        return f"write -{meant}.{int(numbers[0]) if numbers else 0}"
    return "a prerelease there is -alpha.N, -beta.N, -rc.N or -dev.N"
