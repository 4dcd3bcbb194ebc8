"""From a Kubernetes Deployment to a `crossfade.yaml`: what was found is written down, what could not be taken over is said.

Reads what `kubectl get deployment NAME -o yaml` prints, one Deployment or several. Nothing is guessed: a key that means
something to the pod and has no word of ours stands in a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crossfade.config.quantities import write_size
from crossfade.config.starter import plain_name, word
from crossfade.core.errors import BadInputError

_POD: Final = {
    *("containers", "serviceAccountName", "serviceAccount", "imagePullSecrets", "terminationGracePeriodSeconds"),
    *("restartPolicy", "dnsPolicy", "schedulerName", "securityContext"),
}
_CONTAINER: Final = {
    *("name", "image", "ports", "env", "args", "resources", "livenessProbe", "readinessProbe", "startupProbe"),
    *("imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"),
}
_UNITS: Final = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_MOST: Final = 12


@dataclass
class Found:
    """What one Deployment becomes; `left` are sentences about what does not."""

    name: str
    namespace: str
    tag: str
    account: str
    secrets: tuple[str, ...]
    left: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def is_deployment(text: str) -> bool:
    """Whether a text is what `kubectl get deployment -o yaml` prints, and not a Compose file."""
    return re.search(r"^\s*(?:- )?kind: *[\"']?Deployment[\"']?\s*$", text, re.MULTILINE) is not None


def takeover(text: str, *, folder: str) -> str:
    """The text of a `crossfade.yaml` for the Deployments in `text`; BadInputError where none can be taken over."""
    found = [_deployment(each) for each in _deployments(text)]
    stays = [each for each in found if isinstance(each, str)]
    taken = [each for each in found if isinstance(each, Found)]
    if not taken:
        why = "; ".join(stays) or "there is none in it"
        how = "write the file by hand: crossfade init, docs/how-to/run-on-kubernetes.md"
        raise BadInputError("init.deployment-nothing", f"no Deployment can be taken over: {why}", next=how)
    if len({each.namespace for each in taken}) > 1:
        how = "take over one namespace at a time"
        raise BadInputError("init.deployment-namespaces", "these Deployments are of several namespaces", next=how)
    return "\n".join([*_head(taken, stays, folder), *_components(taken), *_environment(taken)]) + "\n"


def _deployments(text: str) -> list[Mapping[str, Any]]:
    from ruamel.yaml import YAML  # noqa: PLC0415 - heavy, and seldom needed
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    try:
        documents = [each for each in YAML(typ="safe", pure=True).load_all(text) if isinstance(each, Mapping)]
    except YAMLError as error:
        said = " ".join(str(error).split())
        raise BadInputError("init.deployment", f"this is not YAML that can be read: {said[:200]}") from error
    things = [
        item for each in documents for item in (each.get("items") if each.get("kind") == "List" else [each]) or ()
    ]
    return [each for each in things if isinstance(each, Mapping) and each.get("kind") == "Deployment"]


def _deployment(thing: Mapping[str, Any]) -> Found | str:
    """What it becomes, or why it stays as it is."""
    meta, spec = _below(thing, "metadata"), _below(thing, "spec")
    name, pod = str(meta.get("name", "app")), _below(_below(spec, "template"), "spec")
    containers = [each for each in pod.get("containers") or () if isinstance(each, Mapping)]
    if len(containers) != 1:
        return f"{name} (it has {len(containers)} containers, and a component is one)"
    container = containers[0]
    ports = [each for each in container.get("ports") or () if each.get("protocol", "TCP") == "TCP"]
    if not ports:
        return f"{name} (its container names no port, so there is no traffic to move)"
    image, tag = _image(str(container.get("image", "")))
    secrets = tuple(str(each.get("name")) for each in pod.get("imagePullSecrets") or ())
    account = str(pod.get("serviceAccountName") or "")
    found = Found(plain_name(name), str(meta.get("namespace") or "default"), tag, account, secrets)
    found.left += [f"{key} of the pod" for key in pod if key not in _POD]
    found.left += ["securityContext of the pod"] if pod.get("securityContext") else []
    found.left += [f"{key} of the container" for key in container if key not in _CONTAINER]
    found.left += [f"port {each['containerPort']} (a component has one)" for each in ports[1:]]
    found.lines += [f"image: {_quoted(image)}" + (f"   # it runs {tag}" if tag else "")]
    found.lines += [f"port: {ports[0]['containerPort']}"]
    if container.get("args"):
        found.lines.append("command: [" + ", ".join(_literal(str(each)) for each in container["args"]) + "]")
    _variables(found, container.get("env") or ())
    _replicas(found, spec.get("replicas", 1))
    _resources(found, _below(container, "resources"))
    _probes(found, container, ports[0])
    if grace := pod.get("terminationGracePeriodSeconds"):
        found.lines += ["drain:", f"  grace: {grace}s"]
    return found


def _image(written: str) -> tuple[str, str]:
    """The image with `{version}` for its tag, and the tag that it had; one with a digest stays.

    >>> _image("registry.example:5000/shop/api:1.4.2"), _image("nginx")
    (('registry.example:5000/shop/api:{version}', '1.4.2'), ('nginx:{version}', 'latest'))
    """
    if "@sha256:" in written:
        return written, ""
    name, colon, tag = written.rpartition(":")
    return (f"{name}:{{version}}", tag) if colon and "/" not in tag else (f"{written}:{{version}}", "latest")


def _variables(found: Found, written: Iterable[Mapping[str, Any]]) -> None:
    lines, alone = [], True
    for each in written:
        name = str(each.get("name"))
        if "valueFrom" in each:
            source = ", ".join(_below(each, "valueFrom"))
            found.left.append(f"the variable {name} (from {source}): only plain values can be written here")
        elif "$(" in str(each.get("value", "")):
            found.left.append(f"the variable {name} (it refers to another): write its value")
        else:
            alone = False
            lines.append(f"  {name}: {_literal(str(each.get('value', '')))}")
    if not alone:
        found.lines += ["environment:", *lines]


def _replicas(found: Found, count: Any) -> None:
    if isinstance(count, int) and count > 1:
        found.lines.append(f"instances: {min(count, _MOST)}")
        if count > _MOST:
            found.left.append(f"{count} replicas (there are at most {_MOST} instances)")


def _resources(found: Found, resources: Mapping[str, Any]) -> None:
    limits, parts = _below(resources, "limits"), []
    if (size := _size(str(limits.get("memory", "")))) is not None:
        parts.append(f"memory: {write_size(size)}")
    if cpu := re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(limits.get("cpu", ""))):
        parts.append(f"cpus: {float(cpu[1]) / (1000 if cpu[2] else 1):g}")
    if parts:
        found.lines.append("resources: {" + ", ".join(parts) + "}")
    asked = _below(resources, "requests")
    if asked and asked != limits:
        found.left.append("requests of resources (Kubernetes takes them from the limits)")


def _size(written: str) -> int | None:
    """Bytes of a quantity of Kubernetes.

    >>> _size("256Mi"), _size("1.5G"), _size("lots")
    (268435456, 1500000000, None)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(k|M|G|Ki|Mi|Gi)?", written)
    return None if match is None else int(float(match[1]) * _UNITS[match[2] or ""])


def _probes(found: Found, container: Mapping[str, Any], port: Mapping[str, Any]) -> None:
    live, ready = _below(container, "livenessProbe"), _below(container, "readinessProbe")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = _below(container, name)
        asked = _below(probe, "httpGet")
        if probe and not asked:
            found.left.append(f"{name}: it does not ask by HTTP")
        elif asked and asked.get("port") not in (port.get("containerPort"), port.get("name"), None):
            found.left.append(f"{name}: it asks another port than the one that serves")
        elif name == "startupProbe" and probe:
            found.left.append(f"{name}: `ready.deadline` says how long a start may take")
    path = _below(live, "httpGet").get("path") or _below(ready, "httpGet").get("path")
    told = "" if path else "   # it has no probe by HTTP: name a path that answers 2xx when it works"
    found.lines += ["health:", f"  path: {word(str(path or '/'))}{told}"]
    probe = live or ready
    for key, name in (("periodSeconds", "interval"), ("timeoutSeconds", "timeout")):
        if probe.get(key):
            found.lines.append(f"  {name}: {probe[key]}s")
    if probe.get("failureThreshold"):
        found.lines.append(f"  failures: {probe['failureThreshold']}")
    readiness = _below(ready, "httpGet").get("path")
    if readiness and readiness != path:
        found.lines += ["ready:", f"  path: {word(str(readiness))}"]


# -- the file ------------------------------------------------------------------------------------------------


def _head(found: list[Found], stays: list[str], folder: str) -> list[str]:
    first = found[0]
    lines = [
        "# Written from Deployments of Kubernetes. Check it with `crossfade check`. What runs goes on, and is not touched:",
        "# Crossfade makes Deployments of its own beside it; docs/how-to/run-on-kubernetes.md says how to switch.",
        f"# Begin with what runs now: crossfade deploy {first.name}@{first.tag or 'VERSION'} production",
    ]
    if stays:
        lines += ["#", "# These stay as they are:", *(f"#   {each}" for each in stays)]
    return [*lines, f"project: {plain_name(folder)}", "", "components:"]


def _components(found: list[Found]) -> list[str]:
    lines: list[str] = []
    for each in found:
        lines += [f"  {each.name}:", *(f"    # Not taken over: {' '.join(left.split())}" for left in each.left)]
        lines += [f"    {line}" for line in each.lines]
    return lines


def _environment(found: list[Found]) -> list[str]:
    accounts = sorted({each.account for each in found if each.account})
    secrets = sorted({secret for each in found for secret in each.secrets})
    more = [f"      service_account: {word(accounts[0])}"] if len(accounts) == 1 else []
    more += [f"      # Not taken over: several service accounts: {', '.join(accounts)}"] if len(accounts) > 1 else []
    more += ["      pull_secrets: [" + ", ".join(map(word, secrets)) + "]"] if secrets else []
    return [
        "",
        "environments:",
        "  production:",
        "    runtime:",
        "      kind: kubernetes",
        f"      namespace: {found[0].namespace}",
        *more,
        "    # Inside the cluster, beside the pods; or a router of the cluster: gateway-api, ingress-nginx.",
        "    router: caddy",
        "    listen:",
        *(f'      {each.name}: "0.0.0.0:{8080 + index}"' for index, each in enumerate(found)),
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


def _below(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key)
    return found if isinstance(found, Mapping) else {}


def _literal(text: str) -> str:
    """Text for our file, in which braces stand for placeholders."""
    return word(text.replace("{", "{{").replace("}", "}}"))


def _quoted(text: str) -> str:
    return f'"{text}"'
