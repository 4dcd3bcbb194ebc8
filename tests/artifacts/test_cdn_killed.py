"""A publisher is killed after every write; the next one brings it to the right end."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from cdn_world import shared_moto

PROGRAM = Path(__file__).with_name("cdn_killed.py")
OLD, NEW = "1.0.0", "1.1.0"


@pytest.fixture(scope="module", params=["folder", "s3"])
def world(request, require, tmp_path_factory):
    top = tmp_path_factory.mktemp("killed")
    if request.param == "folder":
        return {"store": f"file://{top}/cdn", "more": {}, "builds": f"{top}/builds"}
    server = shared_moto(require("moto_server"))
    server.make_bucket("cdn-of-the-killed")
    return {"store": "s3://cdn-of-the-killed", "more": {"endpoint": server.url}, "builds": f"{top}/builds"}


async def told(story, world):
    world = world | {"store": f"{world['store']}/{story}"}
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        PROGRAM,
        story,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[1])},  # what all tests share
    )
    said, _ = await program.communicate(json.dumps(world).encode())
    assert program.returncode == 0
    return [json.loads(line) for line in said.splitlines()]


def check(each, *, start, end):
    """No page ever loads a new entry with old parts, and the end is the right one."""
    then = each["then"]
    if then["files"]["app.js"] == end:
        assert then["files"]["parts/chunk.js"] == end, each
    if then["files"] == {"app.js": end, "parts/chunk.js": end}:
        assert then["version"] == end, each
    assert then["version"] in (start, end)
    # A pointer that is not finished leads nowhere: whoever publishes sees that there is something left to do.
    settled = set(then["files"].values()) == {then["version"]} and not then["open"]
    assert ("app/v1" in then["tags"].get(then["version"], [])) is settled, each
    assert each["end"]["files"] == {"app.js": end, "parts/chunk.js": end}, each
    assert (each["end"]["version"], each["end"]["open"]) == (end, False), each
    assert each["end"]["tags"] == {end: ["app/v1"], start: []}, each


async def test_a_publication_killed_at_every_write(world):
    said = await told("publish", world)
    # The list of files, three files, the document, two of the pointer's files, the document again.
    assert [each["killed"] for each in said] == [True] * 8 + [False]
    for each in said:
        check(each, start=OLD, end=NEW)
        assert each["end"]["history"] == [OLD, NEW]


async def test_a_withdrawal_killed_at_every_write(world):
    said = await told("withdraw", world)
    # The reason, the document, two of the pointer's files, the document again.
    assert [each["killed"] for each in said] == [True] * 5 + [False]
    for each in said:
        check(each, start=NEW, end=OLD)
        assert each["end"]["history"] == [OLD, NEW, OLD]
