"""What a router must do that can send copies of requests to the canary: part of `RouterTrafficContract`."""
# ruff: noqa: S101, PLR2004 - a contract suite is tests, and its numbers are counts and statuses

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from crossfade.core.durations import FULL
from crossfade.testing.instances import Instance
from crossfade.testing.router_contract import DEADLINE, RouterContract, counted, put, require
from crossfade.testing.visitors import visitor
from crossfade.traffic.headers import COPY_HEADER
from crossfade.traffic.port import Counts, Router, Routes, Slot


class RouterCopiesContract(RouterContract):
    """A share of stable's requests, whole, counted apart; and no visitor ever notices."""

    async def test_copies_are_whole_and_counted_apart(self, router: Router) -> None:
        """Method, path, headers and body arrive; the answer, however bad or long, is the canary's own affair."""
        require(router.capabilities.mirror)
        async with Instance("1") as stable, Instance("2", status=500, size=3_000_000) as canary:
            upstreams: dict[Slot, tuple[str, ...]] = {"blue": (stable.address,), "green": (canary.address,)}
            await put(router, Routes(upstreams, 0, "blue", 1, mirror=FULL))
            headers = {"X-Mine": "yes", COPY_HEADER: "forged", "X-Forwarded-For": "9.9.9.9"}
            assert await _visit(router, 20, "POST", b"x" * 200_000, headers) == {200: 20}
            await _asked(canary, 20)
            assert sorted(canary.bodies) == sorted(stable.bodies) == [b"x" * 200_000] * 20
            assert {_first(head) for head in canary.heads} == {_first(head) for head in stable.heads}
            told = ("x-mine: yes", "x-crossfade-copy: true", f"host: {router.address}")
            for line in (*told, "x-forwarded-for: 9.9.9.9, 127.0.0.1"):
                assert f"\r\n{line}\r\n" in canary.heads[0].lower()
            assert COPY_HEADER.lower() not in stable.heads[0].lower()
            seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 40)
            assert (_of(seen, "blue"), _of(seen, "green")) == ({"2xx": 20}, {"5xx": 20})
            assert (await router.observe()).in_flight == {"blue": 0, "green": 0}
            # None any more, by a number.
            await put(router, Routes(upstreams, 0, "blue", 1))
            await _visit(router, 20)
            assert len(canary.heads) == 20

    async def test_a_canary_that_hangs_or_is_away_delays_nobody(self, router: Router) -> None:
        """Visitors on one kept connection go on at once, while the copies are under way."""
        require(router.capabilities.mirror)
        async with Instance("1") as stable, Instance("2", wait=1.5) as canary:
            await put(router, Routes({"blue": (stable.address,), "green": (canary.address,)}, 0, "blue", mirror=FULL))
            assert await _visit(router, 20) == {200: 20}
            assert canary.answered == 0
            await _asked(canary, 20)
            assert (await router.observe()).in_flight["green"] == 20
            async with Instance("2") as gone:
                away = gone.address
            await put(router, Routes({"blue": (stable.address,), "green": (away,)}, 0, "blue", mirror=FULL))
            assert await _visit(router, 20) == {200: 20}
            seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 80)
        assert (_of(seen, "blue"), _of(seen, "green")) == ({"2xx": 40}, {"2xx": 20, "5xx": 20})

    async def test_a_share_of_what_stable_serves_is_copied(self, router: Router) -> None:
        """A tenth within its chance, and nothing of what the canary serves itself."""
        require(router.capabilities.mirror)
        async with Instance("1") as stable, Instance("2") as canary:
            upstreams: dict[Slot, tuple[str, ...]] = {"blue": (canary.address,), "green": (stable.address,)}
            await put(router, Routes(upstreams, FULL, "green", 1, mirror=1000))
            assert await _visit(router, 400) == {200: 400}
            assert await _visit(router, 20, headers={"X-Canary": "always"}) == {200: 20}

            def all_counted(counts: Counts) -> bool:
                return _of(counts, "green").total() >= 400 and _of(counts, "blue").total() >= len(canary.heads)

            seen = await counted(router, all_counted)
            assert (_of(seen, "green"), _of(seen, "blue")) == ({"2xx": 400}, {"2xx": len(canary.heads)})
            assert 20 + 10 < len(canary.heads) < 20 + 90


async def _visit(
    router: Router, requests: int, method: str = "GET", content: bytes = b"", headers: Mapping[str, str] | None = None
) -> Counter[int]:
    async with visitor(router.address) as client:
        answers = [
            await client.request(method, f"/a%2Fb/{n}?q=%20", content=content, headers=headers) for n in range(requests)
        ]
    return Counter(answer.status_code for answer in answers)


async def _asked(canary: Instance, requests: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while len(canary.bodies) < requests:  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.02)


def _first(head: str) -> str:
    return head.partition("\r\n")[0]


def _of(counts: Counts, slot: Slot) -> Counter[str]:
    return sum((Counter(b.by_class) for b in counts.buckets if b.slot == slot), Counter())
