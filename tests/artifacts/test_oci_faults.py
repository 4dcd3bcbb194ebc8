"""What goes wrong between us and a registry of images, on a real docker-registry, and how it ends."""

import asyncio
import hashlib

import httpx
import pytest
from image_registry_world import (
    PLATFORMS,
    QUICK,
    STAYS,
    Layout,
    image_artifact,
    layer_of,
    packed,
    sent,
)
from python_index_world import Relay, killed_at, noise
from registry_world import Fault, faulty

from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Artifact, ConflictError, Coordinate, MissingError
from crossfade.artifacts.registries.oci.registry import OciRegistry
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

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


def large(folder, name, size=6_000_000):
    return image_artifact(folder, name, "1.0.0", noise(size, name.encode()))


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("tar", [False, True])
async def test_many_platforms_arrive_byte_for_byte(images, connect, tmp_path, docker, tar):
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
    registry = connect(images.url)
    await registry.upload(it)
    assert (await registry.verify(it)).integrity == {"manifest": root["digest"]}
    headers = {"accept": root["mediaType"]}
    async with httpx.AsyncClient(base_url=f"{images.url}/v2/{name}/manifests", headers=headers) as reader:
        answer = await reader.get("v1.0.0")
        parts = [await reader.head("/" + one["digest"], headers={"accept": one["mediaType"]}) for one in each]
    assert hashlib.sha256(answer.content).hexdigest() == root["digest"].removeprefix("sha256:")
    assert answer.headers["content-type"] == root["mediaType"]
    assert [part.status_code for part in parts] == [200, 200]


async def test_a_publisher_killed_in_the_middle_of_a_blob_is_resumed(images, connect, tmp_path):
    it = large(tmp_path / "image", "killed")
    async with Relay(images.port, 3_000_000).running() as relay:
        address = f"http://127.0.0.1:{relay.port}"
        assert await killed_at(relay.met, PUBLISH, address, "killed", "1.0.0", it.files[0]) == -9
        assert relay.met.is_set()
    assert max(images.uploads()) > 1_000_000, "it was killed with a part of the blob on the images"
    registry = connect(images.url)
    assert await registry.find([it.at]) == {}
    async with faulty(images.url) as proxy:
        await connect(proxy.url).upload(it)
        assert len(sent(proxy, "PATCH")) == 6
    await registry.verify(it)
    async with faulty(images.url) as proxy:
        await connect(proxy.url).upload(it)
        assert {method for method, *_ in proxy.seen} == {"HEAD"}


async def test_a_connection_that_breaks_within_a_piece_is_no_fault(images, connect, tmp_path):
    """docker-registry gives up an upload that it has got a part of a piece of: it is begun anew."""
    it = large(tmp_path / "image", "broken")
    async with Relay(images.port, 3_500_000, cut=True).running() as relay:
        await connect(f"http://127.0.0.1:{relay.port}").upload(it)
        assert relay.met.is_set()
    await connect(images.url).verify(it)


async def test_pieces_that_have_arrived_are_not_sent_again(images, connect, tmp_path):
    it = large(tmp_path / "image", "goes-on")
    async with faulty(images.url, Fault(200, only="NEVER")) as proxy:
        registry = connect(proxy.url)

        async def in_the_middle():
            while len(sent(proxy, "PATCH")) < 3:  # noqa: ASYNC110 - the proxy has no event for it
                await asyncio.sleep(0)
            proxy.faults[:] = [Fault(cut=True, only="PATCH")]

        await asyncio.gather(registry.upload(it), in_the_middle())
        assert proxy.faults == []
        assert len(sent(proxy, "PATCH")) == 7, "six pieces, and one of them twice"
        assert len(sent(proxy, "GET")) == 1, "it was asked how far it has come"
    await connect(images.url).verify(it)


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
async def test_a_passing_fault_costs_an_attempt(request, images, connect, tmp_path, fault):
    name = "passing-" + request.node.callspec.id
    it = large(tmp_path / "image", name, size=2_500_000)
    async with faulty(images.url, fault) as proxy:
        await connect(proxy.url).upload(it)
        assert proxy.faults == []
    await connect(images.url).verify(it)


async def test_a_registry_that_takes_no_pieces_gets_the_whole(images, connect, tmp_path):
    it = large(tmp_path / "image", "whole", size=2_500_000)
    async with faulty(images.url, *(Fault(405, only="PATCH") for _ in range(20))) as proxy:
        await connect(proxy.url).upload(it)
        assert len(sent(proxy, "PATCH")) == 1
    await connect(images.url).verify(it)


async def test_a_registry_that_stays_broken_is_told(images, connect, tmp_path):
    it = large(tmp_path / "image", "stays-broken", size=100)
    said = '{"errors": [{"code": "UNKNOWN", "message": "no disk"}]}'
    async with faulty(images.url, *(Fault(500, body=said, only="POST") for _ in range(9))) as proxy:
        with pytest.raises(UnreachableError) as caught:
            await connect(proxy.url).upload(it)
    assert "no disk" in caught.value.what
    assert await connect(images.url).find([it.at]) == {}


@pytest.mark.parametrize("only", ["HEAD", "POST", "PUT"])
async def test_a_registry_that_hangs_is_told(images, connect, tmp_path, only):
    it = large(tmp_path / "image", f"hangs-{only.lower()}", size=100)
    async with faulty(images.url, Fault(only=only)) as proxy:
        with pytest.raises(UnreachableError) as caught:
            await connect(proxy.url, manners=Manners(rate=1000, timeout=0.3, attempts=1)).upload(it)
    assert "did not answer" in caught.value.what


async def test_a_registry_that_takes_nothing_says_so(images, connect, tmp_path):
    it = large(tmp_path / "image", "nowhere", size=100)
    async with faulty(images.url, Fault(404, only="POST")) as proxy:
        with pytest.raises(CrossfadeError) as caught:
            await connect(proxy.url).upload(it)
    assert caught.value.code == "oci.no-repository"


async def test_a_blob_that_the_registry_lost_is_brought_back(images, connect, tmp_path):
    it = large(tmp_path / "image", "lost", size=10_000)
    registry = connect(images.url)
    await registry.upload(it)
    images.blob(f"sha256:{layer_of(it).name}").unlink()
    with pytest.raises(MissingError) as caught:
        await registry.verify(it)
    assert caught.value.code == "oci.missing-blob"
    await registry.upload(it)
    await registry.verify(it)


async def test_a_manifest_that_was_changed_on_disk_is_seen_and_not_handed_on(images, connect, tmp_path):
    registry = connect(images.url)
    it = large(tmp_path / "image", "changed", size=100)
    await registry.upload(it)
    digest = (await registry.find([it.at]))[it.at].integrity["manifest"]
    path = images.blob(digest)
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


async def test_a_publication_that_ends_at_any_request_is_resumed(images, tmp_path):
    """Nothing is there of a version before all of it is, and the next Crossfade brings the rest."""
    platforms = Layout(tmp_path / "image")
    each = [platforms.manifest(b"x" * 3000, platform=platform) for platform in PLATFORMS]
    place = platforms.close(platforms.index(each))

    def artifact(name):
        return Artifact(name, Coordinate(name, "1.0.0"), (place,), tmp_path)

    async with StoppingClient("images", images.url, manners=QUICK) as client:

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


async def test_an_image_is_one_layout(images, connect, tmp_path):
    it = Artifact("two", Coordinate("two", "1.0.0"), (tmp_path / "a", tmp_path / "b"), tmp_path)
    with pytest.raises(BadInputError) as caught:
        await connect(images.url).upload(it)
    assert "2 files" in caught.value.what
