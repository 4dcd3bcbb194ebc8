"""Instances behind a router under test: the demo's application, and servers that answer at once or as they are told."""
# ruff: noqa: S101 - a contract suite is tests

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from crossfade.traffic.port import Slot


@dataclass
class Application:
    """One running instance of the demo's application."""

    process: asyncio.subprocess.Process
    address: str

    @classmethod
    async def start(cls, version: str, *flags: str) -> Self:
        """An instance on a free port, once it listens; `flags` are further ones of `crossfade.demo.app`."""
        argv = (sys.executable, "-m", "crossfade.demo.app", "--version", version, "--latency-ms", "0", *flags)
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        return cls(process, line.strip().rpartition("//")[2])

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by the signal `number`; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def applications(*versions: str) -> AsyncIterator[list[Application]]:
    """Running instances of the demo's application, one for each version; what still runs afterwards is killed."""
    running = [await Application.start(version) for version in versions]
    try:
        yield running
    finally:
        for application in running:
            await application.stop(signal.SIGKILL)


@contextlib.asynccontextmanager
async def quick(*versions: str) -> AsyncIterator[list[str]]:
    """Addresses that answer at once with their version, for counting many answers in little time."""
    async with contextlib.AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(Instance(version))).address for version in versions]


@contextlib.asynccontextmanager
async def two_versions() -> AsyncIterator[dict[Slot, tuple[str, ...]]]:
    """Two quick instances for each slot: version 1 in blue, version 2 in green."""
    async with quick("1", "1", "2", "2") as addresses:
        yield {"blue": tuple(addresses[:2]), "green": tuple(addresses[2:])}


@dataclass
class Instance:
    """A server in this process that answers with its version, as it is told, and remembers whole requests.

    `status`, `size` (bytes of the body), `wait` (seconds before the answer) and further `headers` are those of every
    answer; with a `status` of 0 it hangs up instead, and a `torn` one breaks off after its first bytes. An `echo`
    returns the body of the request. `address` may be given (HOST:PORT). `heads` and `bodies` are what was asked,
    `answered` counts whole answers.
    """

    version: str
    status: int = 200
    size: int = 0
    wait: float = 0.0
    headers: tuple[str, ...] = ()
    echo: bool = False
    torn: bool = False
    address: str = "127.0.0.1:0"
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answered: int = 0

    async def __aenter__(self) -> Self:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, *self.address.split(":"))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answered(reader, writer):
                pass
        self._writers.discard(writer)
        writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        length = re.search(r"(?i)content-length: (\d+)", head)
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
        if self.wait:
            await asyncio.sleep(self.wait)
        if not self.status:
            return False
        body = self.bodies[-1] if self.echo else b"x" * self.size
        told = (f"X-App-Version: {self.version}", f"Content-Length: {len(body)}", *self.headers)
        answer = "\r\n".join((f"HTTP/1.1 {self.status} X", *told, "", "")).encode() + body
        writer.write(answer[: len(answer) - len(body) // 2] if self.torn else answer)
        await writer.drain()
        self.answered += not self.torn
        return not self.torn
