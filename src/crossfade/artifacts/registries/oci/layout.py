"""An image on disk: an OCI layout, as a folder or as a tar of it. Every digest is proved before anything is sent."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from crossfade.artifacts.registries.oci.manifest import (
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    Descriptor,
    digest_of,
    media_type,
    references,
)
from crossfade.core.errors import BadInputError

_BLOCK = 1 << 20
_LONGEST_MANIFEST = 4 << 20
"""What registries take at most; a longer one is no manifest."""
HOW = (
    "make one with `docker buildx build --output type=oci,dest=image.tar`, `docker save` of Docker 25 or newer,"
    " or `skopeo copy … oci:FOLDER`"
)


class Extent(NamedTuple):
    """Where the bytes of a blob lie: `size` bytes of a file, from `offset` on."""

    path: Path
    offset: int
    size: int

    def read(self, start: int = 0, length: int | None = None) -> bytes:
        """Bytes from `start` on, at most `length` of them."""
        end = self.size if length is None else min(self.size, start + length)
        with self.path.open("rb") as file:
            file.seek(self.offset + start)
            return file.read(max(0, end - start))

    def blocks(self) -> Iterator[bytes]:
        """All of it, in pieces that fit into memory."""
        for start in range(0, self.size, _BLOCK):
            yield self.read(start, _BLOCK)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest or index, byte for byte as it is pushed."""

    at: Descriptor
    content: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one or of many platforms.

    `manifests` stand children first, so that the last one, the root, is the version. `blobs` holds each blob once.
    """

    manifests: tuple[Manifest, ...]
    blobs: Mapping[Descriptor, Extent]

    @property
    def root(self) -> Manifest:
        """What a tag of the version leads to."""
        return self.manifests[-1]


def read_layout(path: Path) -> Image:
    """The image in a layout; every byte of it is read and compared with its digest.

    BadInputError: `oci.no-layout` (with how to make one), `oci.many-images`, `oci.bad-manifest`, `oci.broken-layout`.
    """
    try:
        files = _files(path)
        root = _root(files, path)
        manifests: dict[str, Manifest] = {}
        blobs: dict[str, Descriptor] = {}
        _walk(root, files, path, manifests, blobs)
        held = {each: files[_place(each)] for each in blobs.values() if not each.elsewhere or _place(each) in files}
        for blob, extent in held.items():
            _prove(blob, extent, path)
    except (OSError, tarfile.TarError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInputError("oci.no-layout", f"the image cannot be read: {why}", where=str(path), next=HOW) from error
    return Image(tuple(manifests.values()), held)


def _files(path: Path) -> Mapping[str, Extent]:
    """The files of a layout, by their paths in it."""
    if path.is_dir():
        found = {
            file.relative_to(path).as_posix(): Extent(file, 0, file.stat().st_size)
            for file in path.rglob("*")
            if file.is_file()
        }
    else:
        with tarfile.open(path, "r:") as tar:
            members = [(member.name.removeprefix("./"), member) for member in tar if member.isreg()]
        found = {name: Extent(path, member.offset_data, member.size) for name, member in members}
    if "oci-layout" not in found or "index.json" not in found:
        old = " (it was saved by an older Docker)" if "manifest.json" in found else ""
        raise BadInputError("oci.no-layout", f"this is no OCI image layout{old}", where=str(path), next=HOW)
    return found


def _root(files: Mapping[str, Extent], path: Path) -> tuple[Descriptor, bytes | None]:
    """The manifest that is the version; its bytes where they are index.json itself."""
    content = files["index.json"].read()
    listed = references(content, OCI_INDEX, f"{path}: index.json").manifests
    different = {each.digest: each for each in listed}
    if not different:
        raise BadInputError("oci.no-layout", "the layout holds no image", where=str(path), next=HOW)
    if len(different) == 1:
        return next(iter(different.values())), None
    if _is_one_image(json.loads(content)["manifests"]):
        return Descriptor(OCI_INDEX, digest_of(content), len(content)), content
    raise BadInputError(
        "oci.many-images",
        f"the layout holds {len(different)} images; one is published at a time",
        where=str(path),
        next="write each image into a layout of its own; platforms of one image belong into one index",
    )


def _is_one_image(entries: list[dict[str, Any]]) -> bool:
    """Whether the entries of index.json are the platforms of one image."""
    platforms = [json.dumps(entry.get("platform"), sort_keys=True) for entry in entries]
    return "null" not in platforms and len(set(platforms)) == len(platforms)


def _walk(
    start: tuple[Descriptor, bytes | None],
    files: Mapping[str, Extent],
    path: Path,
    manifests: dict[str, Manifest],
    blobs: dict[str, Descriptor],
) -> None:
    """Gather what `start` needs, then itself. The digest of a parent holds those of its children: there is no cycle."""
    at, content = start
    if content is None:
        extent = _extent(at, files, path)
        if extent.size > _LONGEST_MANIFEST:
            raise _broken(path, f"{at.digest} is longer than any manifest")
        content = extent.read()
    if digest_of(content, at.digest) != at.digest or len(content) != at.size:
        raise _broken(path, f"the bytes of {at.digest} are not those that it was made from")
    kind = media_type(content, at.media_type)
    if kind != at.media_type and at.media_type in INDEXES | MANIFESTS:
        raise _broken(path, f"{at.digest} is a {kind}, and was announced as a {at.media_type}")
    needed = references(content, kind, f"{path}: {at.digest}")
    for child in needed.manifests:
        if child.digest not in manifests:
            _walk((child, None), files, path, manifests, blobs)
    for blob in needed.blobs:
        if not blob.elsewhere or _place(blob) in files:
            _extent(blob, files, path)
        blobs.setdefault(blob.digest, blob)
    manifests[at.digest] = Manifest(Descriptor(kind, at.digest, at.size), content)


def _extent(at: Descriptor, files: Mapping[str, Extent], path: Path) -> Extent:
    extent = files.get(_place(at))
    if extent is None:
        raise _broken(path, f"{at.digest} is not in it")
    return extent


def _prove(blob: Descriptor, extent: Extent, path: Path) -> None:
    algorithm, _, wanted = blob.digest.partition(":")
    found = hashlib.new(algorithm)
    for block in extent.blocks():
        found.update(block)
    if extent.size != blob.size or found.hexdigest() != wanted:
        raise _broken(path, f"the bytes of {blob.digest} are not those that it was made from")


def _place(at: Descriptor) -> str:
    return "blobs/" + at.digest.replace(":", "/")


def _broken(path: Path, why: str) -> BadInputError:
    return BadInputError(
        "oci.broken-layout", f"the image layout is broken: {why}", where=str(path), next="build the image again"
    )
