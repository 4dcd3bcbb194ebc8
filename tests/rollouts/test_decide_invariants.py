"""What must never happen, whatever the world does: a machine that does everything in any order."""

from __future__ import annotations

import itertools
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated_world import TERMS, World, finding

from crossfade.config.strategies import BlueGreen, Canary, Direct, Mirror, Rolling, Smoke, Stabilise, Stage
from crossfade.core.durations import FULL
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Verb
from crossfade.rollouts.steps import World as Counts
from crossfade.rollouts.steps import carry_out
from crossfade.traffic.port import Slot, other

VERBS: list[Verb] = ["pause", "resume", "promote", "promote-full", "abort", "rollback", "retry"]
STRATEGIES = [
    Canary(watch=60.0, final_watch=60.0, hold=120.0, max_extension=120.0),
    Canary(
        watch=60.0, final_watch=0.0, hold=0.0, adaptive=True, steps=(Stage(weight=10), Stage(weight=9990, pause=True))
    ),
    BlueGreen(watch=60.0, hold=90.0, smoke=(Smoke(path="/"),)),
    Direct(),
    Canary(watch=30.0, final_watch=0.0, hold=0.0, mirror=Mirror(watch=30.0), steps=(Stage(weight=500, instances=1),)),
    BlueGreen(
        watch=30.0,
        hold=0.0,
        pause=True,
        smoke=(Smoke(path="/"),),
        stabilise=Stabilise(watch=90.0, smoke_every=20.0, error_budget=0.01),
    ),
    Rolling(batch_watch=30.0, final_watch=30.0),
    Rolling(max_surge="0", max_unavailable="50%", batch_watch=30.0, final_watch=0.0, pause=True, hold=60.0),
    Rolling(max_surge="25%", max_unavailable="1", batch_watch=0.0, final_watch=30.0),
]
SLOTS: list[Slot] = ["blue", "green"]


class AnyWorld(RuleBasedStateMachine):
    """Instances die, routers vanish, clocks step, actions are late or fail, people command."""

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        first=st.sampled_from([False, False, False, True]),
        ticks=st.integers(0, 60),
        instances=st.sampled_from([2, 4]),
    )
    def begin(self, strategy, first, ticks, instances):
        """A rollout that is some way along: trouble finds it at any step."""
        terms = replace(TERMS, instances=instances)
        self.world = World(
            compile_plan(
                strategy, "api", "production", "1.1.0", previous=None if first else "1.0.0", instances=terms.instances
            ),
            terms,
            finding=finding(),
        )
        self.answered: list[int] = []
        for _ in range(ticks):
            self.world.now += 5.0
            self._tick()

    @rule(seconds=st.sampled_from([0.0, 0.3, 5.0, 61.0]), times=st.integers(1, 12))
    def time_passes(self, seconds, times):
        for _ in range(times):
            self.world.now += seconds
            self._tick()

    @rule(times=st.integers(1, 30))
    def all_is_well_for_a_while(self, times):
        """Forward through several steps, so that trouble comes late as often as early."""
        w = self.world
        w.failing, w.router_up, w.automatic, w.becomes, w.finding = "", True, True, "ready", finding("pass", "proven")
        w.carry_out_late()
        self.everything_is_ready()
        for _ in range(times):
            w.now += 5.0
            self._tick()

    @rule(seconds=st.sampled_from([-7200.0, -3.0, 7200.0]))
    def the_clock_steps(self, seconds):
        self.world.now += seconds

    @rule(verb=st.sampled_from(VERBS))
    def a_person_commands(self, verb):
        self.world.command(verb)

    @rule(cause=st.sampled_from(["undecided", "blind", "starved"]))
    def the_judge_is_undecided(self, cause):
        self.world.finding = finding(cause=cause)

    @rule()
    def the_judge_is_silent(self):
        self.world.finding = None

    @rule()
    def the_judge_passes(self):
        self.world.finding = finding("pass", "proven")

    @rule(action=st.sampled_from(["rollback", "pause", "notify", "scale"]))
    def the_judge_fails(self, action):
        self.world.finding = finding("fail", "errors", action=action)

    @rule(
        slot=st.sampled_from(SLOTS),
        index=st.integers(0, 3),
        state=st.sampled_from(["ready", "unready", "gone", "backing-off"]),
    )
    def an_instance_changes(self, slot, index, state):
        self.world.set_state(slot, index, state)

    @rule(state=st.sampled_from(["ready", "starting", "unready"]))
    def new_instances_become(self, state):
        self.world.becomes = state

    @rule()
    def everything_is_ready(self):
        for slot in SLOTS:
            for index in range(len(self.world.instances[slot])):
                self.world.set_state(slot, index, "ready")

    @rule(up=st.booleans())
    def the_router_changes(self, up):
        self.world.router_up = up

    @rule()
    def the_router_is_emptied(self):
        self.world.routes = None

    @rule(error=st.sampled_from(["", "", "it did not work"]))
    def actions_fail(self, error):
        self.world.failing = error

    @rule(automatic=st.booleans())
    def actions_are_late(self, automatic):
        self.world.automatic = automatic

    @rule()
    def late_actions_arrive(self):
        self.world.carry_out_late()

    @precondition(lambda self: hasattr(self, "world"))
    @rule()
    def all_is_well_again(self):
        """From any state, a healthy world and an abort bring everything back, or it is done already."""
        w = self.world
        w.failing, w.router_up, w.automatic, w.becomes, w.finding = "", True, True, "ready", finding()
        w.carry_out_late()
        self.everything_is_ready()
        w.command("abort")
        for _ in range(400):
            w.now += 1.0
            self._tick()
        assert w.rollout.finished, w.rollout
        if w.rollout.status == "rolled-back":
            assert w.instances[w.rollout.slot] == []

    def _tick(self):
        w = self.world
        before = w.rollout
        decision = w.tick()
        observed = w.decisions[-1][1]
        self._no_traffic_for_the_unready(before, observed, decision)
        self._no_promotion_on_missing_data(before, observed, decision)
        self._every_command_is_answered_once(decision)
        for action in decision.actions:
            if action.kind == "stop" and observed.router.routes is not None and w.plan.previous is not None:
                assert observed.router.routes.weight(action.slot) == 0, "stopped what gets traffic"
            self._only_what_has_left_is_stopped(before, observed, action)
        self._never_too_many(observed, decision)
        if before.finished:
            assert replace(decision.rollout, commands=before.commands) == before, "a finished rollout changed"

    @staticmethod
    def _only_what_has_left_is_stopped(rollout, observed, action):
        """An instance that a smaller number ends is in no route any more, and those that stay are enough."""
        if action.kind != "start":
            return
        leaving = {i.address for i in observed.in_slot(action.slot) if i.index >= action.count and i.state == "ready"}
        if observed.router.routes is not None and observed.router.routes.weight(action.slot):
            assert not leaving & set(observed.router.routes.upstreams[action.slot]), "stopped what gets traffic"
        wanted = rollout.terms.instances - rollout.plan.spare
        before = observed.ready("blue") + observed.ready("green")
        if rollout.turned_at is None and leaving and before >= wanted:
            assert before - len(leaving) >= wanted, "too few instances stay"

    def _never_too_many(self, observed, decision):
        """Both versions together stay within the surge of a rolling rollout; a `scale` rule may add to it."""
        w = self.world
        if w.plan.strategy != "rolling" or any(e.kind == "rule.fired" for e in w.events):
            return
        at = most = Counts(0, w.terms.instances, 0)
        for step in w.plan.steps:
            at = carry_out(step, at)
            most = max(most, at, key=lambda each: each.new + each.old)
        for action in decision.actions:
            if action.kind == "start":
                beside = [i for i in observed.in_slot(other(action.slot)) if i.state != "gone"]
                assert action.count + len(beside) <= most.new + most.old, "more instances than the surge allows"

    @staticmethod
    def _no_traffic_for_the_unready(before, observed, decision):
        after = decision.rollout
        if after.share > before.share:
            assert after.turned_at is None
            assert observed.ready(after.slot) >= after.new_instances, "more traffic for an unready version"

    @staticmethod
    def _no_promotion_on_missing_data(before, observed, decision):
        step = before.current
        done = [e for e in decision.events if e.kind == "step.done" and e.data["step"] == before.step]
        promoted = any(e.kind == "command.done" and e.data["verb"].startswith("promote") for e in decision.events)
        if done and step is not None and step.kind == "watch" and not promoted:
            assert observed.finding is not None
            assert observed.finding.cause not in ("blind", "starved"), "promoted on missing data"

    def _every_command_is_answered_once(self, decision):
        self.answered += [e.data["serial"] for e in decision.events if e.kind in ("command.done", "command.refused")]
        assert self.answered == list(range(1, len(self.world.commands) + 1)), "a command was lost or answered twice"

    @invariant()
    def weights_are_shares(self):
        if hasattr(self, "world"):
            assert 0 <= self.world.rollout.share <= FULL
            assert self.world.routes is None or 0 <= self.world.routes.green <= FULL

    @invariant()
    def a_failed_version_keeps_no_traffic(self):
        w = getattr(self, "world", None)
        if w is not None and w.rollout.status == "rolled-back" and w.routes is not None:
            assert w.routes.weight(w.rollout.slot) == 0
        if w is not None and w.rollout.status == "rolled-back":
            assert w.instances[w.rollout.slot] == [], "an instance was leaked"
        if w is not None and w.rollout.turned_at is not None and w.rollout.plan.previous is not None:
            carried = len([i for i in w.decisions[-1][1].in_slot(other(w.rollout.slot)) if i.state == "ready"])
            if carried >= w.terms.instances:
                assert w.rollout.share == 0, "traffic is left on a failed version"

    @invariant()
    def fences_grow(self):
        if hasattr(self, "world"):
            fences = [a.fence for _, _, d in self.world.decisions for a in d.actions if a.kind == "route"]
            assert all(later > earlier for earlier, later in itertools.pairwise(fences))


TestAnyWorld = AnyWorld.TestCase
TestAnyWorld.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
