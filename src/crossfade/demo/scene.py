"""Where the demo plays: a folder with a real `crossfade.yaml`, three releases of the shop, and nothing else.

Whatever runs because of it (instances, the proxy, its counter) is found through the folder alone, so
that it can be ended whatever has happened to whoever started it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.config.load import load, resolve
from crossfade.config.model import Deployment
from crossfade.core.durations import format_duration
from crossfade.engine.site import RealSites, Site
from crossfade.traffic.port import SLOTS

COMPONENT, ENVIRONMENT = "shop", "production"

_CONFIG = """\
# The demo's project. A project of your own looks like this, with longer times: see `crossfade init`.
project: corner-coffee

components:
  shop:
    command: [{python}, serve.py, --port, "{{port}}", --instance, "{{instance}}"]
    directory: releases/{{version}}
    instances: 2             # one alone could be bad for reasons of its own
    health:
      path: /healthz
    version_proof:
      path: /version
      header: X-App-Version  # asked through the proxy after every shift
    drain:
      timeout: 10s

environments:
  production:
    runtime: process
    router:
      kind: caddy
      listen: {listen}
    strategy:
      kind: canary
      steps: [{steps}]   # 100 % always follows
      adaptive: true          # advance as soon as the new version is proven good
      # Made for a story of a few minutes. The defaults, which are made for production, stand behind each.
      watch: {watch}              # 5m: the longest time at one step
      min_watch: {min_watch}           # 30s
      max_extension: {max_extension}      # 30m: how long missing evidence is waited for
      final_watch: {final_watch}         # 30m: how long 100 % is watched
      hold: 0s                # 30m: how long the old version stays warm
    judge:
      # How sure a verdict must be is not changed: at most one good release in a hundred is taken back.
      bucket: {bucket}              # 5s: what lies in one bucket is compared with each other
      warmup: {warmup}              # 20s: for a shop that answers at once when it is new
      guard_window: {guard_window}        # 10s: an outage is seen within it
{more}"""

_UNJUDGED = """\
      enabled: false
      guard_requests: 1000000000   # the guard never has enough to speak
"""

_SERVE = '''\
"""Corner Coffee {version}."""

import argparse

from crossfade.demo.app import main

flags = argparse.ArgumentParser()
flags.add_argument("--port", required=True)
flags.add_argument("--instance", required=True)
given = flags.parse_args()
main(["--port", given.port, "--seed", str({seed} + sum(given.instance.encode())), {arguments}])
'''


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a rollout goes in the scene: shares as they are written, times in seconds.

    Without `judged`, neither comparison nor guard decides: for those who bring a judge of their own.
    """

    steps: tuple[str, ...] = ("5%", "25%", "50%")
    watch: float = 65.0
    min_watch: float = 8.0
    max_extension: float = 15.0
    final_watch: float = 8.0
    bucket: float = 2.0
    warmup: float = 3.0
    guard_window: float = 4.0
    judged: bool = True


@dataclass(frozen=True, slots=True)
class Scene:
    """A folder that is ready to be played in; `address` is where the shop's visitors come."""

    folder: Path
    deployment: Deployment
    address: str

    @property
    def state(self) -> Path:
        """The folder of the run state."""
        return Path(self.deployment.state)

    @property
    def site(self) -> Site:
        """The scene's runtime and router."""
        return RealSites().site(self.deployment)


def set_up(folder: Path, pace: Pace, releases: Mapping[str, Sequence[str]], *, seed: int) -> Scene:
    """Write the scene into `folder`; `releases` are versions with the flags of the shop that make them what they are."""
    folder = folder.resolve()
    address = f"127.0.0.1:{_free_port()}"
    (folder / "crossfade.yaml").write_text(_config(pace, address), encoding="utf-8")
    for version, flags in releases.items():
        release = folder / "releases" / version
        release.mkdir(parents=True)
        arguments = ", ".join(map(repr, ("--version", version, *flags)))
        text = _SERVE.format(version=version, seed=seed * 1000, arguments=arguments)
        (release / "serve.py").write_text(text, encoding="utf-8")
    loaded = load(folder / "crossfade.yaml")
    return Scene(folder, resolve(loaded, COMPONENT, ENVIRONMENT, folder / ".crossfade"), address)


async def clear(scene: Scene) -> None:
    """End all that runs because of the scene, the proxy last; harmless when nothing does."""
    site = scene.site
    ends = await asyncio.gather(*(site.runtime.stop(slot) for slot in SLOTS), return_exceptions=True)
    await site.router.close()
    for end in ends:
        if isinstance(end, BaseException):
            raise end


def _config(pace: Pace, address: str) -> str:
    times = ("watch", "min_watch", "max_extension", "final_watch", "bucket", "warmup", "guard_window")
    return _CONFIG.format(
        python=_quoted(sys.executable),
        listen=address,
        steps=", ".join(pace.steps),
        more="" if pace.judged else _UNJUDGED,
        **{name: format_duration(getattr(pace, name)) for name in times},
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
