"""Image layouts, as builders write them and as accidents leave them."""

import json
import shutil

import pytest
from image_registry_world import PLATFORMS, Layout, image_artifact, packed

from crossfade.artifacts.registries.oci.layout import Extent, read_layout
from crossfade.artifacts.registries.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from crossfade.artifacts.registries.oci.names import checked_tag, never_moved, repository_of
from crossfade.core.errors import BadInputError


def fault(path):
    with pytest.raises(BadInputError) as caught:
        read_layout(path)
    assert str(path) in caught.value.where
    assert caught.value.next
    return caught.value


def bytes_of(image):
    return {blob.digest: b"".join(extent.blocks()) for blob, extent in image.blobs.items()}


@pytest.mark.parametrize("docker", [False, True])
def test_one_platform(tmp_path, docker):
    place = image_artifact(tmp_path / "image", "core", "1.0", b"hello", docker=docker).files[0]
    image = read_layout(place)
    assert [each.at.media_type for each in image.manifests] == [DOCKER_MANIFEST if docker else OCI_MANIFEST]
    assert len(image.blobs) == 2
    assert any(b"hello" in content for content in bytes_of(image).values())


@pytest.mark.parametrize("docker", [False, True])
def test_many_platforms_share_what_they_have_in_common(tmp_path, docker):
    layout = Layout(tmp_path / "image")
    each = [layout.manifest(b"same", platform=platform, docker=docker) for platform in PLATFORMS]
    image = read_layout(layout.close(layout.index(each, docker=docker)))
    assert [manifest.at.digest for manifest in image.manifests[:-1]] == [one["digest"] for one in each]
    assert image.root.at.media_type == (DOCKER_INDEX if docker else OCI_INDEX)
    assert len(image.blobs) == 3, "two configurations and one layer"


def test_platforms_that_stand_in_index_json_itself(tmp_path):
    layout = Layout(tmp_path / "image")
    place = layout.close(*(layout.manifest(b"x", platform=platform) for platform in PLATFORMS))
    image = read_layout(place)
    assert len(image.manifests) == 3
    assert image.root.content == (place / "index.json").read_bytes()
    assert image.root.at.media_type == OCI_INDEX


def test_one_image_under_two_names_is_one_image(tmp_path):
    layout = Layout(tmp_path / "image")
    it = layout.manifest(b"x")
    names = [{**it, "annotations": {"org.opencontainers.image.ref.name": name}} for name in ("1.0", "latest")]
    assert read_layout(layout.close(*names)).root.at.digest == it["digest"]


def test_a_tar_is_the_folder(tmp_path):
    """As `docker buildx build --output type=oci` and `docker save` write it."""
    place = image_artifact(tmp_path / "image", "core", "1.0", b"hello").files[0]
    (place / "manifest.json").write_text("[]")
    folder, tar = read_layout(place), read_layout(packed(place, tmp_path / "image.tar"))
    assert tar.manifests == folder.manifests
    assert bytes_of(tar) == bytes_of(folder)


def test_an_extent_reads_no_further_than_its_end(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    extent = Extent(tmp_path / "file", 2, 5)
    assert (extent.read(), extent.read(3), extent.read(1, 2), extent.read(9)) == (b"23456", b"56", b"34", b"")


def test_a_layer_that_may_be_kept_elsewhere_need_not_be_there(tmp_path):
    layout = Layout(tmp_path / "image")
    foreign = layout.add(
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"windows", urls=["https://x.test/"]
    )
    place = layout.close(layout.manifest(b"x", docker=True, layers=(foreign,)))
    assert foreign["digest"] in {blob.digest for blob in read_layout(place).blobs}
    (place / "blobs" / foreign["digest"].replace(":", "/")).unlink()
    assert foreign["digest"] not in {blob.digest for blob in read_layout(place).blobs}


@pytest.mark.parametrize("change", [lambda b: b[:-1] + b"!", lambda b: b[:-1], lambda b: b + b"!", lambda _: None])
def test_every_byte_is_proved_before_anything_is_sent(tmp_path, change):
    made = image_artifact(tmp_path / "good", "core", "1.0", b"x").files[0]
    for number, blob in enumerate(sorted((made / "blobs/sha256").iterdir())):
        place = tmp_path / f"bad-{number}"
        shutil.copytree(made, place)
        broken = place / "blobs/sha256" / blob.name
        content = change(blob.read_bytes())
        if content is None:
            broken.unlink()
        else:
            broken.write_bytes(content)
        found = fault(place)
        assert found.code == "oci.broken-layout"
        assert blob.name in found.what


def test_two_images_are_one_too_many(tmp_path):
    layout = Layout(tmp_path / "image")
    found = fault(layout.close(layout.manifest(b"one"), layout.manifest(b"two")))
    assert found.code == "oci.many-images"
    assert "2 images" in found.what


def test_a_manifest_that_was_announced_as_something_else(tmp_path):
    layout = Layout(tmp_path / "image")
    it = {**layout.manifest(b"x"), "mediaType": OCI_INDEX}
    assert fault(layout.close(it)).code == "oci.broken-layout"


@pytest.mark.parametrize(
    "index",
    [
        "no json",
        "[]",
        "{}",
        '{"manifests": [7]}',
        '{"manifests": [{"mediaType": "x", "digest": "sha256:../../../etc/passwd", "size": 1}]}',
        '{"manifests": [{"mediaType": "x", "digest": "md5:00", "size": 1}]}',
        '{"manifests": [{"digest": "sha256:' + 64 * "0" + '", "size": 1}]}',
        '{"manifests": [{"mediaType": "x", "digest": "sha256:' + 64 * "0" + '"}]}',
        '{"schemaVersion": 1, "manifests": []}',
    ],
)
def test_an_index_that_says_nothing_useful(tmp_path, index):
    place = Layout(tmp_path / "image").close()
    (place / "index.json").write_text(index)
    assert fault(place).code == "oci.bad-manifest"


def test_what_is_no_layout_is_told_how_to_become_one(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    old = tmp_path / "old"
    old.mkdir()
    (old / "manifest.json").write_text(json.dumps([{"Config": "x.json", "Layers": ["a/layer.tar"]}]))
    for place in (tmp_path / "empty", tmp_path / "text", old, packed(old, tmp_path / "old.tar"), tmp_path / "absent"):
        found = fault(place)
        assert found.code == "oci.no-layout"
        assert "docker save" in found.next
    assert "older Docker" in fault(old).what


def test_an_index_with_nothing_in_it(tmp_path):
    assert "holds no image" in fault(Layout(tmp_path / "image").close()).what


@pytest.mark.parametrize("name", ["Core", "@navi/core", "a/b__c-d.e"])
def test_names_become_repositories(name):
    assert repository_of("acme/{name}", name) == f"acme/{name.lower().lstrip('@')}"


@pytest.mark.parametrize(
    ("scheme", "name"), [("{name}", "a b"), ("{name}", "-a"), ("{nam}", "a"), ("{name}", "x" * 256)]
)
def test_what_cannot_be_a_repository(scheme, name):
    with pytest.raises(BadInputError) as caught:
        repository_of(scheme, name)
    assert caught.value.code == "oci.bad-repository"


@pytest.mark.parametrize("tag", ["1.0.0+build", "", ".x", "-x", "a/b", "x" * 129])
def test_what_cannot_be_a_tag(tag):
    with pytest.raises(BadInputError) as caught:
        checked_tag(tag)
    assert caught.value.code == "oci.bad-tag"


def test_which_tags_stay():
    stays = never_moved(["v{version}", "{branch}-{sha}", "{major}", "staging"])
    assert [tag for tag in ("v1.0.0", "v1.0.0-rc.1_build.7", "main-5114f85", "1", "staging", "v1.0") if stays(tag)] == [
        "v1.0.0",
        "v1.0.0-rc.1_build.7",
        "main-5114f85",
    ]
