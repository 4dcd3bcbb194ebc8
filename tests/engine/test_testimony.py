"""What the judge has heard follows from the stages and the samples alone, however they came."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from crossfade.analysis.values import ArmSample, Sample
from crossfade.config.model import Environment, Judge
from crossfade.config.strategies import Canary, Stage
from crossfade.engine.testimony import conclude, cuts, enter_stages, hear, open_testimony
from crossfade.rollouts.plan import compile_plan

SETTINGS = Environment(
    strategy=Canary(steps=(Stage(weight=500), Stage(weight=5000)), watch=60), judge=Judge(latency=False, min_requests=1)
)
PLAN = compile_plan(SETTINGS.strategy, "shop", "production", "1.1.0", previous="1.0.0")
STAGES = ((100.3, 500), (100.8, 500), (130.5, 5000), (131.2, 5000), (160.0, 10_000))


def sample(at: float, seconds: float, errors: int = 1) -> Sample:
    return Sample(at, seconds, ArmSample(100, 1), ArmSample(50, errors))


def buckets() -> list[Sample]:
    edges = sorted({*cuts(STAGES), *(float(t) for t in range(100, 191, 5))})
    return [sample(a, b - a, errors=int(a) % 4) for a, b in itertools.pairwise(edges)]


@given(st.lists(st.integers(min_value=0, max_value=25), max_size=6))
def test_a_crash_between_any_two_looks_changes_nothing(places: list[int]) -> None:
    """Heard in any portions, with any stages known at the time as long as they had begun: as heard at once."""
    everything = buckets()
    whole = hear(open_testimony(PLAN, SETTINGS), everything, SETTINGS, PLAN, STAGES)
    edges = [0, *sorted(places), len(everything)]
    testimony = open_testimony(PLAN, SETTINGS)
    for begin, end in itertools.pairwise(edges):
        news = everything[begin:end]
        testimony = hear(testimony, news, SETTINGS, PLAN, STAGES)
    assert testimony == whole


def test_late_samples_belong_to_the_stage_that_they_were_in() -> None:
    """A source that lags tells of the first stage when the second has long begun."""
    early = hear(open_testimony(PLAN, SETTINGS), [sample(101, 4), sample(105, 5)], SETTINGS, PLAN, STAGES[:2])
    late = hear(open_testimony(PLAN, SETTINGS), [sample(101, 4), sample(105, 5)], SETTINGS, PLAN, STAGES)
    assert early == late
    assert late.stages == 2
    assert late.watched == 9


def test_a_finding_is_about_the_newest_stage_before_its_first_sample() -> None:
    heard = hear(open_testimony(PLAN, SETTINGS), [sample(101, 4)], SETTINGS, PLAN, STAGES)
    found = conclude(
        enter_stages(heard, PLAN, STAGES), SETTINGS, now=161, counted_to=105, health_failures={"canary": 0}
    )
    assert found is not None
    assert (found.stage, found.watched, found.verdict) == (160.0, 0.0, "inconclusive")
    assert conclude(open_testimony(PLAN, SETTINGS), SETTINGS, now=1, counted_to=None, health_failures={}) is None


def test_the_second_of_a_change_is_left_out_and_no_more() -> None:
    """100.3 lies in [100, 101): that bucket mixes two weights; the next one counts."""
    heard = hear(open_testimony(PLAN, SETTINGS), [sample(100, 1, 9), sample(101, 4, 2)], SETTINGS, PLAN, STAGES[:1])
    assert heard.judge.stage is not None
    assert heard.judge.stage.totals.canary_errors == 2
    assert heard.canary_errors == 11
