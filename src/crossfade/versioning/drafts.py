"""A release while the plan is being worked out, and the version that it would have at that moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from crossfade.core.errors import BadInputError
from crossfade.versioning.ranges import incremented, npm_version
from crossfade.versioning.values import Bump


@dataclass(slots=True)
class Draft:
    """What is known so far about the release of one package."""

    name: str
    bump: Bump
    old: str
    changesets: list[str] = field(default_factory=list)
    why: str = ""


Drafts = dict[str, Draft]
"""In the order in which they came into the plan, which is the order of what is written."""


@dataclass(frozen=True, slots=True)
class Counting:
    """How the next version is made: below 1.0.0, and in pre mode with its tag and each package's next number."""

    breaking_below_one: Literal["minor", "major"] = "major"
    tag: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)

    def effective(self, version: str, bump: Bump) -> Bump:
        """What the bump does to this version: below 1.0.0 a breaking change may be a minor.

        >>> Counting("minor").effective("0.4.2", Bump.MAJOR)
        <Bump.MINOR: 2>
        """
        if bump is Bump.MAJOR and self.breaking_below_one == "minor":
            seen = npm_version(version)
            if seen is not None and seen.exact.major == 0:
                return Bump.MINOR
        return bump

    def next(self, name: str, version: str, bump: Bump) -> str:
        """The version after this one.

        >>> Counting(tag="next", numbers={"a": 2}).next("a", "1.1.0-next.1", Bump.MINOR)
        '1.1.0-next.2'
        """
        if bump is Bump.NONE:
            return version
        plain = incremented(version, self.effective(version, bump))
        if plain is None:
            raise unusable(name, version)
        return plain if self.tag is None else f"{plain}-{self.tag}.{self.numbers[name]}"


def unusable(name: str, version: str) -> BadInputError:
    """The error for a version that cannot be incremented."""
    return BadInputError(
        "versions.bad-version",
        f"{version!r} is not a version" if version else "it has no version, but stands in a group of those that have",
        where=name,
        next="write three numbers with dots between them, such as 1.4.0 or 2.0.0-rc.1",
    )
