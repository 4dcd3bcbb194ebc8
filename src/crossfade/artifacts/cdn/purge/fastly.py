"""Fastly: each file by its address, or the whole service where the addresses are not known."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from crossfade.artifacts.cdn.caches import Moved, ordered
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import Secret
from crossfade.artifacts.side_by_side import together

API = "https://api.fastly.com"


@dataclass(frozen=True, slots=True)
class Fastly:
    """One service. `public_url` is where browsers find the store's top, without a slash at its end."""

    client: RegistryClient
    service: str
    token: Secret
    public_url: str | None
    name: str = "fastly"

    async def purge(self, moved: Moved) -> None:
        """Purge the pointer's files at once; everything is purged only where their addresses are not known."""
        await together(*(self._order(path) for path in self._paths(moved)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    def _paths(self, moved: Moved) -> tuple[str, ...]:
        if self.public_url is None:
            return (f"/service/{quote(self.service, safe='')}/purge_all",)
        at = urlsplit(self.public_url)
        return tuple(f"/purge/{at.netloc}{at.path}/{quote(path)}" for path in moved.paths)

    async def _order(self, path: str) -> None:
        headers = {"fastly-key": self.token.value, "accept": "application/json"}
        # The token is in a header of Fastly's own, which the client does not know to be secret.
        await ordered(self.client, path, target=f"service {self.service}", secrets=(self.token,), headers=headers)
