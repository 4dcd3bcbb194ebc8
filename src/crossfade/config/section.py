"""What every part of the file has in common: frozen values, no unknown keys, one-line forms, checked text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from crossfade.config.faults import nearest
from crossfade.config.placeholders import PlaceholderError, names


@dataclass(frozen=True, slots=True)
class Shorthand:
    """The one line that may stand for a whole section."""

    examples: tuple[str, ...]
    pattern: str
    read: Callable[[str], dict[str, Any]]


def kinds(*each: str) -> Shorthand:
    """Let a bare kind stand for a section that needs nothing else."""
    return Shorthand(each, f"^({'|'.join(each)})$", lambda kind: {"kind": kind})


class Section(BaseModel):
    """A part of the file: frozen, with no unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=False, allow_inf_nan=False, defer_build=True
    )
    shorthand: ClassVar[Shorthand | None] = None

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: Any) -> Any:
        return cls.shorthand.read(value) if cls.shorthand is not None and isinstance(value, str) else value


def holds(*allowed: str) -> AfterValidator:
    """Check that a text can be handed to a process, and that its placeholders are known here."""

    def check(text: str) -> str:
        if "\0" in text:
            msg = "a NUL byte cannot be handed to a process"
            raise ValueError(msg)
        for name in names(text):
            if name not in allowed:
                meant, known = nearest(name, allowed), ", ".join(f"{{{each}}}" for each in allowed)
                hint = (
                    f"did you mean {{{meant}}}?"
                    if meant
                    else f"there are {known}; write {{{{{name}}}}} for the text itself"
                )
                msg = f"{{{name}}} is not a placeholder: {hint}"
                raise PlaceholderError(msg)
        return text

    return AfterValidator(check)


_IN_QUERIES = ("arm", "version", "component", "environment")


def _placeholders_known(query: str) -> str:
    for name in re.findall(r"\{([a-z_]+)\}", query):  # braces with anything else in them are the language's own
        if name not in _IN_QUERIES:
            known = ", ".join(f"{{{each}}}" for each in _IN_QUERIES)
            meant = nearest(name, _IN_QUERIES)
            hint = f"did you mean {{{meant}}}?" if meant else f"there are {known}"
            msg = f"{{{name}}} is not a placeholder of queries: {hint}"
            raise PlaceholderError(msg)
    return query


def _shares_named(query: str) -> str:
    if not any(f"{{{name}}}" in query for name in ("arm", "version")):
        msg = "this query holds neither {arm} nor {version}, so it would count both versions together"
        raise ValueError(msg)
    return query


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""The name of a component or an environment: it becomes part of ids, folders and cookies."""

Argument = Annotated[str, holds("port", "version", "instance")]
Image = Annotated[str, Field(min_length=1), holds("version")]
Folder = Annotated[str, Field(min_length=1), holds("version", "instance")]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
VariableValue = Annotated[str, holds("port", "version", "instance")]
NamedQuery = Annotated[str, Field(min_length=1), AfterValidator(_placeholders_known)]
Query = Annotated[str, AfterValidator(_placeholders_known), AfterValidator(_shares_named)]


def bare(kind: Any) -> Any:
    """Let a bare kind stand for its section."""
    return {"kind": kind} if isinstance(kind, str) else kind


@dataclass(frozen=True)
class UsualKind(BeforeValidator):
    """Let a bare kind stand for its section, and a section without a kind be of the usual one."""

    usual: str = ""


def kind_or(usual: str) -> UsualKind:
    """The validator of alternatives of which `usual` needs no kind."""

    def read(value: Any) -> Any:
        known = bare(value)
        return {"kind": usual, **known} if isinstance(known, dict) else known

    return UsualKind(read, usual=usual)
