"""Cloudflare: files by their addresses, or the whole zone where the addresses are not known (API v4, purge_cache)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from crossfade.artifacts.cdn.caches import Moved, ordered
from crossfade.artifacts.http import RegistryClient
from crossfade.core.errors import UnreachableError

API = "https://api.cloudflare.com"
_AT_ONCE = 30
"""Addresses in one order, as every plan takes them."""


@dataclass(frozen=True, slots=True)
class Cloudflare:
    """One zone; the client's login is an API token. `public_url` has no slash at its end."""

    client: RegistryClient
    zone: str
    public_url: str | None
    name: str = "cloudflare"

    async def purge(self, moved: Moved) -> None:
        """Purge the pointer's files; everything only where their addresses are not known."""
        for order in self._orders(moved):
            path = f"/client/v4/zones/{quote(self.zone, safe='')}/purge_cache"
            said = (await ordered(self.client, path, target=f"zone {self.zone}", json=order)).json()
            if not said.get("success"):
                faults = "; ".join(str(each.get("message")) for each in said.get("errors") or ())
                raise UnreachableError(
                    "cdn.purge-refused",
                    self.client.mask(f"it took the order and did not do it ({faults or 'no reason given'})"),
                    where=self.client.where,
                    next="check the zone and what the token may do",
                )

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    def _orders(self, moved: Moved) -> list[dict[str, Any]]:
        if self.public_url is None:
            return [{"purge_everything": True}]
        files = [f"{self.public_url}/{quote(path)}" for path in moved.paths]
        return [{"files": files[start : start + _AT_ONCE]} for start in range(0, len(files), _AT_ONCE)]
