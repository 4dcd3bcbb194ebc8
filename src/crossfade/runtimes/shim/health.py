"""From answers to probes to what an instance is: pure, fed by the supervisor."""

from __future__ import annotations


class Health:
    """Counts consecutive failures of the liveness and the readiness probe of one run of a command.

    Readiness is gained by one good answer to each, and lost by `limit` bad ones to either in a row. An instance that was
    ready and failed its liveness `limit` times in a row is `hung`: it is to be started again. Before
    it was ready for the first time it is never hung, however long it takes: the deadline for that is
    the rollout's.

    >>> health = Health(limit=2)
    >>> health.alive(ok=True, text="200"); health.ready(ok=True, text="200"); health.state
    'ready'
    >>> health.alive(ok=False, text="no answer within 2 s"); health.state, health.hung
    ('ready', False)
    >>> health.alive(ok=False, text="no answer within 2 s"); health.state, health.hung
    ('unready', True)
    """

    __slots__ = ("failures", "is_ready", "limit", "lives", "text", "unready", "was_ready")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.failures = 0
        self.unready = 0
        self.lives = False
        self.is_ready = False
        self.was_ready = False
        self.text = "no probe has been answered yet"

    def alive(self, *, ok: bool, text: str) -> None:
        """Take note of an answer to the liveness probe."""
        self.failures = 0 if ok else self.failures + 1
        self.lives = ok
        if not ok:
            self.text = text
            self.is_ready = self.is_ready and self.failures < self.limit

    def ready(self, *, ok: bool, text: str) -> None:
        """Take note of an answer to the readiness probe."""
        self.unready = 0 if ok else self.unready + 1
        if ok:
            self.is_ready = self.is_ready or self.lives
            self.was_ready = self.was_ready or self.is_ready
        else:
            self.text = text
            self.is_ready = self.is_ready and self.unready < self.limit

    @property
    def hung(self) -> bool:
        """Whether the command must be started again."""
        return self.was_ready and self.failures >= self.limit

    @property
    def state(self) -> str:
        """`starting`, `ready` or `unready`."""
        if self.is_ready:
            return "ready"
        return "unready" if self.was_ready else "starting"

    @property
    def detail(self) -> str:
        """Why it is not (fully) well, for a person; empty when it is."""
        if self.failures or self.unready or not self.is_ready:
            return self.text
        return ""
