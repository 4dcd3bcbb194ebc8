"""Whether every address serves one component, and every router can do what is asked of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crossfade.config.faults import Path, suggest
from crossfade.config.model import Environment, Project
from crossfade.config.remarks import Remark
from crossfade.config.routers import GatewayApiRouter, IngressNginxRouter
from crossfade.config.runtimes import KubernetesRuntime
from crossfade.config.strategies import Canary
from crossfade.core.durations import format_share

_LAST_PORT = 65_535
_WORDS = {"cookie": "a cookie that it sets", "header": "a header", "user_cookie": "the application's own cookie"}


def routing(project: Project) -> Iterator[Remark]:
    """Everything about addresses and routers that does not fit together."""
    yield from _addresses(project)
    yield from _unknown_components(project)
    for name, environment in project.environments.items():
        at: Path = ("environments", name)
        yield from _sticky(at, environment)
        yield from _capabilities(at, environment)
        yield from _in_cluster(at, environment)


@dataclass(frozen=True, slots=True)
class _Served:
    """One component in one environment, and where users reach it."""

    environment: str
    component: str
    at: Path
    host: str
    port: str

    @property
    def listen(self) -> str:
        return f"{self.host}:{self.port}"


def _addresses(project: Project) -> Iterator[Remark]:
    running = [name for name, each in project.components.items() if each.command or each.image]
    faulty: set[Path] = set()
    for at, listen in _listens(project):
        port = listen.rpartition(":")[2]
        if len(port) > len(str(_LAST_PORT)) or int(port) > _LAST_PORT:
            faulty.add(at)
            yield Remark("config.port", (at,), f"there is no port {port[:20]}", f"ports end at {_LAST_PORT}")
    served = [each for each in _served(project, running) if each.at not in faulty]
    free = _free_port(project)
    told: set[Path] = set()
    for index, each in enumerate(served):
        if int(each.port) == 0 or each.at in told:
            continue
        sharing = [one for one in served if one.environment == each.environment and one.at == each.at]
        if len(sharing) > 1:
            told.add(each.at)
            yield _shared(each, [one.component for one in sharing])
            continue
        clash = next((one for one in served[:index] if one.at != each.at and _same_address(one, each)), None)
        if clash is not None:
            told.add(each.at)
            yield _taken(clash, each, free)


def _listens(project: Project) -> Iterator[tuple[Path, str]]:
    for name, environment in project.environments.items():
        yield ("environments", name, "router", "listen"), environment.router.listen
        for component, listen in environment.listen.items():
            yield ("environments", name, "listen", component), listen


def _served(project: Project, running: list[str]) -> Iterator[_Served]:
    for environment, settings in project.environments.items():
        for name in running:
            here: Path = ("environments", environment)
            at = (*here, "listen", name) if name in settings.listen else (*here, "router", "listen")
            host, _, port = settings.listen.get(name, settings.router.listen).rpartition(":")
            yield _Served(environment, name, at, host, port)


def _free_port(project: Project) -> str:
    used = {listen.rpartition(":")[2] for _, listen in _listens(project)}
    return next(str(port) for port in range(8080, _LAST_PORT) if str(port) not in used)


def _unknown_components(project: Project) -> Iterator[Remark]:
    for environment, settings in project.environments.items():
        for name in settings.listen:
            if name not in project.components:
                at: Path = ("environments", environment, "listen", name)
                yield Remark(
                    "config.unknown-component",
                    (at,),
                    f"there is no component `{name}`",
                    suggest(name, project.components),
                )


def _in_cluster(at: Path, environment: Environment) -> Iterator[Remark]:
    """Routers of a cluster lead to its Services, which only its runtime makes."""
    router = environment.router
    if not isinstance(router, GatewayApiRouter | IngressNginxRouter):
        return
    if not isinstance(environment.runtime, KubernetesRuntime):
        what = f"{router.kind} sends traffic to Services of a cluster, and the instances are of the kind {environment.runtime.kind}"
        yield Remark("config.not-in-cluster", ((*at, "router"),), what, "set `runtime: {kind: kubernetes}`")
    if isinstance(router, GatewayApiRouter) and router.gateway is None:
        what = "a route belongs to a Gateway, and none is named"
        yield Remark("config.no-gateway", ((*at, "router"),), what, "set `gateway:` to NAME or NAMESPACE/NAME")


def _same_address(one: _Served, other: _Served) -> bool:
    every = {"", "0.0.0.0", "[::]", "*"}  # noqa: S104 - compared, not bound
    if int(one.port) != int(other.port):
        return False
    hosts = {one.host, other.host}
    return one.host == other.host or bool(hosts & every) or hosts == {"localhost", "127.0.0.1"}


def _shared(each: _Served, names: list[str]) -> Remark:
    return Remark(
        "config.shared-address",
        (each.at, ("components",)),
        f"{each.listen} would serve {len(names)} components ({', '.join(names)}): one address serves one component",
        f'give the others an address of their own, such as `listen: {{{names[1]}: "{each.host}:PORT"}}` below environments.{each.environment}',
    )


def _taken(first: _Served, second: _Served, free: str) -> Remark:
    if first.environment == second.environment:
        who = f"the components {first.component} and {second.component} both listen on {second.listen}"
        how = f'`listen: {{{second.component}: "{second.host}:{free}"}}`'
    else:
        who = f"the environments {first.environment} and {second.environment} both listen on {second.listen}"
        how = f'`router: {{listen: "{second.host}:{free}"}}`'
    return Remark("config.address-taken", (second.at, first.at), who, f"give each its own, such as {how}")


def _sticky(at: Path, environment: Environment) -> Iterator[Remark]:
    sticky = environment.router.sticky
    header = sticky.header if sticky is not None else None
    if header is not None and header.lower() == environment.router.override_header.lower():
        yield Remark(
            "config.header-twice",
            ((*at, "router", "sticky", "header"), (*at, "router", "override_header")),
            f"`{header}` cannot both choose a side and name the user",
            "use another header for one of the two",
        )


def _capabilities(at: Path, environment: Environment) -> Iterator[Remark]:
    router, can = environment.router, type(environment.router).can
    key = router.sticky.key[0] if router.sticky is not None else None
    if key is not None and key not in can.sticky:
        able = " or ".join(_WORDS[each] for each in sorted(can.sticky))
        yield Remark(
            "config.router-cannot",
            ((*at, "router", "sticky", key), (*at, "router", "kind")),
            f"{router.kind} cannot keep users on one side by {_WORDS[key]}",
            f"it can by {able}" if able else "leave `sticky` away, or use a router that can: caddy, haproxy",
        )
    strategy = environment.strategy
    for index, stage in enumerate(strategy.steps if isinstance(strategy, Canary) else ()):
        if stage.weight % can.resolution:
            yield Remark(
                "config.router-cannot",
                ((*at, "strategy", "steps", index), (*at, "router", "kind")),
                f"{router.kind} shares traffic in steps of {format_share(can.resolution)}",
                f"write a multiple of {format_share(can.resolution)}",
            )
    if not can.counts and environment.metrics.kind == "router":
        yield Remark(
            "config.router-cannot",
            ((*at, "metrics"), (*at, "router", "kind")),
            f"{router.kind} does not count requests for each version, so nothing would be judged",
            "name where the counts come from, such as `metrics: {kind: prometheus, …}`",
        )
