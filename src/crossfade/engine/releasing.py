"""From changesets to a release commit: the plan, every file that follows from it, and what is told about it.

A project of crossfade.yaml and a workspace of changesets alone are versioned by the same planner; the first one has
components of every ecosystem, changelogs in sections, version maps, and majors that must be announced. What that needs
is imported for a project only: a workspace of changesets has its answer sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.engine.release import Release
from crossfade.versioning.coverage import Coverage
from crossfade.versioning.preparing import open_repository, prepare_status, prepare_version
from crossfade.versioning.values import Snapshot

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject


def prepare(
    loaded: LoadedProject | None,
    start: Path,
    now: datetime,
    *,
    ignore: Sequence[str] = (),
    snapshot: Snapshot | None = None,
    template: str | None = None,
) -> Release:
    """The release that the changesets add up to; nothing is written.

    `loaded` is None in a workspace of changesets alone, which is looked for from `start` upwards. `now` (with a time
    zone) dates changelogs and judges notices. BadInputError with file and line for what cannot be used.
    """
    if loaded is None:
        opened = open_repository(start, ignore=ignore, template=template)
        return Release(opened.repository.root, prepare_version(opened, snapshot=snapshot), {})
    from crossfade.engine.project_releases import prepare_project  # noqa: PLC0415 - heavy

    return prepare_project(loaded, now, ignore=ignore, snapshot=snapshot, template=template)


def coverage_of(loaded: LoadedProject | None, start: Path, *, since: str | None = None) -> Coverage:
    """What is about to be released and what changed, in the names that people use; `loaded` and `start` as above."""
    if loaded is None:
        return prepare_status(start, since=since)
    from crossfade.engine.project_releases import coverage_of_project  # noqa: PLC0415 - heavy

    return coverage_of_project(loaded, since=since)
