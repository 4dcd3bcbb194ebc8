"""An HAProxy of our own: a master and its worker, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/haproxy`. It reads its configuration there, and takes commands
on the master's socket, which nobody else may open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.children import Child
from crossfade.traffic.routers.haproxy_config import SetUp
from crossfade.traffic.routers.haproxy_runtime import RuntimeApi

PATIENCE = 15.0
OLDEST = (2, 4)
CONFIG = "haproxy.cfg"


@dataclass(frozen=True, slots=True)
class ManagedHAProxy:
    """The HAProxy in `folder`, which listens on `listen` (HOST:PORT); `binary` is its program, by name or path."""

    folder: Path
    listen: str
    binary: str

    @property
    def child(self) -> Child:
        """Its master process."""
        return Child(self.folder, "haproxy")

    @property
    def api(self) -> RuntimeApi:
        """Its runtime API."""
        return RuntimeApi(str(self.folder / "master.sock"))

    async def start(self) -> None:
        """Start it unless it runs, and wait until it answers.

        Raises `CrossfadeError` when the program is missing or too old, the address is taken, or HAProxy refuses
        the configuration, and says why.
        """
        if not self.child.running():
            await asyncio.to_thread(self._launch)
        await self._until_it_answers()

    async def reload(self, setup: SetUp) -> None:
        """Let a new worker take over with the configuration that is on disk; the old one ends what it began."""
        await asyncio.to_thread(self._check, find_binary(self.binary))
        await self.api.ask("reload")
        for _ in range(int(PATIENCE / 0.05)):
            with contextlib.suppress(UnreachableError):
                worker = (await self.api.workers())[0]
                if (await worker.memory(setup)).marker == setup.marker:
                    return
            await asyncio.sleep(0.05)
        raise CrossfadeError(
            "haproxy.refused",
            f"HAProxy did not take over its new configuration: {self._last_words()}",
            where=str(self.folder / CONFIG),
            next=f"the old configuration stays in force; look into {self.child.errors}",
            retry=True,
        )

    async def stop(self, grace: float = 10.0) -> None:
        """End it; requests under way get `grace` seconds."""
        if (pid := self.child.pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)  # takes no new connection, and leaves after its last request
        with contextlib.suppress(CrossfadeError):  # it is gone
            for _ in range(int(grace / 0.05)):
                if not await self.api.busy():
                    break
                await asyncio.sleep(0.05)
        await self.child.stop(grace=2)
        with contextlib.suppress(OSError):
            (self.folder / "master.sock").unlink(missing_ok=True)

    def _launch(self) -> None:
        program = find_binary(self.binary)
        argv = [str(program), "-W", "-S", "unix@master.sock,mode,600", "-f", CONFIG]
        self.child.start(argv, _environment(), prepare=lambda: self._clear_the_way(program))

    def _clear_the_way(self, program: Path) -> None:
        refuse_old(program)
        refuse_taken(self.listen)
        self._check(program)
        (self.folder / "master.sock").unlink(missing_ok=True)

    def _check(self, program: Path) -> None:
        """Let HAProxy read its configuration, and raise with its own words when it refuses."""
        done = _run(program, "-c", "-f", CONFIG, folder=self.folder)
        if done.returncode == 0:
            return
        if "lua-load" in done.stderr:
            raise CrossfadeError(
                "haproxy.no-lua",
                f"{program} was built without Lua, which computes where a user stands",
                where=str(program),
                next="install a build with Lua (`haproxy -vv` names USE_LUA=1), or leave out `router.sticky`",
            )
        raise CrossfadeError(
            "haproxy.refused",
            f"HAProxy refuses its configuration: {_complaint(done.stderr)}",
            where=str(self.folder / CONFIG),
            next="repair what it names; the next attempt goes on",
            retry=True,
        )

    async def _until_it_answers(self) -> None:
        for _ in range(int(PATIENCE / 0.05)):
            if await self.api.answers():
                return
            if not self.child.running():
                raise CrossfadeError(
                    "haproxy.ended",
                    f"HAProxy ended while it was starting: {self._last_words()}",
                    where=str(self.child.errors),
                    next="repair what it names; the next attempt starts it again",
                    retry=True,
                )
            await asyncio.sleep(0.05)
        raise UnreachableError(
            "haproxy.unreachable",
            f"HAProxy runs as process {self.child.pid()} and its runtime API has not answered for {PATIENCE:g} s",
            where=self.api.address,
            next=f"look into {self.child.errors}",
        )

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return _complaint(self.child.errors.read_text(errors="replace"))
        return "it said nothing"


def find_binary(name: str) -> Path:
    """The program, by name or path."""
    found = shutil.which(name)
    if found is None:
        raise CrossfadeError(
            "haproxy.missing",
            f"there is no program {name!r}",
            where=f"router.binary {name}",
            next="install HAProxy 2.4 or newer (apt install haproxy), or say in `router.binary` where it is",
        )
    return Path(found).absolute()


def refuse_old(program: Path) -> None:
    """Raise when it is no HAProxy, or one that lacks what we use."""
    said = _run(program, "-v").stdout
    match = re.search(r"HA-?Proxy version (\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < OLDEST:
        raise CrossfadeError(
            "haproxy.too-old",
            f"{program} is {'HAProxy ' + match[1] + '.' + match[2] if match else 'no HAProxy'}",
            where=f"router.binary {program}",
            next="install HAProxy 2.4 or newer, or say in `router.binary` where it is",
        )


def refuse_taken(listen: str) -> None:
    """Raise when somebody else listens on HOST:PORT, and say who, where the system tells.

    Two HAProxys of one user would share the address, and neither would notice.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, int(port)))
        except OSError as error:
            raise CrossfadeError(
                "haproxy.address-taken",
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


def _run(program: Path, *flags: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, *flags], cwd=folder, env=_environment(), capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CrossfadeError(
            "haproxy.missing",
            f"{program} cannot be run: {getattr(error, 'strerror', None) or 'it did not end'}",
            where=f"router.binary {program}",
            next="install HAProxy 2.4 or newer, or say in `router.binary` where it is",
        ) from error


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "")}


def _complaint(text: str) -> str:
    """What HAProxy objects to, among all that it says."""
    lines = text.strip().splitlines()
    alerts = [line for line in lines if "[ALERT]" in line]
    return (alerts or lines or ["it said nothing"])[0][-500:]
