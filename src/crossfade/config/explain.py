"""Pydantic's findings in the words of the file: what, where, and what to write instead."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crossfade.config.document import Document
from crossfade.config.faults import Fault, Path, nearest, show, suggest
from crossfade.config.model import Project
from crossfade.config.named_metrics import STATISTIC
from crossfade.config.placeholders import PlaceholderError
from crossfade.config.section import Section
from crossfade.config.shape import Found, Place, kind_of, locate, walk
from crossfade.config.strategies import Stage

PATTERNS: Mapping[str, str] = {
    r"^/": "must start with /",
    r"^https?://": "must start with http:// or https://",
    r"^https?://[^\s]+$": "must be an address that starts with http:// or https://",
    r"^(file|s3|gs|az)://[^\s]+$": "must start with file://, s3://, gs:// or az://",
    r"^[^\x00]+$": "must not hold a NUL byte",
    r"^[^/\x00][^\x00]*$": "must be a path below the folder, which does not start with /",
    r"^[^\s]*:\d+$": "must be HOST:PORT, such as 127.0.0.1:8080",
    r"^[a-z][a-z0-9-]*$": "must be lower-case letters, digits and hyphens, starting with a letter",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$": "must be letters, digits, dots, hyphens and underscores (at most 63), starting with a letter or digit",
    r"^[A-Za-z_][A-Za-z0-9_.-]*$": "must be the name of an environment variable: letters, digits and underscores",
    r"^[a-z][a-z0-9_]*$": "must be lower-case letters, digits and underscores, starting with a letter",
    r"^[A-Za-z0-9_-]+$": "must be letters, digits, hyphens and underscores",
    r"^[A-Za-z0-9-]+$": "must be letters, digits and hyphens",
    r"^[A-Za-z0-9_.:\[\]-]+$": "must be a host name or an IP address",
    r"^(unix:///|ssh://|tcp://)": "must start with unix:///, ssh:// or tcp://",
    r"^[a-z0-9.-]+$": "must be a host name in lower-case letters",
    r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$": "must be an AWS region, such as eu-central-1",
    STATISTIC: "must be a statistic of CloudWatch, such as Average, Sum, Maximum or p99",
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$": "must be a name as Kubernetes has them: lower-case letters, digits and hyphens (at most 63)",
}
"""What every pattern of the model asks for."""

_EXAMPLES = {
    "project": "project: shop",
    "components": "components:",
    "environments": "environments:",
    "command": 'command: [python, app.py, --port, "{port}"]',
    "weight": "weight: 5%",
    "metric": "metric: error_rate",
    "url": "url: http://127.0.0.1:9090",
    "to": "to: npm",
}

_SPECIAL = set("{}[],:#&*!|>%@`\"' ")
_MOST_WORDS = 12

_Words = tuple[str, str, str]
"""The code, what is wrong, and what to write instead."""


def explain(error: ValidationError, document: Document) -> Iterator[tuple[Path, Fault]]:
    """Every fault in `error` with its path; those that only follow from another are left out."""
    details = error.errors(include_url=False)
    found = [locate(Project, each["loc"]) for each in details]
    for each, at in zip(details, found, strict=True):
        below = any(other.path[: len(at.path)] == at.path and len(other.path) > len(at.path) for other in found)
        if each["type"] == "too_short" and below:
            continue  # its items were dropped because they are faulty themselves
        code, what, hint = _words(each, at, document)
        at_key = at.is_key or each["type"] == "extra_forbidden"
        yield at.path, document.fault(code, at.path, what, hint, at_key=at_key)


def _words(error: ErrorDetails, at: Found, document: Document) -> _Words:
    kind, given = error["type"], error["input"]
    hidden = any(part in ("environment", "variables") for part in at.path[:-1])
    if kind in _BY_TYPE:
        return _BY_TYPE[kind](error, at)
    if kind == "value_error":
        return _hidden_value(error) if hidden else _value(error)
    if kind in (
        "string_type",
        "int_type",
        "int_from_float",
        "float_type",
        "bool_type",
        "tuple_type",
        "dict_type",
    ) or kind.startswith("model_"):
        return _type(kind, given, at, hidden=hidden)
    if kind == "string_pattern_mismatch":
        words = PATTERNS.get(error.get("ctx", {}).get("pattern", ""), "has the wrong form")
        return "config.form", "this" + f" {words}" if hidden else f"`{show(given)}` {words}", ""
    if kind in _BOUNDS:
        return _bound(error, at)
    return "config.value", f"`{at.path[-1] if at.path else document.file}`: {error['msg'].lower()}", ""


def _missing(_error: ErrorDetails, at: Found) -> _Words:
    name = at.path[-1]
    if isinstance(name, int):
        return "config.missing", f"an item is missing: {name} where more are needed", ""
    place = at.section.model_fields[name].description if at.section and name in at.section.model_fields else ""
    example = _EXAMPLES.get(name, f"{name}: …")
    return "config.missing", f"`{name}` is missing", f"add `{example}`" + (f" — {_lower(place)}" if place else "")


def _lower(text: str) -> str:
    sentence = text.partition(". ")[0].rstrip(".")
    return sentence if sentence[1:2].isupper() else sentence[:1].lower() + sentence[1:]


def _unknown_key(_error: ErrorDetails, at: Found) -> _Words:
    key = str(at.path[-1])
    known = [name for name in at.section.model_fields if name != "shorthand"] if at.section is not None else []
    what = f"`{show(key)}` is not a key of {_thing(at)}"
    if nearest(key, known) is None:
        places = _homes(key)
        if places:
            return "config.unknown-key", what, f"`{key}` belongs to {places}"
    return "config.unknown-key", what, suggest(key, known)


def _thing(at: Found) -> str:
    owner = at.path[-2] if len(at.path) > 1 else None
    kind = kind_of(at.section) if at.section is not None else None
    if owner is None:
        return "the file"
    if len(at.path) == 3 and at.path[0] in ("components", "environments"):  # noqa: PLR2004 - section, name, key
        return f"the {str(at.path[0])[:-1]} {show(owner)}"
    if isinstance(owner, int):
        return f"an item of `{at.path[-3]}`"
    return f"the {owner} {kind}" if kind else f"`{show(owner)}`"


def _homes(key: str) -> str:
    """Where a key that is unknown here does belong."""
    places = []
    for path, section in walk(Project):
        if key in section.model_fields:
            name = next((str(part) for part in reversed(path) if part != "*"), "the top level")
            kind = kind_of(section)
            if path and path[-1] == "*":
                name = f"each of the {path[0]}"
            elif name != "the top level":
                name = f"the {name} {kind}" if kind and len(_siblings(path)) > 1 else f"`{name.removesuffix('[]')}`"
            places.append(name)
    return " or ".join(dict.fromkeys(places))


def _siblings(path: Path) -> list[type[Section]]:
    return [section for other, section in walk(Project) if other == path]


def _no_kind(_error: ErrorDetails, at: Found) -> _Words:
    kinds = _kinds(at.place)
    name = at.path[-1]
    return "config.missing", f"`{name}` has no kind", f"add `kind:` with one of: {', '.join(kinds)}"


def _wrong_kind(error: ErrorDetails, at: Found) -> _Words:
    tag = show(error.get("ctx", {}).get("tag", ""))
    return "config.unknown-kind", f"`{tag}` is not a kind of {at.path[-1]}", suggest(tag, _kinds(at.place))


def _kinds(place: Place | None) -> list[str]:
    return [kind for each in (place.sections if place else ()) if (kind := kind_of(each)) is not None]


def _literal(error: ErrorDetails, at: Found) -> _Words:
    given = error["input"]
    known = [str(each) for each in get_args(at.place.type)] if at.place is not None else []
    if at.path[-1] == "kind":
        name = at.path[-2] if len(at.path) > 1 else ""
        return "config.unknown-kind", f"`{show(given)}` is not a kind of {name}", suggest(str(given), known)
    return "config.unknown-value", f"`{show(given)}` is not a value of `{at.path[-1]}`", suggest(str(given), known)


def _value(error: ErrorDetails) -> _Words:
    cause = error.get("ctx", {}).get("error")
    message = str(cause or error["msg"])
    what, _, hint = message.partition(": ")
    if isinstance(cause, PlaceholderError):
        return "config.placeholder", what, hint
    if "no unit" in what:
        return "config.unit", what, hint
    return ("config.value", what, hint) if hint.startswith("write") else ("config.value", message, "")


def _hidden_value(error: ErrorDetails) -> _Words:
    """As `_value` for what may be a secret, as any part of it may: nothing is quoted."""
    if not isinstance(error.get("ctx", {}).get("error"), PlaceholderError):
        return _value(error)
    what = "a brace in this value is neither part of a placeholder nor doubled"
    return (
        "config.placeholder",
        what,
        "there are {port}, {version}, {instance}; write {{ and }} for the braces themselves",
    )


def _type(kind: str, given: Any, at: Found, *, hidden: bool) -> _Words:
    name = f"`{show(at.path[-1])}`" if at.path and not isinstance(at.path[-1], int) else "this item"
    wanted = {
        "string_type": "text",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "tuple_type": "a list",
    }.get(kind, "keys with values")
    code = "config.type"
    if at.place is not None and Stage in at.place.sections and isinstance(given, int | float):
        return "config.unit", f"{_yaml(given)} has no unit", "write a percentage such as 5%"
    if given is None:
        return code, f"{name} has no value: it must be {wanted}", _how(wanted, given, at)
    if wanted == "text" and isinstance(given, Mapping) and len(given) == 1 and next(iter(given.values())) is None:
        written = f"{{{show(next(iter(given)))}}}"
        return code, f"{written} without quotes is a mapping in YAML", f'write "{written}"'
    shown = "" if hidden or isinstance(given, Mapping | tuple) else f" `{_yaml(given)}`"
    return (
        code,
        f"{name} must be {wanted}, not {_called(given)}{shown}",
        "" if hidden and wanted != "text" else _how(wanted, given, at, hidden=hidden),
    )


def _how(wanted: str, given: Any, at: Found, *, hidden: bool = False) -> str:
    """An example of what to write instead."""
    if wanted == "text" and given is not None and not isinstance(given, Mapping | tuple):
        return "put it in quotes" if hidden else f'put it in quotes: "{_yaml(given)}"'
    if wanted == "a list" and isinstance(given, str):
        return _as_list(given)
    if at.place is not None and at.place.shorthand is not None:
        return f"write one of: {', '.join(at.place.shorthand.examples[:3])}; or keys with values"
    if wanted == "keys with values" and given is None and len(at.path) == 2:  # noqa: PLR2004 - section and name
        return (
            f"write `{show(at.path[-1])}: {{}}` for the defaults"
            if at.path[0] == "environments"
            else "give it a `command`"
        )
    return ""


def _as_list(line: str) -> str:
    """The list that a command line stands for."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if not 1 <= len(words) <= _MOST_WORDS:
        return "write one item in each line, after a hyphen"
    shown = [show(each) for each in words]
    return (
        f"write [{', '.join(json.dumps(each, ensure_ascii=False) if _SPECIAL & set(each) else each for each in shown)}]"
    )


def _called(given: Any) -> str:
    if isinstance(given, bool):
        return "the switch"
    if isinstance(given, int | float):
        return "the number"
    if isinstance(given, str):
        return "the text"
    return "a list" if isinstance(given, tuple) else "keys with values"


def _yaml(given: Any) -> str:
    return str(given).lower() if isinstance(given, bool) else show(given)


_BOUNDS = {
    "greater_than": ("gt", "must be more than {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be at most {}"),
}


def _bound(error: ErrorDetails, at: Found) -> _Words:
    key, sentence = _BOUNDS[error["type"]]
    bound = error.get("ctx", {}).get(key)
    quantity = at.place.quantity if at.place is not None else None
    written = quantity.write(bound) if quantity is not None else f"{bound:.15g}"
    given = quantity.write(error["input"]) if quantity is not None else show(error["input"])
    name = at.path[-1] if not isinstance(at.path[-1], int) else at.path[-2]
    return "config.range", f"`{name}` {sentence.format(written)}, and is {given}", ""


def _too_short(_error: ErrorDetails, at: Found) -> _Words:
    name = at.path[-1] if at.path else ""
    return "config.empty", f"`{name}` is empty: it needs at least one", _EXAMPLES_OF_ONE.get(str(name), "")


_EXAMPLES_OF_ONE = {
    "components": "name a component below it, such as `api:` with a `command`",
    "environments": "name an environment below it, such as `production: {}`",
    "command": f"write `{_EXAMPLES['command']}`",
    "steps": "write `steps: [5%, 25%, 50%]`",
}


def _too_long(error: ErrorDetails, at: Found) -> _Words:
    context = error.get("ctx", {})
    return (
        "config.value",
        f"`{at.path[-1]}` has {context.get('actual_length')} items, and takes {context.get('max_length')}",
        "",
    )


def _not_finite(_error: ErrorDetails, at: Found) -> _Words:
    return "config.range", f"`{at.path[-1]}` must be a finite number", ""


def _empty_text(_error: ErrorDetails, at: Found) -> _Words:
    return "config.empty", f"`{at.path[-1]}` must not be empty", ""


_BY_TYPE: Mapping[str, Callable[[ErrorDetails, Found], _Words]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_key,
    "union_tag_not_found": _no_kind,
    "union_tag_invalid": _wrong_kind,
    "literal_error": _literal,
    "too_short": _too_short,
    "too_long": _too_long,
    "finite_number": _not_finite,
    "string_too_short": _empty_text,
}
