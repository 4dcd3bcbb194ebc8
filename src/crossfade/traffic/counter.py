"""The counter: a small process that adds up what the proxy says of each request.

The proxy sends one datagram for every request that has ended; this process keeps the sums, survives
the engine, and answers on loopback: `GET /counts?since=` (JSON) and `GET /metrics` (Prometheus).
Twice a second it sends a request of its own through the proxy. When the proxy's word of *that*
comes back, everything before it has been counted; so no traffic and no sight are never confused.

    python -m crossfade.traffic.counter --folder DIR --probe http://127.0.0.1:8080 --header X-…:TOKEN
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from crossfade.traffic.port import SLOTS, Counts, Slot
from crossfade.traffic.tally import BOUNDS_MS, CLASSES, Tally
from crossfade.traffic.untold import Untold, sums_in
from crossfade.traffic.whole_files import replace

ADDRESSES = "counter.json"
LAST_ADDRESSES = "counter.last.json"
BEAT = 0.5
BUFFER = 8 * 1024 * 1024
CLIENT_LEFT = 499
NO_ANSWER = (-1, 400)
"""What HAProxy notes as the status of a visitor who left before there was one."""
BROKEN_OFF = "SD"
"""How HAProxy notes that the instance broke off an answer which had begun."""
SWITCHING = 101
PROBE_ARM = "probe"
ARMS = [*SLOTS, PROBE_ARM]  # a list: what is asked about may not be hashable
NUMBERS = (int, float)


def as_json(counts: Counts) -> bytes:
    """Counts as they travel."""
    return orjson.dumps(
        {
            "alive_at": counts.alive_at,
            "dropped": counts.dropped,
            "bounds_ms": counts.bounds_ms,
            "buckets": [[b.at, b.seconds, b.slot, b.by_class, _sparse(b.latency)] for b in counts.buckets],
        }
    )


def _sparse(bins: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(place, count) for place, count in enumerate(bins) if count]


def exposition(tally: Tally, labels: str) -> str:
    """The totals in Prometheus' text format, version 0.0.4."""
    lines = [
        "# HELP crossfade_requests_total Requests by slot and status class; none means that no answer was sent.",
        "# TYPE crossfade_requests_total counter",
    ]
    for slot in SLOTS:
        sums = zip(CLASSES, tally.totals[slot].classes, strict=True)
        lines += [f'crossfade_requests_total{{{labels},slot="{slot}",class="{name}"}} {count}' for name, count in sums]
    lines += [
        "# HELP crossfade_request_duration_seconds Time until an instance began to answer.",
        "# TYPE crossfade_request_duration_seconds histogram",
    ]
    for slot in SLOTS:
        lines += _histogram(tally, slot, labels)
    lines += [
        "# HELP crossfade_counter_dropped_total Requests that are known not to have been counted.",
        "# TYPE crossfade_counter_dropped_total counter",
        f"crossfade_counter_dropped_total{{{labels}}} {tally.dropped_total}",
    ]
    return "\n".join(lines) + "\n"


def _histogram(tally: Tally, slot: Slot, labels: str) -> list[str]:
    name, sums, below, lines = "crossfade_request_duration_seconds", tally.totals[slot], 0, []
    for bound, count in zip((*BOUNDS_MS, float("inf")), sums.bins, strict=True):
        below += count
        edge = "+Inf" if bound == float("inf") else f"{bound / 1000:g}"
        lines.append(f'{name}_bucket{{{labels},slot="{slot}",le="{edge}"}} {below}')
    lines.append(f'{name}_sum{{{labels},slot="{slot}"}} {sums.total_ms / 1000:.6f}')
    lines.append(f'{name}_count{{{labels},slot="{slot}"}} {below}')
    return lines


def read(datagram: bytes) -> tuple[Slot | None, int, float | None] | None:
    """The slot (None: our own probe), status and latency in ms of one request; None for what is no word of the proxy.

    A syslog header before the first brace is passed over.
    The latency is the time until the instance began to answer, so that a visitor's slow line or an
    endless stream is no fault of the version. One who left and a websocket have none.

    >>> read(b'{"duration": 0.2, "status": 200, "arm": "green", "ms": 12.5}')
    ('green', 200, 12.5)
    >>> read(b'{"duration": 0.2, "status": 502, "arm": "blue", "ms": ""}')
    ('blue', 502, 200.0)
    >>> read(b'{"duration": 0.2, "status": 200, "arm": "green", "ms": 12, "end": "SD"}')
    ('green', 0, 12)
    >>> read(b'<190>Nov 21 16:27:52 crossfade: {"duration": 0.2, "status": 200, "arm": "green", "ms": 12}')
    ('green', 200, 12)
    """
    try:
        entry = orjson.loads(datagram[max(datagram.find(b"{"), 0) :])
        arm, status, duration = entry["arm"], entry["status"], entry["duration"]
    except (ValueError, KeyError, TypeError):
        return None
    if arm not in ARMS or type(status) is not int or type(duration) not in NUMBERS:
        return None
    end = str(entry.get("end"))
    if status in NO_ANSWER and end.startswith("C"):
        status = CLIENT_LEFT
    elif end == BROKEN_OFF and status != SWITCHING:
        status = 0
    first_byte = entry.get("ms")
    ms = first_byte if type(first_byte) in NUMBERS else duration * 1000
    return None if arm == PROBE_ARM else arm, status, None if status in (CLIENT_LEFT, SWITCHING) else ms


class Counter:
    """The two sockets and the tally between them."""

    def __init__(self, folder: Path, labels: str) -> None:
        self.tally, self.labels, self._untold = Tally(), labels, Untold()
        self._drops_compared = 0
        self._folder = folder
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server: ThreadingHTTPServer

    def open(self) -> None:
        """Take the ports of the last run again, or free ones, and say which."""
        last = _addresses(self._folder)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._listener.settimeout(0.2)
        _bind(self._listener, last.get("udp", 0))
        handler = type("Handler", (_Handler,), {"counter": self})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", last.get("http", 0)), handler)
        except OSError:
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        ports = {"udp": self._listener.getsockname()[1], "http": self._server.server_address[1]}
        replace(self._folder / ADDRESSES, orjson.dumps(ports))

    def run(self, probe: str, header: str) -> None:
        """Count until the folder is gone."""
        for work in (self._server.serve_forever, lambda: _beat(probe, header)):
            threading.Thread(target=work, daemon=True).start()
        checked, seen, port = 0.0, 0, self._listener.getsockname()[1]
        while True:
            with contextlib.suppress(TimeoutError):
                self._take(self._listener.recv(65536))
            if time.monotonic() - checked >= 1:
                checked = time.monotonic()
                seen = self._note_drops(port, seen)
                if not (self._folder / ADDRESSES).exists():
                    return

    def _take(self, datagram: bytes) -> None:
        entry = read(datagram)
        if entry is None:
            return
        slot, status, ms = entry
        now = time.time()
        if slot is None:
            if b'"sums"' in datagram:
                self._compare(datagram, now)
            self.tally.prove(now)
        else:
            self.tally.add(now, slot, status, ms)
            self._untold.tell(slot)

    def _compare(self, datagram: bytes, now: float) -> None:
        """Count what the proxy began and says nothing about: nobody was answered."""
        sums = sums_in(orjson.loads(datagram[datagram.find(b"{") :]).get("sums"))
        if sums is None:
            return
        drops = self.tally.dropped_total
        lost = self._untold.compare(sums, trust=drops == self._drops_compared)
        self._drops_compared = drops
        for slot, count in lost.items():
            for _ in range(count):
                self.tally.add(now, slot, 0, None)

    def _note_drops(self, port: int, seen: int) -> int:
        drops = _kernel_drops(port)
        if drops > seen:
            self.tally.drop(time.time(), drops - seen)
        return max(drops, seen)


class _Handler(BaseHTTPRequestHandler):
    counter: Counter
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/counts":
            since = float(parse_qs(url.query).get("since", ["0"])[0])
            self._send("application/json", as_json(self.counter.tally.counts(since, time.time())))
        elif url.path == "/metrics":
            text = exposition(self.counter.tally, self.counter.labels)
            self._send("text/plain; version=0.0.4; charset=utf-8", text.encode())
        else:
            self.send_error(404)

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the counter has no log to fill."""


def _addresses(folder: Path) -> dict[str, int]:
    try:
        ports = orjson.loads((folder / LAST_ADDRESSES).read_bytes())
        return {name: int(ports[name]) for name in ("udp", "http")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _bind(listener: socket.socket, port: int) -> None:
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))


def _beat(probe: str, header: str) -> None:
    """Send a request of our own through the proxy, for ever."""
    url = urlsplit(probe)
    name, _, value = header.partition(":")
    while True:
        connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                connection.request("GET", "/", headers={name: value})
                connection.getresponse().read()
                time.sleep(BEAT)
        connection.close()
        time.sleep(BEAT)


def _kernel_drops(port: int) -> int:
    """Datagrams that the kernel threw away for want of room, where it tells (Linux)."""
    try:
        table = Path("/proc/net/udp").read_text().splitlines()[1:]
    except OSError:
        return 0
    wanted = f"0100007F:{port:04X}" if sys.byteorder == "little" else f"7F000001:{port:04X}"
    return sum(int(row.split()[-1]) for row in table if row.split()[1] == wanted)


def main() -> None:
    """Read the flags and count."""
    parser = argparse.ArgumentParser(description="Adds up what the proxy says of each request.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--probe", required=True, help="address of the proxy")
    parser.add_argument("--header", required=True, help="NAME:VALUE that marks our own requests")
    parser.add_argument("--labels", default="", help="Prometheus labels of every series")
    flags = parser.parse_args()
    counter = Counter(flags.folder, flags.labels)
    counter.open()
    counter.run(flags.probe, flags.header)


if __name__ == "__main__":
    main()
