"""The release of a project of crossfade.yaml: changelogs in sections, and majors that must be announced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from crossfade.config.load import LoadedProject
from crossfade.engine.release import Release
from crossfade.versioning.coverage import Coverage
from crossfade.versioning.edits import touched
from crossfade.versioning.keep_a_changelog import changelog_edits
from crossfade.versioning.majors import Lacking, check_majors
from crossfade.versioning.naming import called
from crossfade.versioning.notices import read_guides, read_notices
from crossfade.versioning.order import order
from crossfade.versioning.preparing import Opened, Prepared
from crossfade.versioning.projects import OpenedProject, open_project, prepare_project_status, prepare_release
from crossfade.versioning.tags import TagScheme
from crossfade.versioning.values import Bump, FileEdit, ReleasePlan, Snapshot
from crossfade.versioning.workspace import read_text


def prepare_project(
    loaded: LoadedProject,
    now: datetime,
    *,
    ignore: Sequence[str] = (),
    snapshot: Snapshot | None = None,
    template: str | None = None,
) -> Release:
    """The release that the changesets of a project add up to; see `releasing.prepare`."""
    project = open_project(loaded, ignore=ignore, template=template)
    names = names_of(project)
    settings = loaded.project.versioning
    if settings.compatibility == "crossfade":
        # Refused before there are versions that could never be published in any order.
        graph = project.graph
        order(graph.packages, embeds=graph.rules.embeds, development=False, place_of=graph.place_of)
    if settings.changelog == "changesets" or settings.compatibility != "crossfade":
        prepared = prepare_release(project, snapshot=snapshot)
    else:
        prepared = _with_sections(project, snapshot, now)
    root = project.graph.repository.root
    lacking: tuple[Lacking, ...] = ()
    if settings.compatibility == "crossfade" and snapshot is None:
        releases = called(prepared.plan, names).releases
        guides = read_guides(root, releases, settings.migration_guides)
        notices = read_notices(root)
        lacking = check_majors(releases, guides, notices, now, folder=settings.migration_guides, notice=settings.notice)
    return Release(root, prepared, names, lacking, project)


def coverage_of_project(loaded: LoadedProject, *, since: str | None = None) -> Coverage:
    """What is about to be released and what changed, in the names that people use."""
    project = open_project(loaded, since=since)
    found, names = prepare_project_status(project, since=since), names_of(project)
    return Coverage(called(found.plan, names), tuple(names.get(each, each) for each in found.changed))


def names_of(project: OpenedProject) -> dict[str, str]:
    """Package → the name that people use: its component's, where it has one."""
    return {name: member.component for name, member in project.graph.members.items() if member.component}


def tags_of(project: OpenedProject, plan: ReleasePlan) -> dict[str, str]:
    """Package → the git tag that its release will get."""
    members = project.graph.members
    components = [member for member in members.values() if member.component is not None]
    scheme = TagScheme.of(project.loaded.project.versioning.tag, single=len(components) == 1)
    return {
        release.name: scheme.write(release.name, release.new)
        for release in plan.releases
        if release.bump is not Bump.NONE
    }


def _with_sections(project: OpenedProject, snapshot: Snapshot | None, now: datetime) -> Prepared:
    """The release with changelogs in the sections of Keep a Changelog."""
    opened: Opened = project.opened
    silent = replace(project, opened=replace(opened, rules=replace(opened.rules, changelog=False)))
    prepared = prepare_release(silent, snapshot=snapshot)
    if prepared.nothing or opened.rules.changelog is False:
        return prepared
    graph = project.graph
    texts = {
        path: text
        for path in touched(prepared.plan, graph.packages, opened.rules)
        if (text := read_text(graph.repository.root, path)) is not None
    }
    written = changelog_edits(
        prepared.plan,
        graph.packages,
        texts,
        opened.rules,
        date=f"{now:%Y-%m-%d}",
        ecosystems=graph.ecosystems,
        tags=tags_of(project, prepared.plan),
    )
    work = prepared.work
    paths = (*work.paths, *(each.path for each in written)) if work.message is not None else work.paths
    return replace(prepared, work=replace(work, edits=_each_once(work.edits, written), paths=paths))


def _each_once(first: Sequence[FileEdit], then: Sequence[FileEdit]) -> tuple[FileEdit, ...]:
    """Manifests and changelogs before the changesets that are consumed: what is lost last is what tells of the rest."""
    kept = [edit for edit in first if edit.new is not None]
    gone = [edit for edit in first if edit.new is None]
    return (*kept, *then, *gone)
