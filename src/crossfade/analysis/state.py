"""All that the judge remembers between two buckets: a fixed-size frozen value that travels as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crossfade.analysis.evidence import Process
from crossfade.analysis.ratio import RatioSequence


@dataclass(frozen=True, slots=True)
class Totals:
    """Requests and bad events of both arms."""

    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(
            self.canary_requests + other.canary_requests,
            self.canary_errors + other.canary_errors,
            self.stable_requests + other.stable_requests,
            self.stable_errors + other.stable_errors,
        )


@dataclass(frozen=True, slots=True)
class StageState:
    """One stage: since when, at which wanted weight (basis points), watched how long, and its compared requests."""

    at: float
    weight: int
    watch: float
    totals: Totals = Totals()
    seconds: float = 0.0
    """Seconds of compared buckets."""
    alone: tuple[float, ...] = ()
    """At 100 %: the bets against the accepted error rate (`alone.bet`); empty below."""
    accepted: float = 0.0
    """At 100 %: the accepted error rate."""


@dataclass(frozen=True, slots=True)
class Recent:
    """A bucket within the guard's window."""

    at: float
    seconds: float
    totals: Totals


@dataclass(frozen=True, slots=True)
class Failure:
    """The moment at which the judge failed the version. It never unsays it."""

    cause: str
    at: float
    reason: str
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class JudgeState:
    """Everything between two buckets.

    `processes` are the e-processes by metric (`errors`, `latency p50`, …) and go on over stages, as do `ratio` and
    `stable_latency` (the stable arm's earlier latency, fading). `stage` restarts at every change of weight.
    `folded_to` is the end of the newest bucket: an older one is ignored, so folding twice changes nothing.
    """

    stages: int
    start_every: float
    processes: Mapping[str, Process]
    tolerance: float
    ratio: RatioSequence = field(default_factory=RatioSequence)
    bounds: tuple[float, ...] = ()
    stable_latency: tuple[float, ...] = ()
    compared: Totals = Totals()
    """All compared buckets of the rollout."""
    began: float | None = None
    stage: StageState | None = None
    recent: tuple[Recent, ...] = ()
    folded_to: float | None = None
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object (numbers, strings, lists, objects only) that `from_json` turns back into the same state."""
        return {
            "version": 1,
            "stages": self.stages,
            "start_every": self.start_every,
            "tolerance": self.tolerance,
            "processes": {
                name: {"logs": list(p.logs), "starts": list(p.starts), "started": p.started}
                for name, p in self.processes.items()
            },
            "ratio": {"logs": list(self.ratio.logs), "slopes": list(self.ratio.slopes), "events": self.ratio.events},
            "bounds": list(self.bounds),
            "stable_latency": list(self.stable_latency),
            "compared": asdict(self.compared),
            "began": self.began,
            "stage": asdict(self.stage) if self.stage else None,
            "recent": [asdict(bucket) for bucket in self.recent],
            "folded_to": self.folded_to,
            "failure": asdict(self.failure) if self.failure else None,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> JudgeState:
        """The state that `to_json` wrote; ValueError for another version of the format."""
        if data.get("version") != 1:
            msg = f"a judge state of version {data.get('version')!r} cannot be read"
            raise ValueError(msg)
        stage, failure = data["stage"], data["failure"]
        return JudgeState(
            stages=data["stages"],
            start_every=data["start_every"],
            tolerance=data["tolerance"],
            processes={
                name: Process(tuple(p["logs"]), tuple(p["starts"]), p["started"])
                for name, p in data["processes"].items()
            },
            ratio=RatioSequence(tuple(data["ratio"]["logs"]), tuple(data["ratio"]["slopes"]), data["ratio"]["events"]),
            bounds=tuple(data["bounds"]),
            stable_latency=tuple(data["stable_latency"]),
            began=data["began"],
            compared=Totals(**data["compared"]),
            stage=_stage(stage) if stage else None,
            recent=tuple(Recent(**{**bucket, "totals": Totals(**bucket["totals"])}) for bucket in data["recent"]),
            folded_to=data["folded_to"],
            failure=Failure(**failure) if failure else None,
        )


def _stage(data: Mapping[str, Any]) -> StageState:
    return StageState(**{**data, "totals": Totals(**data["totals"]), "alone": tuple(data["alone"])})
