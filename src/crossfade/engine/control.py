"""The product's verbs over what is stored: what the CLI (and later the API) calls.

Nothing here touches the world: a verb is written down, and a worker carries it out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from crossfade.config.model import Deployment
from crossfade.config.strategies import Direct
from crossfade.core.errors import BadInputError
from crossfade.core.ids import make_id, random_entropy
from crossfade.engine.address import database_address
from crossfade.engine.beginning import created, in_force, plan_of, rollout_of
from crossfade.engine.standing_aside import under_way
from crossfade.engine.views import View, Views
from crossfade.engine.waiting import settle
from crossfade.engine.workloads import newest_workload
from crossfade.rollouts.plan import Plan
from crossfade.rollouts.rollout import Command, Event, Verb
from crossfade.store import Incident, Store, Verification, WaitingRow

_OVERTAKEN = ("rollout.active", "rollout.outdated")


class Control(Views):
    """Everything that a person may ask of Crossfade, on one store."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.store = store

    @classmethod
    def open(cls, state: Path, database_url: str | None = None) -> Self:
        """Open the store of a project: `database_url`, else a SQLite file in `state`."""
        if database_url is None:
            state.mkdir(parents=True, exist_ok=True)
        return cls(Store.open(database_address(state, database_url)))

    # -- going forward -------------------------------------------------------------------------------

    def plan(self, deployment: Deployment, version: str) -> Plan:
        """What `deploy` would do, from what is trusted there now."""
        return plan_of(deployment, version, self.store.target(deployment.component, deployment.environment))

    def there(self, deployment: Deployment, version: str) -> View | None:
        """The finished rollout that brought exactly this: the version, how it is run, how many; None where it is not so."""
        target = self.store.target(deployment.component, deployment.environment)
        row = in_force(self.store, target, deployment, version)
        return None if row is None else self.view(row.rollout.id)

    def deploy(self, deployment: Deployment, version: str, *, actor: str, reason: str = "") -> View:
        """Write down a new rollout; BadInputError `rollout.active` while another one is under way.

        Where exactly this is trusted already (the version, how it is run, how many), there is nothing to do:
        the finished rollout that brought it is the answer. So a job that is run twice does its work once.
        """
        there = self.there(deployment, version)
        if there is not None:
            return there
        now, target = self.store.now(), self.store.target(deployment.component, deployment.environment)
        rollout = rollout_of(make_id("ro", now, random_entropy()), deployment, version, target, now=now)
        self.store.create(rollout, deployment, actor, [created(rollout, actor=actor, reason=reason)])
        return self.view(rollout.id)

    def release(self, deployment: Deployment, version: str, *, actor: str, reason: str = "") -> View | WaitingRow:
        """Roll out, by the environment's policy: what meets another rollout is refused, waits, or takes its place.

        A release that waits is written down; a worker starts it. The same version again is the same release.
        """
        policy, component, environment = deployment.settings.supersede, deployment.component, deployment.environment
        if policy == "reject":
            return self.deploy(deployment, version, actor=actor, reason=reason)
        active, ahead = under_way(self.store, component, environment), self.store.waiting(component, environment)
        if active is not None and not ahead and active.plan.version == version and active.turned_at is None:
            return self.view(active.id)
        if active is None and not ahead:
            try:
                return self.deploy(deployment, version, actor=actor, reason=reason)
            except BadInputError as error:
                if error.code not in _OVERTAKEN:
                    raise
        self.plan(deployment, version)  # what could never start need not wait
        now = self.store.now()
        asked = WaitingRow(
            make_id("ro", now, random_entropy()), component, environment, version, actor, reason, now, deployment
        )
        waits = self.store.line.join(asked, alone=policy == "latest")
        settle(self.store)
        return waits if self.store.rollout(waits.id) is None else self.view(waits.id)

    def withdraw(self, waits: WaitingRow, *, actor: str, reason: str = "") -> bool:
        """Take a release out of the line; False where it waits no longer."""
        text = reason or f"{waits.version} is taken out of the line"
        return self.store.line.leave(waits, Event("release.withdrawn", text, actor))

    # -- while it runs, and back ---------------------------------------------------------------------

    def command(self, rollout_id: str, verb: Verb, *, actor: str, reason: str = "") -> Command:
        """Ask something of a rollout; it is answered by an event `command.done` or `command.refused`."""
        return self.store.command(rollout_id, verb, actor, reason)

    def rollback(self, deployment: Deployment, *, to: str | None, actor: str, reason: str = "") -> View:
        """Go back: an active rollout turns; after its end, the version before (or `to`) is rolled out.

        An active rollout can only turn to the version that it came from: for another one, `to` asks for a
        rollout of its own once this one has ended.
        """
        current = self.current(deployment.component, deployment.environment)
        if current is not None and not current.rollout.finished:
            previous = current.rollout.plan.previous
            if to not in (None, previous):
                raise BadInputError(
                    "rollback.active",
                    f"the rollout under way can only return to {previous or 'nothing'}, not to {to}",
                    where=current.rollout.id,
                    next=f"crossfade abort first, then crossfade rollback --to {to}",
                )
            self.command(current.rollout.id, "rollback", actor=actor, reason=reason)
            return self.view(current.rollout.id)
        return self._roll_out_again(deployment, to=to, actor=actor, reason=reason)

    def _roll_out_again(self, deployment: Deployment, *, to: str | None, actor: str, reason: str) -> View:
        target = self.target(deployment.component, deployment.environment)
        version = to or target.previous
        where = f"{deployment.component} in {deployment.environment}"
        if version is None:
            raise BadInputError(
                "rollback.nothing", "there is no earlier version to go back to", where=where, next="crossfade history"
            )
        if version == target.version:
            raise BadInputError(
                "rollback.there", f"{version} is the trusted version already", where=where, next="crossfade status"
            )
        workload = newest_workload(self.store, deployment.component, deployment.environment, version)
        if workload is None:
            raise BadInputError(
                "rollback.unknown-version",
                f"{version} never had all of the traffic",
                where=where,
                next="name one of: crossfade history",
            )
        strategy = Direct(smoke=deployment.settings.strategy.smoke)
        settings = deployment.settings.model_copy(update={"strategy": strategy})
        back = deployment.model_copy(update={"workload": workload, "settings": settings})
        return self.deploy(back, version, actor=actor, reason=reason or f"back to {version}")

    def hurry(self, component: str, environment: str) -> None:
        """Have what is trusted in a target looked after at once, where no rollout is under way."""
        self.store.keeping.hurry(component, environment)

    def retire(self, component: str, environment: str, *, actor: str, reason: str = "") -> str:
        """Take a target out of service: visitors lose it, and all of its instances end. The version that ran there.

        BadInputError `rollout.active` while a rollout is under way, `target.nothing` where nothing was released.
        """
        version = self.store.keeping.retire(component, environment, actor=actor, reason=reason)
        if version is None:
            raise BadInputError(
                "target.nothing",
                f"nothing of {component} is in service in {environment}",
                where=f"{component} in {environment}",
                next="crossfade status",
            )
        return version

    def is_retiring(self, component: str, environment: str) -> bool:
        """Whether what is there has still to end."""
        return self.store.keeping.is_retiring(component, environment)

    def incident(self, component: str, environment: str) -> Incident | None:
        """What the worker that looks after a target knows to be missing there."""
        return self.store.keeping.incident(component, environment)

    def verify_audit(self) -> Verification:
        """Check the whole record."""
        return self.store.verify_audit()
