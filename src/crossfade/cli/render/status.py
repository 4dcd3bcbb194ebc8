"""Where rollouts stand: the tree of one, and the grid of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from crossfade.analysis.sentences import interval
from crossfade.analysis.values import Evidence, Finding
from crossfade.cli.render.plain import ago, count, figure, one_line, percent, plural, share, span
from crossfade.cli.standing import (
    Revision,
    filled,
    next_command,
    revisions,
    seconds_left,
    step_title,
    title,
    turned_by,
)
from crossfade.core.durations import FULL
from crossfade.runtimes.port import Instance

if TYPE_CHECKING:
    from crossfade.engine.views import View

BAR = 24
_STALE = 15.0
STATUS_STYLE = {
    "running": "cyan",
    "paused": "yellow",
    "held": "yellow",
    "rolling-back": "red",
    "done": "green",
    "rolled-back": "red",
}
STATUS_WORDS = {"rolling-back": "going back", "rolled-back": "taken back"}
_STATE_STYLE = {"ready": "green", "starting": "cyan", "stopping": "dim", "unready": "red", "backing-off": "red"}


@dataclass(frozen=True, slots=True)
class Standing:
    """What a line of the grid tells: a target, its trusted version, and its rollout if there was one."""

    component: str
    environment: str
    version: str | None
    view: View | None


def grid(rows: Sequence[Standing], now: float) -> RenderableType:
    """Show every target on one line."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(6):
        table.add_column(no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_row(
        *(
            Text(word, style="dim")
            for word in ("component", "environment", "version", "health", "traffic", "rollout", "")
        )
    )
    for row in rows:
        table.add_row(row.component, row.environment, Text(row.version or "–", style="bold"), *_grid_cells(row, now))
    return Group(table)


def _grid_cells(row: Standing, now: float) -> tuple[Text, ...]:
    view = row.view
    if view is None:
        return (Text("–", style="dim"), Text("–", style="dim"), Text("nothing released yet", style="dim"), Text())
    there = revisions(view)
    health = Text("  ").join(_health(each) for each in there) if there else Text("–", style="dim")
    r = view.rollout
    if r.finished:
        what = Text(f"{r.plan.version} ").append_text(_status(r.status))
        return (
            health,
            Text("100 %" if row.version else "–"),
            what,
            Text(ago(now - (r.finished_at or now)), style="dim"),
        )
    traffic = Text(f"{r.plan.version} {share(r.share)}")
    what = Text(f"step {r.step + 1} of {len(r.way)} ").append_text(_status(r.status))
    return (health, traffic, what, Text(one_line(r.reason), style="dim"))


def _health(revision: Revision) -> Text:
    if revision.instances is None:
        return Text("?", style="yellow")
    total = len(revision.instances) if revision.count is None else revision.count
    return Text(f"{revision.ready}/{total} ready", style="green" if total and revision.ready >= total else "red")


def _status(status: str) -> Text:
    return Text(STATUS_WORDS.get(status, status), style=STATUS_STYLE[status])


def tree(view: View, now: float, *, watched: bool, closing: bool = True) -> RenderableType:
    """Show one rollout: its versions and instances, its step, the evidence; with `closing` the reason and what next."""
    parts: list[RenderableType] = [_heading(view), _step(view, now), Text()]
    parts += [Padding(_revision_tree(each, now), (0, 0, 0, 2)) for each in revisions(view)]
    finding = view.seen.finding if view.seen is not None else None
    if finding is not None:
        parts += [Text(), Padding(evidence_table(finding, finished=view.rollout.finished), (0, 0, 0, 2))]
    if closing:
        parts += _closing(view, now, watched=watched)
    return Group(*parts)


def _heading(view: View) -> Text:
    r = view.rollout
    together = f"   in {r.group.id}" if r.group is not None else ""
    text = Text(title(r), style="bold").append("   ").append(Text(r.plan.strategy, style="not bold dim"))
    return (
        text.append("   ")
        .append(Text(STATUS_WORDS.get(r.status, r.status), style=f"not bold {STATUS_STYLE[r.status]}"))
        .append(f"   {r.id}{together}", style="not bold dim")
    )


def _step(view: View, now: float) -> Text:
    r = view.rollout
    if r.finished:
        took = (r.finished_at or now) - r.created_at
        return Text(f"took {span(took)}, by {one_line(view.actor)}, {ago(now - (r.finished_at or now))}", style="dim")
    text = Text(step_title(r))
    left = seconds_left(view, now)
    if left is not None:
        text.append(f"   {span(float(math.ceil(left)))} left", style="dim")
    if r.failures:
        text.append(
            f"   {plural(r.failures, 'try')} failed" if r.failures == 1 else f"   {r.failures} tries failed",
            style="red",
        )
    return text


def _revision_tree(revision: Revision, now: float) -> RenderableType:
    style = {"stable": "green", "canary": "cyan", "previous": "dim", "taken back": "red"}[revision.role]
    label = Text("● ", style=style).append(revision.version, style="bold").append(f"  {revision.role}", style=style)
    label.append(f"  {revision.slot}", style="dim").append("   ").append_text(_weights(revision))
    if revision.in_flight:
        label.append(f"   {count(revision.in_flight)} in flight", style="dim")
    if revision.instances is not None and revision.count is not None and revision.count != revision.ready:
        label.append(f"   {revision.ready} of {plural(revision.count, 'instance')} ready", style="yellow")
    node = Tree(label, guide_style="dim")
    if revision.instances is None:
        node.add(Text("the runtime has not answered yet", style="yellow"))
    elif revision.instances:
        node.add(_instances(revision.instances, now)) if len(revision.instances) == 1 else [
            node.add(_instances((each,), now)) for each in revision.instances
        ]
    else:
        node.add(Text("no instances", style="dim"))
    return node


def _weights(revision: Revision) -> Text:
    if revision.actual == revision.wanted:
        return Text(share(revision.wanted))
    wrong = "yellow"
    return Text(f"wanted {share(revision.wanted)}, actual {share(revision.actual)}", style=wrong)


def _instances(instances: Sequence[Instance], now: float) -> RenderableType:
    text = Text()
    for each in instances:
        text.append(each.id.ljust(24)).append("  ").append(each.state.ljust(11), style=_STATE_STYLE.get(each.state, ""))
        text.append("  ").append(each.address.ljust(21), style="dim")
        text.append(f"  up {span(float(int(max(0.0, now - each.since))))}", style="dim")
        if each.restarts:
            text.append(f"  {plural(each.restarts, 'restart')}", style="yellow")
        if each.detail:
            text.append(f"  {one_line(each.detail)}", style="yellow" if each.state == "ready" else "red")
    return text


def evidence_table(finding: Finding, *, finished: bool) -> RenderableType:
    """Show the arithmetic, and how far each test is from deciding: the one that decides first, parts only if they tell."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    table.add_row("errors", _arithmetic(finding))
    for each in sorted(finding.evidence, key=lambda each: each.test != "combined"):
        if finished and each.test == "pass":
            continue
        if each.test in _TESTS or filled(each) > 0:
            table.add_row(_TESTS.get(each.test, f"  of {each.test}"), _bar(each))
    if not finished:
        for rule in finding.measured:
            table.add_row("rule", Text(one_line(rule)))
        for rule in finding.unknown:
            table.add_row("not judged", Text(one_line(rule), style="yellow"))
        table.add_row("judge", Text(one_line(finding.reason), style=_VERDICT_STYLE[finding.verdict]))
    return table


_TESTS = {"combined": "evidence against it", "guard": "guard", "pass": "proof that it is good"}
_VERDICT_STYLE = {"fail": "red", "pass": "green", "inconclusive": ""}


def _arithmetic(finding: Finding) -> Text:
    canary = f"{count(finding.canary_errors)} of {count(finding.canary_requests)}"
    stable = f"{count(finding.stable_errors)} of {count(finding.stable_requests)}"
    text = Text(f"canary {canary} failed ({percent(finding.canary_errors, finding.canary_requests)})")
    text.append(f", stable {stable} ({percent(finding.stable_errors, finding.stable_requests)})")
    if finding.ratio is not None:
        text.append(f"   ratio in {interval(finding.ratio)}", style="bold")
    return text


def _bar(evidence: Evidence) -> Text:
    part = filled(evidence)
    blocks = round(part * BAR)
    good = evidence.test == "pass"
    style = "green" if good else "red" if part >= 1 else "yellow" if part > 0.5 else "cyan"  # noqa: PLR2004 - half-way
    text = Text("━" * blocks, style=style).append("─" * (BAR - blocks), style="dim")
    return text.append(f"  {figure(evidence.value)} of {figure(evidence.bound)}", style="dim")


def _closing(view: View, now: float, *, watched: bool) -> list[RenderableType]:
    r = view.rollout
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    if r.reason:
        table.add_row("reason", Text(one_line(r.reason), style=STATUS_STYLE[r.status] if r.status != "running" else ""))
    if r.turned_at is not None and r.cleared_at is not None:
        gone = f"{r.plan.version} got nothing more {span(r.cleared_at - r.turned_at)} after the {turned_by(r)}"
        table.add_row("cost", f"{gone}; {plural(r.canary_errors, 'request')} of it failed")
    router = view.seen.router if view.seen is not None else None
    if router is not None and not router.reachable:
        table.add_row("router", Text(one_line(f"does not answer: {router.detail}"), style="red"))
    if not r.finished:
        if not watched:
            table.add_row("watched by", Text("nobody: no worker is alive, so nothing moves", style="yellow"))
        elif view.seen_at is not None and now - view.seen_at > _STALE:
            table.add_row("seen", Text(ago(now - view.seen_at), style="yellow"))
    if command := next_command(r):
        table.add_row("next", command)
    elif not r.finished and not watched:
        table.add_row("next", f"crossfade status {r.plan.component} {r.plan.environment} --watch")
    return [Text(), Padding(table, (0, 0, 0, 2))] if table.row_count else []


def one_line_standing(view: View, now: float) -> str:
    """The standing in one line, for places that cannot redraw."""
    r = view.rollout
    finding = view.seen.finding if view.seen is not None else None
    parts = [step_title(r)]
    left = seconds_left(view, now)
    if left is not None:
        parts.append(f"{span(float(math.ceil(left)))} left")
    if finding is not None and r.share not in (0, FULL):
        parts.append(f"canary {count(finding.canary_errors)} of {count(finding.canary_requests)} failed")
    return ", ".join(parts)
