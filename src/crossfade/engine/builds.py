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
from crossfade.versioning.graph import Graph, read_graph


def decider_of(loaded: LoadedProject, state: Path, environ: Mapping[str, str], graph: Graph | None = None) -> Decider:
    """Who decides about the builds of a project; `graph` is read where it is not known yet."""
    project, root = loaded.project, loaded.path.resolve().parent
    known = graph if graph is not None else read_graph(loaded)
    packages = {called: package for package, called in _called(known).items()}
    return Decider(
        root,
        Cache(state / "builds"),
        _targets(project, known),
        _edges(known),
        environ,
        place_of=lambda name, needed: known.place_of(packages[name], packages[needed]),
    )


def needs_of(project: Project, graph: Graph, *, development: bool = True) -> dict[str, frozenset[str]]:
    """Component → the components that come before it: what its files depend on, what it needs, and what it embeds.

    A package that crossfade.yaml does not name may stand between two components. `development` dependencies matter to a
    build, and not to those who install the package.
    """
    edges = _edges(graph, development=development)
    return {name: _reached(name, edges, frozenset(project.components)) for name in project.components}


def _reached(name: str, edges: Mapping[str, frozenset[str]], wanted: frozenset[str]) -> frozenset[str]:
    """The nearest of `wanted` on every way from `name`."""
    found, seen, ahead = set[str](), {name}, [*edges.get(name, ())]
    while ahead:
        each = ahead.pop()
        if each in seen:
            continue
        seen.add(each)
        if each in wanted:
            found.add(each)
        else:
            ahead += edges.get(each, ())
    return frozenset(found)


def _edges(graph: Graph, *, development: bool = True) -> dict[str, frozenset[str]]:
    """Every component or package of the workspace → what it depends on or embeds; components by their own names."""
    called = _called(graph)
    edges: dict[str, frozenset[str]] = {}
    for package, member in graph.members.items():
        counted = (each.name for each in member.package.dependencies if development or each.kind != "devDependencies")
        needed = (*counted, *graph.rules.embeds.get(package, ()))
        edges[called[package]] = frozenset(called[each] for each in needed if each in called) - {called[package]}
    return edges


def _called(graph: Graph) -> dict[str, str]:
    """Package → its component's name, or its own."""
    return {package: member.component or package for package, member in graph.members.items()}


def _targets(project: Project, graph: Graph) -> dict[str, Target]:
    """Every component that is built, and every package that builds may depend on."""
    components = project.components
    targets = {name: Target(name, ".", each.build) for name, each in components.items() if each.build is not None}
    for package, member in graph.members.items():
        name = member.component or package
        build = components[member.component].build if member.component is not None else None
        targets[name] = Target(name, posixpath.normpath(member.package.folder), build, member.package.version or None)
    return targets
