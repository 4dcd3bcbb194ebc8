"""Amazon CloudFront: one invalidation for each move (CreateInvalidation, API 2020-05-31)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote
from xml.sax.saxutils import escape

from crossfade.artifacts.cdn.caches import Moved, ordered
from crossfade.artifacts.cdn.purge.aws_signature import Keys, Scope, signed
from crossfade.artifacts.http import RegistryClient
from crossfade.core.clock import Clock

API = "https://cloudfront.amazonaws.com"
_SCOPE = Scope("us-east-1", "cloudfront")
"""CloudFront is signed for this region, wherever it is used from."""


@dataclass(frozen=True, slots=True)
class CloudFront:
    """One distribution. `root` is the path of the store's top as the distribution has it, `/` at its end."""

    client: RegistryClient
    distribution: str
    root: str
    keys: Keys
    clock: Clock
    name: str = "cloudfront"

    async def purge(self, moved: Moved) -> None:
        """Invalidate the pointer's folder. The same reference makes the same invalidation, not a second one."""
        path = f"/2020-05-31/distribution/{quote(self.distribution, safe='')}/invalidation"
        everything = escape(quote(f"{self.root}{moved.tag}/", safe="/@") + "*")
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">'
            f"<Paths><Quantity>1</Quantity><Items><Path>{everything}</Path></Items></Paths>"
            f"<CallerReference>{escape(moved.reference)}</CallerReference></InvalidationBatch>"
        ).encode()
        headers = {"host": self.client.url.netloc.decode(), "content-type": "text/xml"}
        now = self.clock.now()
        sent = signed("POST", path, {}, headers, body, keys=self.keys, scope=_SCOPE, now=now)
        target, secrets = f"distribution {self.distribution}", (self.keys.secret,)
        await ordered(self.client, path, target=target, secrets=secrets, headers=sent, content=body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()
