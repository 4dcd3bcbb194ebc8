"""Constant load from outside, and an exact account of what became of every request.

Open loop: requests start on a fixed schedule whatever the answers do, so a stall shows as failures
and latency and not as less load. The mix of kinds is drawn from a seed. Every request ends as one
`Sample`; a failed one carries its cause, and the version that answered tells an application's own
error (it has a version) from something that was dropped on the way (it has none).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["get", "get-fresh", "post", "post-fresh", "slow", "sse", "websocket"]
Cause = Literal["", "status", "refused", "reset", "timeout", "truncated", "protocol"]

BROWSING: Mapping[Kind, float] = {"get": 70, "get-fresh": 10, "post": 15, "post-fresh": 5}
"""What visitors of a shop do, as relative frequencies."""

EVERYTHING: Mapping[Kind, float] = {
    "get": 500, "get-fresh": 240, "post": 180, "post-fresh": 76, "slow": 2, "sse": 1, "websocket": 1,
}  # fmt: skip
"""Every kind there is, with the long ones rare."""

LEAST_FAILURE = 500
LONG: frozenset[Kind] = frozenset({"slow", "sse", "websocket"})


@dataclass(frozen=True, slots=True)
class Sample:
    """What became of one request: `at` is its start in epoch seconds, `ms` its whole duration.

    `status` is 0 and `version` empty when nobody answered.
    """

    at: float
    kind: Kind
    status: int
    version: str
    ms: float
    cause: Cause = ""
    detail: str = ""

    @property
    def failed(self) -> bool:
        """Whether the visitor did not get what the request was for."""
        return self.cause != ""

    @property
    def dropped(self) -> bool:
        """Whether it failed without any version having answered: lost on the way."""
        return self.failed and not self.version


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of what: `rps` requests a second, kinds in the proportions of `mix`.

    `timeout` bounds one request in seconds; `stream_ms` is how long a stream or websocket lives;
    `slow_ms` how long a slow request works; `headers` go with every request. With `most_in_flight` the
    schedule waits when so many are under way: for machines that may be too busy for the load itself.
    """

    rps: float = 200.0
    mix: Mapping[Kind, float] = field(default_factory=lambda: dict(BROWSING))
    seed: int = 0
    timeout: float = 15.0
    slow_ms: int = 2000
    stream_ms: int = 2000
    body_bytes: int = 512
    paths: tuple[str, ...] = ("/", "/api/products", "/api/products/2")
    headers: Mapping[str, str] = field(default_factory=dict)
    most_in_flight: int | None = None


class _DroppedError(Exception):
    """A request that was answered in part, or not as HTTP has it."""

    def __init__(self, *, cause: Cause, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.cause, self.detail, self.status = cause, detail, status


class Load:
    """A running load on one `host:port`.

    `samples` grows as requests end; `on_sample` is called for each as well. `start` begins, `stop`
    starts no further request and waits for those under way.
    """

    def __init__(
        self, address: str, plan: Plan | None = None, on_sample: Callable[[Sample], None] | None = None
    ) -> None:
        self.plan = plan or Plan()
        self.samples: list[Sample] = []
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._on_sample = on_sample
        self._random = random.Random(self.plan.seed)  # noqa: S311 - a load to repeat, not a secret
        self._idle: list[_Connection] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._pacer: asyncio.Task[None] | None = None
        self._body = self._random.randbytes(self.plan.body_bytes)
        self._digest = hashlib.sha256(self._body).hexdigest().encode()

    @property
    def in_flight(self) -> int:
        """Requests that have started and not ended."""
        return len(self._under_way)

    async def run(self, seconds: float) -> list[Sample]:
        """Load for `seconds` and return every sample once the last request has ended."""
        self.start()
        await asyncio.sleep(seconds)
        await self.stop()
        return self.samples

    def start(self) -> None:
        """Begin; requests start on their schedule until `stop`."""
        self._pacer = asyncio.create_task(self._pace(), name="load")

    async def stop(self) -> None:
        """Start no further request, wait for those under way, close the idle connections."""
        if self._pacer is not None:
            self._pacer.cancel()
            await asyncio.wait([self._pacer])
            if not self._pacer.cancelled() and (error := self._pacer.exception()):
                raise error
        while self._under_way:
            await asyncio.wait(tuple(self._under_way))
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _pace(self) -> None:
        began, sent, most = time.monotonic(), 0, self.plan.most_in_flight
        kinds, weights = zip(*self.plan.mix.items(), strict=True)
        while True:
            due = max(int((time.monotonic() - began) * self.plan.rps) + 1 - sent, 0)
            now = due if most is None else max(min(due, most - len(self._under_way)), 0)
            for _ in range(now):  # one draw each: what is drawn must not depend on how time passes
                kind = self._random.choices(kinds, weights)[0]
                task = asyncio.create_task(self._one(kind, self._random.choice(self.plan.paths)))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            sent += now
            began += (due - now) / self.plan.rps  # what found no room is put off, not made up for
            await asyncio.sleep(max(began + sent / self.plan.rps - time.monotonic(), 0.0005))

    async def _one(self, kind: Kind, path: str) -> None:
        at, began = time.time(), time.monotonic()
        status, version, cause, detail = 0, "", "", ""
        try:
            async with asyncio.timeout(self.plan.timeout):
                status, version = await self._exchange(kind, path)
            if status >= LEAST_FAILURE:
                cause = "status"
        except _DroppedError as error:
            status, cause, detail = error.status, error.cause, error.detail
        except TimeoutError:
            cause, detail = "timeout", f"no answer within {self.plan.timeout} s"
        except ConnectionRefusedError as error:
            cause, detail = "refused", str(error)
        except (ConnectionError, OSError) as error:
            cause, detail = "reset", str(error)
        except asyncio.IncompleteReadError as error:
            cause, detail = ("truncated" if error.partial else "reset"), f"closed after {len(error.partial)} bytes"
        sample = Sample(at, kind, status, version, (time.monotonic() - began) * 1000, cause, detail)  # type: ignore[arg-type]  # the literals above
        self.samples.append(sample)
        if self._on_sample is not None:
            self._on_sample(sample)

    async def _exchange(self, kind: Kind, path: str) -> tuple[int, str]:
        match kind:
            case "get":
                going = self._kept(self._get(path))
            case "get-fresh":
                going = self._fresh(self._get(path, close=True))
            case "slow":
                going = self._fresh(self._get(f"/slow?ms={self.plan.slow_ms}", close=True))
            case "post":
                going = self._kept(self._post(), self._digest)
            case "post-fresh":
                going = self._fresh(self._post(close=True), self._digest)
            case "sse":
                count = max(self.plan.stream_ms // 100, 1)
                going = self._fresh(self._get(f"/sse?count={count}&ms=100", close=True), b"event: end")
            case "websocket":
                going = self._websocket()
        return await going

    async def _kept(self, request: bytes, expected: bytes = b"") -> tuple[int, str]:
        """Ask on an idle keep-alive connection, or open one more."""
        connection = self._idle.pop() if self._idle else await _Connection.open(self._host, self._port)
        try:
            status, version, reusable = await connection.ask(request, expected)
        except BaseException:
            connection.close()
            raise
        if reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return status, version

    async def _fresh(self, request: bytes, expected: bytes = b"") -> tuple[int, str]:
        connection = await _Connection.open(self._host, self._port)
        try:
            status, version, _ = await connection.ask(request, expected)
        finally:
            connection.close()
        return status, version

    async def _websocket(self) -> tuple[int, str]:
        connection = await _Connection.open(self._host, self._port)
        try:
            return await connection.converse(self._head("GET", "/ws", close=False), self.plan.stream_ms / 1000)
        finally:
            connection.close()

    def _get(self, path: str, *, close: bool = False) -> bytes:
        return self._head("GET", path, close=close) + b"\r\n"

    def _post(self, *, close: bool = False) -> bytes:
        length = f"Content-Type: application/octet-stream\r\nContent-Length: {len(self._body)}\r\n\r\n".encode()
        return self._head("POST", "/api/orders", close=close) + length + self._body

    def _head(self, method: str, path: str, *, close: bool) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in self.plan.headers.items()]
        if close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n").encode()


class _Connection:
    """One connection that speaks just enough HTTP/1.1 to know whether an answer came whole."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port))

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: bytes, expected: bytes) -> tuple[int, str, bool]:
        """Status, version, and whether the connection may be used again."""
        self._writer.write(request)
        status, headers = await self._read_head()
        version = headers.get("x-app-version", "")
        try:
            body = await self._read_body(headers)
        except asyncio.IncompleteReadError as error:
            raise _DroppedError(
                cause="truncated", detail=f"the body ended after {len(error.partial)} bytes", status=status
            ) from error
        if status < LEAST_FAILURE and expected not in body:
            raise _DroppedError(cause="truncated", detail="the body is not what was asked for", status=status)
        return status, version, headers.get("connection", "").lower() != "close"

    async def converse(self, head: bytes, seconds: float) -> tuple[int, str]:
        """Open a websocket, exchange a message every 100 ms for `seconds`, and close it in order."""
        key = base64.b64encode(os.urandom(16))
        extra = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        self._writer.write(head + extra + key + b"\r\n\r\n")
        status, headers = await self._read_head()
        version = headers.get("x-app-version", "")
        if status != 101:  # noqa: PLR2004 - Switching Protocols
            if status >= LEAST_FAILURE:
                return status, version
            raise _DroppedError(cause="protocol", detail=f"answered {status} to an upgrade", status=status)
        for number in range(max(int(seconds * 10), 1)):
            message = f"message {number}".encode()
            if await self._echo(0x1, message) != (0x1, message):
                raise _DroppedError(
                    cause="truncated", detail=f"the websocket was closed after {number} messages", status=status
                )
            await asyncio.sleep(0.1)
        await self._echo(0x8, (1000).to_bytes(2))
        return status, version

    async def _echo(self, opcode: int, payload: bytes) -> tuple[int, bytes]:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._writer.write(bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked)
        first, length = await self._reader.readexactly(2)
        return first & 0x0F, await self._reader.readexactly(length & 0x7F)

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return int(first.split(" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if (length := headers.get("content-length")) is not None:
            return await self._reader.readexactly(int(length))
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._reader.read()
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readuntil(b"\r\n")
        return body


def causes(samples: list[Sample]) -> Counter[str]:
    """Failures by cause, such as `status 500 from 1.1.0` or `reset`.

    >>> bad = Sample(0.0, "get", 500, "1.1.0", 3.2, "status")
    >>> causes([bad, Sample(0.0, "get", 200, "1.0.0", 2.0), Sample(0.0, "post", 0, "", 1.0, "reset")])
    Counter({'status 500 from 1.1.0': 1, 'reset': 1})
    """
    tally: Counter[str] = Counter()
    for sample in samples:
        if sample.failed:
            origin = f" from {sample.version}" if sample.version else ""
            tally[f"status {sample.status}{origin}" if sample.cause == "status" else sample.cause] += 1
    return tally
