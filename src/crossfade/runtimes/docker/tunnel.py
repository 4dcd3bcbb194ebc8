"""An engine behind ssh: its socket, brought here by the machine's own ssh with the user's keys and configuration."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from crossfade.core.errors import BadInputError, UnreachableError

_SOCKET: Final = "/var/run/docker.sock"
_UP_WITHIN: Final = 20.0
_POLL: Final = 0.05


class Tunnel:
    """A forwarded socket for as long as this process lives.

    The far end runs `cat` on our pipe: when this process ends in whatever way, the pipe closes, `cat` ends, and ssh
    with it. `ssh://USER@HOST:PORT/PATH` names another socket than the usual one.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    def alive(self) -> bool:
        """Whether the connection stands."""
        return self._process is not None and self._process.poll() is None

    def open(self) -> str:
        """The URL of the socket here; UnreachableError where there is no way there."""
        self.close()
        self._folder = tempfile.mkdtemp(prefix="crossfade-")
        local = Path(self._folder, "docker.sock")
        command = arguments(self._url, local)
        if shutil.which(command[0]) is None:
            raise BadInputError(
                "docker.no-ssh", "there is no ssh on this machine", where=self._url, next="install the OpenSSH client"
            )
        errors = Path(self._folder, "errors").open("w+b")  # noqa: SIM115 - ssh writes there for as long as it lives
        with errors:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
            give_up = time.monotonic() + _UP_WITHIN
            while self.alive and not local.exists() and time.monotonic() < give_up:
                time.sleep(_POLL)
            if self.alive and local.exists():
                return f"unix://{local}"
            errors.seek(0)
            said = " ".join(errors.read().decode("utf-8", "replace").split()) or "no connection came about"
        self.close()
        raise UnreachableError(
            "docker.ssh",
            f"ssh finds no way to the Docker Engine: {said[-300:]}",
            where=self._url,
            next="it must work without a question: ssh -o BatchMode=yes HOST docker version",
        )

    def close(self) -> None:
        """End ssh, and leave nothing behind."""
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.terminate()
            self._process.wait()
            self._process = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""


def arguments(url: str, local: Path) -> list[str]:
    """The command that forwards the engine's socket to `local`.

    >>> arguments("ssh://ada@example.test:2222", Path("/t/d.sock"))[-6:]
    ['/t/d.sock:/var/run/docker.sock', '-p', '2222', '--', 'ada@example.test', 'cat']
    """
    parts = urlsplit(url)
    options = {"BatchMode": "yes", "ExitOnForwardFailure": "yes", "ConnectTimeout": "10", "ServerAliveInterval": "15"}
    who = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
    return [
        "ssh",
        "-T",
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        "-L",
        f"{local}:{parts.path or _SOCKET}",
        *(("-p", str(parts.port)) if parts.port else ()),
        "--",
        who,
        "cat",
    ]
