"""A Caddy, shops behind it and visitors in front, all real and all on loopback."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from crossfade.config.routers import CaddyRouter as Settings
from crossfade.traffic.routers.caddy import CaddyRouter


def caddy(folder, listen, **settings):
    return CaddyRouter(folder, Settings(listen=listen, **settings), environment="production", component="shop")


@dataclass
class Shop:
    """One running instance of the demo's application."""

    process: asyncio.subprocess.Process
    address: str

    async def stop(self, number=signal.SIGTERM):
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()


async def open_shop(version, *flags):
    """An instance on a free port, once it listens."""
    argv = (sys.executable, "-m", "crossfade.demo.app", "--version", version, "--latency-ms", "0", *flags)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=dict(os.environ))
    line = (await process.stdout.readline()).decode()
    return Shop(process, line.strip().rpartition("//")[2])


@asynccontextmanager
async def shops(*versions):
    running = [await open_shop(version) for version in versions]
    try:
        yield running
    finally:
        for shop in running:
            await shop.stop(signal.SIGKILL)


@asynccontextmanager
async def visitor(address, **more):
    """A client that keeps its connections and takes no proxy from the environment."""
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=20, **more) as client:
        yield client
