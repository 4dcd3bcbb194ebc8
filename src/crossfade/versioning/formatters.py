"""The team's own formatter, run over changelogs after they are written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crossfade.core.errors import CrossfadeError

_PRETTIER = (".prettierrc", *(f".prettierrc.{kind}" for kind in ("json", "yml", "yaml", "json5", "toml")))
_CODE = ("js", "ts", "mjs", "mts", "cjs", "cts")
CONFIGS: Mapping[str, tuple[str, ...]] = {
    "dprint": ("dprint.json", "dprint.jsonc", ".dprint.json", ".dprint.jsonc"),
    "deno": ("deno.json", "deno.jsonc"),
    "oxfmt": (".oxfmtrc.json", ".oxfmtrc.jsonc", "oxfmt.config.ts", "oxfmt.config.mts"),
    "prettier": (
        *_PRETTIER,
        *(f".prettierrc.{kind}" for kind in _CODE),
        *(f"prettier.config.{kind}" for kind in _CODE),
    ),
}
"""Formatter → the files that it is configured by, in the order in which they are looked for."""
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "dprint": ("dprint", "fmt", "--allow-no-files"),
    "deno": ("fmt", "--permit-no-files"),
    "oxfmt": ("oxfmt", "--write", "--no-error-on-unmatched-pattern"),
    "prettier": ("prettier", "--write", "--no-error-on-unmatched-pattern"),
}
_RUNNERS: Mapping[str, tuple[str, ...]] = {
    "pnpm": ("pnpm", "exec"),
    "yarn": ("yarn", "exec"),
    "bun": ("bun", "x"),
    "npm": ("npx",),
}
_LOCKS: Mapping[str, str] = {
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "pnpm-lock.yaml": "pnpm",
    "pnpm-workspace.yaml": "pnpm",
    "yarn.lock": "yarn",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
}


def detected(root: Path) -> str | None:
    """The formatter of a repository: the nearest that is configured, else the nearest that is installed."""
    for folder in (root, *root.parents):
        for name, files in CONFIGS.items():
            if any((folder / file).exists() for file in files) or _in_package(folder, name):
                return name
    for folder in (root, *root.parents):
        for name in ("oxfmt", "dprint", "prettier"):
            if (folder / "node_modules" / name).exists():
                return name
    return None


def run_formatter(root: Path, name: str, files: Sequence[str]) -> None:
    """Format the files; `auto` finds the formatter, and does nothing where there is none. CrossfadeError if it fails."""
    found = detected(root) if name == "auto" else name
    if found is None:
        return
    runner = ("deno",) if found == "deno" else _RUNNERS[next(_managers(root), "npm")]
    command = [*runner, *_COMMANDS[found], *(str(root / file) for file in files)]
    try:
        done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        failed = done.returncode != 0
    except OSError as error:
        failed, said = True, f"{command[0]}: {error.strerror}"
    if failed:
        raise CrossfadeError(
            "versions.formatter-failed",
            f"the versions are written, but {found} could not format the changelogs: {said.splitlines()[-1] if said else 'it says nothing'}",
            where=" ".join(command[:3]),
            next='repair it and run this again, or set "format" to false',
        )


def _in_package(folder: Path, name: str) -> bool:
    file, key = {"prettier": ("package.json", "prettier"), "deno": ("deno.json", "fmt")}.get(name, ("", ""))
    if not file:
        return False
    try:
        return key in json.loads((folder / file).read_text())
    except (OSError, ValueError, TypeError):
        return False


def _managers(root: Path) -> Iterator[str]:
    for folder in (root, *root.parents):
        for lock, manager in _LOCKS.items():
            if (folder / lock).exists():
                yield manager
