"""Looking: what runs, where a rollout stands, why, and what has happened."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.arguments import ComponentArgument, EnvironmentArgument
from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, ExitCode
from crossfade.core.ids import is_id

if TYPE_CHECKING:
    from crossfade.engine.control import Control
    from crossfade.engine.views import View, Views
    from crossfade.store import Target

_FOLLOW_EVERY = 0.5
_PAGE = 1000
_WHOLE = 1_000_000
Follow = Annotated[bool, typer.Option("--follow", help="Stay, and print what comes.")]


def status(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay until the rollout ends; carry it on where no worker does.")
    ] = False,
) -> int:
    """Show what runs where, and where a rollout stands.

    Without a target it shows all of them. With --watch the exit code tells how the rollout ended, as
    `deploy` does.
    """
    place = Place.of(ctx)
    if is_id(component, "rs"):
        return _status_of_set(place, component, watch=watch)
    if watch:
        with place.control() as control:
            return _watch(place, control, place.view(control, component, environment))
    with place.views() as views:
        if component is None and environment is None:
            targets = place.targets(views)
            if not targets:
                place.loaded  # noqa: B018 - says what is wrong with the file
        elif component is not None and (waits := views.waiting_release(component)) is not None:
            targets = [(waits.component, waits.environment)]
        elif is_id(component, "ro"):
            return _status_of_rollout(place, views, views.view(component))
        else:
            targets = [place.choose(views, component, environment)]
        return _status(place, views, targets, whole=component is None and environment is None)


def _status_of_set(place: Place, set_id: str, *, watch: bool) -> int:
    from crossfade.cli.sets import status_of_set, watch_set  # noqa: PLC0415 - heavy

    if watch:
        with place.control() as control:
            return watch_set(place, control, set_id)
    with place.views() as views:
        return status_of_set(place, views, set_id)


def _status(place: Place, views: Views, targets: list[tuple[str, str]], *, whole: bool) -> int:
    from crossfade.cli.fresh import refresh  # noqa: PLC0415 - heavy
    from crossfade.cli.render.objects import rollout_object, waiting_objects  # noqa: PLC0415 - heavy
    from crossfade.cli.render.status import Standing, grid, tree  # noqa: PLC0415 - heavy
    from crossfade.cli.render.waiting import waiting_lines  # noqa: PLC0415 - heavy

    now, watched = time.time(), views.has_worker()
    seen = refresh([views.current(*target) for target in targets], watched=watched)
    found = [(views.target(*target), view) for target, view in zip(targets, seen, strict=True)]
    if place.printer.as_json:
        rows = [
            {
                "component": component,
                "environment": environment,
                "version": target.version,
                "previous": target.previous,
                "missing": _lacks(target, view) or None,
                "rollout": rollout_object(view, now) if view is not None else None,
                "waiting": waiting_objects(views, (component, environment)),
            }
            for (component, environment), (target, view) in zip(targets, found, strict=True)
        ]
        place.printer.document({"watched": watched, "targets": rows})
        return ExitCode.DONE
    waits = [line for target in targets for line in waiting_lines(views, target, now)]
    only = found[0][1] if len(found) == 1 and not whole else None
    if only is not None:
        place.printer.show(tree(only, now, watched=watched))
        for line in waits:
            place.printer.line(line)
        return ExitCode.DONE
    standings = [Standing(*names, target.version, view) for names, (target, view) in zip(targets, found, strict=True)]
    place.printer.show(grid(standings, now))
    for line in waits:
        place.printer.line(line)
    if not watched and (waits or any(view is not None and not view.rollout.finished for _, view in found)):
        place.printer.line("\nno worker is alive, so nothing moves: `crossfade status --watch` or `crossfade worker`")
    elif not watched and any(_lacks(target, view) for target, view in found):
        place.printer.line("\nno worker is alive, so nothing brings back what is missing: `crossfade worker`")
    return ExitCode.DONE


def _lacks(target: Target, view: View | None) -> str:
    """What is missing of what is in service."""
    from crossfade.cli.standing import missing  # noqa: PLC0415 - heavy

    return missing(view) if view is not None and target.version is not None else ""


def _status_of_rollout(place: Place, views: Views, view: View) -> int:
    from crossfade.cli.render.objects import rollout_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.status import tree  # noqa: PLC0415 - heavy

    now = time.time()
    if place.printer.as_json:
        place.printer.document({"watched": views.has_worker(), "rollout": rollout_object(view, now)})
    else:
        place.printer.show(tree(view, now, watched=views.has_worker()))
    return ExitCode.DONE


def _watch(place: Place, control: Control, view: View) -> int:
    from crossfade.cli.attend import Attendance, verdict  # noqa: PLC0415 - heavy
    from crossfade.cli.ending import tell_ending  # noqa: PLC0415 - heavy
    from crossfade.cli.render.objects import rollout_object  # noqa: PLC0415 - heavy

    ending, last = Attendance(
        place, control, view.rollout.id, until=lambda seen: seen.rollout.finished, after=control.newest()
    ).run()
    if place.printer.as_json:
        place.printer.document({"watched": control.has_worker(), "rollout": rollout_object(last, time.time())})
    tell_ending(place, control, ending, last)
    return verdict(ending, last)


def why(ctx: typer.Context, component: ComponentArgument = None, environment: EnvironmentArgument = None) -> int:
    """Say what blocks, holds or took back a release, and who can clear it.

    Name a version (`crossfade why api@1.2.0 production`) to learn what would keep it from going out.
    """
    from crossfade.cli.fresh import look_now  # noqa: PLC0415 - heavy
    from crossfade.cli.render.waiting import waiting_lines  # noqa: PLC0415 - heavy
    from crossfade.cli.render.why import why_lines  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    name, version = _split(component)
    with place.views() as views:
        view: View | None
        if name is not None and (waits := views.waiting_release(name)) is not None:
            target, version = (waits.component, waits.environment), waits.version
            view = views.current(*target)
        elif is_id(name, "ro"):
            view = views.view(name)
            target = (views.view(name).deployment.component, views.view(name).deployment.environment)
        else:
            target = place.choose(views, name, environment)
            view = views.current(*target)
        blockers = _blockers(place, views, target, view, version)
        watched = views.has_worker()
        trusted, lacks = views.target(*target), ""
        if view is not None and view.rollout.finished and _is_newest(views, view):
            view = look_now(view)
            lacks = _lacks(trusted, view)
        if place.printer.as_json:
            _why_document(place, views, target, blockers, view, lacks=lacks)
        else:
            now, in_service = time.time(), trusted.version is not None
            lines = why_lines(target, view, version, blockers, now, watched=watched, in_service=in_service, lacks=lacks)
            if version is not None and (meets := _meets(place, views, target)):
                lines.append(f"  meets     {meets}")
            for line in [*lines, *waiting_lines(views, target, now)]:
                place.printer.line(line)
    return ExitCode.DONE


def _is_newest(views: Views, view: View) -> bool:
    """Whether it is what the target owes its present state to."""
    newest = views.current(view.deployment.component, view.deployment.environment)
    return newest is not None and newest.rollout.id == view.rollout.id


def _split(component: str | None) -> tuple[str | None, str | None]:
    if component is None or "@" not in component:
        return component, None
    from crossfade.core.reference import parse_reference  # noqa: PLC0415 - after the door

    reference = parse_reference(component)
    return reference.component, str(reference.version)


def _blockers(place: Place, views: Views, target: tuple[str, str], view: View | None, version: str | None) -> list[str]:
    """What keeps a new release from starting, each with who can clear it."""
    found = []
    try:
        place.deployment(*target)
    except BadInputError as error:
        found.append(f"{error.what}: whoever edits it can clear this, with `crossfade check`")
    under_way = view is not None and not view.rollout.finished and view.rollout.plan.version != version
    if view is not None and under_way and not _meets(place, views, target):
        r = view.rollout
        found.append(
            f"{r.id} of {r.plan.version} is under way: it ends by itself, or by "
            f"`crossfade abort {r.plan.component} {r.plan.environment}`"
        )
    if version is not None and views.target(*target).version == version:
        found.append(f"{version} is the trusted version there already")
    return found


def _meets(place: Place, views: Views, target: tuple[str, str]) -> str:
    """What a release would meet, where the policy is not to refuse it."""
    with contextlib.suppress(BadInputError):
        made = place.deployment(*target)
        return views.outlook(made) if made.settings.supersede != "reject" else ""
    return ""


def _why_document(
    place: Place, views: Views, target: tuple[str, str], blockers: list[str], view: View | None, *, lacks: str
) -> None:
    from crossfade.cli.render.objects import rollout_object, waiting_objects  # noqa: PLC0415 - heavy

    rollout = rollout_object(view, time.time()) if view is not None else None
    about = {"component": target[0], "environment": target[1], "blockers": blockers, "missing": lacks or None}
    place.printer.document({**about, "rollout": rollout, "waiting": waiting_objects(views, target)})


def history(
    ctx: typer.Context,
    component: Annotated[
        str | None,
        typer.Argument(
            help="A component, the id of a rollout to tell in full, or that of a release set.", metavar="COMPONENT|ID"
        ),
    ] = None,
    environment: EnvironmentArgument = None,
    *,
    limit: Annotated[int, typer.Option("--limit", help="The newest so many.", min=1, max=100_000)] = 20,
) -> int:
    """List rollouts, or tell one from its first to its last moment."""
    from crossfade.cli.render.objects import rollout_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.record import history_table  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    with place.views() as views:
        if is_id(component, "ro"):
            return _record(place, views, views.view(component))
        if is_id(component, "rs"):
            from crossfade.cli.sets import members  # noqa: PLC0415 - heavy

            found = members(views, component)
        else:
            if component is not None:
                place.choose(views, component, environment)  # an unknown name is an error, not an empty list
            found = views.history(component=component, environment=environment, limit=limit)
    now = time.time()
    if place.printer.as_json:
        place.printer.document({"rollouts": [rollout_object(view, now) for view in found]})
    place.printer.show(history_table(found, now))
    return ExitCode.DONE


def _record(place: Place, views: Views, view: View) -> int:
    from crossfade.cli.render.objects import event_object, rollout_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.record import exposed_seconds, record  # noqa: PLC0415 - heavy

    rows, now = views.events(rollout=view.rollout.id, limit=_WHOLE), time.time()
    if place.printer.as_json:
        cost: dict[str, Any] = {
            "failed_requests": view.rollout.canary_errors,
            "canary_requests": view.rollout.canary_requests,
            "seconds": exposed_seconds(view, rows),
        }
        events = [event_object(row) for row in rows]
        place.printer.document({"rollout": rollout_object(view, now), "cost": cost, "events": events})
    place.printer.show(record(view, rows, now))
    return ExitCode.DONE


def events(
    ctx: typer.Context,
    *,
    after: Annotated[int, typer.Option("--after", help="Only entries after this number.", min=0)] = 0,
    rollout: Annotated[
        str | None, typer.Option("--rollout", help="Only entries of this rollout.", metavar="ID")
    ] = None,
    follow: Follow = False,
) -> int:
    """Print the record of decisions, commands and actions.

    With --json each entry is one JSON object on a line of its own, with the hash that ties it to the
    one before.
    """
    from crossfade.cli.render.objects import event_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.record import event_line  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    with place.views() as views:
        while True:
            rows = views.events(after=after, rollout=rollout, limit=_PAGE)
            for row in rows:
                after = row.sequence
                if place.printer.as_json:
                    place.printer.object(event_object(row))
                else:
                    place.printer.line(f"{row.sequence:>6}  {event_line(row, with_day=True)}")
            if place.printer.abandoned or (not follow and len(rows) < _PAGE):
                return ExitCode.DONE
            if len(rows) < _PAGE:
                time.sleep(_FOLLOW_EVERY)


def logs(
    ctx: typer.Context,
    component: ComponentArgument = None,
    environment: EnvironmentArgument = None,
    *,
    slot: Annotated[str | None, typer.Option("--slot", help="Only one side: blue or green.", metavar="SLOT")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="The newest so many of each instance.", min=0)] = 100,
    follow: Follow = False,
) -> int:
    """Print what the instances print.

    Also of instances that have ended: their last lines are kept.
    """
    if slot not in (None, "blue", "green"):
        raise BadInputError(
            "usage.slot", f"there is no slot {slot!r}", next="write blue or green; `crossfade status` shows them"
        )
    place = Place.of(ctx)
    with place.views() as views:
        view = place.view(views, component, environment)
    import asyncio  # noqa: PLC0415 - heavy

    asyncio.run(_print_logs(place, view, slot, lines, follow=follow))
    return ExitCode.DONE


async def _print_logs(place: Place, view: View, slot: Any, lines: int, *, follow: bool) -> None:
    from crossfade.cli.fresh import runtime_of  # noqa: PLC0415 - heavy
    from crossfade.cli.render.plain import clock, one_line  # noqa: PLC0415 - after the door

    async for line in runtime_of(view).logs(slot=slot, lines=lines, follow=follow):
        if place.printer.as_json:
            place.printer.object({"at": line.at, "instance": line.instance, "stream": line.stream, "text": line.text})
        else:
            mark = "!" if line.stream == "err" else " "
            place.printer.line(f"{clock(line.at)}  {line.instance} {mark} {one_line(line.text)}")
        if place.printer.abandoned:
            return
