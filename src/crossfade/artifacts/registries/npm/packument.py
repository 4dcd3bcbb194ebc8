"""The document that a registry has of a package, as far as it concerns us. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from crossfade.artifacts.port import Coordinate, Published

STAGE = "crossfade-upload"
"""The dist-tag that an upload needs by protocol: nobody follows it, and it is removed when the real ones are set."""


@dataclass(frozen=True, slots=True)
class Version:
    """What is said of one version. `integrity` is `sha512-…` where the registry has it, else `sha1-…`."""

    integrity: str
    shasum: str
    tarball: str
    deprecated: str | None

    @property
    def file(self) -> str:
        """Name of its tarball."""
        return self.tarball.rpartition("/")[2]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """From the JSON of one version."""
        dist = said.get("dist") or {}
        shasum = str(dist.get("shasum") or "")
        deprecated = said.get("deprecated")
        reason = deprecated if isinstance(deprecated, str) else ("deprecated" if deprecated else "")
        return cls(
            _strongest(str(dist.get("integrity") or ""), shasum), shasum, str(dist.get("tarball") or ""), reason or None
        )


@dataclass(frozen=True, slots=True)
class Packument:
    """A package: its versions, and the version that each dist-tag leads to; `staged` is where `STAGE` does.

    Registries show a `latest` that nobody has set, made of whatever was uploaded: it would move with every upload. So
    as long as a version is staged, its `latest` counts as not set.
    """

    name: str
    versions: Mapping[str, Version]
    tags: Mapping[str, str]
    staged: str | None = None

    @classmethod
    def of(cls, name: str, said: Any) -> Self:
        """From the registry's JSON, whole or abbreviated.

        >>> it = Packument.of("core", {"versions": {"1.0.0": {"dist": {"shasum": "00"}}}, "dist-tags": {"latest": "1.0.0"}})
        >>> it.versions["1.0.0"].integrity, it.tags_of("1.0.0")
        ('sha1-AA==', frozenset({'latest'}))
        """
        document = said if isinstance(said, dict) else {}
        versions = {str(key): Version.of(each) for key, each in (document.get("versions") or {}).items()}
        tags = {str(tag): str(to) for tag, to in (document.get("dist-tags") or {}).items()}
        staged = tags.pop(STAGE, None)
        return cls(name, versions, tags, staged)

    def tags_of(self, version: str) -> frozenset[str]:
        """The dist-tags that lead to a version, set or not."""
        return frozenset(tag for tag, to in self.tags.items() if to == version)

    @property
    def set_tags(self) -> Mapping[str, str]:
        """The dist-tags that were set.

        >>> Packument("core", {}, {"latest": "1.1.0", "next": "1.1.0"}, staged="1.1.0").set_tags
        {'next': '1.1.0'}
        """
        return {tag: to for tag, to in self.tags.items() if tag != "latest" or to != self.staged}

    def published(self, at: Coordinate) -> Published | None:
        """What is there of one version."""
        version = self.versions.get(at.version)
        if version is None:
            return None
        tags = frozenset(tag for tag, to in self.set_tags.items() if to == at.version)
        return Published(at, {version.file: version.integrity}, tags, version.deprecated)


def _strongest(integrity: str, shasum: str) -> str:
    each = integrity.split()
    strongest = next((one for one in each if one.startswith("sha512-")), each[0] if each else "")
    if strongest or not shasum:
        return strongest
    try:
        return "sha1-" + base64.b64encode(bytes.fromhex(shasum)).decode()
    except ValueError:
        return ""
