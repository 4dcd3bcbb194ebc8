"""The supervisor's parts, each on its own: probes against odd servers, health, ports, state on disk."""

import asyncio
import errno
import os
import selectors
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.runtimes.shim import folder as folders
from crossfade.runtimes.shim.command import Command, describe_end
from crossfade.runtimes.shim.health import Health
from crossfade.runtimes.shim.ports import Port, is_free
from crossfade.runtimes.shim.probe import Probe
from crossfade.testing.runtime_contract import DEADLINE


def ask(address, timeout=DEADLINE):
    """What a probe says of whoever listens at `address`."""
    selector = selectors.DefaultSelector()
    heard = []
    probe = Probe(
        selector,
        address,
        "/healthz",
        now=time.monotonic(),
        timeout=timeout,
        done=lambda ok, text: heard.append((ok, text)),
    )
    while not heard:
        for key, _ in selector.select(0.02):
            key.data()
        probe.check(time.monotonic())
    assert not selector.get_map()
    return heard[0]


async def served(pieces, *, close=True):
    """What a probe says of a server that answers with `pieces`."""
    request = b""

    async def answer(reader, writer):
        nonlocal request
        request = await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if close:
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        said = await asyncio.to_thread(ask, server.sockets[0].getsockname(), DEADLINE if close else 0.2)
    finally:
        server.close()
    assert request.startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")
    return said


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], (True, "GET /healthz answered 200 OK: ok")),
        ([b"HTTP/1.1 30", b"2 Found\r\n", b"Location: /x\r\n\r\n"], (True, "GET /healthz answered 302 Found")),
        (
            [b"HTTP/1.0 404 Not Found\r\n\r\nno\nsuch  page"],
            (False, "GET /healthz answered 404 Not Found: no such page"),
        ),
        (
            [b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbad!\r\n0\r\n\r\n"],
            (False, "GET /healthz answered 500 Oh: bad! 0"),
        ),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000], (True, "GET /healthz answered 200 OK: " + "x" * 200)),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], (False, "GET /healthz answered 100 Continue")),
        ([], (False, "GET /healthz failed: the connection was closed without an answer")),
        ([b"hello\r\n"], (False, "GET /healthz answered something that is not HTTP: 'hello'")),
    ],
)
async def test_probe(pieces, said):
    assert await served(pieces) == said


@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 200 OK\r\n"]])
async def test_probe_of_a_server_that_never_ends_its_answer(pieces):
    ok, text = await served(pieces, close=False)
    assert not ok
    assert text == "GET /healthz failed: no answer within 0.2 s"


async def test_a_kept_open_answer_with_a_whole_head_and_length_is_enough():
    assert await served([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], close=False) == (
        True,
        "GET /healthz answered 200 OK: ok",
    )


async def test_an_answer_without_a_body_on_a_kept_connection_is_enough():
    assert (await served([b"HTTP/1.1 204 No Content\r\n\r\n"], close=False))[0]
    assert (await served([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], close=False))[0]


def test_probe_of_nobody():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert ask(unused.getsockname()) == (False, "GET /healthz failed: connection refused")


@given(answers=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40), limit=st.integers(1, 4))
def test_health_never_promises_what_was_not_answered(answers, limit):
    health = Health(limit)
    for number, (alive, ready) in enumerate(answers, start=1):
        health.alive(ok=alive, text="alive")
        health.ready(ok=ready, text="ready")
        recent = answers[max(0, number - limit) : number]
        if health.state == "ready":
            assert any(ready for _, ready in recent)
            assert any(alive for alive, _ in recent)
        if health.hung:
            assert len(recent) == limit
            assert not any(alive for alive, _ in recent)
        if health.state == "starting":
            assert not health.hung
        if health.state != "ready":
            assert health.detail


def test_ports_avoid_what_the_kernel_hands_out():
    port = Port("127.0.0.1")
    assert port.hold(0)
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert 20_000 <= port.number < low or low < 20_200
    assert not port.hold(port.number)


def test_two_supervisors_never_hold_the_same_port():
    first, second = Port("127.0.0.1"), Port("127.0.0.1")
    first.hold(0)
    assert is_free("127.0.0.1", first.number)
    assert second.hold(first.number)
    assert second.number != first.number


def test_state_survives_a_disk_without_room_for_a_second_file(tmp_path, monkeypatch):
    path = str(tmp_path / "state.json")
    folders.write_state(path, {"state": "ready", "detail": ""})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "write_whole", full)
    folders.write_state(path, {"state": "unready", "detail": "x\x00é" * 5000})
    state = folders.read_json(path)
    assert state["state"] == "unready"
    assert state["detail"].startswith("x\x00é")
    assert Path(path).stat().st_size == folders.PADDED


def test_a_command_that_cannot_run_says_what_is_missing(tmp_path):
    with pytest.raises(OSError, match="No such file") as missing:
        Command([str(tmp_path / "absent")], str(tmp_path), {})
    assert missing.value.filename == str(tmp_path / "absent")
    with pytest.raises(OSError, match="No such file") as missing:
        Command(["/bin/true"], str(tmp_path / "nowhere"), {})
    assert missing.value.filename == str(tmp_path / "nowhere")
    with pytest.raises(PermissionError):
        Command([str(tmp_path)], str(tmp_path), {})
    assert describe_end(-64).startswith("was ended by signal 64") or "SIGRTMAX" in describe_end(-64)
