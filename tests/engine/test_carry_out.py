"""Proofs and smoke tests against a real server; everything that goes wrong becomes an outcome."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from virtual_world import VirtualWorld

from crossfade.config.model import Component, VersionProof
from crossfade.config.strategies import Canary, Smoke
from crossfade.engine.carry_out import carry_out
from crossfade.engine.site import Site
from crossfade.rollouts.rollout import Action, Outcome
from crossfade.runtimes.port import Instance
from crossfade.testing.fake_router import FakeRouter
from crossfade.traffic.port import Routes, Slot

HEADER, FIELD = VersionProof(path="/", header="X-App-Version"), VersionProof(path="/", field="app.version")
ROUTES = Routes({"blue": ("127.0.0.1:1",), "green": ("127.0.0.1:2",)}, 500, "blue")


class Server(http.server.BaseHTTPRequestHandler):
    status, version, body = 200, "1.1.0", b'{"app": {"version": "1.1.0"}}'
    sides: ClassVar[list[str | None]] = []
    """What the override header of each request said."""

    def do_GET(self) -> None:
        self.sides.append(self.headers["X-Canary"])
        self.send_response(self.status)
        self.send_header("X-App-Version", self.version) if self.version else None
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VirtualWorld]:
    world = VirtualWorld(tmp_path)
    yield world
    world.store.close()


async def prove(world: VirtualWorld, address: str, proof: VersionProof) -> Outcome:
    workload = Component(command=("serve",), version_proof=proof)
    site = Site(world.site(world.deployment()).runtime, FakeRouter(world.proxy), address)
    action = Action("ro:1:0:route", "route", "green", routes=ROUTES, fence=1, proves="1.1.0")
    return await carry_out(action, site, world.deployment(), {"1.1.0": workload}.get)


@pytest.mark.parametrize("proof", [HEADER, FIELD])
async def test_the_right_version_proves_itself(world: VirtualWorld, address: str, proof: VersionProof) -> None:
    assert await prove(world, address, proof) == Outcome(ok=True)


@pytest.mark.parametrize("proof", [HEADER, FIELD])
async def test_another_version_is_found_out(
    world: VirtualWorld, address: str, proof: VersionProof, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "version", "1.0.0")
    monkeypatch.setattr(Server, "body", b'{"app": {"version": "1.0.0"}}')
    outcome = await prove(world, address, proof)
    assert (outcome.ok, outcome.retry) == (False, False)
    assert "answers version 1.0.0, not 1.1.0" in outcome.error


async def test_an_instance_that_is_just_ending_proves_nothing_either_way(
    world: VirtualWorld, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "version", "")
    monkeypatch.setattr(Server, "status", 502)
    assert (await prove(world, address, HEADER)).retry
    assert (await prove(world, "127.0.0.1:1", HEADER)).retry


async def test_a_deaf_or_dead_router_and_an_old_fence_are_told_and_tried_again(
    world: VirtualWorld, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossfade.engine.carry_out._CONFIRM_PAUSE", 0.0)
    world.proxy.deaf = True
    deaf = await prove(world, address, HEADER)
    assert deaf.retry
    assert "does not act on them" in deaf.error
    world.proxy.fence = 9
    assert "fence 9" in (await prove(world, address, HEADER)).error
    world.proxy.down = True
    assert (await prove(world, address, HEADER)).retry


@pytest.mark.parametrize(
    ("smoke", "error"),
    [
        (Smoke(path="/", contains="1.1.0"), ""),
        (Smoke(path="/", status=204), "answered 200, wanted 204"),
        (Smoke(path="/", contains="2.0.0"), "does not contain '2.0.0'"),
    ],
)
async def test_smoke_tests(world: VirtualWorld, address: str, smoke: Smoke, error: str) -> None:
    world.settings["strategy"] = Canary(smoke=(smoke,))
    site, action = world.site(world.deployment()), Action("ro:1:0:smoke", "smoke", "green", version="1.1.0")
    nobody = await carry_out(action, site, world.deployment(), {}.get)
    assert "no instance of 1.1.0" in nobody.error
    there = Instance("shop-green-0", "green", "1.1.0", 0, "ready", address, since=0.0)
    world.machine._instances["green", 0] = there
    outcome = await carry_out(action, site, world.deployment(), {}.get)
    assert outcome.ok == (error == "")
    assert error in outcome.error


@pytest.mark.parametrize(
    ("slot", "green", "stable", "side"),
    [("green", 10_000, "blue", "always"), ("green", 10_000, "green", "never"), ("blue", 500, "blue", "never")],
)
async def test_smoke_tests_through_the_router_ask_for_the_slot_by_the_override_header(
    *, world: VirtualWorld, address: str, slot: Slot, green: int, stable: Slot, side: str
) -> None:
    world.settings["strategy"] = Canary(smoke=(Smoke(path="/"), Smoke(path="/", status=204)))
    site = Site(world.site(world.deployment()).runtime, FakeRouter(world.proxy), address)
    routes = Routes(ROUTES.upstreams, green, stable)
    Server.sides.clear()
    outcome = await carry_out(
        Action("ro:1:0:smoke", "smoke", slot, version="1.1.0", routes=routes), site, world.deployment(), {}.get
    )
    assert Server.sides == [side, side]
    assert "answered 200, wanted 204" in outcome.error


async def test_a_version_without_a_known_workload_cannot_start(world: VirtualWorld) -> None:
    action = Action("ro:1:0:start", "start", "green", version="1.1.0", count=2)
    outcome = await carry_out(action, world.site(world.deployment()), world.deployment(), {}.get)
    assert not outcome.ok
    assert "never rolled out" in outcome.error
