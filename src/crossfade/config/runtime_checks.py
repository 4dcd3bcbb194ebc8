"""Whether components can run where they may be deployed, and their containers can be reached. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.config.faults import Path
from crossfade.config.model import Component, Project
from crossfade.config.remarks import Remark
from crossfade.config.runtimes import DockerRuntime

_LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def runtimes(project: Project) -> Iterator[Remark]:
    """Components that cannot run where they might be deployed, and engines whose containers nobody here reaches."""
    for place, environment in project.environments.items():
        at, runtime = ("environments", place, "runtime"), environment.runtime
        for name, component in project.components.items():
            if component.command or component.image:
                yield from _fits(("components", name), component, at, runtime.kind)
        if isinstance(runtime, DockerRuntime) and not runtime.host.startswith("unix:") and runtime.address in _LOOPBACK:
            yield Remark(
                "config.docker-address",
                ((*at, "address"), (*at, "host"), at),
                f"containers of {runtime.host} would be published on {runtime.address} of that machine, which the router"
                " reaches only where it runs there too",
                "write the address of that machine: `address: 10.0.0.5`",
                fatal=False,
            )


def _fits(at: Path, component: Component, where: Path, kind: str) -> Iterator[Remark]:
    contained, name = kind in ("docker", "kubernetes"), where[1]
    if contained and not component.image:
        what, how = f"it cannot run in {name}: {kind} runs images, and it names none", "add `image:` and `port:`"
        yield Remark("config.no-image", (at, where), what, f"{how}, or deploy it elsewhere only", fatal=False)
    elif contained and component.port is None:
        what = f"{kind} in {name} cannot know on which port its container listens"
        yield Remark("config.no-port", ((*at, "image"), where), what, "add `port:`, such as `port: 8000`")
    elif contained and "{version}" not in str(component.image) and "@sha256:" not in str(component.image):
        what = "this image has neither `{version}` nor a digest: versions differ only if its tag moves in between"
        yield Remark("config.fixed-image", ((*at, "image"), where), what, "write `NAME:{version}`", fatal=False)
    elif kind == "process" and not component.command:
        what = f"it cannot run in {name}: processes need a command, and it has an image only"
        yield Remark("config.no-command", (at, where), what, "add `command:`, or write `runtime: docker`", fatal=False)
