"""Which bytes a version is: resolved once, at its first start, and kept for as long as one may go back to it.

A version's image is pinned in the run state by its id and digest, and held in the engine by a tag of ours. So all
instances of a version run the same bytes, also when the tag that the file names has moved on since.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

from crossfade.config.runtimes import Login
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.runtimes.docker.engine import Engine
from crossfade.runtimes.docker.records import Records
from crossfade.runtimes.docker.specification import Target
from crossfade.runtimes.docker.values import Pin

_SILENT: Final = 180.0
"""Seconds without any progress after which a pull counts as hung."""
_TELL: Final = 0.5
_HUB: Final = "docker.io"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Manners:
    """How images are had: when they are pulled, as whom, and how many versions stay."""

    pull: Literal["missing", "always", "never"]
    logins: tuple[Login, ...]
    keep: int


class Images:
    """The images of one target."""

    def __init__(self, engine: Engine, records: Records, target: Target, manners: Manners) -> None:
        self._engine = engine
        self._records = records
        self._target = target
        self._manners = manners

    async def resolve(self, version: str, reference: str, tell: Tell) -> str:
        """The id of the image that `version` runs, present in the engine afterwards.

        Raises BadInputError where there is no such image or no right to it, UnreachableError where the registry
        does not answer, and `docker.image-gone` where the version's own bytes can no longer be had.
        """
        async with self._records.locked("images"):
            pin = self._records.pin(version, reference)
            if pin is not None:
                await self._bring_back(pin, tell)
            else:
                pin = await self._first(version, reference, tell)
            name, tag = self._target.image(version, reference)
            await self._engine.call(lambda client: client.tag(pin.id, name, tag, force=True))
            self._records.keep_pin(replace(pin, used=time.time()))
        return pin.id

    async def prune(self, needed: set[str], ended: set[str]) -> None:
        """Let go of versions beyond the `keep` that ran last, except the `needed` ones; what cannot be removed stays.

        Those that have just `ended` ran until now, however long ago they were started: what was trusted for a year is
        what one goes back to.
        """
        async with self._records.locked("images"):
            for pin in self._records.pins():
                if pin.version in ended:
                    self._records.keep_pin(replace(pin, used=time.time()))
            for pin in self._records.pins()[self._manners.keep :]:
                if pin.version not in needed and await self._removed(pin):
                    self._records.forget_pin(pin)

    async def _first(self, version: str, reference: str, tell: Tell) -> Pin:
        held = await self._inspect(":".join(self._target.image(version, reference)))
        if held is not None:
            # Another Crossfade has run this version here, and its run state is not ours.
            return _pin(version, reference, held, pulled=False)
        there = await self._inspect(reference)
        by_digest = "@sha256:" in reference
        pulled = there is None or (self._manners.pull == "always" and not by_digest)
        if pulled:
            await self._pull(reference, tell)
            there = await self._inspect(reference)
        if there is None:
            raise CrossfadeError("docker.refused", f"{reference} was pulled and is not there", retry=True)
        return _pin(version, reference, there, pulled=pulled)

    async def _bring_back(self, pin: Pin, tell: Tell) -> None:
        if await self._inspect(pin.id) is not None:
            return
        if pin.digest is not None and self._manners.pull != "never":
            await self._pull(pin.digest, tell)
            if await self._inspect(pin.id) is not None:
                return
        raise BadInputError(
            "docker.image-gone",
            f"the image that {self._target.component} {pin.version} ran has been removed, and {pin.reference} may be another one by now",
            where=pin.digest or pin.id,
            next="load it again (docker load), or release a new version",
        )

    async def _inspect(self, image: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = await self._engine.call(lambda client: client.inspect_image(image))
        except CrossfadeError as error:
            if error.code == "docker.missing":
                return None
            raise
        return found

    async def _removed(self, pin: Pin) -> bool:
        """Whether our tag is gone, and the image with it where it was us who brought it."""
        names = [":".join(self._target.image(pin.version, pin.reference))]
        there = await self._inspect(pin.reference)
        if pin.pulled and there is not None and there["Id"] == pin.id:
            names.append(pin.reference)
        for name in names:
            try:
                await self._engine.call(partial(_remove, name))
            except CrossfadeError as error:
                if error.code != "docker.missing":
                    return False
        return True

    # -- pulling -------------------------------------------------------------------------------------

    async def _pull(self, reference: str, tell: Tell) -> None:
        if self._manners.pull == "never":
            raise BadInputError(
                "docker.image-missing",
                f"the image {reference} is not there, and `pull: never` forbids to get it",
                where=self._target.where,
                next=f"docker pull {reference}, or change `runtime.pull`",
            )
        tell(f"pulling {reference}")
        heard: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()
        # A thread of its own that nobody waits for: a pull that hangs must not hold up our end.
        threading.Thread(
            target=self._pull_here, args=(reference, self._credentials(reference), heard), daemon=True
        ).start()
        progress, last = Progress(), time.monotonic()
        while True:
            ended = False
            for each in _drained(heard):
                last = time.monotonic()
                if isinstance(each, Exception):
                    raise self._refused(reference, each)
                ended = ended or each is None
                if each is not None:
                    if "error" in each:
                        raise self._refused(reference, CrossfadeError("docker.refused", str(each["error"])))
                    progress.hear(each)
            if ended:
                return
            if time.monotonic() - last > _SILENT:
                raise UnreachableError(
                    "docker.pull-hangs",
                    f"the pull of {reference} has made no progress for {_SILENT:g} s",
                    where=self._target.where,
                    next="look at the registry and the engine's log; it is tried again",
                )
            tell(f"pulling {reference}{progress}")
            await asyncio.sleep(_TELL if not progress.empty else 0.05)

    def _pull_here(
        self, reference: str, login: dict[str, str] | None, heard: queue.SimpleQueue[dict[str, Any] | Exception | None]
    ) -> None:
        def pull(client: Any) -> None:
            tag = None if "@" in reference or ":" in reference.rpartition("/")[2] else "latest"
            for each in client.pull(reference, tag=tag, stream=True, decode=True, auth_config=login):
                heard.put(each)

        try:
            self._engine.call_here(pull)
            heard.put(None)
        except Exception as error:  # noqa: BLE001 - told to who waits
            heard.put(error)

    def _credentials(self, reference: str) -> dict[str, str] | None:
        """The login for the image's registry; None leaves it to Docker's own configuration."""
        login = next((each for each in self._manners.logins if each.registry == registry_of(reference)), None)
        if login is None:
            return None
        password = os.environ.get(login.password)
        if not password:
            raise BadInputError(
                "docker.no-password",
                f"the password for {login.registry} stands in no environment variable {login.password}",
                where=self._target.where,
                next=f"set {login.password} where Crossfade runs",
            )
        return {"username": login.username, "password": password}

    def _refused(self, reference: str, error: Exception) -> CrossfadeError:
        if not isinstance(error, CrossfadeError) or isinstance(error, UnreachableError):
            return error if isinstance(error, CrossfadeError) else CrossfadeError("docker.refused", str(error))
        said, where = error.what.removeprefix("the Docker Engine refuses: "), self._target.where
        low = said.lower()
        if any(word in low for word in ("unauthorized", "no basic auth", "denied", "authentication required")):
            how = f"check `runtime.logins` for {registry_of(reference)} and the variable with its password"
            return BadInputError(
                "docker.image-denied", f"the registry gives nobody like us {reference}: {said}", where=where, next=how
            )
        if any(word in low for word in ("not found", "manifest unknown", "does not exist", "invalid reference")):
            how = "check the name, and that the version has been published"
            return BadInputError(
                "docker.image-missing", f"there is no image {reference}: {said}", where=where, next=how
            )
        how = "check that the engine reaches the registry; it is tried again"
        return UnreachableError("docker.pull", f"{reference} cannot be pulled: {said}", where=where, next=how)


class Progress:
    """How far a pull is, from the engine's lines about each layer.

    >>> progress = Progress()
    >>> progress.hear({"id": "a", "status": "Downloading", "progressDetail": {"current": 3_000_000, "total": 12_000_000}})
    >>> str(progress)
    ': 25 % (3 of 12 MB)'
    """

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._status = ""

    @property
    def empty(self) -> bool:
        """Whether nothing was heard so far."""
        return not self._layers and not self._status

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take in one line."""
        detail, layer, self._status = (
            line.get("progressDetail") or {},
            str(line.get("id", "")),
            str(line.get("status", "")),
        )
        if self._status == "Downloading" and detail.get("total"):
            self._layers[layer] = int(detail["current"]), int(detail["total"])
        elif layer in self._layers and self._status in ("Download complete", "Extracting", "Pull complete"):
            self._layers[layer] = self._layers[layer][1], self._layers[layer][1]

    def __str__(self) -> str:
        """Say it for a person."""
        done, total = (sum(each[i] for each in self._layers.values()) for i in (0, 1))
        if not total:
            return f": {self._status.lower()}" if self._status else ""
        return f": {100 * done // total} % ({done / 1e6:.0f} of {total / 1e6:.0f} MB)"


def registry_of(reference: str) -> str:
    """The registry of an image.

    >>> registry_of("registry.example:5000/shop/api:1.0.0"), registry_of("localhost/x"), registry_of("shop/api")
    ('registry.example:5000', 'localhost', 'docker.io')
    """
    first, slash, _ = reference.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else _HUB


def _remove(name: str, client: Any) -> None:
    client.remove_image(name)


def _pin(version: str, reference: str, image: Mapping[str, Any], *, pulled: bool) -> Pin:
    name = reference.partition("@")[0]
    name = name if ":" not in name.rpartition("/")[2] else name.rpartition(":")[0]
    digests = image.get("RepoDigests") or ()
    digest = next((each for each in digests if each.partition("@")[0] == name), next(iter(digests), None))
    return Pin(version, reference, image["Id"], digest, pulled, time.time())


def _drained(
    heard: queue.SimpleQueue[dict[str, Any] | Exception | None],
) -> Iterator[dict[str, Any] | Exception | None]:
    with contextlib.suppress(queue.Empty):
        while True:
            yield heard.get_nowait()
