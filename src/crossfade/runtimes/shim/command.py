"""The instance's command and everything that came of it: started, signalled, reaped, none left.

Linux: the shim adopts orphaned descendants (`PR_SET_CHILD_SUBREAPER`), so all of them stay findable
below it, and the command is sent TERM when the shim dies (`PR_SET_PDEATHSIG`). Elsewhere neither
exists: what left the command's process group is found by the next start or stop only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal

from crossfade.runtimes.shim.folder import LINUX, descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_F_SETPIPE_SZ = 1031
_PIPE = 1 << 20
_RESET = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that the shim or its interpreter treat in their own way, and the command must not."""
_C = ctypes.CDLL(None, use_errno=True) if LINUX else None


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    if _C is not None:
        _C.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Command:
    """One run of a command; `pid` leads its own session and process group.

    `out` and `err` are the reading ends of its streams. Raises OSError (with the file that it is about)
    when it cannot be executed.
    """

    __slots__ = ("err", "out", "pid", "status")

    def __init__(self, argv: list[str], directory: str, environment: dict[str, str]) -> None:
        self.status: int | None = None
        self.out, out = _pipe()
        self.err, err = _pipe()
        failed, report = os.pipe2(os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(argv, directory, environment, out=out, err=err, report=report, shim=shim)
        for handle in (out, err, report):
            os.close(handle)
        with os.fdopen(failed, "rb") as reader:
            told = reader.read().decode("utf-8", "replace")
        if told:
            os.waitpid(self.pid, 0)
            os.close(self.out)
            os.close(self.err)
            number, _, name = told.partition(" ")
            raise OSError(int(number), os.strerror(int(number)), name)

    def reap(self) -> None:
        """Collect every child that has ended, adopted ones too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)

    @property
    def running(self) -> bool:
        """Whether the command itself runs."""
        return self.status is None

    def remains(self) -> bool:
        """Whether anything of it is left, itself or a descendant."""
        if self.running:
            return True
        if LINUX:
            return bool(descendants(os.getpid()))
        return _group_lives(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the command, its group and all descendants."""
        if LINUX:
            # One by one: a group number may have been given away once its last member was reaped.
            for pid in descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        elif self.remains():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def end(self) -> str:
        """How it ended, for a person."""
        return describe_end(self.status)


def describe_end(status: int | None) -> str:
    """An exit code (negative: the signal that ended it) in words.

    >>> describe_end(3), describe_end(-15)
    ('exited with code 3', 'was ended by SIGTERM')
    >>> describe_end(-9)
    'was ended by SIGKILL (by a person, or by the system when memory ran out)'
    """
    if status is None or status >= 0:
        return f"exited with code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    why = " (by a person, or by the system when memory ran out)" if status == -signal.SIGKILL else ""
    return f"was ended by {name}{why}"


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    if LINUX:
        # Room for a burst; the system may allow less.
        with contextlib.suppress(OSError):
            fcntl.fcntl(reader, _F_SETPIPE_SZ, _PIPE)
    return reader, writer


def _become(
    argv: list[str], directory: str, environment: dict[str, str], *, out: int, err: int, report: int, shim: int
) -> NoReturn:
    """In the forked child: turn into the command, or report why not and end."""
    about = argv[0]
    try:
        os.setsid()
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        if _C is not None:
            _C.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
            if os.getppid() != shim:
                os._exit(127)
        os.dup2(out, 1)
        os.dup2(err, 2)
        about = directory
        os.chdir(directory)
        about = argv[0]
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is what we want
    except OSError as error:
        os.write(report, f"{error.errno} {about}".encode())
    finally:
        os._exit(127)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
