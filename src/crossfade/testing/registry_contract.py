"""What every registry must do: subclass `RegistryContract` in a test file to prove an adapter."""
# ruff: noqa: S101 - a contract suite is tests, and its numbers are counts of artifacts

from __future__ import annotations

import asyncio
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence

import pytest

from crossfade.artifacts.port import (
    Artifact,
    ConflictError,
    Coordinate,
    MissingError,
    Published,
    RefusedError,
    Registry,
    Withdrawal,
)
from crossfade.core.errors import CrossfadeError, UnreachableError

DEADLINE = 120.0
"""Seconds after which a test gives up waiting; nothing is measured by it."""
REASON = "Loses the last item of a cart; use the version before"


class RegistryContract(ABC):
    """The promises of the Registry port, on an adapter's real product.

    A subclass hands out a fixture `registry`, whose server may live as long as it likes: every test publishes under a name
    of its own. It says how its world is touched from outside.
    """

    older, newer = "1.0.0", "1.1.0"
    """Two versions, as the registry writes them."""
    tag = "stable"
    """A name that may move from version to version, where there are any."""
    pinned: str | None = None
    """A name that, once it leads to `newer`, does not lead to `older` because somebody asks for that; None: there is none."""

    @abstractmethod
    def artifact(self, at: Coordinate, content: bytes) -> Artifact:
        """A small artifact with `content` in it: the same arguments make the same bytes."""

    @abstractmethod
    def again(self, registry: Registry) -> Registry:
        """The same registry, seen by a Crossfade that was started anew."""

    @abstractmethod
    def stranger(self, registry: Registry, secret: str) -> Registry | None:
        """The same registry with `secret` as password or token, which is wrong; None when everybody may publish there."""

    @abstractmethod
    def stop(self, registry: Registry) -> Awaitable[None]:
        """Kill the server (SIGKILL)."""

    @abstractmethod
    def start(self, registry: Registry) -> Awaitable[None]:
        """Start it again at the same address, with what it had stored."""

    @abstractmethod
    def tamper(self, registry: Registry, artifact: Artifact) -> Awaitable[None]:
        """Change a byte of the published artifact where the server stores it, with the server not noticing."""

    def named(self, stem: str) -> str:
        """A name that the registry takes, made of `stem` (letters, digits, hyphens)."""
        return stem

    @pytest.fixture
    def name(self, request: pytest.FixtureRequest) -> str:
        """A name of the test's own."""
        stem = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.lower().removeprefix("test_")).strip("-")
        return self.named(stem)

    async def test_what_is_absent_has_no_entry(self, registry: Registry, name: str) -> None:
        """Asking is no fault, and nothing is invented."""
        assert dict(await registry.find([Coordinate(name, self.older)])) == {}
        assert dict(await registry.find([])) == {}

    async def test_uploaded_verified_tagged(self, registry: Registry, name: str) -> None:
        """The way of an artifact; a Crossfade that was started anew sees the same."""
        it = self.artifact(Coordinate(name, self.older), b"one")
        await registry.upload(it)
        found = await self.found(registry, it.at)
        assert found.integrity
        assert found.withdrawn is None
        verified = await registry.verify(it)
        assert (verified.at, dict(verified.integrity)) == (it.at, dict(found.integrity))
        if registry.capabilities.tags:
            await registry.tag(it.at, [self.tag])
            assert self.tag in (await self.found(registry, it.at)).tags
        assert await self.found(self.again(registry), it.at) == await self.found(registry, it.at)

    async def test_the_same_again_changes_nothing(self, registry: Registry, name: str) -> None:
        """A retry after a crash is harmless, at every step."""
        it = self.artifact(Coordinate(name, self.older), b"one")
        seen = []
        for each in (registry, registry, self.again(registry)):
            await each.upload(it)
            await each.verify(it)
            if registry.capabilities.tags:
                await each.tag(it.at, [self.tag])
            seen.append(await self.found(registry, it.at))
        assert seen[0] == seen[1] == seen[2]

    async def test_other_bytes_are_refused(self, registry: Registry, name: str) -> None:
        """What is published stays, and both sides are told apart."""
        at = Coordinate(name, self.older)
        first, second = self.artifact(at, b"one"), self.artifact(at, b"two")
        await registry.upload(first)
        before = await self.found(registry, at)
        for each in (registry, self.again(registry)):
            with pytest.raises(ConflictError) as caught:
                await each.upload(second)
            assert str(at.version) in caught.value.what
            with pytest.raises(ConflictError):
                await each.verify(second)
        assert await self.found(registry, at) == before
        await registry.verify(first)

    async def test_absent_bytes_cannot_be_verified(self, registry: Registry, name: str) -> None:
        """Neither of a thing that is unknown nor of a version that is."""
        with pytest.raises(MissingError):
            await registry.verify(self.artifact(Coordinate(name, self.older), b"one"))
        await registry.upload(self.artifact(Coordinate(name, self.older), b"one"))
        with pytest.raises(MissingError):
            await registry.verify(self.artifact(Coordinate(name, self.newer), b"one"))

    async def test_changed_bytes_are_seen(self, registry: Registry, name: str) -> None:
        """Every byte is read back: what the registry says about it is not enough."""
        it = self.artifact(Coordinate(name, self.older), bytes(range(256)) * 40)
        await registry.upload(it)
        await registry.verify(it)
        await self.tamper(registry, it)
        with pytest.raises(ConflictError):
            await self.again(registry).verify(it)

    async def test_two_at_the_same_time(self, registry: Registry, name: str) -> None:
        """Two machines publish the same thing: both are content, and it is there once."""
        it = self.artifact(Coordinate(name, self.older), b"one" * 10_000)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(self.again(registry).upload(it) for _ in range(2)))
        await registry.verify(it)

    async def test_a_crash_before_the_tag_is_resumed(self, registry: Registry, name: str) -> None:
        """The next Crossfade finds the artifact without its tag, and goes on from there."""
        self.needs_tags(registry)
        it = self.artifact(Coordinate(name, self.older), b"one")
        await registry.upload(it)
        later = self.again(registry)
        assert self.tag not in (await self.found(later, it.at)).tags
        await later.upload(it)
        await later.verify(it)
        await later.tag(it.at, [self.tag])
        assert self.tag in (await self.found(registry, it.at)).tags

    async def test_an_upload_moves_no_tag(self, registry: Registry, name: str) -> None:
        """Those who follow a tag get the new version only when the tag is moved."""
        self.needs_tags(registry)
        older, newer = await self.both(registry, name)
        assert self.tag in (await self.found(registry, older)).tags
        assert self.tag not in (await self.found(registry, newer)).tags

    async def test_a_tag_moves(self, registry: Registry, name: str) -> None:
        """It leads to one version at a time, and asking twice changes nothing."""
        self.needs_tags(registry)
        older, newer = await self.both(registry, name)
        for _ in range(2):
            await registry.tag(newer, [self.tag])
            assert self.tag in (await self.found(registry, newer)).tags
            assert self.tag not in (await self.found(registry, older)).tags

    async def test_a_tag_leads_to_what_is_there(self, registry: Registry, name: str) -> None:
        """A version that is absent gets none, and the tag stays where it is."""
        self.needs_tags(registry)
        older = self.artifact(Coordinate(name, self.older), b"one")
        await registry.upload(older)
        await registry.tag(older.at, [self.tag])
        with pytest.raises(MissingError):
            await registry.tag(Coordinate(name, self.newer), [self.tag])
        assert self.tag in (await self.found(registry, older.at)).tags

    async def test_a_tag_that_must_not_move(self, registry: Registry, name: str) -> None:
        """It stays, whoever asks."""
        self.needs_tags(registry)
        if self.pinned is None:
            pytest.skip("every tag may move here")
        older, newer = await self.both(registry, name)
        await registry.tag(newer, [self.pinned])
        with pytest.raises(ConflictError):
            await self.again(registry).tag(older, [self.pinned])
        assert self.pinned in (await self.found(registry, newer)).tags
        assert self.pinned not in (await self.found(registry, older)).tags

    async def test_many_are_found_at_once(self, registry: Registry, name: str) -> None:
        """Two hundred questions, three of which have an answer."""
        there = [self.artifact(Coordinate(name, version), b"one") for version in (self.older, self.newer)]
        there.append(self.artifact(Coordinate(f"{name}-7", self.older), b"two"))
        for each in there:
            await registry.upload(each)
        wanted = [Coordinate(f"{name}-{index}", self.older) for index in range(198)]
        wanted += [Coordinate(name, self.older), Coordinate(name, self.newer)]
        found = await self.again(registry).find(wanted)
        assert set(found) == {each.at for each in there}
        assert all(published.at == at and published.integrity for at, published in found.items())

    async def test_a_version_is_withdrawn(self, registry: Registry, name: str) -> None:
        """Its tags lead to the one before, its readers see why, its bytes stay, and what is left is said."""
        older, newer = await self.both(registry, name)
        if registry.capabilities.tags:
            await registry.tag(newer, [self.tag])
        said = await registry.withdraw(newer, reason=REASON, back_to=older)
        assert all((*said.done, *said.left))
        assert said.left, "the bytes stay published: that is said"
        await registry.verify(self.artifact(newer, b"newer"))
        self.check_withdrawn(registry, said, await self.found(registry, newer))
        if registry.capabilities.tags:
            assert self.tag in (await self.found(registry, older)).tags
        assert (await self.found(registry, older)).withdrawn is None

    async def test_withdrawn_twice(self, registry: Registry, name: str) -> None:
        """The second time there is nothing to do, and the version before stays where it is."""
        older, newer = await self.both(registry, name)
        if registry.capabilities.tags:
            await registry.tag(newer, [self.tag])
        await registry.withdraw(newer, reason=REASON, back_to=older)
        before = [await self.found(registry, at) for at in (older, newer)]
        again = await self.again(registry).withdraw(newer, reason=REASON, back_to=older)
        assert again.done == ()
        assert [await self.found(registry, at) for at in (older, newer)] == before

    async def test_withdrawn_with_nothing_before_it(self, registry: Registry, name: str) -> None:
        """The only version is taken back as far as that goes."""
        it = self.artifact(Coordinate(name, self.older), b"one")
        await registry.upload(it)
        if registry.capabilities.tags:
            await registry.tag(it.at, [self.tag])
        said = await registry.withdraw(it.at, reason=REASON, back_to=None)
        assert said.left
        self.check_withdrawn(registry, said, await self.found(registry, it.at))

    async def test_what_is_absent_cannot_be_withdrawn(self, registry: Registry, name: str) -> None:
        """Nor can its tags lead to something that is absent: then nothing is changed."""
        older, newer = Coordinate(name, self.older), Coordinate(name, self.newer)
        with pytest.raises(MissingError):
            await registry.withdraw(newer, reason=REASON, back_to=None)
        it = self.artifact(newer, b"newer")
        await registry.upload(it)
        before = await self.found(registry, newer)
        with pytest.raises(MissingError):
            await registry.withdraw(newer, reason=REASON, back_to=older)
        assert await self.found(registry, newer) == before

    async def test_a_stranger_is_refused(self, registry: Registry, name: str) -> None:
        """The error says so, and not what the secret is; nothing is published."""
        secret = "this-secret-is-wrong-4711"  # noqa: S105 - it is no secret, and must not be shown all the same
        stranger = self.stranger(registry, secret)
        if stranger is None:
            pytest.skip("everybody may publish here")
        it = self.artifact(Coordinate(name, self.older), b"one")
        with pytest.raises(RefusedError) as caught:
            await stranger.upload(it)
        assert caught.value.next
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.as_json())
        assert dict(await registry.find([it.at])) == {}

    async def test_an_unreachable_registry_is_told(self, registry: Registry, name: str) -> None:
        """Every question and every order says so, and afterwards all is as before."""
        it = self.artifact(Coordinate(name, self.older), b"one")
        await registry.upload(it)
        before = await self.found(registry, it.at)
        await self.stop(registry)
        try:
            later = self.again(registry)
            orders = [later.find([it.at]), later.upload(it), later.verify(it)]
            if registry.capabilities.tags:
                orders.append(later.tag(it.at, [self.tag]))
            for answer in await asyncio.gather(*orders, return_exceptions=True):
                assert isinstance(answer, UnreachableError)
                assert answer.retry
        finally:
            await self.start(registry)
        assert await self.found(self.again(registry), it.at) == before

    async def test_a_server_that_is_killed_midway(self, registry: Registry, name: str) -> None:
        """Whatever the moment: the same command, run again, brings it to its end."""
        content = random.Random(7).randbytes(4_000_000)  # noqa: S311 - bytes that do not compress
        it = self.artifact(Coordinate(name, self.older), content)
        under_way = asyncio.ensure_future(registry.upload(it))
        await asyncio.sleep(0.03)
        await self.stop(registry)
        try:
            await asyncio.wait([under_way], timeout=0.2)
            under_way.cancel()
            (outcome,) = await asyncio.gather(under_way, return_exceptions=True)
            assert outcome is None or isinstance(outcome, CrossfadeError | asyncio.CancelledError)
        finally:
            await self.start(registry)
        later = self.again(registry)
        async with asyncio.timeout(DEADLINE):
            await later.upload(it)
            await later.verify(it)

    @staticmethod
    async def found(registry: Registry, at: Coordinate) -> Published:
        """What is there of `at`, which must be there."""
        return (await registry.find([at]))[at]

    async def both(self, registry: Registry, name: str) -> Sequence[Coordinate]:
        """The coordinates of `older`, which has the tag, and of `newer`, which came after it."""
        older = self.artifact(Coordinate(name, self.older), b"older")
        newer = self.artifact(Coordinate(name, self.newer), b"newer")
        await registry.upload(older)
        if registry.capabilities.tags:
            await registry.tag(older.at, [self.tag])
        await registry.upload(newer)
        return older.at, newer.at

    @staticmethod
    def needs_tags(registry: Registry) -> None:
        """Skip where there are none."""
        if not registry.capabilities.tags:
            pytest.skip("there are no tags here")

    @staticmethod
    def check_withdrawn(registry: Registry, said: Withdrawal, now: Published) -> None:
        """What a withdrawal left behind is what the registry's capabilities promise."""
        match registry.capabilities.withdraws:
            case "deprecate" | "yank":
                assert said.done
                assert now.withdrawn == REASON
            case "nothing":
                assert said.done == ()
                assert now.withdrawn is None
            case "re-point":
                assert now.withdrawn == REASON
            case "re-tag":
                assert now.withdrawn is None
