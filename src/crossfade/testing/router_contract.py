"""What every router must do: subclass `RouterContract` in a test file to prove an adapter."""
# ruff: noqa: S101, PLR2004 - a contract suite is tests, and its numbers are weights and counts

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import pytest

from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError, CrossfadeError, StaleFenceError, UnreachableError
from crossfade.traffic.port import SLOTS, Counts, Router, Routes, Slot

DEADLINE = 120.0
"""Seconds after which a test gives up waiting; nothing is measured by it."""


async def counted(router: Router, true: Callable[[Counts], bool], since: float = 0.0) -> Counts:
    """The first counts for which `true` holds; fails with what was counted last."""
    seen = await router.counts(since)
    for _ in range(int(DEADLINE / 0.1)):
        if true(seen):
            return seen
        await asyncio.sleep(0.1)
        seen = await router.counts(since)
    return pytest.fail(f"it never came true; last seen: {seen.alive_at} {seen.buckets[-4:]}")


async def put(router: Router, routes: Routes, fence: int = 1) -> None:
    """Routes in force, as the engine has it: applied, then confirmed by the data plane."""
    await router.apply(routes, fence=fence)
    async with asyncio.timeout(DEADLINE):
        while not await router.confirm(routes):  # noqa: ASYNC110 - the data plane is asked, it does not tell
            await asyncio.sleep(0.02)


async def drained(router: Router, slot: Slot) -> None:
    """Nothing is in flight in `slot` any more."""
    async with asyncio.timeout(2 * DEADLINE):
        while (await router.observe()).in_flight[slot]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


def require(able: bool) -> None:  # noqa: FBT001 - one word, read where it stands
    """Skip a test of what the router's capabilities deny."""
    if not able:
        pytest.skip("the router says that it cannot")


class RouterContract(ABC):
    """The promises of the Router port, on an adapter's real data plane.

    A subclass hands out a fixture `router` (which ends everything afterwards) and a fixture `upstreams`
    (two addresses for each slot that answer), and says how its world is touched from outside.
    """

    @abstractmethod
    def again(self, router: Router) -> Router:
        """The same target, seen by a Crossfade that was started anew."""

    @abstractmethod
    def visit(self, router: Router, requests: int) -> Awaitable[None]:
        """Send that many plain requests through the router, as visitors do."""

    @abstractmethod
    def empty(self, router: Router) -> Awaitable[None]:
        """Make the proxy forget everything about the target, as a restart without configuration does."""

    @abstractmethod
    def cut(self, router: Router) -> Awaitable[None]:
        """Make the proxy unreachable."""

    @abstractmethod
    def mend(self, router: Router) -> Awaitable[None]:
        """Make it reachable again, where `apply` does not do that by itself."""

    async def test_an_unused_target_has_no_routes(self, router: Router) -> None:
        """Asking is no fault, and nothing is invented."""
        seen = await router.observe()
        assert seen.routes is None
        assert seen.fence == 0

    async def test_what_is_applied_is_in_force(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """The data plane and the control plane both say so, to a new Crossfade too."""
        routes = Routes(upstreams, green=1234, stable="blue", salt=99)
        await router.apply(routes, fence=1)
        assert await router.confirm(routes)
        for each in (router, self.again(router)):
            seen = await each.observe()
            assert (seen.reachable, seen.routes, seen.fence) == (True, routes, 1)
            assert await each.confirm(routes)

    @pytest.mark.parametrize("stable", SLOTS)
    async def test_weights_are_exact(
        self, router: Router, upstreams: dict[Slot, tuple[str, ...]], stable: Slot
    ) -> None:
        """Every basis point is kept, in both directions."""
        for fence, green in enumerate((0, 1, 9, 500, 3333, 9999, FULL)):
            routes = Routes(upstreams, green=green, stable=stable)
            await router.apply(routes, fence=fence)
            assert await router.confirm(routes)
            seen = await router.observe()
            assert seen.routes == routes

    async def test_confirm_says_no(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """Routes that are not in force are not confirmed: another weight, stable, salt or instance."""
        await router.apply(Routes(upstreams, 500, "blue", 1), fence=1)
        fewer: dict[Slot, tuple[str, ...]] = {"blue": upstreams["blue"], "green": upstreams["green"][:1]}
        for other_routes in (
            Routes(upstreams, 501, "blue", 1),
            Routes(upstreams, 500, "green", 1),
            Routes(upstreams, 500, "blue", 2),
            Routes(fewer, 500, "blue", 1),
        ):
            assert not await router.confirm(other_routes)

    async def test_an_older_fence_changes_nothing(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """A worker that lost its lease cannot overwrite its successor."""
        newer, older = Routes(upstreams, 5000, "blue"), Routes(upstreams, 0, "blue")
        await router.apply(newer, fence=7)
        with pytest.raises(StaleFenceError):
            await self.again(router).apply(older, fence=6)
        seen = await router.observe()
        assert (seen.routes, seen.fence) == (newer, 7)
        await router.apply(older, fence=7)  # the very fence that is there: the last one's routes
        assert (await router.observe()).routes == older
        await router.apply(newer, fence=8)
        assert await router.confirm(newer)

    async def test_what_is_closed_is_gone_until_it_is_applied_again(
        self, router: Router, upstreams: dict[Slot, tuple[str, ...]]
    ) -> None:
        """Closing twice, or by another Crossfade, is no fault."""
        await router.apply(Routes(upstreams, 2500, "blue"), fence=3)
        for each in (router, router, self.again(router)):
            await each.close()
        routes = (await router.observe()).routes
        assert routes is None or not any(routes.upstreams.values())
        newer = Routes(upstreams, 500, "blue")
        await router.apply(newer, fence=8)
        assert await router.confirm(newer)

    async def test_applying_again_changes_nothing(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """A retry after a crash is harmless."""
        routes = Routes(upstreams, 2500, "blue")
        for _ in range(3):
            await router.apply(routes, fence=3)
        assert (await router.observe()).routes == routes

    async def test_traffic_to_nobody_is_refused(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """A slot without instances gets no weight, and the refusal changes nothing."""
        before = Routes({"blue": upstreams["blue"], "green": ()}, 0, "blue")
        await router.apply(before, fence=1)
        with pytest.raises(BadInputError):
            await router.apply(Routes({"blue": upstreams["blue"], "green": ()}, 1, "blue"), fence=2)
        seen = await router.observe()
        assert (seen.routes, seen.fence) == (before, 1)

    async def test_nothing_may_run_at_all(self, router: Router) -> None:
        """Before the first release there is an address and nobody behind it."""
        routes = Routes({"blue": (), "green": ()}, 0, "blue")
        await router.apply(routes, fence=1)
        assert await router.confirm(routes)

    async def test_an_emptied_proxy_is_repaired(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """What is observed is what is there, not what was once told; applying puts it back."""
        routes = Routes(upstreams, 2500, "blue")
        await router.apply(routes, fence=4)
        await self.empty(router)
        assert (await router.observe()).routes is None
        await router.apply(routes, fence=4)
        assert await router.confirm(routes)
        assert (await router.observe()).routes == routes

    async def test_an_unreachable_proxy_is_told(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """`observe` says so, `confirm` raises, and afterwards all is as before."""
        routes = Routes(upstreams, 2500, "blue")
        await router.apply(routes, fence=1)
        await self.cut(router)
        seen = await router.observe()
        assert not seen.reachable
        assert seen.routes is None
        assert seen.detail
        with pytest.raises(UnreachableError) as caught:
            await router.confirm(routes)
        assert isinstance(caught.value, CrossfadeError)
        assert caught.value.retry
        await self.mend(router)
        await router.apply(routes, fence=1)
        assert await router.confirm(routes)

    async def test_every_request_is_counted_once(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """By slot and class, with a latency each; and a slot that is off gets none."""
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        await self.visit(router, 40)
        await router.apply(Routes(upstreams, FULL, "blue"), fence=1)
        await self.visit(router, 25)
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 65)
        by_slot = {slot: sum(b.requests for b in seen.buckets if b.slot == slot) for slot in SLOTS}
        assert by_slot == {"blue": 40, "green": 25}
        assert all(b.by_class == {"2xx": b.requests} and sum(b.latency) == b.requests for b in seen.buckets)
        assert all(len(b.latency) == len(seen.bounds_ms) + 1 for b in seen.buckets)
        assert [b.at for b in seen.buckets] == sorted(b.at for b in seen.buckets)
        assert seen.dropped == 0
        last = seen.buckets[-1].at
        assert all(b.at >= last for b in (await router.counts(last)).buckets)
        await counted(router, lambda counts: counts.alive_at is not None and counts.alive_at >= last)

    async def test_silence_is_not_blindness(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """Without any request the counts go on being complete."""
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        first = (await counted(router, lambda counts: counts.alive_at is not None)).alive_at
        assert first is not None
        later = await counted(router, lambda counts: counts.alive_at is not None and counts.alive_at > first)
        assert later.buckets == ()

    async def test_nothing_is_in_flight_at_rest(self, router: Router, upstreams: dict[Slot, tuple[str, ...]]) -> None:
        """Both slots are named, and both are empty."""
        await router.apply(Routes(upstreams, 5000, "blue"), fence=1)
        assert (await router.observe()).in_flight == {"blue": 0, "green": 0}
