"""A world for CDNs: folders and buckets to publish to, a network that can be cut, and what browsers see."""

import asyncio
import atexit
import contextlib
import functools
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx

from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.config.publishing import CdnRegistry
from free_ports import free_port

NAMES = {"CDN_KEY": "AKIDCROSSFADE", "CDN_SECRET": "not-a-secret-of-anybody"}
_SIGNED = "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class Moto:
    """moto's server: S3 and CloudFront, as their APIs answer."""

    def __init__(self, program):
        self.port = free_port()
        self.process = subprocess.Popen(
            [program, "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MOTO_S3_CUSTOM_ENDPOINTS": ""},
        )
        self.url = f"http://127.0.0.1:{self.port}"
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/moto-api/", timeout=5)
                return
            assert self.process.poll() is None, "moto ended"
            time.sleep(0.05)
        raise AssertionError("moto does not listen")

    def make_bucket(self, name):
        """A bucket that everybody may read."""
        said = {"Authorization": _SIGNED.format(key=NAMES["CDN_KEY"]), "x-amz-acl": "public-read"}
        assert httpx.put(f"{self.url}/{name}", headers=said).status_code == 200
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
            ],
        }
        assert httpx.put(f"{self.url}/{name}?policy", headers=said, json=policy).status_code in (200, 204)

    def close(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@functools.cache
def shared_moto(program):
    """The one server of all tests of a run: starting it takes seconds."""
    server = Moto(program)
    atexit.register(server.close)
    return server


class Wire:
    """A wire to a server, which can be cut: then nobody answers, and connections break."""

    def __init__(self, to):
        self.port, self._to, self._open = free_port(), to, None
        self.url = f"http://127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._writers = set()
        self.mend()

    def mend(self):
        self._call(self._listen())

    def cut(self):
        self._call(self._cut())

    def close(self):
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self):
        self._open = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def _cut(self):
        self._open.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0.02)

    async def _pass(self, reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))
        self._writers -= {writer, back}


async def _pump(reader, writer):
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


def artifact(at: Coordinate, root: Path, files: dict[str, bytes]) -> Artifact:
    """Files as a build leaves them."""
    for path, body in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    return Artifact(at.name, at, tuple(root / path for path in files), root)


def settings(store, **more):
    """A registry's section; all secrets are those of `NAMES`."""
    words = {"store": store, "immutable": "{name}/v{version}/", "pointer": "{name}/v{major}/"}
    if store.startswith("s3"):
        words |= {"key": "$CDN_KEY", "secret": "$CDN_SECRET", "region": "us-east-1"}
    return CdnRegistry.model_validate(words | more)
