"""Running a build's command: its environment, its log, and its end, whoever brings it about."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crossfade.artifacts.building import launcher
from crossfade.config.publishing import Build

GRACE = 10.0
"""Seconds that a build has between TERM and KILL."""
METADATA = "CROSSFADE_BUILD_METADATA"
"""Variable that names the file with what is known about a build while it runs."""

_OF_THE_MACHINE = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "DOCKER_HOST", "SSH_AUTH_SOCK"),
)
"""Variables that every build sees and that do not identify it: where things are on this machine."""
_FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""The same for everybody, so that nothing sorts or dates differently."""
_TAIL = 65_536


def environment_of(build: Build, variables: Mapping[str, str]) -> dict[str, str]:
    """All that the build sees of the environment `variables` of whoever builds.

    >>> environment_of(Build(command=("make",), pass_through=("CI",)), {"PATH": "/bin", "CI": "1", "EDITOR": "vi"})
    {'PATH': '/bin', 'LC_ALL': 'C.UTF-8', 'TZ': 'UTC', 'CI': '1'}
    """
    seen = {name: variables[name] for name in _OF_THE_MACHINE if name in variables}
    passed = {name: variables[name] for name in build.pass_through if name in variables}
    return {**seen, **_FIXED, **passed, **build.environment}


@dataclass
class Stop:
    """A wish to end everything that runs; a second one does not wait for anybody's grace."""

    wished: asyncio.Event = field(default_factory=asyncio.Event)
    urgent: asyncio.Event = field(default_factory=asyncio.Event)

    def wish(self) -> None:
        """End it."""
        (self.urgent if self.wished.is_set() else self.wished).set()


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended; `code` is 128 + N when signal N ended it."""

    code: int
    ending: Literal["itself", "timeout", "stop"]


async def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    patience: float,
    stop: Stop,
    grace: float,
) -> Ran:
    """Run `command` in `folder` until it ends, `patience` seconds are over, or `stop` is wished for.

    It has `grace` seconds between TERM and KILL. What it prints goes to the file `log`. At the end nothing of its process group is left, and when this process is
    killed the build is ended too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", launcher.__file__, str(grace), *command),
            cwd=folder,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    finally:
        os.close(out)
    ended = asyncio.create_task(process.wait())
    wished = asyncio.create_task(stop.wished.wait())
    urgent = asyncio.create_task(stop.urgent.wait())
    ending: Literal["itself", "timeout", "stop"] = "itself"
    try:
        await asyncio.wait({ended, wished}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            ending = "stop" if wished.done() else "timeout"
            _tell(process, launcher.END)
            await asyncio.wait({ended, urgent}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                _tell(process, launcher.KILL)
        return Ran(await ended, ending)
    finally:
        for task in (wished, urgent):
            task.cancel()
        if not ended.done():  # we are cancelled ourselves: nothing is left running
            _tell(process, launcher.KILL)
            await asyncio.shield(ended)


def _tell(process: asyncio.subprocess.Process, what: bytes) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError, RuntimeError):
            process.stdin.write(what)


def last_lines(log: Path, count: int, secrets: Sequence[str] = ()) -> tuple[str, ...]:
    """The last lines of a log, none of them empty, with `secrets` masked."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    for secret in sorted(filter(_worth_hiding, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]  # a progress bar is its last state
    return tuple([line for line in lines if line][-count:])


def _worth_hiding(value: str) -> bool:
    """Whether a value can be a secret: hiding every `1` or `true` would only make the lines unreadable."""
    return len(value) >= 6  # noqa: PLR2004 - shorter ones are words
