"""`docs/reference/cli.md`, written from the commands and from the types of what `--json` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from crossfade.cli import documents
from crossfade.cli.app import COMMANDS, command_of, root

_NOTE = "<!-- Generated from the code by `make reference`; edit the code instead. -->"
_INTRODUCTION = """\
`crossfade COMMAND --help` says the same in a terminal. Where a target (a component and an environment) is left
out, the only one that fits is taken; where several fit, the one with a rollout under way; else it is an error.
A rollout can also be named by its id.

Output on a terminal is coloured unless `NO_COLOR` is set, and redraws only where somebody watches; without a
terminal it is plain lines. With `--json`, standard output holds one JSON document (for `events`, `logs` and
`worker`, one object on each line), also when the command fails: `{"error": …}`. How a command ended is told by its
[exit code](exit-codes.md); what an error means stands in [errors](errors.md).

| Variable | Meaning |
| --- | --- |
| `CROSSFADE_FILE`, `CROSSFADE_STATE` | as `--file` and `--state` |
| `CROSSFADE_ACTOR` | who is named in the record; else `user@host` |
| `DATABASE_URL` | a PostgreSQL that several workers share; else SQLite in the state folder |
| `NO_COLOR` | no colours |
"""
_PRINTS = {
    "build": "BuildObject",
    "plan": "PlanObject",
    "deploy": "DeployObject",
    "status": "StatusObject",
    "why": "WhyObject",
    "history": "HistoryObject",
    "logs": "LogObject",
    "events": "EventObject",
    "worker": "EventObject",
    "pause": "AnswerObject",
    "resume": "AnswerObject",
    "promote": "AnswerObject",
    "abort": "AnswerObject",
    "rollback": "AnswerObject",
    "retry": "AnswerObject",
    "down": "AnswerObject",
    "check": "CheckObject",
    "init": "InitObject",
    "audit verify": "AuditObject",
    "change add": "ChangesetObject",
    "change status": "CoverageObject",
    "change draft": "DraftsObject",
    "change notice": "WrittenObject",
    "change pre enter": "WrittenObject",
    "change pre exit": "WrittenObject",
    "version": "VersionObject",
    "notes": "NotesObject",
    "compatibility": "CompatibilityObject",
    "publish": "PublishObject",
    "withdraw": "WithdrawObject",
}
"""The document of each command; the others say theirs in their own words."""


def cli_text() -> str:
    """Write the whole page."""
    lines = ["# Commands", "", _NOTE, "", _INTRODUCTION]
    for title, entries in COMMANDS.items():
        lines += [f"## {title}", ""]
        for entry in entries:
            for name, command in _leaves(entry.name, command_of(entry)):
                lines += _command(name, command)
    lines += ["## Everywhere", "", *_table(_records(root())), "", "## What `--json` prints", ""]
    lines += [" ".join((documents.__doc__ or "").split("\n\n", 1)[1].split()), ""]
    for name in _object_names():
        lines += _object(name)
    return "\n".join(lines).rstrip() + "\n"


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The command, or those below it."""
    children = getattr(command, "commands", None)
    if not children:
        yield name, command
        return
    for below, each in children.items():
        yield from _leaves(f"{name} {below}", each)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"### `crossfade {name}`"
    yield ""
    yield _usage(name, command)
    yield ""
    yield from _paragraphs(command.help or "")
    own = [record for record in _records(command) if record[0] not in _everywhere()]
    if own:
        yield from _table(own)
        yield ""
    if name in _PRINTS:
        yield f"`--json` prints {_link(_PRINTS[name])}."
        yield ""


def _usage(name: str, command: Any) -> str:
    words = [f"crossfade {name}"]
    for param in command.params:
        if param.param_type_name == "argument":
            shown = param.metavar or param.name.upper()
            words.append(shown if param.required else f"[{shown}]")
    return f"```\n{' '.join(words)}\n```"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield " ".join(paragraph.split())
        yield ""


def _records(command: Any) -> list[tuple[str, str]]:
    context = command.make_context("crossfade", [], resilient_parsing=True)
    found = []
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and param.name != "help":
            name = re.sub(r" <[\w ]+>", "", record[0])
            found.append((f"`{name}`", " ".join(record[1].split()).replace("|", "\\|")))
    return found


def _everywhere() -> set[str]:
    return {name for name, _ in _records(root())}


def _table(records: list[tuple[str, str]]) -> list[str]:
    return ["| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in records)]


def _object_names() -> list[str]:
    return list(documents.__all__)


def _object(name: str) -> Iterator[str]:
    shape = getattr(documents, name)
    yield f"### {name}"
    yield ""
    yield " ".join((shape.__doc__ or "").split())
    yield ""
    yield "| Key | Type | |"
    yield "| --- | --- | --- |"
    for key, hint in get_type_hints(shape, include_extras=True).items():
        meaning = ""
        if get_origin(hint) is Annotated:
            hint, meaning = get_args(hint)[:2]  # noqa: PLW2901 - the type without its description
        yield f"| `{key}` | {_type(hint)} | {meaning} |"
    yield ""


def _type(hint: Any) -> str:
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "object"
    if arguments:
        return " or ".join(_type(each) for each in arguments)
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    return plain.get(hint) or _link(hint.__name__)


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"
