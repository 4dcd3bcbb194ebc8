"""A service with metrics of its own, which may leak database connections: `PORT VERSION TARGETS LEAK`.

It answers every request well, whatever it leaks, so that only its gauge tells. Prometheus finds it by a file in the folder
TARGETS, and learns nothing while a file `silent` is there; LEAK is how many connections each request keeps.
"""

import itertools
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, VERSION, TARGETS, LEAK = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
numbers, served = itertools.count(1), [0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 200
        if self.path == "/metrics" and (TARGETS / "silent").exists():
            status, body = 503, "no metrics now"
        elif self.path == "/metrics":
            labels = f'version="{VERSION}"'
            body = (
                f"web_requests_total{{{labels}}} {served[0]}\n"
                f"web_errors_total{{{labels}}} 0\n"
                f"web_db_connections{{{labels}}} {4 + int(LEAK * served[0])}\n"
            )
        else:
            if self.path != "/healthz":
                served[0] = next(numbers)
            body = VERSION
        self.send_response(status)
        self.send_header("X-App-Version", VERSION)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
target = TARGETS / f"{PORT}.json"
draft = target.with_suffix(".draft")
draft.write_text(json.dumps([{"targets": [f"127.0.0.1:{PORT}"]}]))
draft.replace(target)


def leave(*_):
    target.unlink(missing_ok=True)
    os._exit(0)


signal.signal(signal.SIGTERM, leave)
server.serve_forever()
