"""The store for those who look: rollouts, targets, workers and the record, by whichever way they are asked for.

`Store` is one way, through a pool that also writes; `looking.SqliteRecords` is another, which needs nothing but Python itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from crossfade.store import readings
from crossfade.store.audit import AuditRow, Head
from crossfade.store.encoding import as_rollout_row, as_target, as_waiting_row
from crossfade.store.readings import Ask
from crossfade.store.rows import RolloutRow, Target, WaitingRow, WorkerRow

T = TypeVar("T")


class Records(ABC):
    """What is remembered. Every method is one transaction of reading; UnreachableError while that cannot be."""

    @abstractmethod
    def look(self, work: Callable[[Ask], T]) -> T:
        """Run `work` in a transaction that sees one state of the database."""

    @abstractmethod
    def now(self) -> float:
        """The database's time."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    def rollout(self, rollout_id: str) -> RolloutRow | None:
        """One rollout."""
        row = self.look(lambda ask: readings.rollout(ask, rollout_id))
        return None if row is None else as_rollout_row(row)

    def rollouts(
        self,
        *,
        component: str | None = None,
        environment: str | None = None,
        active: bool | None = None,
        limit: int = 50,
    ) -> list[RolloutRow]:
        """The newest rollouts, newest first."""
        about = {"component": component, "environment": environment}
        rows = self.look(lambda ask: readings.rollouts(ask, **about, active=active, most=limit))
        return [as_rollout_row(row) for row in rows]

    def members(self, set_id: str) -> list[RolloutRow]:
        """The rollouts of one release set, by component."""
        return [as_rollout_row(row) for row in self.look(lambda ask: readings.members(ask, set_id))]

    def target(self, component: str, environment: str) -> Target:
        """What is trusted and what is under way in one environment; empty where nothing was released."""

        def work(ask: Ask) -> Target:
            row = readings.target(ask, component, environment)
            return as_target(component, environment, row, readings.active_rollout(ask, component, environment))

        return self.look(work)

    def waiting(self, component: str | None = None, environment: str | None = None) -> list[WaitingRow]:
        """Releases that wait for a target, or for any, in the order in which they are to start."""
        return [as_waiting_row(row) for row in self.look(lambda ask: readings.waiting(ask, component, environment))]

    def waiting_release(self, waiting_id: str) -> WaitingRow | None:
        """One release that waits; None once it has started, or was taken out."""
        row = self.look(lambda ask: readings.waiting_release(ask, waiting_id))
        return None if row is None else as_waiting_row(row)

    def events(self, *, after: int = 0, rollout: str | None = None, limit: int = 1000) -> list[AuditRow]:
        """Entries of the audit record behind sequence number `after`, oldest first."""
        return self.look(lambda ask: readings.audit(ask, after=after, rollout=rollout, most=limit))

    def head(self) -> Head:
        """The end of the audit chain, as the database has noted it."""
        return self.look(readings.head)

    def workers(self) -> list[WorkerRow]:
        """All workers that have told that they live, and how long ago."""
        rows, now = self.look(readings.workers), self.now()
        return [WorkerRow(**row, age=max(0.0, now - row["seen_at"])) for row in rows]
