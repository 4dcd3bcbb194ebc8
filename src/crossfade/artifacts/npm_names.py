"""What npm takes for the name of a package. Pure."""

from __future__ import annotations

import re

from crossfade.core.errors import BadInputError

_NAME = re.compile(r"(?:@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*", re.IGNORECASE)
_LONGEST = 214


def checked_name(name: str, *, where: str) -> str:
    """The name itself; BadInputError when it can be none. Capitals are left to old packages that have them.

    >>> checked_name("@navi/core", where="packages/core/package.json")
    '@navi/core'
    >>> checked_name("../core", where="packages/core/package.json")
    Traceback (most recent call last):
    crossfade.core.errors.BadInputError: '../core' is not the name of an npm package
      where: packages/core/package.json
      next:  use small letters, digits, hyphens, dots and underscores, such as core or @shop/core
    """
    if _NAME.fullmatch(name) and len(name) <= _LONGEST:
        return name
    raise BadInputError(
        "npm.bad-name",
        f"{name!r} is not the name of an npm package",
        where=where,
        next="use small letters, digits, hyphens, dots and underscores, such as core or @shop/core",
    )
