"""Four strategies behind five routers, on containers of a real Docker Engine."""

import pytest
from matrix_world import ROUTERS, Case

from crossfade.config.model import Health
from crossfade.config.runtimes import DockerRuntime

pytestmark = [pytest.mark.real, pytest.mark.slow]


def in_containers(flags):
    return {
        "image": "shop/api:{version}",
        "port": 8000,
        "command": ("{port}", *flags),
        "health": Health(interval=0.2, timeout=2),
    }


@pytest.mark.parametrize("router", ROUTERS)
async def test_releases_follow_each_other(router, place, require, docker_engine):
    require(ROUTERS[router][1])
    case = Case(place, router, in_containers, first_kill=list(ROUTERS).index(router) + 1)
    case.world.settings["runtime"] = DockerRuntime(host=docker_engine.url)
    await case.releases_follow_each_other()
