"""Three registries on this machine to try the example with: npm (verdaccio), images (docker-registry), and a CDN's folder.

    python registries.py [--folder .registries] [--npm 4873] [--images 5000] [--cdn 8090]

Prints the token that may publish to npm, as a line for a shell, and serves until it is ended (Ctrl-C). What was published
stays in the folder. verdaccio needs Node 22 or newer.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

from crossfade.artifacts.cdn.opening import rules_of
from crossfade.artifacts.cdn.serving import serve
from crossfade.config.load import load
from crossfade.config.publishing import CdnRegistry

VERDACCIO = """\
storage: ./npm
auth: {htpasswd: {file: ./npm-users}}
security: {api: {jwt: {sign: {expiresIn: 30d}}}}
uplinks: {}
packages: {"**": {access: $all, publish: $authenticated, unpublish: $authenticated}}
log: {type: file, path: ./npm.log, level: warn}
web: {enable: false}
"""


async def main(folder: Path, npm: int, images: int, cdn: int) -> None:
    here = Path(__file__).resolve().parent
    settings = load(here / "crossfade.yaml").project.registries["cdn"]
    if not isinstance(settings, CdnRegistry):
        sys.exit("crossfade.yaml says that the registry `cdn` is something else")
    store = here / settings.store.removeprefix("file://")
    store.mkdir(exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verdaccio.yaml").write_text(VERDACCIO)
    (folder / "images.json").write_text(json.dumps(_images(folder, images)))
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with contextlib.AsyncExitStack() as ends:
        await ends.enter_async_context(
            _running(folder, _program("verdaccio"), "-c", "verdaccio.yaml", "-l", f"127.0.0.1:{npm}")
        )
        await ends.enter_async_context(_running(folder, _program("docker-registry"), "serve", "images.json"))
        await ends.enter_async_context(serve(store, rules_of(settings, where="registries.cdn"), f"127.0.0.1:{cdn}"))
        for url in (f"http://127.0.0.1:{npm}/-/ping", f"http://127.0.0.1:{images}/v2/"):
            await _answers(url)
        print(f"export NPM_TOKEN={await asyncio.to_thread(_token, npm)}", flush=True)
        await ended.wait()


def _images(folder: Path, port: int) -> dict:
    return {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder.resolve() / "images")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of this machine alone"},
    }


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        sys.exit(f"{name} is not on the PATH (npm install verdaccio; apt-get install docker-registry)")
    return found


@contextlib.asynccontextmanager
async def _running(folder: Path, *command: str) -> AsyncIterator[None]:
    with (folder / "output.log").open("ab") as output:
        process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=output, stderr=output)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(url: str) -> None:
    for _ in range(1200):
        try:
            await asyncio.to_thread(urllib.request.urlopen, url, timeout=5)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    sys.exit(f"{url} does not answer; see output.log")


def _token(port: int) -> str:
    """A token of the user `navi`, who is made if need be."""
    body = json.dumps({"name": "navi", "password": "navi-on-this-machine", "type": "user"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/-/user/org.couchdb.user:navi",
        body,
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["token"]


if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("--folder", type=Path, default=Path(".registries"))
    flags.add_argument("--npm", type=int, default=4873)
    flags.add_argument("--images", type=int, default=5000)
    flags.add_argument("--cdn", type=int, default=8090)
    given = flags.parse_args()
    asyncio.run(main(given.folder, given.npm, given.images, given.cdn))
