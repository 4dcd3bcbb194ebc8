"""The publishing journal as it is remembered: each step is one transaction, written with its entry in the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from pydantic import TypeAdapter

from crossfade.artifacts.journal import Item, Journal, Standing, key
from crossfade.artifacts.port import Coordinate
from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import Event
from crossfade.store import publication_queries as queries
from crossfade.store.audit import Subject
from crossfade.store.database import Database
from crossfade.store.record import record
from crossfade.store.record_queries import head

Place = tuple[str, Coordinate]
"""The key of an item, and the version that is there."""

_ITEMS: TypeAdapter[tuple[Item, ...]] = TypeAdapter(tuple[Item, ...])
_STANDING: TypeAdapter[Standing] = TypeAdapter(Standing)


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as it was last written. `ending` is `done`, `superseded`, or None while it is under way."""

    id: str
    actor: str
    revision: str
    created_at: float
    ending: str | None
    journal: Journal


class Publications:
    """All publications, on the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        new_id: Callable[[float], str],
        items: Sequence[Item],
        *,
        done: Iterable[Place] = (),
        actor: str,
        revision: str,
    ) -> Publication:
        """Begin a publication, or go on with the unfinished one that these very items are left of.

        `done` is what is known to be where it is to be already. BadInputError `publish.other-bytes` where an unfinished
        publication began with other bytes under the same version. An unfinished one is superseded once another version
        of one of its components is published. `new_id` makes an id from the database's time.
        """
        finished = frozenset(done)

        def work(connection: sa.Connection) -> Publication:
            head(connection, lock=True)  # two who begin at once come one after the other
            now = self._database.now(connection)
            for row in queries.unfinished(connection):
                known = _publication(connection, row)
                _require_same_bytes(known, items)
                if _is_left_of(known, items, finished):
                    return self._gone_on_with(connection, now, known, items)
                if _replaces(known, items):
                    queries.end(connection, known.id, now, "superseded")
                    record(connection, now, [(Subject(), _superseded(known))])
            fresh = Publication(new_id(now), actor, revision, now, None, Journal(tuple(items)))
            values = {"id": fresh.id, "actor": actor, "revision": revision, "created_at": now}
            queries.insert(connection, {**values, "items": _ITEMS.dump_json(fresh.journal.items).decode()})
            record(connection, now, [(Subject(), _begun(fresh))])
            return fresh

        return self._database.write(work)

    def _gone_on_with(
        self, connection: sa.Connection, now: float, known: Publication, items: Sequence[Item]
    ) -> Publication:
        """The publication, with what was done and could not be written down any more."""
        left = {item.key for item in items}
        for item in known.journal.items:
            standing = known.journal.standing(item.key)
            if item.key not in left and not standing.done:
                tagged = Standing("tagged", standing.integrity)
                queries.upsert_item(connection, known.id, item.key, _STANDING.dump_json(tagged).decode(), now)
                record(
                    connection, now, [(Subject(component=item.component), _noted(known.id, item, tagged, known.actor))]
                )
        row = queries.select(connection, known.id)
        return known if row is None else _publication(connection, row)

    def complete(self, done: Iterable[Place]) -> list[Publication]:
        """The unfinished publications of which everything is where it is to be: all that they lack is their ending."""
        finished = frozenset(done)

        def work(connection: sa.Connection) -> list[Publication]:
            return [_publication(connection, row) for row in queries.unfinished(connection)]

        found = self._database.read(work)
        return [each for each in found if {(item.key, item.at) for item in each.journal.items} <= finished]

    def note(self, publication: str, item: Item, standing: Standing, *, actor: str) -> None:
        """Write down how far one item is."""

        def work(connection: sa.Connection) -> None:
            now = self._database.now(connection)
            text = _STANDING.dump_json(standing).decode()
            queries.upsert_item(connection, publication, item.key, text, now)
            record(connection, now, [(Subject(component=item.component), _noted(publication, item, standing, actor))])

        self._database.write(work)

    def note_tag(self, publication: str, component: str, tag: str, *, commit: str, actor: str) -> None:
        """Write down that a component has its git tag, once."""
        standing = Standing("tagged", {tag: commit})

        def work(connection: sa.Connection) -> None:
            head(connection, lock=True)  # two who find the same tag come one after the other
            name = key(component, "git tag")  # no registry can be called so
            if name in dict(queries.standings(connection, publication)):
                return
            now = self._database.now(connection)
            queries.upsert_item(connection, publication, name, _STANDING.dump_json(standing).decode(), now)
            data = {"tag": tag, "commit": commit, "publication": publication}
            event = Event("publication.git-tag", f"{tag} stands on {commit[:12]}", actor, data)
            record(connection, now, [(Subject(component=component), event)])

        self._database.write(work)

    def finish(self, publication: str, *, actor: str) -> None:
        """Everything is where it is to be."""

        def work(connection: sa.Connection) -> None:
            now = self._database.now(connection)
            if queries.end(connection, publication, now, "done"):
                event = Event("publication.done", f"{publication} is published", actor, {"publication": publication})
                record(connection, now, [(Subject(), event)])

        self._database.write(work)

    def find(self, publication: str) -> Publication:
        """One publication; BadInputError where there is none."""

        def work(connection: sa.Connection) -> Publication | None:
            row = queries.select(connection, publication)
            return None if row is None else _publication(connection, row)

        found = self._database.read(work)
        if found is None:
            code = "publish.unknown"
            raise BadInputError(
                code, f"there is no publication {publication}", next="name one of: crossfade publish --list"
            )
        return found

    def newest(self, limit: int) -> list[Publication]:
        """The newest publications, newest first."""
        return self._database.read(lambda c: [_publication(c, row) for row in queries.newest(c, limit)])

    def remember(self, component: str, events: Sequence[Event]) -> None:
        """Facts about a component for the record, such as a withdrawal."""

        def work(connection: sa.Connection) -> None:
            now = self._database.now(connection)
            record(connection, now, [(Subject(component=component), event) for event in events])

        self._database.write(work)


def _publication(connection: sa.Connection, row: queries.Row) -> Publication:
    standings = {item: _STANDING.validate_json(text) for item, text in queries.standings(connection, row["id"])}
    journal = Journal(_ITEMS.validate_json(row["items"]), standings)
    return Publication(row["id"], row["actor"], row["revision"], row["created_at"], row["ending"], journal)


def _is_left_of(known: Publication, items: Sequence[Item], done: frozenset[Place]) -> bool:
    """Whether `items` are what is left of a publication: each is one of its own, and the others are done."""
    places = {(item.key, item.at) for item in known.journal.items}
    left = {(item.key, item.at) for item in items}
    return left <= places and places - left <= done


def _replaces(known: Publication, items: Sequence[Item]) -> bool:
    """Whether `items` hold another version of something that was to be published."""
    versions = {item.key: item.at for item in known.journal.items}
    return any(versions.get(item.key, item.at) != item.at for item in items)


def _require_same_bytes(known: Publication, items: Sequence[Item]) -> None:
    digests = {(item.key, item.at): item.digest for item in known.journal.items}
    other = [item for item in items if digests.get((item.key, item.at), item.digest) != item.digest]
    if other:
        names = ", ".join(f"{item.at} ({item.key})" for item in other)
        code = "publish.other-bytes"
        raise BadInputError(
            code,
            f"{names}: what is here now differs from what {known.id} began to publish under the same version",
            where=f"{known.id}, begun at commit {known.revision[:12] or 'unknown'}",
            next="check out that commit and build again, or give what is here now a version of its own",
        )


def _begun(publication: Publication) -> Event:
    items = {item.key: {"at": str(item.at), "digest": item.digest} for item in publication.journal.items}
    data = {"publication": publication.id, "revision": publication.revision, "items": items}
    count = len(items)
    return Event("publication.begun", f"{publication.id}: {count} to publish", publication.actor, data)


def _superseded(publication: Publication) -> Event:
    text = f"{publication.id} was not finished, and newer versions are published instead"
    return Event("publication.superseded", text, data={"publication": publication.id})


def _noted(publication: str, item: Item, standing: Standing, actor: str) -> Event:
    data = {"publication": publication, "item": item.key, "at": str(item.at), "integrity": dict(standing.integrity)}
    if standing.fault is not None:
        fault = standing.fault
        return Event("publication.failed", f"{item.at} ({item.key}): {fault.what}", actor, {**data, "code": fault.code})
    return Event(f"publication.{standing.state}", f"{item.at} ({item.key}) is {standing.state}", actor, data)
