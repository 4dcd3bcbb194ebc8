"""Proving: what a judge would have done, and that the record is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossfade.cli.place import Place
from crossfade.core.errors import ExitCode

if TYPE_CHECKING:
    from crossfade.store.audit import Verification

audit = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Prove that nothing was changed in the record (audit verify).",
)


@audit.callback()
def _audit() -> None:
    """Keep `verify` a command of its own."""


def backtest(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Recorded buckets of both arms: JSON lines or CSV.", metavar="FILE")],
    *,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", help="The judge's settings, as under `judge:`; else the default judge.", metavar="FILE"
        ),
    ] = None,
    split: Annotated[
        bool,
        typer.Option("--split", help="Split the stable arm in two and tell how often the judge is wrong about it."),
    ] = False,
    splits: Annotated[int, typer.Option("--splits", help="With --split: how many splits.", min=1, max=100_000)] = 200,
    seed: Annotated[int, typer.Option("--seed", help="With --split: fixes the splits.", min=0)] = 0,
) -> int:
    """Replay a judge over recorded traffic, and tell what would have happened.

    Prints the verdict, when it would have been reached, and how many requests would have failed by
    then. With --split it judges the stable version against itself: every rollback is a false one.
    """
    from crossfade.analysis import backtest as replay  # noqa: PLC0415 - heavy
    from crossfade.cli.render.backtest import calibration_lines, outcome_lines  # noqa: PLC0415 - after the door

    printer = Place.of(ctx).printer
    if split:
        calibration = replay.run_splits(file, policy=policy, splits=splits, seed=seed)
        document, lines = calibration.as_json(), calibration_lines(calibration)
    else:
        outcome = replay.run(file, policy=policy)
        document, lines = outcome.as_json(), outcome_lines(outcome)
    if printer.as_json:
        printer.document(document)
    for line in lines:
        printer.line(line)
    return ExitCode.DONE


@audit.command("verify")
def verify(ctx: typer.Context) -> int:
    """Prove that nothing in the record was changed, removed, added or reordered.

    Every entry holds the hash of the one before; all of them are read. Exits with 6 when something
    does not fit. The head that it prints can be noted elsewhere: a record that was rewritten as a
    whole has another one.
    """
    place = Place.of(ctx)
    with place.control() as control:
        found = control.verify_audit()
    if place.printer.as_json:
        place.printer.document(
            {
                "sound": found.sound,
                "entries": found.head.count,
                "head": str(found.head),
                "faults": [{"sequence": each.sequence, "what": each.what} for each in found.faults],
            }
        )
    else:
        _tell(place, found)
    return ExitCode.DONE if found.sound else ExitCode.TAMPERED


def _tell(place: Place, found: Verification) -> None:
    count = f"{found.head.count:,} entr{'y' if found.head.count == 1 else 'ies'}"
    if found.sound:
        place.printer.line(f"✓ the record is whole: {count}")
        place.printer.line("  checked  each entry's own hash, its number, its tie to the entry before, and the end")
        place.printer.line(f"  head     {found.head}")
        return
    place.printer.line(f"✗ the record was tampered with ({count} read)")
    for fault in found.faults:
        place.printer.line(f"  entry {fault.sequence}: {fault.what}")
    place.printer.line("  next:  keep a copy of the database, and compare it with your last backup")
