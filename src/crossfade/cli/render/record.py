"""What has happened: lines of the record, the list of rollouts, and one of them from first to last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossfade.cli.render.plain import ago, clock, count, day, one_line, plural, span
from crossfade.cli.render.status import STATUS_STYLE, STATUS_WORDS
from crossfade.cli.standing import cost, title, turned_by

if TYPE_CHECKING:
    from crossfade.engine.views import View
    from crossfade.store.audit import AuditRow

_MARKS = {
    "step.done": ("✓", "green"),
    "rollout.promoted": ("✓", "green"),
    "rollback.verified": ("✓", "green"),
    "rollback.started": ("↩", "red"),
    "rollout.held": ("‖", "yellow"),
    "rule.fired": ("!", "yellow"),
    "router.repair": ("!", "yellow"),
    "operation.failed": ("✗", "red"),
    "command.asked": ("?", "cyan"),
    "action.wanted": ("○", "dim"),
    "action.done": ("●", "dim"),
    "action.failed": ("✗", "red"),
    "engine.fault": ("✗", "red"),
    "command.refused": ("✗", "yellow"),
    "command.done": ("›", "cyan"),
}

_WORDS = {
    "rollback.started": "going back",
    "rollout.held": "held",
    "command.asked": "asked",
    "action.wanted": "wanted",
    "action.done": "carried out",
}


def is_news(row: AuditRow) -> bool:
    """Whether somebody who looks on wants to see it: what each step asked for in detail stands in the record."""
    return row.kind == "action.failed" or not row.kind.startswith(("action.", "command.asked"))


def event_line(row: AuditRow, *, with_day: bool = False) -> str:
    """One entry as a line: when, what, and by whom where it was a person."""
    mark, _ = _MARKS.get(row.kind, ("·", ""))
    when = day(row.at) if with_day else clock(row.at)
    return f"{when}  {mark} {_told(row)}"


def event_text(row: AuditRow) -> Text:
    """Colour the same line."""
    mark, style = _MARKS.get(row.kind, ("·", "dim"))
    return Text(clock(row.at), style="dim").append(f"  {mark} ", style=style).append(_told(row), style="not dim")


def _told(row: AuditRow) -> str:
    text = one_line(row.text) or row.kind
    if row.kind == "rollout.created" and (version := row.data.get("version")) and str(version) not in text:
        text = f"{row.component} {version} into {row.environment}: {text}"
    elif row.kind in _WORDS:
        text = f"{_WORDS[row.kind]}: {text}"
    elif row.kind in ("command.done", "command.refused") and (reason := row.data.get("reason")):
        text = f"{text} ({one_line(str(reason))})"
    by = "" if row.actor in ("crossfade", "") else f", by {one_line(row.actor)}"
    return text + by


def history_table(views: Sequence[View], now: float) -> RenderableType:
    """List rollouts, the newest first."""
    if not views:
        return Text("there has been no rollout yet", style="dim")
    table = Table.grid(padding=(0, 3, 0, 0))
    words = ("started", "id", "what", "ended", "took", "failed", "by")
    for word in words:
        right = word in ("took", "failed")
        table.add_column(justify="right" if right else "left", no_wrap=word != "what", overflow="fold")
    table.add_row(*(Text(word, style="dim") for word in words))
    for view in views:
        r = view.rollout
        table.add_row(
            Text(day(r.created_at)[:16]),
            Text(r.id, style="dim"),
            Text(title(r)),
            Text(STATUS_WORDS.get(r.status, r.status), style=STATUS_STYLE[r.status]),
            Text(span((r.finished_at or now) - r.created_at)),
            Text(count(r.canary_errors), style="red" if r.canary_errors else "dim"),
            Text(one_line(view.actor), style="dim"),
        )
    return table


def record(view: View, events: Sequence[AuditRow], now: float) -> RenderableType:
    """Tell one rollout from its first to its last moment, with what it cost."""
    r = view.rollout
    heading = Text(title(r), style="bold").append(f"   {r.id}", style="not bold dim")
    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("started", f"{day(r.created_at)} by {one_line(view.actor)} ({ago(now - r.created_at)})")
    facts.add_row("ended", _ended(view))
    if r.reason:
        facts.add_row("reason", one_line(r.reason))
    facts.add_row("cost", cost_sentence(view, events))
    lines = [event_text(row) for row in events] or [Text("nothing is recorded", style="dim")]
    return Group(
        heading, Text(), Padding(facts, (0, 0, 0, 2)), Text(), *(Padding(line, (0, 0, 0, 2)) for line in lines)
    )


def _ended(view: View) -> Text:
    r = view.rollout
    if r.finished_at is None:
        return Text(f"not yet: {STATUS_WORDS.get(r.status, r.status)}", style=STATUS_STYLE[r.status])
    word = STATUS_WORDS.get(r.status, r.status)
    return Text(f"{word}, after {span(r.finished_at - r.created_at)}", style=STATUS_STYLE[r.status])


def exposed_seconds(view: View, events: Sequence[AuditRow]) -> float | None:
    """Seconds from the first moment with traffic for the new version until it was confirmed to get nothing."""
    cleared = view.rollout.cleared_at
    first = first_exposure(events)
    return max(0.0, cleared - first) if cleared is not None and first is not None else None


def first_exposure(events: Sequence[AuditRow]) -> float | None:
    """When the new version's first shift was done."""
    return next((row.at for row in events if row.kind == "step.done" and row.text.startswith("shift 0 %")), None)


def cost_sentence(view: View, events: Sequence[AuditRow]) -> str:
    """Say what the new version cost its users."""
    r = view.rollout
    failed, since_verdict = cost(view)
    text = f"{plural(failed, 'request')} of {r.plan.version} failed, of {count(r.canary_requests)}"
    exposed = exposed_seconds(view, events)
    if exposed is not None:
        text += f"; it had traffic for {span(exposed)}"
    if since_verdict is not None:
        text += f", and none from {span(since_verdict)} after the {turned_by(r)} on"
    return text
