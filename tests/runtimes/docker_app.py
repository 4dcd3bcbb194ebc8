"""A small web application for containers, which misbehaves on request; standard library only.

python docker_app.py PORT [--never-ready] [--ready-after S] [--exit CODE] [--ignore-term] [--eat MB] [--error-rate R]
`/sick`, `/well`, `/break` and `/die` change what it does while it runs; `/version` says which it is.
"""

# ruff: noqa: T201 - printing is what it is for

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--never-ready", action="store_true")
parser.add_argument("--ready-after", type=float, default=0)
parser.add_argument("--exit", type=int)
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--eat", type=int, default=0)
parser.add_argument("--error-rate", type=float, default=0)
BORN = time.monotonic()
VERSION = os.environ.get("CROSSFADE_VERSION", "?")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    args: ClassVar[argparse.Namespace]
    sick: ClassVar[bool] = False

    def do_GET(self) -> None:
        if self.path == "/die":
            os._exit(7)
        if self.path in ("/sick", "/well"):
            Handler.sick = self.path == "/sick"
        if self.path == "/break":
            Handler.args.error_rate = 0.8
        if self.path == "/health" and not Handler.sick:
            self.answer(200, json.dumps({"status": "healthy"}))
        elif self.path in ("/health", "/healthz") and Handler.sick:
            self.answer(503, "no disk")
        elif self.path == "/healthz" and (self.args.never_ready or time.monotonic() - BORN < self.args.ready_after):
            self.answer(503, "warming up")
        elif self.path == "/version":
            self.answer(200, json.dumps({"version": VERSION, "image": os.environ.get("BUILT", ""), "pid": os.getpid()}))
        elif self.path == "/environment":
            self.answer(200, json.dumps(dict(os.environ)))
        elif self.path == "/" and random.random() < self.args.error_rate:
            self.answer(500, "broken")
        else:
            self.answer(200, "ok")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-App-Version", VERSION)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    args = Handler.args = parser.parse_args()
    print("hello from", VERSION, flush=True)
    print("a warning", file=sys.stderr, flush=True)
    if args.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if args.exit is not None:
        print("cannot reach the database", file=sys.stderr, flush=True)
        sys.exit(args.exit)
    if args.eat:
        eaten = bytearray(args.eat * 1_000_000)
        print("ate", len(eaten), flush=True)
    ThreadingHTTPServer(("0.0.0.0", args.port), Handler).serve_forever()  # noqa: S104 - a container's own address


main()
