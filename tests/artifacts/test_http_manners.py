"""The polite client against servers on loopback that are not polite at all."""

import asyncio

import pytest
from impolite_server import HASTY, Recorder, answer, world

from crossfade.artifacts.answers import FileBody
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners, Pace, Trouble, next_attempt, seconds_asked
from crossfade.artifacts.side_by_side import together
from crossfade.config.publishing import NpmRegistry
from crossfade.core.errors import CrossfadeError, UnreachableError
from free_ports import free_port


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
