"""What people see of instances that come and go: in the plan, in the status, in JSON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from test_what_is_shown import NOW, shown, words
from views import view

from crossfade.cli.render.objects import plan_object, rollout_object
from crossfade.cli.render.plan import plan_view
from crossfade.cli.render.status import tree
from crossfade.cli.standing import revisions
from crossfade.config.load import load_text, resolve
from crossfade.rollouts.plan import compile_plan

_TEXT = """\
project: shop
components:
  api: {command: [serve, "{port}"], instances: 4}
environments:
  live: {strategy: {kind: rolling, stabilise: {watch: 1h, error_budget: 0.1%}}}
"""


def test_a_rolling_plan_tells_instances_and_what_cannot_return_at_once() -> None:
    made = resolve(load_text(_TEXT, Path("crossfade.yaml")), "api", "live")
    plan = compile_plan(made.settings.strategy, "api", "live", "1.1.0", previous="1.0.0", instances=4)
    text = words(shown(plan_view(plan, made)))
    assert "rolling, 4 instances" in text
    assert "1 start the new version 1 of 4 instances" in text
    assert "drain and stop 1 of 4 instances of the previous version at most 40s" in text
    assert "grow the new version from 1 to 2 instances at most 1m" in text
    assert "stabilise for 1h, at most 0.1 % of requests failed" in text
    assert "75 % of the traffic returns only as instances of the previous version start again" in text
    document = plan_object(plan, made.settings.judge)
    assert [step["instances"] for step in document["steps"] if step["instances"] is not None] == [
        1,
        3,
        2,
        2,
        3,
        1,
        4,
        0,
    ]
    assert [each["stays"] for each in document["exposures"]] == [0.0, 25.0, 50.0, 75.0]


def test_the_status_tells_how_many_instances_are_wanted_and_ready() -> None:
    seen = view(new_instances=3)
    canary = revisions(seen)[1]
    assert canary.count == 3
    assert f"{canary.ready} of 3 instances ready" in words(shown(tree(seen, NOW, watched=True)))
    document = rollout_object(seen, NOW)
    assert document["revisions"][1]["wanted_instances"] == 3
    finished = replace(seen, rollout=replace(seen.rollout, status="done", finished_at=NOW))
    assert all(each["wanted_instances"] is None for each in rollout_object(finished, NOW)["revisions"])
