"""Rollouts in every standing, for what is shown of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from crossfade.analysis.values import Evidence, Finding
from crossfade.config.load import load_text, resolve
from crossfade.config.model import Deployment
from crossfade.engine.seen import Seen
from crossfade.engine.views import View
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Rollout, Terms, begin
from crossfade.runtimes.port import Instance
from crossfade.traffic.port import RouterView, Routes

NOW = 1_700_000_100.0

_TEXT = """\
project: shop
components:
  api: {command: [serve, "{port}"], environment: {TOKEN: hunter2}, instances: 2}
environments:
  production: {strategy: {kind: canary, adaptive: true}}
"""


def deployment() -> Deployment:
    return resolve(load_text(_TEXT, Path("crossfade.yaml")), "api", "production")


def rollout(**changes: object) -> Rollout:
    """A canary of 1.1.0 that is watched at 5 % since 40 seconds."""
    made = deployment()
    plan = compile_plan(made.settings.strategy, "api", "production", "1.1.0", previous="1.0.0")
    began = begin("ro_1", plan, Terms.of(made), slot="green", fence=7, salt=1, now=NOW - 60)
    return replace(began, **{"step": 3, "share": 500, "since": NOW - 40, **changes})


FINDING = Finding(
    "inconclusive",
    "undecided",
    NOW,
    "error ratio 6.1 [2.3, ∞) so far",
    evidence=(Evidence("errors", 12.0, 142.0), Evidence("combined", 10.0, 100.0), Evidence("pass", 1e-40, 40.0)),
    ratio=(2.31, math.inf),
    watched=35.0,
    canary_requests=1200,
    canary_errors=31,
    stable_requests=22_800,
    stable_errors=103,
)


def view(*, actual: int | None = 500, detail: str = "", finding: Finding | None = FINDING, **changes: object) -> View:
    routes = None if actual is None else Routes({"blue": ("h:1",), "green": ("h:2",)}, actual, "blue")
    router = RouterView(reachable=actual is not None, routes=routes, fence=7, in_flight={"blue": 3}, detail="no answer")
    instances = (
        Instance("api-blue-0", "blue", "1.0.0", 0, "ready", "127.0.0.1:4001", NOW - 7200),
        Instance("api-green-0", "green", "1.1.0", 0, "ready", "127.0.0.1:4002", NOW - 50),
        Instance("api-green-1", "green", "1.1.0", 1, "unready", "127.0.0.1:4003", NOW - 50, restarts=2, detail=detail),
    )
    return View(rollout(**changes), deployment(), "ada@laptop", Seen(instances, router, finding), NOW)
