"""A service that answers every request well, and prints a panic at every tenth where it is told to: `PORT VERSION panics|calm`."""

import itertools
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, VERSION, PANICS = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "panics"
numbers = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != "/healthz" and next(numbers) % 10 == 0 and PANICS:
            print("worker 3: PANIC: nil pointer", flush=True)  # noqa: T201 - what a log is made of
        self.send_response(200)
        self.send_header("X-App-Version", VERSION)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
server.daemon_threads = True
server.serve_forever()
