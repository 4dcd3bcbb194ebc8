"""What an instance prints: lines with a time, in files that rotate, and never in its way.

A line is `2026-11-21T09:57:28.123456Z out the text`. Both streams share one file, so their order is
kept. Files count upwards and are never renamed: who follows goes on to the next number.

When a line cannot be written (disk full, folder unwritable) it is dropped and counted. The instance
goes on; a line in the log says how many are missing as soon as there is room again.
"""

# ruff: noqa: PTH103, PTH108, PTH208 - pathlib is too heavy for a process of which every instance has one

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 16_384
"""Bytes after which a line without an end is written as it is."""
_REMEMBERED = 10
_RETRY = 1.0


class Journal:
    """Writes one instance's log; `feed` never raises and never waits for anything but the disk.

    `dropped` lines could not be written because of `fault`; `last` are the newest lines.
    """

    def __init__(self, folder: str, max_size: int, keep: int, clock: Callable[[], float] = time.time) -> None:
        self.dropped = 0
        self.fault = ""
        self.last: deque[str] = deque(maxlen=_REMEMBERED)
        self._folder = folder
        self._max_size = max_size
        self._keep = keep
        self._clock = clock
        self._partial = {"out": b"", "err": b""}
        self._untold = 0
        self._handle = -1
        self._size = 0
        self._retry_at = 0.0

    def feed(self, stream: str, data: bytes) -> None:
        """Take what came from `stream` (`out` or `err`); the last line may still be incomplete."""
        whole, found, rest = (self._partial[stream] + data).rpartition(b"\n")
        if not found and len(rest) > _LONGEST:
            whole, found, rest = rest, b"\n", b""
        self._partial[stream] = rest
        if found:
            self._lines(stream, whole)

    def flush(self) -> None:
        """Write incomplete lines as they are: their stream has ended."""
        for stream, rest in self._partial.items():
            if rest:
                self._lines(stream, rest)
            self._partial[stream] = b""

    def note(self, text: str) -> None:
        """A line of Crossfade's own, among the instance's."""
        self._write(self._stamp("err") + f"crossfade: {text}\n".encode())

    def recover(self) -> None:
        """Try again to write after a fault, also when the instance prints nothing more; at most once a second."""
        if self.fault:
            self._write(b"")

    def _lines(self, stream: str, whole: bytes) -> None:
        for line in whole[-4000:].split(b"\n")[-_REMEMBERED:]:
            self.last.append(line[:300].decode("utf-8", "replace").rstrip())
        stamp = self._stamp(stream)
        self._write(stamp + whole.replace(b"\n", b"\n" + stamp) + b"\n")

    def _stamp(self, stream: str) -> bytes:
        now = self._clock()
        whole = int(now // 1)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((now - whole) * 1e6):06d}Z {stream} ".encode()

    def _write(self, text: bytes) -> None:
        if self._handle < 0 and time.monotonic() < self._retry_at:
            self._drop(text)
            return
        try:
            if self._handle < 0:
                self._open()
            if self._untold:
                self._tell_dropped()
            while text:
                text = self._append(text)
        except OSError as error:
            self.fault = os.strerror(error.errno or 0)
            self._retry_at = time.monotonic() + _RETRY
            self._close()
            self._drop(text)

    def _drop(self, text: bytes) -> None:
        lines = text.count(b"\n")
        self.dropped += lines
        self._untold += lines

    def _tell_dropped(self) -> None:
        told = f"crossfade: {self._untold} lines were dropped: {self.fault}\n".encode()
        text = self._stamp("err") + told
        while text:  # a file that is full is rotated first
            text = self._append(text)
        self._untold = 0
        self.fault = ""

    def _append(self, text: bytes) -> bytes:
        """Write what fits into the current file, whole lines only; returns the rest."""
        room = self._max_size - self._size
        piece = text
        if len(text) > room:
            end = text.rfind(b"\n", 0, max(0, room)) + 1
            if end == 0 and self._size:
                self._rotate()
                return text
            piece = text[: end or text.find(b"\n") + 1]
        written = os.write(self._handle, piece)
        if written < len(piece):
            # Half a line would be read as a whole one.
            os.ftruncate(self._handle, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        return text[written:]

    def _open(self) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._use(max(self._numbers(), default=1))

    def _use(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._handle = os.open(f"{self._folder}/{number:08d}.log", flags, 0o600)
        self._size = os.fstat(self._handle).st_size

    def _rotate(self) -> None:
        self._close()
        numbers = sorted(self._numbers())
        newest = (numbers or [0])[-1] + 1
        for number in numbers:
            if number <= newest - 1 - self._keep:
                with contextlib.suppress(OSError):
                    os.unlink(f"{self._folder}/{number:08d}.log")
        self._use(newest)

    def _numbers(self) -> list[int]:
        return [int(name[:-4]) for name in os.listdir(self._folder) if name.endswith(".log") and name[:-4].isdigit()]

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
