"""A small world that does what actions say, or fails, or is late: what `decide` is tried against.

Time is a number; nothing waits. Side effects keep the contracts of the real adapters: the router
refuses old fences, starting is idempotent, outcomes can be late.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from crossfade.analysis.values import Finding
from crossfade.config.strategies import Canary
from crossfade.rollouts.decide import decide
from crossfade.rollouts.plan import Plan, compile_plan
from crossfade.rollouts.rollout import (
    ROLLOUT,
    Action,
    Command,
    Decision,
    Event,
    Observed,
    Outcome,
    Rollout,
    Terms,
    Verb,
    begin,
)
from crossfade.runtimes.port import Instance
from crossfade.traffic.port import RouterView, Routes, Slot

TERMS = Terms(instances=2, ready_deadline=60, drain_timeout=30, retry_limit=120, tick=5, judged=True)


def finding(verdict: str = "inconclusive", cause: str = "undecided", **fields) -> Finding:
    reason = fields.pop("reason", f"because {cause}")
    missing = fields.pop("missing", reason if cause in ("blind", "starved") else "")
    return Finding(verdict=verdict, cause=cause, at=0.0, reason=reason, missing=missing, **fields)


def instance(slot: Slot, index: int, version: str, state: str = "ready") -> Instance:
    port = (8000 if slot == "blue" else 9000) + index
    return Instance(f"{slot}-{index}", slot, version, index, state, f"127.0.0.1:{port}", since=0.0)


@dataclass
class World:
    """A target with 1.0.0 in blue, and a rollout of 1.1.0 into green."""

    plan: Plan
    terms: Terms = TERMS
    now: float = 1000.0
    finding: Finding | None = None
    """What the judge says while a stage is watched; `watched` is filled in."""
    becomes: str = "ready"
    """The state that started instances take."""
    router_up: bool = True
    automatic: bool = True
    """Actions are carried out at once; otherwise they wait in `late`."""
    failing: str = ""
    """Error of every action that is carried out now."""
    proof: str = ""
    """The only version that can prove itself through the router, where one is named."""
    smoke_error: str = ""
    """What the smoke tests fail with."""
    counted_behind: float = 0.0
    """By how many seconds the counts lag."""
    late: list[Action] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    decisions: list[tuple[Rollout, Observed, Decision]] = field(default_factory=list)

    def __post_init__(self) -> None:
        blue: list[Instance] = []
        if self.plan.previous is not None:
            blue = [instance("blue", i, self.plan.previous) for i in range(self.terms.instances)]
        self.instances: dict[Slot, list[Instance]] = {"blue": blue, "green": []}
        self.routes: Routes | None = Routes({"blue": tuple(i.address for i in blue), "green": ()}, 0, "blue")
        self.fence = 1
        self.rollout = begin("ro", self.plan, self.terms, slot="green", fence=1, salt=7, now=self.now)
        self.served: list[tuple[float, int]] = []
        self.smoked: list[tuple[float, bool]] = []
        """When smoke tests were run, and whether through the router."""

    # -- what happens to the world --------------------------------------------------------------------

    def command(self, verb: Verb) -> Command:
        command = Command(len(self.commands) + 1, verb, "ada")
        self.commands.append(command)
        return command

    def set_state(self, slot: Slot, index: int, state: str) -> None:
        if index < len(self.instances[slot]):
            self.instances[slot][index] = replace(self.instances[slot][index], state=state)

    def carry_out(self, action: Action) -> None:
        """Carry out one action now, keeping the adapters' contracts."""
        if action.id in self.outcomes:
            return
        self.outcomes[action.id] = Outcome(ok=False, error=self.failing) if self.failing else self._effect(action)

    def carry_out_late(self) -> None:
        late, self.late = self.late, []
        for action in late:
            self.carry_out(action)

    def _effect(self, action: Action) -> Outcome:
        match action.kind:
            case "start":
                there = {i.index: i for i in self.instances[action.slot] if i.state != "gone"}
                if any(i.version != action.version for i in there.values()):
                    return Outcome(ok=False, error="the slot holds another version", retry=False)
                self.instances[action.slot] = [  # what is too much ends, the last ones first
                    there.get(n) or instance(action.slot, n, action.version, self.becomes) for n in range(action.count)
                ]
            case "stop":
                self.instances[action.slot] = []
            case "route":
                return self._route(action)
            case "smoke":
                self.smoked.append((self.now, action.routes is not None))
                if self.smoke_error:
                    return Outcome(ok=False, error=self.smoke_error, retry=False)
        return Outcome(ok=True)

    def _route(self, action: Action) -> Outcome:
        assert action.routes is not None
        if not self.router_up:
            return Outcome(ok=False, error="the router does not answer")
        if action.fence < self.fence or (action.fence == self.fence and action.routes != self.routes):
            return Outcome(ok=False, error="an older decision")
        self.fence, self.routes = action.fence, action.routes
        self.served.append((self.now, action.routes.green))
        if self.proof and action.proves not in ("", self.proof):
            return Outcome(ok=False, error="the wrong version answers", retry=False)
        return Outcome(ok=True)

    # -- time -----------------------------------------------------------------------------------------

    def observe(self) -> Observed:
        answered = self.rollout.commands
        return Observed(
            instances=(*self.instances["blue"], *self.instances["green"]),
            router=RouterView(
                reachable=self.router_up, routes=self.routes if self.router_up else None, fence=self.fence
            ),
            finding=self._finding(),
            outcomes=dict(self.outcomes),
            commands=tuple(c for c in self.commands if c.serial > answered),
            counted_to=self.now - self.counted_behind,
        )

    def _finding(self) -> Finding | None:
        if self.finding is None or (self.rollout.share == 0 and not self.rollout.mirrors):
            return None
        if not self.rollout.stages:
            return None
        began = self.rollout.stages[-1][0]
        blocked = self.finding.cause in ("blind", "starved")
        return replace(self.finding, stage=began, watched=0.0 if blocked else max(0.0, self.now - began))

    def tick(self) -> Decision:
        """One look, one decision, and what follows from it; the state makes the trip through JSON."""
        observed = self.observe()
        before = self.rollout
        decision = decide(before, observed, self.now)
        assert decide(before, observed, self.now) == decision
        self.decisions.append((before, observed, decision))
        self.rollout = ROLLOUT.validate_json(ROLLOUT.dump_json(decision.rollout))
        assert self.rollout == decision.rollout
        self.events.extend(decision.events)
        for action in decision.actions:
            if self.automatic:
                self.carry_out(action)
            else:
                self.late.append(action)
        return decision

    def run(self, seconds: float = 86_400.0, *, stop: str = "") -> None:
        """Tick until the rollout ends, an event of kind `stop` appears, or `seconds` have passed."""
        end = self.now + seconds
        while self.now <= end and not self.rollout.finished:
            decision = self.tick()
            if stop and any(e.kind == stop for e in decision.events):
                return
            self.now = max(decision.wake_at, self.now + 0.01)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def weight(self) -> int:
        """The new version's share at the data plane."""
        return self.routes.green if self.routes is not None else 0


HEALTHY = finding()
BROKEN = finding("fail", "errors", reason="error ratio 6.1 [2.3, ∞) > 1", canary_requests=400, canary_errors=20)


def canary(**fields) -> Canary:
    return Canary(**{"watch": 300.0, "final_watch": 600.0, "hold": 1800.0, **fields})


def world(strategy=None, *, previous: str | None = "1.0.0", **fields) -> World:
    instances = fields.get("terms", TERMS).instances
    plan = compile_plan(strategy or canary(), "api", "production", "1.1.0", previous=previous, instances=instances)
    return World(plan, **{"finding": HEALTHY, **fields})
