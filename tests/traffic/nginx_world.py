"""An nginx of Crossfade's own, and what tests do to it from outside."""

import asyncio
import os
import signal
import subprocess
from contextlib import contextmanager

from crossfade.config.routers import NginxRouter as Settings
from crossfade.traffic.routers.nginx import NginxRouter
from crossfade.traffic.routers.nginx_process import find_program
from free_ports import free_port

ANSWERS = """
daemon off; master_process off; pid own.pid; error_log stderr crit;
events {{ worker_connections 2000; }}
http {{ access_log off; keepalive_requests 1000000; {servers} }}
"""


def nginx(folder, listen, **settings):
    return NginxRouter(folder, Settings(listen=listen, **settings), environment="production", component="shop")


async def put(router, routes):
    await router.apply(routes, fence=1)
    assert await router.confirm(routes)


async def kill_all(router):
    """Master and workers at once, as a crash of the machine would; returns once they are gone."""
    for pid in router._nginx.members():
        os.kill(pid, signal.SIGKILL)
    while router._nginx.child.running():  # noqa: ASYNC110 - the world is asked, it does not tell
        await asyncio.sleep(0.02)


@contextmanager
def quick_answers(folder, *versions):
    """Addresses that answer at once with their version, so that many thousand requests are soon answered."""
    ports = [free_port() for _ in versions]
    server = "server {{ listen 127.0.0.1:{}; add_header X-App-Version {}; location / {{ return 200; }} }}\n"
    servers = "".join(server.format(port, version) for port, version in zip(ports, versions, strict=True))
    (folder / "answers.conf").write_text(ANSWERS.format(servers=servers))
    argv = [find_program(None).path, "-p", folder, "-c", "answers.conf", "-e", "stderr"]
    process = subprocess.Popen(argv)
    try:
        yield [f"127.0.0.1:{port}" for port in ports]
    finally:
        process.kill()
        process.wait()
