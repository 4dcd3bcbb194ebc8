"""Who we are to a registry of images: passwords from variables, tokens that run out, and no login for anybody else."""

import pytest
from image_registry_world import PASSWORD, QUICK, USER, ImageServer, TokenServer, image_artifact, layer_of
from registry_world import faulty

from crossfade.artifacts.answers import Answer
from crossfade.artifacts.credentials import basic
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import RefusedError, Secret
from crossfade.artifacts.registries.oci.registry import OciRegistry
from crossfade.artifacts.registries.oci.session import Session
from crossfade.config.publishing import OciRegistry as Settings
from crossfade.core.errors import BadInputError

VARIABLES = {"username": "$IMAGES_USER", "password": "$IMAGES_PASSWORD"}


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


async def test_a_login_goes_to_no_other_host(images, tmp_path):
    """Registries send us to the stores of clouds for uploads; those get the bytes, and no login."""
    it = image_artifact(tmp_path / "image", "elsewhere", "1.0.0", b"x" * 100)
    async with faulty(images.url) as store:
        session = Session(
            RegistryClient("images", images.url, login=basic(Secret(USER), Secret(PASSWORD)), manners=QUICK)
        )
        began = await session.request("POST", "blobs/uploads/", repository="elsewhere")
        address = began.headers["location"].replace(images.url, store.url)
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
