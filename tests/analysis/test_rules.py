"""Absolute rules: what fires, what stays quiet, what is not known."""

import pytest

from crossfade.analysis import ArmSample, Latency, Sample, evaluate
from crossfade.analysis.rules import describe
from crossfade.config.model import Rule

LE = (500.0, 1000.0, 2500.0)


def sample(at, stable, canary, seconds=60.0, bins=None):
    latency = Latency(LE, bins) if bins else None
    return Sample(at, seconds, ArmSample(*stable), ArmSample(*canary, latency))


def ruling(rule, window, **more):
    (only,) = evaluate([rule], window, now=more.pop("now", 300.0), min_requests=100, **more)
    return only


def test_a_rate_above_its_bound_fires_with_its_arithmetic():
    fired = ruling(
        Rule(metric="error_rate", above=0.01, over=300), [sample(60.0 * i, (900, 0), (100, 2)) for i in range(5)]
    )
    assert (fired.state, fired.action, fired.value) == ("fired", "rollback", 0.02)
    assert fired.reason == "canary error_rate 2% > 1% (10 of 500 requests in the last 5m)"
    found = fired.finding(300.0)
    assert (found.verdict, found.cause, found.action) == ("fail", "error_rate > 1% over 5m -> rollback", "rollback")


def test_exactly_at_the_bound_is_quiet():
    quiet = ruling(Rule(metric="error_rate", above=0.02, over=300), [sample(0, (900, 0), (100, 2), 300.0)])
    assert (quiet.state, quiet.reason[:22]) == ("quiet", "canary error_rate 2% ≤")


def test_a_rate_of_too_few_requests_is_unknown():
    unknown = ruling(Rule(metric="error_rate", above=0.01), [sample(240, (900, 0), (99, 99))])
    assert (unknown.state, unknown.reason) == ("unknown", "99 canary requests of the 100 that a rule needs")


def test_only_the_window_counts():
    window = [sample(0, (0, 0), (1000, 1000)), sample(240, (0, 0), (1000, 0))]
    assert ruling(Rule(metric="error_rate", above=0.01, over=60), window).state == "quiet"
    assert ruling(Rule(metric="error_rate", above=0.01, over=300), window).state == "fired"


def test_a_rule_on_stable_holds_instead_of_rolling_back():
    window = [sample(240, (1000, 100), (1000, 0))]
    held = ruling(Rule(metric="error_rate", arm="stable", above=0.02), window)
    assert (held.state, held.action) == ("fired", "pause")
    assert ruling(Rule(metric="error_rate", arm="stable", above=0.02, then="notify"), window).action == "notify"


@pytest.mark.parametrize(
    ("bins", "bound", "state"),
    [
        ((90, 5, 5, 0), 0.4, "fired"),
        ((100, 0, 0, 0), 2.0, "quiet"),
        ((50, 0, 0, 50), 2.0, "fired"),  # above 2.5 s for sure
        ((50, 0, 0, 50), 3.0, "unknown"),  # above 2.5 s, but is it above 3?
    ],
)
def test_quantiles_are_seconds_and_honest_about_where_the_histogram_ends(bins, bound, state):
    assert ruling(Rule(metric="p99", above=bound), [sample(240, (0, 0), (100, 0), bins=bins)]).state == state


def test_latency_that_no_source_tells_is_unknown():
    assert "no latency" in ruling(Rule(metric="p99", above=2.0), [sample(240, (0, 0), (100, 0))]).reason


def test_fewer_requests_than_asked_for_is_known_only_of_a_whole_window():
    rule = Rule(metric="requests", below=1000, over=300, then="notify")
    assert ruling(rule, [sample(240, (0, 0), (100, 0))]).state == "unknown"
    assert ruling(rule, [sample(60.0 * i, (0, 0), (100, 0)) for i in range(5)]).state == "fired"
    assert ruling(Rule(metric="requests", above=99, over=300), [sample(240, (0, 0), (100, 0))]).state == "fired"


def test_consecutive_failed_health_checks():
    rule = Rule(metric="health_failures", above=2)
    assert ruling(rule, [], health_failures={"canary": 3}).state == "fired"
    assert ruling(rule, [], health_failures={"canary": 2, "stable": 9}).state == "quiet"


def test_named_metrics_are_means_over_the_window():
    rule = Rule.model_construct(metric="cpu", arm="canary", above=0.9, below=None, over=60.0, then="notify")
    points = {("canary", "cpu"): [(100.0, 0.1), (250.0, 0.95), (290.0, 0.97)]}
    assert ruling(rule, [], metrics=points).value == pytest.approx(0.96)
    assert ruling(rule, []).reason == "the source tells no cpu of the canary arm"


@pytest.mark.parametrize(
    "text",
    ["error_rate > 1% over 5m -> rollback", "stable.p99 > 2s over 1m -> pause", "requests < 100 over 5m -> notify"],
)
def test_a_rule_is_described_as_it_is_written(text):
    assert describe(Rule.model_validate(text)) == text
