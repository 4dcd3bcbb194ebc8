"""Versions in plain files: `VERSION`, and the assignment in a Python module. Pure."""

from __future__ import annotations

import re

from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version
from crossfade.versioning.dynamic_versions import VersionPlace
from crossfade.versioning.package_json import Npm
from crossfade.versioning.pyproject import read_version, write_version

_VERSION = re.compile(r"\A\s*v?(?P<version>\S+)\s*\Z")


class VersionFile(Npm):
    """A `VERSION` file: nothing but a version, and ranges only in crossfade.yaml, in npm's words."""

    __slots__ = ()

    def edited(self, text: str, where: str, version: str | None, ranges: object) -> str:  # noqa: ARG002 - it has none
        r"""The text with another version; a leading v and the line's end stay.

        >>> VersionFile().edited("v1.0.0\n", "VERSION", "1.1.0", ())
        'v1.1.0\n'
        """
        return text if version is None else _spliced(_found(text, where), text, version)


class InLedger(Npm):
    """A component without a file of its own: its manifest is the ledger, which is written for all of them at once."""

    __slots__ = ()

    def edited(self, text: str, where: str, version: str | None, ranges: object) -> str:  # noqa: ARG002 - see above
        """The text as it is."""
        return text


def read_version_file(text: str, where: str) -> str:
    r"""The SemVer that a `VERSION` file holds; BadInputError names the file.

    >>> read_version_file("1.4.0-rc.1\n", "VERSION")
    '1.4.0-rc.1'
    """
    found = _found(text, where)["version"]
    try:
        return str(parse_version(found))
    except ValueError as error:
        hint = "write one version, such as 1.4.0"
        raise BadInputError("versions.bad-version", str(error), where=f"{where}:1", next=hint) from None


def read_assigned(text: str, place: VersionPlace, where: str) -> str:
    """The SemVer of the version that a Python package keeps in this file; BadInputError names file and line."""
    match = _assigned(text, place, where)
    line = text.count("\n", 0, match.start("version")) + 1
    return str(read_version(match["version"], f"{where}:{line}"))


def edited_assigned(text: str, place: VersionPlace, where: str, version: str) -> str:
    """The text with another version there, written as PEP 440 has it; every other character stays."""
    return _spliced(_assigned(text, place, where), text, write_version(version, where))


def _assigned(text: str, place: VersionPlace, where: str) -> re.Match[str]:
    match = re.search(place.pattern, text)
    if match is None:
        hint = 'write `__version__ = "1.4.0"` there'
        raise BadInputError("versions.no-version", f"there is no version in {where}", where=where, next=hint)
    return match


def _found(text: str, where: str) -> re.Match[str]:
    match = _VERSION.fullmatch(text.removeprefix("\ufeff"))
    if match is None:
        hint = "write one version, such as 1.4.0"
        raise BadInputError("versions.bad-version", f"{where} does not hold one version", where=f"{where}:1", next=hint)
    return match


def _spliced(match: re.Match[str], text: str, version: str) -> str:
    skipped = len(text) - len(match.string)
    return text[: match.start("version") + skipped] + version + text[match.end("version") + skipped :]
