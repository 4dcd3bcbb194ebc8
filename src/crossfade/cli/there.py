"""A release of what is trusted already: nothing is rolled out, but what is missing of it is brought back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crossfade.cli.attend import Attendance, Ending
from crossfade.cli.fresh import look_now
from crossfade.cli.place import Place
from crossfade.cli.render.plain import one_line, span
from crossfade.cli.standing import missing
from crossfade.core.errors import ExitCode

if TYPE_CHECKING:
    from crossfade.engine.control import Control
    from crossfade.engine.views import View


def see_that_it_is_there(place: Place, control: Control, view: View) -> tuple[ExitCode, View]:
    """Stay until everything that the rollout of `view` brought is there; at most as long as instances may take to be ready."""
    r = view.rollout
    name, began = f"{r.plan.component} {r.plan.version}", time.monotonic()
    seen = look_now(view)
    lacked = missing(seen)
    if not lacked:
        place.printer.line(f"✓ {name} has all of the traffic in {r.plan.environment} already: nothing to do")
        place.printer.line(f"  since   {span(max(0.0, time.time() - (r.finished_at or r.since)))} ago, {r.id}")
        return ExitCode.DONE, seen
    place.printer.line(f"{name} is trusted in {r.plan.environment} already, but {one_line(lacked)}")
    control.hurry(r.plan.component, r.plan.environment)
    give_up = began + r.terms.ready_deadline

    def over(looked: View) -> bool:
        is_whole = not missing(looked) and control.incident(r.plan.component, r.plan.environment) is None
        return is_whole or time.monotonic() > give_up

    after = control.newest()
    ending, seen = Attendance(place, control, r.id, until=over, after=after, fresh=True, looks=True).run()
    took = span(time.monotonic() - began)
    if ending is Ending.LEFT:
        place.printer.note("left: a worker brings it back (crossfade worker)")
        return ExitCode.INTERRUPTED, seen
    if lacked := missing(seen):
        known = control.incident(r.plan.component, r.plan.environment)
        why = known.said if known is not None and known.said else lacked
        place.printer.line(f"‖ {name} could not be brought back within {took}: {one_line(why)}")
        place.printer.line(f"  next   crossfade logs {r.plan.component} {r.plan.environment}; crossfade events")
        return ExitCode.HELD, seen
    place.printer.line(f"✓ {name} has all of the traffic in {r.plan.environment} again, after {took}")
    return ExitCode.DONE, seen
