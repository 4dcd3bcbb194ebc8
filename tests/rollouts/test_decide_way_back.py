"""Trouble, and the way back: each test is one situation and what must come of it."""

from __future__ import annotations

import pytest
from simulated_world import BROKEN, HEALTHY, canary, finding, world

from crossfade.config.strategies import Smoke
from crossfade.core.durations import FULL


def test_a_failing_verdict_returns_all_traffic_in_one_shift():
    w = world()
    w.run(stop="step.done")
    while w.rollout.share < 2500:
        w.now = w.tick().wake_at
    w.finding = BROKEN
    w.run()
    assert w.rollout.status == "rolled-back"
    assert [share for _, share in w.served][-2:] == [0, 0]
    assert w.rollout.cause == "errors"
    assert w.instances["green"] == []
    assert len(w.instances["blue"]) == 2
    assert w.rollout.canary_errors == 20


def test_the_turn_and_the_shift_are_one_decision():
    w = world()
    while w.rollout.share < 500 or w.rollout.current.kind != "watch":
        w.now = w.tick().wake_at
    w.finding = BROKEN
    decision = w.tick()
    assert decision.rollout.status == "rolling-back"
    assert [a.kind for a in decision.actions] == ["route"]
    assert decision.actions[0].urgent
    assert decision.actions[0].routes.green == 0


@pytest.mark.parametrize("cause", ["blind", "starved"])
def test_missing_data_is_never_a_pass_and_never_a_rollback(cause):
    w = world(canary(max_extension=600.0))
    w.finding = finding(cause=cause)
    w.run(seconds=7200)
    assert w.rollout.status == "held"
    assert w.weight == 500
    assert cause in w.rollout.reason
    w.finding = HEALTHY
    w.command("resume")
    w.run()
    assert w.rollout.status == "done"


def test_a_version_whose_instances_all_die_is_taken_back_at_once():
    w = world()
    while w.weight < 2500:
        w.now = w.tick().wake_at
    w.set_state("green", 0, "backing-off")
    w.set_state("green", 1, "unready")
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.rollout.cause == "instances"


def test_one_dead_instance_of_two_is_routed_around():
    w = world()
    while w.weight < 2500:
        w.now = w.tick().wake_at
    w.set_state("green", 0, "backing-off")
    w.now = w.tick().wake_at
    w.tick()
    assert w.routes.upstreams["green"] == ("127.0.0.1:9001",)
    assert w.rollout.status == "running"


@pytest.mark.parametrize("status", ["running", "paused", "held"])
def test_abort_returns_the_traffic_in_every_state(status):
    w = world(canary(max_extension=600.0))
    while w.weight < 500:
        w.now = w.tick().wake_at
    if status == "paused":
        w.command("pause")
    if status == "held":
        w.finding = finding(cause="blind")
        w.run(stop="rollout.held")
    w.tick()
    assert w.rollout.status == status
    w.command("abort")
    decision = w.tick()
    assert decision.actions[0].routes.green == 0
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.rollout.cause == "command"


def test_abort_does_not_wait_for_what_is_under_way():
    w = world(automatic=False)
    w.tick()
    assert w.late
    w.command("abort")
    w.tick()
    assert w.rollout.status == "rolling-back"
    w.automatic = True
    w.carry_out_late()
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.instances["green"] == []
    assert w.weight == 0


def test_a_shift_that_arrives_after_the_turn_is_refused_by_the_router():
    w = world()
    while w.rollout.share < 500 or w.rollout.current.kind != "watch":
        w.now = w.tick().wake_at
    w.automatic = False
    w.command("promote")
    w.tick()
    late = list(w.late)
    w.late.clear()
    w.automatic = True
    w.command("abort")
    w.tick()
    assert w.weight == 0
    for action in late:
        w.carry_out(action)
        assert not w.outcomes[action.id].ok
    assert w.weight == 0


def test_rollback_during_the_hold_is_one_weight_change():
    w = world()
    w.run(stop="rollout.promoted")
    started = w.kinds().count("step.done")
    w.command("rollback")
    w.tick()
    assert w.weight == 0
    assert w.kinds().count("step.done") == started
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.routes.stable == "blue"
    assert [i.version for i in w.instances["blue"]] == ["1.0.0", "1.0.0"]


def test_rollback_while_the_old_version_is_being_stopped_starts_it_first():
    w = world(canary(hold=0.0))
    w.run(stop="rollout.promoted")
    while w.rollout.current.kind != "stop-old" or w.instances["blue"]:
        w.now = w.tick().wake_at
    w.becomes = "starting"
    w.command("rollback")
    w.tick()
    w.tick()
    assert w.weight == FULL  # the old version is not there: nobody is sent to it
    w.set_state("blue", 0, "ready")
    w.set_state("blue", 1, "ready")
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.weight == 0


def test_traffic_returns_only_as_far_as_the_old_version_can_carry():
    w = world()
    while w.weight < 5000:
        w.now = w.tick().wake_at
    w.set_state("blue", 0, "gone")
    w.becomes = "starting"
    w.finding = BROKEN
    w.tick()
    assert w.weight == 5000  # half of the old version is there, and half of the traffic is with it already
    w.run(seconds=5)
    w.set_state("blue", 0, "ready")
    w.run()
    assert w.weight == 0
    assert w.rollout.status == "rolled-back"


def test_a_small_share_returns_at_once_whatever_the_old_version_lost():
    """What is left of it carries 95 % already: 5 % more is less harm than the bad version."""
    w = world()
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.set_state("blue", 0, "gone")
    w.becomes = "starting"
    w.finding = BROKEN
    w.tick()
    assert w.weight == 0


def test_a_rollback_does_not_end_without_the_old_version():
    """Everything is gone: the new version is taken back, and the old one is there again before the end."""
    w = world()
    while w.weight < 2500:
        w.now = w.tick().wake_at
    for slot in ("blue", "green"):
        for index in (0, 1):
            w.set_state(slot, index, "gone")
    w.run()
    assert w.rollout.status == "rolled-back"
    assert [i.state for i in w.instances["blue"]] == ["ready", "ready"]
    assert w.routes.upstreams["blue"] == tuple(i.address for i in w.instances["blue"])
    assert w.instances["green"] == []


def test_an_old_version_that_cannot_prove_itself_does_not_keep_the_rollback_from_its_end():
    """The proof was asked for since the new version only, say."""
    w = world(proof="1.1.0")
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.finding = BROKEN
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.weight == 0


def test_a_dead_new_version_keeps_nothing_whatever_the_old_one_can_carry():
    w = world()
    while w.weight < 5000:
        w.now = w.tick().wake_at
    w.set_state("blue", 0, "gone")
    for index in (0, 1):
        w.set_state("green", index, "unready")
    w.tick()
    assert w.weight == 0


def test_a_router_restarted_empty_is_repaired():
    w = world()
    while w.weight < 2500:
        w.now = w.tick().wake_at
    w.now = w.tick().wake_at
    before = w.routes
    w.routes = None
    w.tick()
    assert w.routes == before
    assert "router.repair" in w.kinds()


def test_a_router_that_stays_down_holds_the_rollout_and_abort_still_works_when_it_is_back():
    w = world()
    while w.weight < 2500:
        w.now = w.tick().wake_at
    w.router_up = False
    w.finding = finding(cause="blind")
    w.run(seconds=600)
    assert w.rollout.status == "held"
    w.command("abort")
    w.run(seconds=600)
    assert w.rollout.status == "rolling-back"
    w.router_up = True
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.weight == 0


def test_a_failed_smoke_test_means_no_traffic():
    w = world(canary(smoke=(Smoke(path="/"),)), automatic=False)
    while not any(a.kind == "smoke" for a in w.late):
        w.carry_out_late()
        w.now = w.tick().wake_at
    w.failing = "GET / answered 500, wanted 200"
    w.carry_out_late()
    w.failing = ""
    w.automatic = True
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.rollout.cause == "smoke"
    assert w.weight == 0


def test_smoke_tests_that_pass_let_it_go_on():
    w = world(canary(smoke=(Smoke(path="/"),)))
    w.run()
    assert w.rollout.status == "done"


def test_the_cost_is_counted_to_the_last_request_before_the_end():
    w = world()
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.now = w.tick().wake_at
    w.finding = BROKEN
    w.counted_behind = 3.0
    w.tick()
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.rollout.finished_at - w.rollout.cleared_at >= 3.0
