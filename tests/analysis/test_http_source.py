"""Numbers from JSON over HTTP, and the ways to be let in: tokens, passwords, headers, an authority of one's own."""

from __future__ import annotations

import base64
import subprocess

import httpx
import pytest
from answering_server import Answer, Server

from crossfade.analysis.sources.json_field import JsonField
from crossfade.analysis.sources.port import Unknown, Value
from crossfade.analysis.sources.prometheus_server import PrometheusServer
from crossfade.analysis.sources.templates import names
from crossfade.analysis.sources.web import Client, Clients
from crossfade.config.named_metrics import Access, Basic, HttpMetric
from crossfade.core.errors import UnreachableError
from free_ports import free_port

NOW = 1000.0
NAMES = names({"stable": "1.0.0", "canary": "1.1.0+b 1"}, component="web", environment="live")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


async def asked(url, *, environ=None, ca=None, root="/", **more):
    settings = HttpMetric(kind="http", url=url, ca=ca, **more)
    clients = Clients(environ or {})
    try:
        metric = JsonField(settings, clients.client(ca, str(root)), names=NAMES)
        return await metric.ask(window=60, now=NOW)
    finally:
        await clients.close()


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"data": {"value": 17}}, "data.value", 17.0),
        ({"items": [{"count": 1}, {"count": 2.5}]}, "items.1.count", 2.5),
        (41, None, 41.0),
        ({"value": 0}, "value", 0.0),
    ],
)
async def test_a_number_is_read_where_it_stands(server, body, field, value):
    server.answer = Answer(body)
    found = await asked(f"{server.url}/sales", field=field)
    assert found == {"stable": Value(value), "canary": Value(value)}
    assert len(server.requests) == 1


async def test_placeholders_are_encoded_for_an_address_and_each_arm_has_its_own(server):
    server.answer = lambda request: Answer({"v": 1 if request.query["of"] == "1.0.0" else 2})
    found = await asked(f"{server.url}/of/{{component}}?of={{version}}", field="v")
    assert found == {"stable": Value(1.0), "canary": Value(2.0)}
    assert {each.query["of"] for each in server.requests} == {"1.0.0", "1.1.0+b 1"}
    assert {each.path for each in server.requests} == {"/of/web"}


@pytest.mark.parametrize(
    ("answer", "says", "passing"),
    [
        (Answer({"a": 1}), "`v` of http://", False),
        (Answer({"v": "17"}), "is a text, not a number", False),
        (Answer({"v": True}), "is true or false, not a number", False),
        (Answer({"v": None}), "is not there, not a number", False),
        (Answer(b'{"v": 1e999}'), "answered no JSON", False),
        (Answer(b"<html>"), "answered no JSON", False),
        (Answer({"v": 1}, status=404), "answered 404", False),
        (Answer({"v": 1}, status=500), "answered 500", True),
        (Answer({"v": 1}, status=302, headers=(("Location", "http://127.0.0.1:1/"),)), "answered 302", False),
        (Answer({"v": 1}, status=429, headers=(("Retry-After", "7"),)), "less often, in 7 s", True),
        (Answer({"v": 1}, status=401), "check the credentials", True),
    ],
)
async def test_what_is_no_number_is_unknown_with_the_reason(server, answer, says, passing):
    server.answer = answer
    found = (await asked(f"{server.url}/sales?key=s3cret", field="v"))["canary"]
    assert isinstance(found, Unknown)
    assert (says in found.why, found.passing) == (True, passing), found
    assert "s3cret" not in found.why


async def test_nobody_there_is_a_fault_that_passes():
    found = (await asked(f"http://127.0.0.1:{free_port()}/x"))["stable"]
    assert isinstance(found, Unknown)
    assert found.passing
    assert "cannot be asked: ConnectError" in found.why


async def test_credentials_come_from_the_environment_and_are_sent_as_they_should(server):
    server.answer = Answer(1)
    environ = {"TOKEN": "t0ken", "PASSWORD": "pass:w\u00f6rd", "KEY": "k3y"}
    await asked(server.url, environ=environ, bearer="TOKEN", headers={"X-Api-Key": "KEY"})
    await asked(server.url, environ=environ, basic=Basic(username="ada", password="PASSWORD"))  # noqa: S106 - a name
    first, second = (each.headers for each in server.requests)
    assert (first["authorization"], first["x-api-key"]) == ("Bearer t0ken", "k3y")
    sent = base64.b64decode(second["authorization"].removeprefix("Basic ")).decode()
    assert sent == "ada:pass:w\u00f6rd"


@pytest.mark.parametrize(
    "access",
    [{"bearer": "TOKEN"}, {"basic": {"username": "ada", "password": "TOKEN"}}, {"headers": {"X-Key": "TOKEN"}}],
)
async def test_a_variable_that_is_not_set_is_named(server, access):
    found = (await asked(server.url, **access))["canary"]
    assert isinstance(found, Unknown)
    assert "the environment variable TOKEN is not set" in found.why
    assert server.requests == []


async def test_a_prometheus_takes_the_same_credentials_and_its_words_hide_them(server):
    server.answer = Answer({"status": "error", "error": "who is ada:s3cret, with s3cret?"}, status=400)
    access = Access(headers={"X-Scope-OrgID": "TENANT"}, bearer="TOKEN")
    async with httpx.AsyncClient() as client:
        environ = {"TENANT": "shop", "TOKEN": "s3cret"}
        prometheus = PrometheusServer(server.url, access, Client(client, environ), timeout=5)
        with pytest.raises(UnreachableError) as caught:
            await prometheus.matrix("up", 0, 60, step=5)
    assert caught.value.what == "Prometheus answered 400: who is ada:…, with …?"
    assert server.requests[0].headers["x-scope-orgid"] == "shop"
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"


@pytest.fixture(scope="module")
def certificate(require, tmp_path_factory):
    """A folder with a certificate for 127.0.0.1 that signs itself, and one with its key for the server."""
    folder = tmp_path_factory.mktemp("certificate")
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "ca.pem"]
    subprocess.run([require("openssl"), *made, *named, *files], check=True, capture_output=True)
    (folder / "server.pem").write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    return folder


@pytest.fixture
def secure(certificate):
    server = Server(Answer(7), certificate=certificate / "server.pem")
    yield server
    server.close()


async def test_an_authority_of_ones_own_is_trusted_only_where_it_is_named(secure, certificate):
    assert (await asked(secure.url, ca="ca.pem", root=certificate))["canary"] == Value(7.0)
    refused = (await asked(secure.url))["canary"]
    assert isinstance(refused, Unknown)
    assert "not signed by an authority that is trusted here (name it in `ca`)" in refused.why


async def test_a_file_that_is_no_authority_is_told_and_nothing_is_sent(secure, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in ("ca.pem", "missing.pem"):
        found = (await asked(secure.url, ca=file, root=tmp_path))["canary"]
        assert isinstance(found, Unknown)
        assert f"{file} is no file of certificates" in found.why
    assert secure.requests == []
