"""Pre mode: a time in which versions are prereleases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossfade.cli.place import Place
from crossfade.cli.repository import finish, project_of
from crossfade.core.errors import ExitCode

pre = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@pre.callback()
def _pre() -> None:
    """Enter or leave pre mode, in which versions are prereleases such as 2.0.0-next.0."""


@pre.command("enter")
def enter(
    ctx: typer.Context,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="Word of the prereleases, such as next.")],
) -> int:
    """Begin pre mode: from now on versions are prereleases."""
    from crossfade.versioning.preparing import enter_pre  # noqa: PLC0415 - heavy
    from crossfade.versioning.projects import enter_project_pre  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    finish(place)
    loaded = project_of(place)
    return _pre_mode(
        place,
        enter_pre(Path.cwd(), tag) if loaded is None else enter_project_pre(loaded, tag),
        f"pre mode {tag} begins",
    )


@pre.command("exit")
def leave(ctx: typer.Context) -> int:
    """End pre mode: the next `crossfade version` makes the releases themselves."""
    from crossfade.versioning.preparing import exit_pre  # noqa: PLC0415 - heavy
    from crossfade.versioning.projects import exit_project_pre  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    finish(place)
    loaded = project_of(place)
    return _pre_mode(
        place,
        exit_pre(Path.cwd()) if loaded is None else exit_project_pre(loaded),
        "pre mode ends with the next version",
    )


def _pre_mode(place: Place, pending: Any, told: str) -> int:
    from crossfade.versioning.writing import Work, carry_out  # noqa: PLC0415 - heavy

    carry_out(pending.root, Work(pending.edits))
    place.printer.line(f"✓ {told}")
    if place.printer.as_json:
        place.printer.document({"files": [edit.path for edit in pending.edits]})
    return ExitCode.DONE
