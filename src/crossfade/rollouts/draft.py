"""A decision in the making: the rollout as it becomes, with what is to be done and recorded.

A draft lives inside one call of `decide` and never leaves it: outside, everything stays a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crossfade.core.durations import format_duration
from crossfade.rollouts.rollout import (
    Action,
    Decision,
    Event,
    Observed,
    Operation,
    OperationKind,
    Outcome,
    Rollout,
    wanted_routes,
)
from crossfade.rollouts.steps import Step, reverse
from crossfade.traffic.port import Slot

_JUDGED = ("mirror", "watch", "stabilise")
_FIRST_BACKOFF = 0.25
_LONGEST_BACKOFF = 15.0
_LONGEST_BACKOFF_GOING_BACK = 2.0


class Draft:
    """The rollout `r` as it becomes at time `now`, seen `o`."""

    def __init__(self, rollout: Rollout, observed: Observed, now: float) -> None:
        self.r = rollout
        self.o = observed
        self.now = now
        self._actions: list[Action] = []
        self._events: list[Event] = []
        self._wake_in = rollout.terms.tick
        self.failing: OperationKind | None = None
        """Which kind of operation has failed, where this look shows it."""
        self.failed: Outcome | None = None
        """How the current step's operation failed, where this look shows it."""

    # -- state ---------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Change fields of the rollout."""
        self.r = replace(self.r, **changes)

    def record(self, kind: str, text: str, *, actor: str = "crossfade", **data: Any) -> None:
        """Add a fact to the record."""
        self._events.append(Event(kind, text, actor, data))

    def look_again(self, seconds: float) -> None:
        """Ask for the next look within `seconds`."""
        self._wake_in = min(self._wake_in, max(seconds, 0.0))

    def elapsed(self) -> float:
        """Seconds since the step began; a clock that stepped back counts as none."""
        return max(0.0, self.now - self.r.since)

    @property
    def going_back(self) -> bool:
        """Whether the rollout has turned."""
        return self.r.turned_at is not None

    def new_is_ready(self) -> bool:
        """Whether all instances that are wanted of the new version are ready."""
        return self.o.instances is not None and self.o.ready(self.r.slot) >= self.r.new_instances

    def why_not_ready(self) -> str:
        """Which instances of the new version are missing, and what they say."""
        slot, wanted = self.r.slot, self.r.new_instances
        limit = format_duration(self.r.terms.ready_deadline)
        why = "; ".join(f"{i.id} is {i.state}: {i.detail}" for i in self.o.in_slot(slot) if i.state != "ready")
        return f"{self.o.ready(slot)} of {wanted} instances became ready within {limit}. {why or 'none is there'}"

    # -- turning points ------------------------------------------------------------------------------

    def next_step(self, text: str = "") -> None:
        """The current step is done."""
        step = self.r.current
        if step is not None:
            self.record("step.done", text or step.describe(), step=self.r.step, seconds=round(self.elapsed(), 3))
        self.jump(self.r.step + 1)

    def jump(self, step: int) -> None:
        """Go on at another step of the same way."""
        self.set(step=step, **self._fresh_step())
        if self.r.current is not None and self.r.current.kind in _JUDGED:
            self.begin_stage()

    def begin_stage(self) -> None:
        """The judge looks afresh from here: the share has changed, or its watch begins."""
        self.set(stages=(*self.r.stages, (self.now, self.r.share)))

    def hold(self, reason: str) -> None:
        """Stop going forward until a person decides."""
        self.set(status="held", reason=reason, operation=None)
        self.record("rollout.held", reason, step=self.r.step)

    def turn(
        self, cause: str, reason: str, *, actor: str = "crossfade", evidence: Mapping[str, Any] | None = None
    ) -> None:
        """Go back from here, at once: what was under way is left behind."""
        back = reverse(self.r.plan.steps[: self.r.step + 1])
        self.set(
            status="rolling-back",
            back=back,
            step=0,
            turned_at=self.now,
            cause=cause,
            reason=reason,
            left_behind=self.r.operation,
            **self._fresh_step(),
        )
        self.record(
            "rollback.started", reason, actor=actor, cause=cause, share=self.r.share, evidence=dict(evidence or {})
        )

    def shorten(self) -> None:
        """Nothing of the new version is needed any more: what is left of the way back need not be taken in batches."""
        rest = self.r.back[self.r.step + 1 :]
        if any(step.kind == "grow-old" for step in rest):
            away = Step("stop-new", had=self.r.new_instances)
            again = Step("grow-old", had=self.r.old_instances, count=self.r.terms.instances)
            self.set(back=(*self.r.back[: self.r.step + 1], away, again))

    def finish(self) -> None:
        """The end of the way."""
        status = "rolled-back" if self.going_back else "done"
        self.set(status=status, finished_at=self.now, operation=None)
        text = (
            f"{self.r.plan.version} was taken back"
            if self.going_back
            else f"{self.r.plan.version} has all of the traffic"
        )
        self.record(
            "rollout.finished",
            text,
            status=status,
            canary_requests=self.r.canary_requests,
            canary_errors=self.r.canary_errors,
        )

    def _fresh_step(self) -> dict[str, Any]:
        return {
            "since": self.now,
            "operation": None,
            "failures": 0,
            "retry_at": 0.0,
            "failing_since": None,
            "waiting_since": None,
            "confirmed": False,
            "drained_from": None,
            "smoked_at": None,
            "budget_from": None,
        }

    # -- operations ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Take in how the operation under way has ended."""
        operation = self.r.operation
        outcome = self.o.outcomes.get(operation.id) if operation is not None else None
        if operation is None or outcome is None:
            return
        self.set(operation=None)
        if outcome.ok:
            self.set(failures=0, retry_at=0.0, failing_since=None)
            if operation.kind == "route":
                self.set(confirmed=True)
            elif operation.kind == "smoke":
                self.set(smoked=True)
            return
        self.failed, self.failing = outcome, operation.kind
        longest = _LONGEST_BACKOFF_GOING_BACK if self.going_back else _LONGEST_BACKOFF
        pause = min(_FIRST_BACKOFF * 2 ** min(self.r.failures, 10), longest)
        self.set(
            failures=self.r.failures + 1,
            retry_at=self.now + pause,
            failing_since=self.now if self.r.failing_since is None else self.r.failing_since,
        )

    def operate(self, kind: OperationKind, slot: Slot, *, version: str = "", count: int = 0) -> bool:
        """Have a side effect carried out, unless one is under way or has failed a moment ago; whether it is now."""
        if self._must_wait():
            return False
        self._issue(Action(self._operation_id(kind), kind, slot, version=version, count=count))
        return True

    def smoke_through_router(self) -> bool:
        """Have the smoke tests asked where visitors ask; whether they are now."""
        if self._must_wait():
            return False
        self._issue(
            Action(
                self._operation_id("smoke"),
                "smoke",
                self.r.slot,
                version=self.r.plan.version,
                routes=wanted_routes(self.r, self.o),
            )
        )
        return True

    def route(self, *, proves: str = "", urgent: bool = False) -> None:
        """Have the router told what is wanted now, under a new fence."""
        if self._must_wait():
            return
        fence = max(self.r.fence, self.o.router.fence) + 1
        self.set(fence=fence, confirmed=False)
        routes = wanted_routes(self.r, self.o)
        self._issue(
            Action(
                self._operation_id("route"),
                "route",
                self.r.slot,
                routes=routes,
                fence=fence,
                proves=proves,
                urgent=urgent,
            )
        )

    def _must_wait(self) -> bool:
        if self.r.operation is not None:
            self.look_again(0.5)
            return True
        left = self.r.retry_at - self.now
        if 0 < left <= _LONGEST_BACKOFF:  # a longer one means that the clock was set back
            self.look_again(left)
            return True
        return False

    def _operation_id(self, kind: OperationKind) -> str:
        return f"{self.r.id}:{self.r.serial + 1}:{self.r.step}:{kind}"

    def _issue(self, action: Action) -> None:
        self.set(serial=self.r.serial + 1, operation=Operation(action.id, action.kind, self.now))
        self._actions.append(action)
        self.look_again(0.5)

    def decision(self) -> Decision:
        """The draft as a value."""
        return Decision(self.r, tuple(self._actions), tuple(self._events), self.now + self._wake_in)
