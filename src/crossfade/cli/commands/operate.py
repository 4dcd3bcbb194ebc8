"""Operating: a worker that carries rollouts until it is told to end, and taking things out of service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from crossfade.cli.arguments import EnvironmentArgument, Reason
from crossfade.cli.place import Place
from crossfade.core import garbage
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.engine.control import Control
    from crossfade.engine.views import View

_TELL_EVERY = 0.5


def worker(
    ctx: typer.Context,
    *,
    name: Annotated[
        str | None,
        typer.Option("--name", help="How this worker is called in the record; else one is made.", metavar="NAME"),
    ] = None,
) -> int:
    """Run the engine until it is told to end.

    Carries every rollout of this state (or of DATABASE_URL, side by side with other workers), and where none is under
    way it keeps what is trusted: after a restart of the machine it brings everything back. TERM or
    Ctrl-C ends it after the tick under way; what it carried stays as it stands for the next one.
    """
    from crossfade.cli.attend import left_over  # noqa: PLC0415 - heavy
    from crossfade.cli.standing import resumption  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    with place.control() as control:
        if not control.has_worker():
            for rollout in left_over(control):
                place.printer.note(resumption(rollout))
        where = "the database" if place.database_url else str(place.state)
        place.printer.note(
            f"worker {name or f'{socket.gethostname()}:{os.getpid()}'} carries {where}; Ctrl-C or TERM ends it"
        )
        asyncio.run(_work(place, control, name))
    place.printer.note("ended; rollouts stay as they stand")
    return ExitCode.DONE


def down(
    ctx: typer.Context,
    component: Annotated[str, typer.Argument(help="The component.", metavar="COMPONENT")],
    environment: EnvironmentArgument = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = "",
) -> int:
    """Take a component out of service: visitors lose it, its instances end.

    What was made for it in the router goes first, then the instances of every version end, with their grace time.
    The record, the logs and the releases stay; `crossfade rollback` brings the version back, `deploy` any other.
    While a rollout is under way it is refused. Where no worker is alive, the engine runs in this process; if that
    ends in the middle, the same command goes on.
    """
    place = Place.of(ctx)
    with place.control() as control:
        target = place.choose(control, component, environment)
        version = control.target(*target).version
        if not control.is_retiring(*target):
            if version is not None and not yes:
                _confirm(place, *target, version)
            version = control.retire(*target, actor=place.actor, reason=reason)
        view, after = control.current(*target), control.newest()
        if view is None or not _stay_until_down(place, control, view):
            place.printer.note("left: a worker ends what is still there (crossfade worker)")
            return ExitCode.INTERRUPTED
        text = f"{target[0]} is out of service in {target[1]}"
        place.printer.line(f"✓ {text}")
        for row in control.events(after=after):
            if row.kind == "target.down" and (row.component, row.environment) == target:
                place.printer.line(f"  ended  {row.text}")
        place.printer.line(f"  back   crossfade rollback {target[0]} {target[1]}")
        if place.printer.as_json:
            place.printer.document({"verb": "down", "accepted": True, "text": text, "rollout": None})
    return ExitCode.DONE


def _confirm(place: Place, component: str, environment: str, version: str) -> None:
    """Ask the person; BadInputError where there is nobody to be asked, or who says no."""
    what = f"{component} {version} has visitors in {environment}"
    if place.printer.interactive and typer.confirm(f"{what}, who get nothing from then on. Take it out of service?"):
        return
    raise BadInputError(
        "down.unconfirmed",
        f"{what}: nothing was done",
        where=f"{component} in {environment}",
        next=f"crossfade down {component} {environment} --yes",
    )


def _stay_until_down(place: Place, control: Control, view: View) -> bool:
    """Whether all of it has ended; False where the person left before."""
    from crossfade.cli.attend import Attendance, Ending  # noqa: PLC0415 - heavy

    about = (view.deployment.component, view.deployment.environment)
    attendance = Attendance(
        place,
        control,
        view.rollout.id,
        until=lambda _: not control.is_retiring(*about),
        after=control.newest(),
        fresh=True,
    )
    return attendance.run()[0] is Ending.REACHED


async def _work(place: Place, control: Control, name: str | None) -> None:
    from crossfade.cli.attend import signals  # noqa: PLC0415 - heavy
    from crossfade.engine.worker import Worker  # noqa: PLC0415 - heavy

    garbage.serving()
    ends = asyncio.Event()
    with signals(ends.set, ends.set):
        teller = asyncio.create_task(_tell(place, control))
        try:
            await Worker(place.state, place.database_url, name=name).run(until=ends.is_set)
        finally:
            teller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await teller


async def _tell(place: Place, control: Control) -> None:
    """Print what is recorded from now on, a calm line for each entry."""
    from crossfade.cli.render.objects import event_object  # noqa: PLC0415 - heavy
    from crossfade.cli.render.record import event_line  # noqa: PLC0415 - heavy

    after = (await asyncio.to_thread(control.verify_audit)).head.count
    while True:
        for row in await asyncio.to_thread(control.events, after=after):
            after = row.sequence
            if place.printer.as_json:
                place.printer.object(event_object(row))
            else:
                target = " ".join(filter(None, (row.component, row.environment)))
                place.printer.line(f"{event_line(row)}   [{target or row.kind}]")
        await asyncio.sleep(_TELL_EVERY)
