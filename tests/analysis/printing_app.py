"""An instance that burns, fills and prints what it is told to: `POST` is not needed, a path is an order.

/burn keeps a child process busy until /rest; /fill takes 60 MB; /say?TEXT prints TEXT; every path is answered with 200.
"""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

held, busy = [], []


class Orders(BaseHTTPRequestHandler):
    def do_GET(self):
        order, _, text = self.path.partition("?")
        if order == "/burn":
            busy.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
        if order == "/rest":
            while busy:
                child = busy.pop()
                child.kill()
                child.wait()
        if order == "/fill":
            held.append(bytearray(b"x" * 60_000_000))
        if order == "/say":
            print(unquote(text), flush=True)  # noqa: T201 - what a log is made of
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Orders).serve_forever()
