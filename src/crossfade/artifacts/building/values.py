"""What is built, what was decided about it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from crossfade.artifacts.building.identity import Parts
from crossfade.config.publishing import Build
from crossfade.core.errors import CrossfadeError, ExitCode

Status = Literal["built", "restored", "unchanged", "failed", "stopped", "interrupted"]


class BuildError(CrossfadeError):
    """A build did not make what it was to make. What it found before is back in its place."""

    exit_code = ExitCode.BAD_INPUT


@dataclass(frozen=True, slots=True)
class Target:
    """A component as it is built. Without `build` it is only read: what depends on it is built anew when it changes.

    `folder` is relative to the project's, with `/` between names; `version` is None where nobody tells it.
    """

    component: str
    folder: str
    build: Build | None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One file, link or empty folder that a build made; `path` is relative to the component's folder.

    `sha256` (hex) is of a file's bytes or of where a link leads, and empty for a folder. `size` is in bytes.
    """

    path: str
    kind: Literal["file", "link", "folder"]
    sha256: str
    size: int
    executable: bool = False

    def as_json(self) -> dict[str, str | int | bool]:
        """The output as a flat JSON object."""
        return {
            "path": self.path,
            "kind": self.kind,
            "sha256": self.sha256,
            "size": self.size,
            "executable": self.executable,
        }


@dataclass(frozen=True, slots=True)
class Record:
    """All that is kept about one build. `started` is in seconds since 1970, `digest` is over all outputs (sha256, hex)."""

    identity: str
    component: str
    version: str | None
    outputs: tuple[Output, ...]
    digest: str
    metadata: Mapping[str, str]
    started: float
    seconds: float
    log: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about one component, and why, before anything is."""

    target: Target
    identity: str
    parts: Parts
    action: Literal["build", "restore", "keep", "read"]
    why: tuple[str, ...] = ()
    forced: bool = False
    """Whether it is built although it is kept."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one component. `record` is None where there are no outputs to speak of."""

    component: str
    status: Status
    identity: str
    record: Record | None = None
    error: CrossfadeError | None = None
    last_lines: tuple[str, ...] = ()
    """What a failed build printed last."""
    log: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """What a person ought to know although it went well."""
    kept: bool = True
    """Whether the cache has it: a build whose inputs changed under it is not believed again."""

    @property
    def good(self) -> bool:
        """Whether its outputs are what they ought to be."""
        return self.status in ("built", "restored", "unchanged")


class Audience(Protocol):
    """Who is told how it goes."""

    def begin(self, component: str, log: str) -> None:
        """A build has begun and prints into the file `log`."""

    def wait(self, component: str, what: str) -> None:
        """A component waits for somebody else."""

    def end(self, result: Result) -> None:
        """That is what came of a component."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of everything that was asked for, in the order in which things depend on each other."""

    results: tuple[Result, ...] = field(default=())
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Whether nothing failed."""
        return not self.interrupted and all(result.good for result in self.results)
