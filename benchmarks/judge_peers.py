"""Judges of other tools, emulated from what they document, all of them reading the canary's error rate.

- `fixed 1 % / 5 min`: more than 1 % over the last 5 minutes, looked at every 10 s.
- `argo`: an analysis over the last minute, every minute; rolled back by the fourth failed one (`failureLimit: 3`).
- `flagger`: the same every minute; the fifth failure is acted on at the *next* tick; no traffic counts as a failure.
- `kayenta`: at each stage's end, Mann-Whitney on points of one minute, 98 % interval against 0.25 × |Hodges-Lehmann|;
  no data at all scores 100.
- `z-test / 10 s`: two proportions over the stage so far, one-sided at 1 %, looked at every 10 s.
"""

# ruff: noqa: PLR2004 - the figures are those of the scenarios and of the peers' documentation
from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from judge_traffic import LENGTH, WATCH, Traffic


def fixed(traffic: Traffic) -> float | None:
    """More than 1 % over the last 5 minutes, every 10 s."""
    for now in range(10, LENGTH + 1, 10):
        window = slice(max(0, now - 300), now)
        m = traffic.m_c[window].sum()
        if m and traffic.x_c[window].sum() / m > 0.01:
            return float(now)
    return None


def argo(traffic: Traffic) -> float | None:
    """The fourth failed one-minute analysis."""
    failed = 0
    for now in range(60, LENGTH + 1, 60):
        m = traffic.m_c[now - 60 : now].sum()
        failed += bool(m and traffic.x_c[now - 60 : now].sum() / m > 0.01)
        if failed > 3:
            return float(now)
    return None


def flagger(traffic: Traffic) -> float | None:
    """Five failed checks, acted on at the tick after."""
    failed = 0
    for now in range(60, LENGTH + 1, 60):
        if failed >= 5:
            return float(now)
        m = traffic.m_c[now - 60 : now].sum()
        failed += bool(m == 0 or traffic.x_c[now - 60 : now].sum() / m > 0.01)
    return None


def kayenta(traffic: Traffic) -> float | None:
    """At each stage's end, a Mann-Whitney interval on one-minute points."""
    for begin in range(0, LENGTH, WATCH):
        points: list[NDArray[np.float64]] = []
        for m, x in ((traffic.m_c, traffic.x_c), (traffic.m_s, traffic.x_s)):
            requests = m[begin : begin + WATCH].reshape(-1, 60).sum(axis=1)
            errors = x[begin : begin + WATCH].reshape(-1, 60).sum(axis=1)
            points.append(errors[requests > 0] / requests[requests > 0])
        if not points[0].size or not points[1].size:
            continue
        differences = np.sort(np.subtract.outer(points[0], points[1]).ravel())
        # 98 % for five points against five, by the normal approximation with ties and continuity: the smallest difference.
        lower = differences[0]
        if lower > 0.25 * abs(float(np.median(differences))):
            return float(begin + WATCH)
    return None


def z_test(traffic: Traffic) -> float | None:
    """Two proportions over the stage so far, every 10 s."""
    for now in range(10, LENGTH + 1, 10):
        window = slice((now - 1) // WATCH * WATCH, now)
        m_c, m_s = traffic.m_c[window].sum(), traffic.m_s[window].sum()
        x_c, x_s = traffic.x_c[window].sum(), traffic.x_s[window].sum()
        if not m_c or not m_s or not x_c + x_s:
            continue
        p = (x_c + x_s) / (m_c + m_s)
        spread = np.sqrt(p * (1 - p) * (1 / m_c + 1 / m_s))
        if spread > 0 and (x_c / m_c - x_s / m_s) / spread > 2.326:
            return float(now)
    return None


PEERS: dict[str, Callable[[Traffic], float | None]] = {
    "fixed 1 % / 5 min": fixed,
    "argo": argo,
    "flagger": flagger,
    "kayenta": kayenta,
    "z-test / 10 s": z_test,
}
