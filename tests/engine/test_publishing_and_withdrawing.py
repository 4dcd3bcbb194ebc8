"""Publishing and withdrawing as the engine sees them: a real repository and store, registries that fail as they are told."""

import contextlib
import os
import subprocess

import pytest

from crossfade.artifacts.port import Coordinate
from crossfade.config.load import load
from crossfade.core.errors import BadInputError, UnreachableError
from crossfade.core.reference import parse_reference
from crossfade.core.semver import parse_version
from crossfade.engine import publications as engine
from crossfade.engine.checkout import open_checkout
from crossfade.engine.publications import carry_out, look, settle
from crossfade.engine.withdrawals import plan, withdraw
from crossfade.store import Store
from crossfade.testing.fake_registry import FakeRegistry, FakeStore

FILE = """\
project: shop
components:
  core: {source: core, publish: [npm, mirror]}
  web: {source: {path: web, needs: {core: "*"}}, publish: [npm]}
  other: {source: other, publish: [npm]}
registries:
  npm: {kind: npm, url: "http://127.0.0.1:9"}
  mirror: {kind: npm, url: "http://127.0.0.1:9"}
"""
NAMES = ("core", "web", "other")
WHO = {f"GIT_{role}_{key}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


class Killed(BaseException):
    """The process ends here."""


class Shop:
    """A repository with three components, two registries, and the store of whoever publishes."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.stores = {"npm": FakeStore(), "mirror": FakeStore()}
        self.store = Store.open(f"sqlite:///{folder.parent}/state.db")
        (folder / "crossfade.yaml").write_text(FILE)
        self.git("init", "--quiet", "--initial-branch=main")
        self.release(**dict.fromkeys(NAMES, "1.0.0"))

    @property
    def registries(self):
        return {name: FakeRegistry(store) for name, store in self.stores.items()}

    @property
    def checkout(self):
        loaded = load(self.folder / "crossfade.yaml")
        return open_checkout(loaded, self.folder, actor="ada", listeners=contextlib.nullcontext).checkout

    @property
    def head(self):
        return self.git("rev-parse", "HEAD")

    @property
    def tags(self):
        told = self.git("for-each-ref", "--format=%(refname:strip=2) %(*objectname)", "refs/tags")
        return dict(line.split() for line in told.splitlines())

    def git(self, *argv):
        clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **WHO}
        return subprocess.check_output(["git", *argv], cwd=self.folder, env=clean, text=True).strip()

    def release(self, **versions):
        for name, version in versions.items():
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "VERSION").write_text(f"{version}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", "Release")

    async def gather(self, targets):
        """What a build would have made: a file for each component and version."""
        return {each.key: self._built(each) for each in targets}

    def _built(self, target):
        path = self.folder.parent / f"{target.component}-{target.at.version}.tgz"
        path.write_text(str(target.at))
        return path

    async def publish(self, *only, store=None):
        outlook = await look(self.checkout, self.registries, only)
        if not outlook.open:
            done = [(target.key, target.at) for target in outlook.done]
            settle(self.checkout, done, store or self.store, actor="ada")
            return None
        return await carry_out(
            self.checkout, outlook, self.registries, store or self.store, self.gather, actor="ada", watch=lambda _: None
        )

    async def withdraw(self, *releases, back_to=None):
        references = [parse_reference(each) for each in releases]
        steps = await plan(self.checkout, self.registries, references, back_to)
        return await withdraw(self.registries, steps, self.store, reason="broken", actor="ada")

    def leads(self, name="core", registry="npm", tag="latest"):
        at = self.stores[registry].tags.get((name, tag))
        return at and at.version

    def told(self, kind):
        return [each.component for each in self.store.events() if each.kind == kind]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    for name, value in WHO.items():
        monkeypatch.setenv(name, value)
    shop = Shop(tmp_path / "shop")
    yield shop
    assert shop.store.verify_audit().sound
    shop.store.close()


async def test_everything_is_published_tagged_and_finished(shop):
    outlook = await look(shop.checkout, shop.registries)
    keys = [target.key for target in outlook.absent]
    assert set(keys) == {"core → npm", "core → mirror", "web → npm", "other → npm"}
    assert keys.index("core → npm") < keys.index("core → mirror") < keys.index("web → npm")
    ended = await shop.publish()
    assert ended.ending == "done"
    assert shop.tags == {f"{name}@1.0.0": shop.head for name in NAMES}
    outlook = await look(shop.checkout, shop.registries)
    assert (outlook.open, len(outlook.done)) == ((), 4)


async def test_one_failure_holds_up_what_needs_it_and_no_tag_is_early(shop):
    shop.stores["mirror"].readonly = True
    ended = await shop.publish()
    assert (ended.ending, list(ended.journal.faults())) == (None, ["core → mirror"])
    assert dict(ended.journal.held_up()) == {"web → npm": "core → mirror"}
    assert shop.tags == {"other@1.0.0": shop.head}
    shop.stores["mirror"].readonly = False
    again = await shop.publish()
    assert (again.id, again.ending) == (ended.id, "done")
    assert set(shop.tags) == {f"{name}@1.0.0" for name in NAMES}
    assert sorted(shop.told("publication.git-tag")) == sorted(NAMES)
    assert [each.uploads for each in shop.stores.values()] == [3, 1]


async def test_a_registry_that_is_down_changes_nothing(shop):
    shop.stores["npm"].down = True
    with pytest.raises(UnreachableError):
        await shop.publish()
    assert (shop.tags, shop.store.publications.newest(9), shop.store.events()) == ({}, [], [])


async def test_a_part_first_and_the_rest_later(shop):
    await shop.publish("core")
    assert set(shop.tags) == {"core@1.0.0"}
    await shop.publish()
    assert set(shop.tags) == {f"{name}@1.0.0" for name in NAMES}
    assert [each.ending for each in shop.store.publications.newest(9)] == ["done", "done"]


async def test_tags_stand_on_the_commit_that_was_published(shop, monkeypatch):
    """Killed before git had any tag, and gone on with after another commit that releases nothing."""
    published = shop.head
    with monkeypatch.context() as patch:
        patch.setattr(engine, "create_tags", _killed)
        with pytest.raises(Killed):
            await shop.publish()
    assert shop.tags == {}
    shop.release()
    assert shop.head != published
    ended = await shop.publish()
    assert ended.ending == "done"
    assert set(shop.tags.values()) == {published}


async def test_a_tag_made_in_the_last_moment_is_in_the_record(shop, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_note_tags", _killed)
        with pytest.raises(Killed):
            await shop.publish()
    assert (len(shop.tags), shop.told("publication.git-tag")) == (3, [])
    assert await shop.publish() is None
    assert sorted(shop.told("publication.git-tag")) == sorted(NAMES)
    assert len(shop.told("publication.done")) == 1
    assert await shop.publish() is None
    assert len(shop.told("publication.git-tag")) == 3


async def test_another_machine_goes_on_without_the_journal(shop, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setattr(engine, "create_tags", _killed)
        with pytest.raises(Killed):
            await shop.publish()
    other = Store.open(f"sqlite:///{tmp_path}/other.db")
    ended = await shop.publish(store=other)
    other.close()
    assert ended.ending == "done"
    assert set(shop.tags) == {f"{name}@1.0.0" for name in NAMES}
    assert [each.uploads for each in shop.stores.values()] == [3, 1]
    assert await shop.publish() is None  # here, where it was left unfinished
    assert shop.store.publications.newest(1)[0].ending == "done"


async def test_what_was_released_from_another_commit_is_not_released_again(shop):
    await shop.publish()
    first = shop.head
    shop.release()
    del shop.stores["npm"].contents[Coordinate("other", "1.0.0")]
    with pytest.raises(BadInputError, match=f"on {first[:12]}") as caught:
        await look(shop.checkout, shop.registries)
    assert caught.value.code == "tags.elsewhere"


async def test_a_repair_of_an_older_release_takes_no_name_from_a_newer_one(shop):
    await shop.publish()
    shop.release(core="1.1.0")
    await shop.publish()
    shop.git("checkout", "--quiet", "core@1.0.0")
    shop.release(core="1.0.1")
    outlook = await look(shop.checkout, shop.registries)
    assert {(target.key, target.tags) for target in outlook.absent} == {("core → npm", ()), ("core → mirror", ())}
    assert (await shop.publish()).ending == "done"
    assert (shop.leads(), "core@1.0.1" in shop.tags) == ("1.1.0", True)


async def test_newer_versions_supersede_what_was_never_finished(shop):
    shop.stores["mirror"].readonly = True
    await shop.publish()
    shop.stores["mirror"].readonly = False
    shop.release(core="1.0.1")
    assert (await shop.publish()).ending == "done"
    assert sorted(str(each.ending) for each in shop.store.publications.newest(9)) == ["done", "superseded"]
    assert {"core@1.0.1", "web@1.0.0"} <= set(shop.tags)
    assert "core@1.0.0" not in shop.tags


async def test_names_lead_back_to_the_newest_release_that_is_well(shop):
    for version in ("1.0.0", "1.1.0", "1.2.0-rc.1", "1.2.0"):
        shop.release(other=version)
        await shop.publish()
    await shop.withdraw("other@1.1.0")
    assert shop.leads("other") == "1.2.0"
    (said,) = await shop.withdraw("other@1.2.0")
    assert said.step.back_to.version == "1.0.0"  # 1.1.0 is withdrawn, and the other a prerelease
    assert shop.leads("other") == "1.0.0"
    assert (await shop.publish()) is None
    assert shop.leads("other") == "1.0.0"
    (said,) = await shop.withdraw("other@1.0.0")
    assert (said.step.back_to, shop.leads("other")) == (None, None)


async def test_a_clone_without_tags_promotes_nothing_that_was_withdrawn(shop, tmp_path):
    await shop.publish()
    shop.release(core="1.1.0")
    await shop.publish()
    await shop.withdraw("core@1.1.0")
    shop.git("tag", "--delete", *shop.tags)
    other = Store.open(f"sqlite:///{tmp_path}/other.db")
    ended = await shop.publish(store=other)
    other.close()
    assert ended.ending == "done"
    assert shop.tags["core@1.1.0"] == shop.head
    assert (shop.leads(), shop.leads(registry="mirror"), shop.leads("web")) == ("1.0.0", "1.0.0", "1.0.0")


async def test_what_is_withdrawn_before_it_is_finished_is_not_promoted_by_the_rest(shop):
    await shop.publish()
    shop.release(core="1.1.0")
    shop.stores["mirror"].readonly = True
    assert (await shop.publish()).ending is None
    await shop.withdraw("core@1.1.0")
    shop.stores["mirror"].readonly = False
    assert (await shop.publish()).ending == "done"
    assert shop.leads() == "1.0.0"


async def test_a_withdrawal_that_fails_in_one_place_is_tried_in_all_others(shop):
    await shop.publish()
    shop.release(core="1.1.0", web="1.0.1")
    await shop.publish()
    shop.stores["npm"].readonly = True
    said = await shop.withdraw("core@1.1.0", "web@1.0.1")
    assert {each.step.target.key: each.fault is None for each in said} == {
        "web → npm": False,
        "core → npm": False,
        "core → mirror": True,
    }
    assert (shop.leads(), shop.leads(registry="mirror")) == ("1.1.0", "1.0.0")
    shop.stores["npm"].readonly = False
    again = await shop.withdraw("core@1.1.0", "web@1.0.1")
    assert all(each.fault is None for each in again)
    assert (shop.leads(), shop.leads("web")) == ("1.0.0", "1.0.0")
    assert (len(shop.told("withdrawal.failed")), len(shop.told("withdrawal.done"))) == (2, 4)


async def test_a_way_back_that_is_named(shop):
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        shop.release(core=version)
        await shop.publish()
    await shop.withdraw("core@1.2.0", back_to=parse_version("1.0.0"))
    assert shop.leads() == "1.0.0"
    with pytest.raises(BadInputError) as caught:
        await shop.withdraw("core@1.1.0", back_to=parse_version("1.2.0"))
    assert caught.value.code == "withdraw.back-to"


def _killed(*_):
    raise Killed
