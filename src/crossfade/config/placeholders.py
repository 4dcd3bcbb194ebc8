"""`{port}`, `{version}`, `{instance}` in commands, folders and variables: pure text, no shell.

`{name}` is replaced; `{{` and `}}` stand for the braces themselves; any other brace is an error,
because a brace that was meant to be replaced and was not is found in production at the worst time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


class PlaceholderError(ValueError):
    """A brace in a text that is neither a known placeholder nor doubled."""


_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")
_NAME = re.compile(r"[a-z][a-z_]*")


def names(text: str) -> tuple[str, ...]:
    """The placeholders in `text`, each once, in order; PlaceholderError for a brace that is neither.

    >>> names("serve --port {port} --as {version}-{port} {{literal}}")
    ('port', 'version')
    """
    found: dict[str, None] = {}
    for match in _TOKEN.finditer(text):
        if match.group() not in ("{{", "}}"):
            found[_name(match, text)] = None
    return tuple(found)


def fill(text: str, values: Mapping[str, str | int]) -> str:
    """`text` with its placeholders replaced; PlaceholderError for an unknown one or a stray brace.

    What is put in is never looked at again: a value may hold braces.

    >>> fill("0.0.0.0:{port} {{x}}", {"port": 8080})
    '0.0.0.0:8080 {x}'
    """

    def replace(match: re.Match[str]) -> str:
        if match.group() in ("{{", "}}"):
            return match.group()[0]
        name = _name(match, text)
        if name not in values:
            known = ", ".join(f"{{{each}}}" for each in values) or "none here"
            msg = f"{{{name}}} is not a placeholder ({known})"
            raise PlaceholderError(msg)
        return str(values[name])

    return _TOKEN.sub(replace, text)


def _name(match: re.Match[str], text: str) -> str:
    name = match.group("name")
    if name is None:
        msg = f"a single {match.group()} in {_excerpt(text, match.start())}: write {match.group() * 2} for the brace itself"
        raise PlaceholderError(msg)
    if _NAME.fullmatch(name) is None:
        msg = f"{_excerpt(match.group(), 0)} is not a placeholder: write {{{{ and }}}} for the braces themselves"
        raise PlaceholderError(msg)
    return name


def _excerpt(text: str, at: int, width: int = 24) -> str:
    start = max(0, at - width)
    cut = text[start : at + width]
    return ("…" if start else "") + repr(cut)[1:-1] + ("…" if at + width < len(text) else "")
