"""Release notes: what a plan and its changesets tell, for people. Pure; `notes_template` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple

from crossfade.core.durations import format_duration
from crossfade.versioning.majors import guide_path, majors
from crossfade.versioning.sections import Entry, Section, by_section, entries_of
from crossfade.versioning.values import Bump, PlannedRelease, ReleasePlan

if TYPE_CHECKING:
    from crossfade.config.model import Judge, Rule
    from crossfade.config.strategies import BlueGreen, Canary, Direct, Rolling

Status = Literal["New", "Updated", "Patched", "Unchanged"]


class Told(NamedTuple):
    """One thing that changed, in Markdown, and the components that it changed in."""

    components: tuple[str, ...]
    text: str


class ComponentRow(NamedTuple):
    """One component in the table: its version now and before (None: never released)."""

    name: str
    version: str
    before: str | None
    status: Status


class Migration(NamedTuple):
    """The guide for those who come from an older major."""

    component: str
    old: str
    new: str
    path: str
    """Of the guide, relative to the top of the repository."""
    text: str
    """The guide itself, for a template that takes it over whole."""


class Deployment(NamedTuple):
    """How the release gets to its users in one environment, as sentences."""

    environment: str
    strategy: str
    steps: tuple[str, ...]
    takes: str
    way_back: str


@dataclass(frozen=True, slots=True)
class ReleaseNotes:
    """Everything that a template may say; its fields are the names that a template knows."""

    title: str
    date: str
    components: tuple[ComponentRow, ...]
    breaking: tuple[Told, ...] = ()
    features: tuple[Told, ...] = ()
    changes: tuple[Told, ...] = ()
    deprecated: tuple[Told, ...] = ()
    removed: tuple[Told, ...] = ()
    fixes: tuple[Told, ...] = ()
    security: tuple[Told, ...] = ()
    deployment_notes: tuple[Told, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    migrations: tuple[Migration, ...] = ()


NAMES = tuple(field.name for field in fields(ReleaseNotes))
"""What a template knows."""


def notes_of(
    plan: ReleasePlan,
    versions: Mapping[str, str],
    before: Mapping[str, str],
    *,
    title: str,
    date: str,
    deployments: Sequence[Deployment] = (),
    migrations: Sequence[Migration] = (),
) -> ReleaseNotes:
    """What a plan tells. Things that change in several components are told once.

    `versions` are those of all components as they stand before the plan; `before` holds the newest version that was
    really released of each, and no entry for what never was. `date` is `2025-11-19`.
    """
    told: dict[Entry, list[str]] = {}
    for changeset in plan.changesets:
        for change in (change for change in changeset.releases if change.bump is not Bump.NONE):
            for entry in entries_of(changeset.summary, change.bump):
                told.setdefault(entry, []).append(change.name)
    calm = by_section([entry for entry in told if not entry.breaking])

    def of(section: Section) -> tuple[Told, ...]:
        return tuple(Told(tuple(told[entry]), entry.text) for entry in calm.get(section, ()))

    return ReleaseNotes(
        title=title,
        date=date,
        components=component_rows(plan, versions, before),
        breaking=tuple(Told(tuple(names), entry.text) for entry, names in told.items() if entry.breaking),
        features=of("Added"),
        changes=of("Changed"),
        deprecated=of("Deprecated"),
        removed=of("Removed"),
        fixes=of("Fixed"),
        security=of("Security"),
        deployment_notes=of("Deployment Notes"),
        deployments=tuple(deployments),
        migrations=tuple(migrations),
    )


def component_rows(
    plan: ReleasePlan, versions: Mapping[str, str], before: Mapping[str, str]
) -> tuple[ComponentRow, ...]:
    """Every component with its version: what is new first, then updated, patched, unchanged; by name within each.

    >>> from crossfade.versioning.values import PlannedRelease
    >>> plan = ReleasePlan(releases=(PlannedRelease("api", "1.0.0", "1.1.0", Bump.MINOR),))
    >>> [(row.name, row.status) for row in component_rows(plan, {"web": "2.0.0", "api": "1.0.0"}, {"api": "1.0.0", "web": "2.0.0"})]
    [('api', 'Updated'), ('web', 'Unchanged')]
    """
    planned = {release.name: release for release in plan.releases if release.bump is not Bump.NONE}
    rows = []
    for name in {**versions, **planned}:
        release, old = planned.get(name), before.get(name)
        if release is None:
            rows.append(ComponentRow(name, versions[name], old, "Unchanged"))
            continue
        status: Status = "New" if old is None else "Patched" if release.bump is Bump.PATCH else "Updated"
        rows.append(ComponentRow(name, release.new, old, status))
    order = ("New", "Updated", "Patched", "Unchanged")
    return tuple(sorted(rows, key=lambda row: (order.index(row.status), row.name)))


def migrations_of(releases: Iterable[PlannedRelease], guides: Mapping[str, str], folder: str) -> tuple[Migration, ...]:
    """The guides of the majors among `releases`; `guides` maps paths to texts, as `majors.read_guides` gives them."""
    found = ((release, guide_path(folder, release)) for release in majors(releases))
    return tuple(Migration(each.name, each.old, each.new, path, guides[path]) for each, path in found if path in guides)


def deployment_of(
    environment: str,
    strategy: Direct | Rolling | BlueGreen | Canary,
    *,
    judge: Judge | None = None,
    rules: Sequence[Rule] = (),
    first: bool = False,
) -> Deployment:
    """The strategy of an environment as sentences: the steps that a rollout will really take, and what takes it back.

    `judge` is None where nothing compares the two versions; `first` says that there is no older version there.
    """
    from crossfade.rollouts.plan import compile_plan  # noqa: PLC0415 - brings in all of the configuration's model

    plan = compile_plan(strategy, "", environment, "", previous=None if first else "")
    meant = sum(step.seconds for step in plan.steps)
    takes = (
        f"{format_duration(meant)}, and what starting and draining need"
        if meant
        else "as long as starting and draining need"
    )
    if any(step.kind == "await" for step in plan.steps):
        takes += ", and as long as a person takes"
    steps = tuple(f"{text[0].upper()}{text[1:]}." for text in (step.describe() for step in plan.steps))
    return Deployment(
        environment, "first release" if first else strategy.kind, steps, takes, _way_back(judge, rules, first)
    )


def _way_back(judge: Judge | None, rules: Sequence[Rule], first: bool) -> str:  # noqa: FBT001 - as its caller has it
    if first:
        return "There is no older version to go back to."
    back = [f"{str(rule).partition(' -> ')[0]}" for rule in rules if rule.then == "rollback"]
    if judge is not None and judge.enabled:
        back.insert(0, "the new version is proven worse than the old one")
    if not back:
        return "It goes back when a person says so (`crossfade abort`)."
    return (
        f"It goes back by itself when {' or '.join(back)}; a person can take it back at any time (`crossfade abort`)."
    )
