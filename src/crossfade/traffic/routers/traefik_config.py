"""What Traefik is told: pure, from settings and routes to its configuration and the program that chooses.

Each request passes two layers of Traefik's routers. In the first, a local plugin (`traefik_choice.go`,
interpreted by Traefik) reads the line of the route file, chooses a slot and writes its name into a header;
in the second, that header finds the slot's service, and Traefik itself passes the request on. So a weight
is a number in a file and needs no reload. Instances are Traefik's own servers: when they change, Traefik
puts a new generation of its configuration in force at once and whole, and old requests end in the old one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from crossfade.config.routers import StickyKind
from crossfade.traffic.counter import PROBE_ARM
from crossfade.traffic.headers import COOKIE_AGE, COPY_HEADER, PROBE_HEADER, SLOT_HEADER
from crossfade.traffic.port import SLOTS
from crossfade.traffic.routers.route_file import Accepted, render

Json = dict[str, Any]

MODULE = "crossfade/choice"
STATIC, DYNAMIC, PLUGIN = "traefik.yml", "told/dynamic.yml", f"plugins-local/src/{MODULE}"
LOG = "traefik.log"

assert PROBE_ARM == "probe"  # noqa: S101 - traefik_choice.go says the same word

_MANIFEST = f"""\
displayName: Crossfade
type: middleware
import: {MODULE}
summary: Chooses the slot of each request.
testData: {{}}
"""


@dataclass(frozen=True, slots=True)
class SetUp:
    """All that the configuration of one target depends on, beside its routes.

    `listen` is HOST:PORT; `line` the absolute path of the route file; `token` makes probes ours; `counter`
    is the UDP port that takes the counts.
    """

    listen: str
    line: str
    token: str
    counter: int
    override_header: str
    sticky: tuple[StickyKind, str] | None = None


def digest(setup: SetUp) -> str:
    """Names what a running Traefik was told; another set-up has another.

    >>> one = SetUp("127.0.0.1:80", "/run/routes", "t", 9, "X-Canary")
    >>> digest(one) == digest(SetUp("127.0.0.1:80", "/run/routes", "t", 9, "X-Preview"))
    False
    """
    return _digest(orjson.dumps(_dynamic(setup, None, "")).decode())


def program_digest(setup: SetUp) -> str:
    """Names what only a restart changes: the static configuration and the program that chooses."""
    return _digest(orjson.dumps(_static(setup)).decode() + _source("choice") + _source("answer"))


def written(setup: SetUp) -> dict[str, bytes]:
    """The files that Traefik reads once, when it starts, by their names in its folder."""
    name = f'const Program = "{program_digest(setup)}"'
    return {
        STATIC: orjson.dumps(_static(setup), option=orjson.OPT_INDENT_2),
        f"{PLUGIN}/choice.go": _source("choice").replace('const Program = "PROGRAM"', name).encode(),
        f"{PLUGIN}/answer.go": _source("answer").encode(),
        f"{PLUGIN}/.traefik.yml": _MANIFEST.encode(),
        f"{PLUGIN}/go.mod": f"module {MODULE}\n\ngo 1.22\n".encode(),
    }


def dynamic(setup: SetUp, accepted: Accepted | None) -> bytes:
    """The file that Traefik watches. JSON is YAML, and has nothing that its templates would take as theirs."""
    return orjson.dumps(_dynamic(setup, accepted, digest(setup)), option=orjson.OPT_INDENT_2)


def _static(setup: SetUp) -> Json:
    web = {
        "address": setup.listen,
        # A proxy in front on this machine is believed what it says of the visitor; nobody else is.
        "forwardedHeaders": {"trustedIPs": ["127.0.0.1/32", "::1/128"]},
        "http": {"sanitizePath": False, "encodeQuerySemicolons": True},  # paths are the application's own
        "transport": {
            "respondingTimeouts": {"readTimeout": "0s", "writeTimeout": "0s", "idleTimeout": "300s"},
            "lifeCycle": {"graceTimeOut": "10s"},
        },
    }
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR", "format": "json", "filePath": LOG, "maxSize": 10, "maxBackups": 1},
        "entryPoints": {"web": web},
        "providers": {"providersThrottleDuration": "0s", "file": {"filename": DYNAMIC, "watch": True}},
        "experimental": {"localPlugins": {"choice": {"moduleName": MODULE}}},
    }


def _dynamic(setup: SetUp, accepted: Accepted | None, name: str) -> Json:
    kind, key = setup.sticky or ("", "")
    told = {
        "setUp": name,
        "line": render(accepted) if accepted else "",
        "file": setup.line,
        "token": setup.token,
        "probeHeader": PROBE_HEADER,
        "slotHeader": SLOT_HEADER,
        "copyHeader": COPY_HEADER,
        "overrideHeader": setup.override_header,
        "stickyKind": kind,
        "stickyName": key,
        "cookieAge": COOKIE_AGE,
        "counter": setup.counter,
    }
    every: Json = {"entryPoints": ["web"], "rule": "PathPrefix(`/`)", "middlewares": ["choice"]}
    routers, services = _slots(accepted)
    if not services:
        every["service"] = "noop@internal"  # the plugin answers for nobody
    config: Json = {
        "routers": {"every": every, **routers},
        "middlewares": {
            "choice": {"plugin": {"choice": told}},
            # Only a connection that could not be made is tried again, at the next instance, for about a second.
            "retry": {"retry": {"attempts": 30, "initialInterval": "25ms"}},
            "hide": {"headers": {"customRequestHeaders": {SLOT_HEADER: ""}}},
        },
        # A kept connection may be closed by the instance in the very moment a request is written to it. Such a
        # request is sent again when that is harmless; a POST is not, so it gets a connection of its own.
        "serversTransports": {
            "keep": _transport(idle=256),
            "once": _transport(idle=-1),
        },
    }
    return {"http": {**config, **({"services": services} if services else {})}}


def _transport(idle: int) -> Json:
    timeouts = {"dialTimeout": "2s", "responseHeaderTimeout": "0s", "idleConnTimeout": "1500ms"}
    return {"maxIdleConnsPerHost": idle, "disableHTTP2": True, "forwardingTimeouts": timeouts}


def _slots(accepted: Accepted | None) -> tuple[Json, Json]:
    """Traefik's routers and services: two for each slot that has instances."""
    routers, services = {}, {}
    for slot in SLOTS:
        addresses = accepted.routes.upstreams.get(slot, ()) if accepted else ()
        for name, transport in ((slot, "keep"), (f"{slot}-once", "once")) if addresses else ():
            routers[name] = {
                "parentRefs": ["every"],
                "rule": f"Header(`{SLOT_HEADER}`, `{name}`)",
                "middlewares": ["retry", "hide"],
                "service": name,
            }
            balancer = {
                "servers": [{"url": f"http://{address}"} for address in addresses],
                "passHostHeader": True,
                "serversTransport": transport,
                "responseForwarding": {"flushInterval": "-1ms"},
            }
            services[name] = {"loadBalancer": balancer}
    return routers, services


def _source(part: str) -> str:
    return files(__package__).joinpath(f"traefik_{part}.go").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
