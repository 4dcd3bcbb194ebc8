"""Appending to the audit chain, in the transaction of what is recorded."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from crossfade.core.durations import format_share
from crossfade.rollouts.rollout import ACTION, Action, Event, Outcome
from crossfade.store import queries, record_queries
from crossfade.store.audit import AuditRow, Subject, seal

Entry = tuple[Subject, Event]


def record(connection: sa.Connection, now: float, entries: Sequence[Entry]) -> None:
    """Append `entries` and tell who waits for them. Locks the end of the chain until the transaction ends."""
    if not entries:
        return
    head = record_queries.head(connection, lock=True)
    rows: list[AuditRow] = []
    for subject, event in entries:
        row = seal(head, at=now, actor=event.actor, kind=event.kind, subject=subject, text=event.text, data=event.data)
        rows.append(row)
        head = row.as_head()
    record_queries.append(connection, rows)
    queries.notify(connection)


def wanted(action: Action) -> Event:
    """An action was decided."""
    return Event("action.wanted", describe(action), data=ACTION.dump_python(action, mode="json"))


def finished(action: Action, outcome: Outcome) -> Event:
    """An action has ended."""
    facts = {"id": action.id, "ok": outcome.ok, "error": outcome.error, "retry": outcome.retry}
    if outcome.ok:
        return Event("action.done", describe(action), data=facts)
    return Event("action.failed", f"{describe(action)}: {outcome.error}", data=facts)


def superseded(action: Action) -> Event:
    """An action is not waited for any longer."""
    return Event("action.superseded", f"{describe(action)}: the rollout went on without it", data={"id": action.id})


def describe(action: Action) -> str:
    """An action as people read it.

    >>> describe(Action("ro:1:0:start", "start", "green", version="1.1.0", count=2))
    'start 2 of 1.1.0 in green'
    """
    match action.kind:
        case "start":
            return f"start {action.count} of {action.version} in {action.slot}"
        case "stop":
            return f"stop {action.slot}"
        case "route" if action.routes is not None:
            return f"route {format_share(action.routes.weight(action.slot))} to {action.slot}"
        case "smoke":
            return f"smoke test {action.version} in {action.slot}"
        case _:
            return action.kind
