"""What the flows of the guides' examples have in common: a world that runs, and how one sees where it has got to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guide_world import NEW, OLD, GuideWorld

from crossfade.engine.views import View


@asynccontextmanager
async def running(world: GuideWorld) -> AsyncIterator[GuideWorld]:
    """`world` with the old version in all of its traffic."""
    await world.open()
    try:
        view = await world.run(world.deploy(OLD))
        assert view.rollout.status == "done", view.rollout.reason
        world.asked.clear()
        yield world
    finally:
        await world.shut()


async def released(world: GuideWorld) -> View:
    return await world.run(world.deploy(NEW))


def turned(view: View) -> float:
    """Seconds from the beginning to the decision to go back."""
    assert view.rollout.turned_at is not None, view.rollout.status
    return view.rollout.turned_at - view.rollout.created_at


def is_back(world: GuideWorld, view: View) -> None:
    """The old version has everything again, and nothing is left of the new one."""
    assert view.rollout.status == "rolled-back"
    assert view.rollout.cleared_at is not None
    assert view.rollout.cleared_at - view.rollout.turned_at <= 3 * world.step
    assert world.proxy.routes.weight(view.rollout.old) == 10_000
    assert set(world.there()) == {OLD}


def arrived(world: GuideWorld, view: View) -> None:
    """The new version is the trusted one, with everything; the old one is retired."""
    assert (view.rollout.status, view.rollout.promoted) == ("done", True), view.rollout.reason
    assert world.proxy.routes.weight(view.rollout.slot) == 10_000
    assert set(world.there()) == {NEW}


def near(times: list[float], wanted: list[float], late: float) -> bool:
    """Whether each time is the wanted one, or `late` seconds after it at most."""
    return len(times) == len(wanted) and all(0 <= at - due <= late for at, due in zip(times, wanted, strict=True))
