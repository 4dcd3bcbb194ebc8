"""The tags of an image: which of them hold a version for good, which move, and that none moves back. Pure.

A tag that holds the whole version or the commit is *immutable*: it names one image, for ever. Any other tag *floats*:
it leads to the newest image that it stands for.

Two rules come from what a tag may hold (`[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`): the `+` of build metadata is written `_`,
which no version holds, so that a tag can be read back; in a branch, whatever a tag cannot hold is written `-`, and a
branch that is too long for its tag is cut.

>>> from crossfade.core.semver import parse_version
>>> [tag.name for tag in image_tags(("v{version}", "{branch}-{sha}", "dev"), parse_version("1.1.0+build.7"), "a1b2c3d", "feature/x")]
['v1.1.0_build.7', 'feature-x-a1b2c3d', 'dev']
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossfade.config.faults import suggest
from crossfade.config.placeholders import PlaceholderError, fill, names
from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer, parse_tag

WORDS = ("version", "major", "minor", "sha", "branch")
"""What a scheme may hold, in braces."""

_LONGEST = 128
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_FOREIGN = re.compile(r"[^A-Za-z0-9._-]+")
_FOR_GOOD = frozenset({"version", "sha"})


@dataclass(frozen=True, slots=True)
class ImageTag:
    """One tag, and the scheme that it was made from. `floats` is False for a tag that is never moved."""

    name: str
    scheme: str
    floats: bool

    @property
    def promises_release(self) -> bool:
        """Whether people read a release into it: `latest`, or a version that is cut short, such as `1.0`.

        >>> image_tags(("{major}.{minor}", "staging"), SemVer(1, 0, 0), "a1b2c3d", "main")[0].promises_release
        True
        """
        return self.floats and (self.name == "latest" or not {"major", "minor"}.isdisjoint(names(self.scheme)))


@dataclass(frozen=True, slots=True)
class Moves:
    """What is to be done with an image's tags.

    `to_set` are the tags that lead to the image from now on, immutable ones first; `kept` are floating tags that stay
    where they are, each with the reason in one sentence.
    """

    to_set: tuple[str, ...]
    kept: Mapping[str, str] = field(default_factory=dict)


def schemes_of(
    tags: Sequence[str], prerelease_tags: Sequence[str], version: SemVer, *, image_tags: Sequence[str] = ()
) -> tuple[str, ...]:
    """The schemes that count for `version`: the environment's own (`image_tags`), else the registry's.

    >>> schemes_of(("latest",), ("next",), SemVer(1, 0, 0, ("rc", "1"))), schemes_of((), (), SemVer(1, 0, 0), image_tags=("dev",))
    (('next',), ('dev',))
    """
    return tuple(image_tags) or tuple(prerelease_tags if version.prerelease else tags)


def image_tags(schemes: Sequence[str], version: SemVer, sha: str, branch: str) -> tuple[ImageTag, ...]:
    """Every tag of an image, immutable ones first, each once. BadInputError for a scheme that makes no tag.

    `sha` is the commit as it shall stand in tags (git's abbreviation, usually); `branch` is a branch's plain name.
    """
    made = dict.fromkeys(_tag(scheme, version, sha, branch) for scheme in schemes)
    once = {tag.name: tag for tag in reversed(made)}  # the first scheme that makes a name decides what it is
    return tuple(sorted((tag for tag in made if once[tag.name] == tag), key=lambda tag: tag.floats))


def choose(
    tags: Sequence[ImageTag], version: SemVer, leads_to: Mapping[str, SemVer | None], *, of_environment: bool = False
) -> Moves:
    """Which tags are set for `version`, and which stay where they are.

    `leads_to` holds the version that each tag leads to now; None for one that leads to something that is not known, no
    entry for one that is not there. A floating tag never moves to an older version. A prerelease for an environment
    (`of_environment`: the schemes are `image_tags`, which do not tell releases from prereleases) never takes a tag that
    promises a release.

    >>> tags = image_tags(("v{version}", "{major}.{minor}", "latest"), SemVer(1, 0, 5), "a1b2c3d", "main")
    >>> choose(tags, SemVer(1, 0, 5), {"1.0": SemVer(1, 0, 4), "latest": SemVer(1, 1, 0)})
    Moves(to_set=('v1.0.5', '1.0'), kept={'latest': 'latest leads to 1.1.0, which is newer than 1.0.5'})
    """
    kept: dict[str, str] = {}
    for tag in tags:
        if not tag.floats:
            continue
        there = leads_to.get(tag.name)
        if of_environment and version.prerelease and tag.promises_release:
            kept[tag.name] = f"{tag.name} promises a release, and {version} is a prerelease"
        elif there is not None and there > version:
            kept[tag.name] = f"{tag.name} leads to {there}, which is newer than {version}"
    return Moves(tuple(tag.name for tag in tags if tag.name not in kept), kept)


def version_in(tag: str) -> SemVer | None:
    """The version that a tag of the form `v{version}` or `{version}` holds; None for any other tag.

    >>> str(version_in("v1.0.0-rc.1_build.7")), version_in("1.0"), version_in("latest")
    ('1.0.0-rc.1+build.7', None, None)
    """
    try:
        return parse_tag(tag.replace("_", "+"))
    except ValueError:
        return None


def _tag(scheme: str, version: SemVer, sha: str, branch: str) -> ImageTag:
    used = _words(scheme)
    if "sha" in used and re.fullmatch(r"[0-9a-f]{4,64}", sha) is None:
        raise BadInputError(
            "image-tags.no-commit",
            f"the tag {scheme} needs the commit, and there is none" if not sha else f"{sha!r} is not a commit's id",
            where=scheme,
            next="commit first, or take {sha} out of the scheme",
        )
    if "branch" in used and not branch:
        raise BadInputError(
            "image-tags.no-branch",
            f"the tag {scheme} needs the branch, and no branch is checked out",
            where=scheme,
            next="check out a branch, let your pipeline's variables name it, or take {branch} out of the scheme",
        )
    values = {
        "version": str(version).replace("+", "_"),
        "major": str(version.major),
        "minor": str(version.minor),
        "sha": sha,
        "branch": _FOREIGN.sub("-", branch).lstrip(".-") or "-",
    }
    name = fill(scheme, values)
    if used.count("branch") and len(name) > _LONGEST:
        room = max(1, len(values["branch"]) - (len(name) - _LONGEST))
        name = fill(scheme, {**values, "branch": values["branch"][:room].rstrip(".-") or "-"})
    if _TAG.fullmatch(name) is None:
        raise BadInputError(
            "image-tags.bad-name",
            f"{name!r} cannot be a tag of an image: a tag has at most {_LONGEST} letters, digits, dots, hyphens and"
            " underscores, and begins with a letter, a digit or an underscore",
            where=scheme,
            next="change the scheme in `tags`, `prerelease_tags` or `image_tags`",
        )
    return ImageTag(name, scheme, floats=_FOR_GOOD.isdisjoint(used))


def _words(scheme: str) -> tuple[str, ...]:
    """The words that a scheme uses; BadInputError for one that is not known."""
    try:
        used = names(scheme)
    except PlaceholderError as error:
        raise BadInputError("image-tags.bad-scheme", str(error), where=scheme, next="correct the scheme") from None
    for word in used:
        if word not in WORDS:
            raise BadInputError(
                "image-tags.unknown-word",
                f"{{{word}}} is not a word of image tags",
                where=scheme,
                next=suggest(word, WORDS),
            )
    return used
