"""A repository with components of every kind, and the command line in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from shop import Ran

from patience import PATIENCE

CONFIG = """\
project: shop
components:
  core: {source: packages/core}
  web: {source: {path: packages/web, embeds: [core]}}
  api: {source: {path: api, needs: {core: "^1.0.0"}}}
  gateway: {source: {path: gateway, needs: {api: ^1.0.0}}}
  billing: {source: {path: billing, version: ledger}}
environments:
  production:
    router: {kind: caddy, listen: "127.0.0.1:8080"}
    strategy: {kind: canary, steps: [10%]}
"""
SHOP = {
    "crossfade.yaml": CONFIG,
    ".changeset/README.md": "Changesets.\n",
    "packages/core/package.json": '{\n  "name": "@shop/core",\n  "version": "1.0.0"\n}\n',
    "packages/web/package.json": '{\n  "name": "web",\n  "version": "1.0.0",\n  "dependencies": {"@shop/core": "^1.0.0"}\n}\n',
    "api/pyproject.toml": '[project]\nname = "shop-api"\nversion = "1.0.0"\n',
    "gateway/VERSION": "1.0.0\n",
    "billing/main.txt": "billing\n",
}
"""npm, Python, a VERSION file and the ledger: core → web, core → api → gateway, and billing alone."""
WORKSPACE = {
    "package.json": '{"name": "top", "private": true, "workspaces": ["packages/*"]}\n',
    "package-lock.json": "{}\n",
    ".changeset/config.json": "{}\n",
    "packages/a/package.json": '{\n  "name": "@shop/a",\n  "version": "1.0.0"\n}\n',
    "packages/b/package.json": '{\n  "name": "b",\n  "version": "1.0.0",\n  "dependencies": {"@shop/a": "^1.0.0"}\n}\n',
}
"""A workspace that knows nothing but changesets."""
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))},
}  # fmt: skip


class Monorepo:
    """A git repository, all committed on `main`; commands run in it as processes."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder = folder
        self.write(files)
        self.git("init", "-q", "-b", "main")
        self.commit("the beginning")

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def changeset(self, *changes: str, summary: str, name: str = "calm-canary-returns") -> None:
        """Write a changeset by hand: `core: minor`."""
        lines = "".join('"{}": {}\n'.format(*change.split(": ")) for change in changes)
        self.write({f".changeset/{name}.md": f"---\n{lines}---\n\n{summary}\n"})

    def text(self, name: str) -> str:
        return (self.folder / name).read_text()

    def tree(self) -> dict[str, bytes]:
        """Every file and what it holds, git's own left out."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        found = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}
        return {name: content for name, content in found.items() if not name.startswith(".git/")}

    def changesets(self) -> list[str]:
        """The names of the changeset files."""
        return sorted(path.name for path in (self.folder / ".changeset").glob("*.md") if path.name != "README.md")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def run(self, *arguments: str, script: str = "", where: str = ".") -> Ran:
        """The command line with these arguments; `script` is Python that comes before it in the same process."""
        begun = f"{script}\nimport sys\nfrom crossfade.cli.main import main\nsys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", begun, *arguments],
            cwd=self.folder / where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def refused(self, *arguments: str, says: str, where: str = "") -> Ran:
        """The command is refused with 2 in these words, says what to do next, and leaves every file as it was."""
        before = self.tree()
        ran = self.run(*arguments)
        assert ran.code == 2, ran.out + ran.err
        assert says in ran.err
        assert where in ran.err
        assert "  next:  " in ran.err or "crossfade.yaml has" in ran.err, ran.err
        assert self.tree() == before
        return ran

    @property
    def environment(self) -> dict[str, str]:
        away = ("DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "CROSSFADE_", "GIT_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(away)}
        return {**kept, **_GIT, "CROSSFADE_ACTOR": "ada", "TERM": "dumb"}
