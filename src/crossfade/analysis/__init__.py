"""Is the new version worse than the old one? Asked after every bucket, answered with a guarantee.

A state is folded, bucket by bucket, into findings; every function is pure (no I/O, no clock, no randomness),
every state is a frozen value that travels as JSON:

    state = start(policy, stages=3)                      # crossfade.config.model.Judge
    state = begin_stage(state, at=now, weight=500)       # again at every change of weight
    state = fold(state, sample, policy)                  # for each closed bucket; the same bucket twice changes nothing
    found = finding(state, policy, now=now, newest_sample_at=alive_at)

- `judge` — the four functions above: R or U evidence, latency, guard, pass test, starved and blind.
- `evidence`, `ratio`, `proof`, `quantiles` — the statistics, each usable on its own.
- `buckets.samples` — a router's one-second counts to `Sample`s of the policy's bucket.
- `rules.evaluate` — absolute rules (`error_rate > 1% over 5m -> rollback`).
- `backtest.backtest` — the same judge over recorded traffic.
- `sources/` — adapters that fetch counts: the only part that does I/O.

`docs/explanation/judging.md` tells what is promised, and under which assumption.

>>> from crossfade.analysis import ArmSample, Sample, begin_stage, finding, fold, start
>>> from crossfade.config.model import Judge
>>> policy = Judge(latency=False, warmup=0)
>>> state = begin_stage(start(policy, stages=3), at=0.0, weight=500)
>>> for at in range(0, 30, 5):
...     bucket = Sample(at, 5, stable=ArmSample(950, 1), canary=ArmSample(50, 3))
...     state = fold(state, bucket, policy)
>>> found = finding(state, policy, now=30.0, newest_sample_at=30.0)
>>> found.verdict, found.cause
('fail', 'errors')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossfade.analysis.backtest import Outcome
    from crossfade.analysis.buckets import samples
    from crossfade.analysis.judge import begin_stage, finding, fold, start
    from crossfade.analysis.quantiles import quantile
    from crossfade.analysis.ratio import RatioSequence
    from crossfade.analysis.rules import Ruling, evaluate
    from crossfade.analysis.state import JudgeState
    from crossfade.analysis.values import Arm, ArmSample, Evidence, Finding, Latency, Sample, Verdict

_HOMES = {
    "Arm": "values",
    "ArmSample": "values",
    "Evidence": "values",
    "Finding": "values",
    "JudgeState": "state",
    "Latency": "values",
    "Outcome": "backtest",
    "RatioSequence": "ratio",
    "Ruling": "rules",
    "Sample": "values",
    "Verdict": "values",
    "begin_stage": "judge",
    "evaluate": "rules",
    "finding": "judge",
    "fold": "judge",
    "quantile": "quantiles",
    "samples": "buckets",
    "start": "judge",
}

__all__ = [
    "Arm",
    "ArmSample",
    "Evidence",
    "Finding",
    "JudgeState",
    "Latency",
    "Outcome",
    "RatioSequence",
    "Ruling",
    "Sample",
    "Verdict",
    "begin_stage",
    "evaluate",
    "finding",
    "fold",
    "quantile",
    "samples",
    "start",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: reading the values costs nothing else."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
