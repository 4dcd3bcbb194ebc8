"""What Crossfade remembers: rollouts, who may look at them now, and the record of what was done.

Every method of `Store` is one transaction on SQLite or PostgreSQL; all SQL stands in `queries` and beside it. Who only
looks opens the same records by `open_records(url)`, at a fraction of the cost.

    store = Store.open("sqlite:///state.db")            # or postgresql://…; migrates where needed
    store.put_release("api", "1.1.0", workload, digest)
    store.create(rollout, deployment, "ada", events)    # one active rollout for each target

    store.take_place()                                  # SQLite: one engine for each file
    while store.wait_for_work(timeout=1.0) or True:     # returns at once when somebody asks something
        for claim in store.claim("worker-1", limit=100, lease=5.0):
            ...                                         # observe, decide
        store.write([Turn(rollout, claim.lease_fence, wake_at, actions=…, events=…, seen=…, samples=…, target=…)])
    store.leave("worker-1")

    store.command(rollout_id, "pause", "ada", "lunch")  # never lost: what wakes a rollout during a look
    store.line.join(waiting_id, deployment, "1.2.0", …)  # a release that waits for its target
    store.line.start(waiting_id, rollout, deployment, …) # out of the line and under way, in one transaction
    store.finish_action(action_id, Outcome(ok=True))    # keeps it due at once; the first outcome stays
    store.wanted_actions()                              # the outbox: what is still to be carried out

    for kept in store.keeping.claim("worker-1", limit=10, lease=30.0):  # what no rollout has, to be looked after
        store.keeping.done(kept, wake_in=10.0, events=…)

    store.rollouts(active=True); store.rollout(rollout_id); store.target("api", "production")
    store.events(after=120); store.wait_for_events(after=120, timeout=1.0)
    store.samples(rollout_id); store.verify_audit(anchor=Head(120, "ab…"))
    store.publications.begin(new_id, items, actor="ada", revision="5114f85…")  # or go on with the unfinished one
    store.publications.note(publication.id, item, standing, actor="ada")       # what was read back, step by step

    store.heartbeat("worker-1", "executor-1"); store.workers(); store.now(); store.close()

A claim is a lease with a fence: a worker that was too slow writes nothing. `write` gives the lease back.
"""

from typing import TYPE_CHECKING, Any

from crossfade.store.audit import AuditRow, Fault, Head, Verification
from crossfade.store.looking import open_records
from crossfade.store.records import Records
from crossfade.store.rows import Claim, Incident, Kept, RolloutRow, Target, Turn, WaitingRow, WorkerRow

if TYPE_CHECKING:
    from crossfade.store.store import Store

__all__ = [
    "AuditRow",
    "Claim",
    "Fault",
    "Head",
    "Incident",
    "Kept",
    "Records",
    "RolloutRow",
    "Store",
    "Target",
    "Turn",
    "Verification",
    "WaitingRow",
    "WorkerRow",
    "open_records",
]


def __getattr__(name: str) -> Any:
    """`Store` comes with all that writes, so it is imported when it is first asked for."""
    if name == "Store":
        from crossfade.store.store import Store  # noqa: PLC0415 - slow to import

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
