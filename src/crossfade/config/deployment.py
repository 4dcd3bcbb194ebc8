"""Deployments of Kubernetes, read for what a `crossfade.yaml` can take over (`takeover`).

Reads what `kubectl get deployment NAME -o yaml` prints, one Deployment or several. A key that means something to the pod and
has no word of ours stands in a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crossfade.config.starter import plain_name, word
from crossfade.config.takeover import Taken, below, documents, literal, versioned, written
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


@dataclass(kw_only=True)
class Pod(Taken):
    """What the pods of one Deployment become; `account` and `secrets` are those of the service and of the registry."""

    namespace: str
    account: str
    secrets: tuple[str, ...]


def is_deployment(text: str) -> bool:
    """Whether a text is what `kubectl get deployment -o yaml` prints, and not a Compose file."""
    return re.search(r"^\s*(?:- )?kind: *[\"']?Deployment[\"']?\s*$", text, re.MULTILINE) is not None


def takeover(text: str, *, folder: str) -> str:
    """The text of a `crossfade.yaml` for the Deployments in `text`; BadInputError where none can be taken over."""
    found = [_deployment(each) for each in _deployments(text)]
    stays = [each for each in found if isinstance(each, str)]
    taken = [each for each in found if isinstance(each, Pod)]
    if not taken:
        why = "; ".join(stays) or "there is none in it"
        how = "write the file by hand: crossfade init, docs/how-to/run-on-kubernetes.md"
        raise BadInputError("init.deployment-nothing", f"no Deployment can be taken over: {why}", next=how)
    if len({each.namespace for each in taken}) > 1:
        how = "take over one namespace at a time"
        raise BadInputError("init.deployment-namespaces", "these Deployments are of several namespaces", next=how)
    about = (
        "Written from Deployments of Kubernetes. Check it with `crossfade check`. What runs goes on, and is not touched:",
        "Crossfade makes Deployments of its own beside it; docs/how-to/run-on-kubernetes.md says how to switch.",
    )
    return written(
        taken,
        stays,
        project=plain_name(folder),
        about=about,
        staying="These stay as they are:",
        environment=_environment(taken),
    )


def _deployments(text: str) -> list[Mapping[str, Any]]:
    try:
        found = documents(text)
    except ValueError as error:
        raise BadInputError("init.deployment", f"this is not YAML that can be read: {error}") from error
    things = [item for each in found for item in (each.get("items") if each.get("kind") == "List" else [each]) or ()]
    return [each for each in things if isinstance(each, Mapping) and each.get("kind") == "Deployment"]


def _deployment(thing: Mapping[str, Any]) -> Pod | str:
    """What it becomes, or why it stays as it is."""
    meta, spec = below(thing, "metadata"), below(thing, "spec")
    name, pod = str(meta.get("name", "app")), below(spec, "template", "spec")
    containers = [each for each in pod.get("containers") or () if isinstance(each, Mapping)]
    if len(containers) != 1:
        return f"{name} (it has {len(containers)} containers, and a component is one)"
    container = containers[0]
    ports = [each for each in container.get("ports") or () if each.get("protocol", "TCP") == "TCP"]
    if not ports:
        return f"{name} (its container names no port, so there is no traffic to move)"
    image, tag = versioned(str(container.get("image", "")))
    found = Pod(
        plain_name(name),
        image,
        tag,
        ports[0]["containerPort"],
        namespace=str(meta.get("namespace") or "default"),
        account=str(pod.get("serviceAccountName") or ""),
        secrets=tuple(str(each.get("name")) for each in pod.get("imagePullSecrets") or ()),
    )
    found.left += [f"{key} of the pod" for key in pod if key not in _POD]
    found.left += ["securityContext of the pod"] if pod.get("securityContext") else []
    found.left += [f"{key} of the container" for key in container if key not in _CONTAINER]
    found.left += [f"port {each['containerPort']} (a component has one)" for each in ports[1:]]
    if container.get("args"):
        found.command(literal(str(each)) for each in container["args"])
    _variables(found, container.get("env") or ())
    found.instances(spec.get("replicas", 1))
    _resources(found, below(container, "resources"))
    _probes(found, container, ports[0])
    if grace := pod.get("terminationGracePeriodSeconds"):
        found.lines += ["drain:", f"  grace: {grace}s"]
    return found


def _variables(found: Pod, listed: Iterable[Mapping[str, Any]]) -> None:
    lines = []
    for each in listed:
        name = str(each.get("name"))
        if "valueFrom" in each:
            source = ", ".join(below(each, "valueFrom"))
            found.left.append(f"the variable {name} (from {source}): only plain values can be written here")
        elif "$(" in str(each.get("value", "")):
            found.left.append(f"the variable {name} (it refers to another): write its value")
        else:
            lines.append(f"{name}: {literal(str(each.get('value', '')))}")
    found.environment(lines)


def _resources(found: Pod, resources: Mapping[str, Any]) -> None:
    limits, asked = below(resources, "limits"), below(resources, "requests")
    cpu = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(limits.get("cpu", "")))
    cores = f"{float(cpu[1]) / (1000 if cpu[2] else 1):g}" if cpu else ""
    found.resources(_size(str(limits.get("memory", ""))), cores)
    if asked and asked != limits:
        found.left.append("requests of resources (Kubernetes takes them from the limits)")


def _size(written: str) -> int | None:
    """Bytes of a quantity of Kubernetes.

    >>> _size("256Mi"), _size("1.5G"), _size("lots")
    (268435456, 1500000000, None)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(k|M|G|Ki|Mi|Gi)?", written)
    return None if match is None else int(float(match[1]) * _UNITS[match[2] or ""])


def _probes(found: Pod, container: Mapping[str, Any], port: Mapping[str, Any]) -> None:
    live, ready = below(container, "livenessProbe"), below(container, "readinessProbe")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = below(container, name)
        asked = below(probe, "httpGet")
        if probe and not asked:
            found.left.append(f"{name}: it does not ask by HTTP")
        elif asked and asked.get("port") not in (port.get("containerPort"), port.get("name"), None):
            found.left.append(f"{name}: it asks another port than the one that serves")
        elif name == "startupProbe" and probe:
            found.left.append(f"{name}: `ready.deadline` says how long a start may take")
    path = below(live, "httpGet").get("path") or below(ready, "httpGet").get("path")
    probe = live or ready
    settings = {
        name: f"{probe[key]}s"
        for key, name in (("periodSeconds", "interval"), ("timeoutSeconds", "timeout"))
        if probe.get(key)
    }
    if probe.get("failureThreshold"):
        settings["failures"] = str(probe["failureThreshold"])
    found.health(str(path or ""), settings, without="it has no probe by HTTP")
    readiness = below(ready, "httpGet").get("path")
    if readiness and readiness != path:
        found.lines += ["ready:", f"  path: {word(str(readiness))}"]


def _environment(taken: Sequence[Pod]) -> list[str]:
    accounts = sorted({each.account for each in taken if each.account})
    secrets = sorted({secret for each in taken for secret in each.secrets})
    more = [f"  service_account: {word(accounts[0])}"] if len(accounts) == 1 else []
    more += [f"  # Not taken over: several service accounts: {', '.join(accounts)}"] if len(accounts) > 1 else []
    more += [f"  pull_secrets: [{', '.join(map(word, secrets))}]"] if secrets else []
    return [
        "runtime:",
        "  kind: kubernetes",
        f"  namespace: {taken[0].namespace}",
        *more,
        "# Inside the cluster, beside the pods; or a router of the cluster: gateway-api, ingress-nginx.",
        "router: caddy",
        "listen:",
        *(f'  {each.name}: "0.0.0.0:{8080 + index}"' for index, each in enumerate(taken)),
    ]
