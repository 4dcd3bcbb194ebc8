"""A release before it is made: what `version` would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.versioning.naming import called
from crossfade.versioning.preparing import Prepared
from crossfade.versioning.values import ReleasePlan

if TYPE_CHECKING:
    from crossfade.versioning.majors import Lacking
    from crossfade.versioning.projects import OpenedProject


@dataclass(frozen=True, slots=True)
class Release:
    """What `version` would do. `lacking` is what its majors need before they may go; `names` are those that people use."""

    root: Path
    prepared: Prepared
    names: Mapping[str, str]
    lacking: tuple[Lacking, ...] = ()
    project: OpenedProject | None = None

    @property
    def plan(self) -> ReleasePlan:
        """The plan in the names that people use."""
        return called(self.prepared.plan, self.names)
