"""What each strategy adds: batches, copies, a person before the switch, few instances, a time to stabilise."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from simulated_world import BROKEN, HEALTHY, TERMS, canary, finding, world

from crossfade.config.strategies import BlueGreen, Canary, Mirror, Rolling, Smoke, Stabilise, Stage
from crossfade.core.durations import FULL

FOUR = replace(TERMS, instances=4)
ROLLING = Rolling(batch_watch=60.0, final_watch=60.0)


def until(w, condition, most: int = 5000):
    for _ in range(most):
        if condition():
            return
        w.now = max(w.tick().wake_at, w.now + 0.01)
    raise AssertionError(w.rollout)


def repairs(w):
    """What the record calls a repair, before the new version is the trusted one."""
    return [e.text for e in w.events if e.kind == "router.repair" and "the trusted version" not in e.text]


def counts(w):
    return len(w.instances["green"]), len(w.instances["blue"])


# -- rolling ----------------------------------------------------------------------------------------------


def test_batches_get_their_part_of_the_traffic_and_as_many_old_ones_go():
    w = world(ROLLING, terms=FOUR)
    seen = []
    while not w.rollout.finished:
        w.now = max(w.tick().wake_at, w.now + 0.01)
        if not seen or seen[-1] != counts(w):
            seen.append(counts(w))
    assert w.rollout.status == "done"
    assert seen == [(1, 4), (1, 3), (2, 3), (2, 2), (3, 2), (3, 1), (4, 1), (4, 0)]
    shares = [share for _, share in w.served]
    assert list(dict.fromkeys(shares)) == [2500, 5000, 7500, FULL]
    assert len(w.routes.upstreams["green"]) == 4


def test_without_a_surge_old_instances_make_room_and_the_last_new_one_is_in_the_routes():
    w = world(Rolling(max_surge="0", max_unavailable="1", batch_watch=30.0, final_watch=0.0), terms=FOUR)
    most = 0
    while not w.rollout.finished:
        w.now = max(w.tick().wake_at, w.now + 0.01)
        most = max(most, sum(counts(w)))
    assert w.rollout.status == "done"
    assert (most, counts(w)) == (4, (4, 0))
    assert len(w.routes.upstreams["green"]) == 4


def test_an_instance_that_leaves_is_out_of_the_routes_and_has_its_drain_before_it_is_stopped():
    w = world(ROLLING, terms=FOUR)
    until(w, lambda: w.rollout.current.kind == "shrink")
    observe = w.observe
    w.observe = lambda: replace(observe(), router=replace(observe().router, in_flight={"blue": 3}))
    until(w, lambda: len(w.routes.upstreams["blue"]) == 3)
    left = w.now
    assert len(w.instances["blue"]) == 4
    until(w, lambda: len(w.instances["blue"]) == 3)
    assert TERMS.drain_timeout <= w.now - left < TERMS.drain_timeout + 10


def test_no_old_instance_leaves_while_too_few_are_ready():
    w = world(ROLLING, terms=FOUR)
    until(w, lambda: w.rollout.current.kind == "watch")
    w.set_state("blue", 0, "unready")
    w.run(seconds=600)
    assert w.rollout.status == "held"
    assert "only 3 ready instances would stay, and 4 are wanted" in w.rollout.reason
    assert len(w.instances["blue"]) == 4


def test_a_bad_first_batch_returns_at_once():
    w = world(ROLLING, terms=FOUR)
    until(w, lambda: w.rollout.current.kind == "watch")
    w.finding = BROKEN
    w.tick()
    assert w.weight == 0
    w.run()
    assert (w.rollout.status, counts(w)) == ("rolled-back", (0, 4))


def test_later_batches_return_as_far_as_the_old_version_can_carry_and_the_rest_as_it_grows():
    w = world(ROLLING, terms=FOUR)
    until(w, lambda: w.rollout.share == 7500 and w.rollout.current.kind == "watch")
    assert counts(w) == (3, 2)
    w.becomes = "starting"
    w.finding = BROKEN
    w.tick()
    assert w.weight == 5000  # two of four are there
    until(w, lambda: len(w.instances["blue"]) == 3)
    w.tick()
    assert w.weight == 5000
    w.becomes = "ready"
    w.set_state("blue", 2, "ready")
    most = 0
    while not w.rollout.finished:
        w.now = max(w.tick().wake_at, w.now + 0.01)
        most = max(most, sum(counts(w)))
    assert most <= 5
    assert (w.rollout.status, counts(w)) == ("rolled-back", (0, 4))
    shares = [share for _, share in w.served]
    assert shares == sorted(shares[: shares.index(7500) + 1]) + sorted(shares[shares.index(7500) + 1 :], reverse=True)


def test_what_may_be_missing_may_be_missing_on_the_way_back_too():
    w = world(Rolling(max_surge="1", max_unavailable="1", batch_watch=60.0), terms=FOUR)
    until(w, lambda: w.rollout.share == 3333 and w.rollout.current.kind == "watch")
    w.set_state("blue", 0, "unready")
    w.command("abort")
    w.tick()
    assert w.weight == 0


def test_a_dead_batch_frees_the_way_for_the_whole_old_version():
    w = world(ROLLING, terms=FOUR)
    until(w, lambda: w.rollout.share == 7500 and w.rollout.current.kind == "watch")
    for index in range(3):
        w.set_state("green", index, "unready")
    w.tick()
    assert w.weight == 0
    w.run()
    assert (w.rollout.status, w.rollout.cause, counts(w)) == ("rolled-back", "instances", (0, 4))
    assert len(w.routes.upstreams["blue"]) == 4


def test_a_turn_in_the_middle_of_shrinking_brings_the_leavers_back():
    w = world(ROLLING, terms=FOUR, automatic=False)

    def shrinking():
        return any(a.kind == "start" and a.slot == "blue" for a in w.late)

    for _ in range(500):
        w.now = max(w.tick().wake_at, w.now + 0.01)
        if shrinking():
            break
        w.carry_out_late()
    assert shrinking()
    w.command("abort")
    w.tick()
    w.automatic = True
    w.carry_out_late()
    w.run()
    assert (w.rollout.status, counts(w)) == ("rolled-back", (0, 4))
    assert len(w.routes.upstreams["blue"]) == 4


def test_promote_full_goes_batch_by_batch_without_watching():
    w = world(Rolling(batch_watch=3600.0, final_watch=60.0, pause=True), terms=FOUR)
    until(w, lambda: w.rollout.current.kind == "watch")
    began = w.now
    w.command("promote-full")
    most = 0
    while w.weight < FULL:
        w.now = max(w.tick().wake_at, w.now + 0.01)
        most = max(most, sum(counts(w)))
    assert w.now - began < 600
    assert most == 5
    w.run()
    assert w.rollout.status == "done"


# -- blue-green -------------------------------------------------------------------------------------------


def test_a_person_switches_where_the_switch_waits_for_one():
    w = world(BlueGreen(pause=True))
    w.run(seconds=7200)
    assert (w.weight, w.rollout.current.kind) == (0, "await")
    assert len(w.instances["green"]) == 2
    w.command("promote")
    w.run()
    assert w.rollout.status == "done"


@pytest.mark.parametrize("kind", ["watch", "hold"])
def test_blue_green_returns_on_a_spike_while_it_is_watched_and_while_blue_is_held(kind):
    w = world(BlueGreen(watch=300.0, hold=1800.0))
    until(w, lambda: w.rollout.current.kind == kind)
    w.finding = BROKEN
    w.tick()
    assert w.weight == 0
    w.run()
    assert w.rollout.status == "rolled-back"
    assert w.routes.stable == "blue"


# -- few instances ----------------------------------------------------------------------------------------


def test_a_canary_has_the_instances_that_its_share_needs_and_all_of_them_before_all_of_the_traffic():
    w = world(canary(steps=(Stage(weight=100, instances=1), Stage(weight=2500), Stage(weight=7500))), terms=FOUR)
    seen = {}
    while not w.rollout.finished:
        w.now = max(w.tick().wake_at, w.now + 0.01)
        seen.setdefault(w.weight, len(w.instances["green"]))
    assert seen[100] == 1
    assert seen[2500] == 2
    assert seen[7500] == 3
    assert seen[FULL] == 4
    assert repairs(w) == []


def test_promote_full_starts_the_instances_that_are_missing_first():
    w = world(canary(), terms=FOUR)
    until(w, lambda: w.rollout.share == 500 and w.rollout.current.kind == "watch")
    w.becomes = "starting"
    w.command("promote-full")
    w.run(seconds=5)
    assert (w.weight, len(w.instances["green"])) == (500, 4)
    for index in range(4):
        w.set_state("green", index, "ready")
    w.run()
    assert w.rollout.status == "done"


def test_more_instances_that_never_become_ready_are_a_rollback():
    w = world(canary(), terms=FOUR)
    until(w, lambda: w.rollout.share == 2500 and w.rollout.current.kind == "watch")
    w.becomes = "starting"
    w.run()
    assert (w.rollout.status, w.rollout.cause) == ("rolled-back", "ready")
    assert counts(w) == (0, 4)


def test_a_stable_version_that_was_scaled_down_takes_back_what_it_can_carry():
    """Somebody else has taken two of four away: they are started again, and traffic returns by what is ready."""
    w = world(canary(), terms=FOUR)
    until(w, lambda: w.weight == FULL and w.rollout.current.kind == "watch")
    w.instances["blue"] = w.instances["blue"][:2]
    w.becomes = "starting"
    w.finding = BROKEN
    w.tick()
    assert w.weight == 5000
    w.run(seconds=5)
    assert [i.state for i in w.instances["blue"]] == ["ready", "ready", "starting", "starting"]
    w.set_state("blue", 2, "ready")
    w.tick()
    w.tick()
    assert w.weight == 2500
    w.set_state("blue", 3, "ready")
    w.run()
    assert (w.rollout.status, w.weight) == ("rolled-back", 0)


# -- copies -----------------------------------------------------------------------------------------------


def test_copies_come_before_the_first_traffic_and_end_with_it():
    w = world(canary(mirror=Mirror(share=1000, watch=120.0)))
    until(w, lambda: w.routes.mirror)
    began = w.now
    assert (w.routes.mirror, w.weight) == (1000, 0)
    assert w.routes.upstreams["green"]
    until(w, lambda: w.weight == 500)
    assert w.now - began >= 120
    assert w.routes.mirror == 0
    w.run()
    assert w.rollout.status == "done"
    assert repairs(w) == []


def test_a_rule_about_copies_takes_the_version_back_before_anybody_has_seen_it():
    w = world(canary(mirror=Mirror(share=1000, watch=120.0)))
    until(w, lambda: w.routes.mirror)
    w.finding = finding("fail", "error_rate > 1%", action="rollback")
    w.run()
    assert w.rollout.status == "rolled-back"
    assert all(share == 0 for _, share in w.served)
    assert (w.routes.mirror, counts(w)) == (0, (0, 2))


# -- stabilising ------------------------------------------------------------------------------------------

STABLE = Canary(
    steps=(Stage(weight=500),),
    watch=60.0,
    final_watch=60.0,
    hold=0.0,
    smoke=(Smoke(path="/"),),
    stabilise=Stabilise(watch=3600.0, smoke_every=300.0, error_budget=0.001),
)


def stabilising(**fields):
    w = world(STABLE, **fields)
    until(w, lambda: w.rollout.current.kind == "stabilise")
    return w


def test_smoke_tests_are_repeated_through_the_router_until_the_old_version_is_retired():
    w = stabilising()
    w.run()
    assert w.rollout.status == "done"
    before, *after = w.smoked
    assert not before[1]  # asked directly: there was no traffic yet
    assert all(through for _, through in after)
    assert len(after) == 12
    assert all(later[0] - earlier[0] >= 300 for earlier, later in itertools.pairwise(after))
    assert counts(w) == (2, 0)


def test_the_new_version_is_trusted_once_it_has_stabilised():
    w = stabilising()
    w.run(seconds=1800)
    assert not w.rollout.promoted
    w.run()
    assert w.rollout.promoted


def test_smoke_tests_that_keep_failing_take_it_back_and_one_alone_does_not():
    w = stabilising()
    w.run(seconds=400)
    w.smoke_error = "GET / answered 500"
    until(w, lambda: len([1 for _, through in w.smoked if through]) == 2)
    w.smoke_error = ""
    w.run(seconds=400)
    assert w.rollout.status == "running"
    w.smoke_error = "GET / answered 500"
    w.run()
    assert (w.rollout.status, w.rollout.cause) == ("rolled-back", "smoke")
    assert counts(w) == (0, 2)


@pytest.mark.parametrize(("failed", "status"), [(36, "running"), (37, "rolled-back")])
def test_the_budget_of_the_whole_time_may_be_spent_and_not_more(failed, status):
    """Ten minutes of an hour, 10 requests a second: 36,000 are expected, of which 36 may fail."""
    w = stabilising(finding=replace(HEALTHY, canary_requests=1000, canary_errors=50))  # what came before
    w.now = w.rollout.since + 600
    w.finding = replace(HEALTHY, canary_requests=7000, canary_errors=50 + failed)
    w.tick()
    assert (w.rollout.turned_at is None) == (status == "running")
    if status == "rolled-back":
        w.run()
        assert (w.rollout.status, w.rollout.cause) == ("rolled-back", "budget")
        assert "37 of 6,000 requests failed, and 0.1 % of the 36,000 in 1h are 36" in w.rollout.reason
