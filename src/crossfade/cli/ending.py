"""The last words of a command that stayed with a rollout: how it ended, what it cost, what to do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.cli.attend import Ending
from crossfade.cli.place import Place
from crossfade.cli.render.plain import one_line, plural, share, span
from crossfade.cli.standing import next_command

if TYPE_CHECKING:
    from crossfade.engine.control import Control
    from crossfade.engine.views import View


def tell_ending(place: Place, control: Control, ending: Ending, view: View) -> None:
    """Print how the rollout stands now that the command ends."""
    if place.printer.as_json:
        return
    r = view.rollout
    name = f"{r.plan.component} {r.plan.version}"
    if ending is Ending.LEFT:
        _left(place, control, view)
    elif r.status == "done":
        _say(place, f"✓ {name} has all of the traffic in {r.plan.environment}", *_good(view))
    elif r.finished:
        _say(place, f"↩ {name} was taken back", *_bad(place, control, view))
    else:
        waits = f"waits for a person at {share(r.share)}"
        why = [("reason", one_line(r.reason))] if r.reason else []
        _say(place, f"‖ {name} {waits}", *why, *_unwatched(control), ("next", next_command(r)))


def _good(view: View) -> list[tuple[str, str]]:
    r = view.rollout
    told = [("took", f"{span((r.finished_at or r.since) - r.created_at)}; {plural(r.canary_errors, 'request')} failed")]
    if r.plan.previous is not None:
        told.append(("before", f"{r.plan.previous} is drained and stopped"))
    return [*told, ("record", f"crossfade history {r.id}")]


def _bad(place: Place, control: Control, view: View) -> list[tuple[str, str]]:
    from crossfade.cli.render.record import cost_sentence  # noqa: PLC0415 - heavy

    del place
    r = view.rollout
    told = [("reason", one_line(r.reason)), ("cost", cost_sentence(view, control.events(rollout=r.id)))]
    if r.plan.previous is not None:
        told.append(("now", f"{r.plan.previous} has all of the traffic"))
    return [*told, ("record", f"crossfade history {r.id}")]


def _left(place: Place, control: Control, view: View) -> None:
    r = view.rollout
    target = f"{r.plan.component} {r.plan.environment}"
    if control.has_worker():
        place.printer.note(f"the rollout goes on: a worker carries it out (crossfade status {target})")
        return
    place.printer.note(
        f"left: {r.plan.component} {r.plan.version} keeps {share(r.share)} of the traffic and nobody watches it\n"
        f"  go on:        crossfade status {target} --watch\n"
        f"  take it back: crossfade abort {target}"
    )


def _unwatched(control: Control) -> list[tuple[str, str]]:
    if control.has_worker():
        return []
    return [("watched by", "nobody: no worker is alive (start one with `crossfade worker`)")]


def _say(place: Place, first: str, *facts: tuple[str, str]) -> None:
    width = max((len(label) for label, _ in facts), default=0)
    place.printer.line("")
    place.printer.line(first)
    for label, text in facts:
        if text:
            place.printer.line(f"  {label.ljust(width)}  {text}")
