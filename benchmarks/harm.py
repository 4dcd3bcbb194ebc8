"""What a bad release costs, live: the same rollout on Caddy, judged by ours and by its peers' judges.

    python benchmarks/harm.py [--only ours,argo] [--errors 1,5,100] [--seconds 375] [--rps 200] [--seed 1] [--json]

Each row is a real rollout on this machine: two instances of each version as processes, Caddy, the engine, and open-loop
HTTP load from a process of its own. A version that fails some of its requests is released at 5 % of the traffic, and stays there
for `--seconds` unless somebody takes it back. `failed` are its failed requests, `seconds` the time from the first of them to the
last, both as the visitors saw them; `late` are requests that it answered after the data plane had confirmed that it gets none.
A judge that has not decided within `--seconds` has a row that says so: its cost until then.

Ours is the shipped judge with its defaults (buckets of 5 s, a warm-up of 20 s). `ours, warm-up 0` is the same for a
version that needs none, which is what every peer assumes. A peer's judge reads the counts of both versions from the same
router, once a second, as its own documentation says it would (`benchmarks/judge.py` has them word for word), and its verdict is
the command `abort`; the engine's own judge is switched off then, its guard too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossfade.demo.account import bad_span, started_after
from crossfade.demo.engine import Engine
from crossfade.demo.scene import Pace, Scene, clear, set_up
from crossfade.demo.visitors import Visitors
from crossfade.engine.control import Control
from crossfade.engine.views import View
from crossfade.traffic.port import Counts, Slot
from judge_peers import PEERS
from judge_traffic import LENGTH, Traffic

OLD, NEW = "1.0.0", "1.1.0"
SETTLE = 6.0
LONGEST_WAY = 60.0
OURS = {"ours": 20.0, "ours, warm-up 0": 0.0}
Judge = Callable[[Traffic], float | None]


@dataclass(frozen=True)
class Row:
    """What one rollout cost. `seconds` and `failed` are those until the end where it was not taken back."""

    judge: str
    errors: float
    taken_back: bool
    seconds: float
    failed: int
    late: int | None
    dropped: int


def pace(judge: str, seconds: float) -> Pace:
    """A rollout that stays at 5 % for `seconds`, with the shipped judge's own defaults or without it."""
    watch = math.ceil(seconds + 30)
    return Pace(
        steps=("5%", "25%"),
        watch=watch,
        min_watch=watch,
        max_extension=10,
        final_watch=1,
        bucket=5.0,
        warmup=OURS.get(judge, 20.0),
        guard_window=10.0,
        judged=judge in OURS,
    )


async def play(judge: str, errors: float, *, rps: float, seed: int, seconds: float) -> Row:
    """One rollout of a version of which `errors` (a ratio) of its requests fail."""
    with tempfile.TemporaryDirectory(prefix="crossfade-harm-") as folder:
        releases = {OLD: (), NEW: ("--error-rate", repr(errors))}
        scene = set_up(Path(folder), pace(judge, seconds), releases, seed=seed)
        control, engine = Control.open(scene.state), Engine(scene.state)
        visitors = Visitors(scene.address, rps=rps, seed=seed, out=scene.folder / "visits.jsonl")
        try:
            engine.start()
            await finished(control, control.deploy(scene.deployment, OLD, actor="harm"), 60)
            visitors.start()
            await asyncio.sleep(SETTLE)
            view = control.deploy(scene.deployment, NEW, actor="harm")
            decided = await watch(judge, control, scene, view, seconds)
            until = time.time()
            if not decided:
                control.command(view.rollout.id, "abort", actor="harm", reason="the time is over")
            view = await finished(control, view, LONGEST_WAY)
        finally:
            await asyncio.to_thread(visitors.stop)
            await asyncio.to_thread(engine.stop)
            control.close()
            await clear(scene)
    return row(judge, errors, view, visitors, decided=decided, until=math.inf if decided else until)


def row(judge: str, errors: float, view: View, visitors: Visitors, *, decided: bool, until: float) -> Row:
    """The account of one rollout."""
    seen = [s for s in visitors.seen if s.at <= until]
    cleared = view.rollout.cleared_at
    return Row(
        judge=judge,
        errors=errors,
        taken_back=decided,
        seconds=bad_span(seen, NEW) or 0.0,
        failed=sum(1 for s in seen if s.failed and s.version == NEW),
        late=None if cleared is None else started_after(visitors.seen, NEW, cleared),
        dropped=sum(1 for s in visitors.seen if s.dropped),
    )


async def finished(control: Control, view: View, within: float) -> View:
    """The rollout at its end."""
    give_up = time.monotonic() + within
    while not view.rollout.finished:
        if time.monotonic() > give_up:
            sys.exit(f"{view.rollout.id} did not end: {view.rollout.status} {view.rollout.reason}")
        await asyncio.sleep(0.2)
        view = control.view(view.rollout.id)
    return view


async def watch(judge: str, control: Control, scene: Scene, view: View, seconds: float) -> bool:
    """Whether the release was taken back within `seconds` of its first traffic: by the engine, or at a peer's word."""
    while True:
        view = control.view(view.rollout.id)
        if view.rollout.stages:
            break
        await asyncio.sleep(0.1)
    began, rollout = view.rollout.stages[0][0], view.rollout
    while time.time() < began + seconds:
        if judge in OURS:
            if control.view(rollout.id).rollout.turned_at is not None:
                return True
        elif await says_no(PEERS[judge], scene, rollout.slot, began):
            control.command(rollout.id, "abort", actor=judge, reason=f"the verdict of {judge}")
            return True
        await asyncio.sleep(0.25)
    return False


async def says_no(judge: Judge, scene: Scene, new: Slot, began: float) -> bool:
    """Whether a peer's judge, shown what the router has counted so far, would have acted by now."""
    counts = await scene.site.router.counts(math.ceil(began))
    if counts.alive_at is None:
        return False
    known = min(int(counts.alive_at) - math.ceil(began), LENGTH)
    at = judge(so_far(counts, new, math.ceil(began)))
    return at is not None and at <= known


def so_far(counts: Counts, new: Slot, began: int) -> Traffic:
    """Counts by the second; what is to come has none, so that no judge looks ahead of `alive_at`."""
    columns = {name: np.zeros(LENGTH, dtype=np.int64) for name in ("m_c", "x_c", "m_s", "x_s")}
    for bucket in counts.buckets:
        second = int(bucket.at) - began
        if 0 <= second < LENGTH:
            arm = "c" if bucket.slot == new else "s"
            columns[f"m_{arm}"][second] += bucket.requests
            columns[f"x_{arm}"][second] += bucket.errors
    return Traffic(**columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="judges, with commas between them, by the beginnings of their names")
    parser.add_argument("--errors", default="1,5,100", help="percent of the new version's requests that fail")
    parser.add_argument("--seconds", type=float, default=375.0, help="how long a judge may take")
    parser.add_argument("--rps", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    wanted = [name.strip() for name in flags.only.split(",") if name.strip()]
    judges = [name for name in (*OURS, *PEERS) if not wanted or any(name.startswith(each) for each in wanted)]
    if not judges:
        parser.error(f"--only: there are {', '.join((*OURS, *PEERS))}")
    rows = []
    for errors in map(float, flags.errors.split(",")):
        for judge in judges:
            rows.append(asyncio.run(play(judge, errors / 100, rps=flags.rps, seed=flags.seed, seconds=flags.seconds)))
            print(line(rows[-1], flags.seconds), file=sys.stderr)
    if flags.json:
        made = {"rps": flags.rps, "share": 0.05, "seconds": flags.seconds, "seed": flags.seed}
        print(json.dumps({**made, "rows": [as_object(each) for each in rows]}))
        return
    print(f"{'judge':18}  {'errors':>6}  {'seconds':>18}  {'failed':>7}  {'late':>5}  {'dropped':>7}")
    for each in rows:
        print(line(each, flags.seconds))


def as_object(row: Row) -> dict[str, object]:
    return {
        "judge": row.judge,
        "errors": row.errors,
        "rolled_back": row.taken_back,
        "seconds": round(row.seconds, 2) if row.taken_back else None,
        "failed_requests": row.failed,
        "canary_requests_after_rollback": row.late,
        "dropped_requests": row.dropped,
    }


def line(row: Row, seconds: float) -> str:
    took = f"{row.seconds:.1f}" if row.taken_back else f"not within {seconds:g}"
    errors = f"{100 * row.errors:g} %"
    late = "–" if row.late is None else row.late
    return f"{row.judge:18}  {errors:>6}  {took:>18}  {row.failed:>7}  {late:>5}  {row.dropped:>7}"


if __name__ == "__main__":
    main()
