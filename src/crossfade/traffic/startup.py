"""How a proxy of our own comes up: its program is found and fits, it answers, or it is told why not."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.children import Child

PATIENCE = 20.0
"""Seconds in which a proxy that was started answers; it is a matter of some tenths."""
START = 3.0
"""Seconds in which one that somebody else is starting shows life."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product as a program: `asked` makes it tell its version, which the groups of `version` take from its words.

    `oldest` is the first one that will do; `fitting` says where one that does comes from.
    """

    name: str
    oldest: tuple[int, ...]
    asked: str
    version: str
    fitting: str

    def installed(self, binary: str) -> Path:
        """The absolute path of `binary`, a name on the PATH or a path. Raises `BadInputError` when it is not there."""
        found = shutil.which(binary)
        if found is None:
            raise BadInputError(
                "router.no-program", f"{binary} is not there", where=f"router.binary {binary}", next=self.fitting
            )
        return Path(found).absolute()

    def examined(self, path: Path) -> str:
        """What the program says about itself. Raises `BadInputError` when it is another product's, or too old."""
        where = f"router.binary {path}"
        try:
            done = subprocess.run(
                [path, self.asked], capture_output=True, text=True, errors="replace", timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = getattr(error, "strerror", None) or "it did not end"
            raise BadInputError(
                "router.no-program", f"{path} cannot be run: {why}", where=where, next=self.fitting
            ) from error
        said = done.stdout + done.stderr
        known = re.search(self.version, said, re.MULTILINE)
        if known is None:
            raise BadInputError("router.no-program", f"{path} is not {self.name}", where=where, next=self.fitting)
        if tuple(map(int, known.groups())) < self.oldest:
            raise BadInputError(
                "router.old-program",
                f"{path} is {self.name} {'.'.join(known.groups())}; {'.'.join(map(str, self.oldest))} or newer is needed",
                where=where,
                next=self.fitting,
            )
        return said

    def not_packaged(self, package: str) -> BadInputError:
        """What to say where the Python package that brings the program has none for this machine, or is missing."""
        return BadInputError(
            "router.no-program",
            f"the Python package {package} is not installed, or has no {self.name} for this machine",
            where=f"router.kind {self.name.lower()}",
            next=f"{self.fitting}; or name one of your own by `router.binary`",
        )


async def until_it_answers(
    product: str, child: Child, answers: Callable[[], Awaitable[bool]], *, words: Callable[[], str], log: Path
) -> None:
    """Return once `answers` says so. `words` are the last of a program that ended, `log` is where it wrote them.

    Raises `CrossfadeError` when it ended while it was starting, and `UnreachableError` when it runs and does not
    answer for `PATIENCE` seconds.
    """
    for _ in range(int(PATIENCE / 0.05)):
        if await answers():
            return
        if not child.running():
            raise CrossfadeError(
                "router.ended",
                f"{product} ended while it was starting: {words() or 'it said nothing'}",
                where=str(log),
                next="repair what it names; the next attempt starts it again",
                retry=True,
            )
        await asyncio.sleep(0.05)
    said = words()
    raise UnreachableError(
        "router.unreachable",
        f"{product} runs as process {child.pid()} and has not obeyed for {PATIENCE:g} s{said and f': {said}'}",
        where=str(child.folder),
        next=f"look into {log}",
    )


def last_words(path: Path, telling: Callable[[Sequence[str]], str] = lambda lines: lines[-1]) -> str:
    """The line of the file `path` that `telling` chooses among those that say anything; empty where there is none."""
    with contextlib.suppress(OSError):
        if lines := [line for line in path.read_text(errors="replace").splitlines() if line.strip()]:
            return telling(lines)[-500:]
    return ""
