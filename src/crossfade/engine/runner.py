"""The ActionRunner port: how a decided action comes to be carried out, once, whatever crashes.

An action is written into the outbox in the same transaction as the decision that wants it, then handed to a
runner. A runner may lose everything it has in memory: `recover` asks the outbox again. Carrying out is
at-least-once, so `carry_out` is idempotent; each id is started once unless a crash cut it short.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from crossfade.core.errors import CrossfadeError
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.store import Store

CarryOut = Callable[[Action], Awaitable[Outcome]]
"""Makes the world as an action wants it, and tells how that went. Must be idempotent."""

_log = logging.getLogger(__name__)


class ActionRunner(Protocol):
    """Carries out actions and stores their outcomes, which wakes the rollouts that wait for them."""

    async def start(self) -> None:
        """Be ready to carry out; takes up what this executor was carrying out when it crashed."""
        ...

    async def submit(self, actions: Iterable[Action]) -> None:
        """Have `actions`, which are in the outbox already, carried out, each once however often it is submitted."""
        ...

    async def recover(self) -> None:
        """Submit what the outbox holds: for a crash between the commit of a decision and `submit`."""
        ...

    async def stop(self) -> None:
        """End promptly. What is under way is cut short, stays in the outbox and is carried out later."""
        ...


async def outcome_of(carry_out: CarryOut, action: Action) -> Outcome:
    """Carry out `action`; an error becomes an outcome, so that no action stays unanswered."""
    try:
        return await carry_out(action)
    except CrossfadeError as error:
        return Outcome(ok=False, error=_in_one_line(error), retry=error.retry)
    except Exception as error:  # noqa: BLE001 - whatever an adapter did wrong, the rollout must hear of it
        _log.warning("action %s failed in a way that was not foreseen: %r", action.id, error)
        _log.debug("where it failed", exc_info=True)
        return Outcome(ok=False, error=f"{type(error).__name__}: {error}", retry=True)


def _in_one_line(error: CrossfadeError) -> str:
    where = f" ({error.where})" if error.where else ""
    return f"{error.what}{where}"


class InlineRunner:
    """Carries out every action at once, in the order it is submitted, within `submit`.

    For virtual clocks and tests: nothing runs beside the caller, so a run is the same every time.
    """

    def __init__(self, store: Store, carry_out: CarryOut) -> None:
        self._store = store
        self._carry_out = carry_out
        self._started: set[str] = set()

    async def start(self) -> None:
        """Nothing to prepare."""
        self._started.clear()

    async def submit(self, actions: Iterable[Action]) -> None:
        """Carry out, and return once the outcomes are stored."""
        for action in actions:
            if action.id in self._started or self._store.wanted_action(action.id) is None:
                continue
            self._started.add(action.id)
            self._store.finish_action(action.id, await outcome_of(self._carry_out, action))

    async def recover(self) -> None:
        """Submit what the outbox holds."""
        await self.submit(self._store.wanted_actions())

    async def stop(self) -> None:
        """Nothing runs outside `submit`."""
