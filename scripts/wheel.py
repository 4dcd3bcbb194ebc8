"""Builds the wheel, and proves it: installed alone in an empty environment, the command works from there.

The empty environment gets the locked run-time requirements and the wheel, nothing of this folder; `pip
check` then says whether the wheel's own metadata asks for more than that.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet")


def build(out: Path) -> Path:
    """Build the wheel into `out` and return its path."""
    before = {wheel: wheel.stat().st_mtime_ns for wheel in out.glob("*.whl")}
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out.resolve()), cwd=ROOT)
    return next(wheel for wheel in out.glob("*.whl") if before.get(wheel) != wheel.stat().st_mtime_ns)


def install(wheel: Path, folder: Path) -> Path:
    """Make an empty environment in `folder` with `wheel` in it; returns the path of its `crossfade`."""
    venv.create(folder, with_pip=True, clear=True)
    python = str(folder / "bin" / "python")
    run(python, *PIP, "--require-hashes", "-r", str(ROOT / "requirements" / "runtime.txt"), cwd=folder)
    run(python, *PIP, "--no-deps", str(wheel.resolve()), cwd=folder)
    run(python, "-m", "pip", "--disable-pip-version-check", "check", cwd=folder)
    return folder / "bin" / "crossfade"


def run(*command: str, cwd: Path) -> str:
    """Run a command away from our environment's settings; its output, or a `SystemExit` that shows it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command)}")
    return done.stdout


def main() -> None:
    """Build into `--out`; with `--prove` also install the wheel and run it."""
    parser = argparse.ArgumentParser(description="Build the wheel.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the wheel")
    parser.add_argument("--prove", action="store_true", help="run it from an empty environment")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    wheel = build(arguments.out)
    sys.stdout.write(f"{wheel.name}\n")
    if arguments.prove:
        with tempfile.TemporaryDirectory() as folder:
            crossfade = install(wheel, Path(folder) / "environment")
            version = run(str(crossfade), "--version", cwd=Path(folder)).strip()
            sys.stdout.write(f"works alone in an empty environment: {version}\n")


if __name__ == "__main__":
    main()
