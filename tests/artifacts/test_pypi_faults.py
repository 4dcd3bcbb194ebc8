"""What goes wrong between us and a Python index, on a real pypi-server, and how it ends."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE

import pytest
from aiohttp import web
from python_index_world import (
    EVERYTHING,
    PASSWORD,
    USER,
    IndexServer,
    Relay,
    killed_at,
    make_sdist,
    make_wheel,
    python_artifact,
)
from registry_world import Fault, faulty

from crossfade.artifacts.credentials import basic
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Artifact, ConflictError, Coordinate, MissingError, RefusedError, Secret
from crossfade.artifacts.registries.pypi.registry import PypiRegistry
from crossfade.config.publishing import PypiRegistry as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

VARIABLES = {"username": "$INDEX_USER", "password": "$INDEX_PASSWORD"}
TOKEN = {"password": "$TOKEN"}
QUICK = Manners(rate=1000, timeout=30, attempts=3, first_wait=0.01, longest_wait=0.05)

PUBLISH = """
import asyncio, sys
from pathlib import Path
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.artifacts.registries.pypi.registry import PypiRegistry
url, upload, name, version, folder = sys.argv[1:]
it = Artifact(name, Coordinate(name, version), tuple(sorted(Path(folder).iterdir())), Path(folder))
asyncio.run(PypiRegistry(RegistryClient("index", url), upload).upload(it))
"""


@pytest.fixture(scope="module")
def server(require, tmp_path_factory):
    server = IndexServer(require("pypi-server"), tmp_path_factory.mktemp("index") / "store")
    yield server
    server.kill()


@pytest.fixture
async def connect():
    made = []

    def open_index(server, *, root=None, manners=QUICK, login=None):
        url, upload = (f"{root}/simple/", f"{root}/") if root else (server.url, server.upload)
        made.append(PypiRegistry(RegistryClient("index", url, login=login, manners=manners), upload))
        return made[-1]

    yield open_index
    for each in made:
        await each.aclose()


def root_of(server):
    return server.upload.rstrip("/")


async def test_what_a_crash_left_out_is_uploaded_and_nothing_else(server, connect, tmp_path):
    it = python_artifact(tmp_path, "partial", "1.0")
    wheel, sdist = it.files
    await connect(server).upload(Artifact("partial", it.at, (wheel,), tmp_path))
    found = (await connect(server).find([it.at]))[it.at]
    assert set(found.integrity) == {wheel.name}
    with pytest.raises(MissingError) as caught:
        await connect(server).verify(it)
    assert sdist.name in caught.value.what
    assert wheel.name not in caught.value.what
    async with faulty(root_of(server)) as proxy:
        await connect(server, root=proxy.url).upload(it)
        posts = [headers for method, _, headers in proxy.seen if method == "POST"]
    assert len(posts) == 1
    assert set((await connect(server).verify(it)).integrity) == {wheel.name, sdist.name}


class Stopped(BaseException):
    """The process ends here."""


class StoppingClient(RegistryClient):
    """Ends at request number `last`, just before it or just after it."""

    last, after, posted = 0, False, 0

    async def request(self, method, path, **more):
        self.last -= 1
        if self.last == 0 and not self.after:
            raise Stopped
        answer = await super().request(method, path, **more)
        self.posted += method == "POST"
        if self.last == 0:
            raise Stopped
        return answer


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("last", [1, 2, 3])
async def test_an_upload_that_ends_at_any_request_is_resumed(server, connect, tmp_path, last, after):
    it = python_artifact(tmp_path, f"ends-{last}-{after}".lower(), "1.0")
    async with StoppingClient("index", server.url, manners=QUICK) as client:
        client.last, client.after = last, after
        with pytest.raises(Stopped):
            await PypiRegistry(client, server.upload).upload(it)
        await PypiRegistry(client, server.upload).upload(it)
        assert client.posted == 2, "nothing was sent twice"
    await connect(server).verify(it)


async def test_one_differing_file_stops_the_upload_before_its_first_byte(server, connect, tmp_path):
    first = python_artifact(tmp_path / "a", "differs", "1.0")
    await connect(server).upload(Artifact("differs", first.at, first.files[1:], first.root))
    second = python_artifact(tmp_path / "b", "differs", "1.0", content=b"other")
    with pytest.raises(ConflictError) as caught:
        await connect(server).upload(second)
    assert caught.value.code == "pypi.conflict"
    assert not (server.store / second.files[0].name).exists()


async def test_a_publisher_killed_in_the_middle_of_a_file_leaves_nothing(server, connect, tmp_path):
    it = python_artifact(tmp_path / "dist", "killed", "1.0", size=6_000_000)
    async with Relay(server.port, 3_000_000).running() as relay:
        upload = f"http://127.0.0.1:{relay.port}/"
        code = await killed_at(relay.met, PUBLISH, server.url, upload, "killed", "1.0", tmp_path / "dist")
        assert code == -9
        assert relay.met.is_set()
    assert await connect(server).find([it.at]) == {}
    await connect(server).upload(it)
    await connect(server).verify(it)


async def test_half_a_file_that_the_index_kept_is_told_as_that(server, connect, tmp_path):
    it = python_artifact(tmp_path, "half", "1.0", size=100_000)
    content = it.files[0].read_bytes()
    (server.store / it.files[0].name).write_bytes(content[:40_000])
    with pytest.raises(ConflictError) as caught:
        await connect(server).upload(it)
    assert caught.value.code == "pypi.half-uploaded"
    assert it.files[0].name in caught.value.next
    (server.store / it.files[0].name).unlink()
    await connect(server).upload(it)
    await connect(server).verify(it)


async def test_a_connection_that_breaks_once_is_no_fault(server, connect, tmp_path):
    it = python_artifact(tmp_path, "broken", "1.0", size=3_000_000)
    async with Relay(server.port, 1_000_000, cut=True).running() as relay:
        await connect(server, root=f"http://127.0.0.1:{relay.port}").upload(it)
        assert relay.met.is_set()
    await connect(server).verify(it)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, body="out of order", only="POST"),
        Fault(503, only="POST", after=True),
        Fault(cut=True, only="POST", after=True),
        Fault(429, headers={"Retry-After": "0"}, only="POST"),
        Fault(502, only="GET"),
    ],
    ids=["500", "503-afterwards", "cut-afterwards", "429", "502-on-reading"],
)
async def test_a_passing_fault_costs_an_attempt(request, server, connect, tmp_path, fault):
    name = "passing-" + request.node.callspec.id
    it = python_artifact(tmp_path, name, "1.0")
    async with faulty(root_of(server), fault) as proxy:
        await connect(server, root=proxy.url).upload(it)
        assert proxy.faults == []
    assert len((await connect(server).verify(it)).integrity) == 2


async def test_an_index_that_stays_broken_is_told(server, connect, tmp_path):
    it = python_artifact(tmp_path, "stays-broken", "1.0")
    async with faulty(root_of(server), *(Fault(500, body="no disk", only="POST") for _ in range(9))) as proxy:
        with pytest.raises(UnreachableError) as caught:
            await connect(server, root=proxy.url).upload(it)
    assert "no disk" in caught.value.what
    assert await connect(server).find([it.at]) == {}


async def test_an_index_that_hangs_is_told(server, connect, tmp_path):
    it = python_artifact(tmp_path, "hangs", "1.0")
    short = Manners(rate=1000, timeout=0.3, attempts=1)
    for only, call in (("GET", "find"), ("POST", "upload")):
        async with faulty(root_of(server), Fault(only=only)) as proxy:
            index = connect(server, root=proxy.url, manners=short)
            with pytest.raises(UnreachableError) as caught:
                await (index.find([it.at]) if call == "find" else index.upload(it))
            assert "did not answer within" in caught.value.what


async def test_a_refusal_in_the_index_own_words(server, connect, tmp_path):
    it = python_artifact(tmp_path, "unwanted", "1.0")
    page = "<html><head><title>400</title></head><body><h1>400</h1>The name 'unwanted' is too similar</body></html>"
    async with faulty(root_of(server), Fault(400, body=page, only="POST")) as proxy:
        with pytest.raises(CrossfadeError) as caught:
            await connect(server, root=proxy.url).upload(it)
    assert caught.value.code == "pypi.not-taken"
    assert "The name 'unwanted' is too similar" in caught.value.what


async def test_an_address_that_takes_no_uploads_is_told(server, tmp_path):
    """pypi-server says 405 to a form at its simple API, and 404 where there is nothing at all."""
    it = python_artifact(tmp_path, "lost", "1.0")
    for upload in (None, f"{root_of(server)}/legacy/nowhere/"):
        index = PypiRegistry(RegistryClient("index", server.url, manners=QUICK), upload)
        with pytest.raises(CrossfadeError) as caught:
            await index.upload(it)
        await index.aclose()
        assert caught.value.code == "pypi.no-uploads"
        assert "registries.index.upload" in caught.value.next


async def test_what_another_index_has_is_not_here(require, connect, tmp_path, server):
    """A pypi-server without `--disable-fallback` sends us to another index for what it does not have."""
    it = python_artifact(tmp_path, "elsewhere", "1.0")
    await connect(server).upload(it)
    own = IndexServer(require("pypi-server"), tmp_path / "own", fallback=server.url)
    try:
        assert await connect(own).find([it.at]) == {}
        await connect(own).upload(it)
        assert own.files() == sorted(path.name for path in it.files)
    finally:
        own.kill()


async def test_credentials_come_from_the_variables_that_the_file_names(require, tmp_path):
    locked = IndexServer(require("pypi-server"), tmp_path / "store", locked=EVERYTHING)
    try:
        settings = Settings(url=locked.url, upload=locked.upload, **VARIABLES, attempts=1)
        it = python_artifact(tmp_path / "dist", "secret", "1.0")
        index = PypiRegistry.of("index", settings, {"INDEX_USER": USER, "INDEX_PASSWORD": PASSWORD})
        await index.upload(it)
        await index.verify(it)
        await index.aclose()
        for password, shown in (("a-wrong-one", "INDEX_PASSWORD"), ("another-wrong-one", "INDEX_USER")):
            index = PypiRegistry.of("index", settings, {"INDEX_USER": USER, "INDEX_PASSWORD": password})
            with pytest.raises(RefusedError) as caught:
                await index.upload(it)
            await index.aclose()
            assert shown in caught.value.next
            assert password not in str(caught.value)
        with pytest.raises(BadInputError) as missing:
            PypiRegistry.of("index", settings, {"INDEX_USER": USER})
        assert "INDEX_PASSWORD" in missing.value.what
    finally:
        locked.kill()


async def test_a_refusal_is_told_though_the_server_hangs_up_on_the_file(require, tmp_path):
    """Everybody may read, and a large file is answered before it has come."""
    locked = IndexServer(require("pypi-server"), tmp_path / "store", locked=("update",))
    try:
        settings = Settings(url=locked.url, upload=locked.upload, **VARIABLES, attempts=1)
        index = PypiRegistry.of("index", settings, {"INDEX_USER": USER, "INDEX_PASSWORD": "a-wrong-one"})
        it = python_artifact(tmp_path / "dist", "large", "1.0", size=20_000_000)
        with pytest.raises(RefusedError) as caught:
            await index.upload(it)
        assert "INDEX_PASSWORD" in caught.value.next
        await index.aclose()
    finally:
        locked.kill()


async def test_a_token_alone_belongs_to_the_user_that_indexes_agreed_on(server):
    index = PypiRegistry.of("index", Settings(url=server.url, **TOKEN), {"TOKEN": "pypi-abc"})
    assert index._client.login.header.value == basic(Secret("__token__"), Secret("pypi-abc")).header.value
    await index.aclose()


async def test_yanked_files_and_missing_digests(tmp_path):
    """An index that speaks JSON, yanks, and tells no digests, as devpi and others may."""
    wheel = make_wheel(tmp_path, "yanked", "1.0")
    sdist = make_sdist(tmp_path, "yanked", "1.1")
    files = [
        {"filename": wheel.name, "url": f"../../files/{wheel.name}", "hashes": {}, "yanked": "loses carts"},
        {"filename": sdist.name, "url": f"../../files/{sdist.name}", "hashes": {}},
        {"filename": "yanked-1.1-py3-none-any.whl", "url": "gone", "hashes": {"sha256": "00" * 32}, "yanked": True},
    ]

    async def page(request):
        assert "application/vnd.pypi.simple.v1+json" in request.headers["Accept"]
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": "yanked", "files": files})
        return web.Response(text=body, content_type="application/vnd.pypi.simple.v1+json")

    app = web.Application()
    app.router.add_get("/simple/yanked/", page)
    app.router.add_static("/files", tmp_path)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/simple"
        index = PypiRegistry(RegistryClient("index", url, manners=QUICK))
        old, new = Coordinate("Yanked", "1.0"), Coordinate("Yanked", "1.1")
        found = await index.find([old, new])
        assert found[old].withdrawn == "loses carts"
        assert found[new].withdrawn is None
        artifact = Artifact("yanked", Coordinate("yanked", "1.0"), (wheel,), tmp_path)
        verified = await index.verify(artifact)
        assert verified.integrity == found[old].integrity
        said = await index.withdraw(old, reason="again", back_to=None)
        assert said.done == ()
        assert "loses carts" in said.left[0]
        await index.aclose()
    finally:
        await runner.cleanup()


async def test_pip_installs_what_was_published(server, connect, tmp_path):
    it = python_artifact(tmp_path / "dist", "installed", "1.0.0rc1")
    await connect(server).upload(it)
    argv = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    argv += ["--index-url", server.url, "--dest", str(tmp_path / "got"), "installed==1.0.0rc1"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=DEVNULL, stderr=PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    (got,) = (tmp_path / "got").iterdir()
    assert got.read_bytes() == it.files[0].read_bytes()
