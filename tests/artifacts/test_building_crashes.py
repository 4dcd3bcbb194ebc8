"""kill -9 at every write of a build: nothing half is ever believed, and the next run makes all of it right."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from building_world import configured, made_repository, start

from crossfade.artifacts.building.cache import Cache
from crossfade.artifacts.building.trees import scan
from crossfade.artifacts.building.values import Output
from patience import PATIENCE

WRITES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.symlink", "os.utime", "open", "subprocess.Popen"}


class Killed:
    """Kills this process just before one of its writes below a folder; counts them until then."""

    def __init__(self, below: Path, at: int, report: Path) -> None:
        self.below, self.at, self.report, self.count = str(below), at, report, 0

    def __call__(self, event: str, arguments: tuple) -> None:
        if event not in WRITES or (event == "open" and not self.opens_to_write(arguments)):
            return
        if event == "subprocess.Popen" or self.below in str(arguments[0]):
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def opens_to_write(self, arguments: tuple) -> bool:
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def in_child(work) -> int:
    """Do it in a forked process; its exit status as `waitpid` tells it."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = int(work() or 0)
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def count_writes(repository, scratch) -> int:
    def work():
        killed = Killed(repository.root, -1, scratch)
        sys.addaudithook(killed)
        repository.build()
        scratch.write_text(str(killed.count))

    assert in_child(work) == 0
    return int(scratch.read_text())


def assert_nothing_half(cache: Cache) -> int:
    entries = [place.name for place in cache.folder.iterdir() if len(place.name) == 64]
    for identity in entries:
        record = cache.find(identity)
        assert record is not None, f"{identity} has no record"
        for output in record.outputs:
            kept = cache.outputs(identity) / output.path
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == output.sha256
        assert cache.parts(identity) is not None
    return len(entries)


def copied(source, place):
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(source.root, place, symlinks=True)
    repository = made_repository.__globals__["Repository"](place)
    repository.targets, repository.edges = dict(source.targets), dict(source.edges)
    return repository


def test_killed_at_any_write_nothing_is_lost_and_nothing_half_is_believed(tmp_path):
    prepared = made_repository(tmp_path / "prepared")
    prepared.add(
        "core", "mkdir -p dist/deep; cat src/* > dist/deep/out.txt; cp src/a.txt a.out", outputs=("dist", "a.out")
    )
    prepared.add("loader", "mkdir dist; cat ../core/dist/deep/out.txt src/l.txt > dist/out.txt", needs=("core",))
    prepared.build()
    before = {output.path: output.sha256 for output in prepared.decider.present(prepared.targets["core"])}
    prepared.write(**{"core/src/a.txt": "other\n"})
    total = count_writes(copied(prepared, tmp_path / "counted"), tmp_path / "count")
    assert total > 40
    kept_by = set()
    for at in range(1, total + 1, 7):
        repository = copied(prepared, tmp_path / "tried")
        hook = Killed(repository.root, at, tmp_path / "none")
        status = in_child(lambda hook=hook, repository=repository: (sys.addaudithook(hook), repository.build())[0])
        assert os.WIFSIGNALED(status), at
        assert os.WTERMSIG(status) == signal.SIGKILL, at
        kept_by.add(assert_nothing_half(repository.cache))
        if at % 2:  # what was there before can still be had, as it was
            repository.write(**{"core/src/a.txt": "a\n"})
            assert {each.status for each in repository.build().values()} <= {"restored", "unchanged"}, at
            present = repository.decider.present(repository.targets["core"])
            assert {output.path: output.sha256 for output in present} == before, at
            repository.write(**{"core/src/a.txt": "other\n"})
        results = repository.build()
        assert all(result.good for result in results.values()), at
        assert repository.text("loader/dist/out.txt") == "other\nb\nl\n", at
        assert repository.text("core/a.out") == "other\n"
        assert {name: each.status for name, each in repository.build().items()} == dict.fromkeys(results, "unchanged")
        assert assert_nothing_half(repository.cache) == 4
        assert list(repository.root.glob("*/.*")) == [], at
        left = {each.name for each in repository.cache.folder.iterdir() if len(each.name) != 64}
        assert {name for name in left if name.startswith(".new")} == set(), at
        assert list((repository.cache.folder / "aside").iterdir()) == [], at
    assert kept_by == {2, 3, 4}


def until(said, *, what=""):
    deadline = time.monotonic() + PATIENCE
    while not said():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


LASTING = "mkdir dist; echo half > dist/out.txt; (sh -c 'echo $PPID' > ../inner.pid; sleep 1000); echo x"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_ended_leaves_no_build_behind(tmp_path, number):
    repository = made_repository(tmp_path)
    repository.build("core")
    repository.write(**{"core/src/a.txt": "other\n"})
    configured(repository, {"core": {"source": "core", "build": {"command": ["sh", "-c", LASTING]}}})
    pid = tmp_path / "inner.pid"
    process = start(repository, "build")
    until(lambda: pid.exists() and pid.read_text().strip())
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=PATIENCE)
    until(lambda: ended(int(pid.read_text())), what="the build goes on")
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "core  interrupted" in out
        assert "2 interrupted" in out
        assert "Traceback" not in err
        assert repository.text("core/dist/out.txt") == "a\nb\n"
    configured(repository)
    again = start(repository, "build")
    out, err = again.communicate(timeout=PATIENCE)
    assert again.returncode == 0, err
    assert repository.text("loader/dist/out.txt") == "other\nb\nl\n"


def test_two_commands_at_once_do_not_disturb_each_other(tmp_path):
    repository = made_repository(tmp_path)
    counted = "echo x >> ../count.log; sleep 0.3; mkdir dist; cat src/* > dist/out.txt"
    configured(repository, {"core": {"source": "core", "build": {"command": ["sh", "-ec", counted]}}})
    processes = [start(repository, "build") for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    assert repository.text("count.log") == "x\n"
    assert repository.text("loader/dist/out.txt") == "a\nb\nl\n"


def test_outputs_are_kept_as_they_were_made(tmp_path):
    repository = made_repository(tmp_path)
    (record,) = [each.record for each in repository.build("core").values()]
    digest = hashlib.sha256(b"a\nb\n").hexdigest()
    assert record.outputs == (Output("dist/out.txt", "file", digest, 4),)
    kept = scan(repository.cache.outputs(record.identity), ["dist"], repository.decider.memo)
    assert kept == record.outputs
