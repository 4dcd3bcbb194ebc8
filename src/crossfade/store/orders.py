"""What is ordered: a rollout begins, or is asked something. Each within a transaction of the caller."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from crossfade.config.model import Deployment
from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import Command, Event, Rollout, Verb
from crossfade.store import keeping, queries, readings
from crossfade.store.audit import Subject
from crossfade.store.encoding import as_target, rollout_values, subject
from crossfade.store.record import record
from crossfade.store.record_queries import asking

Beginning = tuple[Rollout, Deployment, Sequence[Event]]
"""A rollout that is to begin, what it stores of the config, and the first entries of its record."""


def begin(connection: sa.Connection, now: float, begun: Sequence[Beginning], *, actor: str) -> None:
    """Begin rollouts, all or none: IntegrityError while another one is under way, BadInputError `rollout.outdated`."""
    in_order = sorted(begun, key=lambda each: (each[0].plan.component, each[0].plan.environment))
    for rollout, deployment, _ in in_order:
        queries.insert_rollout(connection, rollout_values(rollout, deployment, actor), answered=rollout.commands)
    for rollout, _, _ in in_order:
        _require_current(connection, rollout)
        here = {"component": rollout.plan.component, "environment": rollout.plan.environment}
        queries.raise_fence(connection, {**here, "fence": rollout.fence})
        keeping.hand_over(connection, rollout, now)
    record(connection, now, [(subject(rollout), event) for rollout, _, events in in_order for event in events])
    queries.notify(connection)


def _require_current(connection: sa.Connection, rollout: Rollout) -> None:
    component, environment = rollout.plan.component, rollout.plan.environment
    target = as_target(component, environment, readings.target(asking(connection), component, environment), None)
    if target.fence <= rollout.fence and target.version == rollout.plan.previous:
        return
    raise BadInputError(
        "rollout.outdated",
        f"{component} was changed in {environment} while this rollout was planned",
        where=f"{target.version or 'nothing'} is trusted there now",
        next="plan it again",
    )


def command(
    connection: sa.Connection,
    now: float,
    rollout_id: str,
    verb: Verb,
    *,
    actor: str,
    reason: str,
    if_idle: bool = False,
) -> Command | None:
    """Ask something of a rollout and wake it.

    None where there is no such rollout, or with `if_idle` where another command waits for its answer.
    """
    serial = queries.ask(connection, rollout_id, if_idle=if_idle)
    row = None if serial is None else readings.rollout(asking(connection), rollout_id)
    if serial is None or row is None:
        return None
    asked = Command(serial, verb, actor, reason)
    values = {"rollout": rollout_id, "serial": serial, "verb": verb, "actor": actor, "reason": reason}
    queries.insert_command(connection, {**values, "asked_at": now})
    about = Subject(rollout_id, row["component"], row["environment"])
    text = f"{verb}: {reason}" if reason else verb
    data = {"verb": verb, "serial": serial, "reason": reason}
    record(connection, now, [(about, Event("command.asked", text, actor, data))])
    return asked
