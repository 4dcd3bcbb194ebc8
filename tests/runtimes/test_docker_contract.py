"""The Docker runtime keeps the contract, on real containers of a real engine."""

import os
import signal

import pytest
from docker_world import release

from crossfade.testing.runtime_contract import RuntimeContract

pytestmark = [pytest.mark.real, pytest.mark.slow]


class TestDockerRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self, docker_runtime):
        self._make = docker_runtime
        return docker_runtime()

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
