"""The engine under load: looks, commands, failover; the real worker on real databases.

    python benchmarks/engine.py [--rollouts 100,1000,5000] [--seconds 30] [--databases sqlite,postgres] [--json]

Every rollout is a canary at 5 % that is watched for hours and looked at every 10 s; each look reads its instances, its
router and a new bucket of counts (all in memory, so that only the engine is measured), judges, decides and writes.

- `first_look_per_s`: looks per second while all rollouts are due at once.
- `busy`: share of one core that the worker's process uses once every rollout is looked at every 10 s; `cpu_ms`: for one look.
- `command_p50_ms`, `command_p99_ms`: from another process's `pause` or `resume` until it reads the answer, under that load.
- `failover`: kill -9 of a worker in the middle of an action, until another worker has carried it out (PostgreSQL), or until
  a restarted one has answered a command (SQLite; its start included).
- `virtual`: 24 hours of one rollout, with a pause and a resume, looked at every 10 s: deciding alone, and the whole engine.

PostgreSQL is a server of its own on loopback, or the one of DATABASE_URL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from crossfade.core import garbage
from crossfade.core.clock import SystemClock
from crossfade.engine.worker import Worker
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Terms, begin
from crossfade.store import AuditRow, Store, Turn
from engine_days import day_of_deciding, day_of_everything
from engine_fakes import BUCKET, LONG_WATCH, MemorySites, at_five_percent, deployment_of, fill, trust

GOALS = {"busy": 0.5, "cpu_ms": 1.0, "command_p50_ms": 50.0, "command_p99_ms": 500.0}
Row = dict[str, Any]


# -- under load -------------------------------------------------------------------------------------------


async def serve(url: str, count: int, hold: Path | None) -> None:
    """A worker's process: create `count` rollouts (0: those that are there), then work, answering on stdin."""
    garbage.serving()  # as `crossfade worker` does
    sites = MemorySites(SystemClock(), hold)
    store = Store.open(url)
    begun = [
        (await at_five_percent(sites, deployment, f"ro_{number}", store.now()), deployment)
        for number, deployment in enumerate(deployment_of(f"c{number}", LONG_WATCH) for number in range(count))
    ]
    fill(store, begun)
    store.close()
    written = 0
    write = Store.write

    def counted(self: Store, turns: list[Turn]) -> frozenset[str]:
        nonlocal written
        done = write(self, turns)
        written += len(done)
        return done

    Store.write = counted  # type: ignore[assignment,method-assign]  # the benchmark counts looks
    worker = Worker(Path(tempfile.gettempdir()), url, name=f"bench-{os.getpid()}", sites=sites)
    loop = asyncio.get_running_loop()

    def answer() -> None:
        line = sys.stdin.readline()
        if line:
            print(json.dumps({"written": written, "cpu": time.process_time(), "at": time.monotonic()}), flush=True)
        else:
            worker.stop()

    loop.add_reader(sys.stdin, answer)
    print("ready", flush=True)
    await worker.run()


class Served:
    """A worker's process, and questions to it."""

    def __init__(self, url: str, count: int, hold: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", url, str(count), str(hold or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError
        self._questions, self._answers = self.process.stdin, self.process.stdout
        self._line()

    def ask(self) -> dict[str, float]:
        """How many looks were written, and the CPU seconds used so far."""
        self._questions.write("?\n")
        self._questions.flush()
        answer: dict[str, float] = json.loads(self._line())
        return answer

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> None:
        """Let it end by itself."""
        self.process.communicate(timeout=60)

    def _line(self) -> str:
        line = self._answers.readline()
        if not line:
            message = "the worker's process has ended"
            raise RuntimeError(message)
        return line


def ask_and_wait(store: Store, rollout_id: str, verb: Any) -> float:
    """Seconds until the answer to a command can be read."""
    after, begun = store.head().count, time.perf_counter()
    command = store.command(rollout_id, verb, "benchmark")
    while True:
        for row in store.events(after=after, rollout=rollout_id):
            if row.kind.startswith("command.") and row.kind != "command.asked" and row.data["serial"] == command.serial:
                return time.perf_counter() - begun
        store.wait_for_events(store.head().count, 0.05)


def load(database: str, url: str, count: int, seconds: float) -> Row:
    """One worker and `count` rollouts."""
    served = Served(url, count)
    store = Store.open(url)
    while (begun := served.ask())["written"] == 0:
        time.sleep(0.02)
    while (now := served.ask())["written"] < count:
        time.sleep(0.02)
    first = (
        (now["written"] - begun["written"]) / (now["at"] - begun["at"]) if now["written"] > begun["written"] else None
    )
    time.sleep(BUCKET)
    before = served.ask()
    latencies: list[float] = []
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        rollout = f"ro_{number * 7919 % count}"
        latencies.append(ask_and_wait(store, rollout, "pause"))
        latencies.append(ask_and_wait(store, rollout, "resume"))
        number += 1
        time.sleep(0.2)
    after = served.ask()
    served.end()
    if not store.verify_audit().sound:
        message = "the record does not verify"
        raise RuntimeError(message)
    store.close()
    looks, cpu = after["written"] - before["written"], after["cpu"] - before["cpu"]
    return {
        "what": "load",
        "database": database,
        "rollouts": count,
        "first_look_per_s": first,
        "looks_per_s": looks / (after["at"] - before["at"]),
        "busy": cpu / (after["at"] - before["at"]),
        "cpu_ms": cpu / looks * 1000,
        "command_p50_ms": statistics.median(latencies) * 1000,
        "command_p99_ms": statistics.quantiles(latencies, n=100)[98] * 1000,
        "commands": len(latencies),
    }


# -- failover ---------------------------------------------------------------------------------------------


def failover(database: str, url: str) -> Row:
    """Kill a worker in the middle of starting instances; how long until it has been done all the same."""
    with tempfile.TemporaryDirectory() as folder:
        hold = Path(folder) / "hold"
        hold.touch()
        store = Store.open(url)
        deployment = deployment_of("api", LONG_WATCH)
        trust(store, deployment)
        first = Served(url, 0, hold)
        second = Served(url, 0, hold) if database == "postgres" else None
        plan = compile_plan(LONG_WATCH, "api", "production", "1.1.0", previous="1.0.0")
        rollout = begin("ro", plan, Terms.of(deployment), slot="green", fence=0, salt=7, now=store.now())
        begun = hold.with_suffix(".begun")
        store.create(rollout, deployment, "benchmark")
        _until(begun.exists)
        killed = first if second is None or _owner(store) in ("crossfade", _executor(store, first)) else second
        at = time.perf_counter()
        killed.kill()
        hold.unlink()
        survivor = second if killed is first else first
        if survivor is None:
            survivor = Served(url, 0, hold)
        _until(lambda: any(_is_done(row, "start") for row in store.events(rollout="ro")))
        acted = time.perf_counter() - at
        ask_and_wait(store, "ro", "pause")
        both = time.perf_counter() - at
        survivor.end()
        store.close()
    name = "another worker" if second is not None else "the same, restarted"
    return {"what": "failover", "database": database, "by": name, "action_s": acted, "command_s": both}


def _is_done(row: AuditRow, kind: str) -> bool:
    return row.kind == "action.done" and str(row.data["id"]).endswith(f":{kind}")


def _executor(store: Store, served: Served) -> str:
    return next(row.executor for row in store.workers() if f"-{served.process.pid}-" in row.worker)


def _owner(store: Store) -> str:
    """Which executor has the action that is under way."""
    from dbos import DBOSClient  # noqa: PLC0415 - slow to import

    client = DBOSClient(system_database_url=store.url)
    found = client.list_workflows(status="PENDING", load_input=False, load_output=False)
    client.destroy()
    return str(found[0].executor_id)


def _until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 120
    while not condition():
        if time.monotonic() > give_up:
            message = "it never came true"
            raise TimeoutError(message)
        time.sleep(0.005)


# -- all of it --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def addresses(database: str) -> Iterator[Callable[[], str]]:
    """Hands out empty databases."""
    with tempfile.TemporaryDirectory() as folder:
        if database == "sqlite":
            number = iter(range(1000))
            yield lambda: f"sqlite:///{folder}/{next(number)}.db"
            return
        from real_postgres import PostgresServer  # noqa: PLC0415 - only where it is asked for

        server = PostgresServer()
        server.start()
        try:
            yield lambda: server.url(server.create_database())
        finally:
            server.close()


def rows(databases: list[str], counts: list[int], seconds: float) -> Iterator[Row]:
    for database in databases:
        with addresses(database) as fresh:
            for count in counts:
                yield load(database, fresh(), count, seconds)
            yield failover(database, fresh())
    yield asyncio.run(day_of_deciding())
    yield asyncio.run(day_of_everything())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", default="100,1000,5000")
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=3, metavar=("URL", "COUNT", "HOLD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        url, count, hold = arguments.serve
        asyncio.run(serve(url, int(count), Path(hold) if hold else None))
        return
    counts = [int(each) for each in arguments.rollouts.split(",") if each]
    found = []
    for row in rows([each for each in arguments.databases.split(",") if each], counts, arguments.seconds):
        found.append(row)
        if not arguments.json:
            print("  ".join(f"{name}={_cell(value)}" for name, value in row.items()), flush=True)
    if arguments.json:
        print(json.dumps({"rows": found, "goals": _goals(found)}))
    else:
        for goal in _goals(found):
            print("  ".join(_cell(value) for value in goal.values()))


def _goals(found: list[Row]) -> list[Row]:
    """What the rows are held to."""
    checks = [
        (f"{row['database']}, {row['rollouts']} rollouts: {name}", row[name], goal)
        for row in found
        if row["what"] == "load"
        for name, goal in GOALS.items()
    ]
    limits = {"postgres": 6.0, "sqlite": 3.0}
    checks += [
        (f"{row['database']}: failover, s", row["action_s"], limits[row["database"]])
        for row in found
        if row["what"] == "failover"
    ]
    checks += [
        (f"24 h of {row['part']}, s", row["real_s"], 0.5)
        for row in found
        if row["what"] == "virtual" and row["part"] == "decide"
    ]
    return [{"goal": name, "asked": goal, "measured": got, "met": got <= goal} for name, got, goal in checks]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
