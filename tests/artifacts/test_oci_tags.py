"""Tags of images move together or not at all, and a withdrawal moves tags alone; on a real docker-registry."""

import pytest
from aiohttp import web
from image_registry_world import QUICK, image_artifact, sent
from registry_world import faulty

from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import ConflictError
from crossfade.artifacts.registries.oci.repository import Repository
from crossfade.artifacts.registries.oci.session import Session
from crossfade.core.errors import BadInputError


async def test_a_tag_that_must_not_move_stops_all_of_them(images, connect, tmp_path):
    registry = connect(images.url)
    old, new = (image_artifact(tmp_path / v, "pinned", v, v.encode()) for v in ("1.0.0", "1.0.1"))
    for each in (old, new):
        await registry.upload(each)
    await registry.tag(old.at, ["1.0", "latest", "1.0.0-5114f85"])
    with pytest.raises(ConflictError) as caught:
        await registry.tag(new.at, ["latest", "1.0.0-5114f85"])
    assert "1.0.0-5114f85" in caught.value.what
    found = await registry.find([old.at, new.at])
    assert found[old.at].tags == {"v1.0.0", "1.0", "latest", "1.0.0-5114f85"}
    assert found[new.at].tags == {"v1.0.1"}
    with pytest.raises(BadInputError):
        await registry.tag(new.at, ["latest", "not a tag"])
    assert (await registry.find([new.at]))[new.at].tags == {"v1.0.1"}


async def test_a_withdrawal_moves_tags_and_no_blobs(images, connect, tmp_path):
    registry = connect(images.url)
    old, new = (image_artifact(tmp_path / v, "withdrawn", v, v.encode()) for v in ("1.0.0", "1.0.1"))
    for each in (old, new):
        await registry.upload(each)
        await registry.tag(each.at, ["1.0", "latest", f"{each.at.version}-5114f85"])
    async with faulty(images.url) as proxy:
        said = await connect(proxy.url).withdraw(new.at, reason="loses carts", back_to=old.at)
        assert sent(proxy, "POST") == sent(proxy, "GET") == []
        assert {method for method, *_ in proxy.seen} == {"GET", "HEAD", "PUT"}
    assert said.done == (
        "withdrawn:1.0 leads to withdrawn@1.0.0 again",
        "withdrawn:latest leads to withdrawn@1.0.0 again",
    )
    assert any("loses carts" in left for left in said.left)
    found = await registry.find([old.at, new.at])
    assert found[old.at].tags == {"v1.0.0", "1.0.0-5114f85", "1.0", "latest"}
    assert found[new.at].tags == {"v1.0.1", "1.0.1-5114f85"}
    await registry.verify(new)


async def test_a_withdrawal_with_nowhere_to_go_says_which_tags_stay(images, connect, tmp_path):
    registry = connect(images.url)
    it = image_artifact(tmp_path / "image", "only", "1.0.0")
    await registry.upload(it)
    await registry.tag(it.at, ["latest"])
    said = await registry.withdraw(it.at, reason="loses carts", back_to=None)
    assert said.done == ()
    assert "only:latest still leads to only@1.0.0: there is no version to go back to" in said.left


async def test_many_tags_come_in_pages():
    """Where a registry has pages, which docker-registry 2 has not: its links lead on, and may be relative."""
    pages = {"": (["a", "b"], "/v2/many/tags/list?last=b&n=2"), "b": (["c"], "list?last=c"), "c": (None, "")}

    async def page(request):
        tags, more = pages[request.query.get("last", "")]
        headers = {"Link": f'<{more}>; rel="next"'} if more else {}
        return web.json_response({"name": "many", "tags": tags}, headers=headers)

    app = web.Application()
    app.router.add_get("/v2/many/tags/list", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with RegistryClient("images", f"http://127.0.0.1:{runner.addresses[0][1]}", manners=QUICK) as client:
        assert await Repository(Session(client), "many").tags() == ("a", "b", "c")
    await runner.cleanup()
