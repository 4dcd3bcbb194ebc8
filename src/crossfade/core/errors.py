"""One error type for the CLI, the API and the documentation: what, where, next."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a `crossfade` process says when it ends; documented in `docs/reference/exit-codes.md`."""

    DONE = 0
    """All that was asked for is done: the new version carries all traffic and the old one is drained; for a
    question, it was answered."""
    INTERNAL = 1
    """A fault of Crossfade itself. What stands at that moment stays; the same command may be run again. Where changesets'
    own rules hold: nothing to version, or changed packages without a changeset."""
    BAD_INPUT = 2
    """Something that a person wrote cannot be used: a file, an argument, a name. Nothing was changed."""
    ROLLED_BACK = 3
    """The new version was taken back, by a verdict or by a person; the old one carries all traffic."""
    HELD = 4
    """The rollout waits for a person: the weight stays where it is, and both versions run."""
    UNREACHABLE = 5
    """Something that Crossfade talks to did not answer: a router, a database, a metric source."""
    TAMPERED = 6
    """The audit record does not verify: something was changed, left out or put in another order."""
    INCOMPLETE = 7
    """Part of it is not done: an artifact could not be published or withdrawn, a build failed, a changed component has
    no changeset. What is done stays; the same command goes on where it stopped."""
    INTERRUPTED = 130
    """The command was interrupted (Ctrl-C). The rollout stays as recorded; the next command goes on with it."""


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

    def __init__(self, code: str, what: str, *, where: str = "", next: str = "", retry: bool = False) -> None:
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

    def __init__(self, code: str, what: str, *, where: str = "", next: str = "", retry: bool = True) -> None:
        super().__init__(code, what, where=where, next=next, retry=retry)


class StaleFenceError(CrossfadeError):
    """An older decision tried to overwrite a newer one; nothing was changed."""


class TamperedError(CrossfadeError):
    """The audit record does not verify."""

    exit_code = ExitCode.TAMPERED
