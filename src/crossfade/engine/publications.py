"""Publishing what stands in a repository: look, gather, write down, walk, tag. And taking versions back.

Everything that others know is asked (registries, git); everything that we alone know is in the store's journal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossfade.artifacts.gathering import digest, gather
from crossfade.artifacts.journal import Item, Standing
from crossfade.artifacts.port import Artifact, Coordinate, Registry
from crossfade.artifacts.publishing import present, publish
from crossfade.artifacts.targets import Origin, Target, Versioned, targets
from crossfade.config.model import Project
from crossfade.core.errors import BadInputError
from crossfade.core.ids import make_id, random_entropy
from crossfade.core.semver import SemVer
from crossfade.store.publications import Place, Publication
from crossfade.store.store import Store
from crossfade.versioning.tags import Standing as StandingTag
from crossfade.versioning.tags import Tag, TagScheme, create_tags, missing, read_tags


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository as it is checked out: what stands in it, in dependency order, and which commit it is."""

    root: Path
    project: Project
    versioned: tuple[Versioned, ...]
    needs: Mapping[str, frozenset[str]]
    revision: str
    origin: Origin
    spell: Callable[[str, SemVer], str]
    """How a component's own files write a version: PEP 440's way in Python."""

    @property
    def releases(self) -> bool:
        """Whether this publishes releases: images for an environment are none, and get no git tag."""
        return not self.origin.image_tags

    def tag(self, component: str) -> Tag:
        """The git tag of a component's release."""
        each = self._versioned(component)
        name = self._scheme.write(each.package, each.version)
        return Tag(name, self.revision, name)

    def released(self, component: str, tags: Iterable[str]) -> list[SemVer]:
        """The versions of a component that git has tags of, newest first."""
        name = self._versioned(component).package
        read = (self._scheme.read(tag, {name}) for tag in tags)
        return sorted({each.version for each in read if each is not None}, reverse=True)

    @property
    def _scheme(self) -> TagScheme:
        return TagScheme.of(self.project.versioning.tag, single=len(self.versioned) == 1)

    def _versioned(self, component: str) -> Versioned:
        return next(each for each in self.versioned if each.component == component)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What publishing would do: `absent` is to be uploaded, `untagged` is there and has no git tag, the rest is `done`."""

    absent: tuple[Target, ...]
    untagged: tuple[Target, ...]
    done: tuple[Target, ...]

    @property
    def open(self) -> tuple[Target, ...]:
        """What is still to be done."""
        return self.absent + self.untagged


Gather = Callable[[Sequence[Target]], Awaitable[Mapping[str, Path]]]
"""Builds and packs what targets need: key → where the artifact lies (absolute)."""


async def look(checkout: Checkout, registries: Mapping[str, Registry], only: Iterable[str] = ()) -> Outlook:
    """Compare what stands in the repository with what the registries and git have; nothing is changed.

    `only` are components; all where it is empty. BadInputError `tags.elsewhere` where something is absent and its version
    is tagged on another commit: it was released from there.
    """
    names = set(only)
    wanted = [
        target
        for target in targets(checkout.project, checkout.versioned, checkout.needs, checkout.origin)
        if (not names or target.component in names) and (checkout.releases or target.kind == "oci")
    ]
    by_registry = {
        name: [target.at for target in wanted if target.registry == name] for name in {t.registry for t in wanted}
    }
    there = await present(registries, by_registry)
    standing = read_tags(checkout.root) if checkout.releases else {}
    absent = tuple(target for target in wanted if (target.registry, target.at) not in there)
    if not checkout.releases:
        return Outlook(absent, (), tuple(target for target in wanted if target not in absent))
    missing([checkout.tag(name) for name in dict.fromkeys(target.component for target in absent)], standing)
    rest = [target for target in wanted if (target.registry, target.at) in there]
    untagged = tuple(target for target in rest if checkout.tag(target.component).name not in standing)
    done = tuple(target for target in rest if target not in untagged)
    leading = _Names(checkout, registries, standing)
    return Outlook(await leading.free(absent), await leading.free(untagged, there=True), done)


class _Names:
    """Names that lead to a newer release stay with it: 1.0.5 after 1.1.0 takes neither `latest` nor `v1`.

    None leads again to a version that was withdrawn, as a clone without git's tags would have it.
    """

    def __init__(self, checkout: Checkout, registries: Mapping[str, Registry], tags: Iterable[str]) -> None:
        self._checkout, self._registries, self._tags = checkout, registries, list(tags)

    async def free(self, open_: Sequence[Target], *, there: bool = False) -> tuple[Target, ...]:
        """The targets, each without the names that stay; `there` says that they are published already."""
        return tuple([await self._freed(target, there=there) for target in open_])

    async def _freed(self, target: Target, *, there: bool) -> Target:
        released = self._checkout.released(target.component, self._tags)
        here = next(each.version for each in self._checkout.versioned if each.component == target.component)
        newer = [version for version in released if version > here and not version.prerelease]
        asked = [Coordinate(target.at.name, self._spelled(target, version)) for version in newer]
        asked += [target.at] if there else []
        found = await self._registries[target.registry].find(asked) if asked else {}
        if target.at in found and found[target.at].withdrawn is not None:
            return replace(target, tags=())
        led = {tag for at, each in found.items() if at != target.at and each.withdrawn is None for tag in each.tags}
        return replace(target, tags=tuple(tag for tag in target.tags if tag not in led))

    def _spelled(self, target: Target, version: SemVer) -> str:
        return self._checkout.spell(target.component, version) if target.kind == "pypi" else str(version)


async def carry_out(
    checkout: Checkout,
    outlook: Outlook,
    registries: Mapping[str, Registry],
    store: Store,
    gather_: Gather,
    *,
    actor: str,
    watch: Callable[[Publication], None],
) -> Publication:
    """Publish what `outlook` leaves open, tag what is published, and say how it ended.

    Whatever was begun before is gone on with. `watch` is told of every step.
    """
    open_ = _in_order(checkout, outlook)
    artifacts = await _gathered(open_, gather_)
    items = _items(open_, artifacts)
    done = {(target.key, target.at) for target in outlook.done}
    publication = store.publications.begin(
        lambda now: make_id("pub", now, random_entropy()), items, done=done, actor=actor, revision=checkout.revision
    )
    publication = replace(publication, journal=publication.journal.afresh())
    watch(publication)
    seen = publication

    def record(item: Item, standing: Standing) -> None:
        nonlocal seen
        store.publications.note(publication.id, item, standing, actor=actor)
        seen = replace(seen, journal=seen.journal.at(item.key, standing))
        watch(seen)

    journal = await publish(publication.journal, registries, artifacts, record)
    ended = replace(publication, journal=journal)
    _tag(checkout, ended, store, actor)
    if not journal.done:
        return ended
    store.publications.finish(publication.id, actor=actor)
    settle(checkout, done | {(item.key, item.at) for item in journal.items}, store, actor=actor)
    return replace(ended, ending="done")


def _in_order(checkout: Checkout, outlook: Outlook) -> list[Target]:
    order = {each.component: index for index, each in enumerate(checkout.versioned)}
    return sorted(outlook.open, key=lambda target: order[target.component])


async def _gathered(open_: Sequence[Target], gather_: Gather) -> dict[str, Artifact]:
    places = await gather_(open_)
    return {each.key: gather(each.kind, each.component, each.at, places[each.key]) for each in open_}


def _items(open_: Sequence[Target], artifacts: Mapping[str, Artifact]) -> list[Item]:
    keys = {target.key for target in open_}
    return [
        Item(
            target.component,
            target.registry,
            target.at,
            digest(artifacts[target.key]),
            target.tags,
            tuple(need for need in target.needs if need in keys),
        )
        for target in open_
    ]


def _tag(checkout: Checkout, publication: Publication, store: Store, actor: str) -> None:
    """Tag every component that is everywhere where it is to be, on the commit that the publication began at."""
    if not checkout.releases:
        return
    components = dict.fromkeys(item.component for item in publication.journal.items)
    done = [name for name in components if publication.journal.component_done(name)]
    wanted = {name: replace(checkout.tag(name), commit=publication.revision) for name in done}
    create_tags(checkout.root, list(wanted.values()))
    _note_tags(publication, wanted, store, actor)


def _note_tags(publication: Publication, standing: Mapping[str, Tag], store: Store, actor: str) -> None:
    """Write down which components have their tag: also one that was made in the moment before a crash."""
    for component, tag in standing.items():
        store.publications.note_tag(publication.id, component, tag.name, commit=tag.commit, actor=actor)


def settle(checkout: Checkout, done: Iterable[Place], store: Store, *, actor: str) -> None:
    """Finish every publication that is left with nothing to do, as after a crash in its last moment.

    `done` is what was found where it is to be: published, and tagged in git where it is a release.
    """
    for publication in store.publications.complete(done):
        if checkout.releases:
            standing = read_tags(checkout.root)
            components = dict.fromkeys(item.component for item in publication.journal.items)
            tags = {name: replace(checkout.tag(name), commit=publication.revision) for name in components}
            there = {name: tag for name, tag in tags.items() if _stands(tag, standing)}
            _note_tags(publication, there, store, actor)
        store.publications.finish(publication.id, actor=actor)


def _stands(tag: Tag, standing: Mapping[str, StandingTag]) -> bool:
    return tag.name in standing and standing[tag.name].commit == tag.commit


def require_known(checkout: Checkout, components: Iterable[str]) -> None:
    """BadInputError for a component that is not there, or is published nowhere."""
    known = [each.component for each in checkout.versioned if checkout.project.components[each.component].publish]
    for name in components:
        if name not in known:
            from crossfade.config.faults import suggest  # noqa: PLC0415 - only for an error

            what = f"{name!r} is no component that is published"
            raise BadInputError("publish.unknown-component", what, next=suggest(name, known))
