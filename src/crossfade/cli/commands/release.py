"""Releasing: what would happen, and making it happen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.arguments import Reason, Releases
from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.config.model import Deployment
    from crossfade.engine.control import Control
    from crossfade.engine.views import View
    from crossfade.rollouts.plan import Plan
    from crossfade.store import WaitingRow


def plan(ctx: typer.Context, releases: Releases) -> None:
    """Show the steps of a release and what it risks; nothing happens.

    The plan is made from what runs in the environment now, exactly as `deploy` would make it.
    """
    from crossfade.cli.render.objects import plan_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.plan import plan_view  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    wanted = _asked_for(place, releases)
    if len(wanted) > 1:
        from crossfade.cli.sets import plan_set  # noqa: PLC0415 - heavy

        plan_set(place, wanted)
        return
    deployment, version = wanted[0]
    with place.control() as control:
        made, meets = control.plan(deployment, version), control.outlook(deployment)
        there = control.there(deployment, version)
    if there is not None:
        meets = f"{version} is trusted there and run like this already: deploy brings back what is missing, no more"
    if place.printer.as_json:
        place.printer.document(plan_object(made, deployment.settings.judge, meets))
    if there is not None:
        place.printer.line(f"{deployment.component} {meets}")
        return
    place.printer.show(plan_view(made, deployment))
    if meets:
        place.printer.line(f"  now   {meets} (supersede: {deployment.settings.supersede})")


def deploy(
    ctx: typer.Context,
    releases: Releases,
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Record it and leave: a worker carries it out.")] = False,
    reason: Reason = "",
) -> int:
    """Release a version, and stay until it is healthy or taken back.

    Prints the plan, records the rollout, and shows every step until the new version has all of the
    traffic and the old one is drained. Where no worker is alive, the engine runs in this process; if
    that ends, running the same command again goes on where it was.

    Where another rollout is under way, the environment's `supersede` decides: it is refused, waits in line, or takes
    its place.

    What is trusted there already is not rolled out again; what is missing of it, as after a restart of the machine, is
    brought back.

    Several releases are one set: all get traffic or none, and one that turns back takes the others back.

    Exit codes: 0 done, 3 taken back or superseded, 4 waits for a person (without a terminal), 130 left.
    """
    place = Place.of(ctx)
    wanted = _asked_for(place, releases)
    if len(wanted) > 1:
        from crossfade.cli.sets import deploy_set  # noqa: PLC0415 - heavy

        return deploy_set(place, wanted, reason, detach=detach)
    deployment, version = wanted[0]
    from crossfade.cli.line import stay_in_line  # noqa: PLC0415 - heavy
    from crossfade.engine.views import View  # noqa: PLC0415 - heavy

    with place.control() as control:
        begun, made, fresh = _begin(place, control, deployment, version, reason)
        if not isinstance(begun, View):
            return stay_in_line(place, control, begun, made, detach=detach)
        if begun.rollout.finished:
            return _there_already(place, control, begun, made, detach=detach)
        if detach:
            return _detached(place, control, begun, made, fresh=fresh)
        return _carry_out(place, control, begun, made, fresh=fresh)


def _asked_for(place: Place, words: list[str]) -> list[tuple[Deployment, str]]:
    """What is to be released where: the last word is the environment, where it names no version."""
    from crossfade.core.reference import parse_reference  # noqa: PLC0415 - after the door

    named = len(words) > 1 and "@" not in words[-1]
    environment = words[-1] if named else None
    references = [parse_reference(word) for word in (words[:-1] if named else words)]
    environments = list(place.loaded.project.environments)
    if environment is None and len(environments) > 1:
        raise BadInputError(
            "target.ambiguous",
            "there is more than one environment",
            next=f"name one of: {', '.join(environments)}",
        )
    where = environment or environments[0]
    return [(place.deployment(each.component, where), str(each.version)) for each in references]


def _begin(
    place: Place, control: Control, deployment: Deployment, version: str, reason: str
) -> tuple[View | WaitingRow, Plan, bool]:
    """Record the rollout, or find the one for this very version that a crash left; whether it is a fresh one."""
    from crossfade.cli.render.plan import plan_view  # noqa: PLC0415 - heavy
    from crossfade.store import WaitingRow  # noqa: PLC0415 - heavy

    active = control.current(deployment.component, deployment.environment)
    free = active is None or active.rollout.finished
    refuses = deployment.settings.supersede == "reject"
    if active is not None and not free and refuses and active.rollout.plan.version == version:
        return active, active.rollout.plan, False
    there = control.there(deployment, version)
    if there is not None:
        return there, there.rollout.plan, False
    plan = control.plan(deployment, version)
    if free or not refuses:  # else it is refused below, and a plan would only be in the way
        place.printer.show(plan_view(plan, deployment))
    begun = control.release(deployment, version, actor=place.actor, reason=reason)
    if isinstance(begun, WaitingRow):
        return begun, plan, True
    return begun, begun.rollout.plan, free or active is None or begun.rollout.id != active.rollout.id


def _there_already(place: Place, control: Control, view: View, made: Plan, *, detach: bool) -> int:
    from crossfade.cli.there import see_that_it_is_there  # noqa: PLC0415 - heavy

    if detach:
        r = view.rollout
        control.hurry(r.plan.component, r.plan.environment)
        place.printer.line(f"{r.plan.component} {r.plan.version} is trusted in {r.plan.environment} already ({r.id})")
        _document(place, control, view, made)
        return ExitCode.DONE
    code, seen = see_that_it_is_there(place, control, view)
    _document(place, control, seen, made)
    return code


def _detached(place: Place, control: Control, view: View, made: Plan, *, fresh: bool) -> int:
    from crossfade.cli.standing import step_title  # noqa: PLC0415 - heavy

    watched = control.has_worker()
    r = view.rollout
    place.printer.line(f"recorded as {r.id}" if fresh else f"{r.id} is under way already: {step_title(r)}")
    if watched:
        place.printer.line(
            f"a worker carries it out; see `crossfade status {r.plan.component} {r.plan.environment} --watch`"
        )
    else:
        place.printer.line("no worker is alive, so nothing happens yet: start one with `crossfade worker`,")
        place.printer.line(f"or stay with it: crossfade status {r.plan.component} {r.plan.environment} --watch")
    _document(place, control, view, made)
    return ExitCode.DONE


def _carry_out(place: Place, control: Control, view: View, made: Plan, *, fresh: bool) -> int:
    from crossfade.cli.attend import Attendance, verdict  # noqa: PLC0415 - heavy
    from crossfade.cli.ending import tell_ending  # noqa: PLC0415 - heavy

    if not fresh and control.has_worker():
        place.printer.note(f"{view.rollout.id} is under way already: staying with it")
    attendance = Attendance(place, control, view.rollout.id, until=lambda seen: seen.rollout.finished, fresh=fresh)
    ending, last = attendance.run()
    tell_ending(place, control, ending, last)
    _document(place, control, last, made)
    return verdict(ending, last)


def _document(place: Place, control: Control, view: View, made: Plan) -> None:
    if not place.printer.as_json:
        return
    from crossfade.cli.render.objects import plan_object, rollout_object  # noqa: PLC0415 - heavy

    document: dict[str, Any] = {
        "plan": plan_object(made, view.deployment.settings.judge),
        "rollout": rollout_object(view, time.time()),
        "waiting": None,
        "watched": control.has_worker(),
    }
    place.printer.document(document)
