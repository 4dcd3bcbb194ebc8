"""The application of the containers' tests, on its pod's own address, with `/metrics` that count what it answers."""

import collections
import http.server
import os

ANSWERED = collections.Counter()
PROBES = ("/health", "/healthz", "/readyz", "/metrics")


def counting(handler):
    """`handler`, which also tells Prometheus how many requests it has answered, and with which kind of status."""

    class Counting(handler):
        def do_GET(self):  # noqa: N802 - the library calls it so
            if self.path == "/metrics":
                kinds = {"2xx": 0, "5xx": 0, **ANSWERED}
                self.answer(200, "".join(f'app_requests_total{{code="{k}"}} {n}\n' for k, n in kinds.items()))
            else:
                super().do_GET()

        def answer(self, status, text):
            if self.path not in PROBES:
                ANSWERED[f"{status // 100}xx"] += 1
            super().answer(status, text)

    return Counting


class AtItsPod(http.server.ThreadingHTTPServer):
    def __init__(self, address, handler):
        super().__init__((os.environ["POD_IP"], address[1]), counting(handler))


http.server.ThreadingHTTPServer = AtItsPod
__import__("docker_app")  # which serves until its end
