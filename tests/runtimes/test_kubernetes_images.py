"""Which bytes a version is: learnt from what pods ran, kept in the cluster, and run again after the tag has moved."""

import asyncio

import httpx
import pytest
from kubernetes_world import cluster, make, release

from crossfade.runtimes.kubernetes import images
from crossfade.testing.runtime_contract import all_ready, eventually

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def pod(image, image_id):
    return {
        "spec": {"containers": [{"name": "app", "image": image}]},
        "status": {"containerStatuses": [{"name": "app", "imageID": image_id}]},
    }


@pytest.mark.parametrize(
    ("image", "told", "digest"),
    [
        ("shop/api:1", f"docker.io/shop/api@{DIGEST}", DIGEST),
        ("nginx", f"docker.io/library/nginx@{DIGEST}", DIGEST),
        ("localhost:5000/api:1", f"localhost:5000/api@{DIGEST}", DIGEST),
        ("r.example/api:1", f"docker-pullable://r.example/api@{DIGEST}", DIGEST),
        (f"r.example/api:1@{DIGEST}", f"r.example/api@{DIGEST}", DIGEST),
        # Put on the node by other ways, or known there under another name as well: nobody can pull it by that.
        ("shop/api:1", DIGEST, None),
        ("r.example/api:1", f"mirror.example/api@{DIGEST}", None),
        ("shop/api:1", "", None),
    ],
)
def test_the_digest_is_what_a_registry_has_it_under(image, told, digest):
    assert images.digest_of(pod(image, told)) == digest


def test_pods_that_do_not_agree_tell_nothing():
    one, other = (pod("shop/api:1", f"docker.io/shop/api@{each}") for each in (DIGEST, OTHER))
    waiting = pod("shop/api:1", "")
    assert images.ran([one, one, waiting]) == f"shop/api:1@{DIGEST}"
    assert images.ran([one, other]) is None
    assert images.ran([waiting]) is None
    assert images.ran([]) is None


def test_an_annotation_that_somebody_changed_says_nothing():
    def service(text):
        return {"metadata": {"annotations": {images.IMAGES: text}}}

    assert images.known(service("{"), service("[1]"), service('{"1.0.0": 7}'), {"metadata": {}}, None) == {}
    assert images.known(service('{"1.0.0": "a@b"}'), service('{"1.1.0": "c@d"}')) == {"1.0.0": "a@b", "1.1.0": "c@d"}


def test_only_the_newest_are_kept():
    kept = {}
    for number in range(images.KEPT + 5):
        kept = images.with_image(kept, f"1.{number}.0", f"api@{number}")
    assert list(kept) == [f"1.{number}.0" for number in range(5, images.KEPT + 5)]
    assert images.with_image(kept, "2.0.0", None) == kept


@pytest.fixture
def world():
    with cluster() as server:
        yield server


async def built(instance):
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"http://{instance.address}/version")).json()["image"]


@pytest.mark.real
@pytest.mark.slow
async def test_a_version_stays_what_it_was_also_when_its_tag_moves(world, tmp_path):
    def again():
        """A Crossfade on another machine: what it knows stands in the cluster."""
        return make(world.kubeconfig(tmp_path), tmp_path / "pods")

    async def push(content):
        return await asyncio.to_thread(world.do, world.kubelet.registry.push, "shop/api:1.0.0", content)

    first = await push("the first build")
    await again().start("blue", release("1.0.0"), 1)
    (seen,) = await eventually(again(), all_ready(1))
    assert await built(seen) == first
    await again().stop("blue")
    await again().stop("blue")
    moved = await push("another build under the same tag")

    # In the other slot, as a rollback does; and scaled, which takes the same template.
    await again().start("green", release("1.0.0"), 1)
    await again().start("green", release("1.0.0"), 2)
    seen = await eventually(again(), all_ready(2))
    assert [await built(each) for each in seen] == [first, first]
    pods = await asyncio.to_thread(world.do, world.store.all, "pods")
    assert {each["spec"]["containers"][0]["image"] for each in pods} == {f"shop/api:1.0.0@{first}"}
    await again().stop("green")

    # Another image under that version is another thing, and is what the file says.
    await again().start("blue", release("1.0.0", image="shop/api:latest"), 1)
    (seen,) = await eventually(again(), all_ready(1))
    assert await built(seen) not in (first, moved)
    await again().stop("blue")


@pytest.mark.real
@pytest.mark.slow
async def test_where_the_cluster_does_not_tell_the_tag_decides(world, tmp_path):
    world.kubelet.by_hand = True
    runtime = make(world.kubeconfig(tmp_path), tmp_path / "pods")
    await runtime.start("blue", release("1.0.0"), 1)
    await eventually(runtime, all_ready(1))
    await runtime.stop("blue")
    moved = await asyncio.to_thread(world.do, world.kubelet.registry.push, "shop/api:1.0.0", "other")
    await runtime.start("blue", release("1.0.0"), 1)
    (seen,) = await eventually(runtime, all_ready(1))
    assert await built(seen) == moved
    await runtime.stop("blue")


@pytest.mark.real
@pytest.mark.slow
async def test_a_tag_that_moves_while_its_version_runs_is_told_and_not_kept(world, tmp_path):
    runtime = make(world.kubeconfig(tmp_path), tmp_path / "pods")
    await runtime.start("blue", release("1.0.0"), 1)
    (first,) = await eventually(runtime, all_ready(1))
    moved = await asyncio.to_thread(world.do, world.kubelet.registry.push, "shop/api:1.0.0", "another build")
    await runtime.start("blue", release("1.0.0"), 2)
    one, other = await eventually(runtime, all_ready(2))
    assert (one.id, one.detail) == (first.id, "")
    assert other.detail == f"it runs {moved}, and {first.id} runs {await built(first)} under the same version"
    await runtime.stop("blue")
    service = await asyncio.to_thread(world.do, world.store.get, "services", "shop", "shop-api-production-blue")
    assert images.known(service) == {}
