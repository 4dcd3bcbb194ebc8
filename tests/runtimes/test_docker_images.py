"""Which bytes run: by tag, by digest, from a registry with and without a password, kept for going back."""

import asyncio
import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request

import docker
import pytest
from docker_world import BASE, build, release

from crossfade.config.runtimes import Login
from crossfade.core.errors import BadInputError, UnreachableError
from crossfade.runtimes.docker.images import Progress
from crossfade.testing.runtime_contract import all_ready, eventually
from free_ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.slow]
HTPASSWD = "publisher:$2y$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW\n"
PASSWORD = "sesame"  # noqa: S105 - of this test


class Registry:
    """A docker-registry in a folder; with `users`, it wants a password."""

    def __init__(self, program, folder, *, users):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        folder.mkdir()
        (folder / "users").write_text(HTPASSWD)
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "store")}},
            "http": {"addr": self.address, "secret": "of this test"},
            **({"auth": {"htpasswd": {"realm": "images", "path": str(folder / "users")}}} if users else {}),
        }
        (folder / "config.yml").write_text(json.dumps(config))
        self._command, self._process = [program, "serve", folder / "config.yml"], None
        self.start()

    def start(self):
        if self._process is None:
            quiet = subprocess.DEVNULL
            self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet)
            for _ in range(600):
                with contextlib.suppress(OSError), contextlib.closing(self._ask()):
                    return
                time.sleep(0.05)
            pytest.fail("the registry never came up")

    def _ask(self):
        try:
            return urllib.request.urlopen(f"http://{self.address}/v2/")
        except urllib.error.HTTPError as refused:
            return refused

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def open_registry(require, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry") / "open"
    with contextlib.closing(Registry(require("docker-registry"), folder, users=False)) as server:
        yield server


@pytest.fixture
def registry(open_registry):
    open_registry.start()
    return open_registry


def push(client, name, *, mark, login=None):
    """Build and push an image, forget it here, and tell its digest."""
    build(client, name, mark=mark)
    lines = [json.loads(each) for each in client.push(name, auth_config=login).splitlines()]
    assert not [each for each in lines if "error" in each], lines
    digest = next(each["aux"]["Digest"] for each in lines if "aux" in each)
    client.remove_image(name)
    return digest


def mark(address):
    with urllib.request.urlopen(f"http://{address}/version", timeout=5) as answer:
        return json.loads(answer.read())["image"]


async def up(runtime, slot, made, count=1):
    await runtime.start(slot, made, count)
    seen = await eventually(runtime, lambda seen: all_ready(count)(tuple(i for i in seen if i.slot == slot)))
    return [await asyncio.to_thread(mark, each.address) for each in seen if each.slot == slot]


async def test_a_version_is_what_it_was_at_its_first_start(docker_runtime, engine, registry):
    client, name = engine.client(), f"{registry.address}/shop/a"
    push(client, f"{name}:1.0.0", mark="first")
    runtime = docker_runtime(pull="always")
    assert await up(runtime, "blue", release(image=f"{name}:{{version}}")) == ["first"]
    push(client, f"{name}:1.0.0", mark="second")  # somebody moves the tag
    assert await up(runtime, "blue", release(image=f"{name}:{{version}}"), 2) == ["first", "first"]
    await runtime.stop("blue")
    for image in client.images():  # and somebody cleans up
        for each in [tag for tag in image["RepoTags"] or () if tag.startswith((name, "crossfade/"))]:
            with contextlib.suppress(docker.errors.APIError):
                client.remove_image(each, force=True)
    assert await up(runtime, "green", release(image=f"{name}:{{version}}")) == ["first"]
    registry.close()
    await runtime.stop("green")
    assert await up(runtime, "blue", release(image=f"{name}:{{version}}")) == ["first"]


async def test_by_digest(docker_runtime, engine, registry):
    digest = push(engine.client(), f"{registry.address}/shop/b:1.0.0", mark="exact")
    push(engine.client(), f"{registry.address}/shop/b:1.0.0", mark="moved")
    made = release(image=f"{registry.address}/shop/b@{digest}")
    assert await up(docker_runtime(), "blue", made) == ["exact"]


async def test_bytes_that_are_gone_are_never_replaced_by_others(docker_runtime, engine):
    client = engine.client()
    build(client, "shop/local:1.0.0", mark="first")
    runtime = docker_runtime()
    assert await up(runtime, "blue", release(image="shop/local:1.0.0")) == ["first"]
    await runtime.stop("blue")
    first = client.inspect_image("shop/local:1.0.0")["Id"]
    client.remove_image(first, force=True)
    build(client, "shop/local:1.0.0", mark="second")
    with pytest.raises(BadInputError) as refused:
        await runtime.start("blue", release(image="shop/local:1.0.0"), 1)
    assert refused.value.code == "docker.image-gone"
    assert await runtime.observe() == ()


async def test_an_image_that_is_not_there(docker_runtime, registry):
    made = release("9.9.9", image=f"{registry.address}/shop/c:{{version}}")
    with pytest.raises(BadInputError) as refused:
        await docker_runtime().start("blue", made, 1)
    assert refused.value.code == "docker.image-missing"
    assert f"{registry.address}/shop/c:9.9.9" in refused.value.what
    with pytest.raises(BadInputError) as forbidden:
        await docker_runtime(pull="never").start("blue", made, 1)
    assert "docker pull" in forbidden.value.next
    assert await docker_runtime().observe() == ()
    registry.close()
    with pytest.raises(UnreachableError) as unreachable:
        await docker_runtime().start("blue", made, 1)
    assert (unreachable.value.code, unreachable.value.retry) == ("docker.pull", True)


async def test_a_registry_that_wants_a_password(docker_runtime, engine, require, tmp_path, monkeypatch):
    client = engine.client()
    with contextlib.closing(Registry(require("docker-registry"), tmp_path / "closed", users=True)) as closed:
        login = {"username": "publisher", "password": PASSWORD}
        push(client, f"{closed.address}/shop/api:1.0.0", mark="private", login=login)
        made = release(image=f"{closed.address}/shop/api:1.0.0")
        with pytest.raises(BadInputError) as nobody:
            await docker_runtime().start("blue", made, 1)
        assert nobody.value.code == "docker.image-denied"
        runtime = docker_runtime(logins=(Login(registry=closed.address, username="publisher", password="PULL"),))  # noqa: S106 - a variable's name
        monkeypatch.delenv("PULL", raising=False)
        with pytest.raises(BadInputError) as unset:
            await runtime.start("blue", made, 1)
        assert (unset.value.code, "PULL" in unset.value.next) == ("docker.no-password", True)
        monkeypatch.setenv("PULL", "wrong-secret")
        with pytest.raises(BadInputError) as wrong:
            await runtime.start("blue", made, 1)
        assert wrong.value.code == "docker.image-denied"
        assert "wrong-secret" not in str(wrong.value)
        monkeypatch.setenv("PULL", PASSWORD)
        assert await up(runtime, "blue", made) == ["private"]
        inspected = json.dumps(client.inspect_container("crossfade-shop-production-api-blue-0"))
        kept = [path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert not [text for text in (inspected, *kept) if PASSWORD in text]


async def test_old_versions_go_and_what_may_be_needed_stays(docker_runtime, engine, registry):
    client, name = engine.client(), f"{registry.address}/shop/d"
    runtime = docker_runtime(keep_images=2)
    for minor in range(4):
        push(client, f"{name}:1.{minor}.0", mark=f"1.{minor}")
    made = [release(f"1.{minor}.0", image=f"{name}:{{version}}") for minor in range(4)]
    assert await up(runtime, "green", made[0]) == ["1.0"]  # runs throughout, as old as it may be
    for each in made[1:]:
        await up(runtime, "blue", each)
        await runtime.stop("blue")

    def here():
        tags = [tag for image in client.images() for tag in image["RepoTags"] or ()]
        return sorted(tag.rpartition(":")[2] for tag in tags if tag.startswith(f"{name}:"))

    assert here() == ["1.0.0", "1.2.0", "1.3.0"]
    await runtime.stop("green")  # which ran until now: what one goes back to
    assert here() == ["1.0.0", "1.3.0"]
    assert client.inspect_image(BASE)


async def test_whoever_looks_sees_how_far_a_pull_is(docker_runtime, engine, registry):
    client = engine.client()
    push(client, f"{registry.address}/shop/e:2.0.0", mark="new")
    runtime, other = docker_runtime(), docker_runtime()
    starting = asyncio.create_task(runtime.start("blue", release("2.0.0", image=f"{registry.address}/shop/e:2.0.0"), 2))
    seen = await eventually(other, bool)
    assert [each.index for each in seen] == [0, 1]
    assert {each.state for each in seen} <= {"starting", "ready"}
    await starting
    await eventually(other, all_ready(2))


def test_progress_is_told_in_bytes_over_all_layers():
    progress = Progress()
    assert progress.empty
    progress.hear({"status": "Pulling fs layer", "id": "a", "progressDetail": {}})
    assert str(progress) == ": pulling fs layer"
    progress.hear({"status": "Downloading", "id": "a", "progressDetail": {"current": 5_000_000, "total": 10_000_000}})
    progress.hear({"status": "Downloading", "id": "b", "progressDetail": {"current": 1_000_000, "total": 30_000_000}})
    assert str(progress) == ": 15 % (6 of 40 MB)"
    progress.hear({"status": "Download complete", "id": "a", "progressDetail": {}})
    assert str(progress) == ": 27 % (11 of 40 MB)"
