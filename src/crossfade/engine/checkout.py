"""A repository that is ready to be published from: what stands in it, who is asked, and how artifacts come to be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from crossfade.artifacts.building.running import Stop
from crossfade.artifacts.building.values import Audience
from crossfade.artifacts.building.work import Work
from crossfade.artifacts.metadata import surroundings
from crossfade.artifacts.opening import open_registries
from crossfade.artifacts.packing import pack
from crossfade.artifacts.port import Registry
from crossfade.artifacts.targets import Origin, Target, Versioned
from crossfade.config.faults import suggest
from crossfade.config.load import LoadedProject
from crossfade.core.clock import SystemClock
from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer, parse_version
from crossfade.engine.builds import decider_of, needs_of
from crossfade.engine.publications import Checkout
from crossfade.versioning.git import git
from crossfade.versioning.graph import Graph, read_graph
from crossfade.versioning.maps import add_entry, map_entry
from crossfade.versioning.order import order
from crossfade.versioning.pep440 import to_pep440
from crossfade.versioning.tags import head

_SHORT = 7
_SHOWN = 5

Listeners = Callable[[Sequence[str]], AbstractAsyncContextManager[Audience]]
"""Who is told how builds go; what is hidden is given."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """A checkout with what publishing needs around it: its registries, its builds, and its packages as tarballs."""

    loaded: LoadedProject
    graph: Graph
    checkout: Checkout
    state: Path
    actor: str
    listeners: Listeners

    @contextlib.asynccontextmanager
    async def registries(self) -> AsyncIterator[Mapping[str, Registry]]:
        """The registries that components name, open."""
        project = self.loaded.project
        names = dict.fromkeys(publish.to for each in project.components.values() for publish in each.publish)
        root, origin = self.checkout.root, self.checkout.origin
        async with open_registries(
            project, names, root, os.environ, origin=origin, clock=SystemClock(), by=self.actor
        ) as opened:
            yield opened

    async def gather(self, targets: Sequence[Target]) -> Mapping[str, Path]:
        """Build what is to be built and pack what is to be packed: key of the target → its artifact."""
        self._require_maps(targets)
        await self._build(targets)
        packed = await self._packed([target for target in targets if target.kind == "npm"])
        root = self.checkout.root
        return {target.key: packed.get(target.key, root / target.place) for target in targets}

    def push_tags(self, remote: str) -> list[str]:
        """Push the git tags of everything that is published here; those that the remote did not have."""
        names = [self.checkout.tag(each.component).name for each in self.checkout.versioned]
        there = {line.rpartition("refs/tags/")[2] for line in git(self.checkout.root, "tag", "--list").splitlines()}
        refs = [f"refs/tags/{name}" for name in names if name in there]
        if not refs:
            return []
        said = git(self.checkout.root, "push", "--porcelain", remote, *refs)
        return [line.split("\t")[1].rpartition("refs/tags/")[2] for line in said.splitlines() if line.startswith("*")]

    async def _build(self, targets: Sequence[Target]) -> None:
        components = self.loaded.project.components
        wanted = [name for name in dict.fromkeys(t.component for t in targets) if components[name].build is not None]
        if not wanted:
            return
        decider = decider_of(self.loaded, self.state, os.environ, self.graph)
        decisions = await decider.decide(tuple(wanted), force=False)
        async with self.listeners(decider.hidden) as audience:
            outcome = await Work(decider, audience, Stop(), time.time).carry_out(decisions, jobs=os.cpu_count() or 1)
        for result in outcome.results:
            if result.error is not None:
                raise result.error

    async def _packed(self, targets: Sequence[Target]) -> dict[str, Path]:
        if not targets:
            return {}
        versions = {package.name: package.version for package in self.graph.packages}
        folders = {target.at: self.checkout.root / target.place for target in targets}
        packed = {each.at: each.tarball for each in await pack(folders, self.state / "packed", versions=versions)}
        return {target.key: packed[target.at] for target in targets}

    def _require_maps(self, targets: Sequence[Target]) -> None:
        """BadInputError where a version map lacks the version that is about to be published."""
        published = {target.component for target in targets}
        by_component = {each.component: each for each in self.checkout.versioned}
        for settings in self.loaded.project.versioning.maps:
            if settings.of not in published or not self.checkout.releases:
                continue
            each = by_component[settings.of]
            text = (self.checkout.root / settings.file).read_text(encoding="utf-8")
            entry = map_entry(settings, each.name, each.version)
            if add_entry(text, entry, file=settings.file, name=settings.name) != text:
                raise BadInputError(
                    "publish.map",
                    f"{settings.name} does not list {settings.of} {each.version}, which is about to be published",
                    where=settings.file,
                    next="`crossfade version` writes the entry; or write it by hand, and commit it",
                )


def open_checkout(
    loaded: LoadedProject,
    state: Path,
    *,
    actor: str,
    listeners: Listeners,
    environment: str | None = None,
    allow_dirty: bool = False,
) -> Gathering:
    """What stands in the repository of a project, at the commit that is checked out.

    BadInputError where files differ from the commit (unless `allow_dirty`), or the environment is unknown.
    """
    root = loaded.path.resolve().parent
    graph = read_graph(loaded)
    revision = head(root)
    if not allow_dirty:
        _require_clean(root)
    origin = Origin(revision[:_SHORT], _branch(root), _image_tags(loaded, environment))
    project = loaded.project
    embeds = {
        graph.of_component(name).name: [graph.of_component(each).name for each in component.source.embeds]
        for name, component in project.components.items()
        if component.source is not None
    }
    levels = order(graph.packages, embeds=embeds, development=False, place_of=graph.place_of)
    versioned = tuple(
        _versioned(graph, name) for level in levels for name in level if graph.members[name].component is not None
    )
    spelling = {each.component: graph.of_component(each.component).ecosystem for each in versioned}

    def spell(component: str, version: SemVer) -> str:
        return to_pep440(version) if spelling[component].startswith("python") else str(version)

    needs = needs_of(project, graph, development=False)
    checkout = Checkout(root, project, versioned, needs, revision, origin, spell)
    return Gathering(loaded, graph, checkout, state, actor, listeners)


def _versioned(graph: Graph, name: str) -> Versioned:
    member = graph.members[name]
    package, version = member.package, parse_version(member.package.version)
    python = package.ecosystem.startswith("python")
    spelled = to_pep440(version) if python else str(version)
    return Versioned(str(member.component), member.own_name, version, spelled, package.folder, name)


def _require_clean(root: Path) -> None:
    changed = [line[3:] for line in git(root, "status", "--porcelain").splitlines()]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise BadInputError(
            "publish.dirty",
            f"files differ from the commit that would be published: {', '.join(changed[:_SHOWN])}{more}",
            where=str(root),
            next="commit them or put them aside; --allow-dirty publishes them as they are",
        )


def _branch(root: Path) -> str:
    return surroundings(os.environ, branch=git(root, "branch", "--show-current").strip() or None).branch or "detached"


def _image_tags(loaded: LoadedProject, environment: str | None) -> tuple[str, ...]:
    if environment is None:
        return ()
    known = loaded.project.environments
    if environment not in known:
        what = f"there is no environment {environment!r}"
        raise BadInputError("target.unknown", what, where=loaded.path.name, next=suggest(environment, known))
    tags = known[environment].image_tags
    if not tags:
        raise BadInputError(
            "publish.no-image-tags",
            f"{environment} has no tags of its own for images",
            where=f"{loaded.path.name}: environments.{environment}.image_tags",
            next="add them, such as `image_tags: [develop-{sha}, dev]`, or publish without --for",
        )
    return tags
