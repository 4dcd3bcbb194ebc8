"""Addresses and routers: what cannot be is told with its place, before anything starts."""

from pathlib import Path

import pytest

from crossfade.config.load import ConfigError, load_text

TWO = "project: shop\ncomponents: {api: {command: [x]}, web: {command: [y]}}\nenvironments:\n"


def faults(environments):
    try:
        load_text(TWO + environments, Path("crossfade.yaml"))
    except ConfigError as error:
        return [(each.code, each.mark.line, each.what, each.hint) for each in error.faults]
    return []


def test_two_components_need_two_addresses():
    ((code, line, what, hint),) = faults("  live: {router: {listen: ':8080'}}\n")
    assert (code, line) == ("config.shared-address", 4)
    assert ":8080 would serve 2 components (api, web)" in what
    assert 'listen: {web: ":PORT"}` below environments.live' in hint


def test_each_may_have_its_own():
    assert faults("  live: {router: {listen: ':8080'}, listen: {web: ':8081'}}\n") == []


@pytest.mark.parametrize(
    ("environments", "told"),
    [
        (
            "  live: {router: {listen: ':8080'}, listen: {web: ':8080'}}\n",
            "the components api and web both listen on :8080",
        ),
        (
            "  live: {listen: {web: ':8081'}}\n  test: {router: {listen: ':9000'}, listen: {web: '127.0.0.1:8081'}}\n",
            "the environments live and test both listen on 127.0.0.1:8081",
        ),
    ],
)
def test_an_address_is_given_once(environments, told):
    ((code, _, what, _),) = faults(environments)
    assert (code, what) == ("config.address-taken", told)


def test_an_address_of_nobody():
    ((code, line, what, hint),) = faults("  live: {router: {listen: ':1'}, listen: {web: ':2', wep: ':3'}}\n")
    assert (code, line, what) == ("config.unknown-component", 4, "there is no component `wep`")
    assert "web" in hint


@pytest.mark.parametrize(
    ("router", "told"),
    [
        ("{kind: gateway-api, sticky: {cookie: b}}", "gateway-api cannot keep users on one side by a cookie"),
        ("{kind: ingress-nginx, ingress: api}", "ingress-nginx does not count requests for each version"),
    ],
)
def test_what_a_router_cannot_do_is_refused(router, told):
    found = faults(f"  live:\n    router: {router}\n    listen: {{web: ':81'}}\n")
    assert any(code == "config.router-cannot" and told in what for code, _, what, _ in found), found
