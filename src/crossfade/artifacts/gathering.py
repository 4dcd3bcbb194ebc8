"""From what a build has made to what is published: which files they are, and the digest of their bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from crossfade.artifacts.port import Artifact, Coordinate, Kind
from crossfade.core.errors import BadInputError

_BLOCK = 1 << 20


def gather(kind: Kind, component: str, at: Coordinate, place: Path) -> Artifact:
    """The artifact of `component` that lies at `place`, a folder or a file.

    npm: the packed tarball. PyPI: the wheels and the sdist of exactly this version in the folder. OCI: the image layout,
    or a tar of one. CDN: every file in the folder, hidden ones apart. BadInputError where there is nothing of the kind.
    """
    if not place.exists():
        raise _nothing(component, at, place, "it is not there")
    match kind:
        case "pypi":
            files = _distributions(place, at)
            if not files:
                raise _nothing(component, at, place, f"there is no wheel or sdist of {at.version} in it")
            return Artifact(component, at, files, place)
        case "oci":
            layout = place.is_file() or (place / "index.json").is_file()
            if not layout:
                raise _nothing(component, at, place, "it holds no index.json, so it is no image layout")
            return Artifact(component, at, (place,), place.parent)
        case "cdn" if place.is_dir():
            files = tuple(sorted(each for each in place.rglob("*") if each.is_file() and not _hidden(each, place)))
            if not files:
                raise _nothing(component, at, place, "there is no file in it")
            return Artifact(component, at, files, place)
        case _:
            return Artifact(component, at, (place,), place.parent)


def digest(artifact: Artifact) -> str:
    """The sha256 (hex) of an artifact: of the names below its root and the bytes of all its files, in order."""
    whole = hashlib.sha256()
    for path in sorted(_each_file(artifact.files)):
        whole.update(path.relative_to(artifact.root).as_posix().encode() + b"\0")
        whole.update(_sha256(path))
    return whole.hexdigest()


def _each_file(places: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for place in places:
        found += [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
    return found


def _sha256(path: Path) -> bytes:
    one = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            one.update(block)
    return one.digest()


def _distributions(place: Path, at: Coordinate) -> tuple[Path, ...]:
    """Wheels and sdists of this very version: their names begin with the normalised project and the version."""
    stem = f"{_normal(at.name)}-{at.version}".lower()
    candidates = [place] if place.is_file() else sorted(place.iterdir())
    return tuple(each for each in candidates if _is_distribution(each.name.lower(), stem))


def _is_distribution(name: str, stem: str) -> bool:
    if name.endswith(".tar.gz"):
        project, _, version = name.removesuffix(".tar.gz").rpartition("-")
        return f"{_normal(project)}-{version}" == stem
    project, _, rest = name.partition("-")
    return name.endswith(".whl") and f"{_normal(project)}-{rest}".startswith(f"{stem}-")


def _normal(name: str) -> str:
    """A project's name as file names have it (PEP 503, with underscores).

    >>> _normal("Nextgen.Market-API")
    'nextgen_market_api'
    """
    return re.sub(r"[-_.]+", "_", name).lower()


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _nothing(component: str, at: Coordinate, place: Path, why: str) -> BadInputError:
    return BadInputError(
        "publish.nothing-built",
        f"there is nothing of {at} to publish: {why}",
        where=str(place),
        next=f"build it (`crossfade build {component}`), or name where it is with `files` below `publish`",
    )
