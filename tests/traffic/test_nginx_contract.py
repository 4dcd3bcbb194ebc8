"""nginx keeps the router contract, with visitors on the line too."""

import pytest
from nginx_world import OwnNginx

from crossfade.testing.router_traffic_contract import RouterTrafficContract

pytestmark = pytest.mark.real


class TestNginx(OwnNginx, RouterTrafficContract):
    """All of its promises."""
