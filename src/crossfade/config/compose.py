"""From a Compose file to a `crossfade.yaml`: what was found is written down, what could not be taken over is said.

Nothing is guessed. A service becomes a component when it has an image and publishes a port, and writes to no volume:
two versions of whatever keeps data would share or lose it, so databases stay with Compose, beside which all goes on.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crossfade.config.quantities import write_size
from crossfade.config.starter import plain_name, word
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
_MOST: Final = 12
_ASIDE: Final = 10_000
_LAST_PORT: Final = 65_535
_UNITS: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass
class Found:
    """What one service becomes; `left` are sentences about what does not."""

    name: str
    image: str
    tag: str
    port: int
    published: str
    left: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def takeover(text: str, *, folder: str) -> str:
    """The text of a `crossfade.yaml` for the services of a Compose file in a folder of that name.

    BadInputError where it is no Compose file, or nothing of it can be taken over.
    """
    tree = _tree(text)
    services = tree.get("services")
    if not isinstance(services, Mapping) or not services:
        raise BadInputError("init.compose", "this Compose file has no services", next="name the file that has them")
    project = plain_name(str(tree.get("name") or folder))
    found: list[Found] = []
    stays: list[str] = []
    for name, service in services.items():
        one = _service(str(name), service if isinstance(service, Mapping) else {})
        (found if isinstance(one, Found) else stays).append(one)  # type: ignore[arg-type]  # each into its own list
    if not found:
        raise BadInputError(
            "init.compose-nothing",
            f"none of its services can be taken over: {'; '.join(stays)}",
            next="write the file by hand: crossfade init, docs/how-to/run-on-docker.md",
        )
    return (
        "\n".join([*_head(found, stays, project), *_components(found), *_environment(found, services, tree, project)])
        + "\n"
    )


def _tree(text: str) -> Mapping[str, Any]:
    from ruamel.yaml import YAML  # noqa: PLC0415 - heavy, and seldom needed
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        said = " ".join(str(error).split())
        raise BadInputError("init.compose", f"this is not YAML that can be read: {said[:200]}") from error
    if not isinstance(tree, Mapping):
        raise BadInputError("init.compose", "this is not a Compose file: it has no keys")
    return tree


# -- one service ---------------------------------------------------------------------------------------------


def _service(name: str, service: Mapping[str, Any]) -> Found | str:
    """What the service becomes, or why it stays with Compose."""
    if not service.get("image"):
        return f"{name} (it names no image: push what it builds, and name that)"
    written = [each for each in map(_mount, service.get("volumes") or ()) if each and not each.endswith(":ro")]
    if written:
        return f"{name} (it writes to {', '.join(written)}, which two versions would share)"
    ports = [each for each in map(_port, service.get("ports") or ()) if each is not None]
    if not ports:
        return f"{name} (it publishes no port, so there is no traffic to move)"
    image, tag = _image(str(service["image"]))
    found = Found(plain_name(name), image, tag, ports[0][1], ports[0][0])
    found.left += [f"port {target} (a component has one)" for _, target in ports[1:]]
    found.left += [f"the mount {each}" for each in map(_mount, service.get("volumes") or ()) if each]
    found.left += [f"{key}" for key in service if key not in _READ]
    if service.get("env_file"):
        found.left[found.left.index("env_file")] = "env_file: write its variables below `environment`"
    _command(found, service.get("command"))
    _variables(found, service.get("environment"))
    _instances(found, service)
    _resources(found, service)
    _health(found, service.get("healthcheck"))
    _grace(found, service.get("stop_grace_period"))
    return found


def _image(written: str) -> tuple[str, str]:
    """The image with `{version}` for its tag, and the tag that it had; one with a digest stays.

    >>> _image("registry.example:5000/shop/api:1.4.2"), _image("shop/api:${TAG:-1.0.0}"), _image("nginx")
    (('registry.example:5000/shop/api:{version}', '1.4.2'), ('shop/api:{version}', '1.0.0'), ('nginx:{version}', 'latest'))
    """
    if "@sha256:" in written:
        return written, ""
    name, colon, tag = written, "", ""
    match = re.fullmatch(r"(?P<name>.*[^:/]):(?P<tag>[^/:{}]+|\$\{[^}]*\}|\$\w+)", written)
    if match is not None:
        name, colon, tag = match["name"], ":", match["tag"]
    usual = re.fullmatch(r"\$\{\w+:?-(.*)\}", tag)
    known = usual[1] if usual else "" if tag.startswith("$") else tag
    return f"{name}:{{version}}", known if colon else "latest"


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


def _command(found: Found, command: Any) -> None:
    if not command:
        return
    words = shlex.split(command) if isinstance(command, str) else [str(each) for each in command]
    if any(_FILLED_IN.search(each) for each in words):
        found.left.append("command: Compose fills variables into it")
        return
    found.lines.append("command: [" + ", ".join(_plain(each) for each in words) + "]")


def _variables(found: Found, written: Any) -> None:
    items = (
        written.items() if isinstance(written, Mapping) else (str(each).partition("=")[::2] for each in written or ())
    )
    lines, bare = [], not isinstance(written, Mapping)
    for name, value in items:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        missing = value is None or (bare and not any(str(each).startswith(f"{name}=") for each in written))
        if missing or _FILLED_IN.search(text):
            lines.append(f"  # {_comment(name)}: write its value; Compose takes it from its own environment")
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", str(name)):
            lines.append(f"  {name}: {_plain(text)}")
    if lines:
        alone = all(line.startswith("  #") for line in lines)
        found.lines += ["environment: {}" if alone else "environment:", *lines]


def _instances(found: Found, service: Mapping[str, Any]) -> None:
    count = _below(service, "deploy").get("replicas") or service.get("scale") or 1
    if isinstance(count, int) and count > 1:
        found.lines.append(f"instances: {min(count, _MOST)}")
        if count > _MOST:
            found.left.append(f"{count} replicas (there are at most {_MOST} instances)")


def _resources(found: Found, service: Mapping[str, Any]) -> None:
    limits = _below(_below(_below(service, "deploy"), "resources"), "limits")
    memory, cpus = limits.get("memory") or service.get("mem_limit"), limits.get("cpus") or service.get("cpus")
    parts = []
    size = re.fullmatch(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[bkmg]?)b?", str(memory or "").lower())
    if size is not None:
        parts.append(f"memory: {write_size(int(float(size['number']) * _UNITS[size['unit']]))}")
    if re.fullmatch(r"\d+(\.\d+)?", str(cpus or "")):
        parts.append(f"cpus: {cpus}")
    if parts:
        found.lines.append("resources: {" + ", ".join(parts) + "}")


def _health(found: Found, check: Any) -> None:
    check = check if isinstance(check, Mapping) else {}
    test = check.get("test") or ""
    said = test if isinstance(test, str) else " ".join(map(str, test))
    url = re.search(r"https?://[^/\s\"']+(/[^\s\"'|;)]*)?", said)
    found.lines.append("health:")
    if url is None:
        told = "its healthcheck asks for none" if said else "it has no healthcheck"
        found.lines.append(f"  path: /   # {told}: name a path that answers 2xx when it works")
    else:
        found.lines.append(f"  path: {word(url[1] or '/')}")
    for key, name in (("interval", "interval"), ("timeout", "timeout")):
        if seconds := _seconds(check.get(key)):
            found.lines.append(f"  {name}: {format_duration(seconds).replace(' ', '')}")
    if isinstance(check.get("retries"), int) and check["retries"] > 0:
        found.lines.append(f"  failures: {check['retries']}")


def _grace(found: Found, written: Any) -> None:
    if seconds := _seconds(written):
        found.lines += ["drain:", f"  grace: {format_duration(seconds).replace(' ', '')}"]


# -- the file ------------------------------------------------------------------------------------------------


def _head(found: list[Found], stays: list[str], project: str) -> list[str]:
    first = found[0]
    lines = [
        "# Written from a Compose file. Check it with `crossfade check`; how to switch without losing a request:",
        "# docs/how-to/run-on-docker.md. What Compose runs goes on until you stop it there.",
        f"# Begin with what runs now: crossfade deploy {first.name}@{first.tag or 'VERSION'} production",
    ]
    if stays:
        lines += ["#", "# These services stay with Compose:", *(f"#   {_comment(each)}" for each in stays)]
    return [*lines, f"project: {project}", "", "components:"]


def _components(found: list[Found]) -> list[str]:
    lines = []
    for each in found:
        fixed = "@sha256:" in each.image
        lines += [f"  {each.name}:"]
        lines += [f"    # Not taken over: {_comment(left)}" for left in each.left]
        lines += [f"    image: {_quoted(each.image)}" + (f"   # Compose runs {each.tag}" if each.tag else "")]
        lines += ["    # A digest is one version for ever; write NAME:{version} to release others."] if fixed else []
        lines += [f"    port: {each.port}", *(f"    {line}" for line in each.lines)]
    return lines


def _environment(found: list[Found], services: Mapping[str, Any], tree: Mapping[str, Any], project: str) -> list[str]:
    names = {_network(each, tree, project) for one in found for each in _networks(services, one.name)}
    networks = ", ".join(_quoted(each) for each in sorted(names))
    return [
        "",
        "environments:",
        "  production:",
        "    runtime:",
        "      kind: docker",
        f"      networks: [{networks}]   # by which the other services are reached, under their names",
        "    router: caddy",
        "    # Where users come. Compose holds its own ports until you switch, so these lie beside them:",
        "    listen:",
        *(f"      {each.name}: {_quoted(_beside(each.published))}   # Compose: {each.published}" for each in found),
        "    strategy:",
        "      kind: canary",
        "      steps: [5%, 25%, 50%]   # 100 % always follows",
        "      watch: 5m",
        "      adaptive: true          # advance as soon as the new version is proven good",
        "      hold: 30m               # the previous version stays warm: going back is one weight change",
        "    rules:",
        "      - error_rate > 5% over 1m -> rollback",
        "      - health_failures > 3 -> rollback",
    ]


def _networks(services: Mapping[str, Any], name: str) -> Iterable[str]:
    service: Any = next((each for key, each in services.items() if plain_name(str(key)) == name), {})
    return [str(each) for each in service.get("networks") or ("default",)]


def _network(name: str, tree: Mapping[str, Any], project: str) -> str:
    settings = _below(_below(tree, "networks"), name)
    return str(settings.get("name") or (name if settings.get("external") else f"{project}_{name}"))


def _beside(published: str) -> str:
    """An address beside the one that Compose holds, until it lets go of that."""
    host, _, port = published.rpartition(":")
    number = int(port) + _ASIDE
    return f"{host}:{number if number <= _LAST_PORT else int(port) - _ASIDE}"


def _below(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, Mapping) else {}


def _seconds(written: Any) -> float | None:
    try:
        return parse_duration(str(written)) if written else None
    except ValueError:
        return None


def _plain(text: str) -> str:
    """Text for our file, in which braces stand for placeholders and Compose's `$$` for one `$`."""
    return word(text.replace("$$", "$").replace("{", "{{").replace("}", "}}"))


def _quoted(text: str) -> str:
    return f'"{text}"'


def _comment(text: object) -> str:
    return " ".join(str(text).split())
