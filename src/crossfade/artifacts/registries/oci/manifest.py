"""What a manifest or an index says, whoever made it: OCI's or Docker's schema 2. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

from crossfade.core.errors import BadInputError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
ACCEPT = f"{OCI_INDEX}, {DOCKER_INDEX}, {OCI_MANIFEST}, {DOCKER_MANIFEST}"
"""All that we can read: without it a registry translates a manifest, and then its digest is another one."""

_DIGEST = re.compile(r"(?P<algorithm>sha256):[0-9a-f]{64}|(?P<longer>sha512):[0-9a-f]{128}")


class Descriptor(NamedTuple):
    """What a manifest says of one blob or of another manifest. `size` is in bytes.

    `elsewhere`: its bytes may be kept out of registries (a layer that may not be passed on); it is no fault when they
    are not in a layout.
    """

    media_type: str
    digest: str
    size: int
    elsewhere: bool = False


class References(NamedTuple):
    """What a manifest needs: other manifests, and blobs (its configuration first)."""

    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]


def digest_of(content: bytes, like: str = "sha256:") -> str:
    """The digest of `content`, by the algorithm of the digest `like`.

    >>> digest_of(b"{}")[:19]
    'sha256:44136fa355b3'
    """
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def is_digest(text: object) -> bool:
    """Whether `text` is a digest that can be checked: sha256 or sha512.

    >>> is_digest("sha256:" + 64 * "0"), is_digest("sha256:../../secret"), is_digest("md5:00")
    (True, False, False)
    """
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def media_type(content: bytes, told: str = "") -> str:
    """What kind of manifest it is: its own word, else what was told of it, else what its fields show."""
    said = _json(content, "the manifest")
    own = said.get("mediaType")
    if isinstance(own, str) and own:
        return own
    return told or (OCI_INDEX if "manifests" in said else OCI_MANIFEST)


def references(content: bytes, kind: str, where: str) -> References:
    """What a manifest of that media type needs.

    BadInputError `oci.bad-manifest` for anything that is no manifest of an image.
    """
    said = _json(content, where)
    if kind in INDEXES:
        return References(tuple(descriptor(each, where) for each in _many(said, "manifests", where)), ())
    if kind in MANIFESTS:
        config = descriptor(said.get("config"), where)
        return References((), (config, *(descriptor(each, where) for each in _many(said, "layers", where))))
    raise _bad(where, f"its type is {kind}")


def descriptor(said: Any, where: str) -> Descriptor:
    """One entry of a manifest; BadInputError when it does not say digest and size."""
    if not isinstance(said, dict) or not is_digest(said.get("digest")) or type(said.get("size")) is not int:
        raise _bad(where, "an entry does not say a digest and a size")
    kind = said.get("mediaType")
    if not isinstance(kind, str):
        raise _bad(where, f"the entry {said['digest']} does not say its type")
    foreign = bool(said.get("urls")) or "nondistributable" in kind or "foreign" in kind
    return Descriptor(kind, said["digest"], said["size"], foreign)


def _json(content: bytes, where: str) -> dict[str, Any]:
    try:
        said = json.loads(content)
    except ValueError:
        raise _bad(where, "it is not JSON") from None
    if not isinstance(said, dict):
        raise _bad(where, "it is not an object")
    if said.get("schemaVersion") == 1:
        raise _bad(where, "it has Docker's schema 1, which registries no longer take")
    return said


def _many(said: dict[str, Any], key: str, where: str) -> list[Any]:
    found = said.get(key)
    if not isinstance(found, list):
        raise _bad(where, f"there is no list of {key}")
    return found


def _bad(where: str, why: str) -> BadInputError:
    return BadInputError(
        "oci.bad-manifest",
        f"this is no manifest of an image: {why}",
        where=where,
        next="build the image again, as an OCI layout",
    )
