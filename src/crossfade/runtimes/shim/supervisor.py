"""The shim's loop: what happened → what is due → what is true now."""

# ruff: noqa: PTH110 - pathlib is too heavy for a process of which every instance has one

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time

from crossfade.runtimes.shim.checks import Checks
from crossfade.runtimes.shim.command import Command, adopt_orphans
from crossfade.runtimes.shim.folder import (
    LINUX,
    MARKER,
    PORT,
    Folder,
    beat,
    boot,
    born,
    claim,
    open_wake,
    read_json,
    sign,
    write_state,
)
from crossfade.runtimes.shim.journal import Journal
from crossfade.runtimes.shim.ports import Port
from crossfade.runtimes.shim.restarts import Backoff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEARTBEAT = 5.0
"""Seconds between two signs of life."""
_LOOK = 1.0
"""Longest time without a look at the folder: a stop whose wake-up was lost is seen by then."""
_ENDING = 0.05
"""Time between two looks whether the command's processes are gone."""
_WRITE = 0.2
"""Shortest time between two writes of what merely counts; what decides is written at once."""
_URGENT = ("state", "port", "command")
_CHUNK = 1 << 16


def main(path: str) -> None:
    """Supervise the instance in the folder `path` until it is told to stop; says how that began on stdout."""
    folder = Folder(path)
    lock = claim(folder)
    if lock is None:
        _tell("busy")
        return
    spec = read_json(folder.spec)
    if spec is None:
        _tell("stopped")
        return
    sign(lock, os.getpid())
    adopt_orphans()
    supervisor = Supervisor(folder, spec, lock)
    supervisor.write()
    _tell("running")
    supervisor.run()


def _tell(word: str) -> None:
    with contextlib.suppress(OSError):
        os.write(1, word.encode() + b"\n")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


class Supervisor:
    """One instance's life. Phases: `waiting` (for the next start), `running`, `ending`, `over`."""

    def __init__(self, folder: Folder, spec: dict[str, Any], lock: int) -> None:
        self.folder = folder
        self.spec = spec
        self.lock = lock
        self.selector = selectors.DefaultSelector()
        self.journal = Journal(folder.log, spec["logs"]["max_size"], spec["logs"]["keep"])
        self.backoff = Backoff(**spec["restart"])
        self.port = Port(spec["host"])
        self.checks: Checks | None = None
        self.command: Command | None = None
        self.command_born = 0
        self.phase = "waiting"
        self.start_at = time.monotonic()
        self.started = self.start_at
        self.kill_at = 0.0
        self.beat_at = 0.0
        self.since = time.time()
        self.reason = "the command is being started"
        self.stopping = False
        self.backing_off = False
        self.asked = False
        self.restarts = 0
        self.wanted_port = 0
        self.written: dict[str, Any] = {}
        self.write_at = 0.0
        self.me = {"pid": os.getpid(), "born": born(os.getpid()), "boot": boot()}
        self._remember()
        self._listen()

    def _remember(self) -> None:
        """Take over from a shim that ended without being told to: its port and its count."""
        before = read_json(self.folder.state)
        if before is not None and before.get("state") != "ended" and before.get("version") == self.spec["version"]:
            self.wanted_port = int(before.get("port") or 0)
            self.restarts = int(before.get("restarts") or 0) + 1

    def _listen(self) -> None:
        reader, writer = os.pipe()
        for handle in (reader, writer):
            os.set_blocking(handle, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(ignored, signal.SIG_IGN)
        self.selector.register(reader, selectors.EVENT_READ, lambda: os.read(reader, 512))
        handle_or_none = open_wake(self.folder)
        if handle_or_none is not None:
            pipe = handle_or_none
            self.selector.register(pipe, selectors.EVENT_READ, lambda: os.read(pipe, 512))

    def _on_term(self, *_: object) -> None:
        self.asked = True

    def run(self) -> None:
        """Turn until the instance has been told to stop and nothing of it is left."""
        while self.phase != "over":
            self.turn(time.monotonic())
            if self.phase != "over":
                for key, _ in self.selector.select(max(0.0, self.next_due() - time.monotonic())):
                    with contextlib.suppress(BlockingIOError):
                        key.data()

    def turn(self, now: float) -> None:
        """Do what is due and write down what is true."""
        if self.command is not None:
            self.command.reap()
        if not self.stopping and (self.asked or not os.path.exists(self.folder.spec)):
            self.stop(now)
        if self.phase == "waiting" and now >= self.start_at:
            self.launch(now)
        if self.phase == "running":
            self.watch(now)
        if self.phase == "ending":
            self.finish_ending(now)
        if now >= self.beat_at:
            self.beat_at = now + HEARTBEAT
            beat(self.lock)
        self.journal.recover()
        self.write()

    def next_due(self) -> float:
        """When the next turn must be, at the latest."""
        due = [time.monotonic() + _LOOK, self.beat_at]
        if self.truth() != self.written:
            due.append(self.write_at)
        if self.phase == "waiting":
            due.append(self.start_at)
        if self.phase == "ending":
            due.append(time.monotonic() + _ENDING)
        if self.checks is not None:
            due.append(self.checks.due)
        return min(due)

    # -- start -----------------------------------------------------------------------------------

    def launch(self, now: float) -> None:
        """Start the command on its port."""
        try:
            moved = self.port.hold(self.wanted_port)
            if moved and self.wanted_port:
                self.journal.note(f"port {self.wanted_port} was taken by another program: moved to {self.port.number}")
            self.wanted_port = self.port.number
            command = Command(
                [self._fill(each) for each in self.spec["argv"]],
                self._fill(self.spec["directory"]),
                self._environment(),
            )
        except OSError as error:
            self.ended(now, f"could not be started: {error.strerror}: {error.filename or ''}".rstrip(": "), ran=0.0)
            return
        self.command = command
        self.command_born = born(command.pid) if LINUX else 0
        self.journal.last.clear()
        self.backing_off = False
        self.phase = "running"
        self.started = now
        self.since = time.time()
        self.reason = ""
        self.checks = Checks(self.selector, (self.spec["host"], self.port.number), self.spec)
        for stream, handle in (("out", command.out), ("err", command.err)):
            self._follow(stream, handle)
        self.journal.note(f"started as process {command.pid} on port {self.port.number}")

    def _fill(self, text: str) -> str:
        return text.replace(PORT, str(self.port.number))

    def _environment(self) -> dict[str, str]:
        extra = {name: self._fill(value) for name, value in self.spec["environment"].items()}
        return {**os.environ, **extra, MARKER: self.folder.path}

    def _follow(self, stream: str, handle: int) -> None:
        size = min(_CHUNK, self.spec["logs"]["max_size"])

        def read() -> None:
            data = os.read(handle, size)
            if data:
                self.journal.feed(stream, data)
            else:
                self.selector.unregister(handle)
                os.close(handle)

        self.selector.register(handle, selectors.EVENT_READ, read)

    # -- watch -----------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Ask for its health; notice its end and its hanging."""
        if self.command is None or self.checks is None or not self.command.running:
            self.begin_ending(now)
            return
        self.checks.ask(now)
        health = self.checks.health
        if health.hung:
            self.reason = f"failed its health check {health.failures} times in a row ({health.text})"
            self.journal.note(f"{self.reason}: it is started again")
            self.begin_ending(now)

    # -- end -------------------------------------------------------------------------------------

    def stop(self, now: float) -> None:
        """Begin the end of the instance: no start follows."""
        self.stopping = True
        self.reason = "it was told to stop"
        if self.phase == "running":
            self.begin_ending(now)
        elif self.phase == "waiting":
            self.over()

    def begin_ending(self, now: float) -> None:
        """Ask the command and all that came of it to end."""
        self.phase = "ending"
        self.kill_at = now + float(self.spec["grace"])
        if self.checks is not None:
            self.checks.cancel()
            self.checks = None
        if self.command is not None:
            self.command.signal(signal.SIGTERM)

    def finish_ending(self, now: float) -> None:
        """Go on when nothing is left; KILL what is left after the grace time."""
        command = self.command
        if command is not None and command.remains():
            if now >= self.kill_at:
                self.journal.note(f"still there after {self.spec['grace']:g} s: killed")
                command.signal(signal.SIGKILL)
                self.kill_at = now + 1.0
            return
        self._drain_streams()
        end = command.end() if command is not None else "never ran"
        if self.stopping:
            self.journal.note(f"{end} after it was told to stop")
            self.over()
        else:
            self.ended(now, self.reason or end, ran=now - self.started)

    def _drain_streams(self) -> None:
        """Read what the ended command left in its pipes."""
        if self.command is None:
            return
        for handle in (self.command.out, self.command.err):
            with contextlib.suppress(KeyError, OSError):
                while self.selector.get_key(handle):
                    self.selector.get_key(handle).data()
            with contextlib.suppress(KeyError):
                self.selector.unregister(handle)
                os.close(handle)
        self.journal.flush()

    def ended(self, now: float, why: str, ran: float) -> None:
        """Plan the next start after an end that nobody asked for."""
        delay = self.backoff.after(ran)
        self.command = None
        self.phase = "waiting"
        self.restarts += 1
        self.backing_off = True
        self.start_at = now + delay
        self.since = time.time()
        said = "\n".join(line for line in self.journal.last if line)
        self.reason = f"{why} (ran {ran:.1f} s, ended {self.restarts} times); starts again after {delay:g} s"
        self.journal.note(self.reason)
        if said:
            self.reason += f"\nlast lines:\n{said}"

    def over(self) -> None:
        """Let go: nothing of the instance is left."""
        self.phase = "over"
        self.write()

    # -- tell ------------------------------------------------------------------------------------

    def write(self) -> None:
        """Replace `state.json` when anything has changed; a fault there never stops the instance."""
        truth = self.truth()
        now = time.monotonic()
        urgent = any(truth[key] != self.written.get(key) for key in _URGENT)
        if truth == self.written or (not urgent and now < self.write_at):
            return
        self.write_at = now + _WRITE
        with contextlib.suppress(OSError):
            write_state(self.folder.state, truth)
            self.written = truth

    def truth(self) -> dict[str, Any]:
        """What `state.json` says."""
        command = self.command
        return {
            "format": 1,
            "supervisor": self.me,
            "version": self.spec["version"],
            "state": self._state(),
            "port": self.port.number or self.wanted_port,
            "since": self.since,
            "restarts": self.restarts,
            "failures": self.checks.health.failures if self.checks is not None else 0,
            "command": None if command is None else {"pid": command.pid, "born": self.command_born},
            "detail": self._detail(),
            "grace": self.spec["grace"],
            "log_dropped": self.journal.dropped,
            "log_fault": self.journal.fault,
        }

    def _state(self) -> str:
        if self.phase == "over":
            return "ended"
        if self.stopping:
            return "stopping"
        if self.checks is not None:
            return self.checks.health.state
        if self.phase == "ending":
            return "unready"
        return "backing-off" if self.backing_off else "starting"

    def _detail(self) -> str:
        parts = [self.reason or (self.checks.health.detail if self.checks is not None else "its command has ended")]
        if self.journal.fault:
            parts.append(f"{self.journal.dropped} log lines could not be written: {self.journal.fault}")
        return "\n".join(part for part in parts if part)
