"""Traefik keeps the router contract, with visitors on the line too."""

import pytest
from traefik_world import OwnTraefik

from crossfade.testing.router_traffic_contract import RouterTrafficContract

pytestmark = pytest.mark.real


class TestTraefik(OwnTraefik, RouterTrafficContract):
    """All of its promises."""
