"""Simulated traffic to judge: what happens, request by request, and the buckets that a judge sees of it."""

# ruff: noqa: PLR2004 - the figures are those of the scenarios and of the peers' documentation
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossfade.analysis import ArmSample, Latency, Sample

STAGES = (0.05, 0.25, 0.5)
WATCH = 300
LENGTH = WATCH * len(STAGES)
BOUNDS_MS = tuple(float(round(2.0 ** (i / 2), 1)) for i in range(4, 27))
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Traffic:
    """One run by the second: requests m and failed ones x of the canary (c) and of stable (s); latency bins on demand."""

    m_c: Counts
    x_c: Counts
    m_s: Counts
    x_s: Counts
    bins_c: Counts | None = None
    bins_s: Counts | None = None


@dataclass(frozen=True)
class Scenario:
    """What happens: error rates by the second (canary, stable), requests/s, mean errors that come together."""

    name: str
    canary: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    stable: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    good: bool
    rps: float = 200.0
    clump: float = 1.0
    sigma: float | None = None
    """Spread of the canary's latency (stable: 0.6); no latency without it."""


def _flat(rate: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda t: np.full_like(t, rate)


def _shock(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where((t >= 200) & (t < 320), 0.03, 0.0005)


def _simpson(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rate of both arms rises with the canary's share: pooled over stages the canary looks three times as bad."""
    return np.select([t < WATCH, t < 2 * WATCH], [0.001, 0.004], 0.02)


SCENARIOS = (
    Scenario("A/A .05 %", _flat(0.0005), _flat(0.0005), good=True),
    Scenario("A/A .5 %", _flat(0.005), _flat(0.005), good=True),
    Scenario("A/A .5 %, 5 rps", _flat(0.005), _flat(0.005), good=True, rps=5),
    Scenario("A/A .05 % with latency", _flat(0.0005), _flat(0.0005), good=True, sigma=0.6),
    Scenario("common shock 3 %, 2 min", _shock, _shock, good=True),
    Scenario("Simpson", _simpson, _simpson, good=True),
    Scenario("clumps of 5, .25 %", _flat(0.0025), _flat(0.0025), good=True, clump=5),
    Scenario("1 % errors", _flat(0.01), _flat(0.0005), good=False),
    Scenario("5 % errors", _flat(0.05), _flat(0.0005), good=False),
    Scenario("100 % errors", _flat(1.0), _flat(0.0005), good=False),
    Scenario("5 % errors from 400 s", lambda t: np.where(t < 400, 0.0005, 0.05), _flat(0.0005), good=False),
    Scenario("p99 x 3", _flat(0.0005), _flat(0.0005), good=False, sigma=1.073),
)


def simulate(scenario: Scenario, rng: np.random.Generator) -> Traffic:
    """One run of `scenario`."""
    t = np.arange(LENGTH, dtype=np.float64)
    share = np.repeat(STAGES, WATCH)
    total = rng.poisson(scenario.rps, LENGTH)
    m_c = rng.binomial(total, share)
    m_s = total - m_c
    bins_c = latencies(rng, m_c, scenario.sigma) if scenario.sigma else None
    bins_s = latencies(rng, m_s, 0.6) if scenario.sigma else None
    return Traffic(
        m_c,
        _errors(rng, m_c, scenario.canary(t), scenario.clump),
        m_s,
        _errors(rng, m_s, scenario.stable(t), scenario.clump),
        bins_c,
        bins_s,
    )


def _errors(rng: np.random.Generator, m: Counts, rate: NDArray[np.float64], clump: float) -> Counts:
    """Failed requests; with clumps, each event fails 1 + Poisson(clump − 1) requests of its arm within the second."""
    if clump == 1:
        return np.asarray(rng.binomial(m, rate), dtype=np.int64)
    events = rng.binomial(m, rate / clump)
    return np.asarray(np.minimum(m, events + rng.poisson(events * (clump - 1.0))), dtype=np.int64)


def latencies(rng: np.random.Generator, m: Counts, sigma: float) -> Counts:
    """Histograms by the second of log-normal latency with median 40 ms (p99 161 ms at σ 0.6, 485 ms at σ 1.073)."""
    every = np.repeat(np.arange(m.size), m)
    bins = np.searchsorted(BOUNDS_MS, rng.lognormal(np.log(40), sigma, every.size))
    made = np.zeros((m.size, len(BOUNDS_MS) + 1), dtype=np.int64)
    np.add.at(made, (every, bins), 1)
    return made


def samples(traffic: Traffic, seconds: int) -> Iterator[Sample]:
    """The run in buckets."""
    for a in range(0, LENGTH, seconds):
        b = a + seconds
        arms = []
        for m, x, bins in ((traffic.m_s, traffic.x_s, traffic.bins_s), (traffic.m_c, traffic.x_c, traffic.bins_c)):
            latency = None if bins is None else Latency(BOUNDS_MS, tuple(bins[a:b].sum(axis=0).tolist()))
            arms.append(ArmSample(int(m[a:b].sum()), int(x[a:b].sum()), latency))
        yield Sample(float(a), float(seconds), arms[0], arms[1])
