"""A wheel or sdist on disk: what it says it is, its digests, and the form that takes it to an index."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

from crossfade.artifacts.port import Artifact
from crossfade.artifacts.registries.pypi.simple import normal_name, same_version, version_of
from crossfade.core.errors import BadInputError

_FORM_NAMES = {"platforms": "platform", "supported_platforms": "supported_platform"}
"""Names of fields that the form calls otherwise than the library that reads metadata."""
_BLOCK = 1 << 20
_UNREADABLE = (
    *(OSError, EOFError, KeyError, ValueError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error),
    RuntimeError,  # an encrypted or oddly packed archive
)


class Bytes(NamedTuple):
    """How many bytes there are, and their SHA-256 (hex)."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """One file of a version, read and proved to be what it is called. Digests are hex."""

    path: Path
    kind: Literal["bdist_wheel", "sdist"]
    python: str
    metadata: Mapping[str, Any]
    sha256: str
    blake2_256: str

    @property
    def filename(self) -> str:
        """Its name, on disk and in the index."""
        return self.path.name

    def begins_with(self, part: Bytes) -> bool:
        """Whether it is longer than `part`, and begins with exactly these bytes."""
        if part.size >= self.path.stat().st_size:
            return False
        found, left = hashlib.sha256(), part.size
        with self.path.open("rb") as file:
            while left and (block := file.read(min(_BLOCK, left))):
                left -= len(block)
                found.update(block)
        return found.hexdigest() == part.digest

    def form(self) -> dict[str, str | list[str]]:
        """The fields of the upload beside the file itself and the order to take it.

        MD5 is not sent: nobody should compare by it, and where Python obeys FIPS there is none.
        """
        return {
            "protocol_version": "1",
            "filetype": self.kind,
            "pyversion": self.python,
            "sha256_digest": self.sha256,
            "blake2_256_digest": self.blake2_256,
            **dict(_fields(self.metadata)),
        }


def distributions(artifact: Artifact) -> tuple[Distribution, ...]:
    """The artifact's files, wheels first: while only some are there, nobody is made to build from source.

    BadInputError names a file that is neither wheel nor sdist, or that is of another project or version.
    """
    if not artifact.files:
        raise BadInputError(
            "pypi.no-files",
            f"there is nothing to publish for {artifact.at}",
            where=str(artifact.root),
            next="build wheels and an sdist, and let `publish.files` name their folder",
        )
    return tuple(_read(path, artifact) for path in sorted(artifact.files, key=lambda p: (p.suffix != ".whl", p.name)))


def _read(path: Path, artifact: Artifact) -> Distribution:
    at = artifact.at
    version = version_of(path.name, at.name)
    if version is None or not same_version(version, at.version):
        raise BadInputError(
            "pypi.not-this-version",
            f"{path.name} is no wheel or sdist of {at}",
            where=str(path),
            next="build the version that is to be published, and let `publish.files` name a folder with nothing else",
        )
    wheel = path.suffix == ".whl"
    try:
        sha256, blake2 = _digests(path)
        metadata = _metadata(path)
    except _UNREADABLE as error:
        raise BadInputError(
            "pypi.broken-file",
            f"{path.name} cannot be read: {_told(error)}",
            where=str(path),
            next="build it again",
        ) from error
    said = f"{metadata.get('name')} {metadata.get('version')}"
    if normal_name(metadata.get("name", "")) != normal_name(at.name) or not same_version(
        metadata.get("version", ""), at.version
    ):
        raise BadInputError(
            "pypi.not-this-version",
            f"{path.name} says inside that it is {said}",
            where=str(path),
            next=f"build {at} again; a file cannot be given another version by its name",
        )
    python = path.stem.split("-")[-3] if wheel else "source"
    return Distribution(path, "bdist_wheel" if wheel else "sdist", python, metadata, sha256, blake2)


def _metadata(path: Path) -> Mapping[str, Any]:
    from packaging.metadata import parse_email  # noqa: PLC0415 - imported when something is uploaded, not before

    raw, _ = parse_email(_wheel_metadata(path) if path.suffix == ".whl" else _sdist_metadata(path))
    return {**raw}


def _wheel_metadata(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            folder, _, file = name.partition("/")
            if folder.endswith(".dist-info") and file == "METADATA":
                return archive.read(name)
    raise KeyError("METADATA")


def _sdist_metadata(path: Path) -> bytes:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if _is_pkg_info(name)]
            if found:
                return archive.read(found[0])
        raise KeyError("PKG-INFO")
    with tarfile.open(path) as tar:
        for member in tar:
            content = tar.extractfile(member) if _is_pkg_info(member.name) else None
            if content is not None:
                return content.read()
    raise KeyError("PKG-INFO")


def _is_pkg_info(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 2 and parts[1] == "PKG-INFO"  # noqa: PLR2004 - the sdist's folder and the file


def _digests(path: Path) -> tuple[str, str]:
    sha256, blake2 = hashlib.sha256(), hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            blake2.update(block)
    return sha256.hexdigest(), blake2.hexdigest()


def _fields(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str | list[str]]]:
    for name, value in metadata.items():
        field = _FORM_NAMES.get(name, name)
        if name == "keywords":
            yield field, ",".join(value)
        elif name == "project_urls":
            yield field, [f"{label}, {url}" for label, url in value.items()]
        elif value:
            yield field, value


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"there is no {error.args[0]} in it" if isinstance(error, KeyError) else (str(error) or type(error).__name__)
