"""Logs: whole lines with a time, rotated, never in the way of the instance; read back in order."""

import asyncio
import errno
import os
import re
import resource
import subprocess
import sys
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process_world import is_root, release

from crossfade.config.model import Logs
from crossfade.runtimes.log_reading import Tail, read_logs
from crossfade.runtimes.shim.journal import Journal
from crossfade.testing.runtime_contract import DEADLINE, all_ready, eventually


def texts(folder, lines=10_000):
    return [(each.stream, each.text) for each in Tail("i", Path(folder)).newest(lines)]


def files(folder):
    return sorted(Path(folder).glob("*.log"))


@given(
    parts=st.lists(st.tuples(st.sampled_from(["out", "err"]), st.text("ab é\n", max_size=12)), max_size=30),
    cut=st.integers(1, 5),
)
def test_every_line_comes_back_however_it_was_cut(tmp_path_factory, parts, cut):
    folder = tmp_path_factory.mktemp("log")
    journal = Journal(str(folder), max_size=10_000_000, keep=3, clock=lambda: 1.5)
    for stream, text in parts:
        data = text.encode()
        for at in range(0, len(data), cut):
            journal.feed(stream, data[at : at + cut])
    journal.flush()
    for stream in ("out", "err"):
        sent = "".join(text for to, text in parts if to == stream)
        wanted = sent.split("\n")[:-1] + ([sent.rpartition("\n")[2]] if sent.rpartition("\n")[2] else [])
        assert [text for to, text in texts(folder) if to == stream] == wanted


def test_files_keep_their_size_and_number(tmp_path):
    journal = Journal(str(tmp_path), max_size=4096, keep=3)
    for number in range(1000):
        journal.feed("out", f"line {number}\n".encode() * 3)
    kept = files(tmp_path)
    assert 3 <= len(kept) <= 4
    assert all(each.stat().st_size <= 4096 for each in kept)
    lines = texts(tmp_path)
    assert lines[-1] == ("out", "line 999")
    assert texts(tmp_path, 5) == lines[-5:]


def test_one_chunk_larger_than_many_files(tmp_path):
    journal = Journal(str(tmp_path), max_size=4096, keep=1000)
    journal.feed("out", b"".join(b"%05d\n" % number for number in range(5000)))
    assert [text for _, text in texts(tmp_path)] == [f"{number:05d}" for number in range(5000)]
    assert all(each.stat().st_size <= 4096 for each in files(tmp_path))


def test_a_line_without_an_end_is_cut(tmp_path):
    journal = Journal(str(tmp_path), max_size=4096, keep=1000)
    for _ in range(10):
        journal.feed("out", b"x" * 10_000)
    journal.flush()
    assert sum(len(text) for _, text in texts(tmp_path)) == 100_000


def test_an_unwritable_folder_drops_and_counts_and_recovers(tmp_path, monkeypatch):
    folder = tmp_path / "log"
    folder.write_text("a file where a folder should be")
    journal = Journal(str(folder), max_size=4096, keep=3)
    journal.feed("out", b"one\ntwo\n")
    assert (journal.dropped, journal.fault) == (2, os.strerror(errno.EEXIST))
    assert list(journal.last) == ["one", "two"]
    folder.unlink()
    monkeypatch.setattr("crossfade.runtimes.shim.journal.time.monotonic", lambda: 1e12)
    journal.feed("out", b"three\n")
    assert [text for _, text in texts(folder)] == ["crossfade: 2 lines were dropped: File exists", "three"]
    assert (journal.dropped, journal.fault) == (2, "")


def test_what_was_dropped_is_told_also_where_the_file_is_just_full(tmp_path, monkeypatch):
    journal = Journal(str(tmp_path), max_size=140, keep=3, clock=lambda: 1.5)
    journal.feed("out", b"x" * 60 + b"\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)  # no byte fits any more
        journal.feed("out", b"one\n")
    monkeypatch.setattr("crossfade.runtimes.shim.journal.time.monotonic", lambda: 1e12)
    journal.recover()
    told = f"crossfade: 1 lines were dropped: {os.strerror(errno.ENOSPC)}"
    assert (texts(tmp_path), journal.fault) == ([("out", "x" * 60), ("err", told)], "")
    assert len(files(tmp_path)) == 2


def test_a_disk_that_fills_up_leaves_whole_lines_only(tmp_path):
    """A limit on the size of files stands in for a full disk where no small file system can be made."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "from crossfade.runtimes.shim.journal import Journal\n"
        f"journal = Journal({str(tmp_path)!r}, max_size=1_000_000, keep=3)\n"
        "for number in range(1000): journal.feed('out', b'line %d\\n' % number)\n"
        "print(journal.dropped, journal.fault)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dropped, _, fault = run.stdout.strip().partition(" ")
    kept = texts(tmp_path)
    assert kept == [("out", f"line {number}") for number in range(len(kept))]
    assert len(kept) + int(dropped) == 1000
    assert fault in (os.strerror(errno.EFBIG), os.strerror(errno.ENOSPC))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 5000


async def test_a_hundred_megabytes_of_log(runtime, place):
    """The instance answers all the while, its log stays within its bounds and ends with the last line."""
    logs = Logs(max_size=1_000_000, keep=3)
    await runtime.start("blue", release("1.0.0", "--print-bytes", "100000000", logs=logs, timeout=20.0), 1)
    async with asyncio.timeout(4 * DEADLINE):
        while True:
            last = [each async for each in runtime.logs(lines=1)]
            if last and last[0].text == "printed everything":
                break
            await asyncio.sleep(0.05)
    (seen,) = await eventually(runtime, all_ready(1))
    assert (seen.restarts, seen.detail) == (0, "")
    folder = place / "instances/production/api/blue/0/log"
    assert sum(each.stat().st_size for each in files(folder)) <= 4 * 1_000_000
    tail = [each.text for each in [line async for line in runtime.logs(lines=1000)]]
    assert tail[-2] == f"{999_999:09d} {'x' * 89}"


async def test_logs_that_cannot_be_written_do_not_stop_the_instance(runtime, place):
    log = place / "instances/production/api/blue/0/log"
    log.parent.mkdir(parents=True)
    log.write_text("a file where a folder should be")
    await runtime.start("blue", release("1.0.0", "--print-bytes", "3000000"), 1)
    (seen,) = await eventually(
        runtime, lambda seen: all_ready(1)(seen) and re.match(r"3000\d log lines could", seen[0].detail)
    )
    assert "File exists" in seen.detail
    assert seen.restarts == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        is_root()
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("only root can make a small file system; the size limit above covers the rest")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path):
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 512):
            pass


async def test_a_full_disk_under_logs_and_state(small_disk, make, place):
    """With no byte left the instance runs, its state is still told, and it can be stopped."""
    runtime = make(state=small_disk)
    (place / "switch").mkdir(exist_ok=True)
    (small_disk / "ballast").write_bytes(
        b"x" * 64 * 1024
    )  # what is free in the end, however full the logs make the disk
    await runtime.start(
        "blue", release("1.0.0", "--print-bytes", "2000000", "--file-switch", str(place / "switch"), ready="/ready"), 1
    )
    await eventually(runtime, all_ready(1))
    await eventually(runtime, lambda seen: "No space left on device" in seen[0].detail)
    filler = small_disk / "filler"
    fill(filler)
    (place / "switch" / "unready").touch()
    (sick,) = await eventually(runtime, lambda seen: seen[0].state == "unready")
    assert sick.restarts == 0
    (place / "switch" / "unready").unlink()
    await eventually(runtime, all_ready(1))
    filler.unlink()
    (small_disk / "ballast").unlink()
    await eventually(runtime, lambda seen: seen[0].state == "ready" and not seen[0].detail)
    assert any("lines were dropped: No space left" in each.text for each in [line async for line in runtime.logs()])
    await runtime.stop("blue")


async def test_following_goes_on_over_rotation_and_pruning(tmp_path):
    journal = Journal(str(tmp_path / "log"), max_size=4096, keep=1000)
    heard = []

    async def follow():
        async with aclosing(read_logs(lambda: {"i": tmp_path / "log"}, lines=2000, follow=True)) as lines:
            async for line in lines:
                heard.append(line.text)
                if len(heard) == 2000:
                    return

    async with asyncio.timeout(DEADLINE):
        following = asyncio.create_task(follow())
        for number in range(2000):
            journal.feed("out", f"{number}\n".encode())
            if number % 50 == 0:
                await asyncio.sleep(0.001)
        await following
    assert heard == [str(number) for number in range(2000)]
    assert len(files(tmp_path / "log")) > 3


async def test_following_from_the_end_shows_only_what_is_new(tmp_path):
    journal = Journal(str(tmp_path), max_size=4096, keep=10)
    journal.feed("out", b"old\n")
    async with asyncio.timeout(DEADLINE), aclosing(read_logs(lambda: {"i": tmp_path}, lines=0, follow=True)) as lines:
        asyncio.get_running_loop().call_later(0.05, journal.feed, "out", b"new\n")
        assert (await anext(lines)).text == "new"


async def test_a_clock_that_steps_back_loses_no_line_and_no_order(tmp_path):
    times = iter([100.0, 200.0, 50.0, 60.0])
    journal = Journal(str(tmp_path), max_size=4096, keep=10, clock=lambda: next(times))
    for number in range(4):
        journal.feed("out", b"%d\n" % number)
    lines = [each async for each in read_logs(lambda: {"i": tmp_path}, lines=10, follow=False)]
    assert [each.text for each in lines] == ["0", "1", "2", "3"]
    assert [each.at for each in lines] == [100.0, 200.0, 50.0, 60.0]
