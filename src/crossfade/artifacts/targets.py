"""What is to be where: every component that is published, in every registry that it is published to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from crossfade.artifacts.image_tags import ImageTag, image_tags, schemes_of
from crossfade.artifacts.journal import key
from crossfade.artifacts.port import Coordinate, Kind
from crossfade.artifacts.registries.npm import dist_tag
from crossfade.config.model import Project
from crossfade.config.placeholders import fill
from crossfade.config.publishing import CdnRegistry, NpmRegistry, OciRegistry, Publish, Registry
from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer, parse_version

_ORDER: Final[Sequence[Kind]] = ("oci", "cdn", "pypi", "npm")
"""What others are told about comes before what tells them: an image and a file on a CDN before a package that names it."""

_PLACES: Final[Mapping[Kind, str]] = {"npm": ".", "pypi": "dist", "oci": "dist", "cdn": "dist"}


@dataclass(frozen=True, slots=True)
class Versioned:
    """A component as it stands in the repository: its own name for packages, its version, its folder below the top.

    `spelled` is the version as its own files have it: PEP 440's way in Python. `package` is its name in the graph of
    versions, which its git tag has: npm's name for an npm package, else the component's.
    """

    component: str
    name: str
    version: SemVer
    spelled: str
    folder: str
    package: str


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
    if isinstance(registry, OciRegistry) and not _is_release(registry, each.version, origin):
        version = f"{version}+{origin.sha}"  # one of many builds of this version, for an environment
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
            return (dist_tag(str(version), registry.tag),)
        case OciRegistry():
            return tuple(tag.name for tag in _image_tags(registry, version, origin))
        case CdnRegistry(pointer=str(pointer)) if not version.prerelease:
            words = {"name": name, "version": str(version), "major": str(version.major)}
            return (fill(pointer, words).strip("/"),)
        case _:
            return ()


def version_tag(registry: OciRegistry, at: Coordinate, origin: Origin) -> str:
    """The tag that is the version: where it leads, the version is. The first that is never moved, best without the commit.

    BadInputError where every tag floats: then nobody could say which image a version is.
    """
    version = parse_version(at.version)
    sha, release = (version.build[0] if version.build else origin.sha), replace(version, build=())
    stays = [tag for tag in _image_tags(registry, release, replace(origin, sha=sha)) if not tag.floats]
    if not stays:
        raise BadInputError(
            "publish.no-immutable-tag",
            f"every tag of {at.name} would move with the next image, so no tag is the version",
            where=", ".join(origin.image_tags or registry.tags),
            next="add a tag that holds {version} or {sha}, such as v{version}",
        )
    return min(stays, key=lambda tag: "{sha}" in tag.scheme).name


def _image_tags(registry: OciRegistry, version: SemVer, origin: Origin) -> tuple[ImageTag, ...]:
    schemes = schemes_of(registry.tags, registry.prerelease_tags, version, image_tags=origin.image_tags)
    return image_tags(schemes, version, origin.sha, origin.branch)


def _is_release(registry: OciRegistry, version: SemVer, origin: Origin) -> bool:
    """Whether one tag is made of the version alone; else each commit makes an image of its own."""
    return any(
        not tag.floats and "{version}" in tag.scheme and "{sha}" not in tag.scheme
        for tag in _image_tags(registry, version, origin)
    )
