"""What a check says about keys that do not fit one another."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.config.faults import Path


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about keys together: `paths` are those that it is about, the first is where it is shown.

    `fatal`: the file is not used; otherwise it is a warning.
    """

    code: str
    paths: tuple[Path, ...]
    what: str
    hint: str
    fatal: bool = True
