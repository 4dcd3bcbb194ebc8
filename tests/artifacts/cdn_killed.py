"""A publisher that is killed (SIGKILL) at one of its writes: `python cdn_killed.py STORY`, a JSON object on stdin.

For each write of the story: a fresh store, the story until the kill right after that write, a look at what browsers
see, the story again, a look at the end. Prints one JSON line for each. Children are forked, as starting is slow.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from cdn_world import NAMES, artifact, settings

from crossfade.artifacts.cdn.opening import open_cdn
from crossfade.artifacts.port import Coordinate
from crossfade.core.clock import VirtualClock

OLD, NEW = Coordinate("app", "1.0.0"), Coordinate("app", "1.1.0")
NEVER = -1


@dataclass
class Deadly:
    """A store whose writer dies after its write number `at`, which is before the one that follows."""

    store: object
    at: int = NEVER
    done: int = 0

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def put(self, *args, **words):
        mine, self.done = self.done == self.at, self.done + 1
        said = await self.store.put(*args, **words)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return said


def build(folder, at):
    mark = at.version.encode()
    files = {"app.js": b"import './parts/chunk.js' // " + mark, "parts/chunk.js": mark, "same.css": b"a{}"}
    return artifact(at, Path(folder) / at.version, files)


async def publish(cdn, folder, at):
    it = build(folder, at)
    await cdn.upload(it)
    await cdn.verify(it)
    await cdn.tag(at, ["app/v1"])


async def story(name, cdn, folder):
    if name == "publish":
        await publish(cdn, folder, NEW)
    else:
        await cdn.withdraw(NEW, reason="it breaks carts", back_to=OLD)


async def before_story(name, cdn, folder):
    await publish(cdn, folder, OLD)
    if name == "withdraw":
        await publish(cdn, folder, NEW)


async def look(cdn):
    """What there is: the pointer's document, and each of its files as the version that it is of."""
    seen = {}
    for path in ("app.js", "parts/chunk.js"):
        held = await cdn.store.read(f"app/v1/{path}")
        seen[path] = held.body.decode().rpartition("// ")[2] or held.body.decode()
    found = await cdn.find([OLD, NEW])
    pointer = await cdn.pointers.read("app/v1")
    return {
        "files": seen,
        "version": pointer.version,
        "open": pointer.open,
        "history": [each.version for each in pointer.history],
        "tags": {each.at.version: sorted(each.tags) for each in found.values()},
    }


def in_child(work):
    """What `work` returns in a process of its own, or None when it was killed there."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(into, json.dumps(asyncio.run(work())).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if status == 0 else None


def main(name):
    asked = json.load(sys.stdin)

    def opened(words, at=NEVER):
        cdn = open_cdn("cdn", words, Path("/"), NAMES, by="ci", clock=VirtualClock(1e9))
        return replace(cdn, store=Deadly(cdn.store, at))

    at, ended = 0, False
    while not ended:
        words = settings(f"{asked['store']}/{at}", **asked["more"])
        folder = f"{asked['builds']}/{name}/{at}"

        async def dying(words=words, folder=folder, at=at):
            await before_story(name, opened(words), folder)
            await story(name, opened(words, at), folder)
            return True

        async def afterwards(words=words, folder=folder):
            then = await look(opened(words))
            await story(name, opened(words), folder)
            await story(name, opened(words), folder)
            return {"then": then, "end": await look(opened(words))}

        ended = in_child(dying) is not None
        sys.stdout.write(json.dumps({"at": at, "killed": not ended, **in_child(afterwards)}) + "\n")
        at += 1


if __name__ == "__main__":
    main(sys.argv[1])
