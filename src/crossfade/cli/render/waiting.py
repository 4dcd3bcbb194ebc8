"""What waits for a target, and for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.cli.render.plain import ago, one_line

if TYPE_CHECKING:
    from crossfade.engine.views import Views


def waiting_lines(views: Views, target: tuple[str, str], now: float) -> list[str]:
    """A few lines for each release that waits for `target`."""
    lines = []
    for each in views.waiting(*target):
        why = f", {one_line(each.reason)}" if each.reason else ""
        lines += [
            "",
            f"{each.component} {each.version} waits for {each.environment}   {each.id}",
            f"  asked for   by {one_line(each.actor)}, {ago(now - each.asked_at)}{why}",
            f"  waits for   {views.outlook(each.deployment, each) or 'a worker that starts it'}",
            f"  take it out crossfade abort {each.id}",
        ]
    return lines
