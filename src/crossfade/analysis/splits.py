"""The stable arm split against itself: an A/A test from recorded traffic, the same for the same seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from crossfade.analysis.values import ArmSample, Latency, Sample


def split(recorded: Sequence[Sample], *, seed: int, clumped: bool = False) -> tuple[Sample, ...]:
    """The trace with its stable requests dealt to both arms at each bucket's realised share; the canary's own are left out.

    Every request is dealt on its own. With `clumped` all failed requests of a bucket go to one arm together, chosen with the
    same odds (to the canary only where its requests hold them).

    >>> sample, = split([Sample(0, 5, ArmSample(900, 9), ArmSample(100, 50))], seed=1)
    >>> sample.canary.requests + sample.stable.requests, sample.canary.errors + sample.stable.errors
    (900, 9)
    """
    random = Random(seed)  # noqa: S311 - a simulation, the same for the same seed
    return tuple([_deal(sample, random, clumped=clumped) for sample in recorded])


def _deal(sample: Sample, random: Random, *, clumped: bool) -> Sample:
    both = sample.canary.requests + sample.stable.requests
    share = sample.canary.requests / both if both else 0.0
    whole = sample.stable
    if clumped:
        m = _binomial(random, whole.requests, share)
        x = whole.errors if random.random() < share and m >= whole.errors else 0
        if whole.requests - m < whole.errors - x:
            x = whole.errors - (whole.requests - m)
    else:
        x = _binomial(random, whole.errors, share)
        m = x + _binomial(random, whole.requests - whole.errors, share)
    canary_bins = stable_bins = None
    if whole.latency is not None:
        bins = tuple([_binomial(random, count, share) for count in whole.latency.counts])
        rest = tuple([count - taken for count, taken in zip(whole.latency.counts, bins, strict=True)])
        canary_bins, stable_bins = Latency(whole.latency.le, bins), Latency(whole.latency.le, rest)
    return Sample(
        sample.at,
        sample.seconds,
        ArmSample(whole.requests - m, whole.errors - x, stable_bins),
        ArmSample(m, x, canary_bins),
    )


def _binomial(random: Random, n: int, p: float) -> int:
    """A binomial number by the gaps between successes: as many steps as there are successes."""
    if n == 0 or p <= 0:
        return 0
    if p >= 1:
        return n
    if p > 0.5:  # noqa: PLR2004 - the rarer side is counted
        return n - _binomial(random, n, 1 - p)
    rest = math.log1p(-p)
    successes, position = 0, 0
    while True:
        position += math.floor(math.log(1.0 - random.random()) / rest) + 1
        if position > n:
            return successes
        successes += 1
