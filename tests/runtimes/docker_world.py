"""A Docker Engine of our own, images made of this Python, and what they run."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path

import docker
import psutil
import requests

from crossfade.config.model import Component, Drain, Health
from crossfade.config.runtimes import DockerRuntime as Settings
from crossfade.runtimes.docker import DockerRuntime
from crossfade.runtimes.docker.specification import Target
from crossfade.runtimes.port import Release
from patience import PATIENCE

APP = Path(__file__).with_name("docker_app.py")
BASE = "crossfade-test-base:latest"
OURS = os.environ.setdefault("DOCKER_TESTS_AT", f"127.{os.getpid() % 200 + 1}.{os.getpid() // 200 % 250}.2")
"""An address of this machine that no other test has: containers of the same names beside ours want the same ports.

A process that a test starts has the same."""
_NATIVE = (
    *("_bisect", "_datetime", "_heapq", "_json", "_posixsubprocess", "_random", "_sha512", "_socket", "_struct"),
    *(
        "_blake2",
        "_md5",
        "_sha1",
        "_sha256",
        "_sha3",
        "_typing",
        "array",
        "binascii",
        "math",
        "select",
        "unicodedata",
        "zlib",
    ),
)
_PACKAGES = ("collections", "email", "encodings", "html", "http", "importlib", "json", "re", "urllib")


class Daemon:
    """`dockerd` in a folder with a short name, because a socket's path must be short."""

    def __init__(self, program: Path, *flags: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cfd", dir="/tmp"))
        self.program, self.flags = program, flags
        self.socket = self.folder / "docker.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self._bridge = "" if "--bridge=none" in flags else self._make_bridge()

    def _make_bridge(self) -> str:
        """A network of our own: engines that shared one would give the same addresses to different containers."""
        name, subnet = self.folder.name[:15], random.Random(self.folder.name).randrange(50 * 250)
        address = f"10.{200 + subnet // 250}.{subnet % 250}.1/24"
        for words in (
            ("link", "add", name, "type", "bridge"),
            ("addr", "add", address, "dev", name),
            ("link", "set", name, "up"),
        ):
            subprocess.run(["ip", *words], check=True, capture_output=True)
        return name

    def start(self) -> None:
        place = self.folder
        command = [
            str(self.program), "-H", self.url, "--storage-driver=overlay2", "--iptables=false", "--ip6tables=false",
            f"--data-root={place}/data", f"--exec-root={place}/exec", f"--pidfile={place}/pid", *self.flags,
            *([f"--bridge={self._bridge}"] if self._bridge else []),
        ]  # fmt: skip
        with (place / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        give_up = time.monotonic() + PATIENCE
        while not self.answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < give_up, self.said()
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            return self.client().ping() is True
        except (docker.errors.DockerException, requests.RequestException):
            return False

    def client(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.url, version="1.41", timeout=PATIENCE)

    def said(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def kill(self) -> None:
        """End the engine as a crash would; its containers live on with live-restore."""
        self._end(psutil.Process.kill)
        # Its containerd dies with it here (elsewhere it is a service of its own); a new engine would wait for the dead one.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        self._end(psutil.Process.terminate)

    def _end(self, how) -> None:
        if self._process is not None:
            with contextlib.suppress(psutil.Error, OSError):
                how(psutil.Process(int((self.folder / "pid").read_text())))
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        """End everything: containers, the engine, containerd, mounts, the folder."""
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
            client = self.client()
            for each in client.containers(all=True):
                client.remove_container(each["Id"], force=True, v=True)
        self.stop()
        for process in [each for each in psutil.process_iter() if self._ours(each)]:
            with contextlib.suppress(psutil.Error):
                for each in (*process.children(recursive=True), process):
                    each.kill()
        with Path("/proc/mounts").open() as mounts:
            ours = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{self.folder}/")]
        for each in reversed(ours):
            subprocess.run(["umount", "-l", each], check=False, capture_output=True)
        if self._bridge:
            subprocess.run(["ip", "link", "del", self._bridge], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ours(self, process: psutil.Process) -> bool:
        try:
            return any(str(self.folder) in word for word in process.cmdline())
        except psutil.Error:
            return False


def base_image(client: docker.APIClient) -> None:
    """This Python with the little of its library that the application needs, from scratch."""
    client.import_image_from_data(_root_folder(), repository="crossfade-test-base", tag="latest")


def build(client: docker.APIClient, name: str, *, mark: str = "", changes: tuple[str, ...] = ()) -> str:
    """An image `name` (REPOSITORY:TAG) with bytes of its own; its id."""
    python = os.path.realpath(sys.executable)
    made = client.create_container(BASE, command=["x"])
    repository, _, tag = name.rpartition(":")
    lines = [f"ENV BUILT={mark or name}", f'ENTRYPOINT ["{python}", "-E", "-S", "/app.py"]', *changes]
    try:
        return client.commit(made["Id"], repository=repository, tag=tag, changes="\n".join(lines))["Id"]
    finally:
        client.remove_container(made["Id"])


def _root_folder() -> bytes:
    data = io.BytesIO()
    python = os.path.realpath(sys.executable)
    library = Path(sysconfig.get_path("stdlib"))
    native = [each for name in _NATIVE for each in library.glob(f"lib-dynload/{name}.*.so")]
    with tarfile.open(fileobj=data, mode="w") as tar:
        for each in {python, *_libraries(python, *native)}:
            tar.add(os.path.realpath(each), each)
        files = [*library.glob("*.py"), *library.glob("__pycache__/*.pyc"), *native]
        for package in _PACKAGES:
            files += [each for each in (library / package).rglob("*") if each.suffix in (".py", ".pyc")]
        for each in files:
            tar.add(each, str(each))
        tar.add(APP, "/app.py")
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return data.getvalue()


def _libraries(*programs: str | Path) -> set[str]:
    said = subprocess.run(["ldd", *map(str, programs)], check=True, capture_output=True, text=True).stdout
    return {
        word for line in said.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")
    }


def workload(*arguments, image="shop/api:{version}", grace=5.0, interval=0.2, **more):
    settings = {
        "image": image,
        "port": 8000,
        "command": ("{port}", *arguments),
        "health": Health(interval=interval, timeout=2),
        "drain": Drain(grace=grace),
    }
    return Component(**{**settings, **more})


def release(version="1.0.0", *arguments, **settings):
    return Release(version, workload(*arguments, **settings))


def make(url, folder, *, component="api", variables=None, root=Path("/"), **settings):
    """A runtime of one target, as a Crossfade that was started anew makes it."""
    target = Target("shop", "production", component)
    settings.setdefault("address", OURS)
    return DockerRuntime(Settings(host=url, **settings), target, folder=folder, root=root, variables=variables)
