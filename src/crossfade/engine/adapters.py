"""Which class carries out which kind of router and runtime: ours by name, a third party's by its entry point.

An adapter has a class method `of(deployment)`. A package of somebody else names its own under the entry point group
`crossfade.routers` or `crossfade.runtimes`, and the file says `{kind: plugin, name: …}`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Final

from crossfade.config.faults import suggest
from crossfade.config.routers import PluginRouter
from crossfade.config.runtimes import PluginRuntime
from crossfade.core.errors import BadInputError

ROUTERS: Final = {
    "caddy": "crossfade.traffic.routers.caddy:CaddyRouter",
    "haproxy": "crossfade.traffic.routers.haproxy:HAProxyRouter",
    "nginx": "crossfade.traffic.routers.nginx:NginxRouter",
    "envoy": "crossfade.traffic.routers.envoy:EnvoyRouter",
    "traefik": "crossfade.traffic.routers.traefik:TraefikRouter",
    "gateway-api": "crossfade.traffic.routers.gateway_api:GatewayApiRouter",
    "ingress-nginx": "crossfade.traffic.routers.ingress_nginx:IngressNginxRouter",
}
RUNTIMES: Final = {
    "process": "crossfade.runtimes.process:ProcessRuntime",
    "docker": "crossfade.runtimes.docker:DockerRuntime",
    "kubernetes": "crossfade.runtimes.kubernetes:KubernetesRuntime",
}
_EXTRAS: Final = {"gateway-api": "kubernetes", "ingress-nginx": "kubernetes"}
"""Where the extra is not called as the kind is."""


def adapter(known: Mapping[str, str], group: str, settings: Any) -> Any:
    """The class for `settings`; only what is used is imported.

    BadInputError where its optional part is not installed, or no package has a plugin of that name.
    """
    if isinstance(settings, PluginRouter | PluginRuntime):
        return _plugin(group, settings.name)
    module, _, name = known[settings.kind].partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "crossfade":
            raise  # a fault of ours, and no part that can be installed
        raise BadInputError(
            "adapter.not-installed",
            f"{settings.kind} needs the Python package {error.name}, which is not installed",
            where=settings.kind,
            next=f"pip install 'crossfade[{_EXTRAS.get(settings.kind, settings.kind)}]'",
        ) from error


def _plugin(group: str, name: str) -> Any:
    found = {each.name: each for each in importlib.metadata.entry_points(group=group)}
    if name not in found:
        raise BadInputError(
            "adapter.unknown-plugin",
            f"no installed package has {name!r} among its entry points of {group}",
            where=f"name: {name}",
            next=suggest(name, tuple(found)) or "install the package that has it",
        )
    return found[name].load()
