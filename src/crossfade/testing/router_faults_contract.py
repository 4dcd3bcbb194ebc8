"""What every router must do that runs a proxy of its own, when things go wrong: subclass `RouterFaultsContract`."""
# ruff: noqa: S101, PLR2004 - a contract suite is tests, and its numbers are weights, counts and statuses

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import httpx
import psutil
import pytest

from crossfade.core.errors import BadInputError, CrossfadeError, StaleFenceError, UnreachableError
from crossfade.testing.accidents import killed, taken
from crossfade.testing.free_ports import free_port
from crossfade.testing.instances import Instance
from crossfade.testing.router_contract import DEADLINE, counted, drained, put, require
from crossfade.testing.visitors import visitor
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Counts, Router, Routes, Slot

Upstreams = dict[Slot, tuple[str, ...]]
WRITES = 60
"""The newest fence of writers that meet."""
BLIND = 1.2
"""Seconds in which a counter that heard anything would have said so: it asks twice in each."""
OURS = r"x-(crossfade|accel|envoy|request-id)"
"""Names of headers that are the proxy's own affair."""


class RouterFaultsContract(ABC):
    """What goes wrong around a proxy of our own and the process that counts for it, and where it ends.

    It stands beside `RouterTrafficContract`, and its fixtures are the same: `router` (made afresh, never applied, and
    ended afterwards) and `upstreams` (two applications of `crossfade.demo.app` for each slot, version 1 in blue and 2
    in green). A router has to survive being pickled, for it is also used in other processes.
    """

    unfit: ClassVar[Sequence[tuple[str, str, str]]] = ()
    """Programs that will not do in place of the proxy's (`binary` of the section): a line of shell each, the code of the
    error that it has to lead to, and words that the error says."""
    looks_up_names: ClassVar[bool] = True
    """Whether the proxy itself looks up the names of hosts; where it does not, `apply` refuses one that is unknown."""
    nothing: ClassVar[tuple[int, str]] = (503, "no-version")
    """Status and `X-Crossfade` of an answer while nothing is in force; (0, "") where nobody answers then."""
    waking: ClassVar[frozenset[int]] = frozenset()
    """With which status a proxy that was started answers in the moment before it knows its routes, if it listens then."""
    most_away: ClassVar[int] = 11
    """How many of a slot's instances may be away without a request's noticing."""
    away: ClassVar[int] = 502
    """Status of an answer where nobody is found."""
    torn: ClassVar[str | None] = "none"
    """The class as which an answer of 200 counts that breaks off: `2xx` where the proxy does not say that it did, None
    where it does not say anything."""
    believes: ClassVar[bool] = True
    """Whether a proxy on this machine that stands before it is believed about its visitors."""
    resets: ClassVar[bool] = False
    """Whether a visitor may lose a request on a kept connection in the instant in which the set-up changes."""

    @abstractmethod
    def otherwise(self, router: Router, **settings: object) -> Router:
        """The same target, by a Crossfade that was started anew, with other settings of its section where some are named.

        Asked for are `listen`, `sticky`, `override_header` and, where there are `unfit` ones, `binary`.
        """

    @abstractmethod
    def second(self, router: Router) -> Router:
        """Another target that is told to listen on the same address."""

    @abstractmethod
    def proxy(self, router: Router) -> Sequence[int]:
        """Pids of the proxy's processes, the main one first; none when it does not run."""

    @abstractmethod
    def counter(self, router: Router) -> Sequence[int]:
        """Pids of what counts for it beside the proxy; none when it does not run."""

    @abstractmethod
    def empty(self, router: Router) -> Awaitable[None]:
        """Make the proxy forget everything about the target, as a restart without configuration does."""

    @abstractmethod
    def end(self, router: Router) -> Awaitable[None]:
        """End what was started for a target."""

    async def unwatched(self, router: Router) -> Counts | None:  # noqa: ARG002 - for those who can ask
        """What a counter that was killed is seen to say before anybody starts it again; None where that is not to see."""
        return None

    def private(self, router: Router) -> Iterable[Path]:  # noqa: ARG002 - for those who have some
        """Files and sockets that nobody else may touch, once routes are in force."""
        return ()

    async def test_a_taken_address_is_told_with_its_holder(self, router: Router, upstreams: Upstreams) -> None:
        """Whoever that is, a proxy of our own too: an address is never shared without anybody's noticing."""
        routes = Routes(upstreams, 0, "blue")
        with taken(router.address), pytest.raises(CrossfadeError, match=rf"process {os.getpid()}\b") as caught:
            await router.apply(routes, fence=1)
        assert (caught.value.code, bool(caught.value.next)) == ("router.address-taken", True)
        await put(router, routes)
        second = self.second(router)
        try:
            with pytest.raises(CrossfadeError) as caught:
                await second.apply(routes, fence=1)
            assert caught.value.code == "router.address-taken"
            names = {f"process {pid} ({psutil.Process(pid).name()})" for pid in self.proxy(router)}
            assert any(name in caught.value.what for name in names), (caught.value.what, names)
            assert not await second.confirm(routes)
        finally:
            await self.end(second)
        assert await router.confirm(routes)

    async def test_programs_that_will_not_do(self, router: Router, upstreams: Upstreams, tmp_path: Path) -> None:
        """None at all, another product's, an old one, one that ends at once: each is told apart, and nothing is left."""
        require(bool(self.unfit))
        wrong = [("no-such-program", "router.no-program", "no-such-program is not there")]
        for number, (line, code, said) in enumerate(self.unfit):
            path = tmp_path / f"unfit-{number}"
            path.write_text(f"#!/bin/sh\n{line}\n")
            path.chmod(0o755)
            wrong.append((str(path), code, said))
        for binary, code, said in wrong:
            unfit = self.otherwise(router, binary=binary)
            with pytest.raises(CrossfadeError) as caught:
                await unfit.apply(Routes(upstreams, 0, "blue"), fence=1)
            assert (caught.value.code, said in caught.value.what) == (code, True), caught.value.what
            assert caught.value.next
            assert not (await unfit.observe()).reachable
            assert not self.proxy(unfit)

    async def test_another_address_is_moved_to(self, router: Router, upstreams: Upstreams) -> None:
        """And nobody stays behind on the old one; one that is taken is refused before anything is given up."""
        routes = Routes(upstreams, 0, "blue")
        await put(router, routes)
        before = (*self.proxy(router), *self.counter(router))
        with taken(f"127.0.0.1:{free_port()}") as address:
            with pytest.raises(CrossfadeError) as caught:
                await self.otherwise(router, listen=address).apply(routes, fence=2)
            assert caught.value.code == "router.address-taken"
        assert await router.confirm(routes)
        assert (*self.proxy(router), *self.counter(router)) == before
        moved = self.otherwise(router, listen=f"127.0.0.1:{free_port()}")
        await put(moved, routes)
        await counted(moved, lambda counts: counts.alive_at is not None)
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(UnreachableError):
                while await router.confirm(routes):  # noqa: ASYNC110 - the world is asked, it does not tell
                    await asyncio.sleep(0.02)

    async def test_a_restarted_crossfade_adopts_what_runs(self, router: Router, upstreams: Upstreams) -> None:
        """It outlives us: what was started is no part of our session."""
        await put(router, Routes(upstreams, 0, "blue"))
        before = (*self.proxy(router), *self.counter(router))
        after = self.otherwise(router)
        await put(after, Routes(upstreams, 10, "blue"), fence=2)
        assert (*self.proxy(after), *self.counter(after)) == before
        assert os.getsid(0) not in {os.getsid(pid) for pid in before}

    async def test_two_that_start_at_once_start_one(self, router: Router, upstreams: Upstreams) -> None:
        """Of many that find nothing, one starts it, and the others find it."""
        twin, routes = self.otherwise(router), Routes(upstreams, 0, "blue")
        await asyncio.gather(*(each.apply(routes, fence=1) for each in (router, twin) * 3))
        assert await router.confirm(routes)
        assert await twin.confirm(routes)
        assert self.proxy(router) == self.proxy(twin) != ()

    async def test_two_processes_that_write_end_with_the_newest(self, router: Router, upstreams: Upstreams) -> None:
        """The proxy and the disk agree at the end, whoever came last; an older fence is refused."""
        await put(router, Routes(upstreams, 0, "blue"))
        spawning = multiprocessing.get_context("spawn")
        writers = [spawning.Process(target=_write, args=(self.otherwise(router), upstreams, first)) for first in (1, 2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            await asyncio.to_thread(writer.join, 2 * DEADLINE)
        assert [writer.exitcode for writer in writers] == [0, 0]
        newest = Routes(upstreams, WRITES * 100, "blue")
        seen = await router.observe()
        assert (seen.fence, seen.routes) == (WRITES, newest)
        assert await router.confirm(newest)
        with pytest.raises(StaleFenceError):
            await router.apply(Routes(upstreams, 0, "blue"), fence=WRITES - 1)

    async def test_a_dead_proxy_is_started_again_with_its_routes(self, router: Router, upstreams: Upstreams) -> None:
        """No counts while it is dead, which is blindness and not silence; then it counts on, and blames nobody."""
        routes = Routes(upstreams, 2500, "blue", salt=3)
        await put(router, routes)
        await _visit(router, 20)
        before = await _total(router, 20)
        await killed(lambda: self.proxy(router))
        assert not (await router.observe()).reachable
        await asyncio.sleep(BLIND / 2)
        last = (await router.counts(0)).alive_at
        await asyncio.sleep(BLIND)
        assert last == (await router.counts(0)).alive_at
        assert last is not None
        assert before.alive_at is not None
        assert last >= before.alive_at
        load = Load(router.address, Plan(rps=100, seed=8, mix={"get-fresh": 1}))
        load.start()
        await put(router, routes)
        assert (await router.observe()).routes == routes
        await counted(router, lambda counts: counts.alive_at is not None and counts.alive_at > last)
        async with asyncio.timeout(DEADLINE):
            while sum(bool(sample.version) for sample in load.samples) < 60:  # noqa: ASYNC110 - as everywhere
                await asyncio.sleep(0.02)
        await load.stop()
        # Until it listens again nobody is there; from then on every answer is a version's.
        assert set(causes(load.samples)) <= {"refused", "reset"}
        answered = [sample for sample in load.samples if not sample.failed]
        assert {sample.status for sample in answered if not sample.version} <= self.waking
        versions = Counter(sample.version for sample in answered if sample.version)
        assert set(versions) == {"1", "2"}
        seen = await _total(router, 20 + versions.total())
        assert (_requests(seen), _errors(seen), seen.dropped) == (20 + versions.total(), 0, 0)

    async def test_where_nothing_is_in_force_no_version_is_blamed(self, router: Router, upstreams: Upstreams) -> None:
        """Who asks is told so, and is counted for nobody."""
        await put(router, Routes(upstreams, 0, "blue"))
        await self.empty(router)
        async with visitor(router.address) as client:
            for _ in range(10):
                status, word = 0, ""
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get("/")
                    status, word = answer.status_code, answer.headers.get("x-crossfade", "")
                assert (status, word) == self.nothing
        await put(router, Routes(upstreams, 0, "blue"))
        await _visit(router, 5)
        seen = await _total(router, 5)
        assert (_requests(seen), _errors(seen), seen.dropped) == (5, 0, 0)

    async def test_a_changed_set_up_cuts_nobody_off(self, router: Router, upstreams: Upstreams) -> None:
        """Stickiness and a header that are added to the file later are in force with the next apply, on the same proxy."""
        routes = Routes(upstreams, 0, "blue")
        await put(router, routes)
        main = self.proxy(router)[0]
        load = Load(router.address, Plan(rps=100, seed=2, mix={"get": 2, "post": 1, "slow": 1}, slow_ms=500))
        load.start()
        async with visitor(router.address) as early:
            slow = asyncio.create_task(early.get("/slow?ms=2000"))
            async with asyncio.timeout(DEADLINE):
                while len(load.samples) < 10:  # noqa: ASYNC110 - the world is asked, it does not tell
                    await asyncio.sleep(0.02)
            after = self.otherwise(router, sticky={"cookie": "cf"}, override_header="X-Other")
            await put(after, routes)
            assert self.proxy(after)[0] == main
            async with visitor(after.address) as client:
                assert "set-cookie" in (await client.get("/")).headers
                assert (await client.get("/version", headers={"X-Other": "always"})).json() == {"version": "2"}
            await load.stop()
            seen = await after.observe()
            assert slow.done() or seen.in_flight == {"blue": 1, "green": 0}  # also where the old set-up goes on with it
            assert (await slow).status_code == 200
        assert set(causes(load.samples)) <= ({"reset"} if self.resets else set())
        await drained(after, "blue")

    async def test_a_counter_that_was_killed_counts_again(self, router: Router, upstreams: Upstreams) -> None:
        """Blind while it is dead, never wrong; the next look starts it, and nothing of before is counted again."""
        await put(router, Routes(upstreams, 0, "blue"))
        require(bool(self.counter(router)))
        await counted(router, lambda counts: counts.alive_at is not None)
        await _visit(router, 10)
        await _total(router, 10)
        await killed(lambda: self.counter(router))
        blind = await self.unwatched(router)
        assert blind is None or blind.alive_at is None
        await _visit(router, 5)
        await counted(router, lambda counts: counts.alive_at is not None)
        await _visit(router, 30)
        seen = await _total(router, 30)
        assert (_requests(seen), _errors(seen)) == (30, 0)

    async def test_a_dead_instance_costs_nobody_anything(self, router: Router) -> None:
        """Refused connections go to another instance of the slot, long bodies and odd paths included."""
        async with Instance("1", echo=True) as living:
            dead = tuple(f"127.0.0.1:{free_port()}" for _ in range(self.most_away))
            await put(router, Routes({"blue": (*dead, living.address), "green": ()}, 0, "blue"))
            async with visitor(router.address) as client:
                for number in range(12):
                    body = bytes([number]) * (3_000_000 if number % 4 == 1 else 10)
                    answer = await client.post("/a%2Fb//c;d?e=%20f", content=body)
                    assert (answer.status_code, answer.content) == (200, body)
            assert {head.split("\r\n")[0] for head in living.heads} == {"POST /a%2Fb//c;d?e=%20f HTTP/1.1"}
            assert len(living.heads) == 12
        seen = await _total(router, 12)
        assert sum((Counter(b.by_class) for b in seen.buckets), Counter()) == {"2xx": 12}

    async def test_an_only_instance_may_take_a_moment(self, router: Router) -> None:
        """It is looked for during about a second; one that stays away is an error of its slot."""
        address = f"127.0.0.1:{free_port()}"
        await put(router, Routes({"blue": (address,), "green": ()}, 0, "blue"))
        async with visitor(router.address) as client:
            assert (await client.get("/")).status_code == self.away
            waiting = asyncio.create_task(client.get("/"))
            await asyncio.sleep(0.3)
            async with Instance("1", address=address):
                assert (await waiting).status_code == 200
        seen = await _total(router, 2)
        assert (_requests(seen), _errors(seen)) == (2, 1)

    async def test_an_answer_that_breaks_off_is_an_error_of_the_version(self, router: Router) -> None:
        """The visitor sees it; so does the count, where the proxy can tell."""
        async with Instance("1", size=1000, torn=True) as shop:
            await put(router, Routes({"blue": (shop.address,), "green": ()}, 0, "blue"))
            async with visitor(router.address) as client:
                for _ in range(4):
                    with pytest.raises(httpx.HTTPError):
                        await client.get("/")
            require(self.torn is not None)
            seen = await _total(router, 4)
        assert sum((Counter(b.by_class) for b in seen.buckets), Counter()) == {self.torn: 4}
        assert (await router.observe()).in_flight == {"blue": 0, "green": 0}

    async def test_only_we_can_probe(self, router: Router, upstreams: Upstreams) -> None:
        """Without the token its header means nothing and gives nothing away; with it nothing is counted."""
        routes = Routes(upstreams, 0, "blue")
        await put(router, routes)
        async with visitor(router.address) as client:
            for token in ("", "x", "0" * 32):
                told = {PROBE_HEADER: token, "X-Crossfade-Slot": "green", "X-Envoy-Upstream-Rq-Timeout-Ms": "1"}
                answer = await client.get("/version", headers=told)
                assert answer.json() == {"version": "1"}
                assert not any(re.match(OURS, name) for name in answer.headers)
        assert await router.confirm(routes)
        assert _requests(await _total(router, 3)) == 3
        assert [path for path in self.private(router) if path.stat().st_mode & 0o077] == []

    async def test_what_the_visitor_is_said_to_be(self, router: Router) -> None:
        """Who it is and what it asked for, as a proxy on this machine tells it; the application sees Host, and nothing of ours."""
        told = ("X-Accel-Redirect: /@again", "Server: mine")
        async with Instance("1", size=2, headers=told) as shop:
            address = shop.address.replace("127.0.0.1", "localhost")
            await put(router, Routes({"blue": (address,), "green": ()}, 0, "blue"))
            async with visitor(router.address) as client:
                sent = {"Host": "shop.test:81", "X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"}
                answer = await client.get("/", headers=sent)
            assert (answer.text, answer.headers["server"]) == ("xx", "mine")
            (head,) = (each.lower() for each in shop.heads)
        proto, visitors = ("https", "9.9.9.9, 127.0.0.1") if self.believes else ("http", "127.0.0.1")
        told_of = (("host", "shop.test:81"), ("x-forwarded-proto", proto), ("x-forwarded-for", visitors))
        for name, value in told_of:  # a header that stands there twice is one list
            assert ", ".join(re.findall(rf"\r\n{name}: (.*)(?=\r\n)", head)) == value
        assert not re.search(OURS, head)

    async def test_hosts_have_names(self, router: Router, upstreams: Upstreams) -> None:
        """They are told as they were given; and where we look them up, one that is unknown changes nothing."""
        named: Upstreams = {
            slot: tuple(each.replace("127.0.0.1", "localhost") for each in group) for slot, group in upstreams.items()
        }
        before = Routes(named, 5000, "blue")
        await put(router, before)
        await _visit(router, 10)
        if not self.looks_up_names:
            with pytest.raises(BadInputError) as caught:
                await router.apply(Routes({"blue": ("no-such-host.invalid:80",), "green": ()}, 0, "blue"), fence=2)
            assert caught.value.code == "router.unknown-host"
        seen = await router.observe()
        assert (seen.routes, seen.fence) == (before, 1)


def _write(router: Router, upstreams: Upstreams, first: int) -> None:
    """Apply every second fence, in a process of its own."""

    async def write() -> None:
        for fence in range(first, WRITES + 1, 2):
            with contextlib.suppress(StaleFenceError):
                await router.apply(Routes(upstreams, fence * 100, "blue"), fence=fence)

    asyncio.run(write())


async def _visit(router: Router, requests: int) -> None:
    async with visitor(router.address) as client:
        assert {(await client.get("/")).status_code for _ in range(requests)} == {200}


async def _total(router: Router, requests: int) -> Counts:
    """The counts once they have as many requests, or more."""
    return await counted(router, lambda counts: _requests(counts) >= requests)


def _requests(counts: Counts) -> int:
    return sum(b.requests for b in counts.buckets)


def _errors(counts: Counts) -> int:
    return sum(b.errors for b in counts.buckets)
