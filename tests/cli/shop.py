"""A shop to release by commands, and what it leaves running ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from crossfade.config.load import load, resolve
from crossfade.config.model import Deployment
from crossfade.engine.site import RealSites
from crossfade.runtimes.shim.folder import MARKER
from patience import PATIENCE

_FILE = """\
project: shop
components:
  api:
    command: [{python}, -m, crossfade.demo.app, --port, "{{port}}", --version, "{{version}}"]
    environment: {{API_TOKEN: hunter2}}
    ready: {{deadline: 20s}}
    drain: {{timeout: 2s, grace: 2s}}
    version_proof: {{path: /, header: X-App-Version}}
environments:
  production:
    router: {{kind: caddy, listen: "127.0.0.1:{port}"}}
    strategy:
      kind: canary
      steps: [{{weight: 10%, watch: 0s, pause: true}}]
      watch: 60s
      final_watch: 0s
      hold: 0s
    judge: {{enabled: false}}
"""


@dataclass(frozen=True)
class Ran:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        return json.loads(self.out)


class Shop:
    """A folder with a crossfade.yaml, and the command line in it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{port}"
        self._begun = ""
        self.begin(_FILE.format(python=sys.executable, port=port))

    @property
    def file(self) -> Path:
        return self.folder / "crossfade.yaml"

    def begin(self, text: str) -> None:
        """Write the file; what is in it then is what is ended, whatever a test makes of it."""
        self._begun = text
        self.file.write_text(text)

    def run(self, *arguments: str, **variables: str) -> Ran:
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in out + err, out + err
        return Ran(process.returncode, out, err)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "crossfade.cli.main", *arguments],
            cwd=self.folder,
            env={**_calm(), "CROSSFADE_ACTOR": "ada", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def die(self) -> None:
        """Everything that runs here dies at once, as when the machine is restarted."""
        left = self.running()
        for each in left:
            with contextlib.suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(left)

    def running(self) -> list[psutil.Process]:
        """Whatever runs because of this shop."""
        return [each for each in psutil.process_iter() if self._is_ours(each)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            marked = process.environ().get(MARKER, "").startswith(f"{self.folder}/")
            return marked or any(f"{self.folder}/" in part for part in process.cmdline())
        return False

    def end(self) -> None:
        self.file.write_text(self._begun)
        if (self.folder / ".crossfade").is_dir():
            loaded = load(self.file)
            for component in loaded.project.components:
                asyncio.run(self._end(resolve(loaded, component, "production")))

    async def _end(self, deployment: Deployment) -> None:
        site = RealSites().site(deployment)
        for slot in ("blue", "green"):
            await site.runtime.stop(slot)
        await site.router.close()


def _calm() -> dict[str, str]:
    away = ("DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "CROSSFADE_")
    return {key: value for key, value in os.environ.items() if not key.startswith(away)}
