"""A command on a terminal of its own, read and typed into as a person would."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
from pathlib import Path
from typing import Self

from patience import PATIENCE


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.seen = ""
        self._pid, self._master = pty.fork()
        if self._pid == 0:  # the child: it becomes the command
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # also where the tests run in the background
            os.chdir(folder)
            environment = {**os.environ, "TERM": "xterm", "COLUMNS": "140", "LINES": "50"}
            os.execve(  # noqa: S606 - the command itself, with arguments of this test
                sys.executable, [sys.executable, "-m", "crossfade.cli.main", *arguments], environment
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read_until(self, text: str) -> None:
        while text not in " ".join(self.seen.split()):
            assert self._read(), f"{text!r} never came:\n{self.seen}"

    def ends(self) -> int:
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        assert ready, f"silence:\n{self.seen}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the command has ended
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)
