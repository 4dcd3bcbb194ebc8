"""Building: what is to be published is made, in order, and never twice."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossfade.artifacts.building.cache import Cache
    from crossfade.artifacts.building.deciding import Decider
    from crossfade.artifacts.building.values import Decision, Outcome
    from crossfade.config.model import Project


def build(
    ctx: typer.Context,
    components: Annotated[
        list[str] | None, typer.Argument(help="What to build; all that can be built if absent.", metavar="COMPONENT…")
    ] = None,
    *,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", help="Most builds side by side; the number of cores if absent.", min=1)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build what is named, although it is kept.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be built, and why; nothing happens.")
    ] = False,
    prune: Annotated[
        list[str] | None,
        typer.Option(
            "--prune",
            help="Build nothing; throw away kept builds not used for this long (30d), or the oldest above this size (2GB).",
            metavar="LIMIT",
        ),
    ] = None,
) -> int:
    """Build components in their order; what is unchanged is never built twice.

    A build is identified by its command, its inputs, its tools and the builds that it depends on. What was
    built before is taken from the state folder. A failure stops what depends on it, and nothing else.

    Exit codes: 0 all is built, 2 it cannot be begun, 7 a build failed, 130 interrupted.
    """
    place = Place.of(ctx)
    if prune:
        return _prune(place, prune, alone=not (components or force or dry_run))
    from crossfade.engine.builds import decider_of  # noqa: PLC0415 - heavy

    decider = decider_of(place.loaded, place.state, os.environ)
    wanted = _wanted(place.loaded.project, components or [])
    if dry_run:
        return _tell_plan(place, asyncio.run(decider.decide(wanted, force=force)))
    outcome = asyncio.run(_build(place, decider, wanted, jobs or _cores(), force=force))
    return _tell_outcome(place, decider.cache, outcome)


async def _build(place: Place, decider: Decider, wanted: Sequence[str], jobs: int, *, force: bool) -> Outcome:
    from crossfade.artifacts.building.running import Stop  # noqa: PLC0415 - heavy
    from crossfade.artifacts.building.work import Work  # noqa: PLC0415 - heavy
    from crossfade.cli.attend import signals  # noqa: PLC0415 - heavy
    from crossfade.cli.render.building import audience_for  # noqa: PLC0415 - heavy

    stop = Stop()
    with signals(stop.wish, stop.wish):
        decisions = await decider.decide(wanted, force=force)
        async with audience_for(place.printer, decider.hidden) as audience:
            return await Work(decider, audience, stop, time.time).carry_out(decisions, jobs=jobs)


def _wanted(project: Project, named: Sequence[str]) -> tuple[str, ...]:
    """The components that are meant: those that are named, else all that can be built."""
    from crossfade.config.faults import suggest  # noqa: PLC0415 - only here

    for name in named:
        if name not in project.components:
            known = project.components
            raise BadInputError("target.unknown", f"there is no component {name!r}", next=suggest(name, known))
        if project.components[name].build is None:
            raise BadInputError(
                "build.none",
                f"nobody says how {name} is built: it has no `build`",
                where="crossfade.yaml",
                next=f"write `build: {{command: […]}}` below components.{name}",
            )
    buildable = tuple(name for name, each in project.components.items() if each.build is not None)
    if not buildable:
        raise BadInputError(
            "build.none",
            "no component has a `build`",
            where="crossfade.yaml",
            next="write `build: {command: […]}` below a component that is made by a command",
        )
    return tuple(dict.fromkeys(named)) or buildable


def _tell_plan(place: Place, decisions: Sequence[Decision]) -> int:
    from crossfade.cli.render.building import decision_object, plan_lines  # noqa: PLC0415 - heavy

    if place.printer.as_json:
        built = [each for each in decisions if each.target.build is not None]
        place.printer.document({"builds": [decision_object(each) for each in built]})
    for line in plan_lines(decisions):
        place.printer.line(line)
    return ExitCode.DONE


def _tell_outcome(place: Place, cache: Cache, outcome: Outcome) -> int:
    from crossfade.cli.render.building import ending_line, result_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.plain import clean  # noqa: PLC0415 - after the door

    failed = [result for result in outcome.results if result.error is not None]
    if place.printer.as_json:
        document: dict[str, Any] = {
            "ok": outcome.good,
            "builds": [result_object(each, cache.metadata(each.identity)) for each in outcome.results],
        }
        if failed and failed[0].error is not None:
            document["error"] = failed[0].error.as_json()
        place.printer.document(document)
    else:
        for result in failed:
            place.printer.flush()
            place.printer.note("")
            for line in result.last_lines:
                place.printer.note(f"  │ {clean(line)}")
            if result.error is not None:
                place.printer.error(result.error)
        place.printer.line(ending_line(outcome))
    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if outcome.good else ExitCode.INCOMPLETE


def _prune(place: Place, limits: Sequence[str], *, alone: bool) -> int:
    from crossfade.artifacts.building.cache import Cache  # noqa: PLC0415 - heavy
    from crossfade.cli.render.plain import plural  # noqa: PLC0415 - after the door
    from crossfade.core.durations import format_size  # noqa: PLC0415 - after the door

    if not alone:
        raise BadInputError("usage.prune", "--prune builds nothing", next="give it alone, such as --prune 30d")
    older_than, larger_than = _limits(limits)
    done = Cache(place.state / "builds").prune(
        now=time.time(), older_than=older_than, larger_than=larger_than, components=place.loaded.project.components
    )
    if place.printer.as_json:
        place.printer.document(
            {"builds": done.builds, "logs": done.logs, "bytes_freed": done.freed, "bytes_left": done.left}
        )
    what = f"{plural(done.builds, 'build')} and {plural(done.logs, 'log')} thrown away, {format_size(done.freed)}"
    place.printer.line(f"✓ {what}; {format_size(done.left)} are kept")
    return ExitCode.DONE


def _limits(texts: Sequence[str]) -> tuple[float | None, int | None]:
    """Age in seconds and size in bytes; each may be given once."""
    from crossfade.core.durations import parse_duration, parse_size  # noqa: PLC0415 - only here

    age: float | None = None
    size: int | None = None
    for text in texts:
        try:
            age = parse_duration(text)
            continue
        except ValueError:
            pass
        try:
            size = parse_size(text)
        except ValueError:
            raise BadInputError(
                "usage.prune",
                f"{text!r} is neither an age nor a size",
                next="write an age such as 30d, or a size such as 2GB",
            ) from None
    return age, size


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
