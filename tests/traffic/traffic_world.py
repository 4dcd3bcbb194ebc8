"""Routers that are proxies of our own, as the contract suites ask for them: all real and all on loopback."""

import asyncio

import pytest

from crossfade.testing.accidents import killed
from free_ports import free_port

UNWIELDY = "a folder, with (a long) name: " + "n" * 90
"""To be quoted wherever it is written down, and too long for the path of a socket."""


def made(kind, folder, listen, **settings):
    """A router of the class `kind` that keeps its state in `folder`, for the shop in production."""
    return kind(folder, kind.section(listen=listen, **settings), environment="production", component="shop")


def pids(child):
    pid = child.pid()
    return () if pid is None else (pid,)


class OwnProxy:
    """The hooks of the contract suites; a product says its router's class, its program, and how it is made to forget."""

    kind = program = None
    folder = "routes"

    @pytest.fixture
    def router(self, place, require):
        require(self.program)
        router = made(self.kind, place / self.folder, f"127.0.0.1:{free_port()}")
        yield router
        asyncio.run(router.close())

    def otherwise(self, router, **settings):
        return made(self.kind, router._folder, **{"listen": router._settings.listen, **settings})

    def again(self, router):
        return self.otherwise(router)

    def second(self, router):
        return made(self.kind, router._folder.with_name("second"), router._settings.listen)

    def proxy(self, router):
        return pids(router._managed.child)

    def counter(self, router):
        return pids(router._counter.child)

    def private(self, router):
        return [router._folder / "token"]

    async def unwatched(self, router):
        return await router._counter.counts(0)

    async def end(self, router):
        await router.close()

    async def cut(self, router):
        await killed(lambda: self.proxy(router))

    async def mend(self, router):
        """`apply` starts it by itself."""
