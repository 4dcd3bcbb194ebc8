"""What is told about a release: its notes, and which versions of its components work together."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from crossfade.engine.releasing import Release, names_of
from crossfade.versioning.compatibility import Matrix, matrix
from crossfade.versioning.notes import deployment_of, migrations_of, notes_of
from crossfade.versioning.notes_template import render
from crossfade.versioning.notices import read_guides
from crossfade.versioning.projects import OpenedProject
from crossfade.versioning.release_history import in_graph, read_history
from crossfade.versioning.tags import TagScheme, read_tags


def release_notes(release: Release, project: OpenedProject, now: datetime, *, title: str, template: Path | None) -> str:
    """The notes of a release that is not written yet, in Markdown. `template` replaces the one of crossfade.yaml."""
    loaded, settings = project.loaded, project.loaded.project.versioning
    plan, names = release.plan, names_of(project)
    guides = read_guides(release.root, plan.releases, settings.migration_guides)
    deployments = [
        deployment_of(name, each.strategy, judge=each.judge, rules=each.rules)
        for name, each in loaded.project.environments.items()
    ]
    notes = notes_of(
        plan,
        {names.get(each.name, each.name): each.version for each in project.graph.packages if each.version},
        _released(project),
        title=title,
        date=f"{now:%Y-%m-%d}",
        deployments=deployments,
        migrations=migrations_of(plan.releases, guides, settings.migration_guides),
    )
    own = release.root / settings.notes if settings.notes is not None else None
    return render(notes, template or own)


def compatibility_matrix(project: OpenedProject) -> tuple[Matrix, tuple[str, ...]]:
    """Which released versions work together, and the tags that could not be read."""
    graph = project.graph
    history = read_history(
        graph.repository.root,
        scheme_of(project),
        list(graph.members),
        in_graph(project.loaded, graph),
        graph.ecosystems,
    )
    return matrix(history.releases, graph.ecosystems), history.untold


def scheme_of(project: OpenedProject) -> TagScheme:
    """How the git tags of releases are written."""
    components = [each for each in project.graph.members.values() if each.component is not None]
    return TagScheme.of(project.loaded.project.versioning.tag, single=len(components) == 1)


def _released(project: OpenedProject) -> dict[str, str]:
    """Component → the newest version that git has a tag of."""
    scheme, members = scheme_of(project), project.graph.members
    owners = {name: member.component or name for name, member in members.items()}
    found: dict[str, str] = {}
    read = (scheme.read(tag, owners.keys()) for tag in read_tags(project.graph.repository.root))
    for each in sorted((each for each in read if each is not None), key=lambda each: each.version):
        found[owners[each.component]] = str(each.version)
    return found
