"""The port of everything that artifacts are published to: find, upload, verify, tag, withdraw.

The five methods are the contract; `crossfade.testing.registry_contract` proves it against a real product. All are
idempotent: a second call with the same arguments finds its work done and changes nothing. None ever overwrites the
bytes of a version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from crossfade.core.errors import CrossfadeError, ExitCode

Kind = Literal["npm", "pypi", "oci", "cdn"]


class Coordinate(NamedTuple):
    """One version of one thing, as its registry calls it."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Exactly these bytes, to be published under this name and version.

    `files` are absolute paths. npm: one packed tarball. PyPI: wheels and an sdist. OCI: one image layout folder, or
    one tar of it. CDN: every file; the path below `root` is its path below the version's folder.
    """

    component: str
    at: Coordinate
    files: tuple[Path, ...]
    root: Path


@dataclass(frozen=True, slots=True)
class Published:
    """What a registry says about one version.

    `integrity` maps each file's name to its digest as that registry writes it: npm `sha512-…` (base64), PyPI
    `sha256:…` (hex), OCI the manifest's digest under the name `manifest`, CDN `sha384-…` (base64). `tags` are the names
    that lead to this version now: dist-tags, image tags, pointers.
    `withdrawn` is the reason that its readers see, or None.
    """

    at: Coordinate
    integrity: Mapping[str, str]
    tags: frozenset[str] = frozenset()
    withdrawn: str | None = None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What taking a version back did, one sentence each, and what it could not take back."""

    done: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a registry can do: a thing that it cannot do is said, and never imitated."""

    kind: Kind
    tags: bool
    """Whether names can be made to lead to a version (`tag`)."""
    withdraws: Literal["deprecate", "yank", "re-tag", "re-point", "nothing"]
    """How a version is taken back."""


class Registry(Protocol):
    """Where artifacts of one kind are published."""

    @property
    def capabilities(self) -> Capabilities:
        """What this registry can do."""

    async def find(self, wanted: Sequence[Coordinate]) -> Mapping[Coordinate, Published]:
        """What is there of `wanted`; what is absent has no entry. Asks for many at once, over few connections."""

    async def upload(self, artifact: Artifact) -> None:
        """Publish it. Done already with the same bytes: nothing happens. ConflictError: there are other bytes.

        No tag that people follow moves because of it (`tag` does that), as far as the product allows.
        """

    async def verify(self, artifact: Artifact) -> Published:
        """Read the bytes back and compare every one of them. ConflictError: they differ; MissingError: they are absent."""

    async def tag(self, at: Coordinate, tags: Sequence[str]) -> None:
        """Let each of `tags` lead to this version, which must be there. An immutable tag that leads elsewhere is a ConflictError."""

    async def withdraw(self, at: Coordinate, *, reason: str, back_to: Coordinate | None) -> Withdrawal:
        """Take the version back as far as the product allows; tags that lead to it lead to `back_to` afterwards."""


class ConflictError(CrossfadeError):
    """What is published under this name differs from what was to be published. Nothing was changed."""

    exit_code = ExitCode.BAD_INPUT


class MissingError(CrossfadeError):
    """What ought to be published is not there."""

    exit_code = ExitCode.BAD_INPUT


class RefusedError(CrossfadeError):
    """The registry does not let us: no token, a wrong one, or one that may not do this."""

    exit_code = ExitCode.BAD_INPUT


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in memory: it never shows itself.

    >>> Secret("hunter2")
    Secret(***)
    >>> f"{Secret('hunter2')}"
    'Secret(***)'
    """

    value: str = field(repr=False)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__
