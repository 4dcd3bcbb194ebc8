"""The process runtime keeps the contract, on real processes."""

import os
import signal

import pytest
from process_world import release

from crossfade.testing.runtime_contract import RuntimeContract


class TestProcessRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self, make):
        self._make = make
        return make()

    def release(self, version):
        return release(version)

    def release_never_ready(self, version):
        return release(version, "--never-ready")

    def release_that_ends(self, version):
        return release(version, "--exit", "3")

    def again(self, runtime):  # noqa: ARG002 - all runtimes of the fixture share one place
        return self._make()

    async def crash(self, runtime, instance):  # noqa: ARG002 - a pid is enough here
        os.kill(instance.pid, signal.SIGKILL)
