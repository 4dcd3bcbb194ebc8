"""The demo as people run it: a process of its own, real parts, and nothing left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

MARK = "DEMO_OF_TEST"
"""Not `CROSSFADE_…`: instances do not inherit what is named so, and would not be found."""
STORY = Path(__file__).with_name("short_story.py")
DEADLINE = 240

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone]


class Demo:
    """One demo; whatever it starts carries its mark, or lives in its own temporary folder."""

    def __init__(self, folder, *arguments):
        self.mark, self.folder = uuid.uuid4().hex, folder
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(folder), "NO_COLOR": "1"}
        self.out, self.err = (folder.parent / f"{folder.name}.{name}" for name in ("out", "err"))
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, STORY, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                start_new_session=True,
            )

    def wait_for(self, text):
        """Until the demo has said `text`."""
        give_up = time.monotonic() + DEADLINE
        while text not in self.out.read_text():
            assert self.process.poll() is None, self.told
            assert time.monotonic() < give_up, self.told
            time.sleep(0.1)

    @property
    def told(self):
        return self.out.read_text() + self.err.read_text()

    def left(self):
        """Processes of this demo that still run."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                ours = process.environ().get(MARK) == self.mark or Path(process.cwd()).is_relative_to(self.folder)
                if ours and process.pid != self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    yield " ".join(process.cmdline())


@pytest.fixture
def demo(tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    begun = []

    def begin(*arguments):
        begun.append(Demo(folder, *arguments))
        return begun[-1]

    yield begin
    for each in begun:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGTERM)
            each.process.wait(DEADLINE)


def test_a_bad_release_goes_back_and_a_good_one_goes_on(demo, tmp_path):
    played = demo("0.2", "--json")
    assert played.process.wait(DEADLINE) == 0, played.told
    found = json.loads(played.out.read_text())
    bad, good = found["bad_release"], found["good_release"]
    assert bad["verdict"] == "fail"
    assert bad["rolled_back"] is True
    assert bad["failed_requests"] > 0
    assert 0 < bad["seconds_to_rollback"] < DEADLINE
    assert bad["canary_requests_after_rollback"] == 0
    assert good == {"promoted": True, "seconds_to_full": good["seconds_to_full"], "failed_requests": 0}
    assert 0 < good["seconds_to_full"] < DEADLINE
    assert found["dropped_requests"] == 0
    assert list(played.left()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_bad_release_that_is_not_bad_is_told_as_such(demo, tmp_path):
    played = demo("0")
    assert played.process.wait(DEADLINE) == 2, played.told
    assert "1.1.0 was asked to have no fault, so there was nothing to take back" in played.told
    assert "dropped by Crossfade  0" in played.told
    assert list(played.left()) == []
    (record,) = (tmp_path / "temporary").iterdir()
    crossfade = Path(sys.executable).with_name("crossfade")
    verified = subprocess.run([crossfade, "audit", "verify"], cwd=record, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_an_interrupted_demo_leaves_nothing(demo, tmp_path, number):
    played = demo("0.2")
    played.wait_for("shift 0 % → 20 %")
    assert len(list(played.left())) > 5  # instances of both versions, Caddy, the counter, the visitors
    played.process.send_signal(number)
    time.sleep(0.3)
    played.process.send_signal(number)  # an impatient person
    assert played.process.wait(DEADLINE) == 130, played.told
    assert "everything that was started has been ended" in played.told
    assert list(played.left()) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_demo_that_cannot_go_on_says_why_and_leaves_nothing(demo, tmp_path):
    played = demo("0.2")
    played.wait_for("shift 0 % → 20 %")
    (visitors,) = (p for p in psutil.Process(played.process.pid).children() if "crossfade.demo.visitors" in p.cmdline())
    visitors.kill()
    assert played.process.wait(DEADLINE) != 0
    assert "demo.visitors" in played.told or "the visitors are gone" in played.told
    assert list(played.left()) == []
    assert list((tmp_path / "temporary").iterdir()) == []
