"""One error type for the CLI, the API and the documentation: what, where, next."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a `crossfade` process says when it ends; documented in `docs/reference/exit-codes.md`."""

    DONE = 0
    INTERNAL = 1
    BAD_INPUT = 2
    ROLLED_BACK = 3
    HELD = 4
    UNREACHABLE = 5
    TAMPERED = 6
    INTERRUPTED = 130


class CrossfadeError(Exception):
    """A fault that a person can act on.

    `code` is stable and documented (`config.unknown-key`), `what` is one sentence, `where` names the
    file and line or the object, `next` says what to do. `retry` tells whether the same call may
    succeed later without anybody changing anything.

    >>> print(CrossfadeError("demo.fault", "the port is taken", where="caddy", next="choose another"))
    the port is taken
      where: caddy
      next:  choose another
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(
        self, code: str, what: str, *, where: str = "", next: str = "", retry: bool = False
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.where = where
        self.next = next
        self.retry = retry

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next:
            lines.append(f"  next:  {self.next}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, str | bool]:
        """The same fault as a JSON object with the keys code, what, where, next, retry."""
        return {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "next": self.next,
            "retry": self.retry,
        }


class BadInputError(CrossfadeError):
    """Something that a person wrote cannot be used: a file, an argument, a name."""

    exit_code = ExitCode.BAD_INPUT


class UnreachableError(CrossfadeError):
    """Something that Crossfade talks to did not answer: a router, a database, a metric source."""

    exit_code = ExitCode.UNREACHABLE

    def __init__(
        self, code: str, what: str, *, where: str = "", next: str = "", retry: bool = True
    ) -> None:
        super().__init__(code, what, where=where, next=next, retry=retry)


class StaleFenceError(CrossfadeError):
    """An older decision tried to overwrite a newer one; nothing was changed."""


class TamperedError(CrossfadeError):
    """The audit record does not verify."""

    exit_code = ExitCode.TAMPERED
