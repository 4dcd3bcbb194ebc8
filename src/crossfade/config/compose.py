"""A Compose file, read for what a `crossfade.yaml` can take over (`takeover`).

A service becomes a component when it has an image and publishes a port, and writes to no volume: two versions of whatever
keeps data would share or lose it, so databases stay with Compose, beside which all goes on.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crossfade.config.starter import plain_name
from crossfade.config.takeover import Taken, below, documents, literal, one_line, quoted, versioned, written
from crossfade.core.durations import format_duration, parse_duration
from crossfade.core.errors import BadInputError

_READ: Final = {
    *("image", "ports", "expose", "environment", "healthcheck", "deploy", "networks", "command", "scale", "volumes"),
    *("mem_limit", "cpus", "stop_grace_period", "container_name", "restart", "init", "hostname"),
}
"""Keys that are taken over, or that mean nothing beside what Crossfade does anyway."""
_FILLED_IN: Final = re.compile(r"(?<!\$)(?:\$\$)*\$(?:\{|[A-Za-z_])")
"""A variable that Compose puts in; `$$` stands for the sign itself."""
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - it is what Compose does where no address is named
_ASIDE: Final = 10_000
_LAST_PORT: Final = 65_535
_UNITS: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(kw_only=True)
class Service(Taken):
    """What one service becomes; users reach it at `published`, and others by `networks`, as Compose calls them."""

    published: str
    networks: tuple[str, ...]


def takeover(text: str, *, folder: str) -> str:
    """The text of a `crossfade.yaml` for the services of a Compose file in a folder of that name.

    BadInputError where it is no Compose file, or nothing of it can be taken over.
    """
    tree = _tree(text)
    services = below(tree, "services")
    if not services:
        raise BadInputError("init.compose", "this Compose file has no services", next="name the file that has them")
    project = plain_name(str(tree.get("name") or folder))
    found = [_service(str(name), each if isinstance(each, Mapping) else {}) for name, each in services.items()]
    taken = [each for each in found if isinstance(each, Service)]
    stays = [each for each in found if isinstance(each, str)]
    if not taken:
        raise BadInputError(
            "init.compose-nothing",
            f"none of its services can be taken over: {'; '.join(stays)}",
            next="write the file by hand: crossfade init, docs/how-to/run-on-docker.md",
        )
    networks = {_network(name, tree, project) for each in taken for name in each.networks}
    about = (
        "Written from a Compose file. Check it with `crossfade check`; how to switch without losing a request:",
        "docs/how-to/run-on-docker.md. What Compose runs goes on until you stop it there.",
    )
    return written(
        taken,
        stays,
        project=project,
        about=about,
        staying="These services stay with Compose:",
        environment=_environment(taken, sorted(networks)),
    )


def _tree(text: str) -> Mapping[str, Any]:
    try:
        found = documents(text)
    except ValueError as error:
        raise BadInputError("init.compose", f"this is not YAML that can be read: {error}") from error
    if not found:
        raise BadInputError("init.compose", "this is not a Compose file: it has no keys")
    if len(found) > 1:
        raise BadInputError("init.compose", f"this is not a Compose file: it holds {len(found)} documents")
    return found[0]


# -- one service ---------------------------------------------------------------------------------------------


def _service(name: str, service: Mapping[str, Any]) -> Service | str:
    """What the service becomes, or why it stays with Compose."""
    if not service.get("image"):
        return f"{name} (it names no image: push what it builds, and name that)"
    written = [each for each in map(_mount, service.get("volumes") or ()) if each and not each.endswith(":ro")]
    if written:
        return f"{name} (it writes to {', '.join(written)}, which two versions would share)"
    ports = [each for each in map(_port, service.get("ports") or ()) if each is not None]
    if not ports:
        return f"{name} (it publishes no port, so there is no traffic to move)"
    image, tag = versioned(str(service["image"]))
    published, inside = ports[0]
    networks = tuple(map(str, service.get("networks") or ("default",)))
    found = Service(plain_name(name), image, tag, inside, published=published, networks=networks)
    found.left += [f"port {target} (a component has one)" for _, target in ports[1:]]
    found.left += [f"the mount {each}" for each in map(_mount, service.get("volumes") or ()) if each]
    found.left += [f"{key}" for key in service if key not in _READ]
    if service.get("env_file"):
        found.left[found.left.index("env_file")] = "env_file: write its variables below `environment`"
    _command(found, service.get("command"))
    _variables(found, service.get("environment"))
    found.instances(below(service, "deploy").get("replicas") or service.get("scale") or 1)
    _resources(found, service)
    _health(found, service.get("healthcheck"))
    _grace(found, service.get("stop_grace_period"))
    return found


def _port(written: Any) -> tuple[str, int] | None:
    """Where users reach a published TCP port, as Compose does on all addresses where none is named, and the container's own; None for any other.

    >>> _port("8080:80"), _port("127.0.0.1:443:8443/tcp"), _port("53:53/udp"), _port({"target": 80, "published": 8080})
    (('0.0.0.0:8080', 80), ('127.0.0.1:443', 8443), None, ('0.0.0.0:8080', 80))
    """
    if isinstance(written, Mapping):
        if written.get("protocol", "tcp") != "tcp" or not str(written.get("published", "")).isdigit():
            return None
        return f"{written.get('host_ip', _EVERYWHERE)}:{written['published']}", int(written["target"])
    plain = re.fullmatch(r"(?:(?P<host>[^/]+):)?(?P<out>\d+):(?P<inside>\d+)(?:/tcp)?", str(written))
    return None if plain is None else (f"{plain['host'] or _EVERYWHERE}:{plain['out']}", int(plain["inside"]))


def _mount(written: Any) -> str:
    if isinstance(written, Mapping):
        name = f"{written.get('source', '')}:{written.get('target', '')}"
        return name + (":ro" if written.get("read_only") else "") if written.get("type") != "tmpfs" else ""
    return str(written)


def _command(found: Service, command: Any) -> None:
    if not command:
        return
    words = shlex.split(command) if isinstance(command, str) else [str(each) for each in command]
    if any(_FILLED_IN.search(each) for each in words):
        found.left.append("command: Compose fills variables into it")
        return
    found.command(map(_plain, words))


def _variables(found: Service, written: Any) -> None:
    items = (
        written.items() if isinstance(written, Mapping) else (str(each).partition("=")[::2] for each in written or ())
    )
    lines, bare = [], not isinstance(written, Mapping)
    for name, value in items:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        missing = value is None or (bare and not any(str(each).startswith(f"{name}=") for each in written))
        if missing or _FILLED_IN.search(text):
            lines.append(f"# {one_line(name)}: write its value; Compose takes it from its own environment")
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", str(name)):
            lines.append(f"{name}: {_plain(text)}")
    found.environment(lines)


def _resources(found: Service, service: Mapping[str, Any]) -> None:
    limits = below(service, "deploy", "resources", "limits")
    memory, cpus = limits.get("memory") or service.get("mem_limit"), limits.get("cpus") or service.get("cpus")
    size = re.fullmatch(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[bkmg]?)b?", str(memory or "").lower())
    found.resources(
        None if size is None else int(float(size["number"]) * _UNITS[size["unit"]]),
        str(cpus) if re.fullmatch(r"\d+(\.\d+)?", str(cpus or "")) else "",
    )


def _health(found: Service, check: Any) -> None:
    check = check if isinstance(check, Mapping) else {}
    test = check.get("test") or ""
    said = test if isinstance(test, str) else " ".join(map(str, test))
    url = re.search(r"https?://[^/\s\"']+(/[^\s\"'|;)]*)?", said)
    settings = {name: _duration(seconds) for name in ("interval", "timeout") if (seconds := _seconds(check.get(name)))}
    if isinstance(check.get("retries"), int) and check["retries"] > 0:
        settings["failures"] = str(check["retries"])
    without = "its healthcheck asks for none" if said else "it has no healthcheck"
    found.health("" if url is None else url[1] or "/", settings, without=without)


def _grace(found: Service, written: Any) -> None:
    if seconds := _seconds(written):
        found.lines += ["drain:", f"  grace: {_duration(seconds)}"]


# -- the file ------------------------------------------------------------------------------------------------


def _environment(taken: Iterable[Service], networks: Iterable[str]) -> list[str]:
    return [
        "runtime:",
        "  kind: docker",
        f"  networks: [{', '.join(map(quoted, networks))}]   # by which the other services are reached, under their names",
        "router: caddy",
        "# Where users come. Compose holds its own ports until you switch, so these lie beside them:",
        "listen:",
        *(f"  {each.name}: {quoted(_beside(each.published))}   # Compose: {each.published}" for each in taken),
    ]


def _network(name: str, tree: Mapping[str, Any], project: str) -> str:
    settings = below(tree, "networks", name)
    return str(settings.get("name") or (name if settings.get("external") else f"{project}_{name}"))


def _beside(published: str) -> str:
    """An address beside the one that Compose holds, until it lets go of that."""
    host, _, port = published.rpartition(":")
    number = int(port) + _ASIDE
    return f"{host}:{number if number <= _LAST_PORT else int(port) - _ASIDE}"


def _seconds(written: Any) -> float | None:
    try:
        return parse_duration(str(written)) if written else None
    except ValueError:
        return None


def _duration(seconds: float) -> str:
    return format_duration(seconds).replace(" ", "")


def _plain(text: str) -> str:
    """Text of a Compose file, in which `$$` stands for one `$`."""
    return literal(text.replace("$$", "$"))
