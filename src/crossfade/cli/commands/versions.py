"""Changesets and versions: saying what changed, and making the release commit from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject
    from crossfade.engine.releasing import Release

_UNNAMED = "*"
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="COMPONENT", help="Leave this one as it is; may be repeated.")
]


def version(
    ctx: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written; nothing is.")] = False,
    snapshot: Annotated[
        str | None,
        typer.Option(
            "--snapshot", metavar="TAG", help=f"Versions to try out, never the next ones; `{_UNNAMED}`: no tag."
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="TEXT", help="How a snapshot's version ends, such as {tag}-{commit}."),
    ] = None,
    ignore: Ignore = None,
    notes: Annotated[
        Path | None, typer.Option("--notes", metavar="FILE", help="Write the release notes into this file as well.")
    ] = None,
) -> int:
    """Turn the changesets into versions: manifests, changelogs, lock files and version maps, all or nothing.

    The changesets are used up; commit what was written, then `crossfade publish`. In a repository with
    .changeset/config.json and no sources in crossfade.yaml the result is that of @changesets/cli.

    Exit codes: 0 done, 1 nothing to do where changesets' own rules hold, 2 refused.
    """
    from crossfade.cli.render.versions import release_object, release_view  # noqa: PLC0415 - heavy
    from crossfade.engine.releasing import prepare  # noqa: PLC0415 - heavy

    place, now = Place.of(ctx), datetime.now(UTC)
    loaded = _project(place)
    root = _root(loaded)
    _resume(place, root)
    release = prepare(loaded, root, now, ignore=ignore or [], snapshot=_snapshot(snapshot, now), template=template)
    for warning in release.prepared.warnings:
        place.printer.note(f"warning: {warning}")
    place.printer.show(release_view(release))
    if place.printer.as_json:
        place.printer.document({"dry_run": dry_run, **release_object(release)})
    if release.prepared.nothing:
        return release.prepared.exit_code if loaded is None else ExitCode.DONE
    if not dry_run:
        _write(place, release, notes, now)
    return ExitCode.DONE


def _write(place: Place, release: Release, notes: Path | None, now: datetime) -> None:
    from crossfade.versioning.majors import refuse  # noqa: PLC0415 - heavy
    from crossfade.versioning.writing import carry_out  # noqa: PLC0415 - heavy

    refuse(release.lacking)
    text = None if notes is None else _notes_text(release, now, title="", template=None)
    carry_out(release.root, release.prepared.work)
    if notes is not None and text is not None:
        notes.write_text(text, encoding="utf-8")
    place.printer.line(f"\n✓ {len(release.prepared.work.edits)} files are written; commit them")


def notes(
    ctx: typer.Context,
    *,
    title: Annotated[str, typer.Option("--title", metavar="TEXT", help="Title of the notes.")] = "",
    template: Annotated[
        Path | None, typer.Option("--template", metavar="FILE", help="A Jinja template in place of the usual one.")
    ] = None,
) -> int:
    """Print the release notes that the changesets add up to; nothing is written.

    Features, fixes, security, breaking changes with their migration guides, the table of components, and how the release
    gets to its users in each environment. `crossfade version --notes FILE` writes them with the versions.
    """
    from crossfade.engine.releasing import prepare  # noqa: PLC0415 - heavy

    place, now = Place.of(ctx), datetime.now(UTC)
    release = prepare(place.loaded, Path.cwd(), now)
    place.printer.raw(_notes_text(release, now, title=title, template=template).rstrip("\n"))
    return ExitCode.DONE


def compatibility(ctx: typer.Context) -> int:
    """Print which released versions of the components work together, from the ranges at each tag."""
    from crossfade.engine.telling import compatibility_matrix  # noqa: PLC0415 - heavy
    from crossfade.versioning.projects import open_project  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    matrix, untold = compatibility_matrix(open_project(place.loaded))
    if place.printer.as_json:
        place.printer.document({"matrix": matrix.as_json(), "untold": list(untold)})
        return ExitCode.DONE
    place.printer.raw(matrix.as_markdown().rstrip("\n"))
    for tag in untold:
        place.printer.note(f"{tag} is left out: what it holds cannot be read")
    return ExitCode.DONE


def _notes_text(release: Release, now: datetime, *, title: str, template: Path | None) -> str:
    from crossfade.engine.telling import release_notes  # noqa: PLC0415 - heavy

    if release.project is None:
        raise BadInputError(
            "notes.no-project",
            "release notes need a crossfade.yaml whose components have a `source`",
            next="write one with `crossfade init`, or use the changelogs",
        )
    return release_notes(release, release.project, now, title=title or f"Release of {now:%Y-%m-%d}", template=template)


change = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)
pre = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@change.callback()
def _change() -> None:
    """Say what changed, see what is about to be released, and enter or leave pre mode."""


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
    loaded = _project(place)
    root, known = _known(loaded)
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
    loaded = _project(place)
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
        place.printer.document({"file": str(path.relative_to(graph.repository.root))})
    return ExitCode.DONE


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
    loaded = _project(place)
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
    loaded = _project(place)
    return _pre_mode(
        place,
        exit_pre(Path.cwd()) if loaded is None else exit_project_pre(loaded),
        "pre mode ends with the next version",
    )


change.add_typer(pre, name="pre")


def _pre_mode(place: Place, pending: Any, told: str) -> int:
    from crossfade.versioning.writing import Work, carry_out  # noqa: PLC0415 - heavy

    carry_out(pending.root, Work(pending.edits))
    place.printer.line(f"✓ {told}")
    if place.printer.as_json:
        place.printer.document({"files": [edit.path for edit in pending.edits]})
    return ExitCode.DONE


def _project(place: Place) -> LoadedProject | None:
    """The project, where a crossfade.yaml says where its sources are; None in a workspace of changesets alone."""
    if place.file is None and not any(
        (folder / "crossfade.yaml").exists() for folder in (Path.cwd(), *Path.cwd().parents)
    ):
        return None
    loaded = place.loaded
    return loaded if any(each.source for each in loaded.project.components.values()) else None


def _root(loaded: LoadedProject | None) -> Path:
    if loaded is not None:
        return loaded.path.resolve().parent
    from crossfade.versioning.workspace import read_repository  # noqa: PLC0415 - heavy

    return read_repository(Path.cwd()).root


def _known(loaded: LoadedProject | None) -> tuple[Path, Callable[[str], str]]:
    """The top of the repository, and what a component or package is called in changesets."""
    if loaded is not None:
        from crossfade.versioning.graph import read_graph  # noqa: PLC0415 - heavy

        graph = read_graph(loaded)
        return graph.repository.root, lambda name: graph.named(name, "crossfade change add")
    from crossfade.config.faults import suggest  # noqa: PLC0415 - only for an error
    from crossfade.versioning.workspace import read_repository  # noqa: PLC0415 - heavy

    repository = read_repository(Path.cwd())
    names = [package.name for package in repository.packages]

    def known(name: str) -> str:
        if name not in names:
            raise BadInputError("versions.unknown-package", f"there is no package {name!r}", next=suggest(name, names))
        return name

    return repository.root, known


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


def _snapshot(tag: str | None, now: datetime) -> Any:
    if tag is None:
        return None
    from crossfade.versioning.values import Snapshot  # noqa: PLC0415 - heavy

    return Snapshot(now.timestamp(), None if tag == _UNNAMED else tag)


def _resume(place: Place, root: Path) -> None:
    """Finish what an earlier run was killed in, and say so."""
    from crossfade.versioning.writing import resume  # noqa: PLC0415 - heavy

    work = resume(root)
    if work is not None:
        place.printer.note(f"an earlier run was cut short; its {len(work.edits)} files are written now")
