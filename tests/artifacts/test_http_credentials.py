"""Secrets go to their own registry only, and are shown nowhere; a refusal names the variable."""

import pytest
from impolite_server import HASTY, Server, answer, world

from crossfade.artifacts.credentials import basic, resolve
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import RefusedError, Secret
from crossfade.config.publishing import SecretReference
from crossfade.core.errors import BadInputError


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_names_the_variable_and_never_the_secret(status):
    said = b'{"error": "token hunter2-hunter2 is not allowed"}'
    async with world(answer(status, said)) as (server, client, _):
        with pytest.raises(RefusedError) as caught:
            await client.request("PUT", "@navi%2fcore", json={}, repeatable=True)
    shown = str(caught.value) + repr(caught.value.as_json())
    assert "hunter2" not in shown
    assert "token *** is not allowed" in shown
    assert "PUT /base/@navi/core" in caught.value.what
    assert "NPM_TOKEN" in caught.value.next
    assert len(server.seen) == 1
    assert server.seen[0][1] == "/base/@navi%2fcore"
    assert server.seen[0][2]["authorization"] == "Bearer hunter2-hunter2"


async def test_a_refusal_without_credentials_says_where_to_give_them():
    async with world(answer(401), login=None) as (_, client, _):
        with pytest.raises(RefusedError) as caught:
            await client.request("GET", "x")
    assert "registries.npm" in caught.value.next


async def test_a_one_time_password_is_nothing_for_a_machine():
    async with world(answer(401, b"{}", "www-authenticate: OTP")) as (_, client, _):
        with pytest.raises(RefusedError) as caught:
            await client.request("GET", "x")
    assert "one-time password" in caught.value.next
    assert "NPM_TOKEN" in caught.value.next


async def test_the_secret_goes_to_its_own_origin_only():
    async with Server().running() as other:
        moved = answer(302, b"", f"location: {other.url}/elsewhere")
        async with world(answer(), moved) as (server, client, _):
            await client.request("GET", f"{other.url}/blob")
            await client.request("GET", f"{server.url}/own")
            await client.request("GET", "moved")
            await client.request("GET", f"{other.url}/shown", login=basic(Secret("u"), Secret("p")))
    told = {path: headers.get("authorization") for _, path, headers, _ in server.seen + other.seen}
    mine = "Bearer hunter2-hunter2"
    assert told == {"/blob": None, "/own": mine, "/base/moved": mine, "/elsewhere": None, "/shown": "Basic dTpw"}


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://[::1", "127.0.0.1:4873"])
def test_addresses_that_are_none(url):
    with pytest.raises(BadInputError) as caught:
        RegistryClient("npm", url)
    assert caught.value.where == "registries.npm.url"


async def test_credentials_in_an_address_are_used_and_not_shown():
    async with Server(answer(401, b"dont tell pass-word")).running() as server:
        url = server.url.replace("http://", "http://user:pass-word@")
        async with RegistryClient("npm", url, manners=HASTY) as client:
            with pytest.raises(RefusedError) as caught:
                await client.request("GET", "x")
    assert "pass-word" not in str(caught.value)
    assert "registries.npm.url" in caught.value.next
    assert server.seen[0][2]["authorization"] == basic(Secret("user"), Secret("pass-word")).header.value


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "NPM_TOKEN is not set"),
        ({"NPM_TOKEN": " "}, "NPM_TOKEN is empty"),
        ({"NPM_TOKEN": "hun\nter2"}, "NPM_TOKEN"),
    ],
)
def test_variables_that_hold_no_secret(environ, words):
    with pytest.raises(BadInputError) as caught:
        resolve(SecretReference(env="NPM_TOKEN"), environ, where="registries.npm.token")
    assert words in caught.value.what
    assert caught.value.where == "registries.npm.token"
    assert "ter2" not in str(caught.value)


def test_a_line_break_at_the_end_is_no_part_of_a_secret():
    assert resolve(SecretReference(env="X"), {"X": "hunter2\n"}, where="").value == "hunter2"
