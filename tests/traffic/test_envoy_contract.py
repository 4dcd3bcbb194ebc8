"""Envoy keeps the router contract, with visitors on the line too."""

import pytest
from envoy_world import OwnEnvoy

from crossfade.testing.router_traffic_contract import RouterTrafficContract

pytestmark = pytest.mark.real


class TestEnvoy(OwnEnvoy, RouterTrafficContract):
    """All of its promises."""
