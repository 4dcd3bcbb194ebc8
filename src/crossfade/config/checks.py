"""What no single key can know: whether the keys of a project fit one another. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossfade.config.faults import Path, nearest, show, suggest
from crossfade.config.metrics import RouterMetrics
from crossfade.config.model import Environment, Project, Rule
from crossfade.config.named_metrics import AnyMetric, CloudWatchMetric, DatadogMetric
from crossfade.config.publishing_checks import publishing
from crossfade.config.remarks import Remark
from crossfade.config.routing_checks import routing
from crossfade.config.rules import METRICS, parse_rule
from crossfade.config.runtime_checks import runtimes
from crossfade.config.strategies import Canary, Direct, Rolling
from crossfade.core.durations import format_duration


def remarks(project: Project) -> Iterator[Remark]:
    """Everything about the project that does not fit together."""
    yield from routing(project)
    yield from publishing(project)
    for name, component in project.components.items():
        at: Path = ("components", name)
        if component.drain.grace == 0:
            yield Remark(
                "config.no-grace",
                ((*at, "drain", "grace"),),
                "a grace of 0s kills an instance at the moment it is asked to end",
                "give it time to close its connections, such as `grace: 10s`",
                fatal=False,
            )
        if component.drain.timeout == 0:
            yield Remark(
                "config.no-drain",
                ((*at, "drain", "timeout"),),
                "a drain of 0s cuts off requests that are under way",
                "give them time to finish, such as `timeout: 30s`",
                fatal=False,
            )
        if component.health.timeout > component.ready.deadline:
            yield Remark(
                "config.health-timeout",
                ((*at, "health", "timeout"), (*at, "ready", "deadline")),
                f"one health probe may take {format_duration(component.health.timeout)}, longer than the whole"
                f" deadline to become ready ({format_duration(component.ready.deadline)})",
                "shorten `health.timeout` or lengthen `ready.deadline`",
            )
    yield from runtimes(project)
    for name, environment in project.environments.items():
        yield from _judge(("environments", name), environment)
        yield from _strategy(("environments", name), environment)
        yield from _mirror(("environments", name), environment)
        yield from _rolling(("environments", name), environment, project)


def unknown_metrics(tree: Mapping[str, Any]) -> Iterator[Remark]:
    """Every rule about a metric that its environment does not have, whatever else is wrong in the file."""
    environments = tree.get("environments")
    for name, environment in environments.items() if isinstance(environments, Mapping) else ():
        if not isinstance(environment, Mapping):
            continue
        metrics, named = environment.get("metrics"), ()
        how = "say where any other is known: `NAME: {kind: …}` below `metrics.named`, such as `cpu: {kind: cpu}`"
        if isinstance(metrics, Mapping):
            named = tuple(metrics["named"]) if isinstance(metrics.get("named"), Mapping) else ()
            if metrics.get("kind") == "prometheus":
                how = "give any other a query: `NAME: QUERY` below `metrics.named`"
        yield from strange_rules(("environments", name, "rules"), environment.get("rules"), named, how)


def strange_rules(at: Path, rules: Any, named: tuple[str, ...], how: str) -> Iterator[Remark]:
    """The rules at `at`, as they are written, whose metric is neither built in nor `named`; `how` to get another one."""
    known = (*METRICS, *named)
    for index, rule in enumerate(rules if isinstance(rules, tuple) else ()):
        try:
            fields = parse_rule(rule) if isinstance(rule, str) else rule
        except ValueError:
            continue  # told as what it is: no rule
        metric = fields.get("metric") if isinstance(fields, Mapping) else None
        if isinstance(metric, str) and metric not in known:
            hint = suggest(metric, known) if nearest(metric, known) else f"{suggest(metric, known)}; {how}"
            yield Remark("config.unknown-metric", ((*at, index, "metric"),), f"`{show(metric)}` is not a metric", hint)


def _judge(at: Path, environment: Environment) -> Iterator[Remark]:
    judge = environment.judge
    bucket = (*at, "judge", "bucket")
    if judge.bucket != int(judge.bucket):
        yield Remark(
            "config.bucket",
            (bucket,),
            f"a bucket of {format_duration(judge.bucket)} is not made of whole seconds, in which requests are counted",
            "write whole seconds, such as 5s",
        )
    if judge.guard_window < judge.bucket:
        yield Remark(
            "config.guard-window",
            ((*at, "judge", "guard_window"), bucket),
            f"the guard's window of {format_duration(judge.guard_window)} is shorter than a bucket"
            f" ({format_duration(judge.bucket)}), so it would never see one",
            f"write at least {format_duration(judge.bucket)}, better {format_duration(2 * judge.bucket)}",
        )
    if judge.blind_after < 2 * judge.bucket:
        yield Remark(
            "config.blind-after",
            ((*at, "judge", "blind_after"), bucket),
            f"the judge would count as blind after {format_duration(judge.blind_after)} of silence, and a bucket"
            f" is only full after {format_duration(judge.bucket)}",
            f"write at least {format_duration(2 * judge.bucket)}",
        )
    if judge.units == "users" and isinstance(environment.metrics, RouterMetrics):
        yield Remark(
            "config.units",
            ((*at, "judge", "units"), (*at, "metrics")),
            "the router counts requests, and one user's failures come in clumps: judged as independent"
            " units they revert good versions",
            "use `units: requests`, or a metric source that counts users",
            fatal=False,
        )
    if not judge.enabled and not environment.rules:
        yield Remark(
            "config.unjudged",
            ((*at, "judge", "enabled"), (*at, "rules")),
            "with the comparison off and no rules, only a plain outage is noticed",
            "add rules, such as `rules: [error_rate > 1% over 5m -> rollback]`",
            fatal=False,
        )
    ruled = {rule.metric for rule in environment.rules}
    for name in environment.metrics.named:
        if name not in ruled:
            yield Remark(
                "config.unused-metric",
                ((*at, "metrics", "named", name), (*at, "rules")),
                f"no rule is about `{name}`, so it is never asked for",
                f"add one, such as `{name} > BOUND over 1m -> notify`",
                fatal=False,
            )
    for index, rule in enumerate(environment.rules):
        if rule.over < judge.bucket:
            yield Remark(
                "config.rule-window",
                ((*at, "rules", index), bucket),
                f"the window of {format_duration(rule.over)} is shorter than a bucket ({format_duration(judge.bucket)})",
                f"write at least `over {format_duration(judge.bucket)}`",
            )
        yield from _slow_metric(at, index, rule, environment.metrics.named.get(rule.metric))


def _slow_metric(at: Path, index: int, rule: Rule, metric: AnyMetric | None) -> Iterator[Remark]:
    """A window in which a metric that comes late would have no value at all."""
    match metric:
        case CloudWatchMetric():
            least, why = 3 * metric.period, f"whose values are {format_duration(metric.period)} long and come late"
        case DatadogMetric():
            least, why = 4 * metric.every, f"which is asked for every {format_duration(metric.every)}"
        case _:
            return
    if rule.over < least:
        yield Remark(
            "config.rule-window",
            ((*at, "rules", index), (*at, "metrics", "named", rule.metric)),
            f"the window of {format_duration(rule.over)} is too short for `{rule.metric}`, {why}",
            f"write at least `over {format_duration(least)}`",
        )


def _mirror(at: Path, environment: Environment) -> Iterator[Remark]:
    """Copies, which not every router can send, and a time to stabilise in which nothing would be looked at."""
    strategy, router = environment.strategy, environment.router
    if isinstance(strategy, Direct):
        return
    if strategy.mirror is not None and not type(router).can.mirror:
        yield Remark(
            "config.router-cannot",
            ((*at, "strategy", "mirror"), (*at, "router", "kind")),
            f"{router.kind} cannot send copies of requests to the new version",
            "leave `mirror` away, or use a router that can: nginx, envoy, traefik",
        )
    elif strategy.mirror is not None and not environment.rules:
        yield Remark(
            "config.mirror-unjudged",
            ((*at, "strategy", "mirror"), (*at, "rules")),
            "answers to copies are judged by rules alone, and there are none",
            "add one, such as `rules: [error_rate > 1% over 1m -> rollback]`",
            fatal=False,
        )
    stabilise = strategy.stabilise
    if stabilise is not None and not strategy.smoke and stabilise.error_budget is None:
        yield Remark(
            "config.stabilise-unchecked",
            ((*at, "strategy", "stabilise"), (*at, "strategy", "smoke")),
            "there are neither smoke tests nor an error budget: only the judge and the rules look while it stabilises",
            "add `smoke: [{path: /}]` to the strategy, or `error_budget: 0.1%` to `stabilise`",
            fatal=False,
        )


def _rolling(at: Path, environment: Environment, project: Project) -> Iterator[Remark]:
    """Percentages may come to nothing where there are few instances."""
    strategy = environment.strategy
    if not isinstance(strategy, Rolling):
        return
    for name, component in project.components.items():
        instances = environment.instances or component.instances
        if (component.command or component.image) and not any(strategy.bounds(instances)):
            yield Remark(
                "config.rolling-stuck",
                ((*at, "strategy", "max_surge"), (*at, "strategy", "max_unavailable"), (*at, "strategy")),
                f"of {name}'s {instances} instance{'s' if instances > 1 else ''} none may be missing and none more may run:"
                " nothing could be replaced",
                "allow a surge: `max_surge: 1`",
            )
            return


def _strategy(at: Path, environment: Environment) -> Iterator[Remark]:
    strategy, warmup = environment.strategy, environment.judge.warmup
    if isinstance(strategy, Direct) and environment.rules:
        yield Remark(
            "config.rules-unwatched",
            ((*at, "rules"), (*at, "strategy")),
            "nothing is watched after a direct change, so that no rule can come into play",
            "take `strategy: blue-green`, which also changes everything at once and then watches; or leave the rules away",
            fatal=False,
        )
    if not isinstance(strategy, Canary):
        return
    watch = (*at, "strategy", "watch")
    for index, stage in enumerate(strategy.steps):
        length = strategy.watch if stage.watch is None else stage.watch
        step = (*at, "strategy", "steps", index, "watch") if stage.watch is not None else watch
        if index == 0 and 0 < length <= warmup and not stage.pause:
            yield Remark(
                "config.warmup",
                (step, (*at, "judge", "warmup"), (*at, "strategy", "steps")),
                f"the first step lasts {format_duration(length)}, all of it within the warm-up of"
                f" {format_duration(warmup)}: nothing would be compared",
                "watch it for longer, or shorten `judge.warmup`",
                fatal=False,
            )
        if strategy.adaptive and 0 < length < strategy.min_watch:
            yield Remark(
                "config.min-watch",
                (step, (*at, "strategy", "min_watch")),
                f"a step of {format_duration(length)} ends before `min_watch` ({format_duration(strategy.min_watch)}),"
                " so it can never advance early",
                "shorten `min_watch`, or watch for longer",
                fatal=False,
            )
            if stage.watch is None:
                break
