"""How a registry is treated: not too often, not for ever, and later when it asks for that. Pure decisions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol, Self

TOO_MANY = 429
_SLOWEST = 32 * 1024
_UNAVAILING = frozenset({501, 505, 506, 507, 508, 510, 511})
"""Statuses that no repetition changes."""


class Paced(Protocol):
    """The words of `crossfade.yaml` about this, which every registry over HTTP has."""

    @property
    def rate(self) -> float:
        """Most requests in a second."""

    @property
    def timeout(self) -> float:
        """Seconds that one answer may take."""

    @property
    def attempts(self) -> int:
        """How often a request is tried that may yet succeed."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What we hold ourselves to; seconds and counts.

    `first_wait` doubles with every attempt, up to `longest_wait`; a registry that asks for more than `patience` is not
    waited for.
    """

    rate: float = 20.0
    timeout: float = 30.0
    attempts: int = 5
    connections: int = 16
    first_wait: float = 0.5
    longest_wait: float = 30.0
    patience: float = 120.0

    @classmethod
    def of(cls, settings: Paced) -> Self:
        """As a section of the file says."""
        return cls(settings.rate, settings.timeout, settings.attempts)

    def time_for(self, size: int) -> float:
        """Seconds in which `size` bytes must have passed: large ones get more than one `timeout`, and a trickle does not.

        >>> Manners(timeout=30).time_for(0), Manners(timeout=30).time_for(3 * 1024 * 1024)
        (30, 126.0)
        """
        return self.timeout + size / _SLOWEST if size else self.timeout


@dataclass(slots=True)
class Pace:
    """At most `rate` requests begin in any second, and none before a registry wants to be asked again.

    >>> pace = Pace(rate=2)
    >>> [pace.begin(10.0), pace.begin(10.0), pace.wait(10.25)]
    [None, None, 0.75]
    """

    rate: float
    _begun: deque[float] = field(default_factory=deque)
    _held: tuple[float, float] = (0.0, 0.0)

    def wait(self, now: float) -> float:
        """Seconds until the next request may begin. A clock that was set back makes nobody wait."""
        if self._begun and now < self._begun[-1]:
            self._begun.clear()
        since, until = self._held
        held = until - now if since <= now else 0.0
        full = len(self._begun) >= max(1, int(self.rate))
        window = max(1.0, 1 / self.rate)
        return max(0.0, held, self._begun[0] + window - now if full else 0.0)

    def begin(self, now: float) -> None:
        """A request begins now."""
        self._begun.append(now)
        while len(self._begun) > max(1, int(self.rate)):
            self._begun.popleft()

    def hold(self, now: float, seconds: float) -> None:
        """The registry asked all of us to stay away for `seconds`."""
        if now + seconds > self._held[1] or now < self._held[0]:
            self._held = (now, now + seconds)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why one attempt failed. `sent`: the registry may have acted on it. `asked`: seconds that it asked us to wait."""

    what: str
    status: int | None = None
    sent: bool = True
    asked: float | None = None
    passing: bool = True

    @property
    def heals(self) -> bool:
        """Whether the same request may succeed later."""
        if self.status is None:
            return self.passing
        return self.status in (408, 425, TOO_MANY) or (self.status >= 500 and self.status not in _UNAVAILING)  # noqa: PLR2004 - the class of a server's faults


def next_attempt(trouble: Trouble, done: int, manners: Manners, *, repeatable: bool, chance: float) -> float | None:
    """Seconds to wait before the next attempt after `done` of them, or None: that was the last. `chance` is in [0, 1).

    Exponential with full jitter, so that those who failed together do not return together; never sooner than asked for.
    What the registry may have acted on is repeated only if that is harmless.

    >>> busy = Trouble("busy", status=503, asked=2.0)
    >>> [next_attempt(busy, done, Manners(attempts=3), repeatable=True, chance=0.5) for done in (1, 2, 3)]
    [2.25, 2.5, None]
    """
    untouched = not trouble.sent or trouble.status == TOO_MANY
    if done >= manners.attempts or not trouble.heals or not (repeatable or untouched):
        return None
    asked = trouble.asked or 0.0
    if asked > manners.patience:
        return None
    return asked + backoff(done, manners, chance)


def backoff(done: int, manners: Manners, chance: float) -> float:
    """Seconds to wait after `done` attempts: exponential, with full jitter.

    >>> [backoff(done, Manners(), 0.5) for done in (1, 2, 3, 20)]
    [0.25, 0.5, 1.0, 15.0]
    """
    return chance * min(manners.longest_wait, manners.first_wait * 2.0 ** (done - 1))


def seconds_asked(header: str | None, now: float) -> float | None:
    """What `Retry-After` asks for, in seconds from `now`: it is a number or a date; None when it is neither.

    >>> seconds_asked("120", 0), seconds_asked("Thu, 01 Jan 1970 00:01:00 GMT", 50.0), seconds_asked("soon", 0)
    (120.0, 10.0, None)
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)
