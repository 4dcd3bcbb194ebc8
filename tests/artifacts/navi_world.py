"""The Navi example as somebody tries it: a copy under git, its registries on free ports, and the real commands."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import httpx

from free_ports import free_port
from patience import PATIENCE

EXAMPLE = Path(__file__).parents[2] / "examples" / "navi"
SCOPE = "@awell-health"
NPM = ("navi-core", "navi-js", "navi-react")
CROSSFADE = (sys.executable, "-m", "crossfade.cli.main")
MADE = shutil.ignore_patterns("node_modules", "dist", "image", ".crossfade", "cdn", ".registries", "__pycache__")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Navi:
    """A copy of the example in `folder`. `npm`, `images` and `cdn` are the addresses of its registries."""

    def __init__(self, folder, npm, images, cdn):
        self.folder, self.npm, self.images, self.cdn = folder, npm, images, cdn
        home = folder.with_name(f"{folder.name}-home")
        home.mkdir(exist_ok=True)
        who = {"NAME": "Navi", "EMAIL": "navi@example.com"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "NPM_", "npm_"))}
        # Whoever runs the tests has settings of their own for git and npm, which are none of the example's.
        self.environ = {
            **kept,
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(home),
            "npm_config_cache": str(home / "npm-cache"),
            "npm_config_userconfig": str(home / "npmrc"),
            "CROSSFADE_ACTOR": "night shift",
            "NO_COLOR": "1",
            "COLUMNS": "160",
        }
        self.environ.pop("DATABASE_URL", None)

    @classmethod
    def copied(cls, folder):
        """A fresh copy of the example whose registries have ports of their own; one commit."""
        shutil.copytree(EXAMPLE, folder, ignore=MADE)
        ports = [free_port() for _ in range(3)]
        text = (folder / "crossfade.yaml").read_text()
        for old, new in zip((4873, 5000, 8090), ports, strict=True):
            assert text.count(f":{old}") == 1
            text = text.replace(f":{old}", f":{new}")
        (folder / "crossfade.yaml").write_text(text)
        navi = cls(folder, *(f"http://127.0.0.1:{port}" for port in ports))
        navi.git("init", "--quiet", "--initial-branch=main")
        navi.commit("Navi")
        return navi

    def another(self, folder, *, npm=None):
        """What is committed, in a copy without any state; its npm registry is at `npm`."""
        folder.mkdir()
        other = Navi(folder, npm or self.npm, self.images, self.cdn)
        other.environ = {**other.environ, "NPM_TOKEN": self.environ["NPM_TOKEN"]}
        self.git("clone", "--quiet", "--no-hardlinks", str(self.folder), str(folder))
        if npm is not None:
            other.edit("crossfade.yaml", self.npm, npm)
            other.commit("Another registry")
        return other

    def git(self, *argv):
        """What git prints."""
        return run(["git", *argv], self.folder, self.environ).check().out.strip()

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", message)

    @property
    def head(self):
        return self.git("rev-parse", "HEAD")

    @property
    def tags(self):
        """Tag → the commit that it leads to; a tag that is not annotated has its kind in the place of it."""
        lines = self.git("for-each-ref", "--format=%(refname:strip=2) %(objecttype) %(*objectname)", "refs/tags")
        return {name: commit if kind == "tag" else kind for name, kind, commit in map(_three, lines.splitlines())}

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, (old, text)
        path.write_text(text.replace(old, new))

    def version(self, name):
        return json.loads((self.folder / "packages" / name / "package.json").read_text())["version"]

    def crossfade(self, *argv, **environ):
        """Run the command, whatever it ends with."""
        named = {name: value for name, value in {**self.environ, **environ}.items() if value is not None}
        return run([*CROSSFADE, *argv], self.folder, named)

    async def crossfade_aside(self, *argv, **environ):
        """As `crossfade`, while something else answers here."""
        return await asyncio.to_thread(self.crossfade, *argv, **environ)

    def events(self):
        """The record's entries about publications and withdrawals, oldest first."""
        entries = [json.loads(line) for line in self.crossfade("--json", "events").check().out.splitlines()]
        return [each for each in entries if each["kind"].startswith(("publication.", "withdrawal."))]

    def state(self):
        """What a command that is refused must leave as it was: files, commit and tags."""
        return self.git("status", "--porcelain", "--untracked-files=all"), self.git("diff"), self.head, self.tags

    def packument(self, name):
        """What the npm registry says about a package; None when it knows none."""
        answer = httpx.get(f"{self.npm}/{quote(f'{SCOPE}/{name}', safe='')}")
        return None if answer.status_code == 404 else answer.raise_for_status().json()

    def image_tags(self):
        """Tag → digest of the manifest that it leads to, of the portal's images."""
        repository = f"{self.images}/v2/{SCOPE[1:]}/navi-portal"
        answer = httpx.get(f"{repository}/tags/list")
        names = [] if answer.status_code == 404 else answer.raise_for_status().json()["tags"] or []
        asked = {tag: httpx.head(f"{repository}/manifests/{tag}", headers={"accept": MANIFEST}) for tag in names}
        return {tag: each.raise_for_status().headers["docker-content-digest"] for tag, each in asked.items()}

    def loader(self, folder):
        """The loader's text as a browser gets it from a folder of the CDN."""
        return httpx.get(f"{self.cdn}/{folder}/navi-loader.js").raise_for_status().text


class Registries:
    """The example's own registries.py, running; `token` may publish to npm."""

    def __init__(self, navi):
        self._navi = navi
        self.folder = navi.folder / ".registries"

    def __enter__(self):
        ports = [url.rpartition(":")[2] for url in (self._navi.npm, self._navi.images, self._navi.cdn)]
        flags = zip(("--npm", "--images", "--cdn"), ports, strict=True)
        argv = [sys.executable, "registries.py", *(word for pair in flags for word in pair)]
        self._process = subprocess.Popen(
            argv, cwd=self._navi.folder, env=self._navi.environ, stdout=subprocess.PIPE, text=True
        )
        line = self._process.stdout.readline()
        assert line.startswith("export NPM_TOKEN="), (line, self._log())
        self._navi.environ["NPM_TOKEN"] = line.strip().removeprefix("export NPM_TOKEN=")
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def tarballs(self, name):
        """The files that the npm registry keeps of a package."""
        return sorted((self.folder / "npm" / SCOPE / name).glob("*.tgz"))

    def _log(self):
        log = self.folder / "output.log"
        return log.read_text() if log.exists() else ""


class Ended:
    """How a command ended: `code`, and what it printed: `out`, `err`, `said` (both)."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err
        self.said = out + err

    def check(self, code=0):
        """Itself, when it ended with `code`."""
        assert self.code == code, f"{self.argv} ended with {self.code}, not {code}:\n{self.said}"
        return self

    @property
    def json(self):
        return json.loads(self.out)


def run(argv, folder, environ):
    done = subprocess.run(
        argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Ended(argv, done.returncode, done.stdout, done.stderr)


def _three(line):
    name, kind, *commit = line.split(" ")
    return name, kind, commit[0] if commit else ""
