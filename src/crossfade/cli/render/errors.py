"""An error for people: what, where, next."""

from __future__ import annotations

from crossfade.cli.render.plain import clean
from crossfade.core.errors import CrossfadeError

_RED, _BOLD, _DIM, _END = "\x1b[31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


def error_text(error: CrossfadeError, *, colour: bool) -> str:
    """The error as lines; the first says what, marked by ✗.

    >>> print(error_text(CrossfadeError("demo.fault", "the port is taken", next="choose another"), colour=False))
    ✗ the port is taken
      next:  choose another
    """
    first, *rest = clean(str(error)).splitlines() or [""]
    if not colour:
        return "\n".join([f"✗ {first}", *rest])
    lines = [f"{_RED}✗{_END} {_BOLD}{first}{_END}"]
    for line in rest:
        label, colon, text = line.partition(":")
        known = colon and label.strip() in ("where", "next")
        lines.append(f"{_DIM}{label}:{_END}{text}" if known else line)
    return "\n".join(lines)
