"""The story of single rollouts: each test reads as one situation and what must come of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from simulated_world import BROKEN, TERMS, canary, finding, instance, world

from crossfade.analysis.values import Alert
from crossfade.config.strategies import BlueGreen, Direct, Stage
from crossfade.core.durations import FULL
from crossfade.rollouts.decide import decide


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


def test_several_rules_at_once_are_each_heeded_once_and_again_after_they_were_quiet():
    w = world(finding=finding("fail", "errors > 3", action="notify", also=(Alert("cpu", "cpu 95%", "scale"),)))

    def told() -> list[tuple[str, str]]:
        return [(event.text, event.data["action"]) for event in w.events if event.kind == "rule.fired"]

    w.run(seconds=120)
    both = [("because errors > 3", "notify"), ("cpu 95%", "scale")]
    assert (told(), len(w.instances["green"]), w.rollout.status) == (both, 3, "running")
    w.finding = replace(w.finding, also=(*w.finding.also, Alert("p99", "p99 3s", "pause")))
    w.run(seconds=60)
    assert (told(), len(w.instances["green"]), w.rollout.status) == ([*both, ("p99 3s", "pause")], 3, "held")
    w.finding = finding()
    w.run(seconds=60)
    w.finding = finding("fail", "cpu", reason="cpu 96%", action="scale")
    w.run(seconds=60)
    assert (told()[3:], len(w.instances["green"])) == ([("cpu 96%", "scale")], 4)


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
