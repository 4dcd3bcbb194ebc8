"""What every router must do while visitors are on the line: subclass `RouterTrafficContract` to prove a real one."""
# ruff: noqa: S101, PLR2004 - a contract suite is tests, and its numbers are weights and counts

from __future__ import annotations

import asyncio
import random
import signal
import sys
from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass
from itertools import cycle

import pytest

from crossfade.config.routers import StickyKind
from crossfade.core.durations import FULL
from crossfade.core.errors import StaleFenceError
from crossfade.testing.router_contract import RouterContract
from crossfade.testing.visitors import Visitors, ask_each
from crossfade.traffic.buckets import bucket, threshold
from crossfade.traffic.load import EVERYTHING, Plan, causes
from crossfade.traffic.port import SLOTS, Router, Routes, Slot, other

Upstreams = dict[Slot, tuple[str, ...]]
SWAPS, CHANGES_EACH, RPS = 10, 11, 400
GROWING = (0, 100, 500, 2500, 5000, FULL)
USERS = (
    *(f"user-{n}" for n in range(300)),
    *(f"person.{n}@example.org" for n in range(200)),
    *(f"{n:08x}-9f1c-4b6e-8d3a-{n * 7919:012x}" for n in range(100)),
    *("x" * 64, "x" * 65, "ab" * 500, "'\"\\{}$%"),
)
SLOWEST_CHI_SQUARE = 16.27
"""The .1 % point of chi-square with three degrees of freedom: one for each weight."""


@dataclass
class Application:
    """One running instance of the demo's application."""

    process: asyncio.subprocess.Process
    address: str

    @classmethod
    async def start(cls, version: str) -> Application:
        """An instance on a free port, once it listens."""
        argv = (sys.executable, "-m", "crossfade.demo.app", "--version", version, "--latency-ms", "0")
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        return cls(process, line.strip().rpartition("//")[2])

    async def stop(self) -> int:
        """End it; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


async def put(router: Router, routes: Routes) -> None:
    """Routes in force, as the engine has it: applied, then confirmed by the data plane."""
    await router.apply(routes, fence=1)
    async with asyncio.timeout(30):
        while not await router.confirm(routes):  # noqa: ASYNC110 - the data plane is asked, it does not tell
            await asyncio.sleep(0.02)


async def drained(router: Router, slot: Slot) -> None:
    """Nothing is in flight in `slot` any more."""
    async with asyncio.timeout(60):
        while (await router.observe()).in_flight[slot]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)


class RouterTrafficContract(RouterContract):
    """The promises of `RouterContract`, and: shares, users who stay, the override, writers that meet, no request lost.

    `upstreams` of a subclass run the demo's application, version 1 in blue and 2 in green. What the router's
    capabilities deny is not asked.
    """

    @abstractmethod
    def otherwise(self, router: Router, **settings: object) -> Router:
        """The same target with other settings of its section: `sticky={…}`, `override_header=…`."""

    async def test_shares_are_exact(self, router: Router, upstreams: Upstreams) -> None:
        """Pooled over the weights, 20,000 requests lie as a fair coin of that weight lays them (chi-square)."""
        distance = 0.0
        for green, requests in ((100, 6_000), (2500, 6_000), (7777, 8_000)):
            await put(router, Routes(upstreams, green, "blue"))
            answers = Counter(await ask_each(router.address, [{}] * requests))
            for version, share in (("2", green), ("1", FULL - green)):
                meant = requests * share / FULL
                distance += (answers[version] - meant) ** 2 / meant
        assert distance < SLOWEST_CHI_SQUARE

    @pytest.mark.parametrize("stable", SLOTS)
    @pytest.mark.parametrize("kind", ["header", "user_cookie"])
    async def test_users_stay_and_never_go_back(
        self, router: Router, upstreams: Upstreams, kind: StickyKind, stable: Slot
    ) -> None:
        """While the canary grows each user changes sides once at most, at the bucket that is documented."""
        _require(kind in router.capabilities.sticky)
        router = self.otherwise(router, sticky={kind: "X-User"})
        requests = [
            {"X-User": user} if kind == "header" else {"Cookie": f"a=b; X-User={_plain(user)}"} for user in USERS
        ]
        users = USERS if kind == "header" else tuple(map(_plain, USERS))
        canary, before = "2" if stable == "blue" else "1", [False] * len(users)
        for share in GROWING:
            green = share if stable == "blue" else FULL - share
            await put(router, Routes(upstreams, green, stable, salt=77))
            answers = await ask_each(router.address, requests)
            assert answers == ["2" if bucket(user, 77) < threshold(green) else "1" for user in users]
            after = [answer == canary for answer in answers]
            assert not any(was and not now for was, now in zip(before, after, strict=True))
            before = after
        assert all(before)

    async def test_the_bucket_cookie_keeps_visitors(self, router: Router, upstreams: Upstreams) -> None:
        """Tokens of the router's own cookie move once while the weight grows, and in its proportion."""
        _require("cookie" in router.capabilities.sticky)
        router = self.otherwise(router, sticky={"cookie": "cf_bucket"})
        tokens = [f"{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012x}" for n in range(600)]
        before = [False] * len(tokens)
        for share in GROWING:
            await put(router, Routes(upstreams, share, "blue", salt=5))
            answers = await ask_each(router.address, [{"Cookie": f"cf_bucket={token}"} for token in tokens])
            after = [answer == "2" for answer in answers]
            assert not any(was and not now for was, now in zip(before, after, strict=True))
            if share == 2500:
                assert 100 < sum(after) < 200
            before = after
        assert all(before)

    @pytest.mark.parametrize("stable", SLOTS)
    async def test_the_override_is_exact(self, router: Router, upstreams: Upstreams, stable: Slot) -> None:
        """`always` reaches the canary and `never` stable, at every weight; other values mean nothing."""
        _require(router.capabilities.override)
        router, version = self.otherwise(router, override_header="X-Preview"), {"blue": "1", "green": "2"}
        for green in (0, 5000, FULL):
            await put(router, Routes(upstreams, green, stable))
            for value, slot in (("always", other(stable)), ("never", stable)):
                assert set(await ask_each(router.address, [{"X-Preview": value}] * 40)) == {version[slot]}
            if green != 5000:
                odd = [{"X-Preview": value} for value in ("", "ALWAYS", "maybe", "always, never", "1")]
                assert set(await ask_each(router.address, odd)) == {"2" if green else "1"}

    async def test_two_writers_never_mix(self, router: Router, upstreams: Upstreams) -> None:
        """Of two that apply at once under other fences, the newer one's routes are in force, whole."""
        older, newer = Routes(upstreams, 1000, "blue", 1), Routes(upstreams, 9000, "green", 2)
        for fence in range(2, 20, 2):
            answers = await asyncio.gather(
                router.apply(older, fence=fence), router.apply(newer, fence=fence + 1), return_exceptions=True
            )
            assert answers[1] is None
            assert answers[0] is None or isinstance(answers[0], StaleFenceError)
            seen = await router.observe()
            assert (seen.routes, seen.fence) == (newer, fence + 1)
            assert await router.confirm(newer)

    @pytest.mark.slow
    @pytest.mark.alone
    async def test_no_request_is_lost(self, router: Router) -> None:
        """110 weight changes and 10 swaps under load; slow requests, streams and websockets in flight."""
        chance, changes, homes = random.Random(4), 0, cycle(SLOTS)  # noqa: S311 - a walk to repeat, not a secret
        slot = next(homes)
        app = await Application.start("v0")
        upstreams: Upstreams = {slot: (app.address,), other(slot): ()}
        await put(router, Routes(upstreams, 0, slot))
        visitors = Visitors(router.address, Plan(rps=RPS, mix=EVERYTHING, seed=4, timeout=30, most_in_flight=300))
        try:
            for swap in range(1, SWAPS + 1):
                new, fresh = other(slot), await Application.start(f"v{swap}")
                upstreams = {slot: (app.address,), new: (fresh.address,)}
                for share in (0, *(chance.randrange(1, FULL) for _ in range(CHANGES_EACH - 2)), FULL):
                    await put(router, Routes(upstreams, share if new == "green" else FULL - share, slot, swap))
                    changes += 1
                await drained(router, slot)
                await put(router, Routes({new: (fresh.address,), slot: ()}, FULL if new == "green" else 0, new, swap))
                assert await app.stop() == 0
                slot, app = new, fresh
        finally:
            samples = await asyncio.to_thread(visitors.leave)
            await app.stop()
        assert changes >= 100
        assert causes(samples) == Counter()
        assert len(samples) >= 2_000
        assert {sample.kind for sample in samples} == set(EVERYTHING)


def _require(able: bool) -> None:  # noqa: FBT001 - one word, read where it stands
    if not able:
        pytest.skip("the router says that it cannot")


def _plain(user: str) -> str:
    """What may stand in a cookie."""
    return "".join(each for each in user if each.isalnum() or each in "-.@_") or "nobody"
