"""A small real web shop, so that there is something to release.

A page, a JSON API, a slow report, a stream of events and a websocket, on asyncio alone. Every answer
names its version in `X-App-Version`. `--error-rate` and `--latency-factor` make a version as bad as a
story needs; both are drawn from `--seed`, so that a run can be repeated. TERM ends it gracefully:
no new connections, requests under way are finished, streams and websockets are told to go.

    python -m crossfade.demo.app --port 8001 --version 1.1.0 --error-rate 0.05
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import math
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 8 * 1024 * 1024
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

PRODUCTS = (
    {"id": 1, "name": "Espresso cup", "cents": 890, "stock": 41},
    {"id": 2, "name": "Pour-over kettle", "cents": 4_450, "stock": 7},
    {"id": 3, "name": "Hand grinder", "cents": 7_900, "stock": 12},
    {"id": 4, "name": "Filter papers, 100", "cents": 640, "stock": 230},
)

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Corner Coffee</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}}
li{{display:flex;justify-content:space-between;border-bottom:1px solid #ddd;padding:.5rem 0}}
ul{{padding:0}}footer{{color:#666}}</style>
<h1>Corner Coffee</h1><ul>{rows}</ul><footer>version {version}</footer></html>
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one version behaves: `latency_ms` is the median of its answers before `latency_factor`."""

    version: str = "1.0.0"
    error_rate: float = 0.0
    latency_ms: float = 4.0
    latency_factor: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One parsed request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a content type and a body."""

    status: int
    body: bytes
    type: str = "application/json"


class MalformedError(Exception):
    """The peer does not speak HTTP/1.1 as this server understands it."""

    def __init__(self, *, detail: str) -> None:
        super().__init__(detail)


class App:
    """The shop: answers requests, and keeps the account of who is still being served."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = asyncio.Event()
        self._random = random.Random(settings.seed)  # noqa: S311 - a story to repeat, not a secret
        self._busy: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.StreamWriter] = set()
        rows = "".join(f"<li>{p['name']}<span>€ {int(str(p['cents'])) / 100:.2f}</span></li>" for p in PRODUCTS)
        self._page = Answer(200, PAGE.format(rows=rows, version=settings.version).encode(), "text/html; charset=utf-8")

    async def serve(self, host: str, port: int, announce: Callable[[int], None] = lambda _: None) -> None:
        """Serve until `stopping` is set, then finish what is under way."""
        server = await asyncio.start_server(self._connected, host, port, backlog=1024, limit=HEAD_LIMIT)
        announce(server.sockets[0].getsockname()[1])
        await self.stopping.wait()
        server.close()
        for writer in tuple(self._idle):
            writer.close()
        while self._busy:
            await asyncio.wait(tuple(self._busy), return_when=asyncio.FIRST_COMPLETED)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - start_server runs this as a task
        self._busy.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the peer left: nobody is there to be told
        except MalformedError as error:
            writer.write(self._head(400, 0, "text/plain", close=True))
            writer.write(str(error).encode())
        finally:
            self._busy.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether the connection may carry another."""
        self._idle.add(writer)
        try:
            head = await _read_head(reader)
        finally:
            self._idle.discard(writer)
        if not head:
            return False
        request = await _read_request(head, reader)
        streams = {"/sse": self._events, "/ws": self._websocket}
        if stream := streams.get(request.path):
            await stream(request, reader, writer)
            return False
        answer = await self._answer(request)
        close = self.stopping.is_set() or request.headers.get("connection", "").lower() == "close"
        body = b"" if request.method == "HEAD" else answer.body
        writer.write(self._head(answer.status, len(answer.body), answer.type, close=close) + body)
        await writer.drain()
        return not close

    async def _answer(self, request: Request) -> Answer:
        if request.path in ("/healthz", "/readyz"):
            return _json(200, {"status": "ok", "version": self.settings.version})
        if request.path == "/version":
            return _json(200, {"version": self.settings.version})
        if request.path == "/slow":
            await asyncio.sleep(float(request.query.get("ms", "2000")) / 1000)
            return _json(200, {"report": "ready", "version": self.settings.version})
        await self._work()
        if self._random.random() < self.settings.error_rate:
            return _json(500, {"error": "the till is jammed", "version": self.settings.version})
        return self._shop(request)

    async def _work(self) -> None:
        """Take as long as a database would: log-normal around the median, σ = 0.4."""
        if self.settings.latency_ms > 0:
            median = self.settings.latency_ms * self.settings.latency_factor
            await asyncio.sleep(median * math.exp(self._random.gauss(0, 0.4)) / 1000)

    def _shop(self, request: Request) -> Answer:
        parts = request.path.strip("/").split("/")
        if request.path == "/":
            return self._page
        if request.method == "POST" and request.path in ("/api/orders", "/echo"):
            digest = hashlib.sha256(request.body).hexdigest()
            return _json(201, {"received": len(request.body), "sha256": digest, "version": self.settings.version})
        if parts == ["api", "products"]:
            return _json(200, PRODUCTS)
        if parts[:2] == ["api", "products"] and len(parts) == 3:  # noqa: PLR2004 - api, products, id
            found = next((p for p in PRODUCTS if str(p["id"]) == parts[2]), None)
            return _json(200, found) if found else _json(404, {"error": "no such product"})
        return _json(404, {"error": "no such page"})

    async def _events(self, request: Request, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Server-sent events: `?count=10&ms=200`; the last one is named `end`."""
        count, pause = int(request.query.get("count", "10")), float(request.query.get("ms", "200")) / 1000
        writer.write(self._head(200, None, "text/event-stream", close=True))
        for number in range(count):
            writer.write(f'id: {number}\ndata: {{"stock": {41 - number}}}\n\n'.encode())
            await writer.drain()
            if await self._told_to_stop(pause):
                break
        writer.write(b"event: end\ndata: {}\n\n")
        await writer.drain()

    async def _websocket(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Echo every message until the peer closes, or until this version is told to stop."""
        key = request.headers.get("sec-websocket-key")
        if key is None:
            raise MalformedError(detail="/ws expects a websocket")
        accept = base64.b64encode(hashlib.sha1(key.encode() + WEBSOCKET_GUID).digest())  # noqa: S324 - RFC 6455
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"X-App-Version: " + self.settings.version.encode() + b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        goodbye = asyncio.create_task(self.stopping.wait())
        try:
            while True:
                frame = asyncio.create_task(_read_frame(reader))
                await asyncio.wait((frame, goodbye), return_when=asyncio.FIRST_COMPLETED)
                if not frame.done():
                    frame.cancel()
                    writer.write(bytes((0x88, 2)) + (1001).to_bytes(2))  # close: going away
                    return
                opcode, payload = frame.result()
                writer.write(_frame({0x9: 0xA}.get(opcode, opcode), payload))  # a ping is answered by a pong
                await writer.drain()
                if opcode == 0x8:  # noqa: PLR2004 - close
                    return
        finally:
            goodbye.cancel()

    async def _told_to_stop(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self.stopping.wait()
        except TimeoutError:
            return False
        return True

    def _head(self, status: int, length: int | None, kind: str, *, close: bool) -> bytes:
        lines = [
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}",
            f"Content-Type: {kind}",
            f"X-App-Version: {self.settings.version}",
            "Cache-Control: no-store",
        ]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


_REASONS = {200: "OK", 201: "Created", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}


def _json(status: int, value: object) -> Answer:
    return Answer(status, orjson.dumps(value))


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Read the bytes of a request's head; nothing when the peer has closed between requests."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise MalformedError(detail="the request ends in its head") from error
        return b""
    except asyncio.LimitOverrunError as error:
        raise MalformedError(detail="the head is too large") from error


async def _read_request(head: bytes, reader: asyncio.StreamReader) -> Request:
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    try:
        method, target, _ = first.split(" ")
    except ValueError as error:
        raise MalformedError(detail="the request line is malformed") from error
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    path, _, query = target.partition("?")
    return Request(method, path, dict(parse_qsl(query)), headers, await _read_body(headers, reader))


async def _read_body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > BODY_LIMIT:
            raise MalformedError(detail="the body is too large or has no proper length")
        return await reader.readexactly(int(length)) if length != "0" else b""
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
        if len(body) > BODY_LIMIT:
            raise MalformedError(detail="the body is too large")
    await reader.readuntil(b"\r\n")
    return body


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One masked websocket frame as opcode and payload (RFC 6455, section 5.2)."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length >= 126:  # noqa: PLR2004 - 126 and 127 announce 2 and 8 bytes of length
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))  # noqa: PLR2004 - as above
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    payload = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def _frame(opcode: int, payload: bytes) -> bytes:
    short = len(payload) < 126  # noqa: PLR2004 - the longest payload whose length fits the second byte
    length = bytes((len(payload),)) if short else bytes((126,)) + len(payload).to_bytes(2)
    return bytes((0x80 | opcode,)) + length + payload


async def run(settings: Settings, host: str, port: int) -> None:
    """Serve until TERM or INT."""
    app = App(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stopping.set)

    def announce(bound: int) -> None:
        print(f"shop {settings.version} on http://{host}:{bound}", flush=True)  # noqa: T201 - its log

    serving: Awaitable[None] = app.serve(host, port, announce)
    await serving


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the flags (those of this process unless given) and serve."""
    parser = argparse.ArgumentParser(description="A small web shop to release.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--error-rate", type=float, default=0.0, help="share of requests that fail, 0 to 1")
    parser.add_argument("--latency-ms", type=float, default=4.0, help="median time of an answer")
    parser.add_argument("--latency-factor", type=float, default=1.0, help="multiplies that time")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(arguments)
    settings = Settings(flags.version, flags.error_rate, flags.latency_ms, flags.latency_factor, flags.seed)
    asyncio.run(run(settings, flags.host, flags.port))


if __name__ == "__main__":
    main()
