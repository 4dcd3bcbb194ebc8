"""What is under way and what has been, for those who look: nothing here changes anything.

It needs no more than `crossfade.store.Records`, so that looking answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from crossfade.config.model import Deployment
from crossfade.core.errors import BadInputError
from crossfade.engine.address import database_address
from crossfade.engine.seen import Seen, read_seen
from crossfade.engine.standing_aside import outlook
from crossfade.rollouts.rollout import Rollout
from crossfade.store import AuditRow, Records, RolloutRow, Target, WaitingRow, WorkerRow, open_records

ALIVE = 5.0
"""Age of the last heartbeat (seconds) up to which a worker counts as alive."""


@dataclass(frozen=True, slots=True)
class View:
    """A rollout as it was last written, and the world as it was last seen."""

    rollout: Rollout
    deployment: Deployment
    actor: str
    seen: Seen | None
    seen_at: float | None


class Views:
    """Everything that a person may see of Crossfade, from one place where it is remembered."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @classmethod
    def open(cls, state: Path, database_url: str | None = None) -> Self:
        """Open the records of a project: `database_url`, else a SQLite file in `state`."""
        if database_url is None:
            state.mkdir(parents=True, exist_ok=True)
        return cls(open_records(database_address(state, database_url)))

    def close(self) -> None:
        """Let go of the database."""
        self._records.close()

    def current(self, component: str, environment: str) -> View | None:
        """The active rollout of a target, else its newest."""
        rows = self._records.rollouts(component=component, environment=environment, limit=1)
        return _view(rows[0]) if rows else None

    def view(self, rollout_id: str) -> View:
        """One rollout; BadInputError where there is none."""
        row = self._records.rollout(rollout_id)
        if row is None:
            raise BadInputError(
                "rollout.unknown", f"there is no rollout {rollout_id}", next="name one of: crossfade history"
            )
        return _view(row)

    def target(self, component: str, environment: str) -> Target:
        """What is trusted in one environment, and what is under way."""
        return self._records.target(component, environment)

    def members(self, set_id: str) -> list[View]:
        """The rollouts of a release set, by component."""
        return [_view(row) for row in self._records.members(set_id)]

    def waiting(self, component: str | None = None, environment: str | None = None) -> list[WaitingRow]:
        """Releases that wait for a target, or for any, in the order in which they are to start."""
        return self._records.waiting(component, environment)

    def waiting_release(self, waiting_id: str) -> WaitingRow | None:
        """One release that waits; None once it has started, or was taken out."""
        return self._records.waiting_release(waiting_id)

    def outlook(self, deployment: Deployment, waits: WaitingRow | None = None) -> str:
        """What a release meets in its target now, and what the policy does about it; nothing where it is free."""
        return outlook(
            self._records, waits, deployment.component, deployment.environment, deployment.settings.supersede
        )

    def history(self, *, component: str | None = None, environment: str | None = None, limit: int = 50) -> list[View]:
        """Rollouts, newest first."""
        return [_view(r) for r in self._records.rollouts(component=component, environment=environment, limit=limit)]

    def events(self, *, after: int = 0, rollout: str | None = None, limit: int = 1000) -> list[AuditRow]:
        """Entries of the record behind `after`, oldest first."""
        return self._records.events(after=after, rollout=rollout, limit=limit)

    def newest(self) -> int:
        """The number of the newest entry of the record; 0 where there is none."""
        return self._records.head().count

    def answer(self, rollout_id: str, serial: int, *, after: int = 0) -> AuditRow | None:
        """The answer to a command, once there is one, looked for in the entries of the record behind `after`."""
        answers = ("command.done", "command.refused")
        rows = self._records.events(after=after, rollout=rollout_id, limit=100_000)
        return next((r for r in rows if r.kind in answers and r.data.get("serial") == serial), None)

    def workers(self) -> list[WorkerRow]:
        """All workers that have told that they live."""
        return self._records.workers()

    def has_worker(self) -> bool:
        """Whether a worker is alive now."""
        return any(worker.age < ALIVE for worker in self.workers())


def _view(row: RolloutRow) -> View:
    return View(row.rollout, row.deployment, row.actor, read_seen(row.seen), row.seen_at)
