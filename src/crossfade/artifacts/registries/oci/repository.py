"""One repository: its manifests, tags and blobs, each by a request or two of the distribution protocol."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from crossfade.artifacts.answers import Answer, FileBody
from crossfade.artifacts.port import ConflictError, MissingError
from crossfade.artifacts.registries.oci.layout import Extent, Manifest
from crossfade.artifacts.registries.oci.manifest import ACCEPT, Descriptor, digest_of, is_digest, media_type
from crossfade.artifacts.registries.oci.session import Session
from crossfade.core.errors import CrossfadeError, UnreachableError

CHUNK = 16 << 20
"""Bytes of a large blob that are sent with one request: what is lost when the connection breaks."""

_OCTETS = "application/octet-stream"
_OK, _NO_BLOB_THERE, _RANGE = 200, 404, 416
_CHUNK_TAKEN = (202, 204)
_NOT_IN_CHUNKS = (400, 405, 411, 413, 415, 501)
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


class Place(NamedTuple):
    """How far an upload is: where it goes on, and how many bytes the registry has."""

    address: str
    offset: int
    least: int = 0
    """The smallest piece that the registry takes, the last one apart."""


class _NoPiecesError(Exception):
    """The registry takes a blob only as a whole."""


class Repository:
    """Requests to the repository `name`. `chunk` is the size of the pieces of a large blob, in bytes."""

    def __init__(self, session: Session, name: str, *, chunk: int = CHUNK) -> None:
        self.name = name
        self._session = session
        self._chunk = chunk

    async def digest(self, reference: str) -> str | None:
        """The digest that a tag leads to, or that a manifest has; None when it is not there."""
        answer = await self._ask("HEAD", f"manifests/{reference}", headers={"accept": ACCEPT})
        told = answer.headers.get("docker-content-digest")
        if answer.missing or is_digest(told):
            return None if answer.missing else told
        found = await self.manifest(reference)
        return None if found is None else found.at.digest

    async def manifest(self, reference: str) -> Manifest | None:
        """A manifest byte for byte, under the digest that these bytes have.

        ConflictError `oci.damaged` when the registry calls them by another digest: nothing may be made of them.
        """
        answer = await self._ask("GET", f"manifests/{reference}", headers={"accept": ACCEPT})
        if answer.missing:
            return None
        kind = media_type(answer.body, answer.headers.get("content-type", "").partition(";")[0].strip())
        told = reference if is_digest(reference) else answer.headers.get("docker-content-digest", "")
        digest = digest_of(answer.body, told if is_digest(told) else "sha256:")
        if is_digest(told) and told != digest:
            raise self.damaged(told, digest)
        return Manifest(Descriptor(kind, digest, len(answer.body)), answer.body)

    async def put(self, reference: str, manifest: Manifest) -> None:
        """Let `reference`, a tag or the manifest's own digest, lead to a manifest."""
        headers = {"content-type": manifest.at.media_type}
        answer = await self._ask(
            "PUT", f"manifests/{reference}", headers=headers, content=manifest.content, repeatable=True
        )
        if answer.missing:
            raise self._not_there()

    async def tags(self) -> tuple[str, ...]:
        """Every tag; none for a repository that is not there."""
        found: list[str] = []
        address: str | None = "tags/list?n=1000"
        while address:
            answer = await self._ask("GET", address)
            said: Any = {} if answer.missing else answer.json()
            found += said.get("tags") or ()
            more = _NEXT.search(answer.headers.get("link", ""))
            address = self._session.absolute(urljoin(answer.url, more.group(1))) if more else None
        return tuple(dict.fromkeys(found))

    async def has_blob(self, digest: str) -> bool:
        """Whether the registry says that it has the blob."""
        return not (await self._ask("HEAD", f"blobs/{digest}")).missing

    async def read_blob(self, blob: Descriptor) -> str:
        """The digest of the bytes that the registry serves for a blob; MissingError when there are none.

        A connection that breaks is tried again, from the start, as often as any request.
        """
        attempts = self._session.client.manners.attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self._read(blob)
            except UnreachableError as error:
                if attempt == attempts or not error.retry:
                    raise
        raise AssertionError

    async def push_blob(self, blob: Descriptor, extent: Extent) -> None:
        """Send a blob, unless it is there.

        A large one goes in pieces, where the registry takes any: after a broken connection it is asked how far it has
        come. An upload that it has lost, or spoiled, is begun anew, as often as any request is tried.
        """
        whole = extent.size <= self._chunk
        for _ in range(self._session.client.manners.attempts + 1):
            if await self.has_blob(blob.digest):
                return
            place = await self._begin()
            try:
                end = place if whole else await self._send_pieces(place, extent)
            except _NoPiecesError:
                whole = True
                continue
            if end is not None and await self._finish(end, blob, extent):
                return
        if not await self.has_blob(blob.digest):
            raise UnreachableError(
                "oci.upload-lost",
                f"{self._session.client.name} has lost the upload of {blob.digest} every time",
                where=self._where,
                next="run the same command again: what has arrived is not sent again",
            )

    async def _begin(self) -> Place:
        answer = await self._ask("POST", "blobs/uploads/", repeatable=True)
        if answer.missing:
            raise self._not_there()
        least = answer.headers.get("oci-chunk-min-length", "")
        return Place(self._location(answer), 0, int(least) if least.isdigit() else 0)

    async def _send_pieces(self, place: Place, extent: Extent) -> Place | None:
        """Everything in pieces; None when the registry has lost the upload."""
        stalled = 0
        while place.offset < extent.size:
            size = min(max(self._chunk, place.least), extent.size - place.offset)
            moved = await self._send_piece(place, extent, size)
            if moved is None:
                return None
            stalled = 0 if moved.offset > place.offset else stalled + 1
            if stalled >= self._session.client.manners.attempts:
                raise self._stuck(moved)
            place = moved
        return place

    async def _send_piece(self, place: Place, extent: Extent, size: int) -> Place | None:
        headers = {"content-type": _OCTETS, "content-range": f"{place.offset}-{place.offset + size - 1}"}
        body = FileBody(extent.path, size, extent.offset + place.offset)
        try:
            answer = await self._ask(
                "PATCH", place.address, headers=headers, content=body, expect=(*_NOT_IN_CHUNKS, _RANGE)
            )
        except UnreachableError as error:
            if not error.retry:
                raise
            return await self._look(place)
        if answer.status in _CHUNK_TAKEN:
            return place._replace(address=self._location(answer), offset=place.offset + size)
        if answer.missing:
            return None
        if answer.status != _RANGE:
            raise _NoPiecesError
        return await self._look(place)

    async def _look(self, place: Place) -> Place | None:
        """How far the registry has come with an upload; None when it has lost it.

        docker-registry 2 gives an upload up as soon as it has got a byte more than it has told us of.
        """
        answer = await self._ask("GET", place.address)
        if answer.missing:
            return None
        last = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("range", "0-0").strip())
        # "0-0" is written for no byte as well as for one; one byte too many would be found by the digest.
        offset = int(last.group(1)) + 1 if last and last.group(1) != "0" else 0
        return place._replace(address=self._location(answer), offset=offset)

    async def _finish(self, place: Place, blob: Descriptor, extent: Extent) -> bool:
        """Send what is left and close the upload; False when the registry has lost it, or has other bytes."""
        join = "&" if "?" in place.address else "?"
        body = FileBody(extent.path, extent.size - place.offset, extent.offset + place.offset)
        answer = await self._ask(
            "PUT",
            f"{place.address}{join}digest={quote(blob.digest, safe='')}",
            headers={"content-type": _OCTETS},
            content=body if body.size else b"",
            expect=(400, _RANGE),
            repeatable=True,
        )
        return not answer.missing and answer.status not in (400, _RANGE)

    async def _read(self, blob: Descriptor) -> str:
        algorithm = blob.digest.partition(":")[0]
        found = hashlib.new(algorithm)
        async with self._session.stream(f"blobs/{blob.digest}", repository=self.name) as stream:
            if stream.status == _NO_BLOB_THERE:
                raise MissingError(
                    "oci.missing-blob",
                    f"{blob.digest} is not in the registry, and an image needs it",
                    where=self._where,
                    next="publish the image again: what is missing is uploaded, and nothing else",
                    retry=True,
                )
            if stream.status != _OK:
                raise CrossfadeError(
                    "oci.bad-answer", f"the registry answers {stream.status} for {blob.digest}", where=self._where
                )
            async for chunk in stream.chunks:
                found.update(chunk)
        return f"{algorithm}:{found.hexdigest()}"

    async def _ask(self, method: str, address: str, **more: Any) -> Answer:
        return await self._session.request(method, address, repository=self.name, **more)

    def damaged(self, wanted: str, found: str) -> ConflictError:
        """The error for bytes that are not those which the registry calls by the digest `wanted`."""
        return ConflictError(
            "oci.damaged",
            f"the registry serves other bytes than it says: {found} in the place of {wanted}",
            where=self._where,
            next="the registry's storage is damaged or was changed: do not deploy from it, and tell who runs it",
        )

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("location", "")
        if not location:
            raise CrossfadeError("oci.bad-answer", "the registry does not say where an upload goes", where=self._where)
        return self._session.absolute(location)

    def _not_there(self) -> CrossfadeError:
        return CrossfadeError(
            "oci.no-repository",
            f"the registry takes nothing for the repository {self.name}",
            where=self._where,
            next="create it there, or correct `repository` and `url` of the registry",
        )

    def _stuck(self, place: Place) -> UnreachableError:
        return UnreachableError(
            "oci.upload-stuck",
            f"an upload does not come further than {place.offset} bytes",
            where=self._where,
            next="run the same command again once the registry is well",
        )

    @property
    def _where(self) -> str:
        return f"{self._session.client.where}, repository {self.name}"
