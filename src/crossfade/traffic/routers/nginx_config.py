"""What nginx is told, once: pure, from settings to its configuration and the program that chooses.

Nothing in this configuration names an instance, a weight or a version. They are one line in memory that
all workers share (`js_shared_dict_zone`); each request reads it, so a change needs no reload. Requests
go to instances over connections of their own: a kept one may be closed by the instance in the very
moment a request is written to it, and belongs to an instance that may have left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import orjson

from crossfade.config.routers import StickyKind
from crossfade.traffic.counter import PROBE_ARM
from crossfade.traffic.headers import COOKIE_AGE, COPY_HEADER, PROBE_HEADER, SLOT_HEADER

TOKEN_HEADER = "X-Crossfade-Token"  # noqa: S105 - the header's name
PROGRAM = "crossfade.js"

assert PROBE_ARM == "probe"  # noqa: S101 - nginx_choice.js says the same word

_MAIN = """\
# Written by Crossfade at every start; edits are lost.
{load}daemon off;
{user}pid master.pid;
error_log nginx.log crit;
worker_processes {workers};
worker_rlimit_nofile {files};
worker_shutdown_timeout 5m;
events {{ worker_connections {connections}; }}
http {{
    {temporary}
    js_import crossfade from crossfade.js;
    js_shared_dict_zone zone=crossfade_routes:64k;
    js_shared_dict_zone zone=crossfade_flying:256k type=number;
    js_shared_dict_zone zone=crossfade_turns:32k type=number;
    js_shared_dict_zone zone=crossfade_down:64k timeout=1s evict;
    js_var $crossfade_arm;
    js_var $crossfade_to;
    js_var $crossfade_tries;
    js_var $crossfade_cookie;
    js_var $crossfade_path;
    js_set $crossfade_ended crossfade.ended;

    # Numbers as JSON: seconds become milliseconds by their exponent, of several tries the last one counts.
    map $upstream_header_time $crossfade_ms {{ "~(?<cf_last>[0-9.]+)$" "${{cf_last}}e3"; default '""'; }}
    map $status $crossfade_status {{ "~^0*(?<cf_digits>[1-9][0-9]*)$" $cf_digits; default 0; }}
    log_format crossfade escape=none
        '{{"arm":"$crossfade_ended","status":$crossfade_status,"duration":$request_time,"ms":$crossfade_ms}}';
    access_log syslog:server=127.0.0.1:{counter},nohostname,tag=crossfade crossfade;

    # What a proxy in front on this machine says of the visitor is passed on; from others it is replaced.
    map $remote_addr $crossfade_front {{ 127.0.0.1 1; ::1 1; default 0; }}
    map $crossfade_front $crossfade_for {{ 1 $proxy_add_x_forwarded_for; default $remote_addr; }}
    map $crossfade_front$http_x_forwarded_proto $crossfade_proto {{ "~^1(?<cf_proto>.+)$" $cf_proto; default $scheme; }}
    map $crossfade_front$http_x_forwarded_host $crossfade_by_host {{ "~^1(?<cf_host>.+)$" $cf_host; default $http_host; }}
    map $http_upgrade $crossfade_connection {{ "" close; default upgrade; }}
    map $http_host $crossfade_host {{ "" localhost; default $http_host; }}

    server_tokens off;
    default_type text/plain;
    underscores_in_headers on;
    large_client_header_buffers 4 64k;
    client_header_timeout 30s;
    client_max_body_size 0;
    client_body_buffer_size 64k;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    keepalive_min_timeout 5s;
    recursive_error_pages on;

    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_buffer_size 64k;
    proxy_buffers 4 64k;
    proxy_busy_buffers_size 64k;
    proxy_connect_timeout 2s;
    proxy_send_timeout 24h;
    proxy_read_timeout 24h;
    proxy_redirect off;
    proxy_next_upstream off;
    proxy_pass_header Server;
    proxy_pass_header Date;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset;
    proxy_set_header Host $crossfade_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $crossfade_connection;
    proxy_set_header X-Forwarded-For $crossfade_for;
    proxy_set_header X-Forwarded-Proto $crossfade_proto;
    proxy_set_header X-Forwarded-Host $crossfade_by_host;
    proxy_set_header {copy_header} "";
    add_header Set-Cookie $crossfade_cookie always;

    server {{
        listen {listen} backlog=4096 so_keepalive=on;
        location / {{
            js_access crossfade.choose;
            proxy_pass http://$crossfade_to;
            error_page 502 504 = @again;
        }}
        location @again {{
            js_access crossfade.again;
            proxy_pass http://$crossfade_to;
            error_page 502 504 = @again;
        }}
        location @copied {{
            mirror {copies};
            proxy_pass http://$crossfade_to;
            error_page 502 504 = @again;
        }}
        # The visitor's connection is free again once a copy has been sent: nobody waits for its answer.
        location = {copies} {{
            internal;
            proxy_pass http://127.0.0.1:{control}{copies}$request_uri;
            proxy_read_timeout 1ms;
        }}
    }}
    server {{
        listen 127.0.0.1:{control} reuseport;  # each worker has a door of its own, so that all can be spoken to
        set $crossfade_set_up {digest};
        location / {{ js_content crossfade.control; }}
        location {copies}/ {{
            js_access crossfade.copy;
            js_header_filter crossfade.unsized;
            js_body_filter crossfade.swallowed;
            proxy_pass http://$crossfade_to$crossfade_path;
            proxy_ignore_client_abort on;
            proxy_read_timeout 60s;
            proxy_set_header Host $crossfade_host;
            proxy_set_header Connection close;
            proxy_set_header X-Forwarded-For $http_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;
            proxy_set_header X-Forwarded-Host $http_x_forwarded_host;
            proxy_set_header {copy_header} true;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class SetUp:
    """All that the configuration of one target depends on.

    `listen` is HOST:PORT; `token` makes probes and commands ours; `counter` is the UDP port that takes the counts.
    """

    listen: str
    token: str
    counter: int
    override_header: str
    sticky: tuple[StickyKind, str] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What the machine adds: the port for our commands, what the program was built with, and its limits.

    `load` are modules to load, `temporary` the directives of its temporary folders; `user` is whose
    processes the workers shall be (`NAME GROUP`), empty where that is not ours to choose.
    """

    control: int
    load: Sequence[str] = ()
    temporary: Sequence[str] = ("client_body", "proxy")
    user: str = ""
    files: int = 16_384
    workers: int = 1


def digest(setup: SetUp) -> str:
    """Names what a running nginx was told; another set-up has another.

    >>> one = SetUp("127.0.0.1:80", "t", 9, "X-Canary")
    >>> digest(one) == digest(SetUp("127.0.0.1:80", "t", 9, "X-Preview"))
    False
    """
    return hashlib.sha256((_main(setup, Place(0), "") + program(setup)).encode()).hexdigest()[:16]


def main(setup: SetUp, place: Place) -> str:
    """The text of `nginx.conf`."""
    return _main(setup, place, digest(setup))


def program(setup: SetUp, first: str = "") -> str:
    """The text of the program beside it; `first` is the line in force from its very start on."""
    known = {
        "token": setup.token,
        "probe_header": PROBE_HEADER,
        "slot_header": SLOT_HEADER,
        "override_header": setup.override_header,
        "sticky": setup.sticky,
        "cookie_age": COOKIE_AGE,
        "copies": _copies(setup),
    }
    text = files(__package__).joinpath("nginx_choice.js").read_text(encoding="utf-8")
    return f"const SET_UP = {orjson.dumps(known).decode()};\nconst FIRST = {orjson.dumps(first).decode()};\n{text}"


def listened(listen: str) -> str:
    """HOST:PORT as nginx wants it.

    >>> listened("127.0.0.1:8080"), listened(":8080"), listened("[::]:80")
    ('127.0.0.1:8080', '*:8080', '[::]:80 ipv6only=off')
    """
    host, _, port = listen.rpartition(":")
    return {"": f"*:{port}", "[::]": f"[::]:{port} ipv6only=off"}.get(host, listen)


def _copies(setup: SetUp) -> str:
    """The path of copies inside nginx, which no visitor can foresee."""
    return f"/copies-{setup.token}"


def _main(setup: SetUp, place: Place, name: str) -> str:
    return _MAIN.format(
        load="".join(f'load_module "{path}";\n' for path in place.load),
        user=f"user {place.user};\n" if place.user else "",
        files=place.files,
        workers=place.workers,
        connections=place.files // 2,
        temporary="\n    ".join(f"{kind}_temp_path temporary/{kind};" for kind in place.temporary),
        listen=listened(setup.listen),
        counter=setup.counter,
        control=place.control,
        copies=_copies(setup),
        copy_header=COPY_HEADER,
        digest=name,
    )
