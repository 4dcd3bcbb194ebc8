"""Pointers under those who move them at the same time, and those who must not move them back."""

import asyncio
from dataclasses import replace
from pathlib import Path

import obstore
import orjson
import pytest
from cdn_world import NAMES, artifact, settings, shared_moto

from crossfade.artifacts.cdn.manifest import in_order
from crossfade.artifacts.cdn.opening import open_cdn
from crossfade.artifacts.port import ConflictError, Coordinate, MissingError
from crossfade.core.clock import VirtualClock
from crossfade.core.errors import BadInputError


@pytest.fixture(scope="module")
def moto(require):
    server = shared_moto(require("moto_server"))
    server.make_bucket("cdn-pointers")
    return server


@pytest.fixture(params=["folder", "s3"])
def words(request, tmp_path):
    if request.param == "folder":
        return settings(f"file://{tmp_path}/cdn")
    moto = request.getfixturevalue("moto")
    return settings(f"s3://cdn-pointers/{tmp_path.name}", endpoint=moto.url)


@pytest.fixture
def make(words):
    """A CDN as one of several machines sees it."""

    def opened(by="ci"):
        return open_cdn("cdn", words, Path("/"), NAMES, by=by, clock=VirtualClock(1e9))

    return opened


@pytest.fixture
def publish(make, tmp_path):
    async def do(version, *, tag="app/v1", cdn=None):
        cdn, at = cdn or make(), Coordinate("app", version)
        files = {"app.js": f"import './part.js' // {version}".encode(), "part.js": version.encode()}
        await cdn.upload(artifact(at, tmp_path / version, files))
        if tag:
            await cdn.tag(at, [tag])
        return at

    return do


async def served(cdn, tag="app/v1"):
    """Of which version each of a pointer's files is."""
    bodies = [(await cdn.store.read(f"{tag}/{path}")).body.decode() for path in ("app.js", "part.js")]
    return [body.rpartition("// ")[2] for body in bodies]


async def test_many_move_it_at_once(make, publish):
    """The newest wins, whoever was last; every file is of it, and no move is lost from the history."""
    versions = [f"1.{minor}.0" for minor in (3, 9, 10, 1, 7, 2)]
    places = [await publish(version, tag=None) for version in versions]
    await asyncio.gather(*(make(f"machine-{n}").tag(at, ["app/v1"]) for n, at in enumerate(places)))
    cdn = make()
    pointer = await cdn.pointers.read("app/v1")
    assert (pointer.version, pointer.open) == ("1.10.0", False)
    assert await served(cdn) == ["1.10.0"] * 2
    moved = [tuple(map(int, move.version.split("."))) for move in pointer.history]
    assert moved == sorted(set(moved)), "each move went forward"
    assert {move.by for move in pointer.history} <= {f"machine-{n}" for n in range(6)}


async def test_an_older_release_does_not_move_it_back(make, publish):
    """A repair of an older line is published, and those who follow the pointer keep the newer one."""
    await publish("1.10.0")
    before = await make().pointers.read("app/v1")
    older = await publish("1.9.1")
    assert await make().pointers.read("app/v1") == before
    assert (await make().find([older]))[older].tags == frozenset()


async def test_a_withdrawn_version_gets_no_pointer_again(make, publish):
    """Whoever resumes its publication, or started it before the withdrawal, is told."""
    old, new = await publish("1.0.0"), await publish("1.1.0")
    await make("anna").withdraw(new, reason="it breaks carts", back_to=old)
    with pytest.raises(ConflictError, match="it breaks carts"):
        await make().tag(new, ["app/v1"])
    assert await served(make()) == ["1.0.0"] * 2
    pointer = await make().pointers.read("app/v1")
    assert [(move.version, move.by, move.why) for move in pointer.history][-1] == ("1.0.0", "anna", "it breaks carts")
    newest = await publish("1.2.0")
    assert (await make().find([newest]))[newest].tags == {"app/v1"}


async def test_a_withdrawal_and_a_publication_at_once(make, publish):
    """In whatever order they come: nobody is led to what was withdrawn."""
    old, bad = await publish("1.0.0"), await publish("1.1.0", tag=None)
    said = await asyncio.gather(
        make().tag(bad, ["app/v1"]),
        make().withdraw(bad, reason="bad", back_to=old),
        return_exceptions=True,
    )
    assert all(each is None or isinstance(each, ConflictError) or hasattr(each, "done") for each in said)
    assert (await make().pointers.read("app/v1")).version == "1.0.0"
    assert await served(make()) == ["1.0.0"] * 2


async def test_another_major_is_no_way_back(make, publish):
    first, second = await publish("1.0.0"), await publish("2.0.0", tag="app/v2")
    said = await make().withdraw(second, reason="bad", back_to=first)
    assert said.done == ()
    assert "app/v2 still leads to app@2.0.0: app@1.0.0 is of another major version" in said.left


async def test_a_person_points_it_anywhere(make, publish):
    """Back and forward again, with the reason in its history; the next publication goes on from there."""
    old, new = await publish("1.0.0"), await publish("1.1.0")
    await make("anna").point("app/v1", old, why="carts break")
    assert await served(make()) == ["1.0.0"] * 2
    await make("anna").point("app/v1", new, why="it was the proxy")
    assert [move.why for move in (await make().pointers.read("app/v1")).history][-2:] == [
        "carts break",
        "it was the proxy",
    ]


async def test_the_late_writer_of_a_file_puts_the_winners_there(make, publish):
    """One copies slowly while another moves the pointer on and finishes: the slow one's last file is not what stays."""
    await publish("1.0.0")
    slow, late = make(), await publish("1.1.0", tag=None)
    winner = await publish("1.2.0", tag=None)

    class Slow:
        def __init__(self, store):
            self.store, self.first = store, True

        def __getattr__(self, name):
            return getattr(self.store, name)

        async def put(self, path, *args, **options):
            if path == "app/v1/part.js" and self.first:
                self.first = False
                await make().tag(winner, ["app/v1"])
                held = await self.store.read(path)
                options["replaces"] = held.stamp  # the worst case: its write goes through all the same
            return await self.store.put(path, *args, **options)

    await replace(slow, store=Slow(slow.store)).tag(late, ["app/v1"])
    assert (await make().pointers.read("app/v1")).version == "1.2.0"
    assert await served(make()) == ["1.2.0"] * 2


async def test_tampering_is_mended_by_tagging_again(make, publish):
    at = await publish("1.0.0")
    cdn = make()
    held = await cdn.store.read("app/v1/app.js")
    assert await cdn.store.put("app/v1/app.js", b"evil()", {}, replaces=held.stamp)
    await cdn.tag(at, ["app/v1"])
    assert await served(cdn) == ["1.0.0"] * 2


async def test_a_pointer_never_copies_what_is_not_what_was_published(make, publish):
    at = await publish("1.0.0", tag=None)
    cdn = make()
    held = await cdn.store.read("app/v1.0.0/part.js")
    assert await cdn.store.put("app/v1.0.0/part.js", b"6.6.6", held.headers, replaces=held.stamp)
    with pytest.raises(ConflictError, match=r"part\.js of app@1\.0\.0 is not what was published"):
        await cdn.tag(at, ["app/v1"])
    assert await cdn.store.read("app/v1/app.js") is None


async def test_a_pointer_that_would_mislead_is_refused(make, publish):
    """The users of a major version get no other, no prerelease, and nothing is written over anything else."""
    for version, tag, code in (
        ("1.0.0", "app/v2", "cdn.wrong-pointer"),
        ("1.0.0-rc.1", "app/v1", "cdn.wrong-pointer"),
        ("1.0.0", "other/v1", "cdn.bad-tag"),
        ("1.0.0", "app/v1.0.0", "cdn.bad-tag"),
        ("1.0.0", "app/../v1", "cdn.bad-tag"),
        ("1.0.0", "app/..", "cdn.bad-path"),
        ("1.0.0", "app/", "cdn.bad-tag"),
    ):
        at = await publish(version, tag=None)
        with pytest.raises(BadInputError) as caught:
            await make().tag(at, [tag])
        assert caught.value.code == code
    assert await make().pointers.of("app") == {}


async def test_a_prerelease_has_a_pointer_of_another_name(make, publish):
    at = await publish("2.0.0-rc.1", tag="app/next")
    assert (await make().find([at]))[at].tags == {"app/next"}


async def test_what_somebody_else_put_there_is_told(make, publish):
    await publish("1.0.0")
    cdn = make()
    held = await cdn.store.read("app/v1/.pointer.json")
    await cdn.store.put("app/v1/.pointer.json", b"{}", {}, replaces=held.stamp)
    at = await publish("1.1.0", tag=None)
    with pytest.raises(ConflictError) as caught:
        await cdn.tag(at, ["app/v1"])
    assert caught.value.code == "cdn.not-a-pointer"
    assert "app/v1/.pointer.json" in caught.value.where


async def test_a_broken_off_upload_is_not_there(make, publish, tmp_path):
    """Its list of files was claimed: other bytes are refused, the same ones finish it."""
    at = await publish("1.0.0", tag=None)
    cdn = make()
    if hasattr(cdn.store, "folder"):
        (cdn.store.folder / "app/v1.0.0/part.js").unlink()
    else:
        await obstore.delete_async(cdn.store.objects, "app/v1.0.0/part.js")
    assert await cdn.find([at]) == {}
    with pytest.raises(MissingError):
        await cdn.tag(at, ["app/v1"])
    with pytest.raises(ConflictError):
        await cdn.upload(artifact(at, tmp_path / "other", {"app.js": b"x", "part.js": b"y"}))
    await publish("1.0.0")
    assert await served(cdn) == ["1.0.0"] * 2


async def test_two_components_in_one_place_are_told_apart(tmp_path, words):
    """Without {name} in the layout they would overwrite each other: the second one is told."""
    words = words.model_copy(update={"immutable": "v{version}/", "pointer": "v{major}/"})
    cdn = open_cdn("cdn", words, Path("/"), NAMES, by="ci")
    first, second = Coordinate("loader", "1.0.0"), Coordinate("widget", "1.0.0")
    await cdn.upload(artifact(first, tmp_path / "a", {"a.js": b"a"}))
    await cdn.tag(first, ["v1"])
    with pytest.raises(ConflictError) as caught:
        await cdn.upload(artifact(second, tmp_path / "b", {"b.js": b"b"}))
    assert caught.value.code == "cdn.version-of-another"
    other = Coordinate("widget", "1.0.1")
    await cdn.upload(artifact(other, tmp_path / "b", {"b.js": b"b"}))
    with pytest.raises(ConflictError) as caught:
        await cdn.tag(other, ["v1"])
    assert caught.value.code == "cdn.pointer-of-another"


async def test_the_list_of_files_is_there_for_pages(make, publish):
    await publish("1.0.0")
    cdn = make()
    said = orjson.loads((await cdn.store.read("app/v1.0.0/integrity.json")).body)
    assert said["files"]["part.js"] == {
        "integrity": "sha384-6cJHCC1KDim4erfsWJCEsDrQoRrgPWNY0dHpI32mGUuCeEL1D2K1ps/X3YRkd1sX",
        "size": 5,
    }


def test_files_that_name_others_come_last():
    files = {
        "app.js": b"import('./chunks/a-1.js')",
        "chunks/a-1.js": b"import './b-2.js'; import './loop.js'",
        "chunks/b-2.js": b"//# sourceMappingURL=b-2.js.map",
        "chunks/b-2.js.map": b'{"file":"b-2.js"}',
        "chunks/loop.js": b"import './a-1.js'",
        "index.html": b'<script src="app.js"></script><link href="style.css">',
        "style.css": b"@font-face{src:url(x.woff2)}",
        "x.woff2": b"app.js",
    }
    order = in_order(files)
    assert sorted(order) == sorted(files)
    assert order[-1] == "index.html"
    for first, then in [("chunks/a-1.js", "app.js"), ("chunks/b-2.js", "chunks/a-1.js"), ("x.woff2", "style.css")]:
        assert order.index(first) < order.index(then)
    assert order.index("chunks/b-2.js.map") < order.index("chunks/b-2.js")
