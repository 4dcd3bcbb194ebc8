"""The store: what is remembered, and who may act on it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from crossfade.analysis.values import Sample
from crossfade.config.model import Component, Deployment
from crossfade.core.clock import Clock
from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import ACTION, OUTCOME, Action, Command, Event, Outcome, Rollout, Verb
from crossfade.store import claims, keeping, queries, readings, record_queries
from crossfade.store.audit import AuditRow, Head, Subject, Verification, verify
from crossfade.store.database import Database, read_url
from crossfade.store.encoding import SAMPLE
from crossfade.store.keeping import Keeping
from crossfade.store.line import Line
from crossfade.store.orders import Beginning, begin, command
from crossfade.store.place import Place
from crossfade.store.publications import Publications
from crossfade.store.readings import Ask
from crossfade.store.record import finished, record
from crossfade.store.record_queries import asking
from crossfade.store.records import Records, T
from crossfade.store.rows import Claim, Turn
from crossfade.store.schema import migrate
from crossfade.store.watch import RECHECK, Watcher, open_watcher

_PAGE = 1000
_STEP = 1.0
"""Seconds from which a clock that goes back was set back: threads see each other's times out of order."""


class Store(Records):
    """All that Crossfade remembers, in SQLite or PostgreSQL. May be used from any thread.

    Every method is one transaction: done whole, or not at all. What is committed survives kill -9 of
    every process at any instant, and where it matters a loss of power. All times are the database's,
    in seconds since the epoch. UnreachableError (`retry` is set) while the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, claims.Known] = {}
        self._claimed_at = math.inf
        self._watchers: list[Watcher] = []
        self._closing = threading.Event()
        self._place = Place(database)
        self.publications = Publications(database)
        self.line = Line(database)
        self.keeping = Keeping(database)

    @classmethod
    def open(cls, url: str, *, clock: Clock | None = None, patience: float = 10.0) -> Store:
        """Open `sqlite:///PATH` or `postgresql://…`, creating or migrating the tables where needed.

        `clock` replaces the machine's on SQLite (PostgreSQL has its own); `patience` is how many seconds
        a locked file is put up with. BadInputError says what is wrong with the database.
        """
        database = Database(read_url(url), clock, patience)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is a file of one machine, with one engine."""
        return self._database.is_sqlite

    @property
    def url(self) -> str:
        """The database's address, password included: for those who connect, never to be shown."""
        plain = "sqlite" if self.is_sqlite else "postgresql"
        return self._database.url.set(drivername=plain).render_as_string(hide_password=False)

    def look(self, work: Callable[[Ask], T]) -> T:
        """Run `work` in a transaction that sees one state of the database."""
        return self._database.read(lambda connection: work(asking(connection)))

    def now(self) -> float:
        """The database's time."""
        if self._database.is_sqlite:
            return self._database.clock.now()
        return self._database.read(self._database.now)

    def close(self) -> None:
        """End every wait and let go of the database. Leases and the heartbeat stay: see `leave`."""
        self._closing.set()
        with suppress(IndexError):
            while True:
                self._watchers.pop().close()
        self._place.give_up()
        self._database.close()

    # -- releases and targets ------------------------------------------------------------------------

    def put_release(self, component: str, version: str, workload: Component, digest: str) -> None:
        """Remember a release. It is immutable: another `digest` for the same version is BadInputError."""

        def work(connection: sa.Connection) -> str:
            now = self._database.now(connection)
            values = {"component": component, "version": version, "digest": digest, "created_at": now}
            if not queries.insert_release(connection, {**values, "workload": workload.model_dump_json()}):
                known = queries.select_release(connection, component, version)
                return "" if known is None else str(known["digest"])
            event = Event("release.recorded", f"{component} {version} is a release", data={"digest": digest})
            record(connection, now, [(Subject(component=component), event)])
            return digest

        if self._database.write(work) != digest:
            raise BadInputError(
                "release.changed",
                f"{component} {version} is a release already, with another workload",
                where=f"{component}@{version}",
                next="releases never change: give the new one a version of its own",
            )

    def release(self, component: str, version: str) -> Component | None:
        """The workload of a release."""
        row = self._database.read(lambda c: queries.select_release(c, component, version))
        return None if row is None else Component.model_validate_json(row["workload"])

    # -- rollouts ------------------------------------------------------------------------------------

    def create(self, rollout: Rollout, deployment: Deployment, actor: str, events: Sequence[Event] = ()) -> None:
        """Begin a rollout: it is due at once.

        BadInputError `rollout.active` while another one is under way in the same environment, and
        `rollout.outdated` when one has come and gone since this one was planned.
        """
        self.create_set([(rollout, deployment, events)], actor)

    def create_set(self, begun: Sequence[Beginning], actor: str) -> None:
        """Begin several rollouts, all or none; the errors of `create`."""

        def work(connection: sa.Connection) -> None:
            begin(connection, self._database.now(connection), begun, actor=actor)

        try:
            self._database.write(work)
        except IntegrityError as error:
            plans = [rollout.plan for rollout, _, _ in begun]
            taken = [p for p in plans if self.target(p.component, p.environment).rollout is not None] or plans
            raise self._already_active(taken[0].component, taken[0].environment) from error

    def _already_active(self, component: str, environment: str) -> BadInputError:
        return BadInputError(
            "rollout.active",
            f"a rollout of {component} is under way in {environment}",
            where=self.target(component, environment).rollout or "",
            next="follow it with 'crossfade status', take it back with 'crossfade abort', or let releases wait:"
            " `supersede: queue` in the environment",
        )

    def claim(self, worker: str, *, limit: int, lease: float) -> list[Claim]:
        """Take up to `limit` rollouts that are due and in nobody's hands, for `lease` seconds.

        The lease ends with `write`, or by itself. What this worker is still looking at is not handed out
        again before that. Cheap when nothing is due.
        """
        if self._database.is_sqlite and not self._database.read(self._is_anything_due):
            return []

        def work(connection: sa.Connection) -> tuple[list[Claim], dict[str, claims.Known]]:
            now = self._database.now(connection)
            if now < self._claimed_at - _STEP:
                queries.forget_the_future(connection, now + _STEP)
            self._claimed_at = now
            return claims.take(connection, worker, self._known, now=now, limit=limit, lease=lease)

        found, current = self._database.write(work, durable=False)
        self._known.update(current)
        return found

    def _is_anything_due(self, connection: sa.Connection) -> bool:
        now = self._database.now(connection)
        return now < self._claimed_at - _STEP or queries.is_anything_due(connection, now)

    def write(self, turns: Sequence[Turn]) -> frozenset[str]:
        """Write what looks have led to, all in one transaction; the ids of the rollouts really written.

        A turn whose lease has been taken over since writes nothing. Whatever woke the rollout during
        the look (a command, an outcome) keeps it due at once, whatever `wake_at` says.
        """
        if not turns:
            return frozenset()
        durable = any(t.actions or t.events or t.target or not self._is_as_known(t.rollout) for t in turns)
        revisions = self._database.write(
            lambda c: claims.write(c, turns, self._known, self._database.now(c)), durable=durable
        )
        for turn in turns:
            i = turn.rollout.id
            if i in revisions and i in self._known:
                self._known[i] = claims.Known(revisions[i], turn.rollout, self._known[i].deployment)
            if turn.rollout.finished:
                self._known.pop(i, None)
        return frozenset(revisions)

    def _is_as_known(self, rollout: Rollout) -> bool:
        known = self._known.get(rollout.id)
        return known is not None and known.rollout == rollout

    # -- commands and actions ------------------------------------------------------------------------

    def command(self, rollout_id: str, verb: Verb, actor: str, reason: str = "") -> Command:
        """Ask something of a rollout and wake it; BadInputError `rollout.unknown` where there is none."""
        return self.command_set([rollout_id], verb, actor, reason)[0]

    def command_set(self, rollouts: Sequence[str], verb: Verb, actor: str, reason: str = "") -> list[Command]:
        """Ask the same of several rollouts, of all or of none; the error of `command`."""

        def work(connection: sa.Connection) -> list[Command]:
            now = self._database.now(connection)
            queries.held(connection, rollouts)  # in the order of everybody else
            asked = [command(connection, now, each, verb, actor=actor, reason=reason) for each in sorted(rollouts)]
            found = [each for each in asked if each is not None]
            if len(found) < len(rollouts):
                raise BadInputError(
                    "rollout.unknown",
                    f"there is no rollout {', '.join(map(repr, rollouts))}",
                    next="'crossfade history' lists the rollouts",
                )
            return found

        return self._database.write(work)

    def wanted_actions(self) -> list[Action]:
        """The outbox: actions without an outcome, oldest first. What a runner submits again after a crash."""
        return [ACTION.validate_json(text) for text in self._database.read(queries.select_wanted)]

    def wanted_action(self, action_id: str) -> Action | None:
        """An action of the outbox; None when it has its outcome, or is unknown."""
        text = self._database.read(lambda c: queries.select_wanted_action(c, action_id))
        return None if text is None else ACTION.validate_json(text)

    def finish_action(self, action_id: str, outcome: Outcome) -> bool:
        """Store how an action ended, and wake its rollout. The first outcome stays: False for a later one."""

        def work(connection: sa.Connection) -> bool:
            now = self._database.now(connection)
            row = queries.finish_action(connection, action_id, OUTCOME.dump_json(outcome).decode(), now)
            if row is None:
                return False
            about = Subject(row["rollout"], row["component"], row["environment"])
            record(connection, now, [(about, finished(ACTION.validate_json(row["action"]), outcome))])
            return True

        return self._database.write(work)

    # -- reading -------------------------------------------------------------------------------------

    def verify_audit(self, anchor: Head | None = None) -> Verification:
        """Check the whole audit record; `anchor` is a head that was noted elsewhere earlier."""
        return self.look(lambda ask: verify(_all_entries(ask), head=readings.head(ask), anchor=anchor))

    def samples(self, rollout_id: str, *, since: float = -math.inf) -> list[Sample]:
        """The buckets that a rollout was judged by, from `since` on, oldest first."""
        bound = None if since == -math.inf else since
        rows = self._database.read(lambda c: record_queries.select_samples(c, rollout_id, bound))
        return [SAMPLE.validate_json(text) for text in rows]

    # -- waiting -------------------------------------------------------------------------------------

    def wait_for_work(self, timeout: float) -> bool:
        """Block until a claim would find something: at once when a rollout is woken, else when it is due.

        False after `timeout` seconds, or when `close` ends the wait. Costs ≈ 100 looks at shared memory
        a second on SQLite, nothing on PostgreSQL.
        """

        def due_in(connection: sa.Connection) -> float:
            now = self._database.now(connection)
            at = queries.soonest(connection, now)
            return math.inf if at is None else at - now

        return self._wait(timeout, due_in)

    def wait_for_events(self, after: int, timeout: float) -> bool:
        """Block until the audit record goes beyond sequence number `after`; False after `timeout` seconds."""
        return self._wait(timeout, lambda c: 0.0 if record_queries.head(c).count > after else math.inf)

    def _wait(self, timeout: float, due_in: Callable[[sa.Connection], float]) -> bool:
        give_up, soon = time.monotonic() + timeout, math.inf
        watcher = self._watchers.pop() if self._watchers else open_watcher(self._database)
        try:
            while not self._closing.is_set():
                watcher.mark()
                soon = self._database.read(due_in)
                left = give_up - time.monotonic()
                if soon <= 0 or left <= 0:
                    break
                watcher.wait(min(soon, left, RECHECK), self._closing)
        except BaseException:
            watcher.close()
            raise
        if self._closing.is_set():
            watcher.close()
            return False
        self._watchers.append(watcher)
        return soon <= 0

    # -- workers -------------------------------------------------------------------------------------

    def take_place(self) -> bool:
        """Become the one engine of a SQLite file: False while another process is it. Always on PostgreSQL.

        Whatever an engine that has died was looking at is then due at once. The place is free again when
        this store is closed or its process ends, however it ends.
        """
        taken = self._place.take()
        if taken and self._database.is_sqlite:
            self._database.write(_free_leases)
        return taken

    def heartbeat(self, worker: str, executor: str) -> None:
        """Tell that a worker lives; `executor` names who carries out its actions."""
        self._database.write(lambda c: queries.beat(c, worker, executor, self._database.now(c)), durable=False)

    def leave(self, worker: str) -> None:
        """A worker ends: what it was looking at is due at once, for others."""

        def work(connection: sa.Connection) -> None:
            _free_leases(connection, worker=worker)
            queries.forget_worker(connection, worker)
            queries.notify(connection)

        self._database.write(work)


def _free_leases(connection: sa.Connection, *, worker: str | None = None) -> None:
    queries.free_leases(connection, worker=worker)
    keeping.free_leases(connection, worker=worker)


def _all_entries(ask: Ask) -> Iterator[AuditRow]:
    after = 0
    while page := readings.audit(ask, after=after, rollout=None, most=_PAGE):
        yield from page
        after = page[-1].sequence
