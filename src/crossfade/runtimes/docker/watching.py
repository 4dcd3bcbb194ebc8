"""Health probes of containers: asked by us at their published address, as users reach them, and never waited for.

A watch lives as long as somebody observes. Whether an instance was ready outlives it in the run state, so a Crossfade
that was started anew neither doubts what is well nor trusts what was not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from crossfade.runtimes.docker.records import Records
from crossfade.runtimes.docker.values import Run
from crossfade.runtimes.shim.health import Health
from crossfade.runtimes.shim.probe import judge

_IMPATIENT: Final = 0.2
"""Longest time between two questions until the first good answer."""
_UNOBSERVED: Final = 15.0
"""Seconds without an observer after which a watch ends."""
_FIRST_ANSWER: Final = 1.0
"""Longest time that an observer waits, once, for the first answer of an instance that it does not know."""
_MOST: Final = 16_384


class Watch:
    """The probes of one run."""

    def __init__(self, run: Run, records: Records) -> None:
        self.health = Health(run.care.failures)
        self.answered = asyncio.Event()
        self._run = run
        self._records = records
        self._observed = time.monotonic()
        before = records.was_ready(run.container, run.started)
        self.known = before is not None
        if before is not None:
            self.health.was_ready, self.health.is_ready, self.health.lives = True, before, before
        self._noted = before
        self._listens = before is not None
        self._task = asyncio.get_running_loop().create_task(self._probe(), name=f"probe {run.address}")

    @property
    def over(self) -> bool:
        """Whether nobody asks any more."""
        return self._task.done()

    def observed(self) -> None:
        """Somebody looks: go on."""
        self._observed = time.monotonic()

    def end(self) -> None:
        """Ask no more."""
        self._task.cancel()

    async def _probe(self) -> None:
        care, health = self._run.care, self.health
        paths = (care.path,) if care.path == care.ready else (care.path, care.ready)
        while time.monotonic() - self._observed < _UNOBSERVED + care.interval:
            answers = await asyncio.gather(*(ask(self._run.address, path, care.timeout) for path in paths))
            self._listens = self._listens or any(each.heard for each in answers)
            if self._listens:
                health.alive(ok=answers[0].ok, text=answers[0].text)
                health.ready(ok=answers[-1].ok, text=answers[-1].text)
            else:
                # The engine accepts for a program that does not listen yet: that is no failure of the program.
                health.text = (
                    f"nothing listens on its port {self._run.inside} yet (asked by way of {self._run.address})"
                )
            if health.was_ready and health.is_ready != self._noted:
                self._noted = health.is_ready
                self._records.note_ready(self._run.container, self._run.started, ready=health.is_ready)
            self.answered.set()
            await asyncio.sleep(care.interval if health.is_ready else min(care.interval, _IMPATIENT))


_WATCHES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, Run], Watch]] = WeakKeyDictionary()


async def watch(runs: Iterable[Run], target: str, records: Records) -> dict[str, Health]:
    """The health of each run of `target`, by container; ends the watches of runs that are no more.

    Waits at most a second, and only for instances that nobody has ever asked.
    """
    watches = _WATCHES.setdefault(asyncio.get_running_loop(), {})
    wanted = {(target, run) for run in runs}
    for key in [key for key in watches if key[0] == target and key not in wanted]:
        watches.pop(key).end()
    for key in wanted:
        if key not in watches or watches[key].over:
            watches[key] = Watch(key[1], records)
        watches[key].observed()
    unknown = [watches[key] for key in wanted if not watches[key].known]
    if unknown:
        waits = [each.answered.wait() for each in unknown]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_ANSWER):
                await asyncio.gather(*waits)
        for each in unknown:
            each.known = True
    return {key[1].container: watches[key].health for key in wanted}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one question: whether it is good, what it says, and whether there was an answer at all."""

    ok: bool
    text: str
    heard: bool


async def ask(address: str, path: str, timeout: float) -> Answer:  # noqa: ASYNC109 - it is told in the answer
    """What a GET is answered: `GET /healthz answered 503 …: no disk`."""
    heard = True
    try:
        async with asyncio.timeout(timeout):
            got = await _get(address, path)
        (ok, text), heard = judge(got), bool(got)
    except TimeoutError:
        ok, text = False, f"no answer within {timeout:g} s"
    except OSError as error:
        ok, text, heard = False, (error.strerror or type(error).__name__).lower(), False
    verb = "" if text.startswith("answered") else "failed: "
    return Answer(ok, f"GET {path} {verb}{text}", heard)


async def _get(address: str, path: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: crossfade-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("utf-8", "replace"))
        got = b""
        while len(got) < _MOST and not _complete(got):
            data = await reader.read(_MOST)
            if not data:
                break
            got += data
        return got
    finally:
        writer.close()


def _complete(answer: bytes) -> bool:
    """Whether all has come, also from a server that keeps the connection open against our wish."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
    without_body = head.split(b" ", 2)[1:2] in ([b"204"], [b"304"])
    return bool(end) and (without_body or (length.isdigit() and len(body) >= int(length)))
