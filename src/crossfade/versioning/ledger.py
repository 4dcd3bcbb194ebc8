"""The ledger, `.changeset/versions.json`: versions of components that have no file of their own. Pure.

```json
{
  "billing": "1.4.0",
  "gateway": "2.0.0-rc.1"
}
```
One component on each line, sorted by name, so that two branches that release different ones merge without a conflict.
A component that is not in it has never been released: it is at 0.0.0, and its first changeset decides what comes next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version
from crossfade.versioning.package_json import members, read_json

LEDGER = ".changeset/versions.json"
"""Where it is, relative to the top of the repository."""
UNRELEASED = "0.0.0"


def read_ledger(text: str | None, where: str = LEDGER) -> dict[str, str]:
    """Name → SemVer; None is a ledger that is not there yet. BadInputError with file and line.

    >>> read_ledger('{"billing": "1.4.0"}')
    {'billing': '1.4.0'}
    """
    if text is None:
        return {}
    read_json(text, where)
    found: dict[str, str] = {}
    for entry in members(text):
        place = f"{where}:{text.count(chr(10), 0, entry.start) + 1}"
        if entry.key in found:
            what = f"{entry.key} is in the ledger twice"
            raise BadInputError("versions.ledger", what, where=place, next="keep the newer of the two")
        if not isinstance(entry.value, str):
            what = f"the version of {entry.key} is no text"
            raise BadInputError("versions.bad-version", what, where=place, next='write it in quotes, such as "1.4.0"')
        try:
            found[entry.key] = str(parse_version(entry.value))
        except ValueError as error:
            raise BadInputError("versions.bad-version", str(error), where=place, next="correct the version") from None
    return found


def write_ledger(versions: Mapping[str, str]) -> str:
    """The text of a ledger with these versions.

    >>> print(write_ledger({"gateway": "2.0.0", "billing": "1.4.0"}), end="")
    {
      "billing": "1.4.0",
      "gateway": "2.0.0"
    }
    """
    return json.dumps(dict(sorted(versions.items())), indent=2, ensure_ascii=False) + "\n"
