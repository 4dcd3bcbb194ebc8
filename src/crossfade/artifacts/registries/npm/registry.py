"""The npm adapter: it looks, uploads under a name that nobody follows, reads back, and lets dist-tags lead to it."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from crossfade.artifacts.credentials import bearer, resolve
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.npm_names import checked_name
from crossfade.artifacts.port import (
    Artifact,
    Capabilities,
    ConflictError,
    Coordinate,
    MissingError,
    Published,
    RefusedError,
    Withdrawal,
)
from crossfade.artifacts.registries.npm.dist_tags import is_range, leads_back
from crossfade.artifacts.registries.npm.package import Package
from crossfade.artifacts.registries.npm.packument import STAGE, Packument, Version
from crossfade.artifacts.side_by_side import together
from crossfade.config.publishing import NpmRegistry as Settings
from crossfade.core.clock import Clock
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

_ABBREVIATED = {"accept": "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8"}
_CONFLICT = 409


class NpmRegistry:
    """One registry that speaks npm's protocol. The owner of `client` closes it; `of` makes one, closed by `aclose`."""

    def __init__(self, client: RegistryClient, *, access: str = "public") -> None:
        self._client, self._access = client, access

    @classmethod
    def of(
        cls,
        name: str,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> Self:
        """The registry called `name` in the file; its token is read from `environ`."""
        token = settings.token
        login = None
        if token is not None:
            login = bearer(resolve(token, environ, where=f"registries.{name}.token"), token.env)
        manners = Manners.of(settings)
        client = RegistryClient(name, settings.url, login=login, manners=manners, clock=clock, chance=chance)
        return cls(client, access=settings.access)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @property
    def capabilities(self) -> Capabilities:
        """Dist-tags, and deprecation."""
        return Capabilities(kind="npm", tags=True, withdraws="deprecate")

    async def find(self, wanted: Sequence[Coordinate]) -> Mapping[Coordinate, Published]:
        """What is there of `wanted`: one request for each package, many at once."""
        names = list(dict.fromkeys(at.name for at in wanted))
        packages = dict(zip(names, await together(*(self._package(name) for name in names)), strict=True))
        found = {at: package.published(at) for at in wanted if (package := packages[at.name]) is not None}
        return {at: published for at, published in found.items() if published is not None}

    async def upload(self, artifact: Artifact) -> None:
        """Publish the artifact's tarball; no dist-tag that people follow moves."""
        package = await asyncio.to_thread(Package.read, artifact)
        if await self._is_there(package):
            return
        document = package.document(str(self._client.url), self._access)
        try:
            # A second one does no harm: a version that is there is never overwritten, and we look at what it is.
            answer = await self._client.request(
                "PUT", _path(package.at.name), json=document, expect=(_CONFLICT,), repeatable=True
            )
        except UnreachableError:
            raise
        except CrossfadeError:
            # Registries have many words for "it is there already", some of which sound like a refusal.
            if await self._is_there(package):
                return
            raise
        if answer.missing:
            raise RefusedError(
                "registry.refused",
                f"{self._client.name} does not know where to put {package.at}: there is no such scope, or none for this token",
                where=self._client.where,
                next="check the package's scope, and that the token may publish to it",
            )
        await self._appears(package, taken=answer.status != _CONFLICT)

    async def verify(self, artifact: Artifact) -> Published:
        """Read the tarball back and compare every byte of it."""
        package = await asyncio.to_thread(Package.read, artifact)
        document, version = await self._version(package.at)
        self._compare(package, version)
        read = await self._client.digests(version.tarball, ("sha512", "sha1"))
        if read is None:
            raise MissingError(
                "npm.no-tarball",
                f"{package.at} is listed, but its tarball is not there",
                where=version.tarball,
                next="ask those who run the registry; run the same command again when it is back",
            )
        integrity = "sha512-" + base64.b64encode(bytes.fromhex(read["sha512"])).decode()
        if (integrity, read["sha1"]) != (package.integrity, package.shasum):
            raise self._differs(package, f"its tarball reads back as {integrity}")
        published = document.published(package.at)
        assert published is not None  # noqa: S101 - for mypy: `_version` has seen it in this document
        return published

    async def tag(self, at: Coordinate, tags: Sequence[str]) -> None:
        """Let dist-tags lead to a version. One that leads to a newer version stays there: ConflictError."""
        document, _ = await self._version(at)
        for tag in tags:
            self._check_move(document, tag, at)
        for tag in tags:
            if document.set_tags.get(tag) != at.version:
                await self._lead(tag, at)
        if document.staged is not None:
            # Only tidiness: a registry that does not let us leaves a name that nobody follows.
            with suppress(CrossfadeError):
                await self._drop(STAGE, at.name)

    async def withdraw(self, at: Coordinate, *, reason: str, back_to: Coordinate | None) -> Withdrawal:
        """Dist-tags go back first, so that new installs are well at once; then every reader sees `reason`.

        The protocol replaces the package's whole document to deprecate a version, and not every registry notices that it has
        changed meanwhile: do not publish a version of the same package at the same moment.
        """
        document, version = await self._version(at)
        if back_to is not None:
            self._check_way_back(document, at, back_to)
        done, left = await self._lead_back(document, at, back_to)
        if version.deprecated != reason:
            await self._deprecate(at, reason)
            done.append(f"{at} is deprecated: whoever installs it is told why")
        left.append(f"{at} can still be installed by those who ask for exactly it, as lock files do")
        return Withdrawal(tuple(done), tuple(left))

    async def _lead_back(
        self, document: Packument, at: Coordinate, back_to: Coordinate | None
    ) -> tuple[list[str], list[str]]:
        done, left = [], []
        for tag in sorted(document.tags_of(at.version)):
            if back_to is not None:
                await self._lead(tag, back_to)
                done.append(f"dist-tag {tag} leads to {back_to}")
            elif tag == "latest":
                left.append(
                    f"dist-tag latest still leads to {at}: a package has one, and there is no version to go back to"
                )
            else:
                await self._drop(tag, at.name)
                done.append(f"dist-tag {tag} was removed")
        return done, left

    async def _package(self, name: str, *, fresh: bool = False) -> Packument | None:
        """What the registry has of a package. `fresh` asks past the caches in front of it."""
        checked_name(name, where=self._client.where)
        path = _path(name) + ("?write=true" if fresh else "")
        answer = await self._client.request("GET", path, headers=_ABBREVIATED)
        return None if answer.missing else Packument.of(name, answer.json())

    async def _version(self, at: Coordinate) -> tuple[Packument, Version]:
        document = await self._package(at.name, fresh=True)
        if document is None or at.version not in document.versions:
            raise MissingError(
                "npm.missing", f"{at} is not published", where=self._client.where, next=f"publish {at} first"
            )
        return document, document.versions[at.version]

    async def _is_there(self, package: Package) -> bool:
        """Whether exactly this is published; ConflictError when something else is."""
        document = await self._package(package.at.name, fresh=True)
        version = document.versions.get(package.at.version) if document else None
        if version is None:
            return False
        self._compare(package, version)
        return True

    async def _appears(self, package: Package, *, taken: bool) -> None:
        """Wait until the version is listed: registries take a while, and another upload may be about to end."""
        for attempt in range(1, self._client.manners.attempts + 1):
            if await self._is_there(package):
                return
            await self._client.pause(attempt)
        if taken:
            raise MissingError(
                "npm.not-listed",
                f"{self._client.name} took {package.at} and does not list it yet",
                where=self._client.where,
                next="run the same command again in a minute: it goes on where it stopped",
                retry=True,
            )
        raise CrossfadeError(
            "npm.half-published",
            f"{self._client.name} has a tarball of {package.at} and no version for it, as an upload leaves it that it was killed in",
            where=self._client.where,
            next="ask those who run the registry to remove that tarball, then run the same command again",
            retry=True,
        )

    def _compare(self, package: Package, version: Version) -> None:
        known = version.integrity if version.integrity.startswith("sha512-") else version.shasum
        if known not in (package.integrity, package.shasum):
            raise self._differs(package, f"published is {known}")

    def _differs(self, package: Package, found: str) -> ConflictError:
        return ConflictError(
            "registry.differs",
            f"{package.at} is published with other bytes: {found}, ours is {package.integrity}",
            where=self._client.where,
            next="a version never changes: give these bytes a new version, or find out who published the other ones",
        )

    def _check_move(self, document: Packument, tag: str, at: Coordinate) -> None:
        if is_range(tag):
            raise BadInputError(
                "npm.bad-tag",
                f"{tag!r} cannot be a dist-tag: clients read it as a range of versions",
                where=f"registries.{self._client.name}.tag",
                next="choose a word, such as release-1",
            )
        now = document.set_tags.get(tag)
        there = document.versions.get(now) if now else None
        if now and there and there.deprecated is None and leads_back(tag, now, at.version):
            raise ConflictError(
                "npm.tag-goes-back",
                f"dist-tag {tag} of {at.name} leads to {now} and is not taken back to {at.version}",
                where=self._client.where,
                next=f"give releases of an older line a dist-tag of their own (`registries.{self._client.name}.tag`),"
                f" or withdraw {now}",
            )

    def _check_way_back(self, document: Packument, at: Coordinate, back_to: Coordinate) -> None:
        if back_to.name != at.name or back_to == at:
            raise BadInputError(
                "npm.bad-way-back", f"{at} cannot be replaced by {back_to}", next="name another version"
            )
        version = document.versions.get(back_to.version)
        if version is None:
            raise MissingError(
                "npm.missing", f"{back_to} is not published", where=self._client.where, next="name a version that is"
            )
        if version.deprecated is not None:
            raise BadInputError(
                "npm.bad-way-back",
                f"{back_to} is withdrawn itself: {version.deprecated}",
                where=self._client.where,
                next="name a version that is not",
            )

    async def _lead(self, tag: str, at: Coordinate) -> None:
        await self._write("PUT", f"-/package/{_path(at.name)}/dist-tags/{tag}", at.name, at.version)

    async def _drop(self, tag: str, name: str) -> None:
        await self._client.request("DELETE", f"-/package/{_path(name)}/dist-tags/{tag}", repeatable=True)

    async def _deprecate(self, at: Coordinate, reason: str) -> None:
        """Put the package's own document back with the reason in it; once more when it has changed meanwhile."""
        for attempt in range(1, self._client.manners.attempts + 1):
            answer = await self._client.request("GET", f"{_path(at.name)}?write=true")
            document = answer.json()
            document["versions"][at.version]["deprecated"] = reason
            document["_attachments"] = {}
            if await self._write("PUT", _path(at.name), at.name, document) != _CONFLICT:
                return
            await self._client.pause(attempt)
        raise CrossfadeError(
            "npm.busy-package",
            f"{at} could not be deprecated: its package is changed by others all the time",
            where=self._client.where,
            next="run the same command again",
            retry=True,
        )

    async def _write(self, method: str, path: str, name: str, value: Any) -> int:
        answer = await self._client.request(method, path, json=value, expect=(_CONFLICT,), repeatable=True)
        if answer.missing:
            raise MissingError(
                "npm.missing", f"{name} is not published", where=self._client.where, next="publish it first"
            )
        return answer.status


def _path(name: str) -> str:
    """A package's name in an address: the scope's slash is escaped.

    >>> _path("@navi/core")
    '@navi%2fcore'
    """
    return name.replace("/", "%2f")
