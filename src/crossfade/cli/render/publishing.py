"""What is published where: the outlook, the journal while it is walked, and how a withdrawal went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossfade.artifacts.journal import Fault, Item, Journal
from crossfade.cli.render.plain import one_line, plural

if TYPE_CHECKING:
    from crossfade.engine.publications import Outlook
    from crossfade.engine.withdrawals import Step, Withdrawn
    from crossfade.store.publications import Publication

_MARKS = {"wanted": ("·", "dim"), "uploaded": ("↑", "cyan"), "verified": ("=", "cyan"), "tagged": ("✓", "green")}
_WORDS = {"wanted": "", "uploaded": "uploaded", "verified": "read back, the same", "tagged": "published"}


def outlook_view(outlook: Outlook) -> RenderableType:
    """What publishing would do, before anything happens."""
    table = _table("", "version", "where", "")
    for target in outlook.open:
        done = "is there already; git has no tag of it yet" if target in outlook.untagged else _leads(target.tags)
        mark = "=" if target in outlook.untagged else "↑"
        table.add_row(Text(mark, style="cyan"), str(target.at), target.registry, Text(done, style="dim"))
    many = len(outlook.done)
    there = "is where it is" if many == 1 else "are where they are"
    rest = f"{plural(many, 'artifact')} {there} to be"
    if not outlook.open:
        return Text(rest)
    return Group(table, Text(rest, style="dim")) if many else table


def journal_view(publication: Publication) -> RenderableType:
    """How far every item is."""
    journal = publication.journal
    table = _table("", "version", "where", "")
    held = journal.held_up()
    for item in journal.items:
        mark, style = _mark(journal, item)
        table.add_row(Text(mark, style=style), str(item.at), item.registry, Text(_told(journal, item, held)))
    return Group(Text(f"{publication.id} at commit {publication.revision[:12]}", style="dim"), table)


def item_line(journal: Journal, item: Item) -> str:
    """One step of one item, for a log."""
    mark, _ = _mark(journal, item)
    return f"{mark} {item.at} → {item.registry}: {_told(journal, item, journal.held_up())}"


def faults_view(journal: Journal) -> RenderableType:
    """Everything that failed, with what to do next."""
    parts: list[RenderableType] = []
    for item in journal.items:
        fault = journal.standing(item.key).fault
        if fault is not None:
            parts += [Text(), Text(f"✗ {item.at} → {item.registry}: {fault.what}", style="red"), *_advice(fault)]
    for name, cause in journal.held_up().items():
        parts.append(Text(f"  {name} waits for {cause}", style="dim"))
    return Group(*parts)


def steps_view(steps: Sequence[Step]) -> RenderableType:
    """What a withdrawal would do."""
    table = _table("", "version", "where", "")
    for step in steps:
        back = (
            f"names that lead to it go back to {step.back_to.version}" if step.back_to else "there is nothing before it"
        )
        table.add_row(Text("↓", style="yellow"), str(step.target.at), step.target.registry, Text(back, style="dim"))
    return table


def withdrawn_view(withdrawn: Sequence[Withdrawn]) -> RenderableType:
    """What was taken back, and what could not be."""
    return Group(*(line for each in withdrawn for line in _withdrawn(each)))


def _withdrawn(each: Withdrawn) -> Iterator[RenderableType]:
    title = f"{each.step.target.at} → {each.step.target.registry}"
    if each.fault is not None:
        yield Text(f"✗ {title}: {each.fault.what}", style="red")
        yield from _advice(each.fault)
    elif each.withdrawal is not None:
        yield Text(f"✓ {title}", style="green")
        yield from (Padding(Text(f"· {done}"), (0, 0, 0, 2)) for done in each.withdrawal.done)
        yield from (Padding(Text(f"! {left}", style="yellow"), (0, 0, 0, 2)) for left in each.withdrawal.left)


def publish_object(outlook: Outlook, publication: Publication | None, *, dry_run: bool) -> dict[str, Any]:
    """What was to be done, and how it went, as JSON."""
    return {
        "dry_run": dry_run,
        "absent": [{"component": t.component, "registry": t.registry, **_at(t.at)} for t in outlook.absent],
        "untagged": [{"component": t.component, "registry": t.registry, **_at(t.at)} for t in outlook.untagged],
        "published": [{"component": t.component, "registry": t.registry, **_at(t.at)} for t in outlook.done],
        "publication": None if publication is None else publication_object(publication),
    }


def publication_object(publication: Publication) -> dict[str, Any]:
    """A publication as JSON."""
    journal = publication.journal
    held = journal.held_up()
    return {
        "id": publication.id,
        "revision": publication.revision,
        "done": journal.done,
        "ending": publication.ending,
        "items": [_item_object(journal, item, held) for item in journal.items],
    }


def withdrawn_object(withdrawn: Sequence[Withdrawn], *, dry_run: bool) -> dict[str, Any]:
    """A withdrawal as JSON."""
    return {
        "dry_run": dry_run,
        "withdrawn": [
            {
                "component": each.step.target.component,
                "registry": each.step.target.registry,
                **_at(each.step.target.at),
                "back_to": each.step.back_to.version if each.step.back_to else None,
                "done": list(each.withdrawal.done) if each.withdrawal else [],
                "left": list(each.withdrawal.left) if each.withdrawal else [],
                "fault": _fault_object(each.fault),
            }
            for each in withdrawn
        ],
    }


def _item_object(journal: Journal, item: Item, held: Mapping[str, str]) -> dict[str, Any]:
    standing = journal.standing(item.key)
    return {
        "component": item.component,
        "registry": item.registry,
        **_at(item.at),
        "state": standing.state,
        "tags": list(item.tags),
        "digest": item.digest,
        "integrity": dict(standing.integrity),
        "fault": _fault_object(standing.fault),
        "waits_for": held.get(item.key),
    }


def _fault_object(fault: Fault | None) -> dict[str, Any] | None:
    if fault is None:
        return None
    return {"code": fault.code, "what": fault.what, "where": fault.where, "next": fault.next, "retry": fault.retry}


def _at(at: Any) -> dict[str, str]:
    return {"name": at.name, "version": at.version}


def _mark(journal: Journal, item: Item) -> tuple[str, str]:
    standing = journal.standing(item.key)
    return ("✗", "red") if standing.fault is not None else _MARKS[standing.state]


def _told(journal: Journal, item: Item, held: Mapping[str, str]) -> str:
    standing = journal.standing(item.key)
    if standing.fault is not None:
        return one_line(standing.fault.what)
    if item.key in held:
        return f"waits for {held[item.key]}"
    if standing.done and item.tags:
        return f"{_WORDS['tagged']}, {_leads(item.tags)}"
    return _WORDS[standing.state]


def _leads(tags: Sequence[str]) -> str:
    return f"as {', '.join(tags)}" if tags else ""


def _advice(fault: Fault) -> Iterator[RenderableType]:
    if fault.where:
        yield Text(f"    where: {fault.where}", style="dim")
    if fault.next:
        yield Text(f"    next:  {fault.next}", style="dim")


def _table(*titles: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in titles[:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*(Text(title, style="dim") for title in titles))
    return table
