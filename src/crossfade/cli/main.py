"""The door: arguments in, exit code out. Whatever goes wrong inside ends here as an error that a person can act on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from crossfade.core import garbage


def run() -> None:
    """Run the command line of this process, and end with its exit code."""
    garbage.answering()
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    garbage.ending()
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command line; the exit code is one of `crossfade.core.errors.ExitCode`."""
    if list(arguments) in (["--version"], ["-V"]):
        return _version()
    from crossfade.cli.faults import guarded  # noqa: PLC0415 - `--version` answers before anything is imported

    return guarded(arguments)


def _version() -> int:
    from crossfade import __version__  # noqa: PLC0415 - as above

    try:
        sys.stdout.write(f"crossfade {__version__}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    run()
