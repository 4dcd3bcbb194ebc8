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


def test_with_the_router_the_fault_says_how_to_get_a_metric_and_a_bare_query_has_no_server():
    head = 'project: shop\ncomponents: {api: {command: [serve, "{port}"]}}\nenvironments:\n  live:\n'
    with pytest.raises(ConfigError) as caught:
        load_text(f"{head}    rules:\n      - cpu > 90% -> notify\n", Path("x"))
    (fault,) = caught.value.faults
    assert (fault.code, fault.mark.line) == ("config.unknown-metric", 6)
    assert "`cpu: {kind: cpu}`" in fault.hint
    with pytest.raises(ConfigError) as caught:
        load_text(f"{head}    metrics: {{kind: router, named: {{cpu: x}}}}\n", Path("x"))
    (fault,) = caught.value.faults
    assert (fault.code, fault.mark.line) == ("config.value", 5)
    assert "a bare query needs a Prometheus" in fault.what
    assert fault.hint == "write what it is, such as `{kind: cpu}`"


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


ROUTER = """\
project: shop
components: {{api: {{command: [serve, "{{port}}"]}}}}
environments:
  live:
    metrics:
      kind: router
      named:
        m: {metric}
    rules:
      - m > 1 over {over} -> notify
"""


def beside_the_router(metric: str, over: str = "1h"):
    return load_text(ROUTER.format(metric=metric, over=over), Path("x"))


@pytest.mark.parametrize(
    "metric",
    [
        "{kind: cpu}",
        "{kind: memory, over_instances: mean}",
        '{kind: logs, pattern: "panic|(?i)fatal"}',
        '{kind: http, url: "https://x/{version}", field: data.value, headers: {X-Api-Key: KEY}, ca: ca.pem}',
        "{kind: postgresql, url: SHOP_DATABASE_URL}",
        "{kind: prometheus, url: http://127.0.0.1:9090, query: up, basic: {username: ada, password: PROMETHEUS}}",
        '{kind: datadog, query: "avg:cpu{service:web,version:{version}} by {host}", site: datadoghq.eu}',
        "{kind: cloudwatch, region: eu-central-1, namespace: AWS/ECS, metric: CPU, statistic: p99.9, period: 5m}",
    ],
)
def test_every_kind_of_metric_stands_beside_the_router_and_survives_being_stored(metric):
    settings = beside_the_router(metric).project.environments["live"]
    assert Environment.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("metric", "code", "says"),
    [
        ("{kind: cpuu}", "config.unknown-kind", "did you mean `cpu`?"),
        ("{pattern: x}", "config.missing", "add `kind:` with one of: prometheus, datadog"),
        ("{kind: cpu, evry: 5s}", "config.unknown-key", "did you mean `every`?"),
        ("{kind: cpu, every: 5}", "config.unit", "write a duration"),
        ('{kind: logs, pattern: "("}', "config.value", "unclosed group"),
        ('{kind: logs, pattern: "(a)\\\\1"}', "config.value", "backreferences are not supported"),
        ('{kind: logs, pattern: "a{1000}{1000}"}', "config.value", "size limit"),
        ("{kind: prometheus, query: up}", "config.value", "write its address"),
        ('{kind: datadog, query: "avg:x{version:{verison}}"}', "config.placeholder", "did you mean {version}?"),
        ('{kind: http, url: "http://x/{verison}"}', "config.placeholder", "did you mean {version}?"),
        ("{kind: http, url: ftp://x}", "config.form", "must start with http"),
        ("{kind: http, url: http://x, bearer: A, basic: {username: x, password: B}}", "config.value", "one of bearer"),
        ("{kind: cloudwatch, region: here, namespace: x, metric: y}", "config.form", "must be an AWS region"),
        ("{kind: cloudwatch, region: us-east-1, namespace: x, metric: y, statistic: avg}", "config.form", "Average"),
        ("{kind: cloudwatch, region: us-east-1, namespace: x, metric: y, period: 45s}", "config.value", "multiple of"),
        ("{kind: cloudwatch, region: us-east-1, namespace: x, metric: y, period: 5m}", "config.value", "stale_after"),
    ],
)
def test_a_metric_with_a_fault_is_told_with_its_line(metric, code, says):
    if "period: 5m" in metric:
        metric = metric.replace("}", ", stale_after: 1m}")
    with pytest.raises(ConfigError) as caught:
        beside_the_router(metric)
    (fault,) = caught.value.faults
    assert (fault.code, fault.mark.line) == (code, 8)
    assert says in f"{fault.what} {fault.hint}"


@pytest.mark.parametrize(
    ("metric", "over", "least"),
    [
        ("{kind: cloudwatch, region: us-east-1, namespace: x, metric: y}", "2m", "3m"),
        ('{kind: datadog, query: "avg:x{*}"}', "30s", "1m"),
    ],
)
def test_a_window_in_which_a_slow_metric_has_no_value_is_a_fault(metric, over, least):
    with pytest.raises(ConfigError) as caught:
        beside_the_router(metric, over)
    (fault,) = caught.value.faults
    assert (fault.code, fault.mark.line, fault.hint) == ("config.rule-window", 10, f"write at least `over {least}`")


@pytest.mark.parametrize(
    "metric",
    ["{kind: postgresql, url: 'postgresql://ada:s3cret@db/shop'}", "{kind: http, url: 'http://ada:s3cret@x/y'}"],
)
def test_a_password_in_the_file_is_refused_and_not_shown(metric):
    with pytest.raises(ConfigError) as caught:
        beside_the_router(metric)
    assert len(caught.value.faults) == 1
    assert "s3cret" not in str(caught.value)
