"""Versions by Semantic Versioning 2.0.0 (https://semver.org/spec/v2.0.0.html)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Part = Literal["major", "minor", "patch"]

_LONGEST = 256
_NUMBER = r"(?:0|[1-9][0-9]*)"
_WORD = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_WORD}(?:\.{_WORD})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
"""A version inside a longer text, as a regular expression without groups."""

_VERSION = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?P<patch>{_NUMBER})"
    rf"(?:-(?P<prerelease>{_WORD}(?:\.{_WORD})*))?"
    r"(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


@dataclass(frozen=True, slots=True)
class SemVer:
    """One version: three numbers, pre-release identifiers, build metadata.

    `<` and its relatives are precedence (§ 11): build metadata does not count. `==` is identity: two
    builds of one version are neither the same nor one before the other.

    >>> SemVer(1, 0, 0, ("rc", "2")) < SemVer(1, 0, 0, ("rc", "10")) < SemVer(1, 0, 0)
    True
    >>> str(SemVer(1, 2, 3, ("beta",), ("sha", "5114f85")))
    '1.2.3-beta+sha.5114f85'
    """

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if _VERSION.fullmatch(str(self)) is None:
            msg = f"{str(self)!r} is not a version"
            raise ValueError(msg)

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(self.prerelease)
        if self.build:
            text += "+" + ".".join(self.build)
        return text

    def __lt__(self, other: SemVer) -> bool:
        return self.precedence < other.precedence

    def __le__(self, other: SemVer) -> bool:
        return self.precedence <= other.precedence

    def __gt__(self, other: SemVer) -> bool:
        return self.precedence > other.precedence

    def __ge__(self, other: SemVer) -> bool:
        return self.precedence >= other.precedence

    @property
    def precedence(self) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
        """A key that sorts by § 11: numbers before words, fewer identifiers first, a release last.

        >>> SemVer(1, 0, 0, build=("a",)).precedence == SemVer(1, 0, 0, build=("b",)).precedence
        True
        """
        identifiers = tuple((0, int(each), "") if each.isdigit() else (1, 0, each) for each in self.prerelease)
        return (self.major, self.minor, self.patch, not self.prerelease, identifiers)

    def bump(self, part: Part) -> SemVer:
        """The next release: a pre-release that already stands for it becomes the release itself.

        >>> str(SemVer(1, 2, 3).bump("minor")), str(SemVer(2, 0, 0, ("rc", "1")).bump("major"))
        ('1.3.0', '2.0.0')
        """
        if part == "major":
            done = self.prerelease and self.minor == self.patch == 0
            return SemVer(self.major if done else self.major + 1, 0, 0)
        if part == "minor":
            done = self.prerelease and self.patch == 0
            return SemVer(self.major, self.minor if done else self.minor + 1, 0)
        return SemVer(self.major, self.minor, self.patch if self.prerelease else self.patch + 1)


def parse_version(text: str) -> SemVer:
    """The version that `text` is, exactly; ValueError says what is wrong.

    >>> parse_version("1.1.0-rc.1+build.5")
    SemVer(major=1, minor=1, patch=0, prerelease=('rc', '1'), build=('build', '5'))
    >>> parse_version("1.1")
    Traceback (most recent call last):
    ValueError: '1.1' is not a version: it has 2 of 3 numbers, such as 1.1.0
    """
    if len(text) > _LONGEST:
        msg = f"a version of {len(text)} characters is too long: at most {_LONGEST}"
        raise ValueError(msg)
    match = _VERSION.fullmatch(text)
    if match is None:
        msg = f"{text!r} is not a version: {_why_not(text)}"
        raise ValueError(msg)
    return SemVer(
        int(match["major"]),
        int(match["minor"]),
        int(match["patch"]),
        _identifiers(match["prerelease"]),
        _identifiers(match["build"]),
    )


def parse_tag(text: str) -> SemVer:
    """As `parse_version`, with an optional leading `v` as git tags have it.

    >>> str(parse_tag("v1.2.3")), str(parse_tag("1.2.3"))
    ('1.2.3', '1.2.3')
    """
    return parse_version(text.removeprefix("v"))


def _identifiers(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


def _why_not(text: str) -> str:
    if re.fullmatch(r"[vV][0-9].*", text):
        return f"it starts with {text[0]!r}; write {text[1:]!r}"
    core = re.split(r"[-+]", text, maxsplit=1)[0]
    numbers = core.split(".")
    if not all(re.fullmatch(r"[0-9]+", number) for number in numbers):
        return "write three numbers with dots between them, such as 1.4.0 or 2.0.0-rc.1"
    padded = [number for number in numbers if len(number) > 1 and number.startswith("0")]
    if padded:
        return f"{padded[0]} has a leading zero; write {int(padded[0])}"
    if len(numbers) < 3:  # noqa: PLR2004 - the three numbers of a version
        return f"it has {len(numbers)} of 3 numbers, such as {'.'.join([*numbers, '0', '0'][:3])}"
    if len(numbers) > 3:  # noqa: PLR2004 - the three numbers of a version
        return f"it has {len(numbers)} numbers instead of 3"
    return (
        "identifiers after - and + are letters, digits and hyphens with dots between them, "
        "and pre-release numbers have no leading zero"
    )
