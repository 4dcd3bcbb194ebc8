"""What images, their repositories and their tags are called. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from crossfade.artifacts.port import Coordinate
from crossfade.config.placeholders import PlaceholderError, fill, names
from crossfade.core.errors import BadInputError

_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_LONGEST = 255
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_WORDS = {
    "version": r"[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:_[0-9A-Za-z.-]+)?",
    "major": "[0-9]+",
    "minor": "[0-9]+",
    "sha": "[0-9a-f]{4,64}",
    "branch": "[A-Za-z0-9._-]+",
}
_FOR_GOOD = {"version", "sha"}


def repository_of(scheme: str, name: str) -> str:
    """The repository of the component `name`; BadInputError when no registry could have one of that name.

    >>> repository_of("acme/{name}", "@navi/core")
    'acme/navi/core'
    """
    try:
        found = fill(scheme, {"name": name.removeprefix("@").lower()})
    except PlaceholderError as error:
        raise BadInputError("oci.bad-repository", str(error), where=scheme, next="correct `repository`") from None
    if _PATH.fullmatch(found) is None or len(found) > _LONGEST:
        raise BadInputError(
            "oci.bad-repository",
            f"{found!r} cannot be a repository: lower-case letters and digits, parted by . _ - and /",
            where=scheme,
            next="correct `repository` of the registry, or give the component another `publish.name`",
        )
    return found


def checked_tag(tag: str) -> str:
    """`tag` itself; BadInputError when no image can be called so.

    >>> checked_tag("v1.0.0_build.7")
    'v1.0.0_build.7'
    """
    if _TAG.fullmatch(tag) is None:
        raise BadInputError(
            "oci.bad-tag",
            f"{tag!r} cannot be a tag: letters, digits and . _ - only, at most 128, and no dot or hyphen first",
            where=tag,
            next="write + of build metadata as _, and correct the tags of the registry",
        )
    return tag


def version_tags(tags: Sequence[str], prerelease_tags: Sequence[str]) -> Callable[[Coordinate], str]:
    """Tells the tag that is a version: the first scheme that is made of the whole version alone, else `v{version}`.

    >>> of = version_tags(["{version}-{sha}", "{version}"], ["pre-{version}"])
    >>> of(Coordinate("core", "1.0.0+7")), of(Coordinate("core", "1.1.0-rc.1"))
    ('1.0.0_7', 'pre-1.1.0-rc.1')
    """
    release, prerelease = _version_alone(tags), _version_alone(prerelease_tags)

    def tag(at: Coordinate) -> str:
        core, _, build = at.version.partition("+")
        return fill(prerelease if "-" in core else release, {"version": f"{core}_{build}" if build else core})

    return tag


def _version_alone(schemes: Sequence[str]) -> str:
    return next((scheme for scheme in schemes if names(scheme) == ("version",)), "v{version}")


def never_moved(schemes: Sequence[str]) -> Callable[[str], bool]:
    """Tells of a tag whether it stays where it is: one of `schemes` that holds the whole version or the commit made it.

    >>> stays = never_moved(["v{version}", "{major}.{minor}", "{version}-{sha}", "latest"])
    >>> [stays(tag) for tag in ("v1.0.0-rc.1", "1.0", "1.0.0-5114f85", "latest")]
    [True, False, True, False]
    """
    held = [scheme for scheme in schemes if not _FOR_GOOD.isdisjoint(names(scheme))]
    patterns = [re.compile(fill(re.escape(scheme).replace(r"\{", "{").replace(r"\}", "}"), _WORDS)) for scheme in held]
    return lambda tag: any(pattern.fullmatch(tag) for pattern in patterns)
