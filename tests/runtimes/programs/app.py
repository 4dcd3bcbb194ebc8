"""A small web application that misbehaves on request; standard library only.

python app.py PORT [--ready-after S] [--never-ready] [--die-after S] [--exit CODE] [--ignore-term]
    [--grandchildren N] [--detach] [--print-bytes N] [--file-switch DIR] [--slow-start S]

`--file-switch DIR`: files there change what it does while it runs: `sick` (health answers 503 with the
file's text), `hang` (health never answers), `unready` (readiness answers 503).
"""

# ruff: noqa: T201 - printing is what it is for

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLEEP = "import time, signal, sys\nif sys.argv[1] == 'ignore': signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"


def arguments() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--ready-after", type=float, default=0)
    parser.add_argument("--die-after", type=float)
    parser.add_argument("--exit", type=int)
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--grandchildren", type=int, default=0)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--print-bytes", type=int, default=0)
    parser.add_argument("--file-switch", type=Path, default=Path("/nonexistent"))
    parser.parse_args(namespace=ARGS)


ARGS = argparse.Namespace()
BORN = time.monotonic()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        switch = ARGS.file_switch
        if self.path == "/die":
            os._exit(7)
        if self.path in ("/healthz", "/ready"):
            while (switch / "hang").exists():
                time.sleep(0.05)
        if self.path == "/healthz" and (switch / "sick").exists():
            self.answer(503, (switch / "sick").read_text())
        elif self.path == "/ready" and (switch / "unready").exists():
            self.answer(503, "not now")
        elif self.path in ("/healthz", "/ready") and (ARGS.never_ready or time.monotonic() - BORN < ARGS.ready_after):
            self.answer(503, "warming up")
        else:
            version = os.environ.get("CROSSFADE_VERSION", "?")
            self.answer(200, f"{version} {os.environ.get('GREETING', '')} {os.getpid()} {Path.cwd()}")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def print_much(size: int) -> None:
    line = "x" * 99
    for number in range(size // 100):
        sys.stdout.write(f"{number:09d} {line[10:]}\n")
    print("printed everything", flush=True)


def main() -> None:
    arguments()
    print("hello from", os.environ.get("CROSSFADE_VERSION"), flush=True)
    print("a warning", file=sys.stderr, flush=True)
    if ARGS.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mode = "ignore" if ARGS.ignore_term else "obey"
    for _ in range(ARGS.grandchildren):
        subprocess.Popen([sys.executable, "-c", SLEEP, mode], start_new_session=ARGS.detach)
    if ARGS.detach:
        # A daemon: its parent ends at once, so it hangs below nobody who knows it.
        subprocess.run(
            [
                sys.executable,
                "-c",
                f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}, {mode!r}], start_new_session=True)",
            ],
            check=True,
        )
    if ARGS.exit is not None:
        print("cannot reach the database", file=sys.stderr, flush=True)
        sys.exit(ARGS.exit)
    if ARGS.die_after is not None:
        threading.Timer(ARGS.die_after, lambda: os._exit(5)).start()
    if ARGS.print_bytes:
        threading.Thread(target=print_much, args=(ARGS.print_bytes,), daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", ARGS.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
