"""What the run state remembers of one target: `{state}/containers/{environment}/{component}/`.

    {slot}.json           which version is wanted there, and how many: `observe` tells by it what is gone
    {slot}.pull           how far a pull for the slot is; removed when it has ended
    {slot}.lock           held while somebody starts or stops in the slot
    images/*.json         which bytes a version is, since its first start
    health/{container}    whether it was ready when it was last asked, in which of its runs
    logs/{slot}/{index}/  what an instance printed that has been removed since

Containers are never known from here: the engine is asked for those.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from crossfade.core.locks import locked
from crossfade.runtimes.docker.values import Pin, Wanted
from crossfade.runtimes.shim.folder import read_json, remove, write_json, write_whole
from crossfade.runtimes.state import inaccessible
from crossfade.traffic.port import Slot

_PULL_FRESH: Final = 30.0
"""Seconds after which a pull of which nothing is heard counts as killed."""


class Records:
    """The files of one target."""

    def __init__(self, folder: Path, where: str) -> None:
        self._folder = folder
        self._where = where

    # -- what is wanted ------------------------------------------------------------------------------

    def wanted(self, slot: Slot) -> Wanted | None:
        """What the slot should hold; None where nobody has said so here."""
        pull = read_json(self._path(f"{slot}.pull"))
        if pull is not None and abs(time.time() - float(pull["at"])) < _PULL_FRESH:
            return Wanted(str(pull["version"]), int(pull["count"]), str(pull["text"]))
        said = read_json(self._path(f"{slot}.json"))
        return None if said is None else Wanted(str(said["version"]), int(said["count"]))

    def want(self, slot: Slot, version: str, count: int) -> None:
        """Note what the slot is to hold, before it is brought about."""
        self._write(f"{slot}.json", {"format": 1, "version": version, "count": count})

    def pulling(self, slot: Slot, wanted: Wanted) -> None:
        """Note how far a pull is."""
        told = {"version": wanted.version, "count": wanted.count, "text": wanted.pulling, "at": time.time()}
        self._write(f"{slot}.pull", told)

    def pulled(self, slot: Slot) -> None:
        """No pull is under way any more."""
        with self._told():
            remove(self._path(f"{slot}.pull"))

    # -- images --------------------------------------------------------------------------------------

    def pin(self, version: str, reference: str) -> Pin | None:
        """The bytes that `version` has had since its first start as `reference`."""
        return _pin(read_json(self._path(_pin_file(version, reference))))

    def pins(self) -> list[Pin]:
        """All of them, the one used last first."""
        names = self._names("images")
        found = [_pin(read_json(self._path(f"images/{name}"))) for name in names if name.endswith(".json")]
        return sorted((pin for pin in found if pin is not None), key=lambda pin: pin.used, reverse=True)

    def keep_pin(self, pin: Pin) -> None:
        """Note it, for good."""
        self._write(_pin_file(pin.version, pin.reference), {"format": 1, **asdict(pin)})

    def forget_pin(self, pin: Pin) -> None:
        """Its image is gone."""
        with self._told():
            remove(self._path(_pin_file(pin.version, pin.reference)))

    # -- health --------------------------------------------------------------------------------------

    def was_ready(self, container: str, run: str) -> bool | None:
        """Whether it was ready when it was last asked in this run; None when it never was so far."""
        try:
            said = Path(self._path(f"health/{container[:12]}")).read_text("utf-8").split()
        except OSError:
            return None
        return said[1] == "ready" if len(said) == 2 and said[0] == run else None  # noqa: PLR2004 - run and word

    def note_ready(self, container: str, run: str, *, ready: bool) -> None:
        """Note it; what cannot be written is only forgotten."""
        with contextlib.suppress(OSError):
            path = self._path(f"health/{container[:12]}")
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(path, f"{run} {'ready' if ready else 'unready'}\n".encode(), durable=False)

    def forget_container(self, container: str) -> None:
        """It has been removed."""
        with contextlib.suppress(OSError):
            remove(self._path(f"health/{container[:12]}"))

    # -- logs ----------------------------------------------------------------------------------------

    def saved_logs(self, slot: Slot) -> dict[int, Path]:
        """The folders with what removed instances of the slot printed, by index."""
        names = self._names(f"logs/{slot}")
        return {int(name): self._folder / "logs" / slot / name for name in names if name.isdigit()}

    def save_log(self, slot: Slot, index: int, data: bytes) -> None:
        """Keep what an instance printed, instead of what the one before it did."""
        folder = f"logs/{slot}/{index}"
        if data:
            with self._told():
                Path(self._path(folder)).mkdir(mode=0o700, parents=True, exist_ok=True)
                write_whole(self._path(f"{folder}/00000001.log"), data, durable=False)
        else:
            shutil.rmtree(self._path(folder), ignore_errors=True)

    # -- one at a time -------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """One at a time, of all processes here; the system lets go when one is killed."""
        async with contextlib.AsyncExitStack() as stack:
            with self._told():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                await stack.enter_async_context(locked(self._folder / f"{name}.lock"))
            yield

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _names(self, name: str) -> list[str]:
        try:
            return os.listdir(self._path(name))  # noqa: PTH208 - on the path of every look
        except OSError:
            return []

    def _write(self, name: str, value: dict[str, Any]) -> None:
        with self._told():
            Path(self._path(name)).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self._path(name), value)

    @contextlib.contextmanager
    def _told(self) -> Any:
        try:
            yield
        except OSError as error:
            raise inaccessible(error, self._where, self._folder) from error


def _pin_file(version: str, reference: str) -> str:
    return f"images/{quote(version, safe='+')}-{hashlib.sha256(reference.encode()).hexdigest()[:8]}.json"


def _pin(said: dict[str, Any] | None) -> Pin | None:
    try:
        return None if said is None else Pin(**{name: said[name] for name in Pin.__slots__})
    except KeyError:
        return None
