"""A real Prometheus that scrapes whatever has a file in the folder `targets`."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import httpx

from free_ports import free_port
from patience import PATIENCE

_CONFIG = """\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:
  - job_name: web
    file_sd_configs:
      - {{files: ['{targets}'], refresh_interval: 1s}}
"""


class Prometheus:
    """One server with its data in `folder`; `url` is its address."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.targets = folder / "targets"
        self.targets.mkdir()
        config, port = folder / "prometheus.yml", free_port()
        self.url = f"http://127.0.0.1:{port}"
        config.write_text(_CONFIG.format(targets=self.targets / "*.json"))
        with (folder / "prometheus.log").open("w") as log:
            settings = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
            command = [program, *settings, f"--web.listen-address=127.0.0.1:{port}"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    async def has_scraped(self, query: str) -> None:
        """Once it has found who serves the series."""
        address, asked = f"{self.url}/api/v1/query", {"query": query}
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as client:  # only against a hang
            while True:
                try:
                    if (await client.get(address, params=asked)).json()["data"]["result"]:
                        return
                except httpx.HTTPError:  # it is still starting
                    pass
                await asyncio.sleep(0.2)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
