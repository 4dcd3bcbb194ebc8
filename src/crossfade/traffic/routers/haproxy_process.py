"""An HAProxy of our own: a master and its worker, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/haproxy`. It reads its configuration there, and takes commands
on the master's socket, which nobody else may open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.address import refuse_taken
from crossfade.traffic.children import Child
from crossfade.traffic.routers.haproxy_config import SetUp
from crossfade.traffic.routers.haproxy_runtime import RuntimeApi
from crossfade.traffic.startup import PATIENCE, Product, last_words, until_it_answers

CONFIG = "haproxy.cfg"
HAPROXY = Product(
    name="HAProxy",
    oldest=(2, 4),
    asked="-v",
    version=r"HA-?Proxy version (\d+)\.(\d+)",
    fitting="install HAProxy 2.4 or newer (apt install haproxy), or say in `router.binary` where it is",
)
_ENVIRONMENT = {"PATH": os.environ.get("PATH", "")}


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
        errors = self.child.errors
        await until_it_answers("HAProxy", self.child, self.api.answers, words=self._last_words, log=errors)

    async def reload(self, setup: SetUp) -> None:
        """Let a new worker take over with the configuration that is on disk; the old one ends what it began."""
        await asyncio.to_thread(self._check, HAPROXY.installed(self.binary))
        await self.api.ask("reload")
        for _ in range(int(PATIENCE / 0.05)):
            with contextlib.suppress(UnreachableError):
                worker = (await self.api.workers())[0]
                if (await worker.memory(setup)).marker == setup.marker:
                    return
            await asyncio.sleep(0.05)
        raise CrossfadeError(
            "haproxy.refused",
            f"HAProxy did not take over its new configuration: {self._last_words() or 'it said nothing'}",
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
        program = HAPROXY.installed(self.binary)
        argv = [str(program), "-W", "-S", "unix@master.sock,mode,600", "-f", CONFIG]
        self.child.start(argv, _ENVIRONMENT, prepare=lambda: self._clear_the_way(program))

    def _clear_the_way(self, program: Path) -> None:
        HAPROXY.examined(program)
        refuse_taken(self.listen)
        self._check(program)
        (self.folder / "master.sock").unlink(missing_ok=True)

    def _check(self, program: Path) -> None:
        """Let HAProxy read its configuration, and raise with its own words when it refuses."""
        argv = [str(program), "-c", "-f", CONFIG]
        done = subprocess.run(
            argv, cwd=self.folder, env=_ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False
        )
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
            f"HAProxy refuses its configuration: {_complaint(done.stderr.splitlines())}",
            where=str(self.folder / CONFIG),
            next="repair what it names; the next attempt goes on",
            retry=True,
        )

    def _last_words(self) -> str:
        return last_words(self.child.errors, _complaint)


def _complaint(lines: Sequence[str]) -> str:
    """What HAProxy objects to, among all that it says."""
    alerts = [line for line in lines if "[ALERT]" in line]
    return (alerts or [*lines, "it said nothing"])[0][-500:]
