"""A new version at 25 %, which stays there until somebody or something ends it: where faults happen."""

from __future__ import annotations

from engine_world import World

from crossfade.config.strategies import Canary, Stage
from crossfade.traffic.routers.caddy import CaddyRouter
from crossfade.traffic.routers.route_file import RouteFile

PATIENT = Canary(steps=(Stage(weight=2500),), watch=600, final_watch=0, hold=0)
"""Stays at 25 % until somebody or something ends it."""


def router(world: World) -> CaddyRouter:
    found = world.site.router
    assert isinstance(found, CaddyRouter)
    return found


def green(world: World) -> int:
    """Green's share in basis points, as the router has accepted it."""
    accepted = RouteFile(world.state / "routes" / "production" / "shop").read()
    assert accepted is not None
    return accepted.routes.green


async def canary(world: World, flags: tuple[str, ...] = (), **workload: object) -> str:
    """1.1.0 has 25 %, is watched, and stays there."""
    world.settings["strategy"] = PATIENT
    rollout = world.deploy("1.1.0", flags, **workload)
    await world.share(rollout, 2500)
    return rollout


async def taken_back(world: World, rollout: str, cause: str) -> None:
    """Rolled back for `cause`; the data plane, the instances and the record say so."""
    view = await world.ended(rollout, "rolled-back")
    assert view.rollout.cause == cause, view.rollout.reason
    assert green(world) == 0
    assert "rollback.verified" in world.kinds(rollout)
    await world.leave()
    await world.check_instances("1.0.0")
    world.check_record(rollout)
