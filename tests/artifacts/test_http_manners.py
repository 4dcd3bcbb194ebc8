"""The polite client against servers on loopback that are not polite at all."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from crossfade.artifacts.answers import FileBody
from crossfade.artifacts.credentials import basic, bearer, resolve
from crossfade.artifacts.http import RegistryClient, together
from crossfade.artifacts.manners import Manners, Pace, Trouble, next_attempt, seconds_asked
from crossfade.artifacts.port import RefusedError, Secret
from crossfade.config.publishing import NpmRegistry, SecretReference
from crossfade.core.clock import VirtualClock
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from free_ports import free_port

HASTY = Manners(rate=1000, timeout=0.3, attempts=3)
TOKEN = bearer(Secret("hunter2-hunter2"), "NPM_TOKEN")


class Recorder(VirtualClock):
    """A clock that remembers how long it was asked to let pass."""

    def __init__(self):
        super().__init__(1_000_000.0)
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)
        await super().sleep(seconds)


def answer(status=200, body=b"{}", *headers, length=None):
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server:
    """Answers requests by a list: bytes to send (the connection is cut when they are too few), None to hang."""

    def __init__(self, *answers):
        self.answers, self.seen, self.connections, self.open, self.most = list(answers), [], 0, 0, 0

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append((*first.split()[:2], headers, body))
                self.open += 1
                self.most = max(self.most, self.open)
                await self.say(writer)
                self.open -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def say(self, writer):
        said = self.answers.pop(0) if self.answers else answer()
        if said is None:
            await asyncio.sleep(30)
        elif callable(said):
            await said(writer)
        else:
            writer.write(said)
            await writer.drain()
            head, _, body = said.partition(b"\r\n\r\n")
            if f"content-length: {len(body)}".encode() not in head:
                writer.transport.abort()

    @asynccontextmanager
    async def running(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()


@asynccontextmanager
async def world(*answers, manners=HASTY, login=TOKEN):
    """A server that says `answers`, and a client of it; jitter is one half of what it may be."""
    async with Server(*answers).running() as server:
        clock = Recorder()
        async with RegistryClient(
            "npm", f"{server.url}/base", login=login, manners=manners, clock=clock, chance=lambda: 0.5
        ) as client:
            yield server, client, clock


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_passes_is_waited_for(status):
    async with world(answer(status), answer(status)) as (server, client, clock):
        assert (await client.request("GET", "x")).json() == {}
    assert len(server.seen) == 3
    assert clock.slept == [0.25, 0.5]


@pytest.mark.parametrize("asked", ["7", "Mon, 12 Jan 1970 13:46:47 GMT"])
async def test_a_registry_says_how_long(asked):
    async with world(answer(429, b"{}", f"retry-after: {asked}")) as (server, client, clock):
        await client.request("GET", "x")
    assert len(server.seen) == 2
    assert clock.slept == [7.25]


async def test_all_wait_when_one_is_told_to():
    async with world(answer(429, b"{}", "retry-after: 7")) as (server, client, clock):
        began = clock.now()
        await client.request("GET", "x")
        await client.request("GET", "y")
        assert clock.now() >= began + 7
    assert len(server.seen) == 3


async def test_an_hour_is_not_waited_for():
    async with world(answer(429, b'{"error": "slow down"}', "retry-after: 3600")) as (server, client, clock):
        with pytest.raises(UnreachableError) as caught:
            await client.request("GET", "x")
    assert caught.value.code == "registry.too-many-requests"
    assert "slow down" in caught.value.what
    assert "1h" in caught.value.next
    assert "registries.npm.rate" in caught.value.next
    assert (len(server.seen), clock.slept) == (1, [])


async def test_a_registry_that_hangs():
    async with world(None, None, None) as (server, client, _):
        with pytest.raises(UnreachableError) as caught:
            await client.request("GET", "x")
    assert "did not answer within 300ms (3 attempts)" in caught.value.what
    assert client.where == caught.value.where
    assert caught.value.retry
    assert len(server.seen) == 3


async def test_a_registry_that_trickles():
    async def trickle(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with world(trickle, trickle, trickle) as (_, client, _):
        with pytest.raises(UnreachableError, match="hardly anything came for 300ms"):
            await client.request("GET", "x")


async def test_a_slow_reader_of_a_fast_answer_is_no_fault():
    async with world(answer(200, b"x" * 3_000_000)) as (_, client, _), client.stream("GET", "x") as stream:
        read = 0
        async for chunk in stream.chunks:
            read += len(chunk)
            await asyncio.sleep(0.05)
    assert read == 3_000_000


async def test_an_answer_that_breaks_off_is_asked_for_again():
    half = answer(200, b'{"a', length=100)
    async with world(half, answer(200, b'{"a": 1}')) as (server, client, _):
        assert (await client.request("GET", "x")).json() == {"a": 1}
    assert len(server.seen) == 2


async def test_a_stream_that_breaks_off_is_told_and_a_digest_begins_anew():
    half, whole = answer(200, b"abc", length=6), answer(200, b"abcdef")
    async with world(half, half, whole, answer(404)) as (server, client, _):
        with pytest.raises(UnreachableError, match="broke its answer off"):
            async with client.stream("GET", "x") as stream:
                assert [chunk async for chunk in stream.chunks]
        assert await client.digests("x", ["sha1"]) == {"sha1": "1f8ac10f23c5b5bc1167bda84b833e5c057a77d2"}
        assert await client.digests("x", ["sha1"]) is None
    assert len(server.seen) == 4


@pytest.mark.parametrize("said", [answer(503), b"", None])
async def test_what_may_have_been_done_is_not_repeated(said):
    async with world(said) as (server, client, _):
        with pytest.raises(UnreachableError):
            await client.request("POST", "x", json={})
    assert len(server.seen) == 1


async def test_what_was_not_done_is_repeated():
    async with world(answer(429)) as (server, client, _):
        assert (await client.request("POST", "x", json={"a": 1})).status == 200
    assert [body for *_, body in server.seen] == [b'{"a":1}'] * 2


@pytest.mark.parametrize("said", [answer(503), b"", None])
async def test_what_does_no_harm_is_repeated_whole(said, tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"0123456789" * 1000)
    async with world(said) as (server, client, _):
        assert (await client.request("PUT", "x", content=FileBody.of(path), repeatable=True)).status == 200
        await client.request("PATCH", "x", content=FileBody(path, size=4, start=3))
    assert [body for *_, body in server.seen] == [path.read_bytes(), path.read_bytes(), b"3456"]


async def test_nobody_is_there():
    url = f"http://127.0.0.1:{free_port()}"
    async with RegistryClient("npm", url, manners=HASTY, clock=Recorder()) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.request("POST", "x", json={})
    assert "cannot be reached" in caught.value.what
    assert "3 attempts" in caught.value.what
    assert url in caught.value.where


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


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("application/json", b'{"error": "bad name"}', "(bad name)"),
        ("application/json", b'{"error": {"deep": 1}, "message": "no\\n  way"}', "(no way)"),
        ("application/json", b'{"errors": [{"code": "NAME_INVALID", "message": "bad"}, {"code": "X"}]}', "(bad; X)"),
        ("application/json", b'"plain"', "(plain)"),
        ("application/json", b"[1]", "answered 400"),
        ("text/plain", b"400 Bad: file exists", "(400 Bad: file exists)"),
        ("text/html", b"<html>sorry</html>", "answered 400"),
        ("text/plain", b"x" * 5000, "x" * 300 + "…)"),
    ],
)
async def test_other_answers_are_told_in_the_registrys_words(kind, body, words):
    async with world(answer(400, body, f"content-type: {kind}")) as (server, client, _):
        with pytest.raises(CrossfadeError) as caught:
            await client.request("GET", "x")
    assert caught.value.code == "registry.failed"
    assert caught.value.what.endswith(words)
    assert len(server.seen) == 1


async def test_what_is_missing_or_expected_is_an_answer():
    async with world(answer(404), answer(409), answer(202)) as (_, client, _):
        assert (await client.request("GET", "x")).missing
        assert (await client.request("PUT", "x", expect=(409,))).status == 409
        assert (await client.request("PUT", "x")).status == 202


async def test_a_page_for_people_is_not_json():
    async with world(answer(200, b"<html>Log in</html>")) as (_, client, _):
        said = await client.request("GET", "x?token=secret")
        with pytest.raises(CrossfadeError) as caught:
            said.json()
    assert "<html>Log in" in caught.value.what
    assert caught.value.where == f"{client.url}/x"


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


async def test_a_write_is_never_redirected():
    async with world(answer(307, b"", "location: /elsewhere")) as (server, client, _):
        with pytest.raises(CrossfadeError, match="answered 307"):
            await client.request("PUT", "x", json={})
    assert len(server.seen) == 1


async def test_the_rate_is_kept():
    async with world(manners=Manners(rate=4)) as (server, client, clock):
        await together(*(client.request("GET", str(index)) for index in range(17)))
    assert len(server.seen) == 17
    assert sum(clock.slept) == pytest.approx(4.0)


@pytest.mark.parametrize("rate", [0.5, 1, 3, 20])
def test_at_most_so_many_begin_in_any_second(rate):
    pace, now, begun = Pace(rate), 1000.0, []
    for index in range(100):
        now += pace.wait(now) + (0.13 if index % 7 == 0 else 0.0)
        pace.begin(now)
        begun.append(now)
    assert max(sum(1 for at in begun if start <= at < start + 1) for start in begun) <= max(1, rate)
    assert now - 1000 <= 100 / rate + 15 * 0.13 + 2


async def test_few_connections_carry_many_requests():
    async def slowly(writer):
        await asyncio.sleep(0.01)
        writer.write(answer())

    async with world(*[slowly] * 120, manners=Manners(rate=1000)) as (server, client, _):
        await together(*(client.request("GET", str(index)) for index in range(120)))
    assert len(server.seen) == 120
    assert 1 < server.most <= 16
    assert server.connections <= 16


async def test_the_first_fault_ends_the_others():
    ended = []

    async def patient():
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)

    async def faulty():
        await asyncio.sleep(0)
        raise MemoryError

    with pytest.raises(MemoryError):
        await together(patient(), faulty(), patient())
    assert ended == [True, True]


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


def test_manners_are_those_of_the_file():
    settings = NpmRegistry(url="https://npm.example", rate=3, timeout="7s", attempts=2)
    assert Manners.of(settings) == Manners(rate=3, timeout=7, attempts=2)


def test_a_clock_that_is_set_back_makes_nobody_wait():
    pace = Pace(rate=1)
    pace.begin(1000.0)
    pace.hold(1000.0, 60)
    assert pace.wait(1000.5) == 59.5
    assert pace.wait(500.0) == 0


def test_a_rate_below_one_is_one_in_several_seconds():
    pace = Pace(rate=0.25)
    pace.begin(10.0)
    assert pace.wait(11.0) == 3.0
    assert pace.wait(14.0) == 0


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 501, 507])
def test_what_no_repetition_changes(status):
    assert next_attempt(Trouble("", status=status), 1, Manners(), repeatable=True, chance=0) is None


@pytest.mark.parametrize("header", [None, "", "soon", "-1", "1.5", "²", "Xyz, 99 Foo 1970 00:00:00 GMT"])
def test_what_no_registry_may_ask_for(header):
    assert seconds_asked(header, 0) is None
