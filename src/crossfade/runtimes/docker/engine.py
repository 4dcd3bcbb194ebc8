"""One Docker Engine: the SDK's client in threads, and its faults as ours.

There is one client for each engine in a process, made when it is first needed.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import docker  # type: ignore[import-untyped]  # has no types
import requests
from docker.errors import APIError, DockerException, TLSParameterError  # type: ignore[import-untyped]  # has no types
from docker.tls import TLSConfig  # type: ignore[import-untyped]  # has no types

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.runtimes.docker.tunnel import Tunnel

T = TypeVar("T")

ANSWER_WITHIN: Final = 10.0
"""Seconds after which an engine that says nothing counts as hung."""
_AT_ONCE: Final = 12
"""Calls under way at the same time; a component has at most that many instances in a slot."""
_FIRST_API: Final = "1.24"
"""What the question for the version is asked with; the answer decides all the others."""
_MISSING: Final = 404
_CONFLICT: Final = 409
_FAULTS_OF_ITS_OWN: Final = 500


@dataclass(frozen=True, slots=True)
class Place:
    """How an engine is reached: its URL, and the absolute paths of authority, certificate and key for `tcp://`."""

    host: str
    tls: tuple[str, str, str] | None = None


_ENGINES: dict[Place, Engine] = {}
_GUARD = threading.Lock()


def engine_at(place: Place) -> Engine:
    """The process's client for `place`."""
    with _GUARD:
        return _ENGINES.setdefault(place, Engine(place))


class Engine:
    """Asks one engine; every fault is a `CrossfadeError` that says what to do."""

    def __init__(self, place: Place, *, answer_within: float = ANSWER_WITHIN) -> None:
        self.place = place
        self._answer_within = answer_within
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="docker")
        self._making = threading.Lock()
        self._client: Any = None
        self._tunnel: Tunnel | None = None

    @property
    def is_local(self) -> bool:
        """Whether its ports are this machine's."""
        return self.place.host.startswith("unix://")

    async def call(self, do: Callable[[Any], T]) -> T:
        """What `do(client)` returns; it may run twice, as everything that we ask for may.

        Raises UnreachableError where the engine does not answer, `docker.missing` for what is not there,
        `docker.conflict` where somebody else does the same, and `docker.refused` for anything else that it refuses.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.call_here, do)

    def call_here(self, do: Callable[[Any], T]) -> T:
        """Do the same in the thread of the caller."""
        try:
            try:
                return do(self._connected())
            except requests.ConnectionError as error:
                if isinstance(_cause(error), FileNotFoundError | PermissionError | ConnectionRefusedError):
                    raise
                return do(self._connected())  # a connection of before the engine was restarted
        except (DockerException, requests.RequestException, OSError) as error:
            raise self._told(error) from error

    def _connected(self) -> Any:
        with self._making:
            if self._tunnel is not None and not self._tunnel.alive:
                self._client = None
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        url = self.place.host
        if url.startswith("ssh://"):
            self._tunnel = self._tunnel or Tunnel(url)
            url = self._tunnel.open()
        tls = None
        if self.place.tls is not None:
            authority, certificate, key = self.place.tls
            try:
                tls = TLSConfig(client_cert=(certificate, key), ca_cert=authority, verify=True)
            except TLSParameterError as error:
                raise BadInputError(
                    "docker.tls",
                    f"the certificates for the Docker Engine cannot be used: {error.msg.split('.')[0]}",
                    where=", ".join(self.place.tls),
                    next="correct the files of `runtime.tls`",
                ) from error
        asking = self._make(url, tls, _FIRST_API)
        try:
            version = asking.version(api_version=False)["ApiVersion"]
        finally:
            asking.close()
        return self._make(url, tls, version)

    def _make(self, url: str, tls: Any, version: str) -> Any:
        client = docker.APIClient(
            base_url=url, version=version, timeout=self._answer_within, tls=tls or False, max_pool_size=_AT_ONCE
        )
        client.trust_env = False  # a proxy for the internet is none for an engine
        return client

    def _told(self, error: Exception) -> CrossfadeError:
        host = self.place.host
        if isinstance(error, APIError):
            return self._refusal(error)
        if isinstance(error, requests.Timeout):
            what = f"the Docker Engine did not answer within {self._answer_within:g} s"
            how = "look at its log (journalctl -u docker); restart it where it hangs: with live-restore, containers run on"
            return UnreachableError("docker.silent", what, where=host, next=how)
        cause = _cause(error)
        if isinstance(cause, PermissionError):
            how = "put this user into the group of the socket (usually docker), or use another host"
            return BadInputError(
                "docker.permission", "this user may not talk to the Docker Engine", where=host, next=how
            )
        if isinstance(error, requests.exceptions.SSLError):
            what = f"the Docker Engine and we do not trust each other: {cause}"
            return BadInputError(
                "docker.tls", what, where=host, next="check the certificates of `runtime.tls`, and their dates"
            )
        how = "start it (systemctl start docker), or correct `runtime.host`"
        return UnreachableError(
            "docker.unreachable", f"the Docker Engine cannot be reached: {_reason(cause)}", where=host, next=how
        )

    def _refusal(self, error: APIError) -> CrossfadeError:
        said = " ".join(str(error.explanation or error).split())
        status = error.status_code or _FAULTS_OF_ITS_OWN
        code = {_MISSING: "docker.missing", _CONFLICT: "docker.conflict"}.get(status, "docker.refused")
        return CrossfadeError(
            code,
            f"the Docker Engine refuses: {said}",
            where=self.place.host,
            next="do what it says; `docker ps -a` and its log show more",
            retry=status >= _FAULTS_OF_ITS_OWN,
        )

    def close(self) -> None:
        """Let go of connections, threads and tunnel; the next call makes them anew, threads excepted."""
        with self._making:
            if self._client is not None:
                self._client.close()
                self._client = None
            if self._tunnel is not None:
                self._tunnel.close()
                self._tunnel = None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        linked = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        todo += [each for each in linked if isinstance(each, BaseException)]


def _cause(error: BaseException) -> BaseException:
    """What the system said, below all that was wrapped around it."""
    own = (requests.RequestException,)
    plain = [each for each in _chain(error) if isinstance(each, OSError) and not isinstance(each, own)]
    return next((each for each in plain if each.errno is not None), plain[0] if plain else error)


def _reason(cause: BaseException) -> str:
    if isinstance(cause, OSError) and cause.errno == errno.ENOENT:
        return "nobody has made its socket"
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
