"""The flows of three guides as files: each becomes the steps that its guide has written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.config.load import load, resolve
from crossfade.rollouts.plan import Plan, compile_plan

EXAMPLES = Path(__file__).parents[2] / "examples"


def plan(example: str, component: str, environment: str) -> Plan:
    deployment = resolve(load(EXAMPLES / example / "crossfade.yaml"), component, environment)
    return compile_plan(
        deployment.settings.strategy,
        component,
        environment,
        "1.1.0",
        previous="1.0.0",
        instances=deployment.instances,
    )


def steps(*where: str) -> list[str]:
    return [step.describe() for step in plan(*where).steps]


def actions(example: str, component: str, environment: str) -> list[tuple[str, str]]:
    deployment = resolve(load(EXAMPLES / example / "crossfade.yaml"), component, environment)
    return [(rule.metric, rule.then) for rule in deployment.settings.rules]


@pytest.mark.parametrize("example", ["nextgen-market", "composey", "small-team"])
def test_each_file_is_right_and_nothing_in_it_is_likely_not_meant(example):
    assert load(EXAMPLES / example / "crossfade.yaml").warnings == ()


def test_nextgen_market_goes_from_5_to_25_to_50_to_100_and_stabilises_for_an_hour():
    assert steps("nextgen-market", "api", "production") == [
        "start the new version",
        "wait until it is ready",
        "run the smoke tests",
        "shift 0 % → 5 %",
        "watch 5 % for 5m",
        "grow the new version from 1 to 2 instances",
        "shift 5 % → 25 %",
        "watch 25 % for 5m",
        "shift 25 % → 50 %",
        "watch 50 % for 5m",
        "grow the new version from 2 to 4 instances",
        "shift 50 % → 100 %",
        "watch 100 % for 30m",
        "stabilise for 1h, smoke tests every 5m, at most 0.1 % of requests failed",
        "drain and stop the previous version",
    ]


def test_nextgen_market_answers_each_threshold_as_its_guide_does():
    """Rollback, investigate (a person decides before anything goes on), scale up."""
    assert actions("nextgen-market", "api", "production") == [
        ("error_rate", "rollback"),
        ("p99", "pause"),
        ("cpu", "pause"),
        ("memory", "pause"),
        ("db_connections", "scale"),
        ("db_connections", "rollback"),
        ("critical_lines", "rollback"),
        ("health_failures", "rollback"),
    ]


def test_nextgen_market_replaces_in_development_and_is_blue_green_in_staging():
    assert steps("nextgen-market", "api", "development") == [
        "start the new version",
        "wait until it is ready",
        "run the smoke tests",
        "shift 0 % → 100 %",
        "drain and stop the previous version",
    ]
    staging = plan("nextgen-market", "api", "staging")
    assert staging.strategy == "blue-green"
    assert [step.describe() for step in staging.steps][3:] == [
        "shift 0 % → 100 %",
        "watch 100 % for 5m",
        "keep the previous version warm for 25m",
        "drain and stop the previous version",
    ]


def test_composey_watches_5_percent_for_30_minutes_under_its_four_metrics():
    assert steps("composey", "shell", "production") == [
        "start the new version",
        "wait until it is ready",
        "run the smoke tests",
        "shift 0 % → 5 %",
        "watch 5 % for 30m",
        "grow the new version from 2 to 3 instances",
        "shift 5 % → 100 %",
        "watch 100 % for 30m",
        "drain and stop the previous version",
    ]
    watched = {metric for metric, _ in actions("composey", "shell", "production")}
    assert watched == {"error_rate", "p99", "user_sessions", "cpu_usage"}


def test_composey_proves_by_its_header_who_answers():
    deployment = resolve(load(EXAMPLES / "composey" / "crossfade.yaml"), "shell", "production")
    proof = deployment.workload.version_proof
    assert proof is not None
    assert proof.header == "X-Shell-Version"


def test_the_small_team_switches_at_once_on_docker_and_keeps_blue():
    assert steps("small-team", "app", "production") == [
        "start the new version",
        "wait until it is ready",
        "run the smoke tests",
        "shift 0 % → 100 %",
        "watch 100 % for 30m",
        "drain and stop the previous version",
    ]
    deployment = resolve(load(EXAMPLES / "small-team" / "crossfade.yaml"), "app", "production")
    assert deployment.settings.runtime.kind == "docker"
