"""Steering a rollout: each verb means one thing, is recorded with who and why, and is always answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from crossfade.cli.arguments import ComponentArgument, EnvironmentArgument, Reason
from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, CrossfadeError, ExitCode
from crossfade.core.ids import is_id

if TYPE_CHECKING:
    from crossfade.config.model import Deployment
    from crossfade.engine.control import Control
    from crossfade.engine.views import View
    from crossfade.rollouts.rollout import Rollout, Verb
    from crossfade.store.audit import AuditRow


def pause(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    reason: Reason = "",
) -> int:
    """Stay at this weight; the new version is still judged.

    A bad version goes back from a pause as from anywhere else.
    """
    return _steer(ctx, "pause", component, environment, reason)


def resume(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    reason: Reason = "",
) -> int:
    """Go on after a pause, or after the rollout was held."""
    return _steer(ctx, "resume", component, environment, reason)


def promote(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    *,
    full: Annotated[bool, typer.Option("--full", help="Give it all of the traffic at once.")] = False,
    reason: Reason = "",
) -> int:
    """Take the next step now, or with --full give it all of the traffic.

    It ends the watch or the waiting that is under way; the next step is taken as planned.
    """
    return _steer(ctx, "promote-full" if full else "promote", component, environment, reason)


def retry(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    reason: Reason = "",
) -> int:
    """Try at once again what has failed.

    Where the rollout was held because something failed, it also goes on.
    """
    return _steer(ctx, "retry", component, environment, reason)


def abort(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    reason: Reason = "",
) -> int:
    """Take a rollout back: traffic first.

    Stays until the previous version has all of the traffic, the data plane has confirmed it, and the
    new version's instances are drained and stopped. When the database is away it returns the traffic at
    once without it, and exits with 5; the rest follows once the database answers.

    A release that waits for its target is taken out of the line: name its id, or the target where nothing else is under way.
    """
    from crossfade.cli.without_state import return_without_state  # noqa: PLC0415 - after the door

    try:
        taken_out = _take_out(Place.of(ctx), component, environment, reason)
        return _steer(ctx, "abort", component, environment, reason, finish=True) if taken_out is None else taken_out
    except CrossfadeError as error:
        return return_without_state(Place.of(ctx), component, environment, reason, error)


def _take_out(place: Place, component: str | None, environment: str | None, reason: str) -> int | None:
    """Take what waits out of its line; None where a rollout is meant."""
    with place.control() as control:
        if is_id(component, "ro"):
            waits = control.waiting_release(component)
            line = [waits] if waits is not None else []
        elif not control.waiting():
            return None
        else:
            target = place.choose(control, component, environment)
            active = control.target(*target).rollout
            line = control.waiting(*target) if active is None else []
        gone = [each for each in line if control.withdraw(each, actor=place.actor, reason=reason)]
    if not gone:
        return None
    for each in gone:
        place.printer.line(f"✓ abort: {each.component} {each.version} waits no longer for {each.environment}")
    text = ", ".join(f"{each.version} waits no longer" for each in gone)
    if place.printer.as_json:
        place.printer.document({"verb": "abort", "accepted": True, "text": text, "rollout": None})
    return ExitCode.DONE


def rollback(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    *,
    to: Annotated[
        str | None, typer.Option("--to", help="An older version; it is brought back by a rollout.", metavar="VERSION")
    ] = None,
    reason: Reason = "",
) -> int:
    """Return to the previous version, or to one that --to names.

    While a rollout is under way this is `abort`. After its end, and while the previous version is
    still warm, it is one change of weight; an older version is started again first.
    """
    from crossfade.cli.attend import Attendance  # noqa: PLC0415 - heavy
    from crossfade.core.semver import parse_tag  # noqa: PLC0415 - after the door

    if is_id(component, "rs"):
        return _steer(ctx, "rollback", component, environment, reason, finish=True)
    if to is not None:
        try:
            to = str(parse_tag(to))
        except ValueError as error:
            raise BadInputError("rollback.bad-version", str(error), next="see `crossfade history`") from None
    place = Place.of(ctx)
    with place.control() as control:
        before = place.view(control, component, environment)
        deployment = _deployment(place, before)
        was = before.rollout
        after = control.newest()
        view = control.rollback(deployment, to=to, actor=place.actor, reason=reason)
        same = view.rollout.id == was.id
        attendance = Attendance(
            place,
            control,
            view.rollout.id,
            until=lambda seen: seen.rollout.finished,
            after=after if same else 0,
            fresh=not same,
        )
        ending, last = attendance.run()
        wanted = "rolled-back" if same else "done"
        return _ended(place, control, ending, last, verb="rollback", done=last.rollout.status == wanted)


def _deployment(place: Place, view: View) -> Deployment:
    """The file's settings, else those that the rollout was made with: a broken file never blocks a way back."""
    try:
        return place.deployment(view.deployment.component, view.deployment.environment)
    except BadInputError as error:
        place.printer.note(f"{error.what}; going back with the settings that {view.rollout.id} was made with")
        return view.deployment


def _steer(
    ctx: typer.Context, verb: Verb, component: str | None, environment: str | None, reason: str, *, finish: bool = False
) -> int:
    """Record the command, and stay until it is answered (or, with `finish`, until the rollout has ended)."""
    from crossfade.cli.attend import Attendance  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    if is_id(component, "rs"):
        from crossfade.cli.sets import steer_set  # noqa: PLC0415 - heavy

        return steer_set(place, component, verb, reason, finish=finish)
    with place.control() as control:
        rollout = place.view(control, component, environment).rollout
        if rollout.finished:
            raise _refusal(rollout, f"{verb}: the rollout is finished ({rollout.status})")
        after = control.newest()
        command = control.command(rollout.id, verb, actor=place.actor, reason=reason)

        def over(view: View) -> bool:
            if view.rollout.commands < command.serial:
                return False
            answer = control.answer(rollout.id, command.serial, after=after)
            return not finish or view.rollout.finished or (answer is not None and _refused(answer))

        attendance = Attendance(place, control, rollout.id, until=over, after=after, stays=True)
        ending, view = attendance.run()
        answer = control.answer(rollout.id, command.serial, after=after)
        if answer is not None and _refused(answer):
            raise _refusal(rollout, answer.text)
        return _ended(place, control, ending, view, verb=verb, done=answer is not None)


def _refusal(rollout: Rollout, what: str) -> BadInputError:
    target = f"{rollout.plan.component} {rollout.plan.environment}"
    return BadInputError("command.refused", what, where=rollout.id, next=f"crossfade status {target}")


def _refused(answer: AuditRow) -> bool:
    return answer.kind == "command.refused"


def _ended(place: Place, control: Control, ending: object, view: View, *, verb: str, done: bool) -> int:
    from crossfade.cli.attend import Ending  # noqa: PLC0415 - heavy
    from crossfade.cli.ending import tell_ending  # noqa: PLC0415 - heavy
    from crossfade.cli.render.objects import rollout_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.status import one_line_standing  # noqa: PLC0415 - heavy

    left = ending is Ending.LEFT
    if place.printer.as_json:
        text = "interrupted" if left else view.rollout.status
        place.printer.document(
            {"verb": verb, "accepted": done, "text": text, "rollout": rollout_object(view, time.time())}
        )
    elif left or view.rollout.finished:
        tell_ending(place, control, Ending.LEFT if left else Ending.REACHED, view)
    else:
        place.printer.line(
            f"✓ {verb}: {view.rollout.plan.component} {view.rollout.plan.version} is {view.rollout.status}"
        )
        place.printer.line(f"  {one_line_standing(view, time.time())}")
        if not control.has_worker():
            r = view.rollout
            place.printer.line(
                "  nobody carries it on: no worker is alive; stay with it by "
                f"`crossfade status {r.plan.component} {r.plan.environment} --watch`"
            )
    if left:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if done else ExitCode.ROLLED_BACK
