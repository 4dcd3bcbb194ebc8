"""One HTTP question to the instance, without waiting: the supervisor's loop drives it."""

from __future__ import annotations

import errno
import os
import selectors
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BODY = 200
"""Bytes of the answer's body that are kept for the detail."""
_MOST = 16_384
"""Bytes after which the rest of an answer is not read."""


class Probe:
    """A GET under way; calls `done(ok, text)` once. 2xx and 3xx are good answers.

    `text` says what was asked and what came, for a person:
    `GET /healthz answered 503 Service Unavailable: database is down`.
    """

    __slots__ = ("_done", "_ends", "_got", "_path", "_request", "_selector", "_socket", "_timeout")

    def __init__(
        self,
        selector: selectors.BaseSelector,
        address: tuple[str, int],
        path: str,
        *,
        now: float,
        timeout: float,
        done: Callable[[bool, str], None],
    ) -> None:
        self._selector = selector
        self._path = path
        self._timeout = timeout
        self._ends = now + timeout
        self._done = done
        self._got = b""
        host, port = address
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: crossfade-probe\r\n"
            "Accept: */*\r\nConnection: close\r\n\r\n"
        ).encode("utf-8", "replace")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's signature
        code = self._socket.connect_ex(address)
        selector.register(self._socket, selectors.EVENT_WRITE, self._send)
        if code not in (0, errno.EINPROGRESS):
            self._finish(ok=False, text=os.strerror(code).lower())

    @property
    def ends(self) -> float:
        """When it is over at the latest, on the loop's clock."""
        return self._ends

    def check(self, now: float) -> None:
        """Give up once the time is over."""
        if now >= self._ends:
            self._finish(ok=False, text=f"no answer within {self._timeout:g} s")

    def cancel(self) -> None:
        """Forget the question; `done` is not called."""
        self._done = _ignore
        self._finish(ok=False, text="")

    def _send(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._finish(ok=False, text=os.strerror(code).lower())
            return
        try:
            sent = self._socket.send(self._request)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(ok=False, text=os.strerror(error.errno or 0).lower())
            return
        self._request = self._request[sent:]
        if not self._request:
            self._selector.modify(self._socket, selectors.EVENT_READ, self._receive)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_MOST)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(ok=False, text=os.strerror(error.errno or 0).lower())
            return
        self._got += data
        if data and len(self._got) < _MOST and not _complete(self._got):
            return
        ok, text = judge(self._got)
        self._finish(ok=ok, text=text)

    def _finish(self, *, ok: bool, text: str) -> None:
        if self._socket.fileno() < 0:
            return
        self._selector.unregister(self._socket)
        self._socket.close()
        verb = "" if text.startswith("answered") else "failed: "
        self._done(ok, f"GET {self._path} {verb}{text}")


def judge(answer: bytes) -> tuple[bool, str]:
    r"""Whether an HTTP answer is good, and what it says.

    >>> judge(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nno disk")
    (False, 'answered 503 Service Unavailable: no disk')
    >>> judge(b"HTTP/1.1 204 No Content\r\n\r\n")
    (True, 'answered 204 No Content')
    >>> judge(b"SSH-2.0")
    (False, "answered something that is not HTTP: 'SSH-2.0'")
    """
    if not answer:
        return False, "the connection was closed without an answer"
    head, _, body = answer.partition(b"\r\n\r\n")
    status, _, headers = head.decode("utf-8", "replace").partition("\r\n")
    version, _, rest = status.partition(" ")
    if not version.startswith("HTTP/") or not rest[:3].isdigit():
        return False, f"answered something that is not HTTP: {status[:60]!r}"
    if "transfer-encoding: chunked" in headers.lower():
        body = body.partition(b"\r\n")[2]
    said = " ".join(body[:_BODY].decode("utf-8", "replace").split())
    return rest[0] in "23", f"answered {rest.strip()[:60]}" + (f": {said}" if said else "")


def _complete(answer: bytes) -> bool:
    """Whether enough has come, also from a server that keeps the connection open against our wish."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
    if head.split(b" ", 2)[1:2] in ([b"204"], [b"304"]):
        return True
    return len(body) >= _BODY + 20 or (length.isdigit() and len(body) >= int(length))


def _ignore(ok: bool, text: str) -> None:  # noqa: FBT001 - the signature of `done`
    """Nobody asks any more."""
