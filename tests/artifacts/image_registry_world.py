"""A real docker-registry on loopback, a small real token server, and tiny images from scratch."""

import base64
import contextlib
import hashlib
import io
import json
import os
import subprocess
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from python_index_world import wait_for

from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.artifacts.registries.oci.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from crossfade.artifacts.registries.oci.names import never_moved
from free_ports import free_port
from patience import PATIENCE

USER, PASSWORD = "publisher", "sesame"
HTPASSWD = "publisher:$2y$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW\n"
"""bcrypt of PASSWORD, which is all that docker-registry reads."""
STAYS = never_moved(["v{version}", "{major}.{minor}", "{version}-{sha}", "latest"])
QUICK = Manners(rate=1000, timeout=30, attempts=3, first_wait=0.01, longest_wait=0.05)
PIECE = 1 << 20
PLATFORMS = ({"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"})


class ImageServer:
    """A docker-registry over a folder. `auth` is None, "password", or a TokenServer."""

    def __init__(self, program, folder, auth=None):
        self.program, self.folder, self.auth = program, Path(folder), auth
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = self.folder / "store"
        self.process = None
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "users").write_text(HTPASSWD)
        (self.folder / "config.yml").write_text(json.dumps(self._config()))  # YAML holds JSON
        self.start()

    def _config(self):
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.store)}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": "of this test"},
        }
        if self.auth == "password":
            config["auth"] = {"htpasswd": {"realm": "images", "path": str(self.folder / "users")}}
        elif self.auth is not None:
            config["auth"] = {"token": self.auth.settings()}
        return config

    def start(self):
        argv = [self.program, "serve", self.folder / "config.yml"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        wait_for(f"{self.url}/v2/", self.process)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def blob(self, digest):
        """Where the server keeps the bytes of a digest."""
        algorithm, _, value = digest.partition(":")
        return self.store / "docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"

    def uploads(self):
        """The bytes that have arrived of uploads that were never closed."""
        return [path.stat().st_size for path in self.store.rglob("_uploads/*/data")]


class TokenServer:
    """Gives out tokens that a docker-registry believes: JWTs, signed by a key that openssl has made.

    The first `stale` tokens have run out when they are given.
    """

    def __init__(self, openssl, folder, *, stale=0):
        self.openssl, self.folder, self.stale = openssl, Path(folder), stale
        self.scopes = []
        self.folder.mkdir(parents=True, exist_ok=True)
        new_key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"]
        self._openssl("req", "-x509", *new_key, "-subj", "/CN=tokens")
        lines = (self.folder / "cert.pem").read_text().splitlines()
        self.certificate = "".join(line for line in lines if "-----" not in line)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.realm = f"http://127.0.0.1:{self.server.server_port}/token"

    def settings(self):
        bundle = str(self.folder / "cert.pem")
        return {"realm": self.realm, "service": "images", "issuer": "tokens", "rootcertbundle": bundle}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def token(self, scope):
        kind, name, actions = scope.split(":")
        began = time.time() - (86400 if self.stale > 0 else 60)
        self.stale -= 1
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.certificate]}
        access = [{"type": kind, "name": name, "actions": actions.split(",")}]
        claims = {"iss": "tokens", "sub": USER, "aud": "images", "jti": str(began), "access": access}
        claims |= {"nbf": int(began), "iat": int(began), "exp": int(began) + 3600}
        signed = ".".join(_plain(json.dumps(part).encode()) for part in (head, claims))
        signature = self._openssl("dgst", "-sha256", "-sign", "key.pem", stdin=signed.encode())
        return f"{signed}.{_plain(signature)}"

    def _openssl(self, *argv, stdin=b""):
        done = subprocess.run([self.openssl, *argv], input=stdin, capture_output=True, cwd=self.folder, check=True)
        return done.stdout

    def _handler(self):
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers.get("Authorization") != f"Basic {wanted}":
                    self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]})
                    return
                (scope,) = parse_qs(urlsplit(self.path).query)["scope"]
                tokens.scopes.append(scope)
                self.answer(200, {"token": tokens.token(scope), "expires_in": 3600})

            def answer(self, status, said):
                body = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler


class Layout:
    """An OCI image layout that is written blob by blob."""

    def __init__(self, folder):
        self.folder = Path(folder)
        (self.folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, media_type, content, **more):
        value = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs/sha256" / value).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{value}", "size": len(content), **more}

    def manifest(self, content, *, label="", docker=False, platform=PLATFORMS[0], layers=()):
        """An image with one file in it, besides further descriptors of layers."""
        layer = _layer(content)
        diff = [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
        config = {**platform, "config": {"Labels": {"v": label}}, "rootfs": {"type": "layers", "diff_ids": diff}}
        kinds = (
            ("application/vnd.docker.container.image.v1+json", "application/vnd.docker.image.rootfs.diff.tar")
            if docker
            else ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar")
        )
        said = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": self.add(kinds[0], json.dumps(config).encode()),
            "layers": [self.add(kinds[1], layer), *layers],
        }
        return self.add(said["mediaType"], json.dumps(said).encode(), platform=platform)

    def index(self, manifests, *, docker=False):
        kind = DOCKER_INDEX if docker else OCI_INDEX
        said = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        return self.add(kind, json.dumps(said).encode())

    def close(self, *roots):
        """Write index.json, which lists the roots."""
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(roots)}))
        return self.folder


def image_artifact(folder, name, version, content=b"one", **more):
    """An image of one platform, ready to be published; the same arguments make the same bytes."""
    layout = Layout(folder)
    place = layout.close(layout.manifest(content, label=version, **more))
    return Artifact(name, Coordinate(name, version), (place,), place.parent)


def packed(layout, path):
    """The layout as a tar, in which nothing is compressed."""
    with tarfile.open(path, "w") as tar:
        for each in sorted(layout.rglob("*")):
            tar.add(each, each.relative_to(layout).as_posix(), recursive=False)
    return path


def _layer(content):
    with contextlib.closing(io.BytesIO()) as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            entry = tarfile.TarInfo("app/file")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()


def _plain(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def layer_of(artifact):
    """Path of the largest blob."""
    return max(artifact.files[0].glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)


def sent(proxy, method):
    """Paths of the requests that went to blobs."""
    return [path for seen, path, _ in proxy.seen if seen == method and "/blobs/" in path]
