"""Values to columns and back."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import TypeAdapter

from crossfade.analysis.values import Sample
from crossfade.config.model import Deployment
from crossfade.rollouts.rollout import ACTION, ROLLOUT, Action, Command, Rollout
from crossfade.store.audit import Subject
from crossfade.store.readings import Row
from crossfade.store.rows import RolloutRow, Target, WaitingRow

SAMPLE: TypeAdapter[Sample] = TypeAdapter(Sample)


def rollout_values(rollout: Rollout, deployment: Deployment, actor: str) -> dict[str, Any]:
    """The columns of a new rollout."""
    return {
        "id": rollout.id,
        "component": rollout.plan.component,
        "environment": rollout.plan.environment,
        "active": not rollout.finished,
        "status": rollout.status,
        "actor": actor,
        "created_at": rollout.created_at,
        "finished_at": rollout.finished_at,
        "revision": 1,
        "state": ROLLOUT.dump_json(rollout).decode(),
        "deployment": deployment.model_dump_json(),
        "release_set": rollout.group.id if rollout.group is not None else None,
    }


def state_values(rollout: Rollout, revision: int) -> dict[str, Any]:
    """The columns of a rollout that has changed."""
    return {
        "which": rollout.id,
        "is_active": not rollout.finished,
        "new_status": rollout.status,
        "ended_at": rollout.finished_at,
        "new_revision": revision,
        "new_state": ROLLOUT.dump_json(rollout).decode(),
    }


def look_values(rollout: Rollout, revision: int, wake_at: float) -> dict[str, Any]:
    """The columns of a look that has ended; a finished rollout is not looked at again unless somebody asks."""
    return {
        "id": rollout.id,
        "wake_at": None if rollout.finished else wake_at,
        "new_revision": revision,
        "now_answered": rollout.commands,
    }


def action_values(rollout: Rollout, action: Action, now: float) -> dict[str, Any]:
    """The columns of an action in the outbox."""
    text = ACTION.dump_json(action).decode()
    return {"id": action.id, "rollout": rollout.id, "action": text, "wanted_at": now}


def sample_values(rollout: Rollout, sample: Sample) -> dict[str, Any]:
    """The columns of one bucket."""
    return {"rollout": rollout.id, "at": sample.at, "sample": SAMPLE.dump_json(sample).decode()}


def as_command(row: Row) -> Command:
    """A command that was asked."""
    return Command(row["serial"], row["verb"], row["actor"], row["reason"])


def as_target(component: str, environment: str, row: Row | None, rollout: str | None) -> Target:
    """What is trusted in one environment."""
    if row is None:
        return Target(component, environment, rollout=rollout)
    return Target(component, environment, row["version"], row["slot"], row["previous"], row["fence"], rollout)


def as_rollout_row(row: Row) -> RolloutRow:
    """A rollout with what was seen of it last."""
    return RolloutRow(
        ROLLOUT.validate_json(row["state"]),
        Deployment.model_validate_json(row["deployment"]),
        row["actor"],
        None if row["seen"] is None else orjson.loads(row["seen"]),
        row["seen_at"],
    )


def as_waiting_row(row: Row) -> WaitingRow:
    """A release that waits."""
    return WaitingRow(**{**row, "deployment": Deployment.model_validate_json(row["deployment"])})


def subject(rollout: Rollout) -> Subject:
    """What an entry of the record is about."""
    return Subject(rollout.id, rollout.plan.component, rollout.plan.environment)
