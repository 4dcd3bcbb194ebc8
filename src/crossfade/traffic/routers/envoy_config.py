"""What Envoy is told: pure, from settings and routes to its files.

Envoy watches six files, and takes each as a whole when it is replaced. `listener` and `clusters` are written
once; `blue` and `green` hold the addresses of the slots; `routes` holds everything else in a single value, the
line of the route file, which a program in Envoy (`envoy_choice.lua`) reads for every request. So a weight, a
stable slot and a salt change together, and nothing is drained or opened when they do.

A copy of a request is sent to a second listener of the same Envoy, on a socket of ours, from where it goes to
the canary like any other request: so it is counted and seen in flight like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from crossfade.config.routers import StickyKind
from crossfade.traffic.buckets import FNV_PRIME, FOREIGN, LONGEST, MIX_1, MIX_2
from crossfade.traffic.headers import COOKIE_AGE, COPY_HEADER, PROBE_HEADER, SLOT_HEADER
from crossfade.traffic.port import SLOTS, Slot, other
from crossfade.traffic.routers.route_file import Accepted, render
from crossfade.traffic.tally import BOUNDS_MS

Json = dict[str, Any]

WORKER_HEADER = "X-Crossfade-Worker"
ROUTES = "crossfade"
LISTENER = "crossfade"

_TYPE = "type.googleapis.com/envoy."
_CONNECT_SECONDS = 2
_REPLAYED = 16 * 1024 * 1024
"""Bytes of a body that are kept while no instance can be connected."""
_UNANSWERED = ["LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "URX", "UPE", "NC"]
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_UNLIMITED = {"thresholds": [dict.fromkeys(_LIMITS, 1_000_000)]}


@dataclass(frozen=True, slots=True)
class SetUp:
    """All that the configuration of one target depends on, besides its routes.

    `listen` is HOST:PORT, a number where HOST is one; `token` makes probes ours.
    """

    listen: str
    token: str
    override_header: str
    sticky: tuple[StickyKind, str] | None = None


def bootstrap(folder: str, socket: str) -> Json:
    """What Envoy starts with: where its files are, and the socket that takes commands."""

    def watched(name: str) -> Json:
        return {"resource_api_version": "V3", "path_config_source": {"path": f"{folder}/{name}.json"}}

    return {
        "admin": {"address": {"pipe": {"path": socket, "mode": 0o600}}},
        "dynamic_resources": {"lds_config": watched("listener"), "cds_config": watched("clusters")},
    }


def listener(setup: SetUp, folder: str, copies: str) -> bytes:
    """Two listeners, each with an HTTP server, our program, and the count of what it saw: for visitors, and for copies."""
    host, _, port = setup.listen.rpartition(":")
    address: Json = {"address": host.strip("[]") or "0.0.0.0", "port_value": int(port)}  # noqa: S104 - as the user says
    if host == "[::]":
        address["ipv4_compat"] = True
    door = {"path": copies, "mode": 0o600}
    return _response(
        "config.listener.v3.Listener",
        _listener(LISTENER, {"socket_address": address}, _server(folder, copies=False)),
        _listener("copies", {"pipe": door}, _server(folder, copies=True)),
    )


def clusters(folder: str, copies: str) -> bytes:
    """A cluster for each slot, whose addresses come by file, and one for copies: our own second listener."""
    return _response("config.cluster.v3.Cluster", *(_cluster(slot, folder) for slot in SLOTS), _copies(copies))


def endpoints(slot: Slot, addresses: Sequence[tuple[str, str]]) -> bytes:
    """The instances of a slot: pairs of what the address is called and the number to dial."""
    return _response(
        "config.endpoint.v3.ClusterLoadAssignment",
        {"cluster_name": slot, "endpoints": [{"lb_endpoints": [_endpoint(*each) for each in addresses]}]},
    )


def routes(setup: SetUp, accepted: Accepted) -> bytes:
    """Everything that changes while traffic moves."""
    kind, name = setup.sticky or ("", "")
    told = "\n".join((render(accepted), setup.token, setup.override_header, kind, name))
    stable = accepted.routes.stable
    copies = {stable: accepted.routes.mirror, other(stable): 0}
    nobody = {"match": {"prefix": "/"}, "direct_response": {"status": 503}}
    host = {
        "name": ROUTES,
        "domains": ["*"],
        "request_body_buffer_limit": _REPLAYED,
        "metadata": {"filter_metadata": {"envoy.filters.http.lua": {"told": told}}},
        "routes": [*(_route(slot, copies[slot]) for slot in SLOTS), nobody],
    }
    return _response("config.route.v3.RouteConfiguration", {"name": ROUTES, "virtual_hosts": [host]})


def version(response: bytes) -> str:
    """The name of what one file says; another content has another.

    >>> version(endpoints("blue", [])) == version(endpoints("blue", [("a:1", "10.0.0.1:1")]))
    False
    """
    return str(orjson.loads(response)["version_info"])


def program(*, copies: bool = False) -> str:
    """The text of the program that chooses; `copies`: the one that sends copies to the canary."""
    constants = {
        "PROBE_HEADER": PROBE_HEADER.lower(),
        "SLOT_HEADER": SLOT_HEADER.lower(),
        "WORKER_HEADER": WORKER_HEADER.lower(),
        "COPY_HEADER": COPY_HEADER.lower(),
        "COPIES": copies,
        "COOKIE_AGE": str(COOKIE_AGE),
        "LONGEST": LONGEST,
        "FOREIGN": FOREIGN,
        "FNV_PRIME": FNV_PRIME,
        "MIX_1": MIX_1,
        "MIX_2": MIX_2,
    }
    lines = [f"local {name} = {orjson.dumps(value).decode()}" for name, value in constants.items()]
    bounds = ", ".join(map(str, BOUNDS_MS))
    text = files(__package__).joinpath("envoy_choice.lua").read_text(encoding="utf-8")
    return "\n".join((*lines, f"local BOUNDS = {{{bounds}}}", text))


def _listener(name: str, address: Json, server: Json) -> Json:
    manager = _typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", server)
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": name, "address": address, "filter_chains": [chain], "tcp_backlog_size": 4096}


def _server(folder: str, *, copies: bool) -> Json:
    source = {"path_config_source": {"path": f"{folder}/routes.json"}, "resource_api_version": "V3"}
    lua = _typed(
        "extensions.filters.http.lua.v3.Lua", {"default_source_code": {"inline_string": program(copies=copies)}}
    )
    router = _typed("extensions.filters.http.router.v3.Router", {"suppress_envoy_headers": True})
    unanswered = {"response_flag_filter": {"flags": _UNANSWERED}}
    return {
        "stat_prefix": "crossfade",
        "codec_type": "HTTP1",
        "rds": {"route_config_name": ROUTES, "config_source": source},
        "http_filters": [
            {"name": "envoy.filters.http.lua", "typed_config": lua},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "http_protocol_options": {
            "accept_http_10": True,
            "default_host_for_http_10": "localhost",
            "enable_trailers": True,
        },
        "common_http_protocol_options": {"idle_timeout": "300s", "max_headers_count": 500},
        "max_request_headers_kb": 256,
        "request_headers_timeout": "30s",
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        "preserve_external_request_id": True,
        "use_remote_address": False,
        "skip_xff_append": True,
        # Nobody is internal: a visitor's `x-envoy-…` headers mean nothing.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "local_reply_config": {
            "mappers": [
                {
                    "filter": unanswered,
                    "status_code": 502,
                    "body": {"inline_string": "This version of the service did not answer.\n"},
                }
            ]
        },
        "access_log": [_counting()],
    }


def _counting() -> Json:
    """One counter for each slot, class and latency bin, raised when a request has ended, however it did."""
    tags = {
        "arm": "%DYNAMIC_METADATA(crossfade:arm)%",
        "seen": "%DYNAMIC_METADATA(crossfade:seen)%",
        "end": "%RESPONSE_FLAGS%",
    }
    counter = {
        "stat": {"name": "requests", "tags": [{"name": name, "value_format": value} for name, value in tags.items()]},
        "value_fixed": 1,
    }
    ours = {"filter": "crossfade", "path": [{"key": "arm"}], "value": {"present_match": True}}
    return {
        "name": "envoy.access_loggers.stats",
        "filter": {"metadata_filter": {"matcher": ours, "match_if_key_not_found": False}},
        "typed_config": _typed(
            "extensions.access_loggers.stats.v3.Config", {"stats_scope": {"prefix": "crossfade"}, "counters": [counter]}
        ),
    }


def _cluster(slot: Slot, folder: str) -> Json:
    # Each request has a connection of its own: a kept one may be closed by the instance in the very moment a
    # request is written to it, and belongs to an instance that may have left.
    protocol = {
        "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
        "common_http_protocol_options": {
            "max_requests_per_connection": 1,
            "idle_timeout": "1s",
            "max_headers_count": 500,
        },
    }
    return {
        "name": slot,
        "type": "EDS",
        "eds_cluster_config": {
            "service_name": slot,
            "eds_config": {"path_config_source": {"path": f"{folder}/{slot}.json"}, "resource_api_version": "V3"},
        },
        "connect_timeout": f"{_CONNECT_SECONDS}s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": _UNLIMITED,
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
                "extensions.upstreams.http.v3.HttpProtocolOptions", protocol
            )
        },
    }


def _copies(path: str) -> Json:
    place = {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}
    return {
        "name": "copies",
        "type": "STATIC",
        "connect_timeout": f"{_CONNECT_SECONDS}s",
        "circuit_breakers": _UNLIMITED,
        "load_assignment": {"cluster_name": "copies", "endpoints": [place]},
    }


def _route(slot: Slot, mirror: int) -> Json:
    """Where a request goes whose slot is decided; only one that could not be connected goes elsewhere."""
    action: Json = {
        "cluster": slot,
        "timeout": "0s",
        "idle_timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure",
            "num_retries": 25,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.1s"},
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": _typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", {}),
                }
            ],
            "host_selection_retry_max_attempts": 24,
        },
    }
    if mirror:
        share = {"default_value": {"numerator": mirror, "denominator": "TEN_THOUSAND"}}  # basis points
        action["request_mirror_policies"] = [
            {
                "cluster": "copies",
                "runtime_fraction": share,
                "disable_shadow_host_suffix_append": True,
            }
        ]
    return {
        "match": {"prefix": "/", "headers": [{"name": SLOT_HEADER, "string_match": {"exact": slot}}]},
        "route": action,
        "request_headers_to_remove": [SLOT_HEADER],
    }


def _endpoint(called: str, dialled: str) -> Json:
    host, _, port = dialled.rpartition(":")
    address = {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
    return {"endpoint": {"address": address, "hostname": called}}


def _typed(name: str, value: Json) -> Json:
    return {"@type": _TYPE + name, **value}


def _response(kind: str, *resources: Json) -> bytes:
    """A discovery response, named by its content."""
    value = {"resources": [_typed(kind, each) for each in resources]}
    name = hashlib.sha256(orjson.dumps(value)).hexdigest()[:16]
    return orjson.dumps({"version_info": name, **value}, option=orjson.OPT_INDENT_2)
