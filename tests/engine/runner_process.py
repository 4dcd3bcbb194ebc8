"""A process of its own that carries out what the outbox holds: `runner_process.py URL WORKER FOLDER`.

Carrying out `x` appends to FOLDER/x, then waits while FOLDER/hold is there. Ends with SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from crossfade.engine.dbos_runner import DbosRunner
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.store import Store


async def main(url: str, worker: str, folder: Path) -> None:
    """Carry out until interrupted."""

    async def carry_out(action: Action) -> Outcome:
        with (folder / action.id).open("a") as file:
            file.write(f"{os.getpid()}\n")
        while (folder / "hold").exists():  # noqa: ASYNC110 - another process takes it away
            await asyncio.sleep(0.01)
        return Outcome(ok=True)

    store = Store.open(url)
    runner = DbosRunner(store, carry_out, worker=worker)
    await runner.start()
    await runner.recover()
    (folder / f"{worker}.ready").touch()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.stop()
        store.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
