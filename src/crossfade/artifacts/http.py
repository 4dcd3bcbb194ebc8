"""One polite HTTP client for every registry: paced, patient, bounded in time, and discreet about secrets.

An answer that a caller can act on is a value (success, 404, and the statuses that it names); every other one is an error
that tells what the registry said. Whoever makes a client closes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeVar
from urllib.parse import unquote

import httpx
import orjson

from crossfade import __version__
from crossfade.artifacts.answers import CHUNK, MISSING, Answer, FileBody, Stream, message
from crossfade.artifacts.credentials import Login, basic, masked
from crossfade.artifacts.http_errors import BROKE_OFF, broke_off, failed, gave_up, refused, too_large
from crossfade.artifacts.manners import Manners, Pace, Trouble, backoff, next_attempt, seconds_asked
from crossfade.artifacts.port import RefusedError, Secret
from crossfade.core.clock import Clock, SystemClock
from crossfade.core.durations import format_duration, format_size
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

MOST = 256 * 1024 * 1024
"""Bytes of an answer that is read into memory; what may be larger is streamed."""
_SHOWN = 300
_REFUSALS = (401, 403, 407)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Order:
    """One request as the caller means it."""

    method: str
    url: httpx.URL
    headers: dict[bytes, bytes]
    content: bytes | FileBody | None
    login: Login | None

    @property
    def size(self) -> int:
        if isinstance(self.content, FileBody):
            return self.content.size
        return len(self.content or b"")

    def __str__(self) -> str:
        return f"{self.method} {unquote(self.url.path)}"


class RegistryClient:
    """Requests to one registry.

    `name` is its name in the file, `url` its base address; relative paths are below it. `login` is shown to its own origin
    only. `clock` and `chance` are time and randomness in [0, 1).
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        login: Login | None = None,
        manners: Manners | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        address = _address(name, url)
        self.name, self.manners = name, manners or Manners()
        if login is None and address.userinfo:
            login = basic(Secret(address.username), Secret(address.password), f"registries.{name}.url")
        self.url = address.copy_with(username=None, password=None)
        self.login = login
        self._clock: Clock = clock or SystemClock()
        self._chance = chance
        self._pace, self._turn = Pace(self.manners.rate), asyncio.Lock()
        self._places = asyncio.Semaphore(self.manners.connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        if "_http" in self.__dict__:
            await self._http.aclose()

    @property
    def where(self) -> str:
        """The registry, as errors name it."""
        return f"registry {self.name} ({str(self.url).rstrip('/')})"

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | FileBody | None = None,
        expect: Collection[int] = (),
        repeatable: bool | None = None,
        login: Login | None = None,
    ) -> Answer:
        """The answer, when it is a success, 404 or one of `expect`.

        `path` is below the base address or a whole address; a leading slash is no other root. `json` is a value that
        becomes the body. `repeatable` says that a second one does no harm where the first may have arrived, which reading
        always is. `login` replaces the client's own. RefusedError: 401 or 403; UnreachableError: no answer in time,
        or none that helps after all attempts; CrossfadeError: any other answer.
        """
        order = self._order(method, path, headers, content if json is None else orjson.dumps(json), login)
        if json is not None:
            order.headers.setdefault(b"content-type", b"application/json")
        async with self._answered(order, expect, repeatable=repeatable, whole=True) as (response, body):
            return Answer(response.status_code, response.headers, body, _shown(response.url))

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = (),
        login: Login | None = None,
    ) -> AsyncGenerator[Stream]:
        """As `request`, with a body that may be of any size. It keeps one of the connections until it is left.

        A connection that breaks while the body is read is an UnreachableError from `chunks`; the caller begins again.
        """
        # The bytes as they lie there: a compressed file must not be taken for a compressed transfer.
        plain = {"accept-encoding": "identity", **(headers or {})}
        order = self._order(method, path, plain, None, login)
        async with self._answered(order, expect, repeatable=None, whole=False) as (response, _):
            yield Stream(response.status_code, response.headers, self._chunks(response, order, None))

    async def digests(
        self,
        path: str,
        algorithms: Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        login: Login | None = None,
    ) -> dict[str, str] | None:
        """The digests (hex, by `hashlib`'s names) of all bytes at `path`, read in pieces; None when it is missing."""
        done = 0
        while True:
            done += 1
            hashes = [hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms]
            try:
                async with self.stream("GET", path, headers=headers, login=login) as answer:
                    if answer.status == MISSING:
                        return None
                    async for chunk in answer.chunks:
                        for each in hashes:
                            each.update(chunk)
            except UnreachableError as error:
                if error.code != BROKE_OFF or done >= self.manners.attempts:
                    raise
                await self.pause(done)
            else:
                return {name: each.hexdigest() for name, each in zip(algorithms, hashes, strict=True)}

    async def pause(self, done: int) -> None:
        """Wait as after `done` attempts that did not help, yet never for no time at all: something is to come about meanwhile."""
        await self._clock.sleep(backoff(done, self.manners, (1 + self._chance()) / 2))

    def mask(self, text: str, login: Login | None = None) -> str:
        """`text` without what nobody may read: the client's own secrets, and those of `login`."""
        return masked(text, [secret for each in (login, self.login) if each for secret in each.secrets])

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        # Our own limits are stricter and know of sizes, so httpx needs none but for a connection to come about.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=self.manners.connections)
        timeout = httpx.Timeout(None, connect=self.manners.timeout)
        agent = {"user-agent": f"crossfade/{__version__}"}
        return httpx.AsyncClient(headers=agent, timeout=timeout, limits=limits, max_redirects=10)

    def _order(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        content: bytes | FileBody | None,
        login: Login | None,
    ) -> _Order:
        url = self._locate(path)
        own = login or (self.login if _origin(url) == _origin(self.url) else None)
        coded = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
        if own is not None:
            coded[b"authorization"] = own.header.value.encode()
        if isinstance(content, FileBody):
            coded[b"content-length"] = str(content.size).encode()
        return _Order(method, url, coded, content, own)

    def _locate(self, path: str) -> httpx.URL:
        if path.startswith(("http://", "https://")):
            return _address(self.name, path)
        return httpx.URL(f"{str(self.url).rstrip('/')}/{path.lstrip('/')}")

    @asynccontextmanager
    async def _answered(
        self, order: _Order, expect: Collection[int], *, repeatable: bool | None, whole: bool
    ) -> AsyncGenerator[tuple[httpx.Response, bytes]]:
        """An answer to act on and, when the `whole` of it is wanted, its body."""
        harmless = order.method in _SAFE if repeatable is None else repeatable
        done = 0
        while True:
            done += 1
            async with AsyncExitStack() as held:
                await held.enter_async_context(self._places)
                trouble = await self._attempt(order, expect, held, whole=whole)
                if not isinstance(trouble, Trouble):
                    yield trouble
                    return
            wait = next_attempt(trouble, done, self.manners, repeatable=harmless, chance=self._chance())
            if wait is None:
                said = self.mask(trouble.what, order.login)
                raise gave_up(self.name, self.where, str(order), trouble, said=said, attempts=done)
            if trouble.asked is not None:
                self._pace.hold(self._clock.now(), trouble.asked)
            await self._clock.sleep(wait)

    async def _attempt(
        self, order: _Order, expect: Collection[int], held: AsyncExitStack, *, whole: bool
    ) -> tuple[httpx.Response, bytes] | Trouble:
        """One attempt: an answer that the caller can act on (open in `held`), or what went wrong."""
        await self._my_turn()
        try:
            response = await self._send(order)
        except httpx.TransportError as error:
            return _trouble(error, order)
        except TimeoutError:
            limit = format_duration(self.manners.time_for(order.size))
            return Trouble(f"did not answer within {limit}")
        except httpx.TooManyRedirects:
            return Trouble("redirects in a circle", passing=False)
        held.push_async_callback(response.aclose)
        if response.is_success or response.status_code == MISSING or response.status_code in expect:
            try:
                return response, await self._whole(response, order) if whole else b""
            except UnreachableError as error:
                return Trouble(error.what.removeprefix(f"{order}: {self.name} "))
        said = await self._said(response, order)
        if response.status_code in _REFUSALS:
            raise self._refused(order, response, said)
        asked = seconds_asked(response.headers.get("retry-after"), self._clock.now())
        trouble = Trouble(f"answered {response.status_code}{said}", response.status_code, asked=asked)
        if trouble.heals:
            return trouble
        raise failed(self.name, self.where, str(order), status=response.status_code, said=said)

    async def _send(self, order: _Order) -> httpx.Response:
        body = order.content.chunks() if isinstance(order.content, FileBody) else order.content
        request = self._http.build_request(order.method, order.url, headers=order.headers, content=body)
        async with asyncio.timeout(self.manners.time_for(order.size)):
            # A redirect of a write would be followed as something else: it is an answer that the caller must expect.
            return await self._http.send(request, stream=True, follow_redirects=order.method in _SAFE)

    async def _my_turn(self) -> None:
        async with self._turn:
            while (wait := self._pace.wait(self._clock.now())) > 0:
                await self._clock.sleep(wait)
            self._pace.begin(self._clock.now())

    async def _chunks(self, response: httpx.Response, order: _Order, most: int | None) -> AsyncIterator[bytes]:
        """The body. Waiting for it takes no longer than its size allows, whatever the caller does in between."""
        loop, received, waited = asyncio.get_running_loop(), 0, 0.0
        body = response.aiter_bytes(CHUNK if most is None else None)
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(self.manners.time_for(received) - waited):
                    chunk = await anext(body, None)
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise self._broke_off(order, str(error) or type(error).__name__) from None
            except TimeoutError:
                limit = format_duration(self.manners.timeout)
                raise self._broke_off(order, f"hardly anything came for {limit}") from None
            if chunk is None:
                return
            waited += loop.time() - began
            received += len(chunk)
            if most is not None and received > most:
                raise too_large(self.name, self.where, str(order), most=format_size(most))
            yield chunk

    async def _whole(self, response: httpx.Response, order: _Order) -> bytes:
        return b"".join([chunk async for chunk in self._chunks(response, order, MOST)])

    async def _said(self, response: httpx.Response, order: _Order) -> str:
        """What the body says about it, as ` (…)`, or nothing."""
        try:
            body = await self._whole(response, order)
        except CrossfadeError:
            return ""
        text = " ".join(message(body, response.headers.get("content-type", "")).split())
        text = self.mask(text, order.login)
        return f" ({text if len(text) <= _SHOWN else text[:_SHOWN] + '…'})" if text else ""

    def _refused(self, order: _Order, response: httpx.Response, said: str) -> RefusedError:
        variables = " and ".join(order.login.variables) if order.login else ""
        otp = "otp" in response.headers.get("www-authenticate", "").lower()
        return refused(
            self.name, self.where, str(order), status=response.status_code, said=said, variables=variables, otp=otp
        )

    def _broke_off(self, order: _Order, why: str) -> UnreachableError:
        return broke_off(self.name, self.where, str(order), why=self.mask(why, order.login))


def _address(name: str, url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BadInputError(
            "registry.bad-url",
            f"the address of a registry cannot be read: {error}",
            where=f"registries.{name}.url",
            next="write it as https://HOST/PATH",
        ) from None
    if address.scheme not in ("http", "https") or not address.host:
        raise BadInputError(
            "registry.bad-url",
            "the address of a registry begins with http:// or https:// and names a host",
            where=f"registries.{name}.url",
            next="write it as https://HOST/PATH",
        )
    return address


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _shown(url: httpx.URL) -> str:
    """An address without what may be secret in it."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _trouble(error: httpx.TransportError, order: _Order) -> Trouble:
    sent = not isinstance(error, _UNSENT)
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return Trouble(f"shows a certificate that is not trusted: {reason}", sent=False, passing=False)
    if not sent:
        return Trouble(f"cannot be reached at {order.url.netloc.decode()}: {reason}", sent=False)
    return Trouble(f"broke the connection off: {reason}")
