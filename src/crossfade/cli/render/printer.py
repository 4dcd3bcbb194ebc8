"""The only printer: text for people, JSON for programs, and calm when nobody reads any more."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from crossfade.cli.render.plain import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from crossfade.core.errors import CrossfadeError

_WIDTH_WITHOUT_TERMINAL = 160


class Printer:
    """Prints to this process's standard output and error.

    With `as_json`, standard output holds JSON and nothing else: one document, or one object on each
    line. A reader that goes away never ends a command that moves traffic: `abandoned` tells of it.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.abandoned = False
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")

    @property
    def interactive(self) -> bool:
        """Whether a person watches: a terminal that can redraw, and no JSON."""
        dumb = os.environ.get("TERM", "dumb") in ("dumb", "")
        return not self.as_json and not dumb and sys.stdout.isatty()

    def document(self, value: Mapping[str, Any]) -> None:
        """Print one JSON document."""
        self._write(sys.stdout, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))

    def object(self, value: Mapping[str, Any]) -> None:
        """Print one JSON object on a line of its own."""
        self._write(sys.stdout, json.dumps(value, ensure_ascii=False, allow_nan=False))
        self.flush()

    def show(self, what: RenderableType) -> None:
        """Print something for people; nothing where JSON is printed."""
        if not self.as_json:
            self._render(sys.stdout, what)

    def line(self, text: str) -> None:
        """Print one line as it is, with what could upset a terminal taken out."""
        if not self.as_json:
            self._write(sys.stdout, clean(text))
            self.flush()

    def raw(self, text: str) -> None:
        """Print a text that is the answer itself, such as a schema."""
        self._write(sys.stdout, text)

    def note(self, text: str) -> None:
        """Tell a person what is going on, beside the output; nothing where JSON is printed."""
        if not self.as_json:
            self._write(sys.stderr, clean(text))
            self.flush()

    def error(self, error: CrossfadeError) -> None:
        """Print an error: what, where, next; with JSON as `{"error": …}` on standard output."""
        if self.as_json:
            self.document({"error": error.as_json()})
            return
        from crossfade.cli.render.errors import error_text  # noqa: PLC0415 - only for an error

        self._write(sys.stderr, error_text(error, colour=_colour(sys.stderr)))

    @contextlib.contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Show something that changes; what is handed to the function replaces what was there."""
        from rich.live import Live  # noqa: PLC0415 - heavy, and only for a terminal

        console = self._console(sys.stdout)
        with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
            yield lambda what: live.update(what, refresh=True)

    def flush(self) -> None:
        """Hand over what is printed."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                self.abandon()

    def abandon(self) -> None:
        """Nobody reads any more: print into nothing from here on, and do not complain at the end."""
        self.abandoned = True
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)

    def _render(self, stream: TextIO, what: RenderableType) -> None:
        console = self._console(stream)
        with console.capture() as captured:
            console.print(what)
        lines = (line.rstrip() for line in captured.get().splitlines())  # tables fill their last column
        self._write(stream, "\n".join(lines))

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text + "\n")
        except (BrokenPipeError, ValueError):
            self.abandon()

    def _console(self, stream: TextIO) -> Console:
        from rich.console import Console  # noqa: PLC0415 - heavy, and not needed for JSON

        width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
        return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def _colour(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
