"""The adapter: a Python package index as a place where artifacts are published."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from crossfade.artifacts.answers import Answer, FileBody
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
    Secret,
    Withdrawal,
)
from crossfade.artifacts.registries.pypi.distribution import Bytes, Distribution, distributions
from crossfade.artifacts.registries.pypi.form import form_body
from crossfade.artifacts.registries.pypi.simple import (
    ACCEPT,
    IndexFile,
    normal_name,
    read_page,
    same_version,
    version_of,
)
from crossfade.artifacts.side_by_side import together
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

if TYPE_CHECKING:
    from crossfade.config.publishing import PypiRegistry as Settings

_NOT_TAKEN = (400, 409)
"""What indexes answer to a file that they have already, among other things: we look again."""
_NO_FORMS = 405
_TAKE_IT = (":action", "file_upload")
_SHOWN = 300
_Listing = Mapping[str, IndexFile]


class PypiRegistry:
    """An index whose simple API is the client's base address; `upload` is the address that takes the form.

    Versions are PEP 440's, in any spelling: `1.0.0-rc.1` finds 1.0.0rc1.
    """

    capabilities = Capabilities(kind="pypi", tags=False, withdraws="nothing")

    def __init__(self, client: RegistryClient, upload: str | None = None) -> None:
        self._client = client
        self._upload = upload or str(client.url)

    @classmethod
    def of(cls, name: str, settings: Settings, environ: Mapping[str, str]) -> Self:
        """The registry `name` of the file; secrets are taken from `environ` (BadInputError names one that is missing)."""
        login = _login(name, settings, environ)
        client = RegistryClient(name, settings.url, login=login, manners=Manners.of(settings))
        return cls(client, settings.upload)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def find(self, wanted: Sequence[Coordinate]) -> Mapping[Coordinate, Published]:
        """What is there of `wanted`: a version counts as there as soon as one of its files is."""
        names = list(dict.fromkeys(normal_name(at.name) for at in wanted))
        pages = dict(zip(names, await together(*(self._page(name) for name in names)), strict=True))
        listings = {at: _files_of(pages[normal_name(at.name)], at) for at in wanted}
        there = [at for at, files in listings.items() if files]
        found = await together(*(self._published(at, listings[at]) for at in there))
        return dict(zip(there, found, strict=True))

    async def upload(self, artifact: Artifact) -> None:
        """Send the files that are missing, wheels first. ConflictError before the first byte if one of them differs."""
        ours = await asyncio.to_thread(distributions, artifact)
        theirs = await self._listing(artifact.at)
        present = [each for each in ours if each.filename in theirs]
        for each in present:
            await self._compare(each, theirs[each.filename])
        for each in ours:
            if each not in present:
                await self._send(each, artifact.at)

    async def verify(self, artifact: Artifact) -> Published:
        """Download every file and compare it with ours."""
        ours = await asyncio.to_thread(distributions, artifact)
        theirs = await self._listing(artifact.at)
        missing = [each.filename for each in ours if each.filename not in theirs]
        if missing:
            raise MissingError(
                "pypi.missing",
                f"{artifact.at} is not complete in the index: {', '.join(missing)} cannot be found",
                where=self._client.where,
                next="publish it again: what is missing is uploaded, and nothing else",
                retry=True,
            )
        await together(*(self._compare(each, theirs[each.filename], by_bytes=True) for each in ours))
        return await self._published(artifact.at, theirs)

    async def tag(self, at: Coordinate, tags: Sequence[str]) -> None:
        """Python indexes have no tags; BadInputError if any is asked for."""
        if tags:
            raise BadInputError(
                "pypi.no-tags",
                f"an index of Python packages has no tags: {at} cannot be called {', '.join(tags)}",
                where=self._client.where,
                next="leave the tags out; installers choose by version",
            )

    async def withdraw(self, at: Coordinate, *, reason: str, back_to: Coordinate | None) -> Withdrawal:
        """Say what a person has to do: no index lets a program yank, and a version in use is never deleted."""
        there = await self.find([at, back_to] if back_to else [at])
        for each in (at, back_to):
            if each is not None and each not in there:
                raise MissingError(
                    "pypi.missing",
                    f"{each} is not in the index",
                    where=self._client.where,
                    next="check its name and version",
                )
        found = there[at]
        if found.withdrawn is not None:
            return Withdrawal((), (f"{at} is yanked already ({found.withdrawn}); whoever has pinned it still gets it",))
        older = f"; {back_to} is the one to go back to" if back_to else ""
        return Withdrawal(
            (),
            (
                (
                    f"{at} can still be installed from {self._client.where}, and is what `pip install {at.name}` chooses"
                    f" while it is the newest{older}"
                ),
                (
                    f"no index lets a program yank: an owner of {at.name} has to sign in to the index's own pages, open its"
                    f" release {at.version}, and yank it with the reason: {reason}"
                ),
                (
                    "an index that cannot yank (as pypi-server) could only delete it; that is not done, because it breaks"
                    " whoever has pinned it"
                ),
            ),
        )

    async def _listing(self, at: Coordinate) -> _Listing:
        return _files_of(await self._page(normal_name(at.name)), at)

    async def _page(self, name: str) -> tuple[IndexFile, ...]:
        """The project's files; none when the index does not have it, or sends us to another index for it."""
        headers = {"accept": ACCEPT, "cache-control": "max-age=0"}
        answer = await self._client.request("GET", f"{name}/", headers=headers)
        if answer.missing or not _same_site(answer.url, str(self._client.url)):
            return ()
        body = answer.body.decode(errors="replace")
        return read_page(answer.headers.get("content-type", ""), body, answer.url)

    async def _published(self, at: Coordinate, files: _Listing) -> Published:
        digests = await together(*(self._digest(each) for each in files.values()))
        yanked = [each.yanked for each in files.values()]
        integrity = {name: f"sha256:{digest}" for name, digest in zip(files, digests, strict=True)}
        # One file that is not yanked is enough for installers to choose the version.
        return Published(at, integrity, withdrawn=yanked[0] if all(each is not None for each in yanked) else None)

    async def _digest(self, file: IndexFile, *, by_bytes: bool = False) -> str:
        """Its SHA-256: what the index says of it, else of the bytes that it serves."""
        if file.sha256 is not None and not by_bytes:
            return file.sha256
        return (await self._served(file)).digest

    async def _served(self, file: IndexFile) -> Bytes:
        """What the index serves for a file. A connection that breaks is tried again, as often as any request."""
        attempts = self._client.manners.attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self._download(file)
            except UnreachableError as error:
                if attempt == attempts or not error.retry:
                    raise
        raise AssertionError

    async def _download(self, file: IndexFile) -> Bytes:
        size, found = 0, hashlib.sha256()
        async with self._client.stream("GET", file.url, headers={"accept-encoding": "identity"}) as stream:
            if stream.status != 200:  # noqa: PLR2004 - a success with a body
                raise MissingError(
                    "pypi.missing",
                    f"the index lists {file.filename}, and answers {stream.status} for its bytes",
                    where=self._client.where,
                    next="publish it again in a while; ask who runs the index if it stays so",
                    retry=True,
                )
            async for chunk in stream.chunks:
                size += len(chunk)
                found.update(chunk)
        return Bytes(size, found.hexdigest())

    async def _compare(self, ours: Distribution, theirs: IndexFile, *, by_bytes: bool = False) -> None:
        digest = await self._digest(theirs, by_bytes=by_bytes)
        if digest == ours.sha256:
            return
        if await asyncio.to_thread(ours.begins_with, await self._served(theirs)):
            raise ConflictError(
                "pypi.half-uploaded",
                f"{ours.filename} is only the beginning of what was built: an upload broke off, and the index kept it",
                where=self._client.where,
                next=f"have whoever runs the index remove {ours.filename}, which nobody could use; then publish again",
            )
        raise ConflictError(
            "pypi.conflict",
            f"{ours.filename} is published with other bytes: sha256:{digest} there, sha256:{ours.sha256} here",
            where=self._client.where,
            next="publish the changed files under a new version; an index never takes a file's name twice",
        )

    async def _send(self, ours: Distribution, at: Coordinate) -> None:
        # pypi-server keeps whatever has come of a file when the connection breaks, if it has been told what to do with
        # it: so it is told at the end.
        kind, body = form_body(ours.form(), ("content", ours.path), _TAKE_IT, f"crossfade-{ours.blake2_256}")
        try:
            answer = await self._form({"content-type": kind}, body)
        except UnreachableError as error:
            # A server that does not want a file may close the connection on it, and then its word is lost.
            await self._knock(error)
            raise
        if answer.missing or answer.status == _NO_FORMS:
            raise self._no_uploads()
        if answer.status in _NOT_TAKEN:
            await self._look_again(ours, at, answer)

    async def _form(self, headers: Mapping[str, str], body: bytes | FileBody) -> Answer:
        return await self._client.request(
            "POST",
            self._upload,
            headers=headers,
            content=body,
            expect=(*_NOT_TAKEN, _NO_FORMS),
            repeatable=True,  # a file that has arrived is not taken again
            login=self._client.login,
        )

    async def _knock(self, error: UnreachableError) -> None:
        """Send a form with nothing in it: whoever refuses us, or takes no forms at all, says so now."""
        try:
            answer = await self._form({}, b"")
        except UnreachableError:
            raise error from None
        if answer.missing or answer.status == _NO_FORMS:
            raise self._no_uploads()

    def _no_uploads(self) -> CrossfadeError:
        return CrossfadeError(
            "pypi.no-uploads",
            "nothing takes uploads at this address",
            where=self._upload,
            next=f"let registries.{self._client.name}.upload name the address that takes them",
        )

    async def _look_again(self, ours: Distribution, at: Coordinate, answer: Answer) -> None:
        """The index did not take the file: fine if somebody else has brought the same bytes in the meantime."""
        theirs = (await self._listing(at)).get(ours.filename)
        if theirs is not None:
            await self._compare(ours, theirs)
            return
        said = self._client.mask(_said(answer))
        raise CrossfadeError(
            "pypi.not-taken",
            f"the index does not take {ours.filename}: {said or f'it answers {answer.status}'}",
            where=self._upload,
            next="repair what it names; a file that was deleted once needs a new version",
        )


def _files_of(page: Sequence[IndexFile], at: Coordinate) -> _Listing:
    """The files of one version, by their names."""
    versions = ((each, version_of(each.filename, at.name)) for each in page)
    return {each.filename: each for each, version in versions if version and same_version(version, at.version)}


def _same_site(one: str, other: str) -> bool:
    """Whether an answer is the index's own; only from http to https may it have moved."""
    this, that = urlsplit(one), urlsplit(other)
    return this.hostname == that.hostname and (this.port == that.port or this.scheme != that.scheme)


def _said(answer: Answer) -> str:
    """The index's own words, out of the page that they stand in."""
    text = answer.body.decode(errors="replace")
    block = re.search(r"<pre>(.*?)</pre>", text, re.DOTALL) or re.search(r"<body[^>]*>(.*?)</body>", text, re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", " ", block.group(1) if block else text).split())
    return words if len(words) <= _SHOWN else words[:_SHOWN] + "…"


def _login(name: str, settings: Settings, environ: Mapping[str, str]) -> Login | None:
    if settings.password is None:
        return None
    place = f"registries.{name}"
    password = resolve(settings.password, environ, where=f"{place}.password")
    if settings.username is None:
        return basic(Secret("__token__"), password, settings.password.env)
    user = resolve(settings.username, environ, where=f"{place}.username")
    return basic(user, password, settings.username.env, settings.password.env)
