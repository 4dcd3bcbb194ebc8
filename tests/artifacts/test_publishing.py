"""The walk over a journal, against registries that tell the truth, fail, and are left in the middle."""

from __future__ import annotations

import asyncio

import pytest

from crossfade.artifacts.gathering import digest, gather
from crossfade.artifacts.journal import Item, Journal, Standing
from crossfade.artifacts.port import Coordinate
from crossfade.artifacts.publishing import present, publish
from crossfade.testing.fake_registry import FakeRegistry, FakeStore

NAMES = ("core", "loader", "js", "react")


class Chain:
    """Four packages, each needing the one before; every one of them is an artifact on disk."""

    def __init__(self, folder):
        self.artifacts, items = {}, []
        for name in NAMES:
            (folder / f"{name}.tgz").write_text(name)
            at = Coordinate(name, "1.0.0")
            artifact = gather("npm", name, at, folder / f"{name}.tgz")
            needs = (items[-1].key,) if items else ()
            items.append(Item(name, "npm", at, digest(artifact), ("latest",), needs))
            self.artifacts[items[-1].key] = artifact
        self.journal = Journal(tuple(items))
        self.store = FakeStore()
        self.recorded: list[tuple[str, Standing]] = []

    def record(self, item, standing):
        self.recorded.append((item.component, standing))

    async def publish(self, journal=None, record=None, registry=None):
        registries = {"npm": registry or FakeRegistry(self.store)}
        return await publish(journal or self.journal, registries, self.artifacts, record or self.record)


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


async def test_each_is_uploaded_read_back_and_tagged_in_order(chain):
    ended = await chain.publish()
    assert ended.done
    assert [(name, standing.state) for name, standing in chain.recorded] == [
        (name, state) for name in NAMES for state in ("uploaded", "verified", "tagged")
    ]
    assert {tag: at.name for (at, tag) in ((v, k) for k, v in chain.store.tags.items())} == {
        (name, "latest"): name for name in NAMES
    }
    assert chain.store.uploads == len(NAMES)


async def test_what_is_there_is_read_back_and_not_uploaded(chain):
    await chain.publish()
    before = chain.store.uploads
    again = await chain.publish()
    assert again.done
    assert chain.store.uploads == before
    assert [standing.state for name, standing in chain.recorded[-8:] if name == "core"] == ["verified", "tagged"]


@pytest.mark.parametrize("steps", range(1, 12))
async def test_killed_after_any_step_it_goes_on_and_publishes_nothing_twice(chain, steps):
    class Killed(BaseException):
        pass

    journal = chain.journal

    def record(item, standing):
        nonlocal journal
        chain.record(item, standing)
        journal = journal.at(item.key, standing)
        if len(chain.recorded) == steps:
            raise Killed

    with pytest.raises(Killed):
        await chain.publish(record=record)
    assert (await chain.publish(journal)).done
    assert chain.store.uploads == len(NAMES)
    assert len(chain.store.tags) == len(NAMES)


async def test_a_failure_holds_up_what_depends_on_it_and_nothing_else(chain, tmp_path):
    (tmp_path / "other.tgz").write_text("other")
    other = Item("other", "npm", Coordinate("other", "1.0.0"), "", ("latest",))
    chain.artifacts[other.key] = gather("npm", "other", other.at, tmp_path / "other.tgz")
    journal = Journal((*chain.journal.items, other))
    chain.store.contents[Coordinate("loader", "1.0.0")] = {"loader.tgz": b"somebody else's"}
    ended = await chain.publish(journal)
    assert not ended.done
    assert ended.component_done("core")
    assert ended.component_done("other")
    assert list(ended.faults()) == ["loader → npm"]
    assert dict(ended.held_up()) == {"js → npm": "loader → npm", "react → npm": "loader → npm"}
    assert not ended.faults()["loader → npm"].retry


async def test_another_attempt_tries_what_failed_again(chain):
    chain.store.readonly = True
    ended = await chain.publish()
    assert list(ended.faults()) == ["core → npm"]
    chain.store.readonly = False
    assert (await chain.publish(ended)).faults()  # a fault stays until somebody begins another attempt
    assert (await chain.publish(ended.afresh())).done


async def test_a_registry_that_is_down_is_a_fault_that_may_heal(chain):
    chain.store.down = True
    ended = await chain.publish()
    assert ended.faults()["core → npm"].retry
    assert chain.store.uploads == 0


async def test_what_a_registry_lost_is_uploaded_again(chain):
    ended = await chain.publish()
    journal = ended.at("react → npm", Standing("uploaded"))
    del chain.store.contents[Coordinate("react", "1.0.0")]
    assert (await chain.publish(journal)).done
    assert chain.store.uploads == len(NAMES) + 1


async def test_two_at_once_publish_once(chain):
    one, two = await asyncio.gather(chain.publish(), chain.publish())
    assert one.done
    assert two.done
    assert chain.store.uploads == len(NAMES)


async def test_a_cancelled_walk_leaves_no_task(chain):
    reached, gate = asyncio.Event(), asyncio.Event()

    class Slow(FakeRegistry):
        async def verify(self, artifact):
            reached.set()
            await gate.wait()
            return await super().verify(artifact)

    walk = asyncio.create_task(chain.publish(registry=Slow(chain.store)))
    await reached.wait()
    walk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walk
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_present_asks_each_registry_once(chain):
    await chain.publish()
    wanted = [item.at for item in chain.journal.items]
    absent = Coordinate("core", "2.0.0")
    found = await present({"npm": FakeRegistry(chain.store)}, {"npm": [*wanted, absent]})
    assert found == {("npm", at) for at in wanted}
