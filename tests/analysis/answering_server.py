"""A server that answers what a test lets it answer, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from free_ports import free_port


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """`body` is sent as it is when it is bytes, else as JSON; `hang` never answers until the server closes."""

    body: object = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    hang: bool = False


class Server:
    """`answer` is a value, or a function of the request; `certificate` (PEM with its key) makes it speak TLS."""

    def __init__(self, answer=None, certificate=None):
        self.answer, self.requests, self._ending = answer or Answer(), [], threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                parts = urlsplit(self.path)
                asked = Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query)),
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                server.requests.append(asked)
                told = server.answer(asked) if callable(server.answer) else server.answer
                if told.hang:
                    server._ending.wait(60)
                    return
                body = told.body if isinstance(told.body, bytes) else json.dumps(told.body).encode()
                with suppress(OSError):
                    self.send_response(told.status)
                    for name, value in told.headers:
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name that the server looks for

            def log_message(self, *_):
                pass

        port = free_port()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self._ending.set()
        self._server.shutdown()
        self._server.server_close()
