"""A router of a cluster without the cluster, or without a Gateway, is told by check with its line."""

from pathlib import Path

import pytest

from crossfade.config.faults import ConfigError
from crossfade.config.load import load_text

FILE = """\
project: shop
components:
  api: {image: "shop/api:{version}", port: 8000}
environments:
  production:
    runtime: %s
    router: %s
    metrics: {kind: prometheus, url: "http://127.0.0.1:9090"}
"""
KUBERNETES, GATEWAY = "{kind: kubernetes}", "{kind: gateway-api, gateway: infra/edge}"


def codes(runtime, router):
    try:
        load_text(FILE % (runtime, router), Path("crossfade.yaml"))
    except ConfigError as error:
        return {fault.code for fault in error.faults}
    return set()


@pytest.mark.parametrize(
    ("runtime", "router", "told"),
    [
        ("docker", GATEWAY, "config.not-in-cluster"),
        ("docker", "{kind: ingress-nginx, ingress: shop}", "config.not-in-cluster"),
        (KUBERNETES, "gateway-api", "config.no-gateway"),
    ],
)
def test_what_does_not_fit_is_told(runtime, router, told):
    assert told in codes(runtime, router)


@pytest.mark.parametrize("router", [GATEWAY, "{kind: ingress-nginx, ingress: shop}", "caddy"])
def test_what_fits_is_no_fault(router):
    found = codes(KUBERNETES, router)
    assert not {"config.not-in-cluster", "config.no-gateway"} & found
