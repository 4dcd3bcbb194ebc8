"""Builds under way and what came of them: a table that redraws, calm lines, or one JSON document."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossfade.artifacts.building.running import last_lines
from crossfade.artifacts.building.values import Audience, Decision, Outcome, Result
from crossfade.cli.render.plain import count, one_line, plural, span
from crossfade.cli.render.printer import Printer

if TYPE_CHECKING:
    from rich.console import RenderableType

_LINE_EVERY = 30.0
_DRAW_EVERY = 0.25
_MARKS = {"built": "✓", "restored": "✓", "unchanged": "·", "failed": "✗", "stopped": "–", "interrupted": "–"}
_COLOURS = {"built": "green", "restored": "green", "unchanged": "dim", "failed": "red"}
_WHY_SHOWN = 3
_ENDED_SHOWN = 15


@contextlib.asynccontextmanager
async def audience_for(printer: Printer, hidden: Iterable[str] = ()) -> AsyncIterator[Audience]:
    """Who fits: a terminal redraws, a log gets lines, a program gets nothing until the end. `hidden` is never shown."""
    if printer.as_json:
        yield _Silent()
        return
    with contextlib.ExitStack() as open_:
        crowd = _Table(open_.enter_context(printer.live()), tuple(hidden)) if printer.interactive else _Lines(printer)
        ticking = asyncio.create_task(_tick(crowd))
        try:
            yield crowd
        finally:
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
            crowd.tick(last=True)


async def _tick(crowd: _Table | _Lines) -> None:
    while True:
        crowd.tick()
        await asyncio.sleep(_DRAW_EVERY)


class _Silent:
    def begin(self, component: str, log: str) -> None:
        del component, log

    def wait(self, component: str, what: str) -> None:
        del component, what

    def end(self, result: Result) -> None:
        del result


class _Lines:
    """A line when a build begins and when it ends, and one from time to time while it takes long."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._running: dict[str, tuple[float, float]] = {}

    def begin(self, component: str, log: str) -> None:
        del log
        self._running[component] = (time.monotonic(), time.monotonic())
        self._printer.line(f"→ {component}  is built")

    def wait(self, component: str, what: str) -> None:
        self._printer.line(f"… {component}  waits: {what}")

    def end(self, result: Result) -> None:
        self._running.pop(result.component, None)
        self._printer.line(result_line(result))

    def tick(self, *, last: bool = False) -> None:
        del last
        now = time.monotonic()
        for component, (since, told) in self._running.items():
            if now - told >= _LINE_EVERY:
                self._running[component] = (since, now)
                self._printer.line(f"… {component}  is being built for {span(now - since)}")


class _Table:
    """What runs, since when, and what it printed last, below what is done."""

    def __init__(self, show: Callable[[RenderableType], None], hidden: tuple[str, ...]) -> None:
        self._show = show
        self._hidden = hidden
        self._ended: list[Result] = []
        self._running: dict[str, tuple[float, str, str]] = {}

    def begin(self, component: str, log: str) -> None:
        self._running[component] = (time.monotonic(), log, "")

    def wait(self, component: str, what: str) -> None:
        self._running[component] = (time.monotonic(), "", f"waits: {what}")

    def end(self, result: Result) -> None:
        self._running.pop(result.component, None)
        self._ended.append(result)

    def tick(self, *, last: bool = False) -> None:
        from rich.console import Group  # noqa: PLC0415 - heavy
        from rich.table import Table  # noqa: PLC0415 - heavy
        from rich.text import Text  # noqa: PLC0415 - heavy

        table = Table.grid(padding=(0, 2))
        for _ in range(2):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        now = time.monotonic()
        for component, (since, log, text) in self._running.items():
            said = last_lines(Path(log), 1, self._hidden) if log else ()
            table.add_row(f"→ {component}", span(now - since), one_line(said[0] if said else text))
        done = [
            Text(result_line(each), style=_COLOURS.get(each.status, ""))
            for each in (self._ended if last else self._ended[-_ENDED_SHOWN:])
        ]
        self._show(Group(*done, table))


def result_line(result: Result) -> str:
    """What came of one component, in a line.

    >>> result_line(Result("core", "unchanged", "0" * 64))
    '· core  unchanged'
    """
    words = {"built": "built", "restored": "restored from an earlier build", "unchanged": "unchanged"}
    words |= {"failed": "failed", "stopped": "not built", "interrupted": "interrupted"}
    text = words[result.status]
    if result.status in ("built", "failed") and result.seconds:
        text += f" in {span(result.seconds)}" if result.status == "built" else f" after {span(result.seconds)}"
    if result.status in ("built", "restored") and result.record is not None:
        size = sum(output.size for output in result.record.outputs)
        text += f", {plural(len(result.record.outputs), 'file')}, {count(size)} bytes"
    notes = "".join(f"; {one_line(note)}" for note in result.notes)
    return f"{_MARKS[result.status]} {result.component}  {text}{notes}"


def plan_lines(decisions: Iterable[Decision]) -> list[str]:
    """What would be done about each component, and why.

    >>> from crossfade.artifacts.building.values import Target
    >>> plan_lines([Decision(Target("core", ".", None), "0" * 64, {}, "build", ("a.ts changed",))])
    ['→ core  would be built: a.ts changed']
    """
    words = {"build": "→ {}  would be built", "restore": "✓ {}  would be restored", "keep": "· {}  unchanged"}
    lines = []
    for decision in decisions:
        if decision.action in words:
            why = ", ".join(map(one_line, decision.why[:_WHY_SHOWN]))
            more = f" and {len(decision.why) - _WHY_SHOWN} more" if len(decision.why) > _WHY_SHOWN else ""
            line = words[decision.action].format(decision.target.component)
            lines.append(f"{line}: {why}{more}" if why else line)
    return lines


def ending_line(outcome: Outcome) -> str:
    """All of it in one line.

    >>> ending_line(Outcome((Result("a", "built", ""), Result("b", "unchanged", ""), Result("c", "unchanged", ""))))
    '✓ 1 built, 2 unchanged'
    """
    statuses = [result.status for result in outcome.results]
    words = {"built": "built", "restored": "restored", "unchanged": "unchanged", "failed": "failed"}
    words |= {"stopped": "not built", "interrupted": "interrupted"}
    told = [f"{statuses.count(status)} {word}" for status, word in words.items() if status in statuses]
    return f"{'✓' if outcome.good else '✗'} {', '.join(told)}"


def result_object(result: Result, metadata_file: Path) -> dict[str, Any]:
    """What came of one component as JSON: see ComponentBuildObject."""
    record = result.record
    return {
        "component": result.component,
        "status": result.status,
        "identity": result.identity,
        "version": record.version if record else None,
        "digest": record.digest if record else None,
        "outputs": [output.as_json() for output in record.outputs] if record else [],
        "metadata": dict(record.metadata) if record else None,
        "metadata_file": str(metadata_file) if record and result.kept else None,
        "seconds": round(result.seconds, 3),
        "log": result.log or (record.log if record else ""),
        "kept": result.kept and record is not None,
        "notes": list(result.notes),
        "error": result.error.as_json() if result.error else None,
    }


def decision_object(decision: Decision) -> dict[str, Any]:
    """What would be done about one component as JSON: see BuildDecisionObject."""
    return {
        "component": decision.target.component,
        "action": decision.action,
        "identity": decision.identity,
        "why": list(decision.why),
    }
