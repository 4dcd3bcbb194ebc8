"""Four strategies behind five routers, on processes of this machine."""

import pytest
from matrix_world import ROUTERS, Case

pytestmark = [pytest.mark.real, pytest.mark.slow]


def on_processes(_flags):
    return {}


@pytest.mark.parametrize("router", ROUTERS)
async def test_releases_follow_each_other(router, place, require):
    require(ROUTERS[router][1])
    case = Case(place, router, on_processes, first_kill=list(ROUTERS).index(router))
    await case.releases_follow_each_other()
