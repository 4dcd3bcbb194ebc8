"""What is to be where: every component that is published, in every registry that it is published to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from crossfade.artifacts.image_tags import image_tags, schemes_of
from crossfade.artifacts.journal import key
from crossfade.artifacts.port import Coordinate, Kind
from crossfade.config.model import Project
from crossfade.config.placeholders import fill
from crossfade.config.publishing import CdnRegistry, NpmRegistry, OciRegistry, Publish, Registry
from crossfade.core.semver import SemVer

_ORDER: Final[Sequence[Kind]] = ("oci", "cdn", "pypi", "npm")
"""What others are told about comes before what tells them: an image and a file on a CDN before a package that names it."""

_PLACES: Final[Mapping[Kind, str]] = {"npm": ".", "pypi": "dist", "oci": "dist", "cdn": "dist"}


@dataclass(frozen=True, slots=True)
class Versioned:
    """A component as it stands in the repository: its own name for packages, its version, its folder below the top.

    `spelled` is the version as its own files have it: PEP 440's way in Python.
    """

    component: str
    name: str
    version: SemVer
    spelled: str
    folder: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which commit is published, from which branch, and for which environment's tags (`image_tags`)."""

    sha: str
    branch: str
    image_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """One version of one component in one registry, before anybody has looked whether it is there.

    `place` is where its artifact lies, relative to the top; for npm it is the folder that is packed. `needs` are the
    keys of the targets that come before it.
    """

    component: str
    registry: str
    kind: Kind
    at: Coordinate
    place: str
    tags: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def key(self) -> str:
        """What it is called in the journal."""
        return key(self.component, self.registry)


def targets(
    project: Project, versioned: Sequence[Versioned], needs: Mapping[str, Iterable[str]], origin: Origin
) -> tuple[Target, ...]:
    """Every target of `versioned`, which are in dependency order; `needs` maps a component to those that it needs.

    A component that is not published itself hands on what it needs. Within one component images and files come before
    packages, which may name them.
    """
    found: dict[str, Target] = {}
    last: dict[str, tuple[str, ...]] = {}
    """The keys that whoever needs a component has to wait for."""
    for each in versioned:
        before = tuple(dict.fromkeys(name for need in needs.get(each.component, ()) for name in last.get(need, ())))
        for publish in sorted(
            project.components[each.component].publish, key=lambda p: _ORDER.index(project.registries[p.to].kind)
        ):
            target = _target(publish, project.registries[publish.to], each, before, origin)
            found[target.key] = target
            before = (target.key,)
        last[each.component] = before
    return tuple(found.values())


def _target(publish: Publish, registry: Registry, each: Versioned, needs: tuple[str, ...], origin: Origin) -> Target:
    place = PurePosixPath(each.folder) / (publish.files or _PLACES[registry.kind])
    packaged = registry.kind in ("npm", "pypi")
    name = publish.name or (each.name if packaged else each.component)
    version = each.spelled if registry.kind == "pypi" else str(each.version)
    return Target(
        each.component,
        publish.to,
        registry.kind,
        Coordinate(name, version),
        str(place),
        _tags(registry, name, each.version, origin),
        needs,
    )


def _tags(registry: Registry, name: str, version: SemVer, origin: Origin) -> tuple[str, ...]:
    match registry:
        case NpmRegistry():
            return (dist_tag(registry.tag, version),)
        case OciRegistry():
            schemes = schemes_of(registry.tags, registry.prerelease_tags, version, image_tags=origin.image_tags)
            return tuple(tag.name for tag in image_tags(schemes, version, origin.sha, origin.branch))
        case CdnRegistry(pointer=str(pointer)) if not version.prerelease:
            words = {"name": name, "version": str(version), "major": str(version.major)}
            return (fill(pointer, words).strip("/"),)
        case _:
            return ()


def dist_tag(usual: str, version: SemVer) -> str:
    """The dist-tag that a version of a package gets: a prerelease its own first word, so that nobody installs it unasked.

    >>> dist_tag("latest", SemVer(1, 0, 0)), dist_tag("latest", SemVer(2, 0, 0, ("next", "1")))
    ('latest', 'next')
    >>> dist_tag("latest", SemVer(2, 0, 0, ("0",)))
    'prerelease'
    """
    if not version.prerelease:
        return usual
    word = version.prerelease[0]
    return word if not word.isdigit() else "prerelease"
