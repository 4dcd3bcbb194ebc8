"""A project of crossfade.yaml from its files to the edits of a release: the graph, the plan, and all that follows from it.

What `preparing` does for a workspace of changesets alone goes on here for components of every ecosystem: modules and the
ledger, needs, version maps and lock files get their edits in the same work, which is carried out whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossfade.config.load import LoadedProject
from crossfade.versioning.changeset_files import Found, read_changesets
from crossfade.versioning.changesets_config import with_ignored
from crossfade.versioning.component_edits import component_edits, map_edits
from crossfade.versioning.coverage import Coverage, changed_changesets
from crossfade.versioning.graph import Graph, read_graph
from crossfade.versioning.lock_files.locks import lock_edits, read_locks
from crossfade.versioning.preparing import (
    Opened,
    Pending,
    Prepared,
    entering,
    leaving,
    prepare_version,
    read_pre,
    status_of,
)
from crossfade.versioning.prereleases import require_word
from crossfade.versioning.pyproject import write_version
from crossfade.versioning.values import Snapshot
from crossfade.versioning.workspace import read_text


@dataclass(frozen=True, slots=True)
class OpenedProject:
    """A project with its graph, its changesets and its pre mode, read once."""

    loaded: LoadedProject
    graph: Graph
    opened: Opened
    """The same as the planner takes it; changesets have the names of the graph."""


def open_project(
    loaded: LoadedProject, *, ignore: Sequence[str] = (), template: str | None = None, since: str | None = None
) -> OpenedProject:
    """Read everything that a plan is made from; BadInputError with file and line for what cannot be used.

    `ignore` (names of components or packages) and `template` (of a snapshot's suffix) hold for this run; with `since`
    only changesets count that were added or changed since HEAD left that commit.
    """
    graph = read_graph(loaded)
    root = graph.repository.root
    rules = with_ignored(graph.rules, [graph.named(name, "--ignore") for name in ignore], graph.packages)
    if template is not None:
        rules = replace(rules, prerelease_template=template)
    graph = replace(graph, rules=rules)
    found = read_changesets(root)
    if since is not None:
        paths = frozenset(changed_changesets(root, since))
        found = Found(tuple(each for each in found.changesets if each.path in paths), found.texts)
    found = Found(graph.resolved(found.changesets), found.texts)
    opened = Opened(graph.repository, rules, found, read_pre(root), graph.ecosystems, graph.warnings, bool(ignore))
    return OpenedProject(loaded, graph, opened)


def prepare_release(project: OpenedProject, *, snapshot: Snapshot | None = None) -> Prepared:
    """The plan and every file that follows from it; nothing is written. BadInputError as `prepare_version`."""
    prepared = prepare_version(project.opened, snapshot=snapshot)
    if prepared.nothing:
        return prepared
    graph, settings = project.graph, project.loaded.project.versioning
    root = graph.repository.root
    maps = {each.file: text for each in settings.maps if (text := read_text(root, each.file)) is not None}
    further = [*component_edits(graph, prepared.plan), *map_edits(graph, prepared.plan, settings.maps, maps)]
    # Compatibility means the very files of changesets, which leaves lock files alone; who wants them anyway says so.
    if settings.lock_files and (settings.compatibility == "crossfade" or "lock_files" in settings.model_fields_set):
        further += lock_edits(prepared.work.edits, read_locks(root, graph.packages))
    work = prepared.work
    paths = (*work.paths, *(each.path for each in further)) if work.message is not None else work.paths
    return replace(prepared, work=replace(work, edits=(*work.edits, *further), paths=paths))


def prepare_project_status(project: OpenedProject, *, since: str | None = None) -> Coverage:
    """What is about to be released, and which packages changed since HEAD left `since` (or the base branch)."""
    return status_of(project.opened, since=since)


def enter_project_pre(loaded: LoadedProject, tag: str) -> Pending:
    """The edits that begin pre mode; BadInputError if it is on already, or for a tag that a component cannot have."""
    require_word(tag)
    graph = read_graph(loaded)
    for each in graph.packages:
        if each.ecosystem in {"python", "python-dynamic"}:
            write_version(f"{each.version.split('-')[0]}-{tag}.0", each.manifest)
    return entering(graph.repository.root, graph.packages, tag, loaded.project.versioning.compatibility)


def exit_project_pre(loaded: LoadedProject) -> Pending:
    """The edits that end pre mode with the next release; BadInputError if it is not on."""
    return leaving(loaded.path.resolve().parent, loaded.project.versioning.compatibility)
