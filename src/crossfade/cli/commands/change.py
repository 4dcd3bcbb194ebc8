"""Changesets: saying what changed, how much, and why; and what has not been said yet."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.commands.pre import pre
from crossfade.cli.place import Place
from crossfade.cli.repository import names_of, project_of
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject

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
    from crossfade.versioning.changeset_files import changeset_name, changeset_text  # noqa: PLC0415 - heavy
    from crossfade.versioning.values import BUMPS, Change  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    loaded = project_of(place)
    root, known = names_of(loaded)
    asked = {"major": major or [], "minor": minor or [], "patch": patch or []}
    given = [Change(known(name), BUMPS[word]) for word, names in asked.items() for name in names]
    if not given and not empty:
        given, summary = _asked(place, loaded, known, summary)
    _require_once(given)
    if given and not summary.strip():
        raise BadInputError(
            "change.no-summary", "a changeset says what changed", where="crossfade change add", next='add -m "…"'
        )
    folder = root / ".changeset"
    folder.mkdir(exist_ok=True)
    while (path := folder / f"{changeset_name(random.choice)}.md").exists():
        pass
    path.write_text(changeset_text(given, summary.strip()), encoding="utf-8")
    place.printer.line(f"✓ {path.relative_to(root)}")
    if place.printer.as_json:
        changes = [{"name": each.name, "bump": each.bump.word} for each in given]
        place.printer.document({"file": str(path.relative_to(root)), "changes": changes})
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

    Exit codes: 0 every changed component has a changeset; else 1 where changesets' own rules hold, 7 with crossfade.yaml.
    """
    from crossfade.cli.render.versions import coverage_lines  # noqa: PLC0415 - heavy
    from crossfade.versioning.coverage import as_changesets_json  # noqa: PLC0415 - heavy
    from crossfade.versioning.preparing import prepare_status  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    loaded = project_of(place)
    if loaded is None:
        coverage = prepare_status(Path.cwd(), since=since)
    else:
        from crossfade.versioning.projects import open_project, prepare_project_status  # noqa: PLC0415 - heavy

        coverage = prepare_project_status(open_project(loaded, since=since), since=since)
    if place.printer.as_json:
        place.printer.document({**as_changesets_json(coverage.plan), "changed": list(coverage.changed)})
    for line in coverage_lines(coverage, verbose=verbose):
        place.printer.line(line)
    if not coverage.missing:
        return ExitCode.DONE
    return coverage.exit_code if loaded is None else ExitCode.INCOMPLETE


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
    from crossfade.engine.telling import scheme_of  # noqa: PLC0415 - heavy
    from crossfade.versioning.changeset_files import changeset_name, changeset_text  # noqa: PLC0415 - heavy
    from crossfade.versioning.commit_log import read_commits, starting_point  # noqa: PLC0415 - heavy
    from crossfade.versioning.projects import open_project  # noqa: PLC0415 - heavy
    from crossfade.versioning.proposals import propose  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    project = open_project(place.loaded)
    graph, root = project.graph, project.graph.repository.root
    start = since if since is not None else starting_point(root, scheme_of(project), list(graph.members)).commit
    folders = {member.component or name: member.package.folder for name, member in graph.members.items()}
    found = propose(
        read_commits(root, start), folders, grouped=place.loaded.project.versioning.changelog != "changesets"
    )
    written = []
    for proposal in found.proposals if write else ():
        path = root / ".changeset" / f"{changeset_name(random.choice)}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(changeset_text(proposal.releases, proposal.summary), encoding="utf-8")
        written.append(str(path.relative_to(root)))
    for line in proposal_lines(found, written):
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
    from crossfade.versioning.notices import Notice, write_notice  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
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
    names = [
        known(name.strip())
        for name in typer.prompt("Which of them changed (commas between)").split(",")
        if name.strip()
    ]
    given = []
    for name in names:
        word = typer.prompt(f"{name}: major, minor or patch", default="patch")
        if word not in BUMPS:
            raise BadInputError("change.bad-bump", f"{word!r} is no bump", next="write major, minor or patch")
        given.append(Change(name, BUMPS[word]))
    return given, summary or typer.prompt("What changed, for those who use it")


def _require_once(given: Sequence[Any]) -> None:
    names = [each.name for each in given]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInputError("change.named-twice", f"{', '.join(twice)} is named twice", next="keep the greater bump")
