"""The SQL of looking: what people are shown of rollouts, of workers and of the record.

Plain text that SQLite and PostgreSQL understand alike. So a command that only looks asks a SQLite file by Python's own
driver (`records`), and answers before what writing needs would have been imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crossfade.store.audit import AuditRow, Head

NEWEST = "0005"
"""The newest migration (a test compares it with the folder): where the database is there already,
Alembic is not even imported."""

Row = Mapping[Any, Any]
"""One row, by the names of its columns."""
Ask = Callable[[str, Mapping[str, Any]], Sequence[Row]]
"""Runs one text with its `:named` values in a transaction of the caller."""

REVISION = "SELECT version_num FROM crossfade_schema"
HEAD = "SELECT count, hash FROM audit_head WHERE id = 1"

_ROLLOUTS = """
SELECT rollouts.component, rollouts.environment, rollouts.actor, rollouts.state, rollouts.deployment,
       looks.seen, looks.at AS seen_at
FROM rollouts LEFT JOIN looks ON looks.rollout = rollouts.id"""

_WAITING = "SELECT id, component, environment, version, actor, reason, asked_at, deployment FROM waiting"

_ENTRIES = """
SELECT sequence, at, actor, kind, rollout, component, environment, text, data AS canonical, previous, hash
FROM audit WHERE sequence > :after"""
_AUDIT = f"{_ENTRIES} ORDER BY sequence LIMIT :most"
_AUDIT_OF_ROLLOUT = f"{_ENTRIES} AND rollout = :rollout ORDER BY sequence LIMIT :most"


def rollout(ask: Ask, rollout_id: str) -> Row | None:
    """One rollout with what was seen last."""
    return _first(ask(f"{_ROLLOUTS} WHERE rollouts.id = :id", {"id": rollout_id}))


def rollouts(
    ask: Ask, *, component: str | None, environment: str | None, active: bool | None, most: int
) -> Sequence[Row]:
    """The newest rollouts, newest first."""
    named = {"component": component, "environment": environment}
    wanted = [f"rollouts.{name} = :{name}" for name, value in named.items() if value is not None]
    if active is not None:
        wanted.append("rollouts.active" if active else "NOT rollouts.active")
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    newest = "ORDER BY rollouts.created_at DESC, rollouts.id DESC LIMIT :most"
    values = {name: value for name, value in named.items() if value is not None}
    return ask(f"{_ROLLOUTS} {where} {newest}", {**values, "most": most})


def members(ask: Ask, set_id: str) -> Sequence[Row]:
    """The rollouts of one release set."""
    return ask(f"{_ROLLOUTS} WHERE rollouts.release_set = :id ORDER BY rollouts.component", {"id": set_id})


def target(ask: Ask, component: str, environment: str) -> Row | None:
    """What is trusted in one environment."""
    text = (
        "SELECT version, slot, previous, fence FROM targets WHERE component = :component AND environment = :environment"
    )
    return _first(ask(text, {"component": component, "environment": environment}))


def active_rollout(ask: Ask, component: str, environment: str) -> str | None:
    """The id of the rollout under way."""
    text = "SELECT id FROM rollouts WHERE component = :component AND environment = :environment AND active"
    row = _first(ask(text, {"component": component, "environment": environment}))
    return None if row is None else str(row["id"])


def waiting(ask: Ask, component: str | None = None, environment: str | None = None) -> Sequence[Row]:
    """What waits for a target, or for any, in the order in which it is to start."""
    named = {"component": component, "environment": environment}
    values = {name: value for name, value in named.items() if value is not None}
    where = f"WHERE {' AND '.join(f'{name} = :{name}' for name in values)}" if values else ""
    return ask(f"{_WAITING} {where} ORDER BY component, environment, place", values)


def waiting_release(ask: Ask, waiting_id: str) -> Row | None:
    """One release that waits."""
    return _first(ask(f"{_WAITING} WHERE id = :id", {"id": waiting_id}))


def audit(ask: Ask, *, after: int, rollout: str | None, most: int) -> list[AuditRow]:
    """Entries of the record in their order."""
    text = _AUDIT
    values: dict[str, Any] = {"after": after, "most": most}
    if rollout is not None:
        text, values = _AUDIT_OF_ROLLOUT, {**values, "rollout": rollout}
    return [AuditRow(**row) for row in ask(text, values)]


def head(ask: Ask) -> Head:
    """How the chain of the record ends."""
    row = _first(ask(HEAD, {}))
    return Head() if row is None else Head(row["count"], row["hash"])


def workers(ask: Ask) -> Sequence[Row]:
    """All workers that are known."""
    return ask("SELECT worker, executor, started_at, seen_at FROM workers ORDER BY started_at", {})


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None
