"""Operating: a worker that carries rollouts until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from crossfade.cli.place import Place
from crossfade.core import garbage
from crossfade.core.errors import ExitCode

if TYPE_CHECKING:
    from crossfade.engine.control import Control

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

    Carries every rollout of this state (or of DATABASE_URL, side by side with other workers). TERM or
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
