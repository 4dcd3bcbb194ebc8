"""A real pypi-server on loopback, and wheels and sdists to publish, made byte for byte."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from crossfade.artifacts.port import Artifact, Coordinate
from free_ports import free_port
from patience import PATIENCE

"""Seconds after which a server that does not come up is given up; nothing is measured by it."""
EVERYTHING = ("update", "list", "download")
USER, PASSWORD = "publisher", "open-sesame"

# pypi-server reads password files only with a library that it does not bring along; its own interface takes a function.
LOCKED = """
import sys
from pathlib import Path
import pypiserver
from pypiserver.bottle_wrapper import run
port, store, user, password, actions = sys.argv[1:]
app = pypiserver.app(
    roots=[Path(store)], disable_fallback=True, authenticate=actions.split(","),
    auther=lambda name, word: (name, word) == (user, password),
)
run(app, host="127.0.0.1", port=int(port), server="wsgiref", quiet=True)
"""


class IndexServer:
    """A pypi-server over a folder; `locked` are the actions for which one must be USER: update, list, download."""

    def __init__(self, program, store, *, locked=(), fallback=None):
        self.program, self.store, self.locked, self.fallback = Path(program), Path(store), locked, fallback
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/simple/"
        self.upload = f"http://127.0.0.1:{self.port}/"
        self.process = None
        self.store.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self):
        if self.locked:
            python = self.program.parent / "python"
            argv = [python, "-c", LOCKED, str(self.port), self.store, USER, PASSWORD, ",".join(self.locked)]
        else:
            back = ["--fallback-url", self.fallback] if self.fallback else ["--disable-fallback"]
            argv = [
                self.program,
                "run",
                "-i",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-P",
                ".",
                "-a",
                ".",
                *back,
                self.store,
            ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        wait_for(self.upload, self.process)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def files(self):
        return sorted(path.name for path in self.store.iterdir())


class Relay:
    """Passes bytes on to a server until more than `most` came, once: then it holds that connection, or cuts it.

    `met` is set at that moment. A held connection goes no further; what has come is with the server.
    """

    def __init__(self, port, most, *, cut=False):
        self.upstream, self.most, self.cut = port, most, cut
        self.met, self.passed, self.open = asyncio.Event(), 0, set()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self.open:
                task.cancel()
            await asyncio.gather(*self.open, return_exceptions=True)

    def _begin(self, reader, writer):
        task = asyncio.ensure_future(self._serve(reader, writer))
        self.open.add(task)
        task.add_done_callback(self.open.discard)

    async def _serve(self, reader, writer):
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        back = asyncio.create_task(self._copy(there_reader, writer))
        try:
            while chunk := await reader.read(65536):
                self.passed += len(chunk)
                there_writer.write(chunk)
                await there_writer.drain()
                if self.passed > self.most and not self.met.is_set():
                    await self._stop(reader)
                    writer.transport.abort()
        except ConnectionError:
            pass
        finally:
            back.cancel()
            there_writer.close()
            writer.close()
            await asyncio.gather(back, return_exceptions=True)

    async def _stop(self, reader):
        await asyncio.sleep(0.1)  # the server has read what came before anybody is told
        self.met.set()
        while not self.cut and await reader.read(65536):
            pass

    @staticmethod
    async def _copy(reader, writer):
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
            writer.close()


async def killed_at(event, script, *argv):
    """Run a program until `event` is set, then SIGKILL it; returns its exit code."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *map(str, argv))
    async with asyncio.timeout(PATIENCE):
        waiting = [asyncio.create_task(event.wait()), asyncio.create_task(process.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is None:
            process.kill()
        await process.wait()
    for task in waiting:
        task.cancel()
    return process.returncode


def wait_for(url, process):
    """Until somebody answers on `url`, whatever the answer is."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, f"{process.args[0]} ended with {process.returncode}"
        try:
            httpx.get(url, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} never answered")


def metadata(name, version, extra=""):
    return (
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: What {name} is for\n"
        "Keywords: release,canary\nClassifier: Programming Language :: Python :: 3\nClassifier: Typing :: Typed\n"
        f"Project-URL: Source, https://example.test/src\nRequires-Dist: packaging>=24\n{extra}\nThe long text, with ü.\n"
    ).encode()


def make_wheel(folder, name, version, *, content=b"value = 1\n", tag="py3-none-any", said=None, size=0):
    """A wheel; `said` is the version in its metadata, when it lies; `size` adds that many bytes that do not shrink."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    files = {
        f"{name.replace('-', '_')}/__init__.py": content,
        f"{info}/METADATA": metadata(name, said or version),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if size:
        files[f"{name.replace('-', '_')}/blob.bin"] = noise(size)
    rows = [f"{path},sha256={_record(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in files.items():
            archive.writestr(zipfile.ZipInfo(inner), data)
    return path


def make_sdist(folder, name, version, *, content=b"value = 1\n"):
    stem = f"{name.replace('-', '_')}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.tar.gz"
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for inner, data in (("PKG-INFO", metadata(name, version)), ("src/code.py", content)):
            entry = tarfile.TarInfo(f"{stem}/{inner}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def python_artifact(folder, name, version, *, content=b"value = 1\n", size=0):
    """A wheel and an sdist of one version, ready to be published."""
    files = (
        make_wheel(folder, name, version, content=content, size=size),
        make_sdist(folder, name, version, content=content),
    )
    return Artifact(name, Coordinate(name, version), files, folder)


def noise(size, seed=b"noise"):
    """Bytes that nothing can compress, the same every time."""
    return hashlib.shake_256(seed).digest(size)


def _record(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
