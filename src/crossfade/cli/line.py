"""Being in line: a release waits for its target, and the command with it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crossfade.cli.attend import Attendance, Ending, verdict
from crossfade.cli.ending import tell_ending
from crossfade.cli.place import Place
from crossfade.cli.render.objects import plan_object, rollout_object, waiting_object
from crossfade.cli.render.plain import one_line
from crossfade.cli.standing import next_command
from crossfade.core.errors import ExitCode

if TYPE_CHECKING:
    from crossfade.engine.control import Control
    from crossfade.engine.views import View
    from crossfade.rollouts.plan import Plan
    from crossfade.store import WaitingRow

_NEEDLESS = "release.needless"


def stay_in_line(place: Place, control: Control, waits: WaitingRow, made: Plan, *, detach: bool) -> int:
    """Stay until what waits has ended as a rollout of its own, or will never start."""
    place.printer.line(f"{waits.component} {waits.version} waits as {waits.id}")
    if behind := control.outlook(waits.deployment, waits):
        place.printer.line(f"  {behind}")
    if detach:
        place.printer.line(
            "a worker starts it" if control.has_worker() else "no worker is alive: start one with `crossfade worker`"
        )
        _document(place, control, waits, None, made)
        return ExitCode.DONE
    ending, last = _attend(place, control, waits)
    started = last.rollout.id == waits.id
    _document(place, control, waits, last if started else None, made)
    if started:
        tell_ending(place, control, ending, last)
        return verdict(ending, last)
    if ending is Ending.REACHED:
        return _never_started(place, control, waits)
    if ending is Ending.LEFT:
        place.printer.note(f"left: {waits.component} {waits.version} keeps its place; crossfade abort {waits.id}")
        return ExitCode.INTERRUPTED
    r = last.rollout
    place.printer.line(f"‖ {waits.component} {waits.version} waits for {r.plan.version}, which waits for a person")
    place.printer.line(f"  next  {next_command(r)}")
    return ExitCode.HELD


def _attend(place: Place, control: Control, waits: WaitingRow) -> tuple[Ending, View]:
    """Be with the rollout that is in the way, then with the one of our own.

    One that is superseded goes, whoever it waits for; else nobody gets further before that person has spoken.
    """

    def now() -> str:
        started = control.store.rollout(waits.id) is not None
        attendance.stays = not started and waits.deployment.settings.supersede == "latest"
        current = None if started else control.current(waits.component, waits.environment)
        return waits.id if current is None else current.rollout.id

    def over(view: View) -> bool:
        if view.rollout.id == waits.id:
            return view.rollout.finished
        return control.waiting_release(waits.id) is None and control.store.rollout(waits.id) is None

    attendance = Attendance(place, control, waits.id, until=over, follow=now, after=control.newest())
    return attendance.run()


def _never_started(place: Place, control: Control, waits: WaitingRow) -> int:
    rows = [row for row in control.events(rollout=waits.id) if row.kind.startswith("release.")]
    why, needless = rows[-1].text, rows[-1].kind == _NEEDLESS
    sign = "✓" if needless else "↩"
    place.printer.line(f"{sign} {waits.component} {waits.version} did not start in {waits.environment}")
    place.printer.line(f"  reason  {one_line(why)}")
    return ExitCode.DONE if needless else ExitCode.ROLLED_BACK


def _document(place: Place, control: Control, waits: WaitingRow, view: View | None, made: Plan) -> None:
    if not place.printer.as_json:
        return
    behind = control.outlook(waits.deployment, waits)
    there = control.waiting_release(waits.id) is not None
    place.printer.document(
        {
            "plan": plan_object(made if view is None else view.rollout.plan, waits.deployment.settings.judge, behind),
            "rollout": rollout_object(view, time.time()) if view is not None else None,
            "waiting": waiting_object(waits, behind) if there else None,
            "watched": control.has_worker(),
        }
    )
