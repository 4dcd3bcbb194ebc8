"""Google Cloud CDN: one invalidation of the pointer's folder (compute v1, urlMaps.invalidateCache)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from crossfade.artifacts.cdn.caches import Moved, ordered
from crossfade.artifacts.http import RegistryClient

API = "https://compute.googleapis.com"


@dataclass(frozen=True, slots=True)
class CloudCdn:
    """One URL map of a project; the client's login is an access token."""

    client: RegistryClient
    project: str
    url_map: str
    root: str
    host: str | None = None
    name: str = "cloud-cdn"

    async def purge(self, moved: Moved) -> None:
        """Invalidate everything below the pointer's folder, for the host that browsers use where it is known."""
        order = {"path": f"{self.root}{moved.tag}/*"}
        if self.host is not None:
            order["host"] = self.host
        path = f"/compute/v1/projects/{quote(self.project)}/global/urlMaps/{quote(self.url_map)}/invalidateCache"
        await ordered(self.client, path, target=f"URL map {self.url_map} in {self.project}", json=order)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()
