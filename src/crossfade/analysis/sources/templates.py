"""`{arm}`, `{version}`, `{component}`, `{environment}` in what is asked for, and asking once for what is the same. Pure but for the asking."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping

from crossfade.analysis.sources.port import ARMS, Answer, Unknown
from crossfade.analysis.values import Arm
from crossfade.core.errors import CrossfadeError

Names = Mapping[Arm, Mapping[str, str]]
"""What stands for each placeholder, for each arm."""

_PLACEHOLDER = re.compile(r"\{(arm|version|component|environment)\}")


def names(versions: Mapping[Arm, str], **shared: str) -> dict[Arm, dict[str, str]]:
    """What stands for each placeholder: `versions` for each arm, and what both have in common.

    >>> names({"stable": "1.0.0", "canary": "1.1.0"}, component="web")["canary"]
    {'component': 'web', 'arm': 'canary', 'version': '1.1.0'}
    """
    return {arm: {**shared, "arm": arm, "version": versions[arm]} for arm in ARMS}


def fill(text: str, values: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """The text with its placeholders replaced, each value as `quote` makes it; all other braces stay.

    >>> fill('up{version="{version}"}', {"version": "1.1.0"})
    'up{version="1.1.0"}'
    """
    return _PLACEHOLDER.sub(lambda found: quote(values.get(found[1], found[0])), text)


def for_promql(value: str) -> str:
    r"""A value inside of a PromQL string.

    >>> for_promql('a"b')
    'a\\"b'
    """
    return value.replace("\\", "\\\\").replace('"', '\\"')


def for_sql(value: str) -> str:
    """A value inside of an SQL string.

    >>> for_sql("it's")
    "it''s"
    """
    return value.replace("'", "''")


async def both(
    text: str, names: Names, ask: Callable[[str], Awaitable[Answer]], quote: Callable[[str], str] = str
) -> dict[Arm, Answer]:
    """The answers for both arms, each asked for by `text` as `fill` makes it; at once, and only once where they want the same.

    A fault is one arm's own.
    """

    async def answer(one: str) -> Answer:
        try:
            return await ask(one)
        except CrossfadeError as error:
            return Unknown(f"{error.what}; {error.next}" if error.next else error.what, passing=True)

    wanted = {arm: fill(text, values, quote) for arm, values in names.items()}
    distinct = list(dict.fromkeys(wanted.values()))
    answers = dict(zip(distinct, await asyncio.gather(*(answer(one) for one in distinct)), strict=True))
    return {arm: answers[one] for arm, one in wanted.items()}
