"""Engines that end, hang, are far away, or are not ours: told plainly, and containers outlive them."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from docker_world import Daemon, make, release
from ssh_world import SshServer

from crossfade.config.runtimes import Tls
from crossfade.core.errors import BadInputError, UnreachableError
from crossfade.runtimes.docker.engine import Engine, Place
from crossfade.runtimes.docker.tunnel import Tunnel
from crossfade.testing.runtime_contract import all_ready, eventually
from free_ports import free_port
from patience import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def test_nobody_is_there(tmp_path):
    with pytest.raises(UnreachableError) as told:
        await make(f"unix://{tmp_path}/nobody.sock", tmp_path / "state").observe()
    assert (told.value.code, told.value.retry) == ("docker.unreachable", True)
    assert "systemctl start docker" in told.value.next


async def test_one_that_hangs_is_given_up(tmp_path):
    path = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        engine = Engine(Place(f"unix://{path}"), answer_within=0.3)
        with pytest.raises(UnreachableError) as told:
            await engine.call(lambda client: client.ping())
    assert told.value.code == "docker.silent"
    assert "0.3 s" in told.value.what


async def test_no_way_by_ssh(tmp_path):
    tunnel = Tunnel(f"ssh://nobody@127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError) as told:
        await asyncio.to_thread(tunnel.open)
    assert told.value.code == "docker.ssh"
    assert not tunnel.alive
    with pytest.raises(UnreachableError):
        await make(f"ssh://nobody@127.0.0.1:{free_port()}", tmp_path).observe()


@pytest.fixture
def by_ssh(require, monkeypatch):
    """The machine as one comes to it by ssh; only root can run such a server."""
    if os.geteuid() != 0:
        pytest.skip("only root can run an ssh server of its own")
    server = SshServer(require("ssh"), require("sshd"), require("ssh-keygen"))
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    yield server
    server.close()


def test_the_engine_behind_ssh_is_the_one_that_answers(engine, by_ssh):
    there = Engine(Place(by_ssh.url(engine.socket)))
    assert there.call_here(lambda client: client.info())["ID"] == engine.client().info()["ID"]
    first = there._tunnel._process
    first.kill()
    first.wait()
    assert there.call_here(lambda client: client.ping()) is True  # the way is made anew
    folder = Path(there._tunnel._folder)
    there.close()
    assert not folder.exists()


async def test_instances_behind_ssh_run_are_followed_and_leave_nothing(docker_runtime, engine, by_ssh):
    runtime = docker_runtime(url=by_ssh.url(engine.socket))
    await runtime.start("blue", release("1.0.0"), 2)
    seen = await eventually(runtime, all_ready(2))
    assert await docker_runtime().observe() == seen
    said = [line.text async for line in runtime.logs(slot="blue")]
    assert said.count("hello from 1.0.0") == 2
    await runtime.stop("blue")
    assert engine.client().containers(all=True) == []


def test_who_is_not_let_in_by_ssh_is_told_so_without_a_question(engine, by_ssh):
    by_ssh.comes_as("stranger")
    with pytest.raises(UnreachableError, match="Permission denied") as told:
        Engine(Place(by_ssh.url(engine.socket))).call_here(lambda client: client.ping())
    assert (told.value.code, "BatchMode" in told.value.next) == ("docker.ssh", True)


def test_a_machine_without_an_engine_behind_ssh_is_told(by_ssh, tmp_path):
    with pytest.raises(UnreachableError) as told:
        Engine(Place(by_ssh.url(tmp_path / "nobody.sock"))).call_here(lambda client: client.ping())
    assert told.value.code.startswith("docker.")


def test_the_way_by_ssh_ends_with_us_however_we_end(engine, by_ssh):
    """The far end's part hangs on our pipe, so that one who is killed leaves nothing running there or here."""
    script = (
        "import sys; from crossfade.runtimes.docker.tunnel import Tunnel; t = Tunnel(sys.argv[1]); t.open();"
        "print(t._process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, by_ssh.url(engine.socket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as ours:
        ssh = psutil.Process(int(ours.stdout.readline()))
        ours.kill()
    assert psutil.wait_procs([ssh], timeout=PATIENCE)[1] == []


async def test_containers_outlive_an_engine_that_is_killed_and_are_adopted(docker_runtime, engine):
    runtime = docker_runtime()
    await runtime.start("blue", release("1.0.0"), 2)
    before = await eventually(runtime, all_ready(2))
    engine.kill()
    try:
        with pytest.raises(UnreachableError):
            await runtime.observe()
    finally:
        await asyncio.to_thread(engine.start)
    after = await eventually(runtime, all_ready(2))
    assert [(each.address, each.pid) for each in after] == [(each.address, each.pid) for each in before]
    await docker_runtime().start("blue", release("1.0.0"), 2)
    assert len(engine.client().containers(all=True)) == 2


def certificates(folder: Path) -> None:
    """An authority, a server at 127.0.0.1 and a client that it knows, and a stranger."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger-ca"):
        new = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl("req", "-x509", *new, "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign")
    for name, authority in (("server", "ca"), ("client", "ca"), ("stranger", "stranger-ca")):
        (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", "csr", "-subj", f"/CN={name}")
        signed = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-extfile", "ext")
        openssl("x509", "-req", "-in", "csr", "-out", f"{name}.pem", "-days", "2", *signed)


@pytest.fixture
def far(require, tmp_path):
    """An engine that is reached by TLS, and the certificates to do so."""
    require("openssl")
    certificates(tmp_path)
    port = free_port()
    flags = [f"-H=tcp://127.0.0.1:{port}", "--tlsverify", "--bridge=none"]
    flags += [f"--tlscacert={tmp_path}/ca.pem", f"--tlscert={tmp_path}/server.pem", f"--tlskey={tmp_path}/server.key"]
    with contextlib.closing(Daemon(require("dockerd"), *flags)) as daemon:
        daemon.start()
        yield f"tcp://127.0.0.1:{port}"


@pytest.mark.usefixtures("engine")
async def test_by_tls_and_only_by_those_who_are_known(far, tmp_path):
    mine = Tls(ca="ca.pem", certificate="client.pem", key="client.key")
    assert await make(far, tmp_path / "state", root=tmp_path, tls=mine).observe() == ()
    for stranger in (
        Tls(ca="stranger-ca.pem", certificate="client.pem", key="client.key"),
        Tls(ca="ca.pem", certificate="stranger.pem", key="stranger.key"),
    ):
        with pytest.raises(BadInputError) as told:
            await make(far, tmp_path / "state", root=tmp_path, tls=stranger).observe()
        assert told.value.code == "docker.tls"
    with pytest.raises(BadInputError) as missing:
        await make(far, tmp_path / "state", root=tmp_path / "elsewhere", tls=mine).observe()
    assert missing.value.code == "docker.tls"
