"""Process runtimes on real processes, and the proof that none is left behind."""

import asyncio
import contextlib

import psutil
import pytest
from process_world import QUICK, processes_of

from crossfade.runtimes.process import ProcessRuntime


@pytest.fixture
def place(tmp_path):
    """A folder for run state; whatever still runs there after the test is a leak, and is ended."""
    yield tmp_path
    shims, marked = processes_of(tmp_path)
    for process in (*shims, *marked):
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert not shims, f"supervisors left behind: {shims}"
    assert not marked, f"processes left behind: {marked}"


@pytest.fixture
def make(place):
    """Makes runtimes of one target, each as a new Crossfade would; stops both slots at the end."""

    def runtime(**settings):
        defaults = {"state": place, "environment": "production", "component": "api", "root": place, "restarts": QUICK}
        return ProcessRuntime(**{**defaults, **settings})

    yield runtime

    async def stop():
        for slot in ("blue", "green"):
            await runtime().stop(slot)

    asyncio.run(stop())


@pytest.fixture
def runtime(make):
    return make()


@pytest.fixture
def switch(tmp_path):
    """A folder whose files change what the application does while it runs."""
    folder = tmp_path / "switch"
    folder.mkdir()
    return folder
