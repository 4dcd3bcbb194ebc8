"""What every router must do while visitors are on the line: subclass `RouterTrafficContract` to prove a real one."""
# ruff: noqa: S101, PLR2004 - a contract suite is tests, and its numbers are weights and counts

from __future__ import annotations

import asyncio
import random
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import ClassVar

import pytest

from crossfade.config.routers import StickyKind
from crossfade.core.durations import FULL
from crossfade.core.errors import StaleFenceError
from crossfade.testing.instances import Application, Instance, quick, two_versions
from crossfade.testing.router_contract import counted, drained, put, require
from crossfade.testing.router_copies_contract import RouterCopiesContract
from crossfade.testing.visitors import Visitors, ask_each, visitor
from crossfade.traffic.buckets import SPACE, bucket, threshold
from crossfade.traffic.load import EVERYTHING, Load, Plan, causes
from crossfade.traffic.port import SLOTS, Router, Routes, Slot, other

Upstreams = dict[Slot, tuple[str, ...]]
GROWING = (0, 100, 500, 2500, 5000, FULL)
USERS = (
    *(f"user-{n}" for n in range(200)),
    *(f"person.{n}@example.org" for n in range(100)),
    *(f"{n:08x}-9f1c-4b6e-8d3a-{n * 7919:012x}" for n in range(50)),
)
ODD = ("ü", "日本語", "a🙂b", "'\"\\{}$%|=;!", "x" * 64, "x" * 65, "ab" * 500, "ü" * 65, "é" + "y" * 70 + "日")
CHI_SQUARE = (10.83, 13.82, 16.27, 18.47, 20.52)
"""The .1 % points of chi-square with one to five degrees of freedom: one for each weight."""
COOKIE = r"cf_bucket=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}; Path=/; .*HttpOnly; SameSite=Lax"


class RouterTrafficContract(RouterCopiesContract):
    """The promises of `RouterContract`, and: shares, users who stay, the override, copies, writers, no request lost.

    What the router's capabilities deny is not asked.
    """

    weights: ClassVar[Sequence[tuple[int, int]]] = ((100, 5_000), (2500, 3_500), (7777, 3_500))
    """Green's shares that are proven to be exact (five at the most), and by how many requests each."""
    swaps: ClassVar[int] = 10
    """How often the version is swapped while visitors are on the line."""
    changes: ClassVar[int] = 11
    """How often the weight changes during each swap."""
    rps: ClassVar[int] = 250
    """Visitors' requests a second meanwhile; on a machine that is busy with other things they may be fewer."""
    long_ms: ClassVar[int] = 2_000
    """How long slow requests, streams and websockets last."""
    least: ClassVar[int] = 2_000
    """How many requests the account has to hold."""

    @abstractmethod
    def otherwise(self, router: Router, **settings: object) -> Router:
        """The same target with other settings of its section: `sticky={…}`, `override_header=…`."""

    async def visit(self, router: Router, requests: int) -> None:
        """One after the other, on one connection."""
        assert len(await ask_each(router.address, [{}] * requests, workers=1)) == requests

    async def test_shares_are_exact(self, router: Router) -> None:
        """Pooled over the weights, all requests lie as a fair coin of that weight lays them (chi-square)."""
        distance = 0.0
        async with two_versions() as upstreams:
            for green, requests in self.weights:
                await put(router, Routes(upstreams, green, "blue"))
                answers = Counter(await ask_each(router.address, [{}] * requests))
                for version, share in (("2", green), ("1", FULL - green)):
                    meant = requests * share / FULL
                    distance += (answers[version] - meant) ** 2 / meant
        assert distance < CHI_SQUARE[len(self.weights) - 1]

    async def test_a_slot_that_is_off_receives_nothing(self, router: Router) -> None:
        """From the moment in which that is confirmed."""
        async with two_versions() as upstreams:
            for green in (0, FULL):
                await put(router, Routes(upstreams, 5000, "blue"))
                await put(router, Routes(upstreams, green, "blue"))
                assert set(await ask_each(router.address, [{}] * 1_000)) == {"2" if green else "1"}

    async def test_instances_of_a_slot_share_alike(self, router: Router) -> None:
        """Nobody gets a double share, also when the number changes."""
        async with quick("a", "b", "c", "d", "e") as addresses:
            for count in (1, 3, 2, 5):
                await put(router, Routes({"blue": tuple(addresses[:count]), "green": ()}, 0, "blue"))
                answers = Counter(await ask_each(router.address, [{}] * 40 * count, workers=1))
                assert set(answers) == set("abcde"[:count])
                assert all(abs(each - 40) <= 2 for each in answers.values()), answers

    @pytest.mark.parametrize(("kind", "stable"), [("header", "blue"), ("user_cookie", "green")])
    async def test_users_stay_and_never_go_back(self, router: Router, kind: StickyKind, stable: Slot) -> None:
        """While the canary grows each user changes sides once at most, at the bucket that is documented."""
        require(kind in router.capabilities.sticky)
        router = self.otherwise(router, sticky={kind: "X-User"})
        requests = [{"X-User": user} if kind == "header" else {"Cookie": f"a=b; X-User={user}"} for user in USERS]
        canary, before = "2" if stable == "blue" else "1", [False] * len(USERS)
        async with two_versions() as upstreams:
            for share in GROWING:
                green = share if stable == "blue" else FULL - share
                await put(router, Routes(upstreams, green, stable, salt=77))
                answers = await ask_each(router.address, requests)
                assert answers == ["2" if bucket(user, 77) < threshold(green) else "1" for user in USERS]
                after = [answer == canary for answer in answers]
                assert not any(was and not now for was, now in zip(before, after, strict=True))
                before = after
        assert all(before)

    async def test_every_id_has_the_documented_bucket(self, router: Router) -> None:
        """Odd ids too, just below and just above their own threshold; and what is no text keeps its side."""
        require("header" in router.capabilities.sticky)
        router = self.otherwise(router, sticky={"header": "X-User"})
        async with two_versions() as upstreams:
            for place, user in enumerate(ODD):
                salt = (0, 1, 2**31)[place % 3]
                points = bucket(user, salt) * FULL // SPACE
                for green in (points, points + 1):
                    await put(router, Routes(upstreams, green, "blue", salt))
                    expected = "2" if bucket(user, salt) < threshold(green) else "1"
                    assert await ask_each(router.address, [{"X-User": user}] * 2) == [expected] * 2, (user, green)
            await put(router, Routes(upstreams, 5000, "blue"))
            assert len(set(await ask_each(router.address, [{"X-User": "\udcfc\udcff"}] * 8))) == 1
            assert len(set(await ask_each(router.address, [{"X-User": ""}] * 40))) == 2  # an empty one is nobody's

    async def test_the_bucket_cookie_keeps_visitors(self, router: Router) -> None:
        """It is given once, and anew to who forged it; who has it moves once while the weight grows."""
        require("cookie" in router.capabilities.sticky)
        router = self.otherwise(router, sticky={"cookie": "cf_bucket"})
        tokens = [f"{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012x}" for n in range(300)]
        before = [False] * len(tokens)
        async with two_versions() as upstreams:
            await put(router, Routes(upstreams, 5000, "blue", salt=5))
            for _ in range(6):
                await _is_kept(router)
            for share in GROWING:
                await put(router, Routes(upstreams, share, "blue", salt=5))
                answers = await ask_each(router.address, [{"Cookie": f"a=1; cf_bucket={each}; b=2"} for each in tokens])
                after = [answer == "2" for answer in answers]
                assert after == [bucket(token, 5) < threshold(share) for token in tokens]
                assert not any(was and not now for was, now in zip(before, after, strict=True))
                before = after
        assert all(before)

    @pytest.mark.parametrize("stable", SLOTS)
    @pytest.mark.parametrize("sticky", [None, "header", "cookie"])
    async def test_the_override_is_exact(self, router: Router, stable: Slot, sticky: StickyKind | None) -> None:
        """`always` reaches the canary and `never` stable, at every weight; other values mean nothing."""
        require(router.capabilities.override and (sticky is None or sticky in router.capabilities.sticky))
        told = None if sticky is None else {sticky: "X-User"}
        router, version = self.otherwise(router, override_header="X-Preview", sticky=told), {"blue": "1", "green": "2"}
        async with two_versions() as upstreams:
            for green in (0, 5000, FULL):
                await put(router, Routes(upstreams, green, stable))
                for value, slot in (("always", other(stable)), ("never", stable)):
                    requests = [{"X-Preview": value, "X-User": str(n)} for n in range(40)]
                    assert set(await ask_each(router.address, requests)) == {version[slot]}
                if green != 5000:
                    odd = [{"X-Preview": value} for value in ("", "ALWAYS", "maybe", "always, never", "1")]
                    assert set(await ask_each(router.address, odd)) == {"2" if green else "1"}
            alone: Upstreams = {stable: upstreams[stable], other(stable): ()}
            await put(router, Routes(alone, FULL if stable == "green" else 0, stable))
            assert set(await ask_each(router.address, [{"X-Preview": "always"}] * 20)) == {version[stable]}

    async def test_without_any_version_the_answer_says_so(self, router: Router) -> None:
        """And when to come again; bodies are no matter."""
        await put(router, Routes({"blue": (), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            answer = await client.post("/anything", content=b"x" * 200_000)
        assert (answer.status_code, answer.headers["x-crossfade"]) == (503, "no-version")
        assert answer.headers["retry-after"] == "1"

    async def test_an_instance_that_hangs_up_is_an_error_of_the_version(self, router: Router) -> None:
        """A version that closes without an answer counts as failing, and its requests are sent once."""
        async with Instance("1", status=0) as rude:
            await put(router, Routes({"blue": (rude.address,), "green": ()}, 0, "blue"))
            for _ in range(6):  # each on a connection of its own: some close a kept one with the instance
                async with visitor(router.address) as client:
                    assert (await client.post("/", content=b"x")).status_code == 502
            assert len(rude.heads) == 6
        seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 6)
        assert sum(b.errors for b in seen.buckets) == sum(b.requests for b in seen.buckets) == 6

    async def test_a_visitor_who_leaves_is_no_error_of_the_version(self, router: Router) -> None:
        """Counted, without a latency."""
        async with Instance("1", wait=0.8) as slow:
            await put(router, Routes({"blue": (slow.address,), "green": ()}, 0, "blue"))
            host, _, port = router.address.rpartition(":")
            for _ in range(5):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
                await asyncio.sleep(0.1)
                writer.close()
            seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 5)
            assert sum(b.errors for b in seen.buckets) == sum(sum(b.latency) for b in seen.buckets) == 0
            await drained(router, "blue")

    async def test_streams_and_websockets_are_in_flight(self, router: Router) -> None:
        """For as long as they last, and no longer."""
        app = await Application.start("1")
        await put(router, Routes({"blue": (app.address,), "green": ()}, 0, "blue"))
        for kind in ("slow", "sse", "websocket"):
            load = Load(router.address, Plan(rps=4, mix={kind: 1}, slow_ms=800, stream_ms=800))
            load.start()
            async with asyncio.timeout(30):
                while not (await router.observe()).in_flight["blue"]:  # noqa: ASYNC110 - the world is asked
                    await asyncio.sleep(0.02)
            await load.stop()
            assert causes(load.samples) == Counter()
            await drained(router, "blue")
        await app.stop()

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
        """Weights change and versions are swapped under load; slow requests, streams and websockets are in flight."""
        chance, changes, homes = random.Random(4), 0, cycle(SLOTS)  # noqa: S311 - a walk to repeat, not a secret
        slot = next(homes)
        app = await Application.start("v0")
        await put(router, Routes({slot: (app.address,), other(slot): ()}, 0, slot))
        plan = Plan(self.rps, EVERYTHING, 4, 30, slow_ms=self.long_ms, stream_ms=self.long_ms, most_in_flight=400)
        visitors = Visitors(router.address, plan)
        try:
            for swap in range(1, self.swaps + 1):
                new, fresh = other(slot), await Application.start(f"v{swap}")
                upstreams: Upstreams = {slot: (app.address,), new: (fresh.address,)}
                for share in (0, *(chance.randrange(1, FULL) for _ in range(self.changes - 2)), FULL):
                    await put(router, Routes(upstreams, share if new == "green" else FULL - share, slot, swap))
                    changes += 1
                await drained(router, slot)
                await put(router, Routes({new: (fresh.address,), slot: ()}, FULL if new == "green" else 0, new, swap))
                assert await app.stop() == 0
                slot, app = new, fresh
        finally:
            samples = await asyncio.to_thread(visitors.leave)
            await app.stop()
        assert changes == self.swaps * self.changes
        assert causes(samples) == Counter()
        assert len(samples) >= self.least
        assert {sample.kind for sample in samples} == set(EVERYTHING)
        assert {sample.version for sample in samples} == {f"v{n}" for n in range(self.swaps + 1)}
        if router.capabilities.counts:  # the proxy's own account agrees with the visitors', request by request
            seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= len(samples))
            assert sum(b.requests for b in seen.buckets) == len(samples)
            assert (sum(b.errors for b in seen.buckets), seen.dropped) == (0, 0)


async def _is_kept(router: Router) -> None:
    """A new visitor gets a cookie with the first answer, whose side is that of all others."""
    async with visitor(router.address) as client:
        first = await client.get("/")
        (given,) = first.headers.get_list("set-cookie")
        assert re.fullmatch(COOKIE, given)
        for _ in range(3):
            again = await client.get("/")
            assert again.headers["x-app-version"] == first.headers["x-app-version"]
            assert "set-cookie" not in again.headers
        client.cookies.clear()
        for forged in ("1", "zzzzzzzz-0000-4000-8000-000000000000", "a" * 5000):
            answer = await client.get("/", headers={"Cookie": f"cf_bucket={forged}"})
            assert (answer.status_code, "set-cookie" in answer.headers) == (200, True)
            client.cookies.clear()
