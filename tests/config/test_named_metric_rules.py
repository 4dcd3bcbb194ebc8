"""Metrics of one's own: what a rule may name, in which units, and what is said when nobody has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.config.load import ConfigError, load_text
from crossfade.config.model import Environment, Rule

FILE = """\
project: shop
components: {{api: {{command: [serve, "{{port}}"]}}}}
environments:
  live:
    metrics:
      kind: prometheus
      url: http://127.0.0.1:9090
      requests: requests_total{{version="{{version}}"}}
      errors: errors_total{{version="{{version}}"}}
      named:
        {named}
    rules:
      - {rule}
"""
CPU = """cpu: 'avg(cpu{version="{version}"})'"""


def loaded(rule: str, named: str = CPU):
    return load_text(FILE.format(rule=rule, named=named), Path("crossfade.yaml"))


def environment(rule: str, named: str = CPU) -> Environment:
    return loaded(rule, named).project.environments["live"]


def faults(rule: str, named: str = CPU):
    with pytest.raises(ConfigError) as caught:
        loaded(rule, named)
    return caught.value.faults


@pytest.mark.parametrize(
    ("line", "bound", "unit"),
    [
        ("cpu > 90% -> notify", 0.9, "percentage"),
        ("cpu > 18 -> scale", 18.0, "count"),
        ("cpu > 1.5 over 5m -> pause", 1.5, "count"),
        ("stable.cpu > 200ms -> pause", 0.2, "duration"),
        ("cpu > 512MB -> rollback", 512e6, "size"),
        ("{metric: cpu, above: 90%}", 0.9, "percentage"),
        ("{metric: cpu, above: 0.9, unit: percentage}", 0.9, "percentage"),
    ],
)
def test_a_bound_is_in_the_unit_that_it_is_written_in(line, bound, unit):
    (rule,) = environment(line).rules
    assert (rule.bound, rule.unit) == (bound, unit)
    assert Rule.model_validate(str(rule)) == rule


def test_a_rule_survives_being_stored():
    settings = environment("cpu > 90% over 5m -> notify")
    assert Environment.model_validate_json(settings.model_dump_json()) == settings


def test_a_query_may_be_the_same_for_both_arms():
    assert environment("connections > 18 -> scale", "connections: sum(pg_stat_activity_count)").rules


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("cpuu > 90% -> notify", "did you mean `cpu`?"),
        ("eror_rate > 1% -> rollback", "did you mean `error_rate`?"),
        ("{metric: cpuu, above: 90%}", "did you mean `cpu`?"),
    ],
)
def test_a_metric_that_nobody_has_is_a_fault_with_its_line(rule, hint):
    (fault,) = faults(rule)
    assert (fault.code, fault.mark.line, fault.hint) == ("config.unknown-metric", 13, hint)
    assert fault.path == "environments.live.rules[0].metric"


def test_a_stranger_is_told_how_to_get_it():
    (fault,) = faults("sessions < 1000 -> pause")
    assert "cpu; give any other a query: `NAME: QUERY` below `metrics.named`" in fault.hint


def test_with_the_router_there_are_no_named_metrics_and_the_fault_says_how_to_get_one():
    head = 'project: shop\ncomponents: {api: {command: [serve, "{port}"]}}\nenvironments:\n  live:\n'
    with pytest.raises(ConfigError) as caught:
        load_text(f"{head}    rules:\n      - cpu > 90% -> notify\n", Path("x"))
    (fault,) = caught.value.faults
    assert (fault.code, fault.mark.line) == ("config.unknown-metric", 6)
    assert "the router counts no other" in fault.hint
    assert "named: {NAME: QUERY}" in fault.hint
    with pytest.raises(ConfigError) as caught:
        load_text(f"{head}    metrics: {{kind: router, named: {{cpu: x}}}}\n", Path("x"))
    assert caught.value.faults[0].hint == "`named` belongs to the metrics prometheus"


@pytest.mark.parametrize(
    ("rule", "named", "code"),
    [
        ("cpu > lots -> notify", CPU, "config.value"),
        ("cpu > 1 -> notify", "cpu: 'cpu{version=\"{verison}\"}'", "config.placeholder"),
        ("cpu > 1 -> notify", 'cpu: ""', "config.empty"),
        ("cpu > 1 -> notify", "{Cpu: cpu, cpu: cpu}", "config.form"),
        ("p99 > 1s -> notify", "p99: x", "config.value"),
        ("{metric: p99, above: 1s, unit: count}", CPU, "config.value"),
    ],
)
def test_what_is_refused(rule, named, code):
    assert [fault.code for fault in faults(rule, named)] == [code]


def test_a_metric_that_no_rule_is_about_is_likely_a_slip():
    (warning,) = loaded("p99 > 1s -> pause").warnings
    assert (warning.code, warning.mark.line) == ("config.unused-metric", 11)


def test_other_faults_do_not_hide_a_metric_that_nobody_has():
    broken = FILE.format(rule="cpuu > 1 -> notify", named=CPU).replace("url: http", "url: ftp")
    with pytest.raises(ConfigError) as caught:
        load_text(f"{broken}      - nonsense\n", Path("x"))
    assert [fault.code for fault in caught.value.faults] == ["config.form", "config.unknown-metric", "config.value"]
