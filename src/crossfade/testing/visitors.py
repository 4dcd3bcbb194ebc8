"""Visitors of a router under test: a load in a process of its own, and exact questions on kept connections."""
# ruff: noqa: S101 - a contract suite is tests

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

import httpx

from crossfade.traffic.load import Load, Plan, Sample

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class Visitors:
    """A load in a process of its own, so that neither it nor what it watches waits for the other."""

    def __init__(self, address: str, plan: Plan) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._ours, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_visit, args=(theirs, address, plan), daemon=True)
        self._process.start()
        assert self._ours.poll(60), "the load did not begin"
        self._ours.recv()

    def leave(self) -> list[Sample]:
        """Every sample, once the last request has ended."""
        self._ours.send("leave")
        assert self._ours.poll(120), "the load did not end"
        samples: list[Sample] = self._ours.recv()
        self._process.join()
        return samples


def _visit(pipe: Connection, address: str, plan: Plan) -> None:
    async def visit() -> list[Sample]:
        load = Load(address, plan)
        load.start()
        pipe.send("begun")
        await asyncio.to_thread(pipe.recv)
        await load.stop()
        return load.samples

    pipe.send(asyncio.run(visit()))


@contextlib.asynccontextmanager
async def visitor(address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of HOST:PORT that keeps its connections and takes no proxy from the environment."""
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=20) as client:
        yield client


async def ask_each(address: str, requests: Sequence[Mapping[str, str]], workers: int = 24) -> list[str]:
    """The version that answers each request, in order; `requests` are dictionaries of headers."""
    host, _, port = address.rpartition(":")
    answers, todo = [""] * len(requests), iter(enumerate(requests))

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for place, headers in todo:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"GET /version HTTP/1.1\r\nHost: shop\r\n{lines}\r\n".encode(errors="surrogateescape"))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 200"), head
            await _body(reader, head)
            version = re.search(r"x-app-version: (\S+)", head, re.IGNORECASE)
            assert version is not None, head
            answers[place] = version[1]
        writer.close()

    await asyncio.gather(*(work() for _ in range(min(workers, len(requests)))))
    return answers


async def _body(reader: asyncio.StreamReader, head: str) -> None:
    length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    if length is not None:
        await reader.readexactly(int(length[1]))
        return
    assert re.search(r"transfer-encoding: chunked", head, re.IGNORECASE), head
    while size := int((await reader.readline()).split(b";")[0], 16):
        await reader.readexactly(size + 2)
    await reader.readline()
