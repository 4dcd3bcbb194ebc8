"""A verdaccio, and a proxy that is as unreliable as it is told, both real and on loopback."""

import asyncio
import os
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web
from yarl import URL

from free_ports import free_port
from patience import PATIENCE

CONFIG = """\
storage: ./storage
auth:
  htpasswd: {file: ./htpasswd}
security: {api: {jwt: {sign: {expiresIn: 1d}}}}  # else a password is hashed at every request
uplinks: {}
packages:
  '@closed/*': {access: $authenticated, publish: nobody, unpublish: nobody}
  '**': {access: $all, publish: $authenticated, unpublish: $authenticated}
max_body_size: 100mb
web: {enable: false}
log: {type: file, path: ./log, level: warn}
"""


class Verdaccio:
    """One npm registry with a store of its own; `url` stays the same when it is started again."""

    def __init__(self, folder, program):
        self.folder, self._program = folder, program
        self._process = None
        self.url = f"http://127.0.0.1:{free_port()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(CONFIG)

    def start(self):
        """Return once it answers."""
        argv = [self._program, "-c", "config.yaml", "-l", self.url.removeprefix("http://")]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                argv, cwd=self.folder, env=dict(os.environ), stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        for _ in range(int(PATIENCE / 0.05)):
            try:
                if httpx.get(f"{self.url}/-/ping").is_success:
                    return
            except httpx.TransportError:
                assert self._process.poll() is None, (self.folder / "output").read_text()
                time.sleep(0.05)
        raise AssertionError((self.folder / "output").read_text())

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def token(self, user="shop"):
        """A token of a new user, as `npm adduser` gets it."""
        body = {"name": user, "password": f"password-of-{user}", "type": "user"}
        answer = httpx.put(f"{self.url}/-/user/org.couchdb.user:{user}", json=body)
        return answer.raise_for_status().json()["token"]

    def tarballs(self, name):
        """Where the server keeps what was uploaded under a name."""
        return sorted((self.folder / "storage" / name).glob("*.tgz"))


@dataclass
class Fault:
    """What the proxy does instead of passing a request on. `status` None: it never answers.

    `after`: it passes the request on before, so that the registry has acted and its word is lost.
    """

    status: int | None = None
    headers: dict = field(default_factory=dict)
    body: str = ""
    cut: bool = False
    after: bool = False
    only: str = ""
    """A method; others are passed on."""
    ends: str = ""
    """How the paths end that it is about."""

    def fits(self, request):
        return self.only in ("", request.method) and request.path.endswith(self.ends)


@dataclass
class FaultyProxy:
    """Stands in front of a registry; the first of `faults` that fits a request is used up by it."""

    upstream: str
    url: str = ""
    faults: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    """(method, path, headers) of every request."""

    async def answer(self, request):
        self.seen.append((request.method, request.raw_path, dict(request.headers)))
        fault = next((each for each in self.faults if each.fits(request)), None)
        if fault is None:
            return await self._passed_on(request)
        self.faults.remove(fault)
        if fault.after:
            await self._passed_on(request)
        if fault.cut:
            request.transport.abort()
            return web.Response()
        if fault.status is None:
            await asyncio.sleep(PATIENCE)
        return web.Response(status=fault.status or 504, headers=fault.headers, text=fault.body)

    async def _passed_on(self, request):
        kept = {k: v for k, v in request.headers.items() if k.lower() not in {"transfer-encoding", "connection"}}
        url = URL(self.upstream + request.raw_path, encoded=True)
        body = await request.read()
        async with self._session.request(request.method, url, headers=kept, data=body, allow_redirects=False) as answer:
            dropped = {"transfer-encoding", "connection", "content-length", "content-encoding"}
            headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in dropped]
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    @asynccontextmanager
    async def running(self):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(cookie_jar=DummyCookieJar(), timeout=ClientTimeout(total=PATIENCE)) as self._session:
            try:
                yield self
            finally:
                await runner.cleanup()


@asynccontextmanager
async def faulty(upstream, *faults):
    """A proxy in front of `upstream` (an address) that meets the first requests with `faults`."""
    async with FaultyProxy(upstream, faults=list(faults)).running() as proxy:
        yield proxy
