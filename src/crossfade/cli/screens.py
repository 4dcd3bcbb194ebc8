"""How a rollout under way is shown: a tree that redraws, lines, or nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from crossfade.cli.render.printer import Printer

if TYPE_CHECKING:
    from crossfade.engine.views import View
    from crossfade.store.audit import AuditRow

_LINE_EVERY = 30.0


class Screen(Protocol):
    """Something that is told how a rollout stands, and what was recorded since the last time."""

    def tell(self, view: View, rows: Sequence[AuditRow], now: float) -> None:
        """Show it."""
        ...


@contextlib.contextmanager
def screen_for(printer: Printer) -> Iterator[Screen]:
    """The screen that fits: a terminal redraws, a log gets lines, a program gets nothing until the end."""
    if printer.as_json:
        yield _Silent()
    elif printer.interactive:
        with printer.live() as show:
            yield _Tree(show)
    else:
        yield _Lines(printer)


class _Silent:
    def tell(self, view: View, rows: Sequence[AuditRow], now: float) -> None:
        del view, rows, now


class _Lines:
    """One line for each entry of the record, and where it stands from time to time."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._told_at: float | None = None

    def tell(self, view: View, rows: Sequence[AuditRow], now: float) -> None:
        from crossfade.cli.render.plain import clock  # noqa: PLC0415 - after the door
        from crossfade.cli.render.record import event_line, is_news  # noqa: PLC0415 - heavy
        from crossfade.cli.render.status import one_line_standing  # noqa: PLC0415 - heavy

        for row in filter(is_news, rows):
            self._printer.line(event_line(row))
        if rows or self._told_at is None:
            self._told_at = now
        elif now - self._told_at >= _LINE_EVERY and not view.rollout.finished:
            self._told_at = now
            self._printer.line(f"{clock(now)}  … {one_line_standing(view, now)}")


class _Tree:
    """The tree of `status` with the newest entries of the record above it."""

    def __init__(self, show: Callable[[Any], None]) -> None:
        self._show = show
        self._rows: list[AuditRow] = []

    def tell(self, view: View, rows: Sequence[AuditRow], now: float) -> None:
        from rich.console import Group  # noqa: PLC0415 - heavy
        from rich.text import Text  # noqa: PLC0415 - heavy

        from crossfade.cli.render.record import event_text, is_news  # noqa: PLC0415 - heavy
        from crossfade.cli.render.status import tree  # noqa: PLC0415 - heavy

        self._rows = [*self._rows, *filter(is_news, rows)][-_NEWEST:]
        standing = tree(view, now, watched=True, closing=not view.rollout.finished)  # the ending says the rest
        self._show(Group(standing, Text(), *map(event_text, self._rows)))


_NEWEST = 8
