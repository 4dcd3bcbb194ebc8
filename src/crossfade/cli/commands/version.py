"""From changesets to a release commit: the versions, the notes, and which versions work together."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossfade.cli.place import Place
from crossfade.cli.render.plain import plural
from crossfade.cli.repository import finish, follows_changesets, project_of, require_finished, root_of
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.engine.release import Release

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
    """Turn the changesets into versions: all files of a release commit, or none.

    Manifests, changelogs, lock files and version maps are written together. The changesets are used up; commit what was
    written, then `crossfade publish`. A run that was killed is finished by the next one. In a repository with
    .changeset/config.json and no sources in crossfade.yaml the result is that of @changesets/cli.

    Exit codes: 0 done, 1 nothing to do where changesets' own rules hold, 2 refused.
    """
    from crossfade.cli.render.versions import release_object, release_view  # noqa: PLC0415 - heavy
    from crossfade.engine.releasing import prepare  # noqa: PLC0415 - heavy
    from crossfade.versioning.majors import refuse  # noqa: PLC0415 - heavy

    place, now = Place.of(ctx), datetime.now(UTC)
    if dry_run:
        require_finished(place)
    finished = not dry_run and finish(place)
    loaded = project_of(place)
    release = prepare(
        loaded, root_of(loaded), now, ignore=ignore or [], snapshot=_snapshot(snapshot, now), template=template
    )
    for warning in release.prepared.warnings:
        place.printer.note(f"warning: {warning}")
    if not dry_run:
        refuse(release.lacking)
    place.printer.show(release_view(release))
    if not dry_run and not release.prepared.nothing:
        _write(place, release, notes, now)
    if place.printer.as_json:
        place.printer.document({"dry_run": dry_run, **release_object(release)})
    if release.prepared.nothing and follows_changesets(loaded) and not finished:
        return release.prepared.exit_code
    return ExitCode.DONE


def _write(place: Place, release: Release, notes: Path | None, now: datetime) -> None:
    from crossfade.versioning.writing import carry_out  # noqa: PLC0415 - heavy

    work = release.prepared.work
    if notes is not None:
        # Before the versions: once these are written, no changeset tells any more what the notes would say.
        _write_notes(notes, _notes_text(release, now, title="", template=None))
    carry_out(release.root, work)
    count = plural(len(work.edits), "file")
    place.printer.line(f"\n✓ {count} written{'; commit them' if work.message is None else ' and committed'}")


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
    require_finished(place)
    release = prepare(project_of(place), Path.cwd(), now)
    if release.prepared.nothing:
        place.printer.note("there is nothing to release: no changeset says so")
    text = _notes_text(release, now, title=title, template=template)
    if place.printer.as_json:
        place.printer.document({"notes": text})
    else:
        place.printer.raw(text.rstrip("\n"))
    return ExitCode.DONE


def compatibility(ctx: typer.Context) -> int:
    """Print which released versions work together, from the ranges at each tag."""
    from crossfade.engine.telling import Surroundings, compatibility_matrix  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    require_finished(place)
    matrix, untold = compatibility_matrix(Surroundings.of(project_of(place), Path.cwd()))
    if place.printer.as_json:
        place.printer.document({"matrix": matrix.as_json(), "untold": list(untold)})
        return ExitCode.DONE
    if matrix.rows:
        place.printer.raw(matrix.as_markdown().rstrip("\n"))
    else:
        place.printer.line("no release that git has a tag of needs another one")
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


def _snapshot(tag: str | None, now: datetime) -> Any:
    if tag is None:
        return None
    from crossfade.versioning.values import Snapshot  # noqa: PLC0415 - heavy

    return Snapshot(now.timestamp(), None if tag == _UNNAMED else tag)


def _write_notes(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInputError(
            "notes.unwritable",
            f"the notes cannot be written: {error.strerror}",
            where=str(path),
            next="name a file in a folder that is there",
        ) from None
