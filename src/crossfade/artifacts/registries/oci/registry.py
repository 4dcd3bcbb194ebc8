"""The adapter: a registry of container images as a place where artifacts are published."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from crossfade.artifacts.credentials import Login, basic, resolve
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import (
    Artifact,
    Capabilities,
    ConflictError,
    Coordinate,
    MissingError,
    Published,
    Withdrawal,
)
from crossfade.artifacts.registries.oci.layout import HOW, Image, Manifest, read_layout
from crossfade.artifacts.registries.oci.manifest import Descriptor
from crossfade.artifacts.registries.oci.names import checked_tag, never_moved, repository_of, version_tags
from crossfade.artifacts.registries.oci.repository import CHUNK, Repository
from crossfade.artifacts.registries.oci.session import Session
from crossfade.artifacts.side_by_side import a_few_at_once, together
from crossfade.core.errors import BadInputError

if TYPE_CHECKING:
    from crossfade.config.publishing import OciRegistry as Settings

_SIDE_BY_SIDE = 4
"""Blobs of one image that are on their way at once."""


class OciRegistry:
    """A registry of images at the client's base address.

    `repository` is the scheme of repositories. `version_tag` gives the tag that is the version: where it leads, the
    version is. `immutable` tells which tags are never moved; version tags never are. `chunk` is the size of the pieces
    in which large blobs are sent, in bytes.
    """

    capabilities = Capabilities(kind="oci", tags=True, withdraws="re-tag")

    def __init__(
        self,
        client: RegistryClient,
        *,
        version_tag: Callable[[Coordinate], str],
        immutable: Callable[[str], bool],
        repository: str = "{name}",
        chunk: int = CHUNK,
    ) -> None:
        self._client = client
        self._session = Session(client)
        self._repository, self._chunk = repository, chunk
        self._version_tag, self._immutable = version_tag, immutable

    @classmethod
    def of(
        cls,
        name: str,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        schemes: Sequence[str] = (),
        version_tag: Callable[[Coordinate], str] | None = None,
    ) -> Self:
        """The registry `name` of the file; secrets are taken from `environ` (BadInputError names one that is missing).

        `schemes` are further schemes of tags that are in use, such as the `image_tags` of environments; `version_tag`
        replaces the one that follows from the file.
        """
        login = _login(name, settings, environ)
        return cls(
            RegistryClient(name, settings.url, login=login, manners=Manners.of(settings)),
            version_tag=version_tag or version_tags(settings.tags, settings.prerelease_tags),
            immutable=never_moved((*settings.tags, *settings.prerelease_tags, *schemes)),
            repository=settings.repository,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find(self, wanted: Sequence[Coordinate]) -> Mapping[Coordinate, Published]:
        """What is there of `wanted`: a version is, when its tag is.

        Of immutable tags only those that hold a wanted version are asked where they lead; all others are.
        """
        each = tuple(dict.fromkeys(wanted))
        digests = await together(*(self._at(at).digest(self._tag_of(at)) for at in each))
        there = {at: digest for at, digest in zip(each, digests, strict=True) if digest is not None}
        leading = await self._leading(there)
        return {
            at: Published(at, {"manifest": digest}, leading[self._at(at).name].get(digest, frozenset()))
            for at, digest in there.items()
        }

    async def upload(self, artifact: Artifact) -> None:
        """Send the blobs and manifests that are missing, then let the version's tag lead to them. No other tag moves.

        An image that lost some of its blobs in the registry gets them back. Registries have no compare-and-swap: should
        two different images be published as one version at the same instant, one of both sides has a ConflictError.
        """
        image = await _read(artifact)
        here, tag = self._at(artifact.at), self._tag_of(artifact.at)
        self._same(artifact.at, image, await here.digest(tag))
        await a_few_at_once(_SIDE_BY_SIDE, lambda blob: here.push_blob(*blob), image.blobs.items())
        for manifest in image.manifests:
            if await here.digest(manifest.at.digest) is None:
                await here.put(manifest.at.digest, manifest)
        if self._same(artifact.at, image, await here.digest(tag)):
            return
        await here.put(tag, image.root)
        self._same(artifact.at, image, await here.digest(tag))

    async def verify(self, artifact: Artifact) -> Published:
        """Read every manifest and every blob back, and compare it with ours."""
        image = await _read(artifact)
        here = self._at(artifact.at)
        if not self._same(artifact.at, image, await here.digest(self._tag_of(artifact.at))):
            raise self._missing(artifact.at)

        async def compare(blob: Descriptor) -> None:
            found = await here.read_blob(blob)
            if found != blob.digest:
                raise here.damaged(blob.digest, found)

        for manifest in image.manifests:
            if await here.manifest(manifest.at.digest) is None:
                raise self._missing(artifact.at, f"its manifest {manifest.at.digest} is not there")
        await a_few_at_once(_SIDE_BY_SIDE, compare, image.blobs)
        digest = image.root.at.digest
        leading = await self._leading({artifact.at: digest})
        return Published(artifact.at, {"manifest": digest}, leading[here.name].get(digest, frozenset()))

    async def tag(self, at: Coordinate, tags: Sequence[str]) -> None:
        """Let the tags lead to this version. A tag that may not move is found before any other one is moved."""
        here = self._at(at)
        manifest = await here.manifest(self._tag_of(at))
        if manifest is None:
            raise self._missing(at)
        named = [checked_tag(tag) for tag in dict.fromkeys(tags)]
        leads = dict(zip(named, await together(*(here.digest(tag) for tag in named)), strict=True))
        for tag, digest in leads.items():
            if digest not in (None, manifest.at.digest) and self._stays(tag):
                raise ConflictError(
                    "oci.tag-taken",
                    f"the tag {tag} is never moved, and it leads to another image than {at}: {digest}",
                    where=f"{self._client.where}, repository {here.name}",
                    next="release a new version; whoever pulled this tag relies on what it led to",
                )
        for tag in sorted(named, key=lambda tag: not self._stays(tag)):
            if leads[tag] != manifest.at.digest:
                await here.put(tag, manifest)

    async def withdraw(self, at: Coordinate, *, reason: str, back_to: Coordinate | None) -> Withdrawal:
        """Let the floating tags that lead to it lead to `back_to`; no blob is moved and nothing is deleted.

        An immutable tag stays, and so does a floating one when there is no version to go back to.
        """
        here = self._at(at)
        digest = await here.digest(self._tag_of(at))
        if digest is None:
            raise self._missing(at)
        older = await self._older(here, at, back_to) if back_to else None
        leading = (await self._leading({at: digest}))[here.name].get(digest, frozenset())
        floating = sorted(tag for tag in leading if not self._stays(tag, at))
        if older is None:
            nowhere = (f"{here.name}:{tag} still leads to {at}: there is no version to go back to" for tag in floating)
            return Withdrawal((), (*nowhere, *self._what_stays(here, at, reason)))
        if older.at.digest == digest:
            return Withdrawal((), (f"{at} and {back_to} are one and the same image, so no tag was moved",))
        for tag in floating:
            await here.put(tag, older)
        moved = tuple(f"{here.name}:{tag} leads to {back_to} again" for tag in floating)
        return Withdrawal(moved, self._what_stays(here, at, reason))

    async def _older(self, here: Repository, at: Coordinate, back_to: Coordinate) -> Manifest:
        if self._at(back_to).name != here.name:
            raise BadInputError(
                "oci.other-repository",
                f"{back_to} is in another repository than {at}",
                where=self._client.where,
                next="go back to a version of the same component",
            )
        older = await here.manifest(self._tag_of(back_to))
        if older is None:
            raise self._missing(back_to)
        return older

    def _what_stays(self, here: Repository, at: Coordinate, reason: str) -> tuple[str, str]:
        kept = (
            f"{here.name}:{self._tag_of(at)} stays, as every tag that is never moved: whoever pulls it still gets {at}"
        )
        return kept, f"a registry of images shows nobody a reason; tell those who run {at}: {reason}"

    async def _leading(self, there: Mapping[Coordinate, str]) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """For each repository of the versions `there`, the tags that lead to each digest."""
        versions: defaultdict[str, set[str]] = defaultdict(set)
        for at in there:
            versions[self._at(at).name].add(at.version.replace("+", "_"))
        names = list(versions)
        found = await together(*(self._tags_of(name, versions[name]) for name in names))
        return dict(zip(names, found, strict=True))

    async def _tags_of(self, name: str, versions: Iterable[str]) -> Mapping[str, frozenset[str]]:
        here = Repository(self._session, name, chunk=self._chunk)
        tags = [
            tag for tag in await here.tags() if not self._immutable(tag) or any(version in tag for version in versions)
        ]
        digests = await together(*(here.digest(tag) for tag in tags))
        leading: defaultdict[str, set[str]] = defaultdict(set)
        for tag, digest in zip(tags, digests, strict=True):
            if digest is not None:
                leading[digest].add(tag)
        return {digest: frozenset(each) for digest, each in leading.items()}

    def _same(self, at: Coordinate, image: Image, digest: str | None) -> bool:
        """Whether the version is there; ConflictError when its tag leads to another image."""
        if digest not in (None, image.root.at.digest):
            raise ConflictError(
                "oci.conflict",
                f"{at} is published with another image: {digest} there, {image.root.at.digest} here",
                where=f"{self._client.where}, repository {self._at(at).name}",
                next="publish the changed image under a new version",
            )
        return digest is not None

    def _missing(self, at: Coordinate, why: str = "its tag leads nowhere") -> MissingError:
        return MissingError(
            "oci.missing",
            f"{at} is not in the registry: {why}",
            where=f"{self._client.where}, repository {self._at(at).name}",
            next="publish it: what is missing is uploaded, and nothing else",
        )

    def _at(self, at: Coordinate) -> Repository:
        return Repository(self._session, repository_of(self._repository, at.name), chunk=self._chunk)

    def _tag_of(self, at: Coordinate) -> str:
        return checked_tag(self._version_tag(at))

    def _stays(self, tag: str, at: Coordinate | None = None) -> bool:
        return self._immutable(tag) or (at is not None and tag == self._tag_of(at))


async def _read(artifact: Artifact) -> Image:
    if len(artifact.files) != 1:
        raise BadInputError(
            "oci.no-layout",
            f"{artifact.at} is made of {len(artifact.files)} files; an image is one layout folder, or one tar of it",
            where=str(artifact.root),
            next=HOW,
        )
    return await asyncio.to_thread(read_layout, artifact.files[0])


def _login(name: str, settings: Settings, environ: Mapping[str, str]) -> Login | None:
    if settings.password is None:
        return None
    place = f"registries.{name}"
    password = resolve(settings.password, environ, where=f"{place}.password")
    if settings.username is None:
        raise BadInputError(
            "oci.no-user",
            "a registry of images needs a user beside the password",
            where=f"{place}.username",
            next="name the variable that holds the user; with a token any word may do, as its documentation says",
        )
    user = resolve(settings.username, environ, where=f"{place}.username")
    return basic(user, password, settings.username.env, settings.password.env)
