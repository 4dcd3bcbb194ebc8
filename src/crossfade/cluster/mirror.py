"""What is in the cluster, kept without asking: read once, then told by a watch.

A watch that is cut is taken up where it was; after `410 Gone` everything is read anew. Whoever looks gets what the
mirror holds; after a silence of some seconds, the cluster is asked whether it is still there, because a watch that
hangs looks like peace.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Final

from crossfade.cluster.api import Cluster, Json
from crossfade.core.errors import CrossfadeError

SILENCE: Final = 5.0
"""Seconds without a word from the cluster after which it is asked again."""
_PAUSE: Final = 0.5


class Mirror:
    """The objects of one kind below `path` that `params` (selectors) choose, in one event loop."""

    def __init__(self, cluster: Cluster, path: str, params: Mapping[str, str]) -> None:
        self._cluster, self._path, self._params = cluster, path, dict(params)
        self._objects: dict[str, Json] = {}
        self._heard: float | None = None
        self._follower: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def objects(self) -> list[Json]:
        """What is there; asks only after a silence, or where nothing is followed.

        Raises what the cluster says where it is asked and does not let us, or does not answer.
        """
        lost = self._follower is None or self._follower.done()
        if lost or self._heard is None or time.monotonic() - self._heard > SILENCE:
            await self.read()
        return list(self._objects.values())

    async def read(self) -> list[Json]:
        """Everything read anew, for whoever has just written; the watch goes on from there."""
        async with self._lock:
            await self._let_go()
            found = await self._cluster.list(self._path, **self._params)
            self._objects = {each["metadata"]["name"]: each for each in found["items"]}
            self._heard = time.monotonic()
            self._follower = asyncio.create_task(self._follow(found["metadata"]["resourceVersion"]))
            return list(self._objects.values())

    async def _let_go(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None

    async def _follow(self, since: str) -> None:
        """Until the watch cannot be taken up; then nothing is followed, and the next look reads anew."""
        with contextlib.suppress(CrossfadeError):
            while True:
                began = time.monotonic()
                async for kind, thing in self._cluster.watch(self._path, since, **self._params):
                    since = thing["metadata"]["resourceVersion"]
                    self._heard = time.monotonic()
                    if kind == "DELETED":
                        self._objects.pop(thing["metadata"]["name"], None)
                    elif kind != "BOOKMARK":
                        self._objects[thing["metadata"]["name"]] = thing
                if time.monotonic() - began < _PAUSE:  # a server that ends watches at once is not to be stormed
                    await asyncio.sleep(_PAUSE)


def mirror_of(cluster: Cluster, path: str, selector: str) -> Mirror:
    """The one mirror of these objects, whoever looks: observers come and go."""
    found: Mirror = cluster.mirrors.setdefault((path, selector), Mirror(cluster, path, {"labelSelector": selector}))
    return found
