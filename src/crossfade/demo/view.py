"""How the story looks: a calm picture that redraws on a terminal, lines in a log, nothing for programs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossfade.cli.render.plain import clock, figure, percent, share, span
from crossfade.cli.render.printer import Printer
from crossfade.cli.render.record import event_line, event_text, is_news
from crossfade.cli.render.status import STATUS_STYLE, STATUS_WORDS, evidence_table
from crossfade.cli.standing import revisions, seconds_left, step_title, title
from crossfade.core.durations import FULL
from crossfade.demo.account import Arm
from crossfade.engine.views import View
from crossfade.rollouts.rollout import Rollout
from crossfade.store import AuditRow

_LINE_EVERY = 5.0
_NEWEST = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """All that is shown of one moment: a rollout, what was recorded since the last one, and what visitors get.

    `arms` and `rate` (requests a second) are over the last seconds with the same weights.
    """

    view: View
    rows: Sequence[AuditRow]
    arms: Mapping[str, Arm]
    rate: float
    now: float


class Screen(Protocol):
    """Where moments are shown."""

    def show(self, moment: Moment) -> None:
        """Show one."""
        ...


@contextlib.contextmanager
def screen_for(printer: Printer) -> Iterator[Screen]:
    """The screen that fits what reads: a terminal, a log, a program."""
    if printer.as_json:
        yield _Nothing()
    elif printer.interactive:
        with printer.live() as show:
            yield _Picture(show)
    else:
        yield _Lines(printer)


class _Nothing:
    def show(self, moment: Moment) -> None:
        del moment


class _Lines:
    """A line for each entry of the record, and every few seconds what both versions do."""

    def __init__(self, printer: Printer) -> None:
        self._printer, self._told_at = printer, -math.inf

    def show(self, moment: Moment) -> None:
        for row in filter(is_news, moment.rows):
            self._printer.line(event_line(row))
        r = moment.view.rollout
        quiet = r.finished or r.plan.previous is None or not moment.arms
        if moment.rows:
            self._told_at = moment.now
        elif not quiet and moment.now - self._told_at >= _LINE_EVERY:
            self._told_at = moment.now
            self._printer.line(f"{clock(moment.now)}    {_standing(moment)}")


def _standing(moment: Moment) -> str:
    r, finding = moment.view.rollout, moment.view.seen.finding if moment.view.seen is not None else None
    parts = [f"wanted {share(r.share)}"]
    for version in filter(None, (r.plan.previous, r.plan.version)):
        arm = moment.arms.get(version)
        if arm is not None:
            failed = percent(arm.failed, arm.requests)
            parts.append(f"{version} gets {_part(arm)}, {failed} fail, p50 {_ms(arm.p50)}, p99 {_ms(arm.p99)}")
    if finding is not None and r.turned_at is None:
        parts += [
            f"{e.test} {figure(e.value)} of {figure(e.bound)}"
            for e in finding.evidence
            if e.test in ("combined", "pass")
        ]
    return "; ".join(parts)


class _Picture:
    """The steps, both versions as wanted and as they are, the evidence, and the newest entries of the record."""

    def __init__(self, show: Callable[[Any], None]) -> None:
        self._show = show
        self._rows: list[AuditRow] = []

    def show(self, moment: Moment) -> None:
        self._rows = [*self._rows, *filter(is_news, moment.rows)][-_NEWEST:]
        view = moment.view
        parts: list[RenderableType] = [_heading(moment), Padding(_trail(view.rollout), (0, 0, 0, 2)), Text()]
        if view.rollout.plan.previous is not None:
            parts += [Padding(_versions(moment), (0, 0, 0, 2)), Text()]
        finding = view.seen.finding if view.seen is not None else None
        if finding is not None:
            parts += [
                Padding(
                    evidence_table(finding, finished=view.rollout.turned_at is not None or view.rollout.finished),
                    (0, 0, 0, 2),
                ),
                Text(),
            ]
        self._show(Group(*parts, *(Padding(event_text(row), (0, 0, 0, 2)) for row in self._rows)))


def _heading(moment: Moment) -> Text:
    r = moment.view.rollout
    text = Text(title(r), style="bold")
    text.append(f"   {STATUS_WORDS.get(r.status, r.status)}", style=f"not bold {STATUS_STYLE[r.status]}")
    if not r.finished:
        text.append(f"   {step_title(r).partition(': ')[2]}", style="not bold")
        left = seconds_left(moment.view, moment.now)
        if left is not None:
            text.append(f"   {span(float(math.ceil(left)))} left", style="not bold dim")
    return text


def _trail(rollout: Rollout) -> Text:
    """The steps in a row: done, under way, to come."""
    text = Text()
    turned, reached = rollout.turned_at is not None, max((share for _, share in rollout.stages), default=0)
    for label, first, last in _stops(rollout):
        if turned:
            here = rollout.plan.steps[last].share
            mark, style = ("✗", "red") if here == reached else ("✓", "dim") if here < reached else ("○", "dim")
        else:
            done, begun = rollout.step > last, rollout.step >= first
            mark, style = ("✓", "green") if done else ("●", "cyan bold") if begun else ("○", "dim")
        text.append(f"{mark} {label}   ", style=style)
    if not turned:
        return text
    gone, ended = rollout.cleared_at is not None, rollout.finished
    text.append(
        f"\n↩ {'✓' if gone else '●'} everything to {rollout.plan.previous}   ", style="green" if gone else "red"
    )
    mark = "✓" if ended else "●" if gone else "○"
    return text.append(f"{mark} end {rollout.plan.version}", style="green" if ended else "cyan" if gone else "dim")


def _stops(rollout: Rollout) -> list[tuple[str, int, int]]:
    """What belongs together on the way forward: a label, and the first and the last step of it."""
    stops: list[tuple[str, int, int]] = []
    for index, step in enumerate(rollout.plan.steps):
        if step.kind in ("start", "ready", "smoke"):
            label = "start"
        elif step.kind == "stop-old":
            label = f"end {rollout.plan.previous}"
        else:
            label = share(step.share)
        first = stops.pop()[1] if stops and stops[-1][0] == label else index
        stops.append((label, first, index))
    return stops


def _versions(moment: Moment) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    words = ("", "", "wanted", "actual", "measured", "rate", "failed", "p50", "p99")
    for word in words:
        table.add_column(justify="right" if word else "left", no_wrap=True, min_width=6 if word else None)
    table.add_row(*(Text(word, style="dim") for word in words))
    for each in revisions(moment.view):
        arm = moment.arms.get(each.version)
        style = {"stable": "green", "canary": "cyan", "previous": "dim", "taken back": "red"}[each.role]
        agreed = each.actual == each.wanted
        table.add_row(
            Text("● ", style=style).append(each.version, style="bold"),
            Text(each.role, style=style),
            Text(share(each.wanted)),
            Text(share(each.actual), style="" if agreed else "yellow"),
            Text(_part(arm) if arm else "–"),
            Text(f"{moment.rate * arm.share:.0f}/s" if arm else "–"),
            Text(percent(arm.failed, arm.requests) if arm else "–", style="red" if arm and arm.failed else ""),
            Text(_ms(arm.p50) if arm else "–"),
            Text(_ms(arm.p99) if arm else "–"),
        )
    return table


def _part(arm: Arm) -> str:
    return share(round(arm.share * FULL / 10) * 10)


def _ms(milliseconds: float) -> str:
    """Two figures, in at most six characters.

    >>> _ms(4.23), _ms(161.8), _ms(2345.0)
    ('4.2 ms', '162 ms', '2.3 s')
    """
    if milliseconds >= 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"  # noqa: PLR2004 - two figures
