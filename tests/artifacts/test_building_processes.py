"""The processes of builds: side by side up to a number, and ended with all that they started."""

from __future__ import annotations

import asyncio
import time

import psutil
from building_world import COPY, statuses

from patience import PATIENCE


def pids(repository, *names):
    found = []
    for name in names:
        path, deadline = repository.root / name, time.monotonic() + PATIENCE
        while not path.exists() or not path.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        found.append(int(path.read_text()))
    return found


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


STUBBORN = "trap '' TERM; (trap '' TERM; echo $(exec sh -c 'echo $PPID') > ../child.pid; while :; do sleep 0.1; done) & echo $$ > ../build.pid; wait; while :; do sleep 0.1; done"


def test_a_build_that_takes_too_long_is_ended_with_all_that_it_started(repository):
    repository.add("core", STUBBORN, timeout=1.0)
    result = asyncio.run(repository.run("core", grace=0.2)).results[0]
    assert (result.status, result.error.code) == ("failed", "build.timeout")
    assert "longer than 1s" in result.error.what
    assert [pid for pid in pids(repository, "build.pid", "child.pid") if alive(pid)] == []


def test_a_build_that_is_asked_to_end_may_tidy_up(repository):
    repository.add("core", "trap 'echo tidy > ../tidy; exit 0' TERM; while :; do sleep 0.05; done", timeout=0.5)
    assert repository.build("core")["core"].error.code == "build.timeout"
    assert repository.text("tidy") == "tidy\n"


def test_what_a_build_leaves_running_ends_with_it(repository):
    repository.add(
        "core",
        "mkdir dist; (echo $(exec sh -c 'echo $PPID') > dist/pid; sleep 1000) & while ! test -s dist/pid; do sleep 0.01; done",
    )
    assert statuses(repository.build("core")) == {"core": "built"}
    (pid,) = pids(repository, "core/dist/pid")
    assert not alive(pid)


async def wished(repository, times):
    run = asyncio.create_task(repository.run(grace=1000.0))
    await asyncio.to_thread(pids, repository, "build.pid", "child.pid")
    for _ in range(times):
        repository.stop.wish()
    return await asyncio.wait_for(run, PATIENCE)


def test_a_wish_to_end_ends_everything_and_a_second_one_does_not_wait(repository):
    repository.build("core")
    repository.write(**{"core/src/a.txt": "other"})
    repository.add("core", STUBBORN)
    outcome = asyncio.run(wished(repository, times=2))
    assert (outcome.interrupted, outcome.good) == (True, False)
    assert [result.status for result in outcome.results] == ["interrupted", "interrupted"]
    assert [pid for pid in pids(repository, "build.pid", "child.pid") if alive(pid)] == []
    assert repository.text("core/dist/out.txt") == "a\nb\n"


def test_builds_run_side_by_side_up_to_the_number_of_jobs(repository):
    meet = "touch ../{me}; while ! test -e ../{other}; do sleep 0.01; done; mkdir dist; echo > dist/out.txt"
    repository.add("core", meet.format(me="one", other="two"), timeout=PATIENCE)
    repository.add("loader", meet.format(me="two", other="one"), timeout=PATIENCE)
    assert statuses(repository.build(jobs=2)) == {"core": "built", "loader": "built"}
    alone = "test ! -e ../busy; touch ../busy; sleep 0.2; rm ../busy; mkdir dist; echo 1 > dist/out.txt"
    repository.add("core", alone)
    repository.add("loader", alone)
    assert statuses(repository.build(jobs=1)) == {"core": "built", "loader": "built"}


def test_two_at_once_build_one_after_the_other_and_once(repository):
    repository.add("core", f"echo x >> ../count; sleep 0.3; {COPY}")

    async def both():
        return await asyncio.gather(repository.run("core"), repository.run("core"))

    outcomes = asyncio.run(both())
    assert sorted(outcome.results[0].status for outcome in outcomes) == ["built", "unchanged"]
    assert repository.text("count") == "x\n"
    assert repository.told.waited == ["core"]
