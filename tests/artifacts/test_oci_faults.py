"""What goes wrong between us and a registry of images, on a real docker-registry, and how it ends."""

import asyncio
import hashlib

import httpx
import pytest
from aiohttp import web
from image_registry_world import PASSWORD, PLATFORMS, USER, ImageServer, Layout, TokenServer, image_artifact, packed
from python_index_world import Relay, killed_at, noise
from registry_world import Fault, faulty

from crossfade.artifacts.answers import Answer
from crossfade.artifacts.credentials import basic
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Artifact, ConflictError, Coordinate, MissingError, RefusedError, Secret
from crossfade.artifacts.registries.oci.names import never_moved
from crossfade.artifacts.registries.oci.registry import OciRegistry
from crossfade.artifacts.registries.oci.repository import Repository
from crossfade.artifacts.registries.oci.session import Session
from crossfade.config.publishing import OciRegistry as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

STAYS = never_moved(["v{version}", "{major}.{minor}", "{version}-{sha}", "latest"])
QUICK = Manners(rate=1000, timeout=30, attempts=3, first_wait=0.01, longest_wait=0.05)
PIECE = 1 << 20
VARIABLES = {"username": "$IMAGES_USER", "password": "$IMAGES_PASSWORD"}

PUBLISH = """
import asyncio, sys
from pathlib import Path
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.artifacts.registries.oci.registry import OciRegistry
url, name, version, place = sys.argv[1:]
it = Artifact(name, Coordinate(name, version), (Path(place),), Path(place))
registry = OciRegistry(
    RegistryClient("images", url), version_tag=lambda at: "v" + at.version, immutable=lambda tag: True, chunk=1 << 20
)
asyncio.run(registry.upload(it))
"""


@pytest.fixture(scope="module")
def server(require, tmp_path_factory):
    server = ImageServer(require("docker-registry"), tmp_path_factory.mktemp("images"))
    yield server
    server.kill()


@pytest.fixture
async def connect():
    made = []

    def open_registry(url, *, manners=QUICK, login=None, chunk=PIECE):
        client = RegistryClient("images", url, manners=manners, login=login)
        made.append(OciRegistry(client, version_tag=lambda at: f"v{at.version}", immutable=STAYS, chunk=chunk))
        return made[-1]

    yield open_registry
    for each in made:
        await each.aclose()


def large(folder, name, size=6_000_000):
    return image_artifact(folder, name, "1.0.0", noise(size, name.encode()))


def layer_of(artifact):
    """Path of the largest blob."""
    return max(artifact.files[0].glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)


def sent(proxy, method):
    """Paths of the requests that went to blobs."""
    return [path for seen, path, _ in proxy.seen if seen == method and "/blobs/" in path]


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("tar", [False, True])
async def test_many_platforms_arrive_byte_for_byte(server, connect, tmp_path, docker, tar):
    layout = Layout(tmp_path / "image")
    each = [
        layout.manifest(platform["architecture"].encode(), platform=platform, docker=docker) for platform in PLATFORMS
    ]
    root = layout.index(each, docker=docker)
    place = layout.close(root)
    if tar:
        place = packed(place, tmp_path / "image.tar")
    name = f"platforms-{docker}-{tar}".lower()
    it = Artifact(name, Coordinate(name, "1.0.0"), (place,), tmp_path)
    registry = connect(server.url)
    await registry.upload(it)
    assert (await registry.verify(it)).integrity == {"manifest": root["digest"]}
    headers = {"accept": root["mediaType"]}
    async with httpx.AsyncClient(base_url=f"{server.url}/v2/{name}/manifests", headers=headers) as reader:
        answer = await reader.get("v1.0.0")
        parts = [await reader.head("/" + one["digest"], headers={"accept": one["mediaType"]}) for one in each]
    assert hashlib.sha256(answer.content).hexdigest() == root["digest"].removeprefix("sha256:")
    assert answer.headers["content-type"] == root["mediaType"]
    assert [part.status_code for part in parts] == [200, 200]


async def test_a_publisher_killed_in_the_middle_of_a_blob_is_resumed(server, connect, tmp_path):
    it = large(tmp_path / "image", "killed")
    async with Relay(server.port, 3_000_000).running() as relay:
        address = f"http://127.0.0.1:{relay.port}"
        assert await killed_at(relay.met, PUBLISH, address, "killed", "1.0.0", it.files[0]) == -9
        assert relay.met.is_set()
    assert max(server.uploads()) > 1_000_000, "it was killed with a part of the blob on the server"
    registry = connect(server.url)
    assert await registry.find([it.at]) == {}
    async with faulty(server.url) as proxy:
        await connect(proxy.url).upload(it)
        assert len(sent(proxy, "PATCH")) == 6
    await registry.verify(it)
    async with faulty(server.url) as proxy:
        await connect(proxy.url).upload(it)
        assert {method for method, *_ in proxy.seen} == {"HEAD"}


async def test_a_connection_that_breaks_within_a_piece_is_no_fault(server, connect, tmp_path):
    """docker-registry gives up an upload that it has got a part of a piece of: it is begun anew."""
    it = large(tmp_path / "image", "broken")
    async with Relay(server.port, 3_500_000, cut=True).running() as relay:
        await connect(f"http://127.0.0.1:{relay.port}").upload(it)
        assert relay.met.is_set()
    await connect(server.url).verify(it)


async def test_pieces_that_have_arrived_are_not_sent_again(server, connect, tmp_path):
    it = large(tmp_path / "image", "goes-on")
    async with faulty(server.url, Fault(200, only="NEVER")) as proxy:
        registry = connect(proxy.url)

        async def in_the_middle():
            while len(sent(proxy, "PATCH")) < 3:  # noqa: ASYNC110 - the proxy has no event for it
                await asyncio.sleep(0)
            proxy.faults[:] = [Fault(cut=True, only="PATCH")]

        await asyncio.gather(registry.upload(it), in_the_middle())
        assert proxy.faults == []
        assert len(sent(proxy, "PATCH")) == 7, "six pieces, and one of them twice"
        assert len(sent(proxy, "GET")) == 1, "it was asked how far it has come"
    await connect(server.url).verify(it)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, only="PATCH"),
        Fault(503, only="PATCH", after=True),
        Fault(cut=True, only="PATCH", after=True),
        Fault(cut=True, only="PUT", after=True),
        Fault(500, only="PUT", after=True),
        Fault(429, headers={"Retry-After": "0"}, only="PUT"),
        Fault(502, only="HEAD"),
        Fault(404, only="PATCH"),
        Fault(416, only="PATCH"),
    ],
    ids=lambda fault: f"{fault.only}-{fault.status or 'cut'}-{'after' if fault.after else 'before'}".lower(),
)
async def test_a_passing_fault_costs_an_attempt(request, server, connect, tmp_path, fault):
    name = "passing-" + request.node.callspec.id
    it = large(tmp_path / "image", name, size=2_500_000)
    async with faulty(server.url, fault) as proxy:
        await connect(proxy.url).upload(it)
        assert proxy.faults == []
    await connect(server.url).verify(it)


async def test_a_registry_that_takes_no_pieces_gets_the_whole(server, connect, tmp_path):
    it = large(tmp_path / "image", "whole", size=2_500_000)
    async with faulty(server.url, *(Fault(405, only="PATCH") for _ in range(20))) as proxy:
        await connect(proxy.url).upload(it)
        assert len(sent(proxy, "PATCH")) == 1
    await connect(server.url).verify(it)


async def test_a_registry_that_stays_broken_is_told(server, connect, tmp_path):
    it = large(tmp_path / "image", "stays-broken", size=100)
    said = '{"errors": [{"code": "UNKNOWN", "message": "no disk"}]}'
    async with faulty(server.url, *(Fault(500, body=said, only="POST") for _ in range(9))) as proxy:
        with pytest.raises(UnreachableError) as caught:
            await connect(proxy.url).upload(it)
    assert "no disk" in caught.value.what
    assert await connect(server.url).find([it.at]) == {}


@pytest.mark.parametrize("only", ["HEAD", "POST", "PUT"])
async def test_a_registry_that_hangs_is_told(server, connect, tmp_path, only):
    it = large(tmp_path / "image", f"hangs-{only.lower()}", size=100)
    async with faulty(server.url, Fault(only=only)) as proxy:
        with pytest.raises(UnreachableError) as caught:
            await connect(proxy.url, manners=Manners(rate=1000, timeout=0.3, attempts=1)).upload(it)
    assert "did not answer" in caught.value.what


async def test_a_registry_that_takes_nothing_says_so(server, connect, tmp_path):
    it = large(tmp_path / "image", "nowhere", size=100)
    async with faulty(server.url, Fault(404, only="POST")) as proxy:
        with pytest.raises(CrossfadeError) as caught:
            await connect(proxy.url).upload(it)
    assert caught.value.code == "oci.no-repository"


async def test_a_blob_that_the_registry_lost_is_brought_back(server, connect, tmp_path):
    it = large(tmp_path / "image", "lost", size=10_000)
    registry = connect(server.url)
    await registry.upload(it)
    server.blob(f"sha256:{layer_of(it).name}").unlink()
    with pytest.raises(MissingError) as caught:
        await registry.verify(it)
    assert caught.value.code == "oci.missing-blob"
    await registry.upload(it)
    await registry.verify(it)


async def test_a_manifest_that_was_changed_on_disk_is_seen_and_not_handed_on(server, connect, tmp_path):
    registry = connect(server.url)
    it = large(tmp_path / "image", "changed", size=100)
    await registry.upload(it)
    digest = (await registry.find([it.at]))[it.at].integrity["manifest"]
    path = server.blob(digest)
    path.write_bytes(path.read_bytes().replace(b'": ', b'":', 1))
    for order in (registry.verify(it), registry.tag(it.at, ["latest"])):
        with pytest.raises(ConflictError) as caught:
            await order
        assert caught.value.code == "oci.damaged"
    assert (await registry.find([it.at]))[it.at].tags == {"v1.0.0"}


class Stopped(BaseException):
    """The process ends here."""


class StoppingClient(RegistryClient):
    """Ends at request number `last`, just before it or just after it."""

    last, after, number, put = None, False, 0, 0

    async def request(self, method, path, **more):
        self.number += 1
        ends = self.number == self.last
        if ends and not self.after:
            raise Stopped
        answer = await super().request(method, path, **more)
        self.put += method == "PUT" and "/manifests/v" in path
        if ends:
            raise Stopped
        return answer


async def test_a_publication_that_ends_at_any_request_is_resumed(server, tmp_path):
    """Nothing is there of a version before all of it is, and the next Crossfade brings the rest."""
    platforms = Layout(tmp_path / "image")
    each = [platforms.manifest(b"x" * 3000, platform=platform) for platform in PLATFORMS]
    place = platforms.close(platforms.index(each))

    def artifact(name):
        return Artifact(name, Coordinate(name, "1.0.0"), (place,), tmp_path)

    async with StoppingClient("images", server.url, manners=QUICK) as client:

        def begun_anew():
            return OciRegistry(client, version_tag=lambda at: f"v{at.version}", immutable=STAYS, chunk=6000)

        async def publish(it, last=None, *, after=False):
            client.last, client.after, client.number, client.put = last, after, 0, 0
            registry = begun_anew()
            await registry.upload(it)
            await registry.tag(it.at, ["latest"])

        await publish(artifact("ends-never"))
        assert client.put == 1
        for last in range(1, client.number + 1):
            it = artifact(f"ends-{last}")
            with pytest.raises(Stopped):
                await publish(it, last, after=last % 2 == 0)
            client.last = None
            if await begun_anew().find([it.at]):
                await begun_anew().verify(it)
            await publish(it)
            assert (await begun_anew().verify(it)).tags == {"v1.0.0", "latest"}


async def test_a_tag_that_must_not_move_stops_all_of_them(server, connect, tmp_path):
    registry = connect(server.url)
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


async def test_a_withdrawal_moves_tags_and_no_blobs(server, connect, tmp_path):
    registry = connect(server.url)
    old, new = (image_artifact(tmp_path / v, "withdrawn", v, v.encode()) for v in ("1.0.0", "1.0.1"))
    for each in (old, new):
        await registry.upload(each)
        await registry.tag(each.at, ["1.0", "latest", f"{each.at.version}-5114f85"])
    async with faulty(server.url) as proxy:
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


async def test_a_withdrawal_with_nowhere_to_go_says_which_tags_stay(server, connect, tmp_path):
    registry = connect(server.url)
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


async def test_tokens_are_asked_for_once_and_again_when_they_have_run_out(require, connect, tmp_path):
    tokens = TokenServer(require("openssl"), tmp_path / "tokens", stale=1)
    server = ImageServer(require("docker-registry"), tmp_path / "images", tokens)
    try:
        it = image_artifact(tmp_path / "image", "a/b", "1.0.0")
        registry = connect(server.url, login=basic(Secret(USER), Secret(PASSWORD), "IMAGES_USER", "IMAGES_PASSWORD"))
        with pytest.raises(RefusedError):
            await registry.find([it.at])  # the token that it was given has run out already
        await registry.upload(it)
        await registry.verify(it)
        await registry.tag(it.at, ["latest"])
        assert tokens.scopes == ["repository:a/b:pull,push"] * 2
        tokens.stale = 1
        registry._session._tokens.clear()
        registry._session._tokens["a/b"] = await registry._session._fetch(registry._session._challenge, "a/b")
        await registry.verify(it)
        assert len(tokens.scopes) == 4
    finally:
        server.kill()
        tokens.close()


async def test_a_login_goes_to_no_other_host(server, tmp_path):
    """Registries send us to the stores of clouds for uploads; those get the bytes, and no login."""
    it = image_artifact(tmp_path / "image", "elsewhere", "1.0.0", b"x" * 100)
    async with faulty(server.url) as store:
        session = Session(
            RegistryClient("images", server.url, login=basic(Secret(USER), Secret(PASSWORD)), manners=QUICK)
        )
        began = await session.request("POST", "blobs/uploads/", repository="elsewhere")
        address = began.headers["location"].replace(server.url, store.url)
        layer = layer_of(it)
        await session.request(
            "PUT", f"{address}&digest=sha256:{layer.name}", repository="elsewhere", content=layer.read_bytes()
        )
        assert [method for method, *_ in store.seen] == ["PUT"]
        assert "Authorization" not in store.seen[0][2]
        await session.client.aclose()


def test_an_address_without_tls_is_put_right():
    session = Session(RegistryClient("images", "https://images.test/prefix"))
    assert (
        session.absolute("http://images.test/v2/a/blobs/uploads/1?s=2")
        == "https://images.test/v2/a/blobs/uploads/1?s=2"
    )
    assert session.absolute("/v2/a/blobs/uploads/1") == "https://images.test/v2/a/blobs/uploads/1"
    assert session.absolute("https://store.test/x") == "https://store.test/x"


async def test_a_token_server_without_tls_gets_no_password():
    session = Session(RegistryClient("images", "https://images.test", login=basic(Secret(USER), Secret(PASSWORD))))
    asked = Answer(401, {"www-authenticate": 'Bearer realm="http://tokens.test/",service="images"'}, b"", "")
    with pytest.raises(RefusedError) as caught:
        await session._answer_to(asked.headers, "a", None)
    assert caught.value.code == "oci.open-token-server"


async def test_credentials_come_from_the_variables_that_the_file_names(require, tmp_path):
    server = ImageServer(require("docker-registry"), tmp_path / "images", "password")
    settings = Settings(url=server.url, repository="acme/{name}", attempts=1, **VARIABLES)
    it = image_artifact(tmp_path / "image", "core", "1.0.0")

    def opened(environ):
        return OciRegistry.of("images", settings, environ, schemes=["main-{sha}"])

    try:
        registry = opened({"IMAGES_USER": USER, "IMAGES_PASSWORD": PASSWORD})
        await registry.upload(it)
        await registry.tag(it.at, ["main-5114f85", "1.0"])
        assert (await registry.verify(it)).tags == {"v1.0.0", "1.0"}, "what a commit alone names is not asked for"
        await registry.aclose()
        assert (server.store / "docker/registry/v2/repositories/acme/core/_manifests/tags/v1.0.0").is_dir()
        stranger = opened({"IMAGES_USER": USER, "IMAGES_PASSWORD": "a-wrong-one"})
        with pytest.raises(RefusedError) as caught:
            await stranger.find([it.at])
        assert "IMAGES_PASSWORD" in caught.value.next
        assert "a-wrong-one" not in str(caught.value)
        await stranger.aclose()
        with pytest.raises(BadInputError) as missing:
            opened({"IMAGES_USER": USER})
        assert "IMAGES_PASSWORD" in missing.value.what
        without = settings.model_copy(update={"username": None})
        with pytest.raises(BadInputError) as nobody:
            OciRegistry.of("images", without, {"IMAGES_PASSWORD": "x"})
        assert nobody.value.code == "oci.no-user"
    finally:
        server.kill()


async def test_an_image_is_one_layout(server, connect, tmp_path):
    it = Artifact("two", Coordinate("two", "1.0.0"), (tmp_path / "a", tmp_path / "b"), tmp_path)
    with pytest.raises(BadInputError) as caught:
        await connect(server.url).upload(it)
    assert "2 files" in caught.value.what
