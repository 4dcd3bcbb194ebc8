"""The story of single rollouts: each test reads as one situation and what must come of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from simulated_world import TERMS, World, finding, instance

from crossfade.config.model import BlueGreen, Canary, Direct, Smoke, Stage
from crossfade.core.durations import FULL
from crossfade.rollouts.decide import decide
from crossfade.rollouts.plan import compile_plan

HEALTHY = finding()
BROKEN = finding("fail", "errors", reason="error ratio 6.1 [2.3, ∞) > 1", canary_requests=400, canary_errors=20)


def canary(**fields) -> Canary:
    return Canary(**{"watch": 300.0, "final_watch": 600.0, "hold": 1800.0, **fields})


def world(strategy=None, *, previous: str | None = "1.0.0", **fields) -> World:
    plan = compile_plan(strategy or canary(), "api", "production", "1.1.0", previous=previous)
    return World(plan, **{"finding": HEALTHY, **fields})


def test_a_good_version_reaches_all_of_the_traffic_and_the_old_one_ends():
    w = world()
    w.run()
    assert w.rollout.status == "done"
    assert [share for _, share in w.served] == [500, 2500, 5000, FULL, FULL, FULL]  # … trusted, alone
    assert w.instances["blue"] == []
    assert [i.version for i in w.instances["green"]] == ["1.1.0", "1.1.0"]
    assert w.routes is not None
    assert w.routes.stable == "green"
    assert w.routes.upstreams["blue"] == ()
    assert "rollout.promoted" in w.kinds()


def test_each_stage_is_watched_for_its_time():
    w = world()
    w.run()
    times = [at for at, _ in w.served]
    assert all(later - earlier >= 300 for earlier, later in itertools.pairwise(times))
    assert times[5] - times[3] >= 1800  # hold counts from 100 %


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


def test_no_finding_at_all_is_missing_data():
    w = world(canary(max_extension=600.0))
    w.finding = None
    w.run(seconds=7200)
    assert w.rollout.status == "held"
    assert w.weight == 500


def test_an_adaptive_stage_ends_with_the_proof_but_not_before_its_shortest_time():
    w = world(canary(adaptive=True, min_watch=30.0), finding=finding("pass", "proven"))
    w.run()
    first = {share: at for at, share in reversed(w.served)}
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(first.values()))]
    assert len(gaps) == 3
    assert all(30 <= gap < 60 for gap in gaps)


def test_an_unproven_adaptive_stage_takes_its_whole_time():
    w = world(canary(adaptive=True, min_watch=30.0))
    w.run()
    times = [at for at, _ in w.served]
    assert all(later - earlier >= 300 for earlier, later in itertools.pairwise(times))


def test_a_pass_does_not_shorten_a_stage_that_is_not_adaptive():
    w = world(finding=finding("pass", "proven"))
    w.run()
    times = [at for at, _ in w.served]
    assert all(later - earlier >= 300 for earlier, later in itertools.pairwise(times))


def test_instances_that_never_become_ready_get_no_traffic_and_the_reason_is_told():
    w = world(becomes="starting")
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.rollout.cause == "ready"
    assert "0 of 2 instances became ready within 1m" in w.rollout.reason
    assert all(share == 0 for _, share in w.served)


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


def test_pause_stops_the_walk_but_not_the_watch_over_it():
    w = world()
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.command("pause")
    w.run(seconds=3600)
    assert w.rollout.status == "paused"
    assert w.weight == 500
    w.finding = BROKEN
    w.run()
    assert w.rollout.status == "rolled-back"


def test_resume_goes_on():
    w = world()
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.command("pause")
    w.run(seconds=3600)
    w.command("resume")
    w.run()
    assert w.rollout.status == "done"


def test_promote_ends_the_step_and_promote_full_goes_to_the_end():
    w = world()
    while w.rollout.share < 500 or w.rollout.current.kind != "watch":
        w.now = w.tick().wake_at
    w.command("promote")
    w.tick()
    w.tick()
    assert w.weight == 2500
    w.command("promote-full")
    w.tick()
    w.tick()
    assert w.weight == FULL
    w.run()
    assert w.rollout.status == "done"


def test_promote_is_refused_before_the_version_is_ready():
    w = world(becomes="starting")
    w.run(seconds=5)
    w.command("promote")
    w.command("promote-full")
    w.tick()
    refused = [e for e in w.events if e.kind == "command.refused"]
    assert [e.data["serial"] for e in refused] == [1, 2]
    assert "wait until it is ready" in refused[0].text


def test_a_finished_rollout_answers_commands_and_never_changes():
    w = world()
    w.run()
    before = w.rollout
    for verb in ("pause", "resume", "promote", "promote-full", "abort", "rollback", "retry"):
        w.command(verb)
    w.tick()
    assert replace(w.rollout, commands=before.commands) == before
    assert w.kinds()[-7:] == ["command.refused"] * 7


def test_a_stage_with_a_pause_waits_for_a_person():
    w = world(canary(steps=(Stage(weight=500, pause=True),)))
    w.run(seconds=7200)
    assert w.weight == 500
    assert "waits for a person" in w.rollout.reason
    w.command("promote")
    w.run()
    assert w.rollout.status == "done"


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


def test_instances_that_are_gone_with_their_supervisors_are_started_again():
    """As after a restart of the machine: one of each version here."""
    w = world()
    while w.weight < 2500:
        w.now = w.tick().wake_at
    w.set_state("blue", 0, "gone")
    w.set_state("green", 1, "gone")
    w.run(seconds=20)
    assert [i.state for slot in ("blue", "green") for i in w.instances[slot]] == ["ready"] * 4
    assert w.rollout.status == "running"


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


def test_a_clock_that_steps_forward_ends_no_watch():
    w = world()
    while w.rollout.share < 500 or w.rollout.current.kind != "watch":
        w.now = w.tick().wake_at
    w.now += 290.0
    w.finding = finding(cause="blind")  # the judge has counted nothing in that time
    w.tick()
    assert w.weight == 500


def test_a_clock_that_steps_back_blocks_nothing():
    w = world()
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.now -= 3600
    w.command("abort")
    w.run()
    assert w.rollout.status == "rolled-back"


def test_the_first_release_takes_all_traffic_once_it_is_ready():
    w = world(previous=None)
    w.run()
    assert w.rollout.status == "done"
    assert w.weight == FULL
    assert w.routes.stable == "green"


def test_a_first_release_that_is_not_ready_leaves_nothing():
    w = world(previous=None, becomes="unready")
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.instances["green"] == []


def test_direct_and_blue_green_shift_once():
    for strategy in (Direct(), BlueGreen()):
        w = world(strategy)
        w.run()
        assert w.rollout.status == "done"
        assert [share for _, share in w.served] == [FULL] * (len(w.served))
        assert w.routes.upstreams["blue"] == ()


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


def test_a_rule_that_notifies_is_told_once_and_moves_nothing():
    w = world(finding=finding("fail", "p99 > 2s", action="notify", watched=0.0))
    w.run()
    assert w.rollout.status == "done"
    assert w.kinds().count("rule.fired") == 1


def test_a_rule_that_pauses_holds_and_a_person_may_go_on():
    w = world(finding=finding("fail", "stable.error_rate > 2%", action="pause"))
    w.run(seconds=3600)
    assert w.rollout.status == "held"
    assert w.weight == 500
    w.command("resume")
    w.run()
    assert w.rollout.status == "done"


def test_a_rule_that_scales_adds_an_instance():
    w = world()
    while w.weight < 500:
        w.now = w.tick().wake_at
    w.finding = finding("fail", "cpu > 90%", action="scale")
    w.tick()
    assert len(w.instances["green"]) == 3


def test_what_an_earlier_rollout_left_in_the_slot_is_stopped_first():
    w = world()
    w.instances["green"] = [instance("green", 0, "0.9.0")]
    w.run()
    assert w.rollout.status == "done"
    assert {i.version for i in w.instances["green"]} == {"1.1.0"}


def test_the_same_look_always_gives_the_same_decision():
    w = world()
    observed = w.observe()
    assert decide(w.rollout, observed, 5.0) == decide(w.rollout, observed, 5.0)
    assert w.terms == TERMS


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


def test_each_shift_and_each_watch_leaves_a_mark_for_the_judge():
    w = world()
    w.run()
    assert [share for _, share in w.rollout.stages] == [500, 500, 2500, 2500, 5000, 5000, FULL, FULL]


@pytest.mark.parametrize(
    ("closes_in", "looks_in"),
    [(3.0, 3.75), (0.2, 0.95), (-0.6, 0.25), (-1.0, 0.25), (-10.0, 5.0), (None, 5.0)],
    ids=["ahead", "near", "just closed", "overdue", "silent", "nothing counted"],
)
def test_the_next_look_is_when_the_next_bucket_is_known(closes_in, looks_in):
    w = world()
    w.run(stop="step.done")
    while w.rollout.current.kind != "watch":
        w.now = w.tick().wake_at
    at = None if closes_in is None else w.now + closes_in
    decision = decide(w.rollout, replace(w.observe(), next_bucket_at=at), w.now)
    assert decision.wake_at - w.now == pytest.approx(looks_in)
