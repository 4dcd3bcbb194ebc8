"""`api@1.1.0`: a version of a component, as people write it on a command line."""

from __future__ import annotations

from typing import NamedTuple

from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer, parse_version


class Reference(NamedTuple):
    """A component and one of its versions."""

    component: str
    version: SemVer

    def __str__(self) -> str:
        return f"{self.component}@{self.version}"


def parse_reference(text: str) -> Reference:
    """The component and version in `COMPONENT@VERSION`; BadInputError says what is missing.

    >>> str(parse_reference("api@1.1.0").version)
    '1.1.0'
    >>> parse_reference("api")
    Traceback (most recent call last):
    crossfade.core.errors.BadInputError: 'api' names no version
      next:  write api@VERSION, such as api@1.1.0
    """
    component, at, version = text.rpartition("@")
    if not at or not version:
        name = component or version or "api"
        raise BadInputError(
            "reference.no-version", f"{text!r} names no version", next=f"write {name}@VERSION, such as {name}@1.1.0"
        )
    if not component:
        raise BadInputError(
            "reference.no-component", f"{text!r} names no component", next=f"write COMPONENT{text}, such as api{text}"
        )
    try:
        return Reference(component, parse_version(version))
    except ValueError as error:
        raise BadInputError(
            "reference.bad-version",
            str(error),
            where=repr(text),
            next=f"write a full version, such as {component}@1.1.0",
        ) from None
