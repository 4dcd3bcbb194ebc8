"""Reading a file: what it may say in short, what is refused, and that every fault is told at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossfade.config.load import ConfigError, find, load, load_text, resolve
from crossfade.config.model import Deployment, Rule
from crossfade.config.reference import EXAMPLE
from crossfade.config.starter import starter
from crossfade.config.strategies import BlueGreen, Canary, Stage
from crossfade.core.errors import BadInputError, ExitCode

HEAD = 'project: shop\ncomponents: {api: {command: [serve, "{port}"]}}\n'


def live(text: str):
    return load_text(f"{HEAD}environments:\n  live: {text}\n", Path("crossfade.yaml")).project.environments["live"]


def faults(text: str):
    with pytest.raises(ConfigError) as caught:
        load_text(text, Path("crossfade.yaml"))
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return caught.value.faults


def live_faults(text: str):
    return faults(f"{HEAD}environments:\n  live: {text}\n")


def test_bare_kinds_and_percentages():
    settings = live("{runtime: process, router: caddy, metrics: router, strategy: blue-green}")
    assert settings.strategy == BlueGreen()
    canary = live("{strategy: {kind: canary, steps: [5%, {weight: 25%, watch: 10m}, 50%]}}").strategy
    assert canary.steps == (Stage(weight=500), Stage(weight=2500, watch=600.0), Stage(weight=5000))


def test_all_of_the_traffic_as_the_last_step_means_the_same():
    assert live("{strategy: {kind: canary, steps: [5%, 100%]}}") == live("{strategy: {kind: canary, steps: [5%]}}")


@pytest.mark.parametrize(
    "steps", ["[100%]", "[5%, {weight: 100%, watch: 5m}]", "[25%, 5%]", "[5%, 5%]", "[]", "[0%]", "[101%]"]
)
def test_steps_that_cannot_be_walked(steps):
    assert live_faults(f"{{strategy: {{kind: canary, steps: {steps}}}}}")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("error_rate > 1% over 5m -> rollback", Rule(metric="error_rate", above=0.01, over=300.0)),
        ("p99 > 2s -> rollback", Rule(metric="p99", above=2.0)),
        ("p50 > 800ms → pause", Rule(metric="p50", above=0.8, then="pause")),
        ("stable.error_rate > 2% over 1m -> pause", Rule(metric="error_rate", arm="stable", above=0.02, then="pause")),
        ("health_failures > 3 -> rollback", Rule(metric="health_failures", above=3.0)),
        ("requests < 100 over 5m -> notify", Rule(metric="requests", below=100.0, over=300.0, then="notify")),
        ("error_rate>1%->rollback", Rule(metric="error_rate", above=0.01)),
    ],
)
def test_rules_in_one_line(line, rule):
    assert live(f"{{rules: ['{line}']}}").rules == (rule,)
    assert live(f"{{rules: ['{rule}']}}").rules == (rule,)


def test_a_rule_in_keys_has_the_same_units():
    assert live("{rules: [{metric: p99, above: 800ms}]}").rules[0].above == 0.8
    assert live_faults("{rules: [{metric: p99, above: 800}]}")[0].code == "config.unit"
    assert live_faults("{rules: [{metric: requests, below: 5%}]}")
    assert live_faults("{rules: [{metric: error_rate, above: 1}]}")[0].path == "environments.live.rules[0].above"


def test_every_fault_is_told_at_once_and_none_that_only_follows():
    found = faults(
        """\
project: Shop
components:
  api:
    command: serve {port}
    instances: "2"
environments:
  staging:
    startegy: canary
  live:
    strategy: {kind: canary, steps: [5, 50%], watch: 5}
    judge: {alpha: 3, guard_window: 2s}
    rules: [eror_rate > 1% -> rollback]
    router: {listen: "127.0.0.1:99999"}
"""
    )
    assert [(each.mark.line, each.path) for each in found] == [
        (1, "project"),
        (4, "components.api.command"),
        (5, "components.api.instances"),
        (8, "environments.staging.startegy"),
        (10, "environments.live.strategy.steps[0]"),
        (10, "environments.live.strategy.watch"),
        (11, "environments.live.judge.alpha"),
        (11, "environments.live.judge.guard_window"),
        (12, "environments.live.rules[0].metric"),
        (13, "environments.live.router.listen"),
    ]


def test_cross_checks():
    assert live_faults("{judge: {bucket: 20s}}")[0].code == "config.guard-window"
    assert live_faults("{judge: {bucket: 1500ms}}")[0].code == "config.bucket"
    assert live_faults("{judge: {blind_after: 6s}}")[0].code == "config.blind-after"
    assert live_faults("{rules: [p99 > 2s over 2s -> pause]}")[0].code == "config.rule-window"
    assert live_faults("{router: {sticky: {header: x-canary}}}")[0].code == "config.header-twice"


def test_one_address_serves_one_component_in_one_environment():
    twice = faults(HEAD + "environments: {live: {}, test: {router: {listen: ':8080'}}}\n")
    assert [each.code for each in twice] == ["config.address-taken"]
    two = faults("project: x\ncomponents: {a: {command: [x]}, b: {command: [y]}}\nenvironments: {live: {}}\n")
    assert [each.code for each in two] == ["config.shared-address"]
    load_text(HEAD + "environments: {live: {}, test: {router: {listen: ':8081'}}}\n", Path("x"))


def test_a_stranger_in_placeholders_is_a_fault_of_the_file():
    for bad in ('["{prot}"]', '["{"]', '["a}"]', '["{\\"a\\": 1}"]'):
        assert (
            faults(f"project: x\ncomponents: {{a: {{command: {bad}}}}}\nenvironments: {{l: {{}}}}\n")[0].code
            == "config.placeholder"
        )
    assert live_faults("{variables: {A: '{nope}'}}")[0].code == "config.placeholder"
    load_text('project: x\ncomponents: {a: {command: ["{{literal}} {port}"]}}\nenvironments: {l: {}}\n', Path("x"))


def test_a_query_must_tell_the_versions_apart():
    query = 'sum(rate(http_requests_total{version="{version}"}[1m]))'
    good = f"{{metrics: {{kind: prometheus, url: 'http://p:9090', requests: '{query}', errors: '{query}'}}}}"
    assert live(good).metrics.requests == query
    assert len(live_faults(good.replace("{version}", "1.0.0"))) == 2


def test_warnings_stop_nothing():
    text = "project: x\ncomponents: {a: {command: [x], drain: {timeout: 0s, grace: 0s}}}\nenvironments: {l: {judge: {enabled: false}}}\n"
    warned = load_text(text, Path("x")).warnings
    assert {each.code for each in warned} == {"config.no-drain", "config.no-grace", "config.unjudged"}
    assert all(each.mark.line > 1 and each.hint for each in warned)


def test_secrets_are_never_quoted():
    text = (
        "project: x\ncomponents:\n  a:\n    command: [x]\n    environment:\n      PASSWORD: {a: hunter2}\n"
        "      OTHER: 'hunter2 {'\n      API_KEY: 'hunter2 {x}'\n"
        "environments: {l: {metrics: {kind: prometheus, url: 'ftp://me:hunter2@db', token: hunter2}}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_text(text, Path("x"))
    assert len(caught.value.faults) >= 5
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.as_json())


@pytest.mark.parametrize(
    "lines",
    [
        '    variables: {GREETING: "hunter2}',
        '    variables:\n      GREETING: "hunter2',
        "    variables:\n      GREETING: a: hunter2",
        "    variables:\n      GREETING: @hunter2",
        "    variables:\n      GREETING: !secret hunter2",
        "    variables:\n      GREETING: &anchor hunter2",
        "    variables:\n      A: b\n      hunter2\n      C: d",
        "    variables:\n\t  GREETING: hunter2",
    ],
)
def test_secrets_are_not_quoted_where_the_text_does_not_even_parse(lines):
    with pytest.raises(ConfigError) as caught:
        load_text(f"{HEAD}environments:\n  live:\n{lines}\n", Path("x"))
    assert caught.value.faults[0].mark.line > 4
    assert "hunter2" not in str(caught.value)


def test_the_starter_and_the_example_have_no_faults():
    assert not load_text(EXAMPLE, Path("x")).warnings
    for text in (starter(), starter("9 Läden!", ["./run me", "-x", "{port}", 'say "hi"', "yes", ": #"], instances=3)):
        assert not load_text(text, Path("x")).warnings
    component = next(
        iter(load_text(starter("x", ["a b", ": #", "{port}", "1.0", "ä\n"]), Path("x")).project.components.values())
    )
    assert component.command == ("a b", ": #", "{port}", "1.0", "ä\n")


def test_resolve_and_the_way_through_json(tmp_path):
    file = tmp_path / "crossfade.yaml"
    file.write_text(EXAMPLE)
    loaded = load(file)
    target = resolve(loaded, "api", "production", tmp_path / "state")
    assert (target.instances, target.root, target.state) == (2, str(tmp_path), str(tmp_path / "state"))
    assert target.workload.environment == {"SHOP_VERSION": "{version}", "SHOP_ENVIRONMENT": "production"}
    assert Deployment.model_validate_json(target.model_dump_json()) == target
    assert resolve(loaded, "api", "staging").state == str(tmp_path / ".crossfade")
    assert resolve(loaded, "api", "staging").instances == 1
    for component, environment, hint in (("appi", "production", "api"), ("api", "prodution", "production")):
        with pytest.raises(BadInputError, match="there is no") as caught:
            resolve(loaded, component, environment)
        assert caught.value.next == f"did you mean `{hint}`?"


def test_find_walks_up(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    file = tmp_path / "crossfade.yaml"
    with pytest.raises(BadInputError, match="crossfade init") as caught:
        find(below)
    assert str(below) in caught.value.where
    file.write_text(starter())
    assert find(below) == find(tmp_path) == find(file) == file


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"project: \xff\n", "config.encoding"),
        (b"project: x\x00\n", "config.encoding"),
        ("project: x\n".encode("utf-16"), "config.encoding"),
        (b"#" * 1_000_001, "config.too-large"),
        (b"", "config.empty"),
        (b"# nothing\n", "config.empty"),
        (b"- a\n", "config.not-a-mapping"),
        (b"text\n", "config.not-a-mapping"),
        (b"a:\n\tb: 1\n", "config.syntax"),
        (b"a: &x 1\nb: *x\n", "config.invalid"),
        (b"<<: {a: 1}\n", "config.alias"),
        (b"a: !!python/object/apply:os.system [echo]\n", "config.tag"),
        (b"a: 1\na: 2\n", "config.duplicate-key"),
        (b"[" * 100_000, "config.too-deep"),
        (b"a: 1\n---\nb: 2\n", "config.syntax"),
        (b"\x1b: 1\n", "config.syntax"),
        (b'a: "\\ud800"\n', "config.text"),
        ("a: b\u2028c\n".encode(), "config.text"),
        (b"a: " + b"9" * 5000 + b"\n", "config.number"),
    ],
)
def test_files_that_are_no_project(tmp_path, data, code):
    file = tmp_path / "crossfade.yaml"
    file.write_bytes(data)
    with pytest.raises(BadInputError) as caught:
        load(file)
    assert caught.value.code == code


def test_an_alias_bomb_is_refused_before_it_expands():
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
    )
    assert {each.code for each in faults(bomb)} == {"config.alias"}


def test_places_that_cannot_be_read(tmp_path):
    for path, code in (
        (tmp_path, "config.not-a-file"),
        (tmp_path / "none.yaml", "config.not-found"),
        (Path("/dev/zero"), "config.not-a-file"),
    ):
        with pytest.raises(BadInputError) as caught:
            load(path)
        assert caught.value.code == code
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInputError, match="not a regular file"):
        load(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadInputError) as caught:
        load(tmp_path / "loop")
    assert caught.value.code == "config.unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    file = tmp_path / "crossfade.yaml"
    file.write_text(starter())
    file.chmod(0)
    with pytest.raises(BadInputError) as caught:
        load(file)
    assert caught.value.code == "config.unreadable"


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "crossfade.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    assert isinstance(load(file).project.environments["production"].strategy, Canary)
