"""The engine in a thread of its own, so that neither the view nor the load ever waits for it, nor it for them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from crossfade.engine.worker import Worker

_PATIENCE = 20.0


class Engine:
    """One worker on the state in `state`, from `start` to `stop`."""

    def __init__(self, state: Path) -> None:
        self.failure: BaseException | None = None
        self._state = state
        self._ending = threading.Event()
        # A daemon: if it hangs, what it started is still ended, and the process still ends.
        self._thread = threading.Thread(target=self._run, name="crossfade-engine", daemon=True)

    def start(self) -> None:
        """Begin to carry rollouts."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still carries."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the looks under way, then end; whatever is left is taken up by nobody."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def _run(self) -> None:
        try:
            asyncio.run(Worker(self._state).run(until=self._ending.is_set))
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits for it
            self.failure = error
