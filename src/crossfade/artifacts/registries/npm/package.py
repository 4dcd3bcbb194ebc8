"""A packed tarball as npm's protocol uploads it: its manifest, its digests, and the document around them."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.artifacts.registries.npm.packument import STAGE
from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version

LARGEST = 512 * 1024 * 1024
"""Bytes of a tarball: the protocol sends it whole, inside JSON."""
_README = 512 * 1024


@dataclass(frozen=True, slots=True)
class Package:
    """A tarball that is to be published at `at`."""

    at: Coordinate
    manifest: dict[str, Any]
    readme: str
    content: bytes

    @classmethod
    def read(cls, artifact: Artifact) -> Self:
        """The artifact's one tarball; BadInputError when it is none, or not of this name and version."""
        if len(artifact.files) != 1:
            raise _unusable(
                artifact, artifact.root, f"npm publishes one tarball, and these are {len(artifact.files)} files"
            )
        path = artifact.files[0]
        if not path.is_file():
            raise _unusable(artifact, path, "the packed tarball is not there")
        if path.stat().st_size > LARGEST:
            raise _unusable(artifact, path, "the tarball is larger than npm's protocol can carry")
        content = path.read_bytes()
        manifest, readme = _contents(artifact, path, content)
        it = cls(artifact.at, manifest, readme, content)
        it._check(artifact, path)
        return it

    @property
    def integrity(self) -> str:
        """`sha512-…`, as registries and lock files write it."""
        return "sha512-" + base64.b64encode(hashlib.sha512(self.content).digest()).decode()

    @property
    def shasum(self) -> str:
        """The sha1 in hex that old clients ask for."""
        return hashlib.sha1(self.content, usedforsecurity=False).hexdigest()

    def document(self, registry: str, access: str) -> dict[str, Any]:
        """What is PUT: the package with this one version, and the tarball in it. `registry` is the base address."""
        name, version = self.at
        file = f"{name}-{version}.tgz"
        dist = {
            "integrity": self.integrity,
            "shasum": self.shasum,
            "tarball": f"{registry.rstrip('/')}/{name}/-/{file}",
        }
        manifest = {**_for_installers(self.manifest), "_id": f"{name}@{version}", "readme": self.readme, "dist": dist}
        attachment = {
            "content_type": "application/octet-stream",
            "data": base64.b64encode(self.content).decode(),
            "length": len(self.content),
        }
        return {
            "_id": name,
            "name": name,
            "description": manifest.get("description", ""),
            "dist-tags": {STAGE: version},
            "versions": {version: manifest},
            "readme": self.readme,
            "access": access if name.startswith("@") else None,
            "_attachments": {file: attachment},
        }

    def _check(self, artifact: Artifact, path: Path) -> None:
        name, version = self.manifest.get("name"), self.manifest.get("version")
        if (name, version) != tuple(self.at):
            raise _unusable(artifact, path, f"it holds {name}@{version}")
        if self.manifest.get("private"):
            raise _unusable(artifact, path, 'its package.json says "private": true')
        try:
            parsed = parse_version(self.at.version)
        except ValueError as error:
            raise _unusable(artifact, path, str(error)) from None
        if parsed.build:
            raise _unusable(artifact, path, "npm keeps no build metadata (+…) in versions")


def _contents(artifact: Artifact, path: Path, content: bytes) -> tuple[dict[str, Any], str]:
    """package.json and the README at the top of the tarball."""
    manifest, readme = None, ""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
            for member in tar:
                folder, _, inner = member.name.partition("/")
                if not folder or "/" in inner or not member.isfile():
                    continue
                if inner == "package.json":
                    manifest = orjson.loads(_bytes(tar, member))
                elif (
                    inner.lower() in ("readme.md", "readme", "readme.txt", "readme.markdown") and member.size <= _README
                ):
                    readme = _bytes(tar, member).decode(errors="replace")
    except (tarfile.TarError, EOFError, OSError, zlib.error, orjson.JSONDecodeError) as error:
        raise _unusable(artifact, path, f"it cannot be read: {error}") from None
    if not isinstance(manifest, dict):
        raise _unusable(artifact, path, "there is no package.json in it")
    return manifest, readme


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file is not None else b""


def _for_installers(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest in the one form that installers read: they take it from the registry, not from the tarball."""
    known = dict(manifest)
    if isinstance(known.get("bin"), str):
        known["bin"] = {str(known["name"]).rpartition("/")[2]: known["bin"]}
    if "bundledDependencies" in known:
        known.setdefault("bundleDependencies", known.pop("bundledDependencies"))
    return known


def _unusable(artifact: Artifact, path: Path, why: str) -> BadInputError:
    return BadInputError(
        "npm.unusable-package",
        f"{artifact.at} cannot be published from this file: {why}",
        where=str(path),
        next=f"build and pack {artifact.component} again",
    )
