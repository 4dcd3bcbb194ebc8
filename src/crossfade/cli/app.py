"""Every command in one table, imported when it is called; the options that hold everywhere; did-you-mean."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
import typer.core
import typer.main


class Entry(NamedTuple):
    """One command: its name, where its function is (`module:function`), and what it does in a line."""

    name: str
    function: str
    summary: str


COMMANDS: Final[dict[str, tuple[Entry, ...]]] = {
    "Begin": (
        Entry("demo", "begin:demo", "Watch a bad release go back by itself and a good one reach 100 %."),
        Entry("init", "begin:init", "Write a crossfade.yaml to start from."),
        Entry("check", "begin:check", "Tell every fault of crossfade.yaml at once."),
        Entry("schema", "begin:schema", "Print the JSON Schema of crossfade.yaml, for editors."),
    ),
    "Version and publish": (
        Entry("change", "change:change", "Say what changed (change add), and see what is about to be released."),
        Entry(
            "version", "version:version", "Turn the changesets into versions: all files of a release commit, or none."
        ),
        Entry("notes", "version:notes", "Print the release notes that the changesets add up to; nothing is written."),
        Entry(
            "compatibility",
            "version:compatibility",
            "Print which released versions work together, from the ranges at each tag.",
        ),
        Entry("build", "build:build", "Build components in their order; what is unchanged is never built twice."),
        Entry(
            "publish", "publish:publish", "Publish what is not published yet, dependencies first, and tag it in git."
        ),
        Entry("withdraw", "publish:withdraw", "Take releases back everywhere, and say what could not be taken back."),
    ),
    "Release": (
        Entry("plan", "release:plan", "Show the steps of a release and what it risks; nothing happens."),
        Entry("deploy", "release:deploy", "Release a version, and stay until it is healthy or taken back."),
    ),
    "Look": (
        Entry("status", "look:status", "Show what runs where, and where a rollout stands."),
        Entry("why", "look:why", "Say what blocks, holds or took back a release, and who can clear it."),
        Entry("history", "look:history", "List rollouts, or tell one from its first to its last moment."),
        Entry("logs", "look:logs", "Print what the instances print."),
        Entry("events", "look:events", "Print the record of decisions, commands and actions."),
    ),
    "Steer": (
        Entry("pause", "steer:pause", "Stay at this weight; the new version is still judged."),
        Entry("resume", "steer:resume", "Go on after a pause, or after the rollout was held."),
        Entry("promote", "steer:promote", "Take the next step now, or with --full give it all of the traffic."),
        Entry("abort", "steer:abort", "Take a rollout back: traffic first."),
        Entry("rollback", "steer:rollback", "Return to the previous version, or to one that --to names."),
        Entry("retry", "steer:retry", "Try at once again what has failed."),
    ),
    "Prove and operate": (
        Entry("backtest", "prove:backtest", "Replay a judge over recorded traffic, and tell what would have happened."),
        Entry("audit", "prove:audit", "Prove that nothing was changed in the record (audit verify)."),
        Entry("worker", "operate:worker", "Run the engine until it is told to end."),
        Entry("down", "operate:down", "Take a component out of service: visitors lose it, its instances end."),
    ),
}
"""All commands, by what people come for."""

ENTRIES: Final[dict[str, Entry]] = {entry.name: entry for group in COMMANDS.values() for entry in group}


class Command(typer.core.TyperCommand):
    """A command whose help shows the options that hold everywhere apart from its own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options in two parts."""
        everywhere = {param.name for param in _everywhere()}
        parts: dict[str, list[Any]] = {"Arguments": [], "Options": [], "Everywhere": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                parts["Arguments"].append(record)
            else:
                parts["Everywhere" if param.name in everywhere or param.name == "help" else "Options"].append(record)
        for title, records in parts.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Commands(typer.core.TyperGroup):
    """The table as a group: a command is imported when it is called, and never to list its name."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the group's protocol
        """Name every command."""
        return list(ENTRIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the group's protocol
        """Import the command, or say that there is none."""
        entry = ENTRIES.get(cmd_name)
        return command_of(entry) if entry else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the group's protocol
        """Write the table."""
        width = max(map(len, ENTRIES)) + 2
        for title, entries in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(width - 2), entry.summary) for entry in entries])


def command_of(entry: Entry) -> Any:
    """The command that `entry` stands for, with the options that hold everywhere."""
    module, _, name = entry.function.partition(":")
    target = getattr(importlib.import_module(f"crossfade.cli.commands.{module}"), name)
    if isinstance(target, typer.Typer):
        group: Any = typer.main.get_command(target)
        _add_everywhere(group)
        return group
    command = _single(entry.name, target)
    command.params += _everywhere()
    return command


def _add_everywhere(group: Any) -> None:
    for each in group.commands.values():
        if hasattr(each, "commands"):
            _add_everywhere(each)
        else:
            each.params += _everywhere()


def root() -> Any:
    """The whole command line, ready to be called."""
    app = typer.Typer(cls=Commands, rich_markup_mode=None, add_completion=False, no_args_is_help=True, help=_HELP)
    app.callback(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})(_root)
    group: Any = typer.main.get_group(app)
    group.commands = dict.fromkeys(ENTRIES)  # only their names, for did-you-mean
    group.params += _everywhere()
    return group


_HELP = """Takes a release to 100 % of the traffic, and back again by itself when the new version is worse.

A first look: `crossfade demo`. At night: `crossfade status`, `crossfade why`, `crossfade abort`."""


def _tell_version(value: bool) -> None:  # noqa: FBT001 - the option's value
    if value:
        from crossfade import __version__  # noqa: PLC0415 - only here

        typer.echo(f"crossfade {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--version", "-V", help="Print the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    del version  # told by its callback


def _keep(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Remember an option wherever on the line it stands; the last one counts."""
    if value is not None and value is not False:
        ctx.meta[f"crossfade.{param.name}"] = value
    return value


def _options(
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            help="The crossfade.yaml to use; else the nearest one, in this folder or above.",
            envvar="CROSSFADE_FILE",
            expose_value=False,
            callback=_keep,
            metavar="FILE",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="The folder of the run state; else .crossfade beside the file.",
            envvar="CROSSFADE_STATE",
            expose_value=False,
            callback=_keep,
            metavar="FOLDER",
        ),
    ] = None,
    as_json: Annotated[  # noqa: FBT002 - an option
        bool,
        typer.Option("--json", help="Print JSON for programs.", expose_value=False, callback=_keep),
    ] = False,
) -> None:
    del file, state, as_json  # kept by `_keep`


def _everywhere() -> Sequence[Any]:
    return list(_single("everywhere", _options).params)


def _single(name: str, function: Any) -> Any:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(name, cls=Command)(function)
    return typer.main.get_command(app)
