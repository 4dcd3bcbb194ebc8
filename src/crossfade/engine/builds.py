"""The builds of a project: which components are built, after which others, and where what was built is kept."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path

from crossfade.artifacts.building.cache import Cache
from crossfade.artifacts.building.deciding import Decider
from crossfade.artifacts.building.values import Target
from crossfade.config.load import LoadedProject
from crossfade.config.model import Project
from crossfade.versioning.components import Member
from crossfade.versioning.graph import Graph, read_graph


def decider_of(loaded: LoadedProject, state: Path, environ: Mapping[str, str], graph: Graph | None = None) -> Decider:
    """Who decides about the builds of a project; `graph` is read where it is not known yet."""
    project, root = loaded.project, loaded.path.resolve().parent
    known = graph if graph is not None else read_graph(loaded)
    return Decider(root, Cache(state / "builds"), _targets(project, known), needs_of(project, known), environ)


def needs_of(project: Project, graph: Graph, *, development: bool = True) -> dict[str, frozenset[str]]:
    """Component → the components that come before it: what its files depend on, what it needs, and what it embeds.

    `development` dependencies matter to a build, and not to those who install the package.
    """
    components = {member.package.name: name for name, member in _members(graph).items()}
    found = {name: set[str]() for name in project.components}
    for name, member in _members(graph).items():
        dependencies = member.package.dependencies
        counted = {each.name for each in dependencies if development or each.kind != "devDependencies"}
        found[name] |= {components[each] for each in counted if each in components}
        source = project.components[name].source
        found[name] |= set(source.embeds) if source is not None else set()
    return {name: frozenset(needs - {name}) for name, needs in found.items()}


def _members(graph: Graph) -> dict[str, Member]:
    return {member.component: member for member in graph.members.values() if member.component is not None}


def _targets(project: Project, graph: Graph) -> dict[str, Target]:
    """Every component that is built, or that builds may depend on."""
    members = _members(graph)
    return {
        name: Target(
            name,
            posixpath.normpath(each.source.path if each.source is not None else "."),
            each.build,
            members[name].package.version if name in members else None,
        )
        for name, each in project.components.items()
        if each.source is not None or each.build is not None
    }
