"""How a rollout makes room for a newer one: back, on, or by itself."""

from __future__ import annotations

from dataclasses import replace

from crossfade.config.model import Component, Deployment, Environment
from crossfade.config.strategies import Canary, Stabilise, Stage
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Rollout, Terms, begin
from crossfade.rollouts.supersession import stepping_aside

STRATEGY = Canary(
    steps=(Stage(weight=5000, pause=True),), watch=60, final_watch=60, hold=3600, stabilise=Stabilise(watch=600)
)


def at(kind: str, **changes: object) -> Rollout:
    made = Deployment(
        project="p",
        component="api",
        environment="production",
        root="/r",
        state="/s",
        workload=Component(command=("serve",)),
        instances=1,
        settings=Environment(strategy=STRATEGY),
    )
    plan = compile_plan(STRATEGY, "api", "production", "1.1.0", previous="1.0.0")
    rollout = begin("ro_1", plan, Terms.of(made), slot="green", fence=1, salt=1, now=0.0)
    step = max(i for i, each in enumerate(plan.steps) if each.kind == kind)
    share = plan.steps[step].share
    return replace(rollout, **{"step": step, "share": share, "promoted": kind in ("hold", "stop-old"), **changes})


def test_what_is_still_judged_goes_back() -> None:
    for kind in ("start", "ready", "shift", "watch", "await"):
        assert stepping_aside(at(kind)) == "abort", kind
    assert stepping_aside(at("watch", status="held")) == "abort"
    assert stepping_aside(at("await", status="paused")) == "abort"


def test_what_has_arrived_stays() -> None:
    assert stepping_aside(at("stabilise")) == "promote"
    assert stepping_aside(at("hold")) == "promote"
    assert stepping_aside(at("hold", status="paused")) == "promote"


def test_what_ends_by_itself_is_left_alone() -> None:
    assert stepping_aside(at("stop-old")) is None
    assert stepping_aside(at("watch", turned_at=1.0, status="rolling-back")) is None
    assert stepping_aside(at("stop-old", status="done")) is None
