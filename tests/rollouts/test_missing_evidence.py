"""Missing evidence stays missing, whatever else is told in the same breath."""

from __future__ import annotations

import pytest
from simulated_world import World, finding

from crossfade.config.strategies import Canary
from crossfade.rollouts.plan import compile_plan

CANARY = Canary(watch=300.0, final_watch=600.0, hold=1800.0, max_extension=600.0)


@pytest.mark.parametrize("action", ["notify", "scale"])
def test_a_rule_that_fires_does_not_hide_that_nothing_is_known(action):
    starved = finding("fail", "p99 > 2s", action=action, missing="starved: 3 of the 100 canary requests")
    world = World(compile_plan(CANARY, "api", "production", "1.1.0", previous="1.0.0"), finding=starved)
    world.run(seconds=7200)
    assert world.rollout.status == "held"
    assert world.weight == 500
    assert "starved" in world.rollout.reason
