"""What is told about a release: its notes, which versions of its components work together, and what commits suggest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crossfade.config.load import LoadedProject
from crossfade.engine.project_releases import names_of
from crossfade.engine.release import Release
from crossfade.versioning.commit_log import Start, read_commits, starting_point
from crossfade.versioning.compatibility import Matrix, Released, matrix
from crossfade.versioning.notes import deployment_of, migrations_of, notes_of
from crossfade.versioning.notes_template import render
from crossfade.versioning.notices import read_guides
from crossfade.versioning.package_json import ECOSYSTEMS
from crossfade.versioning.projects import OpenedProject, open_project
from crossfade.versioning.proposals import Proposals, propose
from crossfade.versioning.release_history import Reader, in_graph, in_workspace, read_history
from crossfade.versioning.tags import USUAL, TagScheme, read_tags
from crossfade.versioning.values import Ecosystem, Package
from crossfade.versioning.workspace import read_repository


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What history and commits are read with; the same of a project and of a workspace of changesets alone."""

    root: Path
    packages: tuple[Package, ...]
    names: Mapping[str, str]
    """Package → the name that people use, where it has another one."""
    scheme: TagScheme
    reader: Reader
    ecosystems: Mapping[str, Ecosystem]
    grouped: bool
    """Whether repairs share a draft."""

    @classmethod
    def of(cls, loaded: LoadedProject | None, start: Path) -> Surroundings:
        """Those of a project; of the workspace at `start` or above, where `loaded` is None."""
        if loaded is None:
            found = read_repository(start)
            scheme = TagScheme.of(USUAL, single=found.tool == "root")
            reader = in_workspace(found.packages)
            return cls(found.root, found.packages, {}, scheme, reader, ECOSYSTEMS, grouped=False)
        project = open_project(loaded)
        graph, grouped = project.graph, loaded.project.versioning.changelog != "changesets"
        reader, names = in_graph(loaded, graph), names_of(project)
        return cls(
            graph.repository.root, graph.packages, names, scheme_of(project), reader, graph.ecosystems, grouped=grouped
        )

    def called(self, name: str) -> str:
        """The name that people use."""
        return self.names.get(name, name)


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


def compatibility_matrix(here: Surroundings) -> tuple[Matrix, tuple[str, ...]]:
    """Which released versions work together, in the names that people use, and the tags that could not be read."""
    names = [each.name for each in here.packages]
    history = read_history(here.root, here.scheme, names, here.reader, here.ecosystems)
    releases = [
        Released(
            here.called(each.component), each.version, {here.called(name): needs for name, needs in each.needs.items()}
        )
        for each in history.releases
    ]
    kinds = {here.called(each.name): here.ecosystems[each.ecosystem] for each in here.packages}
    return matrix(releases, kinds), history.untold


def drafts(here: Surroundings, since: str | None) -> tuple[Proposals, Start]:
    """The changesets that commits suggest, and from where on they were read: after `since`, else the last release."""
    names = [each.name for each in here.packages]
    start = Start(since, f"since {since}") if since is not None else starting_point(here.root, here.scheme, names)
    folders = {here.called(each.name): each.folder for each in here.packages}
    return propose(read_commits(here.root, start.commit), folders, grouped=here.grouped), start


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
