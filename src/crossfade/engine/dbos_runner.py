"""Durable actions on DBOS, in the database that Crossfade has anyway.

An action is a DBOS workflow whose id is the action's: it starts once, and again after a crash. The
workflow's only argument is that id; the action and its outcome stand in Crossfade's own outbox.

It starts directly (≈ 3 ms) while fewer than `at_once` are under way, and otherwise waits in a queue, which
is also where the work of a dead executor goes. `carry_out` runs in the event loop that called `start`, so
adapters may keep connections there; everything of DBOS runs in threads of its own, and one of them waits for
each action.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from crossfade.core.errors import CrossfadeError
from crossfade.engine.runner import CarryOut, outcome_of
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.store import Store

if TYPE_CHECKING:
    from dbos import DBOS

QUEUE = "crossfade-actions"
APPLICATION_VERSION = "crossfade-1"
"""Pinned: DBOS leaves the work of another version alone, and an upgrade must not strand any. It changes
only if the meaning of a stored action does."""

_POLL = 0.25
_BEAT = 1.0
_DEAD_AFTER = 3.0
_PRUNE = 300.0
_BATCH = 500

_log = logging.getLogger(__name__)
_only_one = threading.Lock()


class _EndingError(BaseException):
    """We are ending: whoever comes next carries the action out. No error of the action, so DBOS must not record it."""


class DbosRunner:
    """`ActionRunner` on DBOS. One for each process, because DBOS is.

    `worker` names this process, unique for each boot; on SQLite, where one engine is alone (see
    `Store.take_place`), the executor's name is fixed, so that a restart takes up its own work at once.
    On PostgreSQL workers watch each other: the actions of one whose heartbeat is older than 3 seconds
    go to the others. `at_once` actions are carried out side by side; the history of finished ones is
    kept for `keep` seconds.
    """

    def __init__(
        self, store: Store, carry_out: CarryOut, *, worker: str, at_once: int = 32, keep: float = 3600.0
    ) -> None:
        self._store = store
        self._carry_out = carry_out
        self._worker = worker
        self._executor = "crossfade" if store.is_sqlite else worker
        self._at_once = at_once
        self._keep = keep
        self._submitted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin: Callable[[str], None] = self._submitted.put
        self._running: set[str] = set()
        self._starting: set[str] = set()
        self._missed: set[str] = set()
        self._carried: set[Future[Outcome]] = set()

    async def start(self) -> None:
        """Launch DBOS (≈ 0.3 s to import, ≈ 0.1 s to launch); it takes up what this executor left."""
        if not _only_one.acquire(blocking=False):
            message = "DBOS is a singleton: this process runs an engine already"
            raise RuntimeError(message)
        self._loop = asyncio.get_running_loop()
        self._stopping.clear()
        try:
            await asyncio.to_thread(self._launch)
        except BaseException:
            await self.stop()
            raise
        for work in (self._submit_forever, self._care_forever):
            thread = threading.Thread(target=work, name=f"crossfade{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def submit(self, actions: Iterable[Action]) -> None:
        """Hand over, and return at once: a database that is away for a while holds nobody up."""
        for action in actions:
            self._submitted.put(action.id)

    async def recover(self) -> None:
        """Submit what the outbox holds."""
        await self.submit(await asyncio.to_thread(self._take_up))

    async def stop(self) -> None:
        """End within about a second."""
        if self._loop is None:
            return
        self._loop = None
        self._stopping.set()
        self._submitted.put(None)
        for carried in tuple(self._carried):
            carried.cancel()
        await asyncio.to_thread(self._shut_down)
        _only_one.release()

    # -- DBOS ----------------------------------------------------------------------------------------

    def _launch(self) -> None:
        self._store.heartbeat(self._worker, self._executor)  # before anything is ours: others must not take it
        _quieten()
        from dbos import DBOS, SetWorkflowID  # noqa: PLC0415 - slow to import: only where actions run

        dbos_type: type[DBOS] = DBOS
        dbos_type(
            config={
                "name": "crossfade",
                "system_database_url": self._store.url,
                "application_version": APPLICATION_VERSION,
                "executor_id": self._executor,
                "serializer": _json(),
                "enable_otlp": False,
                "log_level": "INFO" if _log.isEnabledFor(logging.DEBUG) else "WARNING",
                "notification_listener_polling_interval_sec": 0.5,  # nothing is notified; `stop` waits for it
                "sys_db_pool_size": 10,
            }
        )

        @dbos_type.workflow(name="carry-out", max_recovery_attempts=None)
        def workflow(action_id: str) -> None:
            # Not a coroutine: what DBOS hands to its own loop while that ends is waited for until the end of time.
            self._carry_out_durably(action_id)

        def begin(action_id: str) -> None:
            with SetWorkflowID(action_id):
                if len(self._running | self._starting) < self._at_once:
                    self._starting.add(action_id)
                    dbos_type.start_workflow(workflow, action_id)
                else:
                    dbos_type.enqueue_workflow(QUEUE, workflow, action_id)

        self._begin = begin
        dbos_type.launch()
        dbos_type.register_queue(
            QUEUE, worker_concurrency=self._at_once, polling_interval_sec=_POLL, on_conflict="always_update"
        )

    def _shut_down(self) -> None:
        from dbos import DBOS  # noqa: PLC0415 - as above

        DBOS.destroy(destroy_registry=True)
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._threads.clear()

    def _carry_out_durably(self, action_id: str) -> None:
        """The workflow, in a thread of DBOS's. No step is recorded: the outbox holds what it led to."""
        if action_id in self._running:
            return  # taken for lost and started again, while it is under way here all the same
        self._running.add(action_id)
        self._starting.discard(action_id)
        try:
            action = self._store.wanted_action(action_id)
            if action is not None:
                self._finish(action_id, self._in_our_loop(action))
        finally:
            self._running.discard(action_id)

    def _in_our_loop(self, action: Action) -> Outcome:
        loop = self._loop
        if loop is None or loop.is_closed():
            raise _EndingError
        carried = asyncio.run_coroutine_threadsafe(outcome_of(self._carry_out, action), loop)
        self._carried.add(carried)
        try:
            if self._stopping.is_set():
                carried.cancel()  # `stop` may have come by before this one was there to be cancelled
            return carried.result()
        except CancelledError:
            raise _EndingError from None
        finally:
            self._carried.discard(carried)

    def _finish(self, action_id: str, outcome: Outcome) -> None:
        pause = 0.05
        while True:
            try:
                self._store.finish_action(action_id, outcome)
            except CrossfadeError as error:
                if not error.retry:
                    raise
                if self._stopping.wait(pause):
                    raise _EndingError from None
                pause = min(pause * 2, 1.0)
            else:
                return

    # -- threads of our own --------------------------------------------------------------------------

    def _submit_forever(self) -> None:
        while (action_id := self._submitted.get()) is not None:
            try:
                self._begin(action_id)
            except Exception as error:  # noqa: BLE001 - the action is in the outbox: the next sweep submits it again
                _log.warning("action %s could not be started: %s", action_id, error)

    def _care_forever(self) -> None:
        """Beat, sweep, prune; a database that is away for a while is nothing to die of."""
        next_prune = time.monotonic()
        while not self._stopping.wait(_BEAT):
            try:
                self._store.heartbeat(self._worker, self._executor)
                self._starting.clear()  # what has not begun within a beat never will: it had begun before
                self._sweep()
                if time.monotonic() >= next_prune:
                    next_prune = time.monotonic() + _PRUNE
                    self._prune()
            except Exception as error:  # noqa: BLE001 - see above
                if not self._stopping.is_set():
                    _log.warning("the care of actions was interrupted: %s", error)

    def _sweep(self) -> None:
        """See to it that every action in the outbox is under way somewhere."""
        from dbos import DBOS  # noqa: PLC0415 - as above

        wanted = [action.id for action in self._store.wanted_actions() if action.id not in self._running][:_BATCH]
        if not wanted:
            self._missed.clear()
            return
        alive = {row.executor for row in self._store.workers() if row.age <= _DEAD_AFTER} - {self._executor}
        found = DBOS.list_workflows(workflow_ids=wanted, load_input=False, load_output=False)
        statuses = {each.workflow_id: each for each in found}
        missed = set()
        for action_id in wanted:
            status = statuses.get(action_id)
            if status is None:
                self._submitted.put(action_id)
            elif status.status in _ENDED:
                self._start_over(action_id)
            elif status.status == "PENDING" and status.executor_id not in alive:
                missed.add(action_id)
        # Ours may have begun or ended just now: only what is missed twice is lost.
        for action_id in missed:
            if statuses[action_id].executor_id != self._executor or action_id in self._missed:
                self._take_over(action_id, statuses[action_id].executor_id)
        self._missed = missed

    def _take_up(self) -> list[Action]:
        """What the outbox holds; on SQLite, what we left ourselves is moved to our queue, the one that is quick."""
        from dbos import DBOS  # noqa: PLC0415 - as above

        wanted = self._store.wanted_actions()
        if self._store.is_sqlite and wanted:
            left = DBOS.list_workflows(
                workflow_ids=[action.id for action in wanted if action.id not in self._running],
                status=["PENDING", "ENQUEUED"],
                load_input=False,
                load_output=False,
            )
            DBOS.resume_workflows([each.workflow_id for each in left], queue_name=QUEUE)
        return wanted

    def _take_over(self, action_id: str, executor: str | None) -> None:
        """Give a dead executor's action to whoever dequeues it first."""
        from dbos import DBOS  # noqa: PLC0415 - as above

        now = DBOS.get_workflow_status(action_id)
        if now is None or now.status != "PENDING" or now.executor_id != executor or action_id in self._running:
            return  # somebody was faster
        _log.warning("action %s was cut short with executor %s: carrying it out again", action_id, executor)
        DBOS.resume_workflows([action_id], queue_name=QUEUE)

    def _start_over(self, action_id: str) -> None:
        """DBOS says it has ended, and the outbox knows no outcome: begin anew under the same id."""
        from dbos import DBOS  # noqa: PLC0415 - as above

        if self._store.wanted_action(action_id) is not None:
            _log.warning("action %s ended without an outcome: carrying it out again", action_id)
            DBOS.delete_workflows([action_id])
            self._submitted.put(action_id)

    def _prune(self) -> None:
        from dbos import DBOS  # noqa: PLC0415 - as above

        for row in self._store.workers():
            if row.age > self._keep and row.worker != self._worker:
                self._store.leave(row.worker)
        before = (datetime.now(UTC) - timedelta(seconds=self._keep)).isoformat()
        while not self._stopping.is_set():
            old = DBOS.list_workflows(
                status=list(_ENDED), completed_before=before, limit=_BATCH, load_input=False, load_output=False
            )
            DBOS.delete_workflows([each.workflow_id for each in old])
            if len(old) < _BATCH:
                return


_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class _ToDebug(logging.Handler):
    """DBOS's own words are for those who look for them, not for the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.debug("%s", record.getMessage(), exc_info=record.exc_info)


def _quieten() -> None:
    """Come before DBOS, which prints to the terminal where nobody handles its log yet."""
    log = logging.getLogger("dbos")
    log.propagate = False
    if not any(isinstance(handler, _ToDebug) for handler in log.handlers):
        log.handlers[:] = [_ToDebug()]


def _json() -> Any:
    """JSON in place of DBOS's pickle: what stands in a database never becomes code."""
    from dbos import Serializer  # noqa: PLC0415 - slow to import

    class Json(Serializer):
        def serialize(self, data: Any) -> str:
            return orjson.dumps(data, default=str).decode()

        def deserialize(self, serialized_data: str) -> Any:
            return orjson.loads(serialized_data)

        def name(self) -> str:
            return "crossfade-json"

    return Json()
