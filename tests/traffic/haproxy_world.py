"""An HAProxy of our own and one of somebody else, both real and on loopback."""

import asyncio
import contextlib
import subprocess

import psutil
from foreign_world import Foreign
from traffic_world import OwnProxy

from crossfade.traffic.routers.haproxy import HAProxyRouter
from crossfade.traffic.routers.haproxy_runtime import RuntimeApi
from free_ports import free_port


class OwnHAProxy(OwnProxy):
    """The hooks of the contract suites that are HAProxy's."""

    kind, program = HAProxyRouter, "haproxy"

    def proxy(self, router):
        masters = super().proxy(router)
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
            return (*masters, *(worker.pid for pid in masters for worker in psutil.Process(pid).children()))
        return ()

    async def empty(self, router):
        """What HAProxy has in memory, as a start without our files would find it."""
        setup = router._setup(counter=0)
        for worker in await router._api.workers():
            await router._api.ask(f"{worker.prefix}clear map {setup.map}")
            for slot in ("blue", "green"):
                for place in range(24):
                    await router._api.ask(f"{worker.prefix}set server {setup.backend(slot)}/i{place} state maint")


class Existing(Foreign):
    """An HAProxy that somebody else runs, with a site of its own, and our part after its own file."""

    def __init__(self, folder, program, master):
        self.folder, self.program = folder, program
        self.site, self.master = f"127.0.0.1:{free_port()}", master
        self.socket = str(folder / "own.sock")
        (folder / "own.cfg").write_text(
            f"global\n    {'' if master else f'stats socket unix@{self.socket} mode 600 level admin'}\n"
            "defaults\n    mode http\n    timeout connect 1s\n    timeout client 5s\n    timeout server 5s\n"
            f"frontend own\n    bind {self.site}\n"
            "    http-request return status 200 content-type text/plain string 'the own site'\n"
        )

    async def start(self, *parts):
        flags = ["-W", "-S", f"unix@{self.socket},mode,600"] if self.master else ["-db"]
        files = [each for part in parts for each in ("-f", part)]
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [self.program, *flags, "-f", self.folder / "own.cfg", *files],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "own.err").open("wb"),
        )
        async with asyncio.timeout(30):
            while not await RuntimeApi(self.socket).answers():
                assert self.process.poll() is None, (self.folder / "own.err").read_text()
                await asyncio.sleep(0.02)
