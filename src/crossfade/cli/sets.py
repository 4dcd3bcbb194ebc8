"""Release sets by commands: begun, followed, shown and steered as one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crossfade.cli.attend import Attendance, Ending, verdict
from crossfade.cli.place import Place
from crossfade.cli.render.objects import plan_object, rollout_object
from crossfade.cli.render.plain import one_line
from crossfade.cli.render.plan import plan_view
from crossfade.cli.render.status import STATUS_WORDS, tree
from crossfade.cli.standing import step_title, waits_for_person
from crossfade.core.errors import BadInputError, ExitCode
from crossfade.engine.sets import begin_set, command_set, set_under_way
from crossfade.rollouts.group import together
from crossfade.rollouts.plan import Plan

if TYPE_CHECKING:
    from crossfade.config.model import Deployment
    from crossfade.engine.control import Control
    from crossfade.engine.views import View, Views
    from crossfade.rollouts.rollout import Rollout, Verb

Wanted = Sequence[tuple["Deployment", str]]


def show_plans(place: Place, control: Control, wanted: Wanted) -> list[Plan]:
    """Show what a set would do, each member with its barriers."""
    plans = [together(control.plan(deployment, version)) for deployment, version in wanted]
    for plan, (deployment, _) in zip(plans, wanted, strict=True):
        place.printer.show(plan_view(plan, deployment))
        if meets := control.outlook(deployment):
            place.printer.line(
                f"  now   {meets}; a set never waits in line: it is refused until all of its targets are free"
            )
    return plans


def plan_set(place: Place, wanted: Wanted) -> None:
    """`crossfade plan` of a set."""
    with place.control() as control:
        plans = show_plans(place, control, wanted)
        found = [
            plan_object(plan, deployment.settings.judge, control.outlook(deployment))
            for plan, (deployment, _) in zip(plans, wanted, strict=True)
        ]
    if place.printer.as_json:
        place.printer.document({"plans": found})


def deploy_set(place: Place, wanted: Wanted, reason: str, *, detach: bool) -> int:
    """Begin a set, or find the one that brings these very versions; stay until all of it has ended."""
    with place.control() as control:
        set_id = set_under_way(control.store, wanted)
        if set_id is None:
            show_plans(place, control, wanted)
            set_id = begin_set(control.store, wanted, actor=place.actor, reason=reason)
            place.printer.line(f"recorded as {set_id}")
        else:
            place.printer.note(f"{set_id} is under way already")
        if detach:
            if not control.has_worker():
                place.printer.line("no worker is alive, so nothing happens yet: start one with `crossfade worker`")
            _document(place, control, set_id)
            return ExitCode.DONE
        return watch_set(place, control, set_id)


def watch_set(place: Place, control: Control, set_id: str) -> int:
    """Stay with a set until all of it has ended."""
    ending = _attend(place, control, set_id)
    _document(place, control, set_id)
    views = members(control, set_id)
    if ending is Ending.LEFT:
        place.printer.note(f"left: {set_id} stays as it is; crossfade status {set_id}, crossfade abort {set_id}")
        return ExitCode.INTERRUPTED
    for view in views:
        place.printer.line(_line(view))
    if ending is Ending.WAITS:
        return ExitCode.HELD
    return max(verdict(ending, view) for view in views)


def status_of_set(place: Place, views: Views, set_id: str) -> int:
    """Show a set as one: its standing, then each of its rollouts."""
    found, now, watched = members(views, set_id), time.time(), views.has_worker()
    _document(place, views, set_id)
    place.printer.line(f"{set_id}   {len(found)} releases together, in {found[0].deployment.environment}")
    for view in found:
        place.printer.line(f"  {_line(view)}")
    for view in found:
        place.printer.line("")
        place.printer.show(tree(view, now, watched=watched))
    return ExitCode.DONE


def steer_set(place: Place, set_id: str, verb: Verb, reason: str, *, finish: bool = False) -> int:
    """Ask the same of all members that are under way; stay until all have answered, or with `finish` have ended."""
    with place.control() as control:
        after = control.newest()
        asked = [row.rollout.id for row in command_set(control.store, set_id, verb, actor=place.actor, reason=reason)]
        ending = _attend(place, control, set_id, () if finish else asked, stays=True)
        views = [control.view(each) for each in asked]
        refused = 0
        for view in views:
            answers = [r for r in control.events(after=after, rollout=view.rollout.id) if r.kind == "command.refused"]
            refused += bool(answers)
            place.printer.line(f"{_line(view)}" + (f"   refused: {one_line(answers[0].text)}" if answers else ""))
        _document(place, control, set_id)
    if ending is Ending.LEFT:
        return ExitCode.INTERRUPTED
    if refused == len(asked):
        raise BadInputError("command.refused", f"{verb}: all of {set_id} refuse it", next=f"crossfade status {set_id}")
    return ExitCode.DONE


def members(views: Views, set_id: str) -> list[View]:
    """The rollouts of a set; BadInputError where there is no such set."""
    found = views.members(set_id)
    if not found:
        raise BadInputError("set.unknown", f"there is no release set {set_id}", next="crossfade history")
    return found


def _attend(place: Place, control: Control, set_id: str, asked: Sequence[str] = (), *, stays: bool = False) -> Ending:
    """Be with the members, one after the other; with `asked`, only until these have answered."""
    serials = {each: _asked(control, each) for each in asked}

    def unfinished() -> list[Rollout]:
        rollouts = [view.rollout for view in members(control, set_id) if not view.rollout.finished]
        return [r for r in rollouts if not serials or r.commands < serials.get(r.id, 0)]

    def now() -> str:
        """The one that waits for a person, since it keeps the others waiting; else the one at hand."""
        left = unfinished()
        waits = [r.id for r in left if waits_for_person(r)]
        ids = waits or [r.id for r in left] or [attendance.rollout]
        return attendance.rollout if attendance.rollout in ids else ids[0]

    first = members(control, set_id)[0].rollout.id
    attendance = Attendance(
        place, control, first, until=lambda _: not unfinished(), follow=now, after=control.newest(), stays=stays
    )
    return attendance.run()[0]


def _asked(control: Control, rollout: str) -> int:
    rows = control.events(rollout=rollout, limit=100_000)
    return max((int(r.data["serial"]) for r in rows if r.kind == "command.asked"), default=0)


def _line(view: View) -> str:
    r = view.rollout
    word = STATUS_WORDS.get(r.status, r.status)
    if not r.finished:
        return f"{r.plan.component} {r.plan.version}   {word}, {step_title(r)}"
    why = f"   {one_line(r.reason)}" if r.reason else ""
    return f"{'✓' if r.status == 'done' else '↩'} {r.plan.component} {r.plan.version}   {word}{why}"


def _document(place: Place, views: Views, set_id: str) -> None:
    if place.printer.as_json:
        now = time.time()
        found = [rollout_object(view, now) for view in members(views, set_id)]
        place.printer.document({"set": set_id, "watched": views.has_worker(), "rollouts": found})
