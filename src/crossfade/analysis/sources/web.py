"""Asking over HTTP: with credentials from the environment, never longer or more than wanted, and no secret in what is said."""

from __future__ import annotations

import base64
import math
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from crossfade.analysis.sources.port import Unknown
from crossfade.config.named_metrics import Access
from crossfade.core.errors import UnreachableError

CODE = "metrics.unreachable"
_MOST = 32_000_000
"""Bytes that an answer may have."""
_SHOWN = 200

MISSHAPEN = (KeyError, TypeError, ValueError, AttributeError)
"""What taking a body apart raises that is not of the shape it should have."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: its status, headers, and body as JSON (None where it is none)."""

    status: int
    headers: Mapping[str, str]
    json: Any

    @property
    def ok(self) -> bool:
        """Whether it is an answer at all."""
        return self.status == httpx.codes.OK

    @property
    def object(self) -> dict[str, Any]:
        """The body where it is a JSON object; empty where it is anything else."""
        return self.json if isinstance(self.json, dict) else {}


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: an HTTP client, which whoever made it closes, and the environment in which the secrets stand, read at each request."""

    http: httpx.AsyncClient
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def variable(self, name: str, what: str) -> str:
        """See `variable`."""
        return variable(name, self.environ, what)

    def credentials(self, access: Access) -> dict[str, str]:
        """The headers that `access` asks for; UnreachableError where a variable is not set.

        >>> Client(httpx.AsyncClient(), {"TOKEN": "x"}).credentials(Access(bearer="TOKEN"))
        {'Authorization': 'Bearer x'}
        """
        headers = {name: self.variable(each, f"the value of {name}") for name, each in access.headers.items()}
        if access.bearer is not None:
            headers["Authorization"] = f"Bearer {self.variable(access.bearer, 'the bearer token')}"
        if access.basic is not None:
            known = f"{access.basic.username}:{self.variable(access.basic.password, 'the password')}"
            headers["Authorization"] = f"Basic {base64.b64encode(known.encode()).decode()}"
        return headers

    async def reply(self, request: httpx.Request, who: str) -> Reply:
        """What `who` answers; UnreachableError where there is no answer. The caller limits the time."""
        try:
            answer = await self.http.send(request, stream=True, auth=None, follow_redirects=False)
            try:
                body = bytearray()
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > _MOST:
                        raise UnreachableError(CODE, f"{who} answered with more than {_MOST // 1_000_000} MB")
            finally:
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            raise UnreachableError(CODE, f"{who} cannot be asked: {_kind(error)}") from error
        try:
            json = orjson.loads(body)
        except orjson.JSONDecodeError:
            json = None
        return Reply(answer.status_code, answer.headers, json)


class Clients:
    """HTTP clients by the file of the authority that they trust besides; `root` is what such a path is relative to.

    A client never uses a proxy or credentials that happen to be configured on the machine, and follows no redirect: that would
    carry a token elsewhere.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._clients: dict[str, Client] = {}

    def client(self, ca: str | None, root: str) -> Client:
        """The client for servers signed by `ca`; where that file is none, every request says so, until it is one."""
        key = str(Path(root) / ca) if ca else ""
        if key not in self._clients:
            try:
                verify = ssl.create_default_context(cafile=key or None)
            except OSError as error:
                what = f"{ca} is no file of certificates: {error.strerror or type(error).__name__}"
                return Client(httpx.AsyncClient(transport=_Distrust(what)), self._environ)
            self._clients[key] = Client(httpx.AsyncClient(trust_env=False, verify=verify), self._environ)
        return self._clients[key]

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.http.aclose()


class _Distrust(httpx.AsyncBaseTransport):
    """Stands for a server that cannot be trusted, as nobody knows by what."""

    def __init__(self, what: str) -> None:
        self._what = what

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        """Send nothing, and say why."""
        raise UnreachableError(CODE, self._what, next="name the file of the authority in `ca`")


def variable(name: str, environ: Mapping[str, str], what: str) -> str:
    """The value of an environment variable; UnreachableError, with the name alone, where there is none.

    >>> variable("TOKEN", {"TOKEN": "x"}, "the bearer token")
    'x'
    """
    value = environ.get(name, "").strip()
    if not value:
        raise UnreachableError(CODE, f"the environment variable {name} is not set", next=f"set it to {what}")
    return value


def _kind(error: Exception) -> str:
    """What broke; of a certificate that is not trusted, that."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate is not signed by an authority that is trusted here (name it in `ca`)"
    return type(error).__name__


def refusal(who: str, status: int, headers: Mapping[str, str], why: str, secrets: Iterable[str] = ()) -> Unknown:
    """An answer that holds no value. One that is about the query itself is no passing fault."""
    said = f"{who} answered {status}" + (f": {without(why, secrets)}" if why else "")
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Unknown(f"{said}; check the credentials and what they allow", passing=True)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        wait = pause(headers)
        return Unknown(f"{said}; it wants to be asked less often" + (f", in {wait:.0f} s" if wait else ""), True, wait)  # noqa: FBT003 - `passing`, as above
    return Unknown(said, passing=status >= httpx.codes.INTERNAL_SERVER_ERROR)


def pause(headers: Mapping[str, str]) -> float:
    """Seconds until a server wants to be asked again; 0 where it does not say.

    >>> pause({"retry-after": "30"}), pause({"x-ratelimit-reset": "12"}), pause({"retry-after": "soon"})
    (30.0, 12.0, 0.0)
    """
    for name in ("retry-after", "x-ratelimit-reset"):
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return 0.0


def without(text: str, secrets: Iterable[str]) -> str:
    r"""A server's own words in one line, without any of `secrets`.

    >>> without("bad key abc123\n", ["abc123"])
    'bad key …'
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "…")
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
