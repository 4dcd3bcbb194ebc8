"""Changesets: saying what changed, how much, and why; and what has not been said yet."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.commands.pre import pre
from crossfade.cli.place import Place
from crossfade.cli.repository import follows_changesets, names_of, project_of, require_finished
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject
    from crossfade.versioning.values import Bump

change = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
change.add_typer(pre, name="pre")


@change.callback()
def _change() -> None:
    """Say what changed (change add), and see what is about to be released."""


@change.command("add")
def add(
    ctx: typer.Context,
    *,
    major: Annotated[
        list[str] | None, typer.Option("--major", metavar="COMPONENT", help="It breaks; may be repeated.")
    ] = None,
    minor: Annotated[
        list[str] | None, typer.Option("--minor", metavar="COMPONENT", help="It adds; may be repeated.")
    ] = None,
    patch: Annotated[
        list[str] | None, typer.Option("--patch", metavar="COMPONENT", help="It repairs; may be repeated.")
    ] = None,
    summary: Annotated[
        str, typer.Option("--summary", "-m", metavar="TEXT", help="What changed, for those who use it.")
    ] = "",
    empty: Annotated[bool, typer.Option("--empty", help="A changeset that says that nothing needs a release.")] = False,
) -> int:
    """Write a changeset: which components change, how much, and why. Asks, unless flags say it all."""
    from crossfade.versioning.changeset_files import write_changeset  # noqa: PLC0415 - heavy
    from crossfade.versioning.values import BUMPS, Change  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    require_finished(place)
    loaded = project_of(place)
    root, known = names_of(loaded)
    asked = {"major": major or [], "minor": minor or [], "patch": patch or []}
    given = [Change(known(name), BUMPS[word]) for word, names in asked.items() for name in names]
    if given and empty:
        raise BadInputError(
            "change.empty", "an empty changeset names no component", where="crossfade change add", next="drop --empty"
        )
    if not given and not empty:
        given, summary = _asked(place, loaded, known, summary)
    _require_once(given)
    if given and not summary.strip():
        raise BadInputError(
            "change.no-summary", "a changeset says what changed", where="crossfade change add", next='add -m "…"'
        )
    path = write_changeset(root, given, summary.strip(), random.choice)
    place.printer.line(f"✓ {path}")
    if place.printer.as_json:
        changes = [{"name": each.name, "bump": each.bump.word} for each in given]
        place.printer.document({"file": path, "changes": changes})
    return ExitCode.DONE


@change.command("status")
def status(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="REF", help="Count what changed since HEAD left this branch, tag or commit."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Name versions and changesets.")] = False,
) -> int:
    """Show what is about to be released, and what changed without a changeset.

    Changed is what differs from where HEAD left the base branch, or REF. Where changesets' own rules hold, a single
    changeset covers everything.

    Exit codes: 0 every changed component stands in a changeset; else 7, or 1 where changesets' own rules hold.
    """
    from crossfade.cli.render.versions import coverage_lines, coverage_object  # noqa: PLC0415 - heavy
    from crossfade.engine.releasing import coverage_of  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    require_finished(place)
    loaded = project_of(place)
    coverage = coverage_of(loaded, Path.cwd(), since=since)
    theirs = follows_changesets(loaded)
    lacking = coverage.uncovered if not theirs else coverage.changed if coverage.missing else ()
    if place.printer.as_json:
        place.printer.document(coverage_object(coverage, lacking))
    for line in coverage_lines(coverage, lacking, verbose=verbose):
        place.printer.line(line)
    if not lacking:
        return ExitCode.DONE
    return coverage.exit_code if theirs else ExitCode.INCOMPLETE


@change.command("draft")
def draft(
    ctx: typer.Context,
    *,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="REF", help="Read commits after this one; else after the last release."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the drafts as changesets.")] = False,
) -> int:
    """Draft changesets from conventional commits, for you to read and correct; commits never decide a version."""
    from crossfade.cli.render.versions import proposal_lines, proposals_object  # noqa: PLC0415 - heavy
    from crossfade.engine.telling import Surroundings, drafts  # noqa: PLC0415 - heavy
    from crossfade.versioning.changeset_files import write_changeset  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    require_finished(place)
    here = Surroundings.of(project_of(place), Path.cwd())
    found, start = drafts(here, since)
    written = [
        write_changeset(here.root, proposal.releases, proposal.summary, random.choice)
        for proposal in (found.proposals if write else ())
    ]
    for line in proposal_lines(found, start, written):
        place.printer.line(line)
    if place.printer.as_json:
        place.printer.document(proposals_object(found, written))
    return ExitCode.DONE


@change.command("notice")
def notice(
    ctx: typer.Context,
    component: Annotated[str, typer.Argument(metavar="COMPONENT", help="Whose users were told.")],
    major: Annotated[int, typer.Argument(metavar="MAJOR", help="About which major version, such as 2.", min=1)],
    *,
    how: Annotated[str, typer.Option("--how", metavar="TEXT", help="How they were told: a mail, a post, a banner.")],
) -> int:
    """Write down that users were told of a coming major: it may go once the notice is old enough."""
    from crossfade.versioning.graph import read_graph  # noqa: PLC0415 - heavy
    from crossfade.versioning.notices import write_notice  # noqa: PLC0415 - heavy
    from crossfade.versioning.values import Notice  # noqa: PLC0415 - as above

    place = Place.of(ctx)
    require_finished(place)
    graph = read_graph(place.loaded)
    member = graph.members[graph.named(component, "crossfade change notice")]
    made = Notice(member.component or member.package.name, major, datetime.now(UTC), place.actor, how)
    path = write_notice(graph.repository.root, made)
    place.printer.line(f"✓ {path.relative_to(graph.repository.root)}; commit it")
    if place.printer.as_json:
        place.printer.document({"files": [str(path.relative_to(graph.repository.root))]})
    return ExitCode.DONE


def _asked(
    place: Place, loaded: LoadedProject | None, known: Callable[[str], str], summary: str
) -> tuple[list[Any], str]:
    from crossfade.versioning.values import BUMPS, Change  # noqa: PLC0415 - heavy

    if not place.printer.interactive:
        raise BadInputError(
            "change.nothing-said",
            "nothing says what changed, and nobody is there to be asked",
            where="crossfade change add",
            next='name components: --minor COMPONENT -m "what changed"; or --empty',
        )
    if loaded is not None:
        place.printer.line(
            f"components: {', '.join(name for name, c in loaded.project.components.items() if c.source)}"
        )
    names = _ask("Which of them changed (commas between)", lambda text: _names_in(text, known))
    given = [
        Change(name, _ask(f"{name}: major, minor or patch", lambda word: _bump_in(word, BUMPS), default="patch"))
        for name in names
    ]
    return given, summary or typer.prompt("What changed, for those who use it")


def _ask(question: str, read: Callable[[str], Any], default: str | None = None) -> Any:
    """The answer to a question, which is asked again until it can be understood."""
    while True:
        try:
            return read(typer.prompt(question, default=default))
        except BadInputError as error:
            typer.echo(f"  {error.what}; {error.next}")


def _names_in(text: str, known: Callable[[str], str]) -> list[str]:
    names = [known(name.strip()) for name in text.split(",") if name.strip()]
    if not names:
        raise BadInputError("change.nothing-said", "that names no component", next="name one, or leave with Ctrl-C")
    return list(dict.fromkeys(names))


def _bump_in(word: str, bumps: Mapping[str, Bump]) -> Bump:
    if word not in bumps:
        raise BadInputError("change.bad-bump", f"{word!r} is no bump", next="write major, minor or patch")
    return bumps[word]


def _require_once(given: Sequence[Any]) -> None:
    names = [each.name for each in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInputError("change.named-twice", f"{', '.join(twice)} is named twice", next="keep the greater bump")
