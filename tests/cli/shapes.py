"""Compares what `--json` printed with the types that the reference page is written from."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from crossfade.cli import documents


def holds(name: str, document: Any) -> None:
    """The document is what the reference says: every key is there with its type, and nothing else."""
    _check(getattr(documents, name), document, name)


def _check(hint: Any, value: Any, where: str) -> None:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    origin, arguments = get_origin(hint), get_args(hint)
    if is_typeddict(hint):
        hints = get_type_hints(hint, include_extras=True)
        assert isinstance(value, dict), where
        assert set(value) == set(hints), where
        for key, each in hints.items():
            _check(each, value[key], f"{where}.{key}")
    elif origin is list:
        assert isinstance(value, list), where
        for index, each in enumerate(value):
            _check(arguments[0], each, f"{where}[{index}]")
    elif origin is dict:
        assert isinstance(value, dict), where
    elif type(None) in arguments:
        if value is not None:
            _check(next(each for each in arguments if each is not type(None)), value, where)
    elif hint is float:
        assert isinstance(value, int | float), where
        assert not isinstance(value, bool), where
    else:
        assert type(value) is hint, f"{where}: {value!r} is no {hint}"
