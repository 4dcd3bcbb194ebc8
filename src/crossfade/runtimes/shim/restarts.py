"""How long a command that ended waits before it is started again: pure."""

from __future__ import annotations


class Backoff:
    """Exponential delays that begin anew after a stable run.

    `first` seconds after the first end, `factor` times more after each further one, at most `cap`; a run
    of at least `stable` seconds counts as a fresh beginning.

    >>> backoff = Backoff(first=0.5, factor=2, cap=30, stable=10)
    >>> [backoff.after(ran=0.1) for _ in range(4)]
    [0.5, 1.0, 2.0, 4.0]
    >>> backoff.after(ran=11)
    0.5
    """

    __slots__ = ("cap", "factor", "first", "next", "stable")

    def __init__(self, first: float, factor: float, cap: float, stable: float) -> None:
        self.first = first
        self.factor = factor
        self.cap = cap
        self.stable = stable
        self.next = first

    def after(self, ran: float) -> float:
        """Seconds to wait after a run of `ran` seconds."""
        if ran >= self.stable:
            self.next = self.first
        delay = self.next
        self.next = min(self.cap, delay * self.factor)
        return delay
