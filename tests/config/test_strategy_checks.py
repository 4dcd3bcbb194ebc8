"""Strategies as a file has them: what is refused, and what is told as likely not meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.config.faults import ConfigError
from crossfade.config.load import load_text
from crossfade.config.strategies import Canary, Rolling, Stabilise

HEAD = 'project: shop\ncomponents: {api: {command: [serve, "{port}"], instances: %d}}\nenvironments:\n  live:\n'


def loaded(strategy: str, *, router: str = "caddy", rules: str = "[]", instances: int = 2):
    body = f"    strategy: {strategy}\n    router: {router}\n    rules: {rules}\n"
    return load_text(HEAD % instances + body, Path("crossfade.yaml"))


def faults(strategy: str, **more) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(strategy, **more)
    return [(fault.code, fault.path) for fault in caught.value.faults]


def warnings(strategy: str, **more) -> list[str]:
    return [fault.code for fault in loaded(strategy, **more).warnings]


def strategy(text: str):
    return loaded(text).project.environments["live"].strategy


@pytest.mark.parametrize(
    ("written", "instances", "bounds"),
    [
        ("rolling", 4, (1, 0)),
        ("{kind: rolling, max_surge: 25%, max_unavailable: 25%}", 6, (2, 1)),
        ("{kind: rolling, max_surge: 0, max_unavailable: 100%}", 3, (0, 2)),
        ("{kind: rolling, max_surge: '2'}", 1, (2, 0)),
    ],
)
def test_batches_are_counts_or_percentages(written, instances, bounds):
    assert strategy(written).bounds(instances) == bounds


@pytest.mark.parametrize("batch", ["13", "101%", "-1", "half", "1.5", "true", "[]"])
def test_what_is_no_number_of_instances_is_refused_with_an_example(batch):
    with pytest.raises(ConfigError) as caught:
        loaded(f"{{kind: rolling, max_surge: {batch}}}")
    (fault,) = caught.value.faults
    assert fault.path.startswith("environments.live.strategy.max_surge")


def test_a_rolling_that_can_replace_nothing_is_refused():
    assert [code for code, _ in faults("{kind: rolling, max_surge: 0}")] == ["config.value"]
    stuck = "{kind: rolling, max_surge: 0, max_unavailable: 25%}"
    assert faults(stuck, instances=2) == [("config.rolling-stuck", "environments.live.strategy.max_surge")]
    assert warnings(stuck, instances=4) == []
    assert faults("{kind: rolling, max_surge: 0, max_unavailable: 1}", instances=1)


def test_copies_need_a_router_that_can_send_them_and_rules_that_judge_them():
    copies = "{kind: canary, mirror: {share: 10%, watch: 5m}}"
    assert faults(copies) == [("config.router-cannot", "environments.live.strategy.mirror")]
    assert warnings(copies, router="nginx") == ["config.mirror-unjudged"]
    assert warnings(copies, router="nginx", rules="['error_rate > 1% -> rollback']") == []


def test_a_time_to_stabilise_in_one_line_or_with_what_is_looked_at():
    assert strategy("{kind: canary, stabilise: 1h, smoke: [{path: /}]}").stabilise == Stabilise(watch=3600)
    assert warnings("{kind: blue-green, stabilise: 1h}") == ["config.stabilise-unchecked"]
    assert warnings("{kind: blue-green, stabilise: {watch: 1h, error_budget: 0.1%}}") == []


def test_rules_that_could_never_come_into_play_are_told():
    rules = "['error_rate > 1% -> rollback']"
    assert warnings("direct", rules=rules) == ["config.rules-unwatched"]
    assert warnings("direct") == []
    assert warnings("blue-green", rules=rules) == []


def test_strategies_survive_json():
    for each in (Rolling(max_surge="25%"), Canary(stabilise=Stabilise(error_budget=0.001))):
        assert type(each).model_validate_json(each.model_dump_json()) == each
