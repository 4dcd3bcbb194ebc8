"""What a major needs before it is released: a migration guide, and users who were told long enough ago. Pure.

Versions below 2.0.0 promise nothing that a major could break: 0.x changes as it likes, and 1.0.0 is the first promise.
Prereleases of a major are free as well, since they are what users try their migration with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crossfade.core.durations import format_duration
from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version
from crossfade.versioning.values import Notices, PlannedRelease

_FIRST = 2
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r"^#.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Lacking:
    """What one major lacks.

    `guide` is what is wrong with its migration guide and `notice` what is wrong with its notice, each a sentence, or
    None where nothing is. `earliest` is the instant from which its notice is old enough; None when nobody was told.
    """

    component: str
    version: str
    guide: str | None
    notice: str | None
    earliest: datetime | None

    def __str__(self) -> str:
        """`api 2.0.0: …` in one line."""
        return f"{self.component} {self.version}: " + "; ".join(filter(None, (self.guide, self.notice)))


def majors(releases: Iterable[PlannedRelease]) -> tuple[PlannedRelease, ...]:
    """The releases that break a promise: the first release of a major from 2 on, also when it leaves its prereleases.

    >>> from crossfade.versioning.values import Bump
    >>> steps = [("1.4.0", "2.0.0"), ("2.0.0-rc.3", "2.0.0"), ("0.9.0", "1.0.0"), ("1.4.0", "2.0.0-rc.0"), ("2.0.0", "2.1.0")]
    >>> [each.old for each in majors(PlannedRelease("api", old, new, Bump.MAJOR) for old, new in steps)]
    ['1.4.0', '2.0.0-rc.3']
    """
    return tuple(each for each in releases if _is_major(each))


def guide_path(folder: str, release: PlannedRelease) -> str:
    """The file of a major's migration guide; a scope is a folder.

    >>> from crossfade.versioning.values import Bump
    >>> guide_path("docs/migrations", PlannedRelease("@shop/api", "1.4.0", "2.0.0", Bump.MAJOR))
    'docs/migrations/@shop/api-v2.md'
    """
    return f"{folder.rstrip('/')}/{release.name}-v{parse_version(release.new).major}.md"


def check_majors(
    releases: Iterable[PlannedRelease],
    guides: Mapping[str, str],
    notices: Notices,
    now: datetime,
    *,
    folder: str = "docs/migrations",
    notice: float = 1_209_600.0,
) -> tuple[Lacking, ...]:
    """What the majors among `releases` lack; empty when they may go.

    `guides` maps the path of each guide that is there to its text (`notices.read_guides`); `notice` is how long before, in seconds, users must
    have been told (0: not at all); `now` has a time zone.
    """
    found = []
    for release in majors(releases):
        about_guide = _about_guide(guide_path(folder, release), guides)
        about_notice, earliest = _about_notice(release, notices, now, notice)
        if about_guide or about_notice:
            found.append(Lacking(release.name, release.new, about_guide, about_notice, earliest))
    return tuple(found)


def refuse(lacking: Sequence[Lacking]) -> None:
    """Raise what `check_majors` found as one BadInputError (`majors.not-ready`); nothing for nothing."""
    if not lacking:
        return
    steps = []
    if any(each.guide for each in lacking):
        steps.append("write the migration guide")
    untold = [each for each in lacking if each.notice and each.earliest is None]
    if untold:
        major = parse_version(untold[0].version).major
        steps.append(f"tell the users, and record it by `crossfade change notice {untold[0].component} {major}`")
    earliest = [each.earliest for each in lacking if each.notice and each.earliest]
    if earliest:
        steps.append(f"release it from {_written(max(earliest))} on")
    raise BadInputError(
        "majors.not-ready",
        "a major is not ready to be released: " + "\n".join(map(str, lacking))
        if len(lacking) == 1
        else f"{len(lacking)} majors are not ready to be released:\n" + "\n".join(f"  {each}" for each in lacking),
        where=", ".join(f"{each.component}@{each.version}" for each in lacking),
        next="; ".join(steps),
    )


def _is_major(release: PlannedRelease) -> bool:
    old, new = parse_version(release.old), parse_version(release.new)
    if new.prerelease or new.major < _FIRST:
        return False
    leaves_prereleases = old.major == new.major and bool(old.prerelease) and old.minor == old.patch == 0
    return new.major > old.major or leaves_prereleases


def _about_guide(path: str, guides: Mapping[str, str]) -> str | None:
    if path not in guides:
        return f"there is no migration guide {path}"
    told = _HEADING.sub("", _COMMENT.sub("", guides[path]))
    return None if told.strip() else f"the migration guide {path} says nothing yet"


def _about_notice(
    release: PlannedRelease, notices: Notices, now: datetime, notice: float
) -> tuple[str | None, datetime | None]:
    if not notice:
        return None, None
    major = parse_version(release.new).major
    told = notices.get((release.name, major))
    if told is None:
        earliest = _written(now + timedelta(seconds=notice))
        return (
            f"its users were not told: a notice must be {format_duration(notice)} old; told now, it could go on {earliest}",
            None,
        )
    ripe = told.sent + timedelta(seconds=notice)
    if ripe <= now:
        return None, ripe
    when = "are told" if told.sent > now else "were told"
    asked = f"a notice must be {format_duration(notice)} old: it can go from {_written(ripe)} on"
    return f"its users {when} on {_written(told.sent)}, and {asked}", ripe


def _written(at: datetime) -> str:
    """To the minute, and never too early: a person who comes then must not be sent away again."""
    full = at.replace(second=0, microsecond=0)
    return (full if full == at else full + timedelta(minutes=1)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
