"""The `crossfade.yaml` that `crossfade init` writes: short, commented, and without faults."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_TEMPLATE = """\
# What Crossfade releases, and where. Every key: `crossfade schema`, docs/reference/configuration.md.
# Check it with `crossfade check`, see a rollout beforehand with `crossfade plan {name}@1.0.0 production`.
project: {project}

components:
  {name}:
    # Started without a shell; {{port}}, {{version}} and {{instance}} are replaced.
    command: {command}
    # directory: releases/{{version}}   # where each version's files are, if not here
    instances: {instances}
    health:
      path: {health}   # any 2xx or 3xx answer is healthy
    drain:
      timeout: 30s     # how long requests in flight may take to finish

environments:
  production:
    runtime: process
    router:
      kind: caddy
      listen: {listen}   # users come here; each version listens on a port of its own behind it
"""

RELEASING = """\
    strategy:
      kind: canary
      steps: [5%, 25%, 50%]   # 100 % always follows
      watch: 5m
      adaptive: true          # advance as soon as the new version is proven good
      hold: 30m               # the previous version stays warm: going back is one weight change
    # The new version is always compared with the old one. Absolute rules come on top:
    rules:
      - error_rate > 5% over 1m -> rollback
      - health_failures > 3 -> rollback
"""
"""How to release in an environment, for those who begin."""


def starter(
    name: str = "api",
    command: Sequence[str] = ("python", "-m", "http.server", "{port}"),
    *,
    project: str | None = None,
    health: str = "/healthz",
    listen: str = "127.0.0.1:8080",
    instances: int = 1,
) -> str:
    """The text of a first `crossfade.yaml` for one component.

    `name` and `project` (by default the same) may be anything that was found, such as a folder's
    name: they are made into names that the file may have. `command` may hold placeholders.

    >>> starter("My App", ["serve", "{port}"]).splitlines()[2]
    'project: my-app'
    """
    component = plain_name(name)
    text = _TEMPLATE.format(
        name=component,
        project=plain_name(project if project is not None else name),
        command="[" + ", ".join(word(each) for each in command) + "]",
        health=word(health),
        listen=word(listen),
        instances=instances,
    )
    return text + RELEASING


def plain_name(found: str) -> str:
    """Whatever was found, as a name that the file may have."""
    plain = re.sub(r"[^a-z0-9]+", "-", found.lower()).strip("-")[:63].rstrip("-")
    if not plain:
        return "app"
    return plain if plain[0].isalpha() else f"app-{plain}"[:63].rstrip("-")


def word(text: str) -> str:
    """A word as it is where YAML reads it back as the same text, else in quotes."""
    safe = re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./-]*", text) or re.fullmatch(r"-{1,2}[A-Za-z][A-Za-z0-9_.-]*", text)
    return (
        text if safe and text.lower() not in ("true", "false", "null", "yes", "no", "on", "off") else json.dumps(text)
    )
