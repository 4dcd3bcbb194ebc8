"""Publishing what stands in the repository, and taking a version back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from crossfade.cli.arguments import Reason
from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from crossfade.engine.checkout import Gathering
    from crossfade.engine.publications import Outlook
    from crossfade.engine.withdrawals import Withdrawn
    from crossfade.store.publications import Publication

_LISTED = 20


def publish(
    ctx: typer.Context,
    components: Annotated[
        list[str] | None, typer.Argument(help="Components to publish; everything that is not published, when absent.")
    ] = None,
    *,
    environment: Annotated[
        str | None, typer.Option("--for", metavar="ENVIRONMENT", help="Give images the tags of this environment.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be published; nothing happens.")] = False,
    push: Annotated[
        str | None, typer.Option("--push", metavar="REMOTE", help="Push the git tags to this remote, such as origin.")
    ] = None,
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="Publish although files differ from the commit.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List what was published, newest first.")] = False,
) -> int:
    """Publish what is not published yet, dependencies first, and tag it in git.

    Every registry is asked what is there. What is absent is built, packed and uploaded; everything is read back and
    compared before a name that people follow leads to it. Whatever ends it early, the same command goes on. What fails
    holds up what depends on it, and nothing else.

    Exit codes: 0 all is published, 5 a registry does not answer, 7 some of it failed.
    """
    place = Place.of(ctx)
    if list_:
        return _list(place)
    gathering = _gathering(place, environment=environment, allow_dirty=allow_dirty)
    return asyncio.run(_publish(place, gathering, components or [], dry_run=dry_run, push=push))


async def _publish(
    place: Place, gathering: Gathering, components: list[str], *, dry_run: bool, push: str | None
) -> int:
    from crossfade.cli.render.publishing import outlook_view  # noqa: PLC0415 - heavy
    from crossfade.engine.publications import carry_out, look, require_known  # noqa: PLC0415 - heavy

    require_known(gathering.checkout, components)
    async with gathering.registries() as registries:
        outlook = await look(gathering.checkout, registries, components)
        place.printer.show(outlook_view(outlook))
        if dry_run or not outlook.open:
            return _nothing_to_do(place, gathering, outlook, dry_run=dry_run, push=push)
        with place.control() as control, _watching(place) as watch:
            ended = await carry_out(
                gathering.checkout,
                outlook,
                registries,
                control.store,
                gathering.gather,
                actor=place.actor,
                watch=watch,
            )
    return _ended(place, gathering, outlook, ended, push=push)


def _gathering(place: Place, *, environment: str | None = None, allow_dirty: bool) -> Gathering:
    from crossfade.cli.render.building import audience_for  # noqa: PLC0415 - heavy
    from crossfade.engine.checkout import open_checkout  # noqa: PLC0415 - heavy

    return open_checkout(
        place.loaded,
        place.state,
        actor=place.actor,
        listeners=lambda hidden: audience_for(place.printer, hidden),
        environment=environment,
        allow_dirty=allow_dirty,
    )


def _nothing_to_do(place: Place, gathering: Gathering, outlook: Outlook, *, dry_run: bool, push: str | None) -> int:
    from crossfade.cli.render.publishing import publish_object  # noqa: PLC0415 - heavy

    if not outlook.open:
        _settle(place, gathering, outlook)
        _push(place, gathering, push)
        place.printer.line("everything is published")
    if place.printer.as_json:
        place.printer.document(publish_object(outlook, None, dry_run=dry_run))
    return ExitCode.DONE


def _settle(place: Place, gathering: Gathering, outlook: Outlook) -> None:
    """What a crash left unfinished in the journal, and another run has found done."""
    from crossfade.engine.publications import settle  # noqa: PLC0415 - heavy

    done = [(target.key, target.at) for target in outlook.done]
    with place.control() as control:
        settle(gathering.checkout, done, control.store, actor=place.actor)


def _ended(place: Place, gathering: Gathering, outlook: Outlook, ended: Publication, *, push: str | None) -> int:
    from crossfade.cli.render.publishing import faults_view, publish_object  # noqa: PLC0415 - heavy

    journal = ended.journal
    if journal.done:
        _push(place, gathering, push)
        place.printer.line(f"published; git has the tags{'' if push else ', push them with `git push --tags`'}")
    else:
        place.printer.show(faults_view(journal))
        place.printer.line("\nwhat is done stays; `crossfade publish` goes on where it stopped")
    if place.printer.as_json:
        place.printer.document(publish_object(outlook, ended, dry_run=False))
    if journal.done:
        return ExitCode.DONE
    faults = journal.faults().values()
    return ExitCode.UNREACHABLE if all(fault.retry for fault in faults) else ExitCode.INCOMPLETE


def _push(place: Place, gathering: Gathering, remote: str | None) -> None:
    if remote is not None:
        names = gathering.push_tags(remote)
        place.printer.line(f"pushed to {remote}: {', '.join(names) or 'nothing new'}")


@contextlib.contextmanager
def _watching(place: Place) -> Iterator[Callable[[Publication], None]]:
    """Shows the journal: a table that redraws on a terminal, a line for each step in a log."""
    from crossfade.cli.render.publishing import item_line, journal_view  # noqa: PLC0415 - heavy

    if place.printer.interactive:
        with place.printer.live() as show:
            yield lambda publication: show(journal_view(publication))
        return
    known: dict[str, object] = {}

    def lines(publication: Publication) -> None:
        if not known:
            place.printer.line(f"{publication.id} at commit {publication.revision[:12]}")
        for item in publication.journal.items:
            standing = publication.journal.standing(item.key)
            if item.key in known and known[item.key] != standing:
                place.printer.line(item_line(publication.journal, item))
            known[item.key] = standing

    yield lines


def _list(place: Place) -> int:
    from crossfade.cli.render.publishing import journal_view, publication_object  # noqa: PLC0415 - heavy

    with place.control() as control:
        found = control.store.publications.newest(_LISTED)
    if place.printer.as_json:
        place.printer.document({"publications": [publication_object(each) for each in found]})
    for each in found:
        place.printer.show(journal_view(each))
        place.printer.line(f"{each.ending or 'not finished: `crossfade publish` goes on'}, by {each.actor}\n")
    if not found:
        place.printer.line("nothing was published from here")
    return ExitCode.DONE


def withdraw(
    ctx: typer.Context,
    releases: Annotated[list[str], typer.Argument(metavar="COMPONENT@VERSION…", help="The releases to take back.")],
    *,
    reason: Reason = "",
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="VERSION", help="What names lead back to; the newest earlier release when absent."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be taken back; nothing happens.")] = False,
) -> int:
    """Take releases back everywhere, and say what could not be taken back.

    As far as each registry allows it: pointers of a CDN and tags of images lead back first, because that works at once; packages are deprecated and their
    dist-tags lead back. Nothing is deleted: whoever uses a version keeps it. Needs a --reason, which people will read.

    Exit codes: 0 done, 5 a registry does not answer, 7 some of it failed.
    """
    from crossfade.cli.render.publishing import withdrawn_object  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    if not reason.strip() and not dry_run:
        raise BadInputError(
            "withdraw.reason",
            "a withdrawal needs a reason: those who use the version will read it",
            where="crossfade withdraw",
            next='add --reason "what is wrong, and what to use instead"',
        )
    gathering = _gathering(place, allow_dirty=True)
    withdrawn = asyncio.run(_withdraw(place, gathering, releases, to, reason.strip(), dry_run=dry_run))
    if place.printer.as_json:
        place.printer.document(withdrawn_object(withdrawn, dry_run=dry_run))
    faults = [each.fault for each in withdrawn if each.fault is not None]
    if not faults:
        return ExitCode.DONE
    return ExitCode.UNREACHABLE if all(fault.retry for fault in faults) else ExitCode.INCOMPLETE


async def _withdraw(
    place: Place, gathering: Gathering, releases: list[str], to: str | None, reason: str, *, dry_run: bool
) -> tuple[Withdrawn, ...]:
    from crossfade.cli.render.publishing import steps_view, withdrawn_view  # noqa: PLC0415 - heavy
    from crossfade.core.reference import parse_reference  # noqa: PLC0415 - after the door
    from crossfade.engine.publications import require_known  # noqa: PLC0415 - heavy
    from crossfade.engine.withdrawals import plan, planned, withdraw  # noqa: PLC0415 - heavy

    references = [parse_reference(each) for each in releases]
    require_known(gathering.checkout, [each.component for each in references])
    async with gathering.registries() as registries:
        steps = await plan(
            gathering.checkout,
            registries,
            references,
            None if to is None else parse_reference(f"{references[0].component}@{to}").version,
        )
        place.printer.show(steps_view(steps))
        if dry_run:
            return planned(steps)
        with place.control() as control:
            withdrawn = await withdraw(registries, steps, control.store, reason=reason, actor=place.actor)
    place.printer.show(withdrawn_view(withdrawn))
    return withdrawn
