"""Servers on loopback that are not polite at all, and a client of one that waits by a clock of its own."""

import asyncio
from contextlib import asynccontextmanager

from crossfade.artifacts.credentials import bearer
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Secret
from crossfade.core.clock import VirtualClock

HASTY = Manners(rate=1000, timeout=0.3, attempts=3)
TOKEN = bearer(Secret("hunter2-hunter2"), "NPM_TOKEN")


class Recorder(VirtualClock):
    """A clock that remembers how long it was asked to let pass."""

    def __init__(self):
        super().__init__(1_000_000.0)
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await super().sleep(seconds)


def answer(status=200, body=b"{}", *headers, length=None):
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """Answers requests by a list: bytes to send (the connection is cut when they are too few), None to hang."""

    def __init__(self, *answers):
        self.answers, self.seen, self.connections, self.open, self.most = list(answers), [], 0, 0, 0

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append((*first.split()[:2], headers, body))
                self.open += 1
                self.most = max(self.most, self.open)
                await self.say(writer)
                self.open -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def say(self, writer):
        said = self.answers.pop(0) if self.answers else answer()
        if said is None:
            await asyncio.sleep(30)
        elif callable(said):
            await said(writer)
        else:
            writer.write(said)
            await writer.drain()
            head, _, body = said.partition(b"\r\n\r\n")
            if f"content-length: {len(body)}".encode() not in head:
                writer.transport.abort()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()


@asynccontextmanager
async def world(*answers, manners=HASTY, login=TOKEN):
    """A server that says `answers`, and a client of it; jitter is one half of what it may be."""
    async with Server(*answers).running() as server:
        clock = Recorder()
        async with RegistryClient(
            "npm", f"{server.url}/base", login=login, manners=manners, clock=clock, chance=lambda: 0.5
        ) as client:
            yield server, client, clock
