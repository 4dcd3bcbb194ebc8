"""What Caddy is told, once: pure, from settings to JSON.

Nothing in this configuration names an instance, a weight or a version. Every request reads the one
line of the route file into `{http.vars.crossfade}` and is judged by it:

    file ─→ override header? ─→ user id or random number ─→ green below its share, else blue
                                                              └─→ n instances, in turn

`{http.request.uuid}` is compared with the line as text: the share is the line's first six digits, so
the comparison is over before the rest of the line matters. Ids are hashed in CEL, as `buckets` says.
Each slot has a proxy for every number of instances, so that all instances get the same share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from crossfade.config.routers import StickyKind
from crossfade.traffic.buckets import FNV_PRIME, FOREIGN, LONGEST, MIX_1, MIX_2, SPACE
from crossfade.traffic.counter import PROBE_ARM
from crossfade.traffic.headers import COOKIE_AGE, PROBE_HEADER, SLOT_HEADER
from crossfade.traffic.port import SLOTS, Slot, other
from crossfade.traffic.routers.route_file import ENTRIES

Json = dict[str, Any]
_LINE = "{http.vars.crossfade}"
_REPLAYABLE = ["GET", "HEAD", "OPTIONS", "TRACE"]
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


@dataclass(frozen=True, slots=True)
class SetUp:
    """All that the configuration of one target depends on.

    `name` is unique among the targets of one Caddy; `listen` is HOST:PORT; `line` the absolute path of
    the route file; `token` makes probes ours; `counter` is the UDP port that takes the counts.
    """

    name: str
    listen: str
    line: str
    token: str
    counter: int
    override_header: str
    sticky: tuple[StickyKind, str] | None = None

    @property
    def server(self) -> str:
        """The name of our server, and of its log, in Caddy's configuration."""
        return f"crossfade_{self.name}"


def managed(setup: SetUp, *, admin: str, storage: str, log: str) -> Json:
    """The whole configuration of a Caddy that is ours alone."""
    own: Json = {
        "admin": {"listen": admin, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": storage},
        "logging": {"logs": {"default": _own_log(log)}},
    }
    return merged(own, setup)


def merged(config: Mapping[str, Any] | None, setup: SetUp) -> Json:
    """`config` with our server and our log in it, and everything else as it was."""
    result: Json = orjson.loads(orjson.dumps(config or {}))
    http = result.setdefault("apps", {}).setdefault("http", {})
    http.setdefault("grace_period", "10s")
    http.setdefault("servers", {})[setup.server] = server(setup)
    logs = result.setdefault("logging", {}).setdefault("logs", {})
    excluded = logs.setdefault("default", {}).setdefault("exclude", [])
    if _logger(setup) not in excluded:
        excluded.append(_logger(setup))
    logs[setup.server] = _counting(setup)
    return result


def is_in(config: Mapping[str, Any] | None, setup: SetUp) -> bool:
    """Whether `config` already says all that we need."""
    return config is not None and merged(config, setup) == config


def server(setup: SetUp) -> Json:
    """Our HTTP server."""
    arms: list[Json] = [
        {"match": _green(setup), "handle": _arm(setup, "green"), "terminal": True},
        {"handle": _arm(setup, "blue"), "terminal": True},
    ]
    return {
        "listen": [setup.listen],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "read_header_timeout": "30s",
        "logs": {"default_logger_name": setup.server},
        "routes": [{"handle": [_read(setup)]}, *_identify(setup), *arms],
    }


def slot_of(address: str, setup: SetUp) -> Slot | None:
    """The slot whose traffic Caddy accounts for under `address`, a templated upstream of ours.

    >>> setup = SetUp("shop", "127.0.0.1:80", "/run/routes", "t", 9, "X-Canary")
    >>> slot_of("{crossfade.shop.green.3}", setup), slot_of("127.0.0.1:9000", setup)
    ('green', None)
    """
    for slot in SLOTS:
        if address.startswith(f"{{crossfade.{setup.name}.{slot}."):
            return slot
    return None


def _read(setup: SetUp) -> Json:
    return {"handler": "vars", "crossfade": f"{{file.{setup.line}}}"}


def _green(setup: SetUp) -> list[Json]:
    """When a request goes to green: by the override, or without one by its share."""
    header = {setup.override_header: ["always", "never"]}
    asked = f"{{http.request.header.{setup.override_header}}}"
    stable_is = {slot: f"{_LINE}.contains(' s={slot} ')" for slot in SLOTS}
    has_none = {slot: f"{_LINE}.contains(' {slot}=0:')" for slot in SLOTS}
    canary = " || ".join(f"({stable_is[other(slot)]} && {_canary(slot, has_none)})" for slot in SLOTS)
    override = f"{asked} == 'never' ? {stable_is['green']} : ({canary})"
    return [
        {"header": header, "expression": override},
        {"not": [{"header": header}], "expression": _share(setup)},
    ]


def _canary(slot: Slot, has_none: Mapping[Slot, str]) -> str:
    """Whether `always` means green when `slot` is the canary; stable answers for an empty canary."""
    return f"!{has_none[slot]}" if slot == "green" else has_none[slot]


def _share(setup: SetUp) -> str:
    random = f"{{http.request.uuid}} < {_LINE}"
    if setup.sticky is None:
        return random
    all_or_none = f"{_LINE}.startsWith('000000') ? false : {_LINE}.startsWith('gggggg') ? true : "
    hashed = f"{_hash('{http.vars.crossfade_user}')} < uint({{crossfade.share}})"
    return f"{all_or_none}{{http.vars.crossfade_user}} == '' ? {random} : {hashed}"


def _hash(text: str) -> str:
    """CEL for `buckets.bucket`: CEL has no loop, so each character is a nested binding.

    Unsigned 64-bit arithmetic is exact here: each product of two 32-bit numbers fits.
    """
    codes = "{" + ",".join(f"{_quoted(chr(code))}:{code}u" for code in range(32, 127)) + "}"
    half = LONGEST // 2
    clipped = f"(u.size() > {LONGEST} ? u.substring(0, {half}) + u.substring(u.size() - {half}) : u)"
    chain = f"h{LONGEST}"
    for place in reversed(range(LONGEST)):
        code = f"(c[{place}] in t ? t[c[{place}]] : {FOREIGN}u)"
        turn = f"math.bitXor(h{place}, {code}) * {FNV_PRIME}u % {SPACE}u"
        chain = f"(n <= {place} ? h{place} : cel.bind(h{place + 1}, {turn}, {chain}))"
    mixing = (
        f"cel.bind(x, math.bitXor(h, math.bitShiftRight(h, 16)) * {MIX_1}u % {SPACE}u, "
        f"cel.bind(y, math.bitXor(x, math.bitShiftRight(x, 13)) * {MIX_2}u % {SPACE}u, "
        "math.bitXor(y, math.bitShiftRight(y, 16))))"
    )
    bindings = (
        ("t", codes),
        ("u", f"string({text})"),
        ("c", f"{clipped}.split('')"),
        ("n", "c.size()"),
        ("h0", "uint({crossfade.basis})"),
        ("h", chain),
    )
    expression = mixing
    for name, value in reversed(bindings):
        expression = f"cel.bind({name}, {value}, {expression})"
    return expression


def _quoted(character: str) -> str:
    return {"'": '"\'"', "\\": r"'\\'", "{": r"'\u007b'", "}": r"'\u007d'"}.get(character, f"'{character}'")


def _identify(setup: SetUp) -> list[Json]:
    """Who is asking: `{http.vars.crossfade_user}`, empty for nobody in particular."""
    if setup.sticky is None:
        return []
    kind, name = setup.sticky
    share: Json = {
        "handler": "map",
        "source": _LINE,
        "destinations": ["{crossfade.share}", "{crossfade.basis}"],
        "mappings": [{"input_regexp": r"^\S+ t=(\d+) k=(\d+) ", "outputs": ["${1}", "${2}"]}],
    }
    place = f"{{http.request.header.{name}}}" if kind == "header" else f"{{http.request.cookie.{name}}}"
    known: Json = {"handle": [share, {"handler": "vars", "crossfade_user": place}]}
    if kind != "cookie":
        return [known]
    cookie = f"{name}={{http.request.uuid}}; Path=/; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Lax"
    given: Json = {
        "match": [{"not": [{"vars_regexp": {place: {"pattern": _UUID}}}]}],
        "handle": [
            {"handler": "vars", "crossfade_user": "{http.request.uuid}"},
            {"handler": "headers", "response": {"add": {"Set-Cookie": [cookie]}}},
        ],
    }
    return [known, given]


def _arm(setup: SetUp, slot: Slot) -> list[Json]:
    """Everything that happens to a request once its slot is decided."""
    instances = [f"crossfade.{setup.name}.{slot}.{number}" for number in range(ENTRIES)]
    before = "" if slot == "blue" else r"[^;]*;"
    entries: Json = {
        "handler": "map",
        "source": _LINE,
        "destinations": [f"{{crossfade.{setup.name}.{slot}}}", *(f"{{{name}}}" for name in instances)],
        "mappings": [
            {
                "input_regexp": f"^{before}[^;]* {slot}=([0-9]+):" + ",".join(["([^,;]*)"] * ENTRIES) + ";",
                "outputs": [f"${{{number + 1}}}" for number in range(ENTRIES + 1)],
            }
        ],
    }
    count: Json = {"handler": "vars", "crossfade_count": f"{{crossfade.{setup.name}.{slot}}}"}
    probed: Json = {
        "match": [{"header": {PROBE_HEADER: [setup.token]}}],
        "handle": [
            {"handler": "log_append", "key": "arm", "value": PROBE_ARM},
            {"handler": "static_response", "status_code": 200, "headers": {SLOT_HEADER: [slot]}, "body": _LINE},
        ],
        "terminal": True,
    }
    logged: Json = {
        "handle": [
            {"handler": "log_append", "key": "arm", "value": slot},
            {"handler": "log_append", "key": "ms", "value": "{http.reverse_proxy.upstream.latency_ms}"},
        ]
    }
    proxies = [_proxies(instances[:number]) for number in range(1, ENTRIES + 1)]
    nobody: Json = {
        "handle": [
            {
                "handler": "static_response",
                "status_code": 503,
                "headers": {"X-Crossfade": ["no-version"], "Retry-After": ["1"], "Cache-Control": ["no-store"]},
                "body": "No version of this service is running.\n",
            }
        ]
    }
    return [entries, count, {"handler": "subroute", "routes": [probed, logged, *proxies, nobody]}]


def _proxies(instances: list[str]) -> Json:
    """One proxy over these instances for requests that may be sent twice, one for those that may not."""
    return {
        "match": [{"vars": {"{http.vars.crossfade_count}": [str(len(instances))]}}],
        "handle": [
            {
                "handler": "subroute",
                "routes": [
                    {"match": [{"method": _REPLAYABLE}], "handle": [_proxy(instances, keep=True)], "terminal": True},
                    {"handle": [_proxy(instances, keep=False)], "terminal": True},
                ],
            }
        ],
        "terminal": True,
    }


def _proxy(instances: list[str], *, keep: bool) -> Json:
    # A kept connection may be closed by the instance in the very moment a request is written to it.
    # Such a request is sent again when that is harmless; a POST is not, so it gets a connection of
    # its own. Idle ones are dropped sooner than common servers do (2 s and more).
    idle = {"enabled": True, "idle_timeout": "1500ms", "max_idle_conns_per_host": 256}
    return {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{{{name}}}"} for name in instances],
        "flush_interval": -1,
        "stream_close_delay": "5m",
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": "1s",
            "try_interval": "20ms",
            # Only a connection that could not be made is tried elsewhere: no method has this name.
            "retry_match": [{"method": ["CROSSFADE-NEVER"]}],
        },
        "transport": {
            "protocol": "http",
            "compression": False,
            "dial_timeout": "2s",
            "versions": ["1.1"],
            "keep_alive": idle if keep else {"enabled": False},
        },
    }


def _logger(setup: SetUp) -> str:
    return f"http.log.access.{setup.server}"


def _counting(setup: SetUp) -> Json:
    """The access log that only our counter reads: four fields, one datagram a request."""
    unwanted = ("request", "resp_headers", "user_id", "bytes_read", "size", "uuid")
    unnamed = ("time_key", "level_key", "name_key", "message_key", "caller_key")
    return {
        "include": [_logger(setup)],
        "writer": {"output": "net", "address": f"udp/127.0.0.1:{setup.counter}", "soft_start": True},
        "encoder": {
            "format": "filter",
            "wrap": {"format": "json", **dict.fromkeys(unnamed, "")},
            "fields": {name: {"filter": "delete"} for name in unwanted},
        },
    }


def _own_log(path: str) -> Json:
    return {
        "level": "WARN",
        "writer": {"output": "file", "filename": path, "roll_size_mb": 10, "roll_keep": 3},
        "sampling": {"interval": 1_000_000_000, "first": 20, "thereafter": 1000},
    }
