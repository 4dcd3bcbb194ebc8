"""When this process searches for garbage: reference counts free nearly all of it, and a search stops everything.

Unasked, Python searches whenever some hundreds of objects more were made than freed, and from time to time
through all that there is. Imports make hundreds of thousands of objects of which hardly any is garbage; a
worker that watches 5,000 rollouts stands still for more than half a second in each search through all.
"""

from __future__ import annotations

import gc


def answering() -> None:
    """Search seldom: a command makes much at its beginning, and hardly any of it is garbage."""
    gc.set_threshold(50_000)


def serving() -> None:
    """Search often through what is young, milliseconds each, and through all once in ten million.

    What is there by now, the modules, lives as long as the process and is left out from here on.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 100)


def ending() -> None:
    """No last search: the end of the process frees everything."""
    gc.freeze()
