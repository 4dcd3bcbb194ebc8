"""The application of the containers' tests, on its pod's own address."""

import http.server
import os


class AtItsPod(http.server.ThreadingHTTPServer):
    def __init__(self, address, handler):
        super().__init__((os.environ["POD_IP"], address[1]), handler)


http.server.ThreadingHTTPServer = AtItsPod
__import__("docker_app")  # which serves until its end
