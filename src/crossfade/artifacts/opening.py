"""From the registries of the file to those that answer: the one place that knows all kinds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crossfade.artifacts.port import Coordinate, Registry
from crossfade.artifacts.targets import Origin, version_tag
from crossfade.config.model import Project
from crossfade.config.publishing import CdnRegistry, NpmRegistry, OciRegistry, PypiRegistry
from crossfade.core.clock import Clock

if TYPE_CHECKING:
    from crossfade.config.publishing import Registry as Settings


@contextlib.asynccontextmanager
async def open_registries(
    project: Project,
    names: Iterable[str],
    root: Path,
    environ: Mapping[str, str],
    *,
    origin: Origin,
    clock: Clock,
    by: str,
) -> AsyncIterator[Mapping[str, Registry]]:
    """The registries called `names`, with their secrets from `environ`; they are closed in the end.

    `root` is the folder of the file, `by` who publishes. BadInputError names the first secret that is missing.
    """
    opening = _Opening(root, environ, origin, clock, by)
    async with contextlib.AsyncExitStack() as ends:
        opened: dict[str, Registry] = {}
        for name in names:
            registry = opening.open(name, project.registries[name])
            ends.push_async_callback(registry.aclose)
            opened[name] = registry
        yield opened


class _Closing(Registry, Protocol):
    async def aclose(self) -> None:
        """Close its connections: ours have it beside the port."""


@dataclass(frozen=True, slots=True)
class _Opening:
    """What every registry is opened with."""

    root: Path
    environ: Mapping[str, str]
    origin: Origin
    clock: Clock
    by: str

    def open(self, name: str, settings: Settings) -> _Closing:
        """One registry, by its kind; only the modules of that kind are imported."""
        match settings:
            case NpmRegistry():
                from crossfade.artifacts.registries.npm import NpmRegistry as Npm  # noqa: PLC0415 - heavy

                return Npm.of(name, settings, self.environ, clock=self.clock)
            case PypiRegistry():
                from crossfade.artifacts.registries.pypi.registry import PypiRegistry as Pypi  # noqa: PLC0415 - heavy

                return Pypi.of(name, settings, self.environ)
            case OciRegistry():
                return self._images(name, settings)
            case CdnRegistry():
                from crossfade.artifacts.cdn.opening import open_cdn  # noqa: PLC0415 - heavy

                return open_cdn(name, settings, root=self.root, environ=self.environ, by=self.by, clock=self.clock)

    def _images(self, name: str, settings: OciRegistry) -> _Closing:
        from crossfade.artifacts.registries.oci.registry import OciRegistry as Oci  # noqa: PLC0415 - heavy

        def tag_of(at: Coordinate) -> str:
            return version_tag(settings, at, self.origin)

        return Oci.of(name, settings, self.environ, schemes=self.origin.image_tags, version_tag=tag_of)
