"""The shop's visitors: the load in a process of its own, so that nothing else delays its clock.

What became of every request is written to a file as it is known, one JSON array a line. The process
ends in order when its standard input does: whoever started it cannot leave it behind.

    python -m crossfade.demo.visitors 127.0.0.1:8080 --rps 200 --seed 1 --out visits.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import orjson

from crossfade.traffic.load import Load, Plan, Sample

_WRITE_EVERY = 0.2
_GRACE = 25.0


class Visitors:
    """Visitors of one address, from `start` to `stop`; `seen` is all that is known of them so far."""

    def __init__(self, address: str, *, rps: float, seed: int, out: Path) -> None:
        self.seen: list[Sample] = []
        self._out = out
        self._rest = b""
        self._command = [
            *(sys.executable, "-m", "crossfade.demo.visitors", address),
            *("--rps", repr(rps), "--seed", str(seed), "--out", str(out)),
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._file: IO[bytes] | None = None

    def start(self) -> None:
        """Let them come."""
        self._out.touch()
        self._file = self._out.open("rb")
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self._out.parent,
                start_new_session=True,  # Ctrl-C in the terminal is for the demo, which ends them in order
            )

    @property
    def started(self) -> bool:
        """Whether they were let in."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether they are still coming."""
        return self._process is not None and self._process.poll() is None

    @property
    def complaint(self) -> str:
        """What the process said when it broke."""
        lines = self._errors.read_text(errors="replace").strip().splitlines() if self._errors.exists() else []
        return lines[-1] if lines else ""

    @property
    def _errors(self) -> Path:
        return self._out.with_suffix(".err")

    def read(self) -> list[Sample]:
        """What has become known since the last time; it is added to `seen`."""
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        news = [Sample(*orjson.loads(line)) for line in lines]
        self.seen += news
        return news

    def stop(self) -> None:
        """Let nobody in any more, wait for those who are there, and read the rest."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.read()
        if self._file is not None:
            self._file.close()
            self._file = None


async def _receive(address: str, plan: Plan, out: Path) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_reader(sys.stdin.fileno(), _at_end_of_input, ended)
    load = Load(address, plan)
    with out.open("ab", buffering=0) as stream:
        load.start()
        while not ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), _WRITE_EVERY)
            _write(load, stream)
        await load.stop()
        _write(load, stream)


def _at_end_of_input(ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        ended.set()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _write(load: Load, stream: IO[bytes]) -> None:
    news, load.samples[:] = load.samples[:], []
    rows = ((s.at, s.kind, s.status, s.version, s.ms, s.cause, s.detail) for s in news)
    stream.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def main() -> None:
    """Read the flags and let them come."""
    parser = argparse.ArgumentParser(description="Visitors for the shop, until standard input ends.")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--rps", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="file that every request is written to")
    flags = parser.parse_args()
    asyncio.run(_receive(flags.address, Plan(rps=flags.rps, seed=flags.seed), flags.out))


if __name__ == "__main__":
    main()
