"""What HAProxy is told at its start: pure, from settings to the text of one configuration part.

One entry of a map, *the line*, decides everything about a request, and is replaced as a whole at run
time: weight, salt, stable, and how many instances each slot has.

    map ─→ override header? ─→ user id or random number ─→ green below its share, else blue
                                                             └─→ the slot's servers, in turn

Each slot is a backend of `PLACES` servers without an address; instances are put there at run time.
The part carries the routes that were in force when it was written, so that a restart begins with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from crossfade.config.routers import StickyKind
from crossfade.traffic.buckets import FNV_PRIME, FOREIGN, LONGEST, MIX_1, MIX_2
from crossfade.traffic.counter import PROBE_ARM
from crossfade.traffic.headers import COOKIE_AGE, PROBE_HEADER, SLOT_HEADER
from crossfade.traffic.port import SLOTS, Slot
from crossfade.traffic.routers.route_file import ENTRIES, Accepted, parse, render

PLACES = 2 * ENTRIES
"""Servers of one slot: all of its instances may be replaced before the first of them leaves."""
KEY = "line"
"""The key of the line in the map."""

_TO_MAP = str.maketrans(" ;", "|!")  # neither may stand in a command of the runtime API
_FROM_MAP = str.maketrans("|!", " ;")
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_THRESHOLD, _BASIS, _STABLE, _POINTS = 3, 5, 7, 17
_COUNT: Mapping[Slot, int] = {"blue": 9, "green": 11}
"""Where things stand among the words of the line, cut at `|` and `=`."""

_SUMS = tuple((f"txn.cf_{slot}_{what}", slot, f"table_conn_{what}") for slot in SLOTS for what in ("cnt", "cur"))
"""HAProxy does not log a request on which an instance hung up if it was not the first of its connection. So it
counts those that begin and those under way in a table, and our probe's log entry tells both (see `untold`)."""

Tables = Mapping[Slot, tuple[str, ...]]
"""For each slot the addresses of its instances, as IP:PORT."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """All that the configuration of one target depends on, save its routes.

    `name` is unique among the targets of one HAProxy; `folder` is where it looks for our files (with a
    slash at the end; empty: where it was started); `token` makes probes ours; `counter` is the UDP port
    that takes the counts.
    """

    name: str
    listen: str
    folder: str
    token: str
    counter: int
    override_header: str
    sticky: tuple[StickyKind, str] | None = None

    @property
    def map(self) -> str:
        """The file that the map begins with, which is also its name."""
        return f"{self.folder}routes.map"

    @property
    def script(self) -> str:
        """The file that computes buckets."""
        return f"{self.folder}buckets.lua"

    @property
    def marker(self) -> str:
        """An empty backend whose name tells which set-up a running HAProxy has loaded."""
        slots = "".join(_slot(self, slot, ()) for slot in SLOTS)
        said = "".join((_defaults(self), frontend(self), slots, _script(self), buckets(self)))
        return f"crossfade_{self.name}_setup_{hashlib.sha256(said.encode()).hexdigest()[:12]}"

    def backend(self, slot: Slot) -> str:
        """The backend of a slot."""
        return f"crossfade_{self.name}_{slot}"


def entry(accepted: Accepted) -> str:
    """The line as it stands in the map."""
    return render(accepted).translate(_TO_MAP)


def accepted_in(text: str) -> Accepted | None:
    """The routes that an entry of the map stands for; None when it is none of ours."""
    return parse(text.translate(_FROM_MAP))


def map_file(accepted: Accepted | None) -> str:
    """The content of the map's file."""
    return f"{KEY} {entry(accepted)}\n" if accepted else ""


def part(setup: SetUp, tables: Tables) -> str:
    """The configuration part of one target."""
    slots = "\n".join(_slot(setup, slot, tables.get(slot, ())) for slot in SLOTS)
    return (
        "# Written by Crossfade, and written anew: what you change here is lost.\n\n"
        f"{_script(setup)}{_defaults(setup)}\n{frontend(setup)}\n{slots}\nbackend {setup.marker} from crossfade_{setup.name}\n"
    )


def _script(setup: SetUp) -> str:
    return f"global\n    lua-load-per-thread {setup.script}\n\n" if setup.sticky else ""


def _defaults(setup: SetUp) -> str:
    # A stream may be silent for long, and nobody but the application knows how long an answer may take.
    return f"""defaults crossfade_{setup.name}
    mode http
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout tunnel 24h
    timeout queue 5s
    timeout http-request 30s
    timeout http-keep-alive 75s
    retries 3
    option redispatch 1
    option abortonclose
    option http-no-delay
"""


def frontend(setup: SetUp) -> str:
    """The address that users reach, and the whole decision."""
    counts = {slot: f"var(txn.cf_line),word({_COUNT[slot]},|=)" for slot in SLOTS}
    told = f"hdr {SLOT_HEADER} %[var(txn.cf_slot)] lf-string %[var(txn.cf_line)]"
    rules = [
        "set-var(txn.cf_at) date(0,us)",
        "set-var(txn.cf_ms) str(null)",
        f"set-var(txn.cf_line) str({KEY}),map_str({setup.map})",
        *_identify(setup),
        f"set-var(txn.cf_points) var(txn.cf_line),word({_POINTS},|=)",
        "set-var(txn.cf_slot) str(blue)",
        "set-var(txn.cf_slot) str(green) if { rand(10000),sub(txn.cf_points) lt 0 }",
        *_share(setup),
        *_override(setup),
        f"return status 200 content-type text/plain {told} if cf_probe",
        # Whoever comes where nothing is in force is no version's visitor: a word of life, as a probe is.
        f"set-var(txn.cf_arm) str({PROBE_ARM})",
        "set-var(txn.cf_arm) var(txn.cf_slot) if { var(txn.cf_line) -m found }",
        f"track-sc0 var(txn.cf_slot) table {setup.backend('blue')} if {{ var(txn.cf_line) -m found }}",
    ]
    nobody = (
        "return status 503 content-type text/plain hdr X-Crossfade no-version hdr Retry-After 1"
        " hdr Cache-Control no-store string 'No version of this service is running.\\n'"
    )
    log = (
        '{"arm":"%[var(txn.cf_arm)]","status":%ST,"duration":%[date(0,us),sub(txn.cf_at)]e-6,'
        '"ms":%[var(txn.cf_ms)],"end":"%ts","sums":"' + " ".join(f"%[var({name})]" for name, _, _ in _SUMS) + '"}'
    )
    table = setup.backend("blue")
    lines = [
        f"bind {setup.listen}",
        "option idle-close-on-response",
        "option forwardfor",
        f"log 127.0.0.1:{setup.counter} len 1024 format raw local0",
        f"log-format '{log}'",
        f"acl cf_probe req.fhdr({PROBE_HEADER}) -m str {setup.token}",
        f"http-request set-var(txn.cf_arm) str({PROBE_ARM}) if cf_probe",
        *(f"http-request set-var({name}) str({slot}),{read}({table}) if cf_probe" for name, slot, read in _SUMS),
        *(f"http-request {rule}" for rule in rules),
        f"http-request del-header {PROBE_HEADER}",
        "http-request set-header X-Forwarded-Proto http if !{ req.hdr(X-Forwarded-Proto) -m found }",
        "http-request set-header X-Forwarded-Host %[req.hdr(Host)] if !{ req.hdr(X-Forwarded-Host) -m found }",
        f"http-request {nobody} if !{{ var(txn.cf_line) -m found }}",
        *(
            f"http-request {nobody} if {{ var(txn.cf_slot) -m str {slot} }} {{ {counts[slot]} -m beg 0: }}"
            for slot in SLOTS
        ),
        *_give_cookie(setup),
        "http-after-response set-var(txn.cf_ms) date(0,us),sub(txn.cf_at),concat(e-3)",
        f"use_backend {setup.backend('green')} if {{ var(txn.cf_slot) -m str green }}",
        f"default_backend {setup.backend('blue')}",
    ]
    head = f"frontend crossfade_{setup.name} from crossfade_{setup.name}\n"
    return head + "".join(f"    {line}\n" for line in lines)


def _identify(setup: SetUp) -> list[str]:
    """Who is asking: `txn.cf_user`, absent for nobody in particular."""
    if setup.sticky is None:
        return []
    kind, name = setup.sticky
    if kind == "header":
        return [f"set-var(txn.cf_user) req.fhdr({name},1) if {{ req.fhdr({name},1) -m len gt 0 }}"]
    if kind == "user_cookie":
        return [f"set-var(txn.cf_user) req.cook({name}) if {{ req.cook({name}) -m len gt 0 }}"]
    return [
        f"set-var(txn.cf_user) req.cook({name}) if {{ req.cook({name}) -m reg {_UUID} }}",
        "set-var(txn.cf_given) uuid() if !{ var(txn.cf_user) -m found }",
        "set-var(txn.cf_user) var(txn.cf_given) if { var(txn.cf_given) -m found }",
    ]


def _share(setup: SetUp) -> list[str]:
    """The side of a known user, by the bucket of its id."""
    if setup.sticky is None:
        return []
    known = "{ var(txn.cf_user) -m found }"
    return [
        f"set-var(txn.cf_basis) var(txn.cf_line),word({_BASIS},|=) if {known}",
        f"set-var(txn.cf_share) var(txn.cf_line),word({_THRESHOLD},|=) if {known}",
        f"set-var(txn.cf_bucket) var(txn.cf_basis),concat(:,txn.cf_user),lua.crossfade_{setup.name} if {known}",
        f"set-var(txn.cf_slot) str(blue) if {known}",
        f"set-var(txn.cf_slot) str(green) if {known} {{ var(txn.cf_bucket),sub(txn.cf_share) lt 0 }}",
    ]


def _override(setup: SetUp) -> list[str]:
    """`never` is stable and `always` the other slot; stable answers for an empty canary."""
    asked = f"req.fhdr({setup.override_header}) -m str"
    either, always = f"{{ {asked} always never }}", f"{{ {asked} always }} !{{ {asked} never }}"
    rules = [f"set-var(txn.cf_stable) var(txn.cf_line),word({_STABLE},|=)"]
    rules += [f"set-var(txn.cf_slot) var(txn.cf_stable) if {either}"]
    for stable, canary in (("blue", "green"), ("green", "blue")):
        none = f"{{ var(txn.cf_line),word({_COUNT[canary]},|=) -m beg 0: }}"  # type: ignore[index]  # both are slots
        rules += [f"set-var(txn.cf_slot) str({canary}) if {always} {{ var(txn.cf_stable) -m str {stable} }} !{none}"]
    return rules


def _give_cookie(setup: SetUp) -> list[str]:
    if setup.sticky is None or setup.sticky[0] != "cookie":
        return []
    value = f"{setup.sticky[1]}=%[var(txn.cf_given)]; Path=/; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Lax"
    return [f"http-after-response add-header Set-Cookie '{value}' if {{ var(txn.cf_given) -m found }}"]


def _slot(setup: SetUp, slot: Slot, addresses: tuple[str, ...]) -> str:
    # A kept connection may be closed by the instance in the very moment a request is written to it. HAProxy
    # would leave that to the visitor, or send the request twice; so each request has a connection of its own.
    servers = [
        f"    server i{place} {addresses[place]}"
        if place < len(addresses)
        else f"    server i{place} 127.0.0.1:1 disabled"
        for place in range(PLACES)
    ]
    head = f"backend {setup.backend(slot)} from crossfade_{setup.name}"
    if slot == "blue":
        head += "\n    stick-table type string len 8 size 16 nopurge store conn_cnt,conn_cur"
    return "\n".join(
        [head, "    balance roundrobin", "    option http-server-close", "    http-reuse never", *servers, ""]
    )


def buckets(setup: SetUp) -> str:
    """Lua for `buckets.bucket`, as a converter of `BASIS:ID`. A character that is no ASCII, or no UTF-8, counts as one."""
    return f"""-- Written by Crossfade: the bucket of a user, from BASIS:ID.
local function mixed(x)
    x = ((x ~ (x >> 16)) * {MIX_1}) & 0xffffffff
    x = ((x ~ (x >> 13)) * {MIX_2}) & 0xffffffff
    return x ~ (x >> 16)
end

local function codes(id)
    if not id:find("[\\0-\\31\\127-\\255]") then
        if #id > {LONGEST} then id = id:sub(1, {LONGEST // 2}) .. id:sub(-{LONGEST // 2}) end
        return {{ id:byte(1, -1) }}
    end
    local all, place = {{}}, 1
    while place <= #id do
        local byte, width = id:byte(place), 1
        if byte > 127 and utf8.len(id, place, place) then
            width = byte >= 240 and 4 or byte >= 224 and 3 or 2
        end
        all[#all + 1] = (byte >= 32 and byte <= 126) and byte or {FOREIGN}
        place = place + width
    end
    if #all <= {LONGEST} then return all end
    local ends = {{}}
    for place = 1, {LONGEST // 2} do
        ends[place] = all[place]
        ends[place + {LONGEST // 2}] = all[#all - {LONGEST // 2} + place]
    end
    return ends
end

core.register_converters("crossfade_{setup.name}", function(text)
    local colon = text:find(":", 1, true)
    local number = tonumber(text:sub(1, colon - 1))
    for _, code in ipairs(codes(text:sub(colon + 1))) do
        number = ((number ~ code) * {FNV_PRIME}) & 0xffffffff
    end
    return mixed(number)
end)
"""
