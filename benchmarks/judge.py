"""The judge beside its peers: the same simulated traffic, who takes a release back, when, and at what cost.

    python benchmarks/judge.py [--runs 300] [--seed 1] [--json]

Traffic is 200 requests/s (Poisson) through stages of 5 %, 25 % and 50 % for 5 minutes each; each request is split on its own.
`rollback_rate` is the share of runs rolled back; where the release is good, all of them are false. `median_s`, `p95_s` and
`failed_median` (failed canary requests until then) are over the runs that were rolled back.

Our judge is the shipped one. The peers are emulated from what they document; see `judge_peers`.
"""

# ruff: noqa: PLR2004 - the figures are those of the scenarios and of the peers' documentation
from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np

from crossfade.analysis import ArmSample, JudgeState, Latency, Sample, begin_stage, finding, fold, start
from crossfade.config.model import Judge
from judge_peers import PEERS
from judge_traffic import BOUNDS_MS, SCENARIOS, STAGES, WATCH, Scenario, Traffic, latencies, samples, simulate


def ours(policy: Judge) -> Callable[[Traffic], float | None]:
    """The shipped judge: seconds to its failing verdict, None when it never fails the run."""

    def judge(traffic: Traffic) -> float | None:
        state = start(policy, stages=len(STAGES))
        for sample in samples(traffic, int(policy.bucket)):
            stage = int(sample.at) // WATCH
            if int(sample.at) % WATCH == 0:
                state = begin_stage(state, sample.at, round(STAGES[stage] * 10_000))
            state = fold(state, sample, policy)
            if state.failure:
                return state.failure.at
        return None

    return judge


R = Judge(latency=False)
U = Judge(latency=False, units="users")


def judges(scenario: Scenario) -> dict[str, Callable[[Traffic], float | None]]:
    """Who judges a scenario: the peers read no latency, and ours reads it only where the source has it."""
    extra = {"latency": scenario.sigma is not None}
    return {
        **({} if scenario.sigma else PEERS),
        "R + guard (ours)": ours(R.model_copy(update=extra)),
        "U + guard (ours)": ours(U.model_copy(update=extra)),
    }


def table(runs: int, seed: int) -> list[dict[str, object]]:
    """A row for each judge and scenario; every judge sees the same runs."""
    rows = []
    for i, scenario in enumerate(SCENARIOS):
        rng = np.random.default_rng([seed, i])
        times: dict[str, list[float]] = {name: [] for name in judges(scenario)}
        failed: dict[str, list[int]] = {name: [] for name in times}
        for _ in range(runs):
            traffic = simulate(scenario, rng)
            for name, judge in judges(scenario).items():
                at = judge(traffic)
                if at is not None:
                    times[name].append(at)
                    failed[name].append(int(traffic.x_c[: int(at)].sum()))
        for name, seconds in times.items():
            rows.append(
                {
                    "judge": name,
                    "scenario": scenario.name,
                    "rollback_rate": len(seconds) / runs,
                    "median_s": float(np.median(seconds)) if seconds else None,
                    "p95_s": float(np.quantile(seconds, 0.95)) if seconds else None,
                    "failed_median": float(np.median(failed[name])) if seconds else None,
                }
            )
        print(f"{scenario.name}: done", file=sys.stderr)
    return rows


def promotion(runs: int, seed: int) -> dict[str, object]:
    """A healthy release (0.05 %) under adaptive promotion: seconds until the last stage has passed."""
    policy, rng, times = R, np.random.default_rng([seed, 99]), []
    for _ in range(runs):
        state, now = start(policy, stages=len(STAGES)), 0.0
        for weight in STAGES:
            state = begin_stage(state, now, round(weight * 10_000))
            for tick in range(1, WATCH // 5 + 1):
                m = rng.poisson(1000)
                m_c = rng.binomial(m, weight)
                x_c, x_s = rng.binomial(m_c, 0.0005), rng.binomial(m - m_c, 0.0005)
                warm = now >= policy.warmup
                state = fold(state, Sample(now, 5.0, ArmSample(m - m_c, x_s), ArmSample(m_c, x_c), warm), policy)
                now += 5.0
                if tick * 5 >= 30 and finding(state, policy, now, now).verdict == "pass":
                    break
        times.append(now)
    return {
        "judge": "R + guard (ours)",
        "scenario": "healthy .05 %, adaptive: seconds to promotion",
        "rollback_rate": None,
        "median_s": float(np.median(times)),
        "p95_s": float(np.quantile(times, 0.95)),
        "failed_median": None,
    }


def cost(updates: int = 2000) -> list[dict[str, object]]:
    """Milliseconds per update (fold and finding), and per metric, median over `updates` buckets."""
    rows = []
    rng = np.random.default_rng(5)
    kinds: tuple[tuple[str, Literal["requests", "users"], int], ...] = (
        ("R, errors", "requests", 1),
        ("R, 4 metrics", "requests", 4),
        ("U, 4 metrics", "users", 4),
    )
    for name, units, metrics in kinds:
        policy = Judge(latency=metrics == 4, units=units, alpha=1e-9)
        # Requests slow alike in both arms, and a bad request in every bucket: nothing is skipped.
        made = []
        for i in range(updates):
            m_c, m_s = 50, 950
            bins = [latencies(rng, np.array([m]), 0.6)[0].tolist() for m in (m_c, m_s)]
            canary = ArmSample(m_c, int(rng.binomial(m_c, 0.01)), Latency(BOUNDS_MS, tuple(bins[0])))
            made.append(
                Sample(
                    5.0 * i,
                    5.0,
                    ArmSample(m_s, 1 + int(rng.binomial(m_s, 0.01)), Latency(BOUNDS_MS, tuple(bins[1]))),
                    canary,
                )
            )
        state = begin_stage(start(policy, stages=3), 0.0, 500)
        marks = [time.perf_counter()]
        looked = []
        for sample in made:
            state = fold(state, sample, policy)
            marks.append(time.perf_counter())
            finding(state, policy, sample.at + 5, sample.at + 5)
            looked.append(time.perf_counter() - marks[-1])
        fold_ms = float(np.median(np.diff(marks)[1:] - np.array(looked[:-1]))) * 1000
        json_ms = _json_cost(state)
        rows.append(
            {
                "cost": name,
                "fold_ms": fold_ms,
                "fold_ms_per_metric": fold_ms / metrics,
                "finding_ms": float(np.median(looked)) * 1000,
                "json_round_trip_ms": json_ms,
                "state_bytes": len(json.dumps(state.to_json())),
            }
        )
    return rows


def _json_cost(state: JudgeState) -> float:
    marks = [time.perf_counter()]
    for _ in range(50):
        JudgeState.from_json(json.loads(json.dumps(state.to_json())))
        marks.append(time.perf_counter())
    return float(np.median([b - a for a, b in pairwise(marks)])) * 1000


def goals(rows: list[dict[str, object]], costs: list[dict[str, object]]) -> list[dict[str, object]]:
    """What the design asks for beside what was measured."""
    of = {(str(row["judge"]), str(row["scenario"])): row for row in rows}
    robust, fast = "R + guard (ours)", "U + guard (ours)"
    asked: list[tuple[str, str, str, str, float]] = [
        (robust, s.name, "false rollbacks", "rollback_rate", 0.005) for s in SCENARIOS if s.good
    ]
    for scenario, median, p95 in (("1 % errors", 60, 120), ("5 % errors", 15, 25), ("100 % errors", 5, 5)):
        asked.append((robust, scenario, "median s", "median_s", median))
        asked.append((robust, scenario, "p95 s", "p95_s", p95))
    asked.append((robust, "1 % errors", "failed requests", "failed_median", 6))
    asked.append((fast, "p99 x 3", "median s", "median_s", 30))
    asked.append((robust, "healthy .05 %, adaptive: seconds to promotion", "p95 s", "p95_s", 240))
    made: list[dict[str, object]] = []
    for judge, scenario, what, field, goal in asked:
        got = of[judge, scenario][field]
        made.append(
            {
                "goal": f"{scenario}: {what}",
                "asked": goal,
                "measured": got,
                "met": isinstance(got, float) and got <= goal,
            }
        )
    for row in costs:
        got = row["fold_ms_per_metric"]
        made.append(
            {
                "goal": f"{row['cost']}: ms per metric and update",
                "asked": 0.2,
                "measured": got,
                "met": isinstance(got, float) and got <= 0.2,
            }
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = table(arguments.runs, arguments.seed)
    rows.append(promotion(arguments.runs, arguments.seed))
    costs = cost()
    reached = goals(rows, costs)
    if arguments.json:
        print(
            json.dumps({"runs": arguments.runs, "seed": arguments.seed, "rows": rows, "cost": costs, "goals": reached})
        )
        return
    for group in (rows, costs, reached):
        _print(group)


def _print(rows: list[dict[str, object]]) -> None:
    shown = [list(rows[0])] + [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(len(line[i]) for line in shown) for i in range(len(shown[0]))]
    for line in shown:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "–" if value is None else str(value)


if __name__ == "__main__":
    main()
