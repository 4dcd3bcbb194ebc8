"""A cache that takes the method PURGE for each file, as Varnish, Squid and nginx's purge module do."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from crossfade.artifacts.cdn.caches import Moved
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.side_by_side import together


@dataclass(frozen=True, slots=True)
class HttpCache:
    """A cache at the client's address, which stands for the store's top."""

    client: RegistryClient
    name: str = "http"

    async def purge(self, moved: Moved) -> None:
        """Purge each of the pointer's files. One that the cache does not hold (404) is purged already."""
        await together(*(self.client.request("PURGE", quote(path), repeatable=True) for path in moved.paths))

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()
