"""From the words of the file to a CDN, with every fault told before anything is connected to."""

from pathlib import Path

import pytest
from cdn_world import NAMES, artifact, settings

from crossfade.artifacts.cdn.layout import Layout
from crossfade.artifacts.cdn.opening import open_cdn
from crossfade.artifacts.port import Coordinate, MissingError
from crossfade.core.errors import BadInputError, UnreachableError
from free_ports import free_port

SERVICE_ACCOUNT = '{"type":"service_account","private_key":"bad","client_email":"a@b","private_key_id":"k","gcs_base_url":"http://127.0.0.1:1"}'


def opened(store, environ=NAMES, **more):
    return open_cdn("cdn", settings(store, **more), Path("/"), environ, by="ci")


@pytest.mark.parametrize("store", ["s3://bucket/a/b", "gs://bucket/a", "az://container"])
def test_all_stores_are_made_without_a_connection(store):
    more = {"key": "$CDN_KEY", "secret": "$KEY64"} if store.startswith("az") else {}
    cdn = opened(store, NAMES | {"KEY64": "bm90LWEta2V5"}, **more)
    assert cdn.store.where == store
    assert "not-a-secret" not in repr(cdn)
    assert "bm90LWEta2V5" not in repr(cdn)


def test_a_relative_folder_is_below_the_file(tmp_path):
    cdn = open_cdn("cdn", settings("file://cdn"), tmp_path, {}, by="ci")
    assert cdn.store.where == f"file://{tmp_path}/cdn"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"immutable": "{name}/latest/"}, "must hold {version}"),
        ({"pointer": "{name}/v{version}/"}, "cannot hold {version}"),
        ({"pointer": "{name}/v{major}.0.0/"}, "inside the folder of a version"),
        ({"pointer": "{nme}/v{major}/"}, "{nme}"),
        ({"immutable": "../v{version}/"}, "'..'"),
    ],
)
def test_a_layout_that_cannot_work_is_told(words, said):
    with pytest.raises(BadInputError) as caught:
        opened("file:///nowhere", **words)
    assert said in caught.value.what


def test_a_store_that_cannot_be_made_shows_no_secret():
    with pytest.raises(BadInputError) as caught:
        opened("gs://bucket", {"SECRET": SERVICE_ACCOUNT}, secret="$SECRET")  # noqa: S106 - a name of a variable
    assert caught.value.code == "cdn.bad-store"
    assert "private_key_id" not in str(caught.value)


def test_a_variable_that_is_not_set_is_told():
    with pytest.raises(BadInputError, match="CDN_KEY is not set") as caught:
        opened("s3://bucket", {})
    assert caught.value.where == "registries.cdn.key"


@pytest.mark.parametrize("path", ["integrity.json", ".pointer.json", "a?b.js", "a#b.js", "50%.js"])
async def test_files_that_no_url_can_name_are_refused_before_anything_is_written(tmp_path, path):
    cdn = opened(f"file://{tmp_path}/cdn")
    with pytest.raises(BadInputError, match=r"name|path"):
        await cdn.upload(artifact(Coordinate("app", "1.0.0"), tmp_path / "dist", {"app.js": b"1", path: b"2"}))
    assert not (tmp_path / "cdn").exists()


async def test_asking_makes_no_folder(tmp_path):
    cdn = opened(f"file://{tmp_path}/cdn")
    assert await cdn.find([Coordinate("app", "1.0.0")]) == {}
    with pytest.raises(MissingError):
        await cdn.tag(Coordinate("app", "1.0.0"), ["app/v1"])
    assert not (tmp_path / "cdn").exists()


async def test_without_pointers_there_are_no_tags(tmp_path):
    cdn = opened(f"file://{tmp_path}/cdn", pointer=None)
    at = Coordinate("app", "1.0.0")
    assert (cdn.capabilities.tags, cdn.capabilities.withdraws) == (False, "nothing")
    await cdn.upload(artifact(at, tmp_path / "dist", {"app.js": b"1"}))
    assert (await cdn.find([at]))[at].tags == frozenset()
    assert (await cdn.withdraw(at, reason="bad", back_to=None)).done == ()
    with pytest.raises(BadInputError, match="cannot be a pointer"):
        await cdn.tag(at, ["v1"])


async def test_a_store_that_is_not_there_is_told_without_its_secret():
    cdn = opened("s3://bucket", endpoint=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError) as caught:
        await cdn.find([Coordinate("app", "1.0.0")])
    assert caught.value.where == "s3://bucket"
    assert NAMES["CDN_SECRET"] not in str(caught.value)


def test_names_with_a_scope_have_folders_of_their_own():
    layout = Layout("{name}/v{version}/", "{name}/v{major}/")
    at = Coordinate("@navi/loader", "1.2.0-rc.1+build.5")
    assert layout.folder(at) == "@navi/loader/v1.2.0-rc.1+build.5/"
    assert layout.is_version(layout.folder(at) + "x.js")
    assert not layout.is_version("@navi/loader/v1/x.js")
    assert layout.major_of("@navi/loader", "@navi/loader/v1") == 1
