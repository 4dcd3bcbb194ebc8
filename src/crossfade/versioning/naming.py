"""Names for people: a plan in the words of crossfade.yaml. Pure.

An npm package goes by its own name in the graph (`@awell-health/navi-core`), since that is what others depend on; people
call it by its component's name (`navi-core`), and so do guides, notices and notes. Git tags and changelogs have the package's
own name, as changesets gives it to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from crossfade.versioning.values import PlannedRelease, ReleasePlan


def called(plan: ReleasePlan, names: Mapping[str, str]) -> ReleasePlan:
    """The same plan with other names: `names` maps a package's name to the one that people use; others stay.

    >>> from crossfade.versioning.values import Bump, Change, Changeset, PlannedRelease
    >>> plan = ReleasePlan((Changeset("a", (Change("@shop/api", Bump.MINOR),)),), (PlannedRelease("@shop/api", "1.0.0", "1.1.0", Bump.MINOR),))
    >>> called(plan, {"@shop/api": "api"}).releases[0].name
    'api'
    """
    return replace(
        plan,
        changesets=tuple(
            replace(
                each,
                releases=tuple(change._replace(name=names.get(change.name, change.name)) for change in each.releases),
            )
            for each in plan.changesets
        ),
        releases=tuple(_called(each, names) for each in plan.releases),
    )


def _called(release: PlannedRelease, names: Mapping[str, str]) -> PlannedRelease:
    what, space, because = release.why.rpartition(" ")  # `embeds @shop/core`: the last word may be a package
    return release._replace(
        name=names.get(release.name, release.name), why=f"{what}{space}{names.get(because, because)}"
    )
